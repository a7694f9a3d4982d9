package cluster

import (
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// transport is raft's own, with two additions. It remembers which peer accepted
// this node as leader, in which term, by a request that was sent when: reads
// stand on this record (see read.go), and so does what Peers says about who can
// be reached. And it holds entries back from a peer that does not answer until a
// heartbeat gets through: raft retries entries after up to 10 s, its heartbeats
// after half a heartbeat timeout, so a peer that returns would lag for nothing.
type transport struct {
	*raft.NetworkTransport
	// replicating says whether this node, as far as it knows, leads the term and
	// has the peer as a member.
	replicating func(term uint64, id raft.ServerID, at raft.ServerAddress) bool

	mu       sync.Mutex
	contacts map[raft.ServerID]contact
	// down has those that did not answer last; the channel is closed when they do.
	down map[raft.ServerID]chan struct{}
}

// contact is the latest accepted request to a peer.
type contact struct {
	term     uint64
	sent     time.Time // before the request left
	answered time.Time
}

func (c contact) after(term uint64, instant time.Time) bool {
	return c.term == term && c.sent.After(instant)
}

func newTransport(inner *raft.NetworkTransport, replicating func(uint64, raft.ServerID, raft.ServerAddress) bool) *transport {
	return &transport{
		NetworkTransport: inner,
		replicating:      replicating,
		contacts:         make(map[raft.ServerID]contact),
		down:             make(map[raft.ServerID]chan struct{}),
	}
}

// EncodePeer is what the others are told as a node's address: without the id
// that the address provider adds for dialling.
func (t *transport) EncodePeer(_ raft.ServerID, address raft.ServerAddress) []byte {
	return []byte(address)
}

// AppendEntries carries heartbeats and entries.
func (t *transport) AppendEntries(id raft.ServerID, to raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	heartbeat := req.PrevLogEntry == 0 && req.LeaderCommitIndex == 0 && len(req.Entries) == 0
	if !heartbeat {
		if err := t.awaitUp(id, to, req.Term); err != nil {
			return err
		}
	}
	sent := time.Now()
	err := t.NetworkTransport.AppendEntries(id, to, req, resp)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch up := t.down[id]; {
	case err != nil && up == nil:
		t.down[id] = make(chan struct{})
	case err == nil && up != nil:
		close(up)
		delete(t.down, id)
	}
	// Heartbeats and entries are sent by different goroutines: the request that
	// was sent last is what counts, not the one answered last.
	if err == nil && resp.Success && resp.Term == req.Term {
		if old := t.contacts[id]; req.Term > old.term || req.Term == old.term && sent.After(old.sent) {
			t.contacts[id] = contact{term: req.Term, sent: sent, answered: time.Now()}
		}
	}
	return err
}

var errNotReplicating = errors.New("this node does not replicate to the peer any more")

// awaitUp waits until a peer that did not answer does, as long as entries are
// to be sent to it: nothing tells when that ends, so it looks now and then.
func (t *transport) awaitUp(id raft.ServerID, at raft.ServerAddress, term uint64) error {
	t.mu.Lock()
	up := t.down[id]
	t.mu.Unlock()
	if up == nil {
		return nil
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-up:
			return nil
		case <-look.C:
			if !t.replicating(term, id, at) {
				return errNotReplicating
			}
		}
	}
}

func (t *transport) isDown(id raft.ServerID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.down[id] != nil
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
		if s.ID == self || t.contacts[s.ID].after(term, after) {
			votes++
		}
	}
	return votes > voters/2
}
