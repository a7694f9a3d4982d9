package cluster

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

var errGateShut = errors.New("the transport is cut off while the disk does not answer")

// gate is a raft.StreamLayer that can be shut: then every connection is closed
// and none is made or accepted. Heartbeats leave from other goroutines than the
// one that waits for the disk, so silence can only be made from outside raft.
//
// Each connection begins with the id of the node that it is meant for, and a
// node that has another id closes it: raft itself does not check whom it
// reached. An address that passed from one member to another would have a
// leader take one disk for two.
type gate struct {
	inner   raft.StreamLayer
	self    string
	address net.Addr

	// accepted are the connections whose handlers have not closed them.
	accepted sync.WaitGroup

	mu    sync.Mutex
	shut  bool
	conns map[*gatedConn]struct{}
}

func newGate(inner raft.StreamLayer, self, advertised string) *gate {
	return &gate{inner: inner, self: self, address: address(advertised), conns: make(map[*gatedConn]struct{})}
}

// address is what the others call this node, whatever it listens on.
type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// Accept is part of raft.StreamLayer.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.inner.Accept()
		if err != nil {
			return nil, err
		}
		if c, err := g.admit(c, true); err == nil {
			return c, nil
		}
	}
}

// Dial is part of raft.StreamLayer. The address may say whom it is meant for.
func (g *gate) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	if g.isShut() {
		return nil, errGateShut
	}
	id, address := splitMeant(to)
	c, err := g.inner.Dial(address, timeout)
	if err != nil {
		return nil, err
	}
	if id != "" {
		if err := writePreamble(c, id, timeout); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return g.admit(c, false)
}

// Close is part of raft.StreamLayer.
func (g *gate) Close() error { return g.inner.Close() }

// Addr is part of raft.StreamLayer.
func (g *gate) Addr() net.Addr { return g.address }

func (g *gate) admit(c net.Conn, accepted bool) (net.Conn, error) {
	gc := &gatedConn{Conn: c, gate: g, accepted: accepted}
	g.mu.Lock()
	shut := g.shut
	if !shut {
		g.conns[gc] = struct{}{}
		if accepted {
			g.accepted.Add(1)
		}
	}
	g.mu.Unlock()
	if shut {
		return nil, errors.Join(errGateShut, c.Close())
	}
	return gc, nil
}

func (g *gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = false
}

// close shuts the gate and ends what goes through it.
func (g *gate) close() {
	g.mu.Lock()
	g.shut = true
	conns := slices.Collect(maps.Keys(g.conns))
	g.mu.Unlock()
	for _, c := range conns {
		// Its user sees the end; nobody else cares how it ended.
		_ = c.Conn.Close()
	}
}

// wait returns when no request of a peer is being handled. The gate is shut.
//
// Hazard: raft handles heartbeats in the goroutine of their connection, and
// goes on doing so after its Shutdown has returned; with the log closed by then
// it panics.
func (g *gate) wait() { g.accepted.Wait() }

type gatedConn struct {
	net.Conn
	gate     *gate
	accepted bool
	greeted  bool // only used by Read, which one goroutine calls
}

// Read reads the preamble first. Accept can't: it would wait for one peer while
// others come.
func (c *gatedConn) Read(b []byte) (int, error) {
	if c.accepted && !c.greeted {
		if err := readPreamble(c.Conn, c.gate.self); err != nil {
			return 0, err
		}
		c.greeted = true
	}
	return c.Conn.Read(b)
}

// Close is called by the connection's user, who is done with it.
func (c *gatedConn) Close() error {
	c.gate.mu.Lock()
	_, open := c.gate.conns[c]
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	if open && c.accepted {
		defer c.gate.accepted.Done()
	}
	return c.Conn.Close()
}

const preambleVersion = 1

// writePreamble writes the version, the length of the id, and the id.
func writePreamble(c net.Conn, id string, timeout time.Duration) error {
	if len(id) > math.MaxUint8 {
		return fmt.Errorf("id %q is too long", id)
	}
	if err := c.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := c.Write(append([]byte{preambleVersion, byte(len(id))}, id...)); err != nil {
		return err
	}
	return c.SetWriteDeadline(time.Time{})
}

// readPreamble checks that the connection is meant for this node.
func readPreamble(c io.Reader, self string) error {
	var head [2]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return err // io.EOF of one who only tried the address
	}
	if head[0] != preambleVersion {
		return fmt.Errorf("a connection of unknown version %d", head[0])
	}
	id := make([]byte, head[1])
	if _, err := io.ReadFull(c, id); err != nil {
		return fmt.Errorf("read whom a connection is meant for: %w", err)
	}
	if string(id) != self {
		return fmt.Errorf("a connection meant for node %q has reached node %q", id, self)
	}
	return nil
}
