package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posternhq/postern/dataplane/compile"
	"github.com/posternhq/postern/dataplane/vpce"
	"github.com/posternhq/postern/internal/netx"
)

const (
	// A closing listener still accepts until nobody has come for quietTime, but
	// not longer than quietLimit: edges that share a port lose the connections
	// that wait in a closed socket's queue.
	quietTime  = 50 * time.Millisecond
	quietLimit = 2 * time.Second
	// retryTime is how long an address that could not be bound is left alone.
	retryTime = time.Second
)

// listeners are the edge's sockets: one for each network interface of the table,
// and the public one.
type listeners struct {
	edge  *Edge
	conns atomic.Int64

	mu      sync.Mutex
	public  *listener
	bound   map[netip.AddrPort]*listener
	failed  map[netip.AddrPort]error
	seen    []compile.Listener // what was followed last
	running bool
	closed  bool
	serving sync.WaitGroup

	retry chan struct{}
}

// listener is one socket.
type listener struct {
	net.Listener
	owner *listeners
	last  atomic.Int64 // when the last connection was accepted, Unix nanoseconds
}

func newListeners(e *Edge) *listeners {
	return &listeners{edge: e, bound: map[netip.AddrPort]*listener{}, failed: map[netip.AddrPort]error{}, retry: make(chan struct{}, 1)}
}

// wanted are the addresses that a table asks this edge to bind.
func (ls *listeners) wanted(t *compile.Table) map[netip.AddrPort]bool {
	want := make(map[netip.AddrPort]bool)
	azs := ls.edge.cfg.AZs
	for _, l := range t.Listeners() {
		if len(azs) == 0 || slices.Contains(azs, l.AZ) {
			want[netip.AddrPortFrom(l.Bind, ls.edge.cfg.Port)] = true
		}
	}
	return want
}

// follow binds what is new in the table in place and lets go of what is no
// longer in it.
func (ls *listeners) follow() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return
	}
	// Read under the lock: an older table must not be followed after a newer one.
	t := ls.edge.Table()
	if list := t.Listeners(); len(list) == len(ls.seen) && len(ls.failed) == 0 && (len(list) == 0 || &list[0] == &ls.seen[0]) {
		return // tables share the list if it is the same
	}
	ls.seen = t.Listeners()
	want := ls.wanted(t)
	for addr, l := range ls.bound {
		if !want[addr] {
			delete(ls.bound, addr)
			ls.release(l)
		}
	}
	for addr := range ls.failed {
		if !want[addr] {
			delete(ls.failed, addr)
		}
	}
	for addr := range want {
		if ls.bound[addr] != nil {
			continue
		}
		// Binding is a matter of microseconds, and whoever waits for the table to be
		// in place counts on the address.
		if err := ls.bind(addr); err != nil {
			if ls.failed[addr] == nil {
				ls.edge.log.Warn("network interface can't be bound", "address", addr, "error", err)
			}
			ls.failed[addr] = err
			continue
		}
		delete(ls.failed, addr)
	}
	ls.edge.metrics.listeners(len(ls.bound), len(ls.failed))
	if len(ls.failed) > 0 {
		select {
		case ls.retry <- struct{}{}:
		default:
		}
	}
}

// bind opens one network interface. The caller holds mu.
func (ls *listeners) bind(addr netip.AddrPort) error {
	inner, err := ls.edge.cfg.Network.Listen(context.Background(), "tcp", addr.String(), netx.ReusePort())
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	l := ls.wrap(inner, false)
	ls.bound[addr] = l
	if ls.running {
		ls.accept(l)
	}
	return nil
}

func (ls *listeners) wrap(inner net.Listener, public bool) *listener {
	l := &listener{Listener: inner, owner: ls}
	arriving := vpce.Listen(&counted{Listener: inner, of: l}, vpce.Config{
		Directory: directory{ls.edge},
		Public:    public,
		Trusted:   ls.edge.cfg.Trusted,
		Silence:   &ls.edge.silence,
	})
	l.Listener = tls.NewListener(arriving, ls.edge.tls.outer)
	l.last.Store(time.Now().UnixNano())
	return l
}

// accept serves a listener's connections. The caller holds mu.
func (ls *listeners) accept(l *listener) {
	ls.serving.Go(func() {
		err := ls.edge.server.Serve(l)
		if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			ls.edge.log.Error("listener ended", "address", l.Addr().String(), "error", err)
		}
	})
}

