package syncclient

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/posternhq/postern/internal/sethash"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// maxSnapshot bounds what one snapshot may bring, in bytes of bodies.
const maxSnapshot = 1 << 30

// set is the verified set: what the client has, by name. It holds hashes only;
// the bodies are its owner's.
type set struct {
	index  uint64
	hashes map[string][sha256.Size]byte
	sum    sethash.Hash
}

func newSet() *set { return &set{hashes: map[string][sha256.Size]byte{}} }

// change is a verified step from one set to the next.
type change struct {
	update Update
	parts  []*syncv1.Snapshot
	sum    sethash.Hash
}

// assembly collects the parts of a snapshot.
type assembly struct {
	parts []*syncv1.Snapshot
	size  int
}

// add takes the next part and returns all of them with the last one.
func (a *assembly) add(s *syncv1.Snapshot) (whole []*syncv1.Snapshot, err error) {
	for _, r := range s.GetResources() {
		a.size += len(r.GetBody())
	}
	if a.size > maxSnapshot {
		return nil, fmt.Errorf("snapshot %d is larger than %d bytes", s.GetIndex(), maxSnapshot)
	}
	if len(a.parts) > 0 && (a.parts[0].GetIndex() != s.GetIndex() || a.parts[0].GetFull() != s.GetFull()) {
		return nil, fmt.Errorf("a part of snapshot %d follows one of snapshot %d", s.GetIndex(), a.parts[0].GetIndex())
	}
	a.parts = append(a.parts, s)
	if s.GetMore() {
		return nil, nil
	}
	whole = a.parts
	*a = assembly{}
	return whole, nil
}

// verify checks a snapshot against the set that it changes. It changes nothing.
func (s *set) verify(domain syncv1.Domain, parts []*syncv1.Snapshot, signed func(domain int32, index uint64, setHash, signature, signer []byte) error) (*change, error) {
	last := parts[len(parts)-1]
	ch := &change{parts: parts, update: Update{Index: last.GetIndex(), Full: last.GetFull()}}
	if last.GetIndex() == 0 {
		return nil, errors.New("snapshot without an index")
	}
	if last.GetIndex() < s.index {
		return nil, fmt.Errorf("snapshot %d goes back from %d", last.GetIndex(), s.index)
	}
	if !last.GetFull() {
		ch.sum = s.sum
	}
	seen := map[string]bool{}
	once := func(name string) error {
		if name == "" || seen[name] {
			return fmt.Errorf("snapshot %d names %q twice or not at all", last.GetIndex(), name)
		}
		seen[name] = true
		if old, ok := s.hashes[name]; ok && !last.GetFull() {
			ch.sum.Remove(sethash.ElementOf(name, old))
		}
		return nil
	}
	for _, p := range parts {
		for _, r := range p.GetResources() {
			if err := once(r.GetName()); err != nil {
				return nil, err
			}
			hash := sha256.Sum256(r.GetBody())
			if !bytes.Equal(hash[:], r.GetHash()) {
				return nil, fmt.Errorf("content of %s does not have its hash", r.GetName())
			}
			ch.sum.Add(sethash.ElementOf(r.GetName(), hash))
			ch.update.Changed = append(ch.update.Changed, Resource{Name: r.GetName(), Hash: hash, Body: r.GetBody()})
		}
		for _, name := range p.GetRemoved() {
			if err := once(name); err != nil {
				return nil, err
			}
			ch.update.Removed = append(ch.update.Removed, name)
		}
	}
	sum := ch.sum.Sum()
	if !bytes.Equal(sum[:], last.GetSetHash()) {
		return nil, fmt.Errorf("snapshot %d does not add up to its set hash", last.GetIndex())
	}
	if err := signed(int32(domain), last.GetIndex(), last.GetSetHash(), last.GetSignature(), last.GetSigner()); err != nil {
		return nil, fmt.Errorf("signature of snapshot %d: %w", last.GetIndex(), err)
	}
	return ch, nil
}

// commit makes a verified change the set.
func (s *set) commit(ch *change) {
	if ch.update.Full {
		s.hashes = make(map[string][sha256.Size]byte, len(ch.update.Changed))
	}
	for _, r := range ch.update.Changed {
		s.hashes[r.Name] = r.Hash
	}
	for _, name := range ch.update.Removed {
		delete(s.hashes, name)
	}
	s.index, s.sum = ch.update.Index, ch.sum
}
