package dnsprop

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/posternhq/postern/internal/netx"
)

// memNet is a network in memory, so that servers can live in a synctest bubble.
type memNet struct {
	mu      sync.Mutex
	packets map[string]*memPackets
	streams map[string]*memStreams
	peers   map[string]func(net.Conn) // who is dialled, by address
}

func newMemNet() *memNet {
	return &memNet{packets: map[string]*memPackets{}, streams: map[string]*memStreams{}, peers: map[string]func(net.Conn){}}
}

var errInUse = errors.New("address already in use")

func (n *memNet) ListenPacket(_ context.Context, _, address string, _ ...netx.Option) (net.PacketConn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.packets[address] != nil {
		return nil, errInUse
	}
	p := &memPackets{net: n, address: address, in: make(chan memPacket), closed: make(chan struct{})}
	n.packets[address] = p
	return p, nil
}

func (n *memNet) Listen(_ context.Context, _, address string, _ ...netx.Option) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.streams[address] != nil {
		return nil, errInUse
	}
	l := &memStreams{net: n, address: address, conns: make(chan net.Conn), closed: make(chan struct{})}
	n.streams[address] = l
	return l, nil
}

func (n *memNet) Dial(_ context.Context, network, address string, _ ...netx.Option) (net.Conn, error) {
	n.mu.Lock()
	peer := n.peers[address]
	n.mu.Unlock()
	if peer == nil {
		return nil, errors.New("no way to " + network + " " + address)
	}
	ours, theirs := net.Pipe()
	go peer(theirs)
	return ours, nil
}

// exchange sends a packet from an address and returns what comes back.
func (n *memNet) exchange(from netip.Addr, to string, packet []byte) ([]byte, bool) {
	n.mu.Lock()
	p := n.packets[to]
	n.mu.Unlock()
	if p == nil {
		return nil, false
	}
	back := make(chan []byte, 1)
	select {
	case p.in <- memPacket{data: packet, from: &memAddr{UDPAddr: net.UDPAddr{IP: from.AsSlice(), Port: 5353}, back: back}}:
	case <-p.closed:
		return nil, false
	}
	select {
	case b := <-back:
		return b, true
	case <-p.closed:
		return nil, false
	case <-time.After(patience):
		return nil, false
	}
}

// patience is a client's with a server that keeps silent.
const patience = 5 * time.Second

type memPacket struct {
	data []byte
	from *memAddr
}

type memAddr struct {
	net.UDPAddr
	back chan []byte
}

type memPackets struct {
	net     *memNet
	address string
	in      chan memPacket
	closed  chan struct{}
	once    sync.Once
	net.PacketConn
}

func (p *memPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case m := <-p.in:
		return copy(b, m.data), m.from, nil
	case <-p.closed:
		return 0, nil, net.ErrClosed
	}
}

func (p *memPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	to.(*memAddr).back <- append([]byte(nil), b...)
	return len(b), nil
}

func (p *memPackets) Close() error {
	p.once.Do(func() {
		close(p.closed)
		p.net.mu.Lock()
		defer p.net.mu.Unlock()
		delete(p.net.packets, p.address)
	})
	return nil
}

func (p *memPackets) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(p.address))
}

type memStreams struct {
	net     *memNet
	address string
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (l *memStreams) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memStreams) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.net.mu.Lock()
		defer l.net.mu.Unlock()
		delete(l.net.streams, l.address)
	})
	return nil
}

func (l *memStreams) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(l.address))
}
