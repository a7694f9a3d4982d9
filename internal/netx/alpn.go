package netx

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// ALPNSplitter serves several protocols on one TLS listener: the protocol that
// client and server agree on in the handshake says whose the connection is.
//
// Handshakes run beside each other, so a peer that dawdles holds up nobody.
// A connection without an agreed protocol is closed.
type ALPNSplitter struct {
	inner   net.Listener
	cfg     *tls.Config
	timeout time.Duration
	parts   map[string]*alpnListener
	slots   chan struct{} // bounds the handshakes under way

	stop     chan struct{}
	stopOnce sync.Once
}

// maxHandshakes bounds how many strangers can make us compute at once.
const maxHandshakes = 512

// SplitALPN makes a splitter of a plain listener. The configuration's NextProtos
// are set to the given protocols; a handshake must end within the timeout.
// Nothing is accepted before Run.
func SplitALPN(inner net.Listener, cfg *tls.Config, timeout time.Duration, protocols ...string) *ALPNSplitter {
	cfg = cfg.Clone()
	cfg.NextProtos = protocols
	if get := cfg.GetConfigForClient; get != nil {
		cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			c, err := get(hello)
			if c == nil || err != nil {
				return c, err
			}
			c = c.Clone()
			c.NextProtos = protocols
			return c, nil
		}
	}
	s := &ALPNSplitter{
		inner:   inner,
		cfg:     cfg,
		timeout: timeout,
		parts:   make(map[string]*alpnListener, len(protocols)),
		slots:   make(chan struct{}, maxHandshakes),
		stop:    make(chan struct{}),
	}
	for _, p := range protocols {
		s.parts[p] = &alpnListener{addr: inner.Addr(), conns: make(chan net.Conn), closed: make(chan struct{}), stop: s.stop}
	}
	return s
}

// Listener is the listener of one of the protocols. Its connections are
// *tls.Conn with the handshake done. Closing it refuses that protocol alone.
func (s *ALPNSplitter) Listener(protocol string) net.Listener { return s.parts[protocol] }

// Run accepts until ctx ends or the inner listener is closed, and closes all
// listeners before it returns.
func (s *ALPNSplitter) Run(ctx context.Context) error {
	var handshakes sync.WaitGroup
	defer handshakes.Wait()
	defer s.stopOnce.Do(func() { close(s.stop) })
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends handshakes under way
	release := context.AfterFunc(ctx, func() { s.inner.Close() })
	defer release()
	for {
		conn, err := Accept(s.inner)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			conn.Close()
			return nil
		}
		handshakes.Go(func() {
			defer func() { <-s.slots }()
			s.handshake(ctx, conn)
		})
	}
}

func (s *ALPNSplitter) handshake(ctx context.Context, raw net.Conn) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	conn := tls.Server(raw, s.cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return
	}
	part := s.parts[conn.ConnectionState().NegotiatedProtocol]
	if part == nil {
		conn.Close()
		return
	}
	select {
	case part.conns <- conn:
	case <-part.closed:
		conn.Close()
	case <-ctx.Done(): // nobody takes it
		conn.Close()
	}
}

// Accept waits out errors that pass, such as too many open files: a process that
// ended for them would turn a busy moment into an outage.
func Accept(ln net.Listener) (net.Conn, error) {
	pause := 5 * time.Millisecond
	for {
		conn, err := ln.Accept()
		if err == nil {
			return conn, nil
		}
		if !temporary(err) {
			return nil, err
		}
		time.Sleep(pause)
		pause = min(2*pause, time.Second)
	}
}

func temporary(err error) bool {
	// Deprecated in general, but for Accept it means exactly this, and net/http
	// relies on it too.
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// alpnListener is the net.Listener of one protocol.
type alpnListener struct {
	addr   net.Addr
	conns  chan net.Conn
	stop   chan struct{} // the splitter has ended
	closed chan struct{} // this listener was closed
	once   sync.Once
}

func (l *alpnListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	case <-l.stop:
		return nil, net.ErrClosed
	default:
	}
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-l.stop:
		return nil, net.ErrClosed
	}
}

func (l *alpnListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *alpnListener) Addr() net.Addr { return l.addr }
