package cluster

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// transport is raft's own, and remembers which peer accepted this node as
// leader, in which term, by a request that was sent when. Reads stand on this
// record (see read.go), and so does what Peers says about who can be reached.
type transport struct {
	*raft.NetworkTransport

	mu       sync.Mutex
	contacts map[raft.ServerID]contact
}

// contact is the latest accepted request to a peer.
type contact struct {
	term     uint64
	sent     time.Time // before the request left
	answered time.Time
}

func newTransport(inner *raft.NetworkTransport) *transport {
	return &transport{NetworkTransport: inner, contacts: make(map[raft.ServerID]contact)}
}

// AppendEntries carries heartbeats, and entries outside the pipeline.
func (t *transport) AppendEntries(id raft.ServerID, to raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	sent := time.Now()
	if err := t.NetworkTransport.AppendEntries(id, to, req, resp); err != nil {
		return err
	}
	if resp.Success && resp.Term == req.Term {
		t.mu.Lock()
		defer t.mu.Unlock()
		// Heartbeats and entries are sent by different goroutines: the request
		// that was sent last is what counts, not the one answered last.
		if old := t.contacts[id]; req.Term > old.term || req.Term == old.term && sent.After(old.sent) {
			t.contacts[id] = contact{term: req.Term, sent: sent, answered: time.Now()}
		}
	}
	return nil
}

func (t *transport) contact(id raft.ServerID) contact {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.contacts[id]
}

// confirmed says whether a majority of the voters, this node included, accepted
// it as the leader of the term by requests that left after the given instant.
func (t *transport) confirmed(self raft.ServerID, term uint64, after time.Time, servers []raft.Server) bool {
	voters, votes := 0, 0
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if c := t.contacts[s.ID]; s.ID == self || c.term == term && c.sent.After(after) {
			votes++
		}
	}
	return votes > voters/2
}
