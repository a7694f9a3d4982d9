package cluster

import (
	"context"

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
// up to it; one that has not refuses, and raft's own replication gets there.
//
// Invariant: the message names as previous entry and as commit index the same
// entry, which this node has applied, and which was made in the term that the
// message carries, by this node as its leader. It may be lost, late or repeated.
func (n *Node) tellFollowers(ctx context.Context, r *raft.Raft, t *transport) {
	var told fsm.Position
	messages := newSender()
	defer messages.wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.committed:
		}
		last := n.fsm.Position()
		if last == told || !n.leadsTerm(last.Term) {
			continue
		}
		told = last
		for _, s := range r.GetConfiguration().Configuration().Servers {
			if s.ID == raft.ServerID(n.cfg.ID) || t.isDown(s.ID) {
				continue
			}
			messages.send(s, func() { n.tell(t, s, last) })
		}
	}
}

func (n *Node) tell(t *transport, to raft.Server, last fsm.Position) {
	request := &raft.AppendEntriesRequest{
		RPCHeader:         n.header(),
		Term:              last.Term,
		Leader:            t.EncodePeer(raft.ServerID(n.cfg.ID), raft.ServerAddress(n.cfg.Address)),
		PrevLogEntry:      last.Index,
		PrevLogTerm:       last.Term,
		LeaderCommitIndex: last.Index,
	}
	// Whatever comes back, raft's own replication deals with it.
	_ = t.AppendEntries(to.ID, to.Address, request, &raft.AppendEntriesResponse{})
}

// header is what each of raft's messages begins with.
func (n *Node) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(n.cfg.ID), Addr: []byte(n.cfg.Address)}
}
