package dnsprop

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/posternhq/postern/dnsprop/message"
)

const (
	// maxWaiting bounds what is under way for one connection: forwarded queries
	// and transfers. Past it the connection is not read, so its client is held
	// up by TCP.
	maxWaiting = 32
	// flushSize is how many bytes of responses gather while whole queries are
	// there to be read.
	flushSize = 16 << 10
)

// errOversized is that of a response that no frame can hold.
var errOversized = errors.New("dns message exceeds 65535 bytes")

// stream is one TCP connection (RFC 7766): any number of queries, whose
// responses leave when they are ready. Those that need no waiting gather while
// more whole queries are there to be read, and leave together.
type stream struct {
	handler *message.Handler
	conn    net.Conn
	source  netip.Addr
	reader  *bufio.Reader

	waiting sync.WaitGroup
	slots   chan struct{} // of waiting

	mu  sync.Mutex // one writer at a time
	out []byte
	err error // of the first write that failed
}

func newStream(handler *message.Handler, conn net.Conn) *stream {
	return &stream{
		handler: handler,
		conn:    conn,
		source:  addrOf(conn.RemoteAddr()),
		reader:  bufio.NewReaderSize(conn, 2+maxQuery),
		slots:   make(chan struct{}, maxWaiting),
	}
}

// serve answers until the client is silent for too long, does not read, sends
// what is no query, or has closed its side. What is under way then is still answered.
func (s *stream) serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.waiting.Wait()
	for {
		packet, ok := s.next()
		if !ok {
			_ = s.flush() // nobody is left to be told
			return
		}
		if transfer := s.handler.Transfer(packet, s.source); transfer != nil {
			if !s.wait(ctx, func() { s.fail(transfer(ctx, s.send)) }) {
				return
			}
		} else if !s.answer(ctx, packet) {
			return
		}
		if _, err := s.reader.Discard(2 + len(packet)); err != nil {
			return
		}
	}
}

// next returns the next query, valid until it is discarded. Before it waits
// for one, what has gathered leaves.
func (s *stream) next() (packet []byte, ok bool) {
	if s.reader.Buffered() < 2 || s.reader.Buffered() < 2+s.size() {
		if s.flush() != nil || s.conn.SetReadDeadline(time.Now().Add(streamIdle)) != nil {
			return nil, false
		}
		if _, err := s.reader.Peek(2); err != nil {
			return nil, false
		}
	}
	n := s.size()
	if n > maxQuery {
		return nil, false
	}
	b, err := s.reader.Peek(2 + n)
	if err != nil {
		return nil, false
	}
	return b[2:], true
}

// size is what the frame that is being read says of its size.
func (s *stream) size() int {
	b, err := s.reader.Peek(2)
	if err != nil {
		return 0
	}
	return int(binary.BigEndian.Uint16(b))
}

// answer reports false for a packet that has no answer: who sends such, by
// TCP and so not by mistake, is left alone.
func (s *stream) answer(ctx context.Context, packet []byte) bool {
	s.mu.Lock()
	start := len(s.out)
	response, later := s.handler.Append(append(s.out, 0, 0), packet, s.source, true)
	if response != nil {
		binary.BigEndian.PutUint16(response[start:], uint16(len(response)-start-2))
		s.out = response
	}
	full := len(s.out) >= flushSize
	s.mu.Unlock()
	switch {
	case later != nil:
		return s.wait(ctx, func() {
			if response := later(ctx); response != nil {
				s.fail(s.send(response))
			}
		})
	case response == nil:
		_ = s.flush() // the connection ends either way
		return false
	case full:
		return s.flush() == nil
	}
	return true
}

// wait runs what has to be waited for beside the reading; false if the
// connection is to end.
func (s *stream) wait(ctx context.Context, run func()) bool {
	select {
	case s.slots <- struct{}{}:
	default:
		if s.flush() != nil {
			return false
		}
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return false
		}
	}
	s.waiting.Go(func() {
		defer func() { <-s.slots }()
		run()
	})
	return true
}

// send writes one message, after those that have gathered.
func (s *stream) send(response []byte) error {
	if len(response) > 0xffff {
		return errOversized
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = append(binary.BigEndian.AppendUint16(s.out, uint16(len(response))), response...)
	return s.write()
}

func (s *stream) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write()
}

// write sends what has gathered. s.mu is held: frames must not mix, and a
// reader that is slow is one connection's own trouble.
func (s *stream) write() error {
	if len(s.out) == 0 || s.err != nil {
		return s.err
	}
	if s.err = s.conn.SetWriteDeadline(time.Now().Add(streamIdle)); s.err == nil {
		_, s.err = s.conn.Write(s.out)
	}
	s.out = s.out[:0]
	if cap(s.out) > 4*flushSize {
		s.out = nil
	}
	return s.err
}

// fail ends the connection after an answer that could not be sent whole: its
// client would wait for the rest.
func (s *stream) fail(err error) {
	if err != nil {
		s.conn.Close()
	}
}
