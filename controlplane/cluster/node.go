package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/posternhq/postern/controlplane/fsm"
	"github.com/posternhq/postern/controlplane/state"
)

// Node is one member of the cluster.
type Node struct {
	cfg      Config
	store    *state.Store
	fsm      *fsm.FSM
	gate     *gate
	identity *identityFile
	metrics  *metrics

	proposals  *queue
	reads      *rounds
	heartbeats *sender
	calls      calls
	addresses  addresses
	// lastAtStart is the last entry of the log when this node started.
	lastAtStart atomic.Uint64
	committed   chan struct{} // capacity 1: an entry was, and none follows yet

	raft        atomic.Pointer[raft.Raft] // nil before Run
	transport   atomic.Pointer[transport]
	leadership  atomic.Pointer[leadership]
	barrierTerm atomic.Uint64 // the term whose barrier has passed on this leader
	caughtUp    atomic.Bool   // a read has succeeded since the last time without a leader
	stopped     chan struct{} // closed when Run ends
}

// leadership is what was last seen of it; changed is closed at the next change.
type leadership struct {
	leading bool
	id      string
	address string
	changed chan struct{}
}

// New checks the configuration and opens the folder's identity. Nothing is
// started before Run, which is called once.
func New(cfg Config) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("cluster configuration: %w", err)
	}
	if err := makeDir(cfg.Dir); err != nil {
		return nil, err
	}
	id, err := openIdentity(cfg.Dir, cfg.ID, cfg.Rand)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg:        cfg,
		store:      state.New(),
		gate:       newGate(cfg.Stream, cfg.ID, cfg.Address),
		identity:   id,
		proposals:  newQueue(),
		reads:      newRounds(),
		heartbeats: newSender(),
		committed:  make(chan struct{}, 1),
		stopped:    make(chan struct{}),
	}
	n.fsm = fsm.New(n.store, n.committedMembers)
	n.leadership.Store(&leadership{changed: make(chan struct{})})
	if n.metrics, err = newMetrics(cfg.Registerer, n); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return n, nil
}

// Store returns the node's own state, for watchers.
func (n *Node) Store() *state.Store { return n.store }

// Instance names the node's folder.
func (n *Node) Instance() string { return n.identity.instance() }

// Run takes part in the cluster until ctx ends. Then it answers what is under
// way, hands over a leadership if it can, and closes its folder.
func (n *Node) Run(ctx context.Context) (err error) {
	defer close(n.stopped)
	defer n.refuseQueued()
	// Also when raft never starts, its listener is this node's to close.
	defer n.gate.close()
	defer n.identity.close()

	inner, err := n.cfg.OpenLog(n.cfg.Dir)
	if err != nil {
		return errors.Join(err, n.gate.Close())
	}
	defer func() { err = errors.Join(err, inner.Close()) }()
	log := newWatchedLog(inner, n.metrics.syncs)
	logger := newRaftLogger(n.cfg.Logger, func() bool { return ctx.Err() != nil })
	snapshots, err := n.cfg.OpenSnapshots(n.cfg.Dir, logger)
	if err != nil {
		return errors.Join(err, n.gate.Close())
	}
	founded, err := n.found(ctx, log, snapshots)
	if err != nil {
		return errors.Join(err, n.gate.Close())
	}

	t := newTransport(raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:                n.gate,
		ServerAddressProvider: addressProvider{n},
		MaxPool:               3,
		// A peer that takes connections but never answers (paused, or behind a
		// network that swallows packets) is given up after this and dialled anew.
		Timeout: max(time.Second, 4*n.cfg.HeartbeatTimeout),
		// No pipelining: in raft v1.7.3 a refusal by a follower can leave the
		// sender of a full pipeline waiting forever, while heartbeats keep that
		// follower quiet and Shutdown waits too (hashicorp/raft issue 612).
		// Batches are larger without, and no slower on a local network.
		MaxRPCsInFlight: 1,
		Logger:          logger,
	}), n.replicating)
	changes := make(chan bool, 16)
	rc := n.cfg.raft(logger)
	rc.NotifyCh = changes
	cached, err := raft.NewLogCache(cachedEntries, log)
	if err != nil {
		return errors.Join(fmt.Errorf("cache the log: %w", err), t.Close())
	}
	last, err := log.LastIndex()
	if err != nil {
		return errors.Join(fmt.Errorf("find the end of the log: %w", err), t.Close())
	}
	n.lastAtStart.Store(last)
	r, err := raft.NewRaft(rc, n.fsm, cached, log, snapshots, t)
	if err != nil {
		return errors.Join(fmt.Errorf("start raft: %w", err), t.Close())
	}
	n.transport.Store(t)
	n.raft.Store(r)
	n.cfg.Logger.Info("node started", "address", n.cfg.Address, "instance", n.identity.instance(),
		"index", n.store.View().Index(), "last_log_index", r.LastIndex())
	return n.serve(ctx, r, t, log, changes, founded)
}

// cachedEntries are kept in memory for followers that lag a little.
const cachedEntries = 256

