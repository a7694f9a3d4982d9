package netx

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// Network opens listeners and connections. Networks are tcp and udp, with or
// without 4 or 6; addresses are written as the net package does.
type Network interface {
	Listen(ctx context.Context, network, address string, opts ...Option) (net.Listener, error)
	ListenPacket(ctx context.Context, network, address string, opts ...Option) (net.PacketConn, error)
	Dial(ctx context.Context, network, address string, opts ...Option) (net.Conn, error)
}

// Options are what Option functions set. Only implementations of Network read them.
type Options struct {
	// ReusePort lets several sockets, in several processes, hold one address.
	ReusePort bool
	// From is the local address of a connection; zero leaves it to the system.
	From netip.Addr
}

// Option changes how a socket is opened.
type Option func(*Options)

// ReusePort lets others bind the same address as well: the system spreads new
// connections over all who do.
func ReusePort() Option { return func(o *Options) { o.ReusePort = true } }

// From makes a connection leave from this local address.
func From(a netip.Addr) Option { return func(o *Options) { o.From = a } }

func options(opts []Option) Options {
	var o Options
	for _, f := range opts {
		f(&o)
	}
	return o
}

// Host is the network of this machine.
func Host() Network { return host{} }

type host struct{}

func (host) Listen(ctx context.Context, network, address string, opts ...Option) (net.Listener, error) {
	lc := listenConfig(options(opts))
	return lc.Listen(ctx, network, address)
}

func (host) ListenPacket(ctx context.Context, network, address string, opts ...Option) (net.PacketConn, error) {
	lc := listenConfig(options(opts))
	return lc.ListenPacket(ctx, network, address)
}

func listenConfig(o Options) *net.ListenConfig {
	lc := &net.ListenConfig{}
	// Listeners that share a port must be plain TCP for it to be spread.
	lc.SetMultipathTCP(false)
	if o.ReusePort {
		lc.Control = func(_, _ string, raw syscall.RawConn) error {
			var set error
			if err := raw.Control(func(fd uintptr) { set = setReusePort(fd) }); err != nil {
				return err
			}
			return set
		}
	}
	return lc
}

func (host) Dial(ctx context.Context, network, address string, opts ...Option) (net.Conn, error) {
	o := options(opts)
	d := net.Dialer{}
	d.SetMultipathTCP(false)
	if o.From.IsValid() {
		switch network {
		case "tcp", "tcp4", "tcp6":
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(o.From, 0))
		case "udp", "udp4", "udp6":
			d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(o.From, 0))
		default:
			return nil, fmt.Errorf("dial %s from %s: network has no local address", network, o.From)
		}
	}
	return d.DialContext(ctx, network, address)
}
