package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
)

const (
	// introduceTimeout bounds one introduction; a peer that takes longer counts
	// as one that can't be reached.
	introduceTimeout = time.Second
	// introduceEvery is how often peers that have not been met are tried again.
	introduceEvery = 2 * time.Second
)

// found decides how a node without data may start, and says whether it has
// founded a cluster.
//
// Hazard: a voter that lost its disk and comes back under its id has forgotten
// what it acknowledged and whom it voted for. With one more vote it can make a
// leader that lacks an acknowledged write. So a folder whose log is gone does
// not start, nor does a new folder under an id that any peer has met with
// another one. What this can't see is a loss while every peer that knows is
// unreachable; see DESIGN.md.
func (n *Node) found(ctx context.Context, log LogStore, snapshots raft.SnapshotStore) (bool, error) {
	exists, err := raft.HasExistingState(log, log, snapshots)
	if err != nil {
		return false, fmt.Errorf("look for existing state: %w", err)
	}
	if exists {
		return false, n.identity.setStarted()
	}
	if n.identity.started() {
		return false, fmt.Errorf("%w: the log of folder %s is gone", ErrForgotten, n.cfg.Dir)
	}
	if len(n.cfg.Bootstrap) == 0 {
		return false, nil
	}
	if err := n.askPeers(ctx); err != nil {
		return false, err
	}
	configuration := raft.Configuration{}
	for _, s := range n.cfg.Bootstrap {
		configuration.Servers = append(configuration.Servers, raft.Server{
			Suffrage: raft.Voter, ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Address),
		})
	}
	// Every founder writes the same first entry, so it does not matter who wins.
	err = raft.BootstrapCluster(n.cfg.raft(newRaftLogger(n.cfg.Logger, func() bool { return ctx.Err() != nil })), log, log, snapshots, nil, configuration)
	if err != nil {
		return false, fmt.Errorf("write the first entry: %w", err)
	}
	return true, n.identity.setStarted()
}

// askPeers introduces a node that has nothing yet to all other founders.
func (n *Node) askPeers(ctx context.Context) error {
	refusals := make([]error, len(n.cfg.Bootstrap))
	var group sync.WaitGroup
	for i, s := range n.cfg.Bootstrap {
		if s.ID != n.cfg.ID {
			group.Go(func() {
				if err := n.introduceTo(ctx, s.ID, s.Address); status.Code(err) == codes.FailedPrecondition {
					refusals[i] = fmt.Errorf("%w: node %s: %w", ErrForgotten, s.ID, err)
				}
			})
		}
	}
	group.Wait()
	for _, err := range refusals {
		if err != nil {
			return err
		}
	}
	return nil
}

// introduceTo exchanges instances and addresses with a peer, if it is who is
// expected at the address.
func (n *Node) introduceTo(ctx context.Context, id, address string) error {
	if n.cfg.PeerConn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, introduceTimeout)
	defer cancel()
	conn, err := n.cfg.PeerConn(address)
	if err != nil {
		return err
	}
	resp, err := clusterv1.NewPeerClient(conn).Introduce(ctx, &clusterv1.IntroduceRequest{
		Id: n.cfg.ID, Instance: n.identity.instance(), Address: n.cfg.Address,
	})
	if err != nil {
		return err
	}
	if resp.GetId() != id {
		return fmt.Errorf("node %s is at %s, not %s", resp.GetId(), address, id)
	}
	known, err := n.meet(id, resp.GetInstance())
	if err != nil {
		return err
	}
	if known == resp.GetInstance() && resp.GetAddress() != "" {
		n.addresses.set(id, resp.GetAddress())
	}
	return nil
}

// meet notes which instance holds an id. It answers another one that the id is
// known with, if that is a member still.
func (n *Node) meet(id, instance string) (known string, err error) {
	member := true // until raft runs, all that were met may be
	if r := n.raft.Load(); r != nil {
		member = inConfiguration(r.GetConfiguration().Configuration(), id)
	}
	return n.identity.meet(id, instance, !member)
}

