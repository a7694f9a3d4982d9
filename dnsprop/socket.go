package dnsprop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/posternhq/postern/dnsprop/message"
	"github.com/posternhq/postern/internal/netx"
)

// What one address gives its clients.
const (
	maxQuery      = 4096             // bytes of a query, on UDP and TCP
	packetsBuffer = 1 << 20          // bytes that may wait to be read, where the system allows it
	maxStreams    = 256              // TCP connections
	streamIdle    = 10 * time.Second // a connection's wait for a query, and for its reader (RFC 7766, 6.2.3)
	maxForwarding = 256              // forwarded queries under way
	acceptPause   = 5 * time.Millisecond
)

// socket is one address on UDP and TCP.
type socket struct {
	packets net.PacketConn
	streams net.Listener
	handler *message.Handler
	logger  *slog.Logger

	cancel     context.CancelFunc
	goroutines sync.WaitGroup
	slots      chan struct{} // of streams
	forwarding chan struct{}
}

// open binds an address; with port 0 one that is free on both.
func open(ctx context.Context, network netx.Network, address string, handler *message.Handler, logger *slog.Logger) (*socket, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen for dns: %w", err)
	}
	tries := 1
	if port == "0" {
		tries = 16
	}
	for {
		tries--
		packets, err := network.ListenPacket(ctx, "udp", address)
		if err != nil {
			return nil, fmt.Errorf("listen for dns: %w", err)
		}
		bound := strconv.Itoa(int(portOf(packets.LocalAddr())))
		streams, err := network.Listen(ctx, "tcp", net.JoinHostPort(host, bound))
		if err == nil {
			if conn, ok := packets.(*net.UDPConn); ok {
				_ = conn.SetReadBuffer(packetsBuffer) // the system's own size will do, too
			}
			return &socket{
				packets:    packets,
				streams:    streams,
				handler:    handler,
				logger:     logger.With("address", packets.LocalAddr().String()),
				cancel:     func() {},
				slots:      make(chan struct{}, maxStreams),
				forwarding: make(chan struct{}, maxForwarding),
			}, nil
		}
		packets.Close()
		if tries == 0 {
			return nil, fmt.Errorf("listen for dns: %w", err)
		}
	}
}

func (s *socket) address() string { return s.packets.LocalAddr().String() }

func (s *socket) port() uint16 { return portOf(s.packets.LocalAddr()) }

// serve starts answering, with a number of goroutines for packets.
func (s *socket) serve(workers int) {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for range workers {
		s.goroutines.Go(func() { s.readPackets(ctx) })
	}
	s.goroutines.Go(func() { s.accept(ctx) })
}

// close stops answering and returns when nothing runs any more.
func (s *socket) close() {
	s.cancel()
	s.packets.Close()
	s.streams.Close()
	s.goroutines.Wait()
}

func (s *socket) readPackets(ctx context.Context) {
	if conn, ok := s.packets.(*net.UDPConn); ok && addrPort(conn.LocalAddr()).Addr().Is4() {
		s.readBatches(ctx, conn)
		return
	}
	buf := make([]byte, maxQuery)
	for {
		n, from, err := s.packets.ReadFrom(buf)
		if err != nil {
			if ended(ctx, err) {
				return
			}
			continue
		}
		response, later := s.handler.Handle(buf[:n], addrOf(from), false)
		if later != nil {
			s.sendLater(ctx, later, from)
			continue
		}
		s.send(response, from)
	}
}

// sendLater answers without holding up the packets behind; past its bound
// queries are dropped, which is what a full network would do.
func (s *socket) sendLater(ctx context.Context, later func(context.Context) []byte, to net.Addr) {
	select {
	case s.forwarding <- struct{}{}:
	default:
		return
	}
	s.goroutines.Go(func() {
		defer func() { <-s.forwarding }()
		s.send(later(ctx), to)
	})
}

func (s *socket) send(response []byte, to net.Addr) {
	if response == nil {
		return
	}
	if _, err := s.packets.WriteTo(response, to); err != nil {
		s.logger.Debug("send dns response", "err", err)
	}
}

func (s *socket) accept(ctx context.Context) {
	for {
		conn, err := s.streams.Accept()
		if err != nil {
			if ended(ctx, err) {
				return
			}
			continue
		}
		select {
		case s.slots <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		s.goroutines.Go(func() {
			defer func() { <-s.slots }()
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			newStream(s.handler, conn).serve(ctx)
		})
	}
}

// ended reports whether a read error is the end of the socket. Other errors
// pass (too many open files); they get a moment to.
func ended(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return true
	}
	select {
	case <-ctx.Done():
		return true
	case <-time.After(acceptPause):
		return false
	}
}

func addrOf(a net.Addr) netip.Addr { return addrPort(a).Addr().Unmap() }
func portOf(a net.Addr) uint16     { return addrPort(a).Port() }

// addrPort is zero for an address that is none of the internet's.
func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort()
	case *net.TCPAddr:
		return a.AddrPort()
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return ap
}
