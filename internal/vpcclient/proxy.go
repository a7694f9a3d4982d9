package vpcclient

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/posternhq/postern/internal/netx"
)

// Config is what a Proxy needs.
type Config struct {
	Network netx.Network
	// Addr is host:port to listen on. It should be loopback: whoever reaches the
	// proxy can be anywhere in the network.
	Addr string
	// EdgePort is what port 443 becomes at addresses of this machine.
	EdgePort uint16
	// Resolve finds the placement of a client, and makes it if need be. It is
	// asked again after a few seconds.
	Resolve func(ctx context.Context, where Where) (Placement, error)
	// Cache is the clients' own; nil: they have none, and ask each time.
	Cache *Cache
	// Default is the place of a client that gives no user name; empty refuses it.
	Default string
	Logger  *slog.Logger
}

const (
	maxConns = 1024
	// handshakeTime is for the proxy protocol, placeTime for Resolve, which may
	// wait for edges, dialTime for DNS and the connection.
	handshakeTime = 10 * time.Second
	placeTime     = 30 * time.Second
	dialTime      = 20 * time.Second
	// idleTime ends a connection on which nothing moves.
	idleTime = 15 * time.Minute
	// placementLife is how long a placement is believed.
	placementLife = 2 * time.Second
)

// Proxy serves local programs.
type Proxy struct {
	cfg      Config
	log      *slog.Logger
	listener net.Listener
	flight   singleflight.Group
	answers  answers

	mu     sync.Mutex
	placed map[string]placed
	conns  map[net.Conn]struct{}
}

type placed struct {
	Placement
	at time.Time // when it was asked for
}

// New makes a Proxy that does not listen yet.
func New(cfg Config) (*Proxy, error) {
	if cfg.Network == nil || cfg.Resolve == nil || cfg.Logger == nil {
		return nil, errors.New("vpcclient: Network, Resolve and Logger are needed")
	}
	if cfg.Default != "" {
		if _, err := ParseWhere(cfg.Default); err != nil {
			return nil, err
		}
	}
	return &Proxy{cfg: cfg, log: cfg.Logger.With("component", "vpcclient"), answers: answers{cache: cfg.Cache}, placed: map[string]placed{}, conns: map[net.Conn]struct{}{}}, nil
}

// Listen binds the address, so that it is known before Run: connections wait
// until then. Run does it if nobody else has.
func (p *Proxy) Listen(ctx context.Context) (addr string, err error) {
	if p.listener == nil {
		if p.listener, err = p.cfg.Network.Listen(ctx, "tcp", p.cfg.Addr); err != nil {
			return "", fmt.Errorf("listen for programs: %w", err)
		}
	}
	return p.listener.Addr().String(), nil
}

// Run serves until ctx ends; it then closes all connections.
func (p *Proxy) Run(ctx context.Context) error {
	if _, err := p.Listen(ctx); err != nil {
		return err
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		p.listener.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for c := range p.conns {
			c.Close()
		}
	})
	defer stop()
	slots := make(chan struct{}, maxConns)
	for {
		conn, err := netx.Accept(p.listener)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept program: %w", err)
		}
		select {
		case slots <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		serving.Go(func() {
			defer func() { <-slots }()
			p.hold(ctx, conn)
			defer p.drop(conn)
			p.serve(ctx, conn)
		})
	}
}

// hold makes a connection end with ctx.
func (p *Proxy) hold(ctx context.Context, c net.Conn) {
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	if ctx.Err() != nil {
		c.Close()
	}
}

func (p *Proxy) drop(c net.Conn) {
	c.Close()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

// protocol is a proxy protocol after its request has been read.
type protocol interface {
	// succeed tells the client that the connection stands.
	succeed(w io.Writer, local netip.AddrPort) error
	// fail tells the client why it doesn't.
	fail(w io.Writer, err error)
}

// demand is what a client asks for.
type demand struct {
	user string // empty: none given
	host string // a name or an address
	port uint16
}

func (p *Proxy) serve(ctx context.Context, conn net.Conn) {
	conn.SetDeadline(time.Now().Add(handshakeTime))
	in := bufio.NewReaderSize(conn, maxRequest)
	first, err := in.Peek(1)
	if err != nil {
		return
	}
	var d demand
	var proto protocol
	if first[0] == socksVersion {
		d, err = readSOCKS(in, conn, p.cfg.Default != "")
		proto = socks{}
	} else {
		d, err = readConnect(in, p.cfg.Default != "")
		proto = connect{}
	}
	if err != nil {
		proto.fail(conn, err)
		p.log.Debug("program refused", "error", err)
		return
	}
	conn.SetDeadline(time.Time{})
	out, err := p.connect(ctx, d)
	conn.SetDeadline(time.Now().Add(handshakeTime))
	if err != nil {
		proto.fail(conn, err)
		p.log.Debug("program not connected", "user", d.user, "host", d.host, "port", d.port, "error", err)
		return
	}
	p.hold(ctx, out)
	defer p.drop(out)
	local, _ := netip.ParseAddrPort(out.LocalAddr().String())
	if proto.succeed(conn, local) != nil {
		return
	}
	conn.SetDeadline(time.Time{})
	relay(conn, in, out)
}

// relay copies both ways until both sides have finished, or nothing moves any
// more. What the reader of the client holds goes first.
func relay(client net.Conn, in *bufio.Reader, server net.Conn) {
	var both sync.WaitGroup
	both.Go(func() { pump(server, client, in) })
	both.Go(func() { pump(client, server, server) })
	both.Wait()
}

var pumpBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// pump copies one way; at its end it closes that way only.
func pump(to, from net.Conn, r io.Reader) {
	buf := pumpBuffers.Get().(*[]byte)
	defer pumpBuffers.Put(buf)
	for {
		from.SetReadDeadline(time.Now().Add(idleTime))
		n, err := r.Read(*buf)
		if n > 0 {
			to.SetWriteDeadline(time.Now().Add(idleTime))
			if _, werr := to.Write((*buf)[:n]); werr != nil {
				err = werr
			}
		}
		if err == nil {
			continue
		}
		half, ok := to.(interface{ CloseWrite() error })
		if errors.Is(err, io.EOF) && ok && half.CloseWrite() == nil {
			return
		}
		// Broken, not finished: the other way ends too.
		to.Close()
		from.Close()
		return
	}
}