// release closes a listener that is no longer wanted, when nobody waits in it.
// The caller holds mu.
func (ls *listeners) release(l *listener) {
	if !ls.running {
		l.Close()
		return
	}
	ls.serving.Go(l.closeWhenQuiet)
}

func (l *listener) closeWhenQuiet() {
	defer l.Close()
	begin := time.Now()
	tick := time.NewTicker(quietTime / 5)
	defer tick.Stop()
	for now := range tick.C {
		last := max(l.last.Load(), begin.UnixNano())
		if now.Sub(time.Unix(0, last)) > quietTime || now.Sub(begin) > quietLimit {
			return
		}
	}
}

// start opens the public listener and begins to serve all.
func (ls *listeners) start(ctx context.Context) error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if addr := ls.edge.cfg.PublicAddr; addr != "" {
		inner, err := ls.edge.cfg.Network.Listen(ctx, "tcp", addr, netx.ReusePort())
		if err != nil {
			return fmt.Errorf("listen on %s: %w", addr, err)
		}
		ls.public = ls.wrap(inner, true)
		ls.accept(ls.public)
	}
	ls.running = true
	for _, l := range ls.bound {
		ls.accept(l)
	}
	return nil
}

// run tries again what could not be bound, until ctx ends.
func (ls *listeners) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ls.retry:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryTime):
		}
		ls.follow()
	}
}

// drain closes all listeners, each when it is quiet.
func (ls *listeners) drain() {
	ls.mu.Lock()
	ls.closed = true
	var quiet sync.WaitGroup
	for _, l := range ls.bound {
		quiet.Go(l.closeWhenQuiet)
	}
	if ls.public != nil {
		quiet.Go(ls.public.closeWhenQuiet)
	}
	ls.bound = nil
	ls.mu.Unlock()
	quiet.Wait()
}

func (ls *listeners) wait() { ls.serving.Wait() }

// ready says why nothing is accepted yet. An address that can't be bound is no
// reason: the other endpoints are served, and it is tried again.
func (ls *listeners) ready() error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if !ls.running {
		return errors.New("not listening yet")
	}
	return nil
}

// count is the http.Server's ConnState.
func (ls *listeners) count(_ net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		ls.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		ls.conns.Add(-1)
	}
}

// counted notes when connections come, and turns away those beyond the limit.
type counted struct {
	net.Listener
	of *listener
}

func (c *counted) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c.of.last.Store(time.Now().UnixNano())
		if c.of.owner.conns.Load() < int64(c.of.owner.edge.cfg.MaxConnections) {
			return conn, nil
		}
		conn.Close()
	}
}

// directory shows the endpoints of the table in place to package vpce.
type directory struct{ edge *Edge }

func (d directory) ByAddress(local netip.Addr) (string, vpce.Endpoint) {
	t := d.edge.Table()
	list := t.Listeners()
	i, found := slices.BinarySearchFunc(list, local, func(l compile.Listener, a netip.Addr) int { return l.Bind.Compare(a) })
	if !found {
		return "", nil
	}
	e, v := t.Endpoint(list[i].Endpoint), t.VPC(list[i].VPC)
	if e == nil || v == nil {
		return "", nil
	}
	return e.ID, &endpoint{e, v, list[i].Address}
}

func (d directory) ByID(id string) vpce.Endpoint {
	t := d.edge.Table()
	e := t.Endpoint(id)
	if e == nil {
		return nil
	}
	return &endpoint{e, t.VPC(e.VPC), netip.Addr{}}
}

// endpoint is an endpoint with its VPC.
type endpoint struct {
	endpoint *compile.Endpoint
	vpc      *compile.VPC
	address  netip.Addr
}

func (e *endpoint) Source(remote netip.Addr) (netip.Addr, bool) {
	if e.vpc == nil {
		return netip.Addr{}, false
	}
	return e.vpc.Source(remote)
}
func (e *endpoint) Admits(source netip.Addr) bool { return e.endpoint.Admits(source) }
func (e *endpoint) Accepts() bool                 { return e.endpoint.Accepts(e.address, time.Now()) }
func (e *endpoint) VPC() string                   { return e.endpoint.VPC }
func (e *endpoint) Interface() netip.Addr         { return e.address }
