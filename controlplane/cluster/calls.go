package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// calls are calls of raft that block until raft answers. It has no other way to
// wait for a future, and forgets some futures when it shuts down.
type calls struct {
	mu     sync.Mutex
	closed bool
	group  sync.WaitGroup
}

// await calls f and gives up on it when done is closed. What was given up goes
// on until raft answers.
func (c *calls) await(done <-chan struct{}, f func() error) error {
	result := make(chan error, 1)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return raft.ErrRaftShutdown
	}
	c.group.Go(func() { result <- f() })
	c.mu.Unlock()
	select {
	case err := <-result:
		return err
	case <-done:
		select {
		case err := <-result:
			return err
		default:
			return raft.ErrRaftShutdown
		}
	}
}

// close lets no more calls begin and waits for those under way.
func (c *calls) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.group.Wait()
}
