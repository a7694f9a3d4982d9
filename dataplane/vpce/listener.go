package vpce

import (
	"bufio"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Endpoint is what admission needs of a VPC endpoint.
type Endpoint interface {
	// Source is the client's address as the endpoint's VPC knows it, from the one
	// it has on this machine; not ok if it has no way into the VPC.
	Source(remote netip.Addr) (netip.Addr, bool)
	// Admits says whether a security group lets this address, of the VPC's own
	// view, reach port 443 of the endpoint.
	Admits(source netip.Addr) bool
	// Accepts says whether the network interface that was asked for takes
	// connections by now.
	Accepts() bool
	// VPC is the id of the endpoint's VPC.
	VPC() string
	// Interface is the VPC's address of the network interface that was asked for
	// by ByAddress, the zero Addr after ByID.
	Interface() netip.Addr
}

// Directory knows the endpoints of the moment.
type Directory interface {
	// ByAddress finds the endpoint whose network interface is bound to this
	// address of the machine.
	ByAddress(local netip.Addr) (id string, e Endpoint)
	// ByID finds an endpoint by its id; nil if there is none.
	ByID(id string) Endpoint
}

// Arrival says how a connection came in. It never changes.
type Arrival struct {
	// Endpoint and VPC are ids; both are empty for the public side.
	Endpoint, VPC string
	// Source is the client: its address in the VPC, or on the public side the one
	// it has there.
	Source netip.Addr
	// Interface is the VPC's address of the network interface that accepted the
	// connection; zero if another accepted it and passed it on.
	Interface netip.Addr
}

// Private reports whether the connection came through a VPC endpoint.
func (a *Arrival) Private() bool { return a.Endpoint != "" }

// Config is what a Listener needs.
type Config struct {
	Directory Directory
	// Public: this is the public listener, not that of a network interface.
	Public bool
	// Trusted are the peers whose PROXY v2 headers count. They must send one.
	Trusted []netip.Prefix
	// Silence takes the connections that are not admitted.
	Silence *Silence
}

// Listener accepts connections whose arrival is known.
type Listener struct {
	net.Listener
	cfg Config
}

// Listen wraps the listener of a network interface, or the public one.
func Listen(inner net.Listener, cfg Config) *Listener { return &Listener{inner, cfg} }

// Accept returns the next admitted connection, as a *Conn. Those that aren't
// admitted it passes to Silence.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		remote := addrOf(raw.RemoteAddr())
		if l.trusts(remote) {
			// Its header is read with the first Read, off the accepting goroutine.
			return &Conn{Conn: raw, listener: l, in: bufio.NewReaderSize(raw, headerSize)}, nil
		}
		a, ok := l.arrival(remote, addrOf(raw.LocalAddr()))
		if !ok {
			l.cfg.Silence.Take(raw)
			continue
		}
		return &Conn{Conn: raw, arrival: a}, nil
	}
}

func (l *Listener) trusts(remote netip.Addr) bool {
	for _, p := range l.cfg.Trusted {
		if p.Contains(remote) {
			return true
		}
	}
	return false
}

// arrival decides about a direct connection.
func (l *Listener) arrival(remote, local netip.Addr) (*Arrival, bool) {
	if l.cfg.Public {
		return &Arrival{Source: remote}, true
	}
	id, e := l.cfg.Directory.ByAddress(local)
	if e == nil {
		return nil, false
	}
	source, ok := e.Source(remote)
	if !ok || !e.Admits(source) || !e.Accepts() {
		return nil, false
	}
	return &Arrival{Endpoint: id, VPC: e.VPC(), Source: source, Interface: e.Interface()}, true
}

// proxiedArrival decides about a connection that a trusted peer passes on. The
// source in its header is already the VPC's view.
func (l *Listener) proxiedArrival(p proxied) (*Arrival, bool) {
	if p.endpoint == "" {
		return &Arrival{Source: p.source}, l.cfg.Public
	}
	e := l.cfg.Directory.ByID(p.endpoint)
	if e == nil || !e.Admits(p.source) {
		return nil, false
	}
	return &Arrival{Endpoint: p.endpoint, VPC: e.VPC(), Source: p.source}, true
}

// Conn is an accepted connection.
type Conn struct {
	net.Conn
	arrival *Arrival

	// Of a trusted peer only; nil for all others.
	listener *Listener
	in       *bufio.Reader
	once     sync.Once
	err      error
	silent   atomic.Bool // Silence has the connection
}

// ErrNotAdmitted is what a Read returns when a trusted peer's header names a
// client that is not admitted. The connection then belongs to Silence.
var ErrNotAdmitted = errors.New("client is not admitted")

// Arrival says where the connection came from. For a trusted peer it is known
// after the first Read, nil before; with TLS that is as soon as there is a
// ClientHello.
func (c *Conn) Arrival() *Arrival { return c.arrival }

func (c *Conn) Read(p []byte) (int, error) {
	if c.in == nil {
		return c.Conn.Read(p)
	}
	c.once.Do(c.readHeader)
	if c.err != nil {
		return 0, c.err
	}
	return c.in.Read(p)
}

func (c *Conn) readHeader() {
	p, err := readHeader(c.in)
	if err != nil {
		c.err = err
		return
	}
	a, ok := c.listener.proxiedArrival(p)
	if !ok {
		c.err = ErrNotAdmitted
		c.silent.Store(true)
		c.listener.cfg.Silence.Take(c.Conn)
		return
	}
	c.arrival = a
}

// Write refuses to answer a client that is not admitted.
func (c *Conn) Write(p []byte) (int, error) {
	if c.silent.Load() {
		return 0, ErrNotAdmitted
	}
	return c.Conn.Write(p)
}

// Close closes the connection, unless Silence has it.
func (c *Conn) Close() error {
	if c.silent.Load() {
		return nil
	}
	return c.Conn.Close()
}

func addrOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		addr, _ := netip.AddrFromSlice(t.IP)
		return addr.Unmap()
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