// introduce makes this node's instance and address known to all members that
// have not introduced themselves (an introduction tells both sides): the
// more of them know the instance, the surer it will be recognised after it has
// lost its disk, and whoever knows the address finds a node that has moved.
func (n *Node) introduce(ctx context.Context, r *raft.Raft) {
	var mu sync.Mutex
	refused := make(map[raft.ServerID]bool)
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, introduceEvery) {
		var group sync.WaitGroup
		for _, s := range r.GetConfiguration().Configuration().Servers {
			mu.Lock()
			skip := refused[s.ID] || s.ID == raft.ServerID(n.cfg.ID) || n.addresses.get(string(s.ID)) != ""
			mu.Unlock()
			if skip {
				continue
			}
			group.Go(func() {
				if n.introduceAnywhere(ctx, s) {
					mu.Lock()
					defer mu.Unlock()
					refused[s.ID] = true
				}
			})
		}
		group.Wait()
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// introduceAnywhere tries the addresses at which a peer may be: those that the
// membership and this start's list of founders name. It says whether the peer
// has refused.
func (n *Node) introduceAnywhere(ctx context.Context, s raft.Server) (refused bool) {
	try := []string{string(s.Address)}
	for _, f := range n.cfg.Bootstrap {
		if f.ID == string(s.ID) && f.Address != try[0] {
			try = append(try, f.Address)
		}
	}
	for _, address := range try {
		switch err := n.introduceTo(ctx, string(s.ID), address); {
		case status.Code(err) == codes.FailedPrecondition:
			// This node has its data: it is the peer's note that is out of date.
			n.cfg.Logger.Warn("a peer knows this node by another folder", "peer", s.ID, "error", err)
			return true
		case err == nil:
			return false
		}
	}
	return false
}

// committedMembers is told each committed membership, in the log's order.
func (n *Node) committedMembers(index uint64, c raft.Configuration) {
	n.addresses.follow(c, index > n.lastAtStart.Load())
	if err := n.identity.forget(func(id string) bool { return inConfiguration(c, id) }); err != nil {
		n.cfg.Logger.Warn("the node's identity can't be written", "error", err)
	}
}

func inConfiguration(c raft.Configuration, id string) bool {
	for _, s := range c.Servers {
		if string(s.ID) == id {
			return true
		}
	}
	return false
}

// hasten spares a new cluster the wait for an election timeout: the first of
// the founders stands for election as soon as a majority can be reached. If
// that comes to nothing, the timeouts do what they always do.
func (n *Node) hasten(ctx context.Context, r *raft.Raft, t *transport) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.HeartbeatTimeout)
	defer cancel()
	reached := 1
	for _, s := range n.cfg.Bootstrap {
		if reached > len(n.cfg.Bootstrap)/2 {
			break
		}
		if s.ID != n.cfg.ID && n.reach(ctx, s.Address) {
			reached++
		}
	}
	if _, leader := r.LeaderWithID(); leader != "" || reached <= len(n.cfg.Bootstrap)/2 {
		return
	}
	self := raft.ServerID(n.cfg.ID)
	request := &raft.TimeoutNowRequest{RPCHeader: n.header()}
	if err := t.TimeoutNow(self, raft.ServerAddress(n.cfg.Address), request, &raft.TimeoutNowResponse{}); err != nil {
		n.cfg.Logger.Debug("the first election has to wait for its timeout", "error", err)
	}
}

// reach dials a peer's raft listener until it accepts or ctx ends.
func (n *Node) reach(ctx context.Context, address string) bool {
	for ctx.Err() == nil {
		c, err := n.gate.Dial(raft.ServerAddress(address), n.cfg.HeartbeatTimeout)
		if err == nil {
			// It served its purpose.
			_ = c.Close()
			return true
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
	return false
}
