package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Peer is a member as this node sees it.
type Peer struct {
	ID      string
	Address string
	Voter   bool
	Leader  bool
	// Known says that this node can tell whether the peer is reachable: the
	// leader can of all, others can of the leader and of themselves.
	Known     bool
	Reachable bool
	// Applied is the index of the peer's View; only known of this node itself.
	Applied uint64
	// LastContact is how long ago the peer was last heard of; 0 for this node.
	LastContact time.Duration
}

// Peers returns the members.
func (n *Node) Peers(context.Context) ([]Peer, error) {
	r, t := n.raft.Load(), n.transport.Load()
	if r == nil {
		return nil, ErrNoLeader
	}
	leading, now := n.IsLeader(), time.Now()
	leader, _ := n.Leader()
	var peers []Peer
	for _, s := range r.GetConfiguration().Configuration().Servers {
		p := Peer{ID: string(s.ID), Address: n.addressOf(s), Voter: s.Suffrage == raft.Voter, Leader: string(s.ID) == leader}
		var heard time.Time
		switch {
		case p.ID == n.cfg.ID:
			p.Known, p.Applied, heard = true, n.store.View().Index(), now
		case leading:
			p.Known, heard = true, t.contact(s.ID).answered
		case p.Leader:
			p.Known, heard = true, r.LastContact()
		}
		if p.Known && !heard.IsZero() {
			p.LastContact = now.Sub(heard)
			p.Reachable = p.LastContact < 2*n.cfg.HeartbeatTimeout
		}
		peers = append(peers, p)
	}
	return peers, nil
}

// AddPeer adds a member, or changes the address or the suffrage of one. Leader only.
func (n *Node) AddPeer(ctx context.Context, id, address string, nonvoter bool) error {
	if id == "" || address == "" {
		return errors.New("a peer needs an id and an address")
	}
	r := n.raft.Load()
	if !n.IsLeader() {
		return ErrNotLeader
	}
	// A voter that nobody can reach counts in every majority: a single node
	// would stop at once, so the address is tried before.
	c, err := n.gate.Dial(raft.ServerAddress(address), time.Second)
	if err != nil {
		return fmt.Errorf("reach %s at %s: %w", id, address, err)
	}
	// It served its purpose.
	_ = c.Close()
	n.addresses.set(id, address)
	return n.setMember(ctx, r, raft.ServerID(id), address, nonvoter)
}

func (n *Node) setMember(ctx context.Context, r *raft.Raft, id raft.ServerID, address string, nonvoter bool) error {
	change := r.AddVoter
	if nonvoter {
		change = r.AddNonvoter
	}
	return n.changeMembers(ctx, func(timeout time.Duration) raft.Future {
		return change(id, raft.ServerAddress(address), 0, timeout)
	})
}

// RemovePeer removes a member, which may be the leader itself. Leader only.
// The id may then be used by another folder.
func (n *Node) RemovePeer(ctx context.Context, id string) error {
	r := n.raft.Load()
	if !n.IsLeader() {
		return ErrNotLeader
	}
	if !inConfiguration(r.GetConfiguration().Configuration(), id) {
		return fmt.Errorf("node %s is not a member", id)
	}
	return n.changeMembers(ctx, func(timeout time.Duration) raft.Future {
		return r.RemoveServer(raft.ServerID(id), 0, timeout)
	})
}

// changeMembers waits for a membership change to be committed. An error that
// wraps ErrUnknownOutcome leaves open whether it will be.
func (n *Node) changeMembers(ctx context.Context, change func(timeout time.Duration) raft.Future) error {
	ctx, cancel := context.WithTimeout(ctx, 10*n.cfg.ElectionTimeout)
	defer cancel()
	err := proposeError(n.calls.await(ctx.Done(), func() error { return change(5 * n.cfg.ElectionTimeout).Error() }))
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", err, ctx.Err())
	}
	return err
}

// TransferLeader hands the leadership to the voter with this id, or to the most
// up-to-date one if id is empty. Leader only. Writes are refused meanwhile.
func (n *Node) TransferLeader(ctx context.Context, id string) error {
	r := n.raft.Load()
	if !n.IsLeader() {
		return ErrNotLeader
	}
	transfer := r.LeadershipTransfer
	if id != "" {
		address := raft.ServerAddress("")
		for _, s := range r.GetConfiguration().Configuration().Servers {
			if string(s.ID) == id && s.Suffrage == raft.Voter {
				address = s.Address
			}
		}
		switch {
		case address == "":
			return fmt.Errorf("node %s is not a voter", id)
		case id == n.cfg.ID:
			return nil
		}
		transfer = func() raft.Future { return r.LeadershipTransferToServer(raft.ServerID(id), address) }
	}
	if err := n.calls.await(ctx.Done(), func() error { return transfer().Error() }); err != nil {
		return fmt.Errorf("transfer the leadership: %w", errors.Join(err, ctx.Err()))
	}
	return nil
}
