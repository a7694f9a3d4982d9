package syncclient

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// ErrRemoved is returned by Run when an operator removed this place, or another
// instance took its id: what it has must not be served any more. The folder
// keeps that in mind; a place comes back only with a new folder.
var ErrRemoved = errors.New("the place was removed from the cluster")

// Config of a Client. Fields with a default may stay zero.
type Config struct {
	Domain syncv1.Domain
	// Carrier is the id of this process; a process that is one place has its id.
	Carrier string
	Places  []Place
	// VPCs limits endpoints and groups to these VPCs; empty: all.
	VPCs []string
	// Dir is the data folder, made if absent; empty: everything stays in memory.
	Dir string
	// Seal keeps the cache in Dir unreadable for others; required with Dir.
	Seal Sealer
	// Servers are the addresses of control-plane nodes; any will do.
	Servers []string
	// Dial connects to one of them. A connection that is an io.Closer is closed after use.
	Dial func(address string) (grpc.ClientConnInterface, error)
	// Verify checks the signature of a set hash.
	Verify func(domain int32, index uint64, setHash, signature, signer []byte) error
	// Install takes an update into use and returns all resources that are then
	// not in their newest form, whichever update brought that.
	Install func(Update) []Rejection
	// ManualAck: installing acknowledges nothing, the owner calls Ack.
	ManualAck bool
	// Answer answers a question of the control plane; it may take its time. Nil,
	// and an answer that is nil: the question stays unanswered.
	Answer func(*syncv1.Query) *syncv1.Answer

	Logger *slog.Logger // nil: discards
	// Clock is a monotonic clock that counts sleep; nil: the system's.
	Clock func() time.Duration
	Rand  io.Reader // source of instance numbers; nil: crypto/rand
	// Heartbeat is how often the client speaks; default 1 s, less with a small staleness bound.
	Heartbeat time.Duration
	// Silence is how long a server may say nothing before another is tried; default 5 s.
	Silence time.Duration
	// MaxBackoff bounds the pause between attempts; default 5 s.
	MaxBackoff time.Duration
}

// Place is a place that this process carries.
type Place struct {
	ID           string
	Kind         string // edge, authority, resolver
	AZ           string
	Address      string
	MaxStaleness time.Duration // 0: none
}

// Update moves what is installed to Index.
type Update struct {
	Index uint64
	// Full: what is not in Changed is removed.
	Full    bool
	Changed []Resource
	Removed []string
}

// Resource is one verified resource.
type Resource struct {
	Name string
	Hash [32]byte
	Body []byte
}

// Rejection names a resource whose newest form could not be used, and why.
type Rejection struct {
	Resource string
	Reason   string
}

// PlaceVersion says that a place shows Index or later.
type PlaceVersion struct {
	Place string
	Index uint64
}

// Client is the client of one domain.
type Client struct {
	cfg      Config
	instance string
	removed  bool // as the folder has it
	envelope *envelope

	// Only Run's goroutine uses these three.
	set      *set
	cache    *cache
	promised time.Duration // see bound.go

	index atomic.Uint64 // written under mu, with rejected
	echo  atomic.Int64  // reading of the clock as of which all is fresh; 0: never

	mu       sync.Mutex
	places   []Place
	rejected map[string]string
	shown    map[string]uint64 // ManualAck: acknowledged, by place
	stream   *stream           // the one that is open
}

// New opens the data folder and starts nothing.
func New(cfg Config) (*Client, error) {
	if cfg.Dial == nil || cfg.Verify == nil || cfg.Install == nil {
		return nil, errors.New("syncclient: Dial, Verify and Install are required")
	}
	if len(cfg.Servers) == 0 || len(cfg.Places) == 0 && !cfg.ManualAck {
		return nil, errors.New("syncclient: a server and a place are required")
	}
	if cfg.Dir != "" && cfg.Seal == nil {
		return nil, errors.New("syncclient: Dir needs Seal, as edges are sent signing keys")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = sinceBoot
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = time.Second
		for _, p := range cfg.Places {
			if p.MaxStaleness > 0 {
				cfg.Heartbeat = min(cfg.Heartbeat, p.MaxStaleness/5)
			}
		}
		cfg.Heartbeat = max(cfg.Heartbeat, 10*time.Millisecond)
	}
	cfg.Silence = cmp.Or(cfg.Silence, 5*time.Second)
	cfg.MaxBackoff = cmp.Or(cfg.MaxBackoff, 5*time.Second)
	c := &Client{cfg: cfg, envelope: &envelope{cfg.Seal, fmt.Sprintf("cache of %s, %s", cfg.Carrier, cfg.Domain)}, set: newSet(), places: slices.Clone(cfg.Places), shown: map[string]uint64{}}
	var err error
	if c.instance, c.removed, err = openFolder(cfg.Dir, cfg.Rand); err != nil {
		return nil, fmt.Errorf("open folder of %s: %w", cfg.Carrier, err)
	}
	if c.promised, err = readBound(cfg.Dir); err != nil {
		return nil, fmt.Errorf("open folder of %s: %w", cfg.Carrier, err)
	}
	return c, nil
}

