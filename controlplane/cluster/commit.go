package cluster

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	"github.com/posternhq/postern/controlplane/fsm"
)

// tellFollowers makes followers learn at once that an entry is committed.
//
// Raft tells them with the next entry or, if none follows, after CommitTimeout.
// A short one costs a stream of empty messages day and night, a long one makes
// the last write before a pause late on every follower, and so at their edges
// and in their linearizable reads. So the leader sends the message that raft
// would send later: an AppendEntries of its term without entries, whose
// previous entry is the one committed. A follower that has that entry commits
// up to it; one that has not yet refuses, and is told again.
//
// Invariant: the message names as previous entry and as commit index the same
// entry, which this node has applied, and which was made in the term that the
// message carries, by this node as its leader. It may be lost, late or repeated.
func (n *Node) tellFollowers(ctx context.Context, r *raft.Raft, t *transport) {
	told := make(map[raft.ServerID]fsm.Position)
	messages := newSender()
	defer messages.wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.committed:
		case <-messages.answered:
			// While that message was under way something newer may have been
			// committed that its follower could not be told yet.
		}
		last := n.fsm.Position()
		if !n.leadsTerm(last.Term) {
			continue
		}
		for _, s := range r.GetConfiguration().Configuration().Servers {
			if s.ID == raft.ServerID(n.cfg.ID) || told[s.ID] == last || t.isDown(s.ID) {
				continue
			}
			if messages.send(s, func() { n.tell(ctx, t, s, last) }) {
				told[s.ID] = last
			}
		}
	}
}

// tell tells one follower, again while it does not have the entry yet: the
// slowest of them has not, when the others have made it committed.
func (n *Node) tell(ctx context.Context, t *transport, to raft.Server, last fsm.Position) {
	request := &raft.AppendEntriesRequest{
		RPCHeader:         n.header(),
		Term:              last.Term,
		PrevLogEntry:      last.Index,
		PrevLogTerm:       last.Term,
		LeaderCommitIndex: last.Index,
	}
	// Beyond CommitTimeout raft's own message is due.
	for began, pause := time.Now(), 2*time.Millisecond; time.Since(began) < n.cfg.CommitTimeout; pause *= 2 {
		response := &raft.AppendEntriesResponse{}
		err := t.AppendEntries(to.ID, to.Address, request, response)
		if err != nil || response.Success || n.fsm.Position() != last || !n.leadsTerm(last.Term) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// header is what each of raft's messages begins with.
func (n *Node) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(n.cfg.ID), Addr: []byte(n.cfg.Address)}
}
