package vpce

import (
	"context"
	"net"
	"sync"
	"time"
)

// A dropped SYN is retried by Linux for about 130 seconds (tcp_syn_retries 6)
// before the caller is told; a silent connection lasts as long.
const (
	silenceLife = 130 * time.Second
	silenceMax  = 2048
)

// Silence holds the connections of those who are not admitted. They are closed
// when their time is up, or, oldest first, when there are too many. Its zero
// value is ready; Run must run for connections to end.
type Silence struct {
	mu     sync.Mutex
	held   []heldConn // oldest first
	closed bool
}

type heldConn struct {
	conn  net.Conn
	until time.Time
}

// Take makes a connection silent. The caller must not touch it again.
func (s *Silence) Take(conn net.Conn) {
	s.mu.Lock()
	var drop net.Conn
	switch {
	case s.closed:
		drop = conn
	default:
		if len(s.held) >= silenceMax {
			drop = s.held[0].conn
			s.held[0] = heldConn{}
			s.held = s.held[1:]
		}
		s.held = append(s.held, heldConn{conn, time.Now().Add(silenceLife)})
	}
	s.mu.Unlock()
	if drop != nil {
		drop.Close()
	}
}

// Len is how many connections are held.
func (s *Silence) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// Run ends connections when their time is up, and all of them when ctx ends.
func (s *Silence) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.mu.Lock()
			s.closed = true
			left := s.held
			s.held = nil
			s.mu.Unlock()
			for _, h := range left {
				h.conn.Close()
			}
			return nil
		case now := <-tick.C:
			for _, conn := range s.expired(now) {
				conn.Close()
			}
		}
	}
}

func (s *Silence) expired(now time.Time) (conns []net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.held) > 0 && !now.Before(s.held[0].until) {
		conns = append(conns, s.held[0].conn)
		s.held[0] = heldConn{}
		s.held = s.held[1:]
	}
	return conns
}
