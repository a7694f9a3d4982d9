// Package receive keeps an edge at the newest version: it follows the control
// plane (internal/syncclient), compiles what arrives (dataplane/compile) and
// hands each new table to whoever serves by it.
//
// It owns the order of things: a table is installed before its version is
// acknowledged, a resource that does not compile is NACKed by name while the
// others go on, and a place that was removed serves nothing any more. It leaves
// verification, the cache and reconnecting to syncclient.
package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/posternhq/postern/dataplane/compile"
	"github.com/posternhq/postern/internal/syncclient"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// Installer serves by tables.
type Installer interface {
	// Install swaps the table that requests are decided by; it returns when no
	// new request sees the old one. A nil table denies everything.
	Install(*compile.Table)
}

// Decisions explains what was refused by whoever serves.
type Decisions interface {
	// FindDecision returns a refusal by its id, or what is held instead.
	FindDecision(id string) (*edgev1.Decision, *edgev1.DecisionSearch)
}

// Config of a Receiver.
type Config struct {
	// ID is the id of the edge, which is its own carrier and place.
	ID           string
	AZ           string
	Address      string
	MaxStaleness time.Duration // 0: none
	// VPCs limits endpoints to these VPCs; empty: all.
	VPCs []string
	// Dir is the edge's data folder; empty: memory only.
	Dir     string
	Seal    syncclient.Sealer // of the cache in Dir
	Servers []string
	Dial    func(address string) (grpc.ClientConnInterface, error)
	Verify  func(domain int32, index uint64, setHash, signature, signer []byte) error

	Compile   compile.Config
	Installer Installer
	Decisions Decisions // nil: nothing is explained
	Logger    *slog.Logger
	Clock     func() time.Duration // nil: the system's
	Rand      io.Reader            // nil: crypto/rand
}

// Receiver follows the control plane for one edge.
type Receiver struct {
	cfg    Config
	client *syncclient.Client
	table  *compile.Table // of Run's goroutine
	gone   atomic.Bool    // removed from the cluster
}

// New opens the data folder and starts nothing.
func New(cfg Config) (*Receiver, error) {
	if cfg.Installer == nil {
		return nil, errors.New("receive: an Installer is required")
	}
	r := &Receiver{cfg: cfg}
	var err error
	r.client, err = syncclient.New(syncclient.Config{
		Domain: syncv1.Domain_DOMAIN_EDGE, Carrier: cfg.ID, VPCs: cfg.VPCs, Dir: cfg.Dir, Seal: cfg.Seal,
		Places: []syncclient.Place{{
			ID: cfg.ID, Kind: "edge", AZ: cfg.AZ, Address: cfg.Address, MaxStaleness: cfg.MaxStaleness,
		}},
		Servers: cfg.Servers, Dial: cfg.Dial, Verify: cfg.Verify, Install: r.install, Answer: r.answer,
		Logger: cfg.Logger, Clock: cfg.Clock, Rand: cfg.Rand,
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Run follows the control plane until ctx ends, which is no error, or the edge
// turns out to be removed: then nothing is served any more.
func (r *Receiver) Run(ctx context.Context) error {
	err := r.client.Run(ctx)
	if errors.Is(err, syncclient.ErrRemoved) {
		r.gone.Store(true)
		r.cfg.Installer.Install(nil)
		return fmt.Errorf("edge %s: %w", r.cfg.ID, err)
	}
	return err
}

func (r *Receiver) install(u syncclient.Update) []syncclient.Rejection {
	in := compile.Update{Index: u.Index, Full: u.Full, Removed: u.Removed, Changed: make([]compile.Resource, len(u.Changed))}
	for i, c := range u.Changed {
		in.Changed[i] = compile.Resource{Name: c.Name, Body: c.Body}
	}
	table, rejections := r.cfg.Compile.Compile(r.table, in)
	r.table = table
	r.cfg.Installer.Install(table)
	out := make([]syncclient.Rejection, len(rejections))
	for i, j := range rejections {
		out[i] = syncclient.Rejection(j)
	}
	return out
}

// answer answers the control plane.
func (r *Receiver) answer(q *syncv1.Query) *syncv1.Answer {
	id := q.GetDecision()
	if r.cfg.Decisions == nil || id == "" || len(id) > maxDecisionID {
		return nil
	}
	d, search := r.cfg.Decisions.FindDecision(id)
	if d != nil {
		return &syncv1.Answer{Message: &syncv1.Answer_Decision{Decision: d}}
	}
	return &syncv1.Answer{Message: &syncv1.Answer_Search{Search: search}}
}

// maxDecisionID bounds the id of a decision.
const maxDecisionID = 64

// Index is the version that is served, 0 for none.
func (r *Receiver) Index() uint64 { return r.client.Index() }

// Freshness is the time since this edge last knew that it had the newest version.
func (r *Receiver) Freshness() time.Duration { return r.client.Freshness() }

// Ready says why the edge can't serve yet, nil if it can.
func (r *Receiver) Ready() error {
	if r.gone.Load() {
		return syncclient.ErrRemoved
	}
	if r.Index() == 0 {
		return errors.New("no verified snapshot yet")
	}
	return nil
}

// Instance is the instance number of the data folder.
func (r *Receiver) Instance() string { return r.client.Instance() }

// Discard drops the cache of an edge that leaves for good. Run must have ended.
func (r *Receiver) Discard() error { return r.client.Discard() }