// serve runs the node's goroutines, and ends them in the order in which they
// need each other: first those that ask raft, then raft, then the others.
func (n *Node) serve(ctx context.Context, r *raft.Raft, t *transport, log *watchedLog, changes <-chan bool, founded bool) error {
	asking, stopAsking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAsking()
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var askers, others sync.WaitGroup
	down := make(chan struct{})
	entries := make(chan underWay, entriesUnderWay-2) // one is waited for, one is being handed over
	askers.Go(func() { n.serveReads(asking, r, t) })
	askers.Go(func() { n.propose(asking, r, entries) })
	askers.Go(func() { n.answer(entries, down) })
	others.Go(func() { n.watchDisk(inner, r, log) })
	others.Go(func() { n.watchLeadership(inner, r, changes) })
	others.Go(func() { n.tellFollowers(inner, r, t) })
	others.Go(func() { n.catchUp(inner) })
	others.Go(func() { n.introduce(inner, r) })
	if founded && n.cfg.Bootstrap[0].ID == n.cfg.ID {
		others.Go(func() { n.hasten(inner, r, t) })
	}

	<-ctx.Done()
	// Raft forgets some of what it was asked when it shuts down, and would leave
	// the askers without an answer. What is under way is given the time that a
	// leader needs to commit it, or to find out that it can't.
	stopAsking()
	within(2*n.cfg.ElectionTimeout, func() {
		askers.Wait()
		n.handOver(ctx)
		n.calls.close()
	})
	// Raft's main loop may be waiting for a disk: then so does this, since a
	// process that leaves a write under way behind could not open the folder again.
	ended := r.Shutdown()
	// Its goroutines may also be waiting for peers, and need not.
	n.gate.close()
	err := ended.Error()
	n.gate.wait()
	close(down)
	cancel()
	askers.Wait()
	others.Wait()
	n.heartbeats.wait()
	n.cfg.Logger.Info("node stopped", "index", n.store.View().Index())
	return err
}

// handOver gives the leadership away before this node ends, so that the others
// need not miss it first. Failing that they will.
func (n *Node) handOver(ctx context.Context) {
	if n.cfg.KeepLeadership {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.cfg.ElectionTimeout)
	defer cancel()
	if err := n.TransferLeader(ctx, ""); err != nil && !errors.Is(err, ErrNotLeader) {
		n.cfg.Logger.Debug("the leadership stays without an heir", "error", err)
	}
}

// within waits for f, but no longer than d.
func within(d time.Duration, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// IsLeader says whether this node leads and can act as leader.
func (n *Node) IsLeader() bool {
	r := n.raft.Load()
	return r != nil && r.State() == raft.Leader && !n.gate.isShut()
}

// leadsTerm says whether this node leads the term, as far as it knows.
func (n *Node) leadsTerm(term uint64) bool {
	r := n.raft.Load()
	return r != nil && r.CurrentTerm() == term && r.State() == raft.Leader
}

// replicating says whether entries of the term go from here to the peer.
func (n *Node) replicating(term uint64, id raft.ServerID, at raft.ServerAddress) bool {
	return n.leadsTerm(term) && slices.ContainsFunc(n.raft.Load().GetConfiguration().Configuration().Servers, func(s raft.Server) bool {
		return s.ID == id && s.Address == at
	})
}

// Leader returns the leader as far as this node knows; empty: none.
func (n *Node) Leader() (id, address string) {
	r := n.raft.Load()
	if r == nil || n.gate.isShut() {
		return "", ""
	}
	a, i := r.LeaderWithID()
	return string(i), string(a)
}

// LeadershipChanged returns a channel that is closed when another node leads,
// none does any more, or this one begins or ceases to. Take it before asking.
func (n *Node) LeadershipChanged() <-chan struct{} { return n.leadership.Load().changed }

// Ready returns nil once this node has caught up with the cluster and as long
// as it knows a leader, else why not.
func (n *Node) Ready() error {
	switch id, _ := n.Leader(); {
	case n.raft.Load() == nil:
		return errors.New("the node has not started")
	case n.gate.isShut():
		return errors.New("the disk does not answer")
	case id == "":
		return ErrNoLeader
	case !n.caughtUp.Load():
		return fmt.Errorf("catching up, at index %d", n.store.View().Index())
	}
	return nil
}

// catchUp makes a linearizable read at the start, and again after each time
// without a leader: when it succeeds, this node's View has what the cluster had.
func (n *Node) catchUp(ctx context.Context) {
	for {
		changed := n.LeadershipChanged()
		if id, _ := n.Leader(); id == "" {
			n.caughtUp.Store(false)
		} else if !n.caughtUp.Load() {
			_, err := n.ReadView(ctx)
			if err != nil && ctx.Err() == nil && !errors.Is(err, ErrStopped) {
				continue
			}
			n.caughtUp.Store(err == nil)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// watchLeadership follows raft's leadership until ctx ends.
func (n *Node) watchLeadership(ctx context.Context, r *raft.Raft, changes <-chan bool) {
	// Observations are dropped when the channel is full; then enough of them are
	// left in it to look again.
	seen := make(chan raft.Observation, 16)
	observer := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	r.RegisterObserver(observer)
	defer r.DeregisterObserver(observer)
	for {
		n.refreshLeadership()
		select {
		case <-ctx.Done():
			return
		case <-seen:
		case leading := <-changes:
			if leading {
				n.cfg.Logger.Info("leadership gained", "term", r.CurrentTerm())
				// Nobody may be reading yet: the barrier of the term is made now, so
				// that the first reader does not have to wait for it.
				_, _ = n.reads.join()
			} else {
				n.cfg.Logger.Info("leadership lost", "term", r.CurrentTerm())
			}
		}
		if r.LastIndex() > 0 {
			if err := n.identity.setStarted(); err != nil {
				n.cfg.Logger.Warn("the node's identity can't be written", "error", err)
			}
		}
	}
}

// refreshLeadership wakes those who wait for a change, if there is one.
func (n *Node) refreshLeadership() {
	next := &leadership{leading: n.IsLeader(), changed: make(chan struct{})}
	next.id, next.address = n.Leader()
	for {
		old := n.leadership.Load()
		if old.leading == next.leading && old.id == next.id && old.address == next.address {
			return
		}
		if n.leadership.CompareAndSwap(old, next) {
			close(old.changed)
			return
		}
	}
}
