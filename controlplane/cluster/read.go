package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/posternhq/postern/controlplane/state"
	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
)

// rounds gathers readers: all that arrive while one read index is being
// obtained share the next one. A reader must not join a round under way, since
// that round's index may be older than a write acknowledged since.
type rounds struct {
	wake chan struct{} // capacity 1

	mu     sync.Mutex
	closed bool
	next   *round
}

type round struct {
	done  chan struct{}
	index uint64
	err   error
}

func newRounds() *rounds { return &rounds{wake: make(chan struct{}, 1)} }

func (r *rounds) join() (*round, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrStopped
	}
	if r.next == nil {
		r.next = &round{done: make(chan struct{})}
		signal(r.wake)
	}
	return r.next, nil
}

func (r *rounds) take() *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.next
	r.next = nil
	return next
}

func (r *rounds) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.next != nil {
		r.next.err = ErrStopped
		close(r.next.done)
	}
}

// ReadView returns a View that contains every write acknowledged, by any node,
// before the call. It waits for a leader at most ReadTimeout.
func (n *Node) ReadView(ctx context.Context) (*state.View, error) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.ReadTimeout)
	defer cancel()
	pause := time.Millisecond
	for {
		index, err := n.readIndex(ctx)
		if err == nil {
			return n.WaitIndex(ctx, index)
		}
		if errors.Is(err, ErrStopped) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrNoLeader, err)
		case <-time.After(pause):
		}
		pause = min(2*pause, 20*time.Millisecond)
	}
}

// WaitIndex returns a View of the index or a later one, as soon as there is one.
func (n *Node) WaitIndex(ctx context.Context, index uint64) (*state.View, error) {
	for {
		changed := n.store.Watch()
		if v := n.store.View(); v.Index() >= index {
			return v, nil
		}
		select {
		case <-changed:
		case <-n.stopped:
			return nil, ErrStopped
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for index %d at %d: %w", index, n.store.View().Index(), ctx.Err())
		}
	}
}

// StaleView returns the newest View that this node has; it says its index.
func (n *Node) StaleView() *state.View { return n.store.View() }

// readIndex obtains an index through the next round.
func (n *Node) readIndex(ctx context.Context) (uint64, error) {
	r, err := n.reads.join()
	if err != nil {
		return 0, err
	}
	select {
	case <-r.done:
		return r.index, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// serveReads runs the rounds, one at a time.
func (n *Node) serveReads(ctx context.Context, r *raft.Raft, t *transport) {
	defer n.reads.close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.reads.wake:
		}
		round := n.reads.take()
		if round == nil {
			continue
		}
		// A round that outlives an election asks the wrong node.
		rctx, cancel := context.WithTimeout(ctx, 2*n.cfg.ElectionTimeout)
		if n.IsLeader() {
			round.index, round.err = n.leaderReadIndex(rctx, r, t)
		} else {
			round.index, round.err = n.askLeader(rctx)
		}
		cancel()
		close(round.done)
	}
}

// askLeader is a follower's way: the leader's index, which this node's own View
// then has to reach.
func (n *Node) askLeader(ctx context.Context) (uint64, error) {
	id, address := n.Leader()
	if address == "" || id == n.cfg.ID || n.cfg.PeerConn == nil {
		return 0, ErrNoLeader
	}
	conn, err := n.cfg.PeerConn(address)
	if err != nil {
		return 0, fmt.Errorf("reach the leader: %w", err)
	}
	resp, err := clusterv1.NewPeerClient(conn).ReadIndex(ctx, &clusterv1.ReadIndexRequest{})
	if err != nil {
		return 0, fmt.Errorf("ask leader %s for its index: %w", id, err)
	}
	return resp.GetIndex(), nil
}

// leaderReadIndex returns the index of the leader's own View after making sure
// that no other leader can have acknowledged anything beyond it.
func (n *Node) leaderReadIndex(ctx context.Context, r *raft.Raft, t *transport) (uint64, error) {
	// Hazard: a new leader has all committed entries but may not have applied
	// them, nor know that they are committed, until an entry of its own term is
	// (Ongaro's thesis, 6.4, step 1). A barrier is that entry, and it returns
	// once everything before it has gone through the FSM.
	term := r.CurrentTerm()
	if n.barrierTerm.Load() != term {
		if err := n.calls.await(ctx.Done(), func() error { return r.Barrier(n.cfg.ElectionTimeout).Error() }); err != nil {
			return 0, fmt.Errorf("%w: barrier of term %d: %w", ErrNotLeader, term, err)
		}
		if r.CurrentTerm() != term {
			return 0, ErrNotLeader
		}
		n.barrierTerm.Store(term)
	}
	// The order matters: the instant, then the index, then the confirmation of
	// leadership by requests sent after the instant. The index is that of the
	// View: CommitIndex counts no-ops that never reach the View, AppliedIndex
	// runs ahead of it.
	start := time.Now()
	index := n.store.View().Index()
	if err := n.confirmLeadership(ctx, r, t, term, start); err != nil {
		return 0, err
	}
	return index, nil
}

// confirmLeadership returns once a majority of the voters has accepted this
// node as leader of the term after the instant start.
//
// Hazard: raft's VerifyLeader proves too little. It counts the first answer to
// come in, also one to a heartbeat that was on its way before the call and may
// be older than the election of another leader, and it counts non-voters. So
// the heartbeats are sent from here, and what decides is the transport's record
// of which voters answered what was sent when; raft's own heartbeats count too.
func (n *Node) confirmLeadership(ctx context.Context, r *raft.Raft, t *transport, term uint64, start time.Time) error {
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		servers := r.GetConfiguration().Configuration().Servers
		confirmed := t.confirmed(raft.ServerID(n.cfg.ID), term, start, servers)
		if !n.leadsTerm(term) {
			return ErrNotLeader
		}
		if confirmed {
			return nil
		}
		for _, s := range servers {
			if s.Suffrage == raft.Voter && s.ID != raft.ServerID(n.cfg.ID) && !t.contact(s.ID).after(term, start) {
				n.heartbeats.send(s, func() { n.heartbeat(t, s, term) })
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("confirm the leadership: %w", ctx.Err())
		case <-n.heartbeats.answered:
		case <-look.C: // raft's own heartbeats tell nobody
		}
	}
}

func (n *Node) heartbeat(t *transport, to raft.Server, term uint64) {
	request := &raft.AppendEntriesRequest{
		RPCHeader: n.header(),
		Term:      term,
	}
	// The transport records what matters of the answer.
	_ = t.AppendEntries(to.ID, to.Address, request, &raft.AppendEntriesResponse{})
}

// notLeaderStatus is how a peer learns that it asked the wrong node.
func notLeaderStatus() error { return status.Error(codes.FailedPrecondition, ErrNotLeader.Error()) }