// Instance is the instance number of the data folder.
func (c *Client) Instance() string { return c.instance }

// Index is the version installed, 0 for none.
func (c *Client) Index() uint64 { return c.index.Load() }

// Freshness is the time since the last instant of which this client knows that
// it had the newest version; the longest duration there is if it never knew.
func (c *Client) Freshness() time.Duration {
	as := time.Duration(c.echo.Load())
	if as == 0 {
		return math.MaxInt64
	}
	return max(0, c.cfg.Clock()-as)
}

// Ack says, under ManualAck, what places show. Versions that go back are ignored.
func (c *Client) Ack(versions []PlaceVersion) {
	c.mu.Lock()
	for _, v := range versions {
		c.shown[v.Place] = max(c.shown[v.Place], v.Index)
	}
	s := c.stream
	c.mu.Unlock()
	if s != nil {
		s.acknowledge()
	}
}

// SetPlaces replaces the places that this process carries. The stream is opened
// again, to register them.
func (c *Client) SetPlaces(places []Place) {
	c.mu.Lock()
	c.places = slices.Clone(places)
	keep := map[string]bool{}
	for _, p := range places {
		keep[p.ID] = true
	}
	maps.DeleteFunc(c.shown, func(id string, _ uint64) bool { return !keep[id] })
	s := c.stream
	c.mu.Unlock()
	if s != nil {
		s.cancel(errResubscribe)
	}
}

// Discard drops the cache of a place that leaves for good. Run must have ended.
func (c *Client) Discard() error { return dropCache(c.cfg.Dir) }

// Run installs what the cache holds and follows the control plane until ctx
// ends, which is no error, or the place turns out to be removed.
func (c *Client) Run(ctx context.Context) error {
	if c.removed {
		return ErrRemoved
	}
	if err := c.restore(); err != nil {
		return err
	}
	defer func() {
		if c.cache != nil {
			_ = c.cache.close()
		}
	}()
	var pause time.Duration
	for at := mathrand.IntN(len(c.cfg.Servers)); ; at++ {
		began := time.Now()
		spoke, err := c.follow(ctx, c.cfg.Servers[at%len(c.cfg.Servers)])
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrRemoved):
			if err := markRemoved(c.cfg.Dir); err != nil {
				return errors.Join(ErrRemoved, err)
			}
			return ErrRemoved
		case errors.Is(err, errResubscribe):
			at--
			continue
		}
		if spoke && time.Since(began) > c.cfg.MaxBackoff {
			pause = 0
		}
		c.cfg.Logger.Info("stream ended", "server", c.cfg.Servers[at%len(c.cfg.Servers)], "version", c.Index(), "error", err)
		pause = min(max(2*pause, 50*time.Millisecond), c.cfg.MaxBackoff)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause/2 + mathrand.N(pause/2+1)):
		}
	}
}

// install takes a verified change: onto disk, into use, and into what is acknowledged.
func (c *Client) install(ch *change) error {
	if err := c.keep(ch); err != nil {
		return err
	}
	c.set.commit(ch)
	c.use(ch.update)
	return nil
}

// use hands an update to the owner and notes what he rejects.
func (c *Client) use(u Update) {
	rejected := map[string]string{}
	for _, r := range c.cfg.Install(u) {
		rejected[r.Resource] = r.Reason
	}
	c.mu.Lock()
	before := c.rejected
	c.rejected = rejected
	c.index.Store(u.Index)
	c.mu.Unlock()
	for name, reason := range rejected {
		if before[name] != reason {
			c.cfg.Logger.Warn("resource rejected", "version", u.Index, "resource", name, "reason", reason)
		}
	}
	if c.cache != nil && !maps.Equal(before, rejected) {
		c.noteRejected(slices.Sorted(maps.Keys(rejected)))
	}
}
