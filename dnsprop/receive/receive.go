// Package receive keeps a DNS server supplied: it follows the control plane's
// stream of DNS snapshots, installs them, and acknowledges a version for each
// place at the moment that place shows it, which is later than its arrival.
//
// It owns the tie between dnsprop.Server and the sync client, and nothing else.
// A Receiver is for one Run.
package receive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/posternhq/postern/dnsprop"
	"github.com/posternhq/postern/internal/syncclient"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// Config of a Receiver.
type Config struct {
	// ID names the process, as its certificate does.
	ID     string
	Server *dnsprop.Server
	// Dir is the data folder: instance number and cache. Empty: memory only.
	Dir string
	// Seal is of the cache in Dir.
	Seal syncclient.Sealer
	// Servers are addresses of control-plane nodes.
	Servers []string
	Dial    func(address string) (grpc.ClientConnInterface, error)
	Verify  func(domain int32, index uint64, setHash, signature, signer []byte) error
	Logger  *slog.Logger
}

// Receiver runs a DNS server and its supply.
type Receiver struct {
	cfg    Config
	client *syncclient.Client
	// rejected are the resources that are not in their newest form. Only the
	// client's goroutine, which installs, uses it.
	rejected map[string]string
}

// New opens the data folder and starts nothing.
func New(cfg Config) (*Receiver, error) {
	r := &Receiver{cfg: cfg, rejected: map[string]string{}}
	var err error
	r.client, err = syncclient.New(syncclient.Config{
		Domain:    syncv1.Domain_DOMAIN_DNS,
		Carrier:   cfg.ID,
		Dir:       cfg.Dir,
		Seal:      cfg.Seal,
		Servers:   cfg.Servers,
		Dial:      cfg.Dial,
		Verify:    cfg.Verify,
		Install:   r.install,
		Answer:    r.answer,
		ManualAck: true,
		Logger:    cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("dns server %s: %w", cfg.ID, err)
	}
	return r, nil
}

// Run binds the sockets, follows the control plane and serves until ctx ends.
func (r *Receiver) Run(ctx context.Context) error {
	// The places register with the addresses that they really have.
	if err := r.cfg.Server.Listen(ctx); err != nil {
		return err
	}
	var places []syncclient.Place
	for _, p := range r.cfg.Server.Places() {
		places = append(places, syncclient.Place{ID: p.GetId(), Kind: p.GetKind(), AZ: p.GetAz(), Address: p.GetAddress()})
	}
	r.client.SetPlaces(places)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.cfg.Server.Run(ctx) })
	g.Go(func() error {
		err := r.client.Run(ctx)
		if errors.Is(err, syncclient.ErrRemoved) {
			return fmt.Errorf("dns server %s: %w", r.cfg.ID, err)
		}
		return err
	})
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-r.cfg.Server.Notify():
				r.acknowledge()
			}
		}
	})
	return g.Wait()
}

// answer answers the control plane.
func (r *Receiver) answer(q *syncv1.Query) *syncv1.Answer {
	switch {
	case q.GetName() != nil:
		return &syncv1.Answer{Message: &syncv1.Answer_Explanation{Explanation: r.cfg.Server.Explain(q.GetName())}}
	case q.GetProgress() != nil:
		return &syncv1.Answer{Message: &syncv1.Answer_Progress{Progress: r.cfg.Server.Progress(q.GetProgress())}}
	}
	return nil
}

func (r *Receiver) acknowledge() {
	var versions []syncclient.PlaceVersion
	for _, v := range r.cfg.Server.Versions() {
		versions = append(versions, syncclient.PlaceVersion{Place: v.GetPlace(), Index: v.GetIndex()})
	}
	r.client.Ack(versions)
}

func (r *Receiver) install(u syncclient.Update) []syncclient.Rejection {
	update := dnsprop.Update{Index: u.Index, Full: u.Full, Removed: u.Removed}
	for _, resource := range u.Changed {
		update.Changed = append(update.Changed, dnsprop.Resource{Name: resource.Name, Body: resource.Body})
	}
	if u.Full {
		clear(r.rejected)
	}
	for _, resource := range u.Changed {
		delete(r.rejected, resource.Name)
	}
	for _, name := range u.Removed {
		delete(r.rejected, name)
	}
	for _, rejection := range r.cfg.Server.Install(context.Background(), update) {
		r.rejected[rejection.Resource] = rejection.Reason
	}
	var out []syncclient.Rejection
	for resource, reason := range r.rejected {
		out = append(out, syncclient.Rejection{Resource: resource, Reason: reason})
	}
	return out
}
