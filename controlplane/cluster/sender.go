package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// sender sends messages of one kind to the peers, one at a time to each: a peer
// that hangs holds up nobody and piles nothing up.
type sender struct {
	answered chan struct{} // capacity 1: one was, or failed

	group sync.WaitGroup
	mu    sync.Mutex
	busy  map[raft.ServerID]bool
}

func newSender() *sender {
	return &sender{answered: make(chan struct{}, 1), busy: make(map[raft.ServerID]bool)}
}

// send calls f in a goroutine, unless one for this peer is under way; then it
// reports false.
func (s *sender) send(to raft.Server, f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[to.ID] {
		return false
	}
	s.busy[to.ID] = true
	s.group.Go(func() {
		f()
		s.mu.Lock()
		delete(s.busy, to.ID)
		s.mu.Unlock()
		signal(s.answered)
	})
	return true
}

// wait returns when nothing is under way.
func (s *sender) wait() { s.group.Wait() }
