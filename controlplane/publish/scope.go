package publish

import (
	"bytes"
	"fmt"
	"math"
	"sync"

	"google.golang.org/grpc"

	"github.com/posternhq/postern/controlplane/snapshot"
	"github.com/posternhq/postern/internal/sethash"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

const (
	// partSize is how much one message of a large snapshot holds.
	partSize = 1 << 20
	// shareLimit bounds what is kept encoded for streams to share: fulls beyond
	// it are encoded part by part for each stream, so that memory stays flat.
	shareLimit = 4 << 20
	// everything stands for the version of a client that needs all resources.
	everything = math.MaxUint64
)

// scope is what the streams with one choice of VPCs see. Its set has a hash and
// a signature of its own.
type scope struct {
	feed    *feed
	key     string
	vpcs    map[string]bool // nil: all
	streams int             // guarded by feed.mu
	hash    sethash.Hash    // guarded by feed.mu

	// The rest is a memo of what leads to one index. The lock is held while it is
	// made, so that a thousand streams that woke at once make it once.
	mu     sync.Mutex
	index  uint64
	seal   *seal
	toward map[uint64]*delivery // by the version that it starts from
}

// seal is the signature over one set at one index.
type seal struct {
	sum       [sethash.Size]byte
	signature []byte
	signer    []byte
}

// delivery is a snapshot on its way to all clients that are at one version.
type delivery struct {
	index     uint64
	full      bool
	resources []*snapshot.Resource
	removed   []string
	seal      *seal

	once   sync.Once
	shared []any // encoded messages; nil: too large to keep
}

func newScope(f *feed, key string, vpcs []string) *scope {
	s := &scope{feed: f, key: key, toward: map[uint64]*delivery{}}
	if len(vpcs) > 0 {
		s.vpcs = make(map[string]bool, len(vpcs))
		for _, id := range vpcs {
			s.vpcs[id] = true
		}
	}
	return s
}

func (s *scope) holds(vpc string) bool { return s.vpcs == nil || vpc == "" || s.vpcs[vpc] }

// since returns what brings a client from a version to the newest one.
func (s *scope) since(from uint64) (*delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.feed
	f.mu.RLock()
	sum := s.refresh()
	if from == 0 || from < f.floor {
		from = everything
	}
	d := s.toward[from]
	if d == nil {
		d = &delivery{index: f.index, full: from == everything}
		if d.full {
			for _, e := range f.entries {
				if e.resource != nil && s.holds(e.vpc) {
					d.resources = append(d.resources, e.resource)
				}
			}
		} else {
			for e := f.newest; e != nil && e.index > from; e = e.older {
				d.add(s, e)
			}
		}
		s.toward[from] = d
	}
	f.mu.RUnlock()
	return d, s.sealed(d, sum)
}

// from returns what brings a client with these hashes to the newest version. It
// is made for this client alone.
func (s *scope) from(hashes map[string][]byte) (*delivery, error) {
	if len(hashes) == 0 {
		return s.since(everything)
	}
	f := s.feed
	f.mu.RLock()
	sum := s.hash.Sum()
	d := &delivery{index: f.index}
	for name, e := range f.entries {
		if e.resource != nil && s.holds(e.vpc) && !bytes.Equal(hashes[name], e.resource.Hash[:]) {
			d.resources = append(d.resources, e.resource)
		}
	}
	for name := range hashes {
		if e := f.entries[name]; e == nil || e.resource == nil || !s.holds(e.vpc) {
			d.removed = append(d.removed, name)
		}
	}
	f.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index < d.index {
		s.index, s.seal, s.toward = d.index, nil, map[uint64]*delivery{}
	}
	return d, s.sealed(d, sum)
}

func (d *delivery) add(s *scope, e *entry) {
	switch {
	case !s.holds(e.vpc):
	case e.resource == nil:
		d.removed = append(d.removed, e.name)
	default:
		d.resources = append(d.resources, e.resource)
	}
}

// refresh empties the memo if the feed has moved on. The caller holds both locks.
func (s *scope) refresh() (sum [sethash.Size]byte) {
	if s.index != s.feed.index {
		s.index, s.seal, s.toward = s.feed.index, nil, map[uint64]*delivery{}
	}
	if s.seal != nil {
		return s.seal.sum
	}
	return s.hash.Sum()
}

// sealed signs a delivery, once per index for all. The caller holds s.mu.
func (s *scope) sealed(d *delivery, sum [sethash.Size]byte) error {
	if d.seal != nil {
		return nil
	}
	if d.seal = s.seal; d.seal != nil && s.index == d.index {
		return nil
	}
	signature, signer, err := s.feed.sign.Sign(int32(s.feed.domain), d.index, sum[:])
	if err != nil {
		d.seal = nil
		return fmt.Errorf("sign snapshot %d: %w", d.index, err)
	}
	if d.seal = (&seal{sum, signature, signer}); s.index == d.index {
		s.seal = d.seal
	}
	return nil
}

// messages calls send with each part. Where the delivery is small its parts are
// encoded once and shared by all streams.
func (d *delivery) messages(stream grpc.ServerStream, send func(any) error) error {
	d.once.Do(func() {
		size := 0
		for _, r := range d.resources {
			size += len(r.Body)
		}
		if size > shareLimit {
			return
		}
		var shared []any
		_ = d.parts(func(m *syncv1.SubscribeResponse) error {
			p := &grpc.PreparedMsg{}
			if err := p.Encode(stream, m); err != nil {
				shared = append(shared, m) // a stream that is not gRPC's own
				return nil
			}
			shared = append(shared, p)
			return nil
		})
		d.shared = shared
	})
	if d.shared == nil {
		return d.parts(func(m *syncv1.SubscribeResponse) error { return send(m) })
	}
	for _, m := range d.shared {
		if err := send(m); err != nil {
			return err
		}
	}
	return nil
}

// parts cuts the snapshot into messages of about partSize.
func (d *delivery) parts(yield func(*syncv1.SubscribeResponse) error) error {
	fresh := func() *syncv1.Snapshot { return &syncv1.Snapshot{Index: d.index, Full: d.full, More: true} }
	put := func(m *syncv1.Snapshot) error {
		return yield(&syncv1.SubscribeResponse{Message: &syncv1.SubscribeResponse_Snapshot{Snapshot: m}})
	}
	part, size := fresh(), 0
	for _, r := range d.resources {
		if size > 0 && size+len(r.Body) > partSize {
			if err := put(part); err != nil {
				return err
			}
			part, size = fresh(), 0
		}
		part.Resources = append(part.Resources, &syncv1.Resource{Name: r.Name, Hash: r.Hash[:], Body: r.Body})
		size += len(r.Body) + len(r.Name)
	}
	part.Removed = d.removed
	part.More, part.SetHash, part.Signature, part.Signer = false, d.seal.sum[:], d.seal.signature, d.seal.signer
	return put(part)
}
