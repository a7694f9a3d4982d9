package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/posternhq/postern/controlplane/snapshot"
	"github.com/posternhq/postern/controlplane/state"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// Signer signs the hash of a set at an index, and names itself by its
// certificate.
type Signer interface {
	Sign(domain int32, index uint64, setHash []byte) (signature, certDER []byte, err error)
}

// Config of a Publisher.
type Config struct {
	// Node is the id of this node in reports.
	Node    string
	Store   Store
	Sources map[syncv1.Domain]snapshot.Source
	Signer  Signer
	// Register has places written into the state, by whichever node leads. Nil:
	// places are not registered, nor refused.
	Register func(ctx context.Context, req *adminv1.RegisterPlacesRequest) error
	// Authorize says whether the peer of ctx may read a domain as this carrier.
	// Nil: everybody may.
	Authorize func(ctx context.Context, domain syncv1.Domain, carrier string) error
	// SignCertificate signs the key of a place. Nil: not offered.
	SignCertificate func(ctx context.Context, csr []byte) (chain [][]byte, err error)
	// Barrier is this node's, used while it leads.
	Barrier *Barrier
	// Leader returns the connection to the node that leads, or self if this one
	// does; neither if nobody is known to. Nil: this node always does.
	Leader     func() (conn grpc.ClientConnInterface, self bool)
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Publisher is the EdgeSync service of one node.
type Publisher struct {
	syncv1.UnimplementedEdgeSyncServer
	cfg       Config
	feeds     map[syncv1.Domain]*feed
	connected *connected
	metrics   *metrics
	stopped   chan struct{} // closed when Run ends
}

// New returns a Publisher that does nothing until Run.
func New(cfg Config) (*Publisher, error) {
	if cfg.Store == nil || cfg.Signer == nil || cfg.Barrier == nil {
		return nil, errors.New("publish: Store, Signer and Barrier are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Leader == nil {
		cfg.Leader = func() (grpc.ClientConnInterface, bool) { return nil, true }
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	p := &Publisher{cfg: cfg, feeds: map[syncv1.Domain]*feed{}, connected: newConnected(m), metrics: m, stopped: make(chan struct{})}
	for domain, source := range cfg.Sources {
		p.feeds[domain] = newFeed(domain, source, cfg.Signer)
	}
	return p, nil
}

// Run follows the store and reports to the leader until ctx ends. Streams that
// are still open end with it.
func (p *Publisher) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, f := range p.feeds {
		wg.Go(func() { f.run(ctx, p.cfg.Store) })
	}
	wg.Go(func() { p.watchPlaces(ctx) })
	wg.Go(func() { p.report(ctx) })
	<-ctx.Done()
	close(p.stopped)
	wg.Wait()
	return nil
}

// SignCertificate implements EdgeSync.
func (p *Publisher) SignCertificate(ctx context.Context, req *syncv1.SignCertificateRequest) (*syncv1.SignCertificateResponse, error) {
	if p.cfg.SignCertificate == nil {
		return nil, status.Error(codes.Unimplemented, "this node signs no certificates")
	}
	chain, err := p.cfg.SignCertificate(ctx, req.GetCsr())
	if err != nil {
		return nil, err
	}
	return &syncv1.SignCertificateResponse{Chain: chain}, nil
}

func placeRecord(v *state.View, id string) *statev1.Place {
	return v.Get(state.Key{Type: statev1.Type_TYPE_PLACE, ID: id}).GetPlace()
}

// watchPlaces ends the streams of places that were removed, or whose id was
// given to another instance.
func (p *Publisher) watchPlaces(ctx context.Context) {
	var at uint64
	for {
		v, err := await(ctx, p.cfg.Store, func(v *state.View) bool { return v.Index() > at })
		if err != nil {
			return
		}
		ids, any := changedPlaces(v, at)
		at = v.Index()
		if !any || p.cfg.Register == nil {
			continue
		}
		// Asked of the newest View, not of v: an instance that was let in since then
		// must not be taken for the one that was removed.
		stale := func(id, instance string) bool {
			return placeRecord(p.cfg.Store.View(), id).GetInstance() != instance
		}
		p.cfg.Barrier.forget(ids, stale)
		for _, s := range p.connected.forget(ids, stale) {
			// A DNS server goes on with the places that are left.
			if s.feed.domain == syncv1.Domain_DOMAIN_EDGE {
				s.stop(errRemoved)
			}
		}
	}
}

// changedPlaces returns the ids whose record changed since a View; nil and true
// if any of them may have.
func changedPlaces(v *state.View, since uint64) (ids map[string]bool, any bool) {
	changes, ok := v.Changed(since)
	if !ok {
		return nil, true
	}
	for _, c := range changes {
		if c.Key.Type == statev1.Type_TYPE_PLACE {
			if ids == nil {
				ids = map[string]bool{}
			}
			ids[c.Key.ID] = true
		}
	}
	return ids, ids != nil
}
