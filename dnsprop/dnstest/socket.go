package dnstest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"github.com/posternhq/postern/internal/netx"
)

// The net package reads the system's configuration when it is first used, and
// keeps it behind a channel, which would be a bubble's for ever if that were in
// one. So it is used before any test is run.
func init() {
	nobody := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("nobody is asked")
	}}
	_, _ = nobody.LookupHost(context.Background(), "localhost.")
}

// Resolver is a stub resolver for programs under test, which asks a place and
// keeps nothing. It uses no socket, so it works in a bubble of testing/synctest.
// Where the place keeps silent, it fails at once.
func (l *Lab) Resolver(at Place) *net.Resolver {
	_, err := l.server(at)
	l.must(err)
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		stub, ours := net.Pipe()
		go l.answerStream(ours, at)
		return stub, nil
	}}
}

// answerStream answers the queries of a stream, each before the next is read, until
// one has no answer or there are no more.
func (l *Lab) answerStream(conn net.Conn, at Place) {
	defer conn.Close()
	frame := make([]byte, 2)
	for {
		if _, err := io.ReadFull(conn, frame); err != nil {
			return
		}
		packet := make([]byte, binary.BigEndian.Uint16(frame))
		if _, err := io.ReadFull(conn, packet); err != nil {
			return
		}
		response, err := l.exchange(at, packet, true)
		if err != nil || response == nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(response))), response...)); err != nil {
			return
		}
	}
}

// Addr is an address of a place on loopback, 127.0.0.1:PORT, on UDP and TCP, for
// programs that are to be pointed at one. It is the same until Close.
func (l *Lab) Addr(at Place) string {
	_, err := l.server(at)
	l.must(err)
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sockets[at]
	if s == nil {
		if s, err = l.listen(at); err != nil {
			l.fail(fmt.Errorf("address of %s: %w", at, err))
		}
		l.sockets[at] = s
	}
	return s.packets.LocalAddr().String()
}

// socket is a place's.
type socket struct {
	packets    net.PacketConn
	streams    net.Listener
	end        context.CancelFunc // of the streams that are open
	goroutines sync.WaitGroup
}

// listen finds a port that is free for packets and streams, and answers there.
func (l *Lab) listen(at Place) (*socket, error) {
	for tries := 16; ; tries-- {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		streams, err := net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			ctx, cancel := context.WithCancel(context.Background())
			s := &socket{packets: packets, streams: streams, end: cancel}
			s.goroutines.Go(func() { l.answerPackets(s, at) })
			s.goroutines.Go(func() { l.accept(ctx, s, at) })
			return s, nil
		}
		packets.Close()
		if tries == 0 {
			return nil, err
		}
	}
}

func (l *Lab) answerPackets(s *socket, at Place) {
	buf := make([]byte, 4096)
	for {
		n, from, err := s.packets.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // a client that is gone
		}
		if response, err := l.exchange(at, buf[:n], false); err == nil && response != nil {
			_, _ = s.packets.WriteTo(response, from)
		}
	}
}

func (l *Lab) accept(ctx context.Context, s *socket, at Place) {
	for {
		conn, err := s.streams.Accept()
		if err != nil {
			return
		}
		s.goroutines.Go(func() {
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			l.answerStream(conn, at)
		})
	}
}

func (s *socket) close() {
	s.end()
	s.packets.Close()
	s.streams.Close()
	s.goroutines.Wait()
}

// unused is the network of a server whose sockets nobody uses: it answers in
// process only.
type unused struct{}

func (unused) ListenPacket(_ context.Context, _, address string, _ ...netx.Option) (net.PacketConn, error) {
	a, err := netip.ParseAddrPort(address)
	return unusedPackets{address: net.UDPAddrFromAddrPort(a)}, err
}

func (unused) Listen(context.Context, string, string, ...netx.Option) (net.Listener, error) {
	return unusedStreams{}, nil
}

// Dial is real: it is how resolvers forward.
func (unused) Dial(ctx context.Context, network, address string, opts ...netx.Option) (net.Conn, error) {
	return netx.Host().Dial(ctx, network, address, opts...)
}

type unusedPackets struct {
	net.PacketConn
	address net.Addr
}

func (p unusedPackets) LocalAddr() net.Addr { return p.address }
func (p unusedPackets) Close() error        { return nil }

type unusedStreams struct{ net.Listener }

func (unusedStreams) Close() error { return nil }
