package dnsprop

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/internal/netx"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// TestFlood sends a million packets to the sockets of a running server, packets
// that are random or near to a query, half of them by TCP; what is foreign it
// asks of a server that answers as badly. Nothing panics, what comes back is a
// response to what was sent, within the limits, good queries are answered as
// before, and no goroutine stays behind, neither while the server goes on nor after it.
func TestFlood(t *testing.T) {
	packets := 1_000_000
	switch {
	case testing.Short():
		packets = 50_000
	case slow:
		packets = 100_000
	}
	before := goleak.IgnoreCurrent()
	n := newFlood(t, packets)
	s, err := New(Config{
		ID: "flood", Network: n, Forward: "192.0.2.53:53", Logger: slog.New(n), Now: func() time.Time { return time.Unix(1e9, 0) },
		Resolvers: []NamedResolver{{Name: "corp"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	installOddZones(t, s)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	for s.Ready() != nil {
		runtime.Gosched()
	}
	baseline := runtime.NumGoroutine()
	control := func(when string) {
		t.Helper()
		for _, place := range []string{"ns1", "ns4", "public", "corp", "vpc-7"} {
			for _, name := range []string{apiName, "x.wild.example.com."} {
				packet, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
				if err != nil {
					t.Fatal(err)
				}
				response, _ := s.Handler(place).Handle(packet, netip.MustParseAddr("127.7.1.9"), true)
				m := new(dns.Msg)
				if err := m.Unpack(response); err != nil || m.Rcode != dns.RcodeSuccess || len(m.Answer) == 0 {
					t.Errorf("%s: %s says %v of %s", when, place, m, name)
				}
			}
		}
	}
	control("before")
	// For the second half some authorities fail.
	close(n.open)
	n.await(t, packets/2)
	if r := s.Install(t.Context(), Update{Index: 2, Changed: []Resource{resource("settings", &dnsv1.Settings{Profile: "aws", Regions: []string{region}, Faults: []*statev1.DnsFault{
		{Kind: propagation.FaultDown, Place: "ns2"}, {Kind: propagation.FaultServfail, Name: apiName, Place: "ns3"},
	}})}}); r != nil {
		t.Fatal(r)
	}
	n.await(t, packets)
	deadline := time.Now().Add(20 * time.Second)
	for runtime.NumGoroutine() > baseline {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before the flood:\n%s", runtime.NumGoroutine(), baseline, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(time.Millisecond)
	}
	control("after")
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, before)
	n.report(t)
}

// flood is a network whose sockets bring packets by themselves.
type flood struct {
	t     *testing.T
	seeds [][]byte
	open  chan struct{}   // closed when the flood begins
	most  int64           // even
	next  [2]atomic.Int64 // how many packets were brought, by UDP and by TCP
	over  atomic.Int64    // packets whose sender is through with them

	mu     sync.Mutex
	rcodes map[int]int // that came back
	back   [2]int      // how many did, by UDP and by TCP
	tc     int         // truncated responses
	failed int
}

func newFlood(t *testing.T, packets int) *flood {
	return &flood{t: t, seeds: seedPackets(t), open: make(chan struct{}), most: int64(packets), rcodes: map[int]int{}}
}

const (
	byUDP = 0
	byTCP = 1
)

// take is the number of a packet to bring, even by UDP and odd by TCP; false when
// the flood is over.
func (n *flood) take(by int) (int64, bool) {
	number := 2*n.next[by].Add(1) - 2 + int64(by)
	return number, number < n.most
}

// await returns when so many packets have been dealt with.
func (n *flood) await(t *testing.T, packets int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Minute); n.over.Load() < int64(packets); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("only %d of %d packets were read", n.over.Load(), packets)
		}
	}
}

// packet is that of a number, the same in every run.
func (n *flood) packet(number int64) []byte {
	rng := rand.New(rand.NewPCG(42, uint64(number)))
	if rng.IntN(10) == 0 {
		return noise(rng, rng.IntN(700))
	}
	p := append([]byte(nil), n.seeds[rng.IntN(len(n.seeds))]...)
	if len(p) >= 12 {
		binary.BigEndian.PutUint16(p, uint16(rng.Uint32()))
	}
	for range rng.IntN(5) {
		p = mutated(rng, p)
	}
	return p[:min(len(p), maxQuery)]
}

func noise(rng *rand.Rand, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// mutated is a packet with one thing about it changed.
func mutated(rng *rand.Rand, p []byte) []byte {
	if len(p) <= 12 {
		return append(p, noise(rng, 12)...)
	}
	at := rng.IntN(len(p))
	switch rng.IntN(12) {
	case 0: // a bit
		p[at] ^= 1 << rng.IntN(8)
	case 1: // its end
		return p[:at]
	case 2: // more at the end
		return append(p, noise(rng, rng.IntN(40))...)
	case 3: // the counts of its sections
		p[4+rng.IntN(8)] = byte(rng.IntN(4))
	case 4: // flags, opcode, rcode
		p[2+rng.IntN(2)] = byte(rng.Uint32())
	case 5: // a pointer to anywhere: itself, forward, into the header
		if at+1 < len(p) {
			binary.BigEndian.PutUint16(p[at:], 0xc000|uint16(rng.IntN(len(p)+4)))
		}
	case 6: // two pointers to each other
		if q := 12 + rng.IntN(len(p)-11); q+4 <= len(p) {
			binary.BigEndian.PutUint16(p[q:], 0xc000|uint16(q+2))
			binary.BigEndian.PutUint16(p[q+2:], 0xc000|uint16(q))
		}
	case 7: // the length of a label
		p[12] = byte(rng.Uint32())
	case 8: // a part of it again
		return append(p[:at:at], append(append([]byte(nil), p[rng.IntN(at+1):]...), p[at:]...)...)
	case 9: // EDNS: a version, a size, options that lie of their length; perhaps the second OPT record
		p[11]++
		options := noise(rng, rng.IntN(20))
		p = append(p, 0, 0, 41, byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.IntN(3)), byte(rng.IntN(3)), byte(rng.Uint32()), 0)
		return append(binary.BigEndian.AppendUint16(p, uint16(len(options)+rng.IntN(3)-1)), options...)
	case 10: // 0x20
		for i, b := range p[12:] {
			if b|0x20 >= 'a' && b|0x20 <= 'z' && rng.IntN(2) == 0 {
				p[12+i] ^= 0x20
			}
		}
	case 11: // type and class
		if end := bytes.IndexByte(p[12:], 0); end >= 0 && 12+end+5 <= len(p) {
			p[12+end+1+rng.IntN(4)] = byte(rng.Uint32())
		}
	}
	return p
}

// fail reports what came back for a packet, a few times.
func (n *flood) fail(number int64, format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failed++; n.failed < 5 {
		n.t.Errorf("packet %d, %x: %s", number, n.packet(number), fmt.Sprintf(format, args...))
	}
}

// check looks at a response.
func (n *flood) check(by int, number int64, packet, response []byte, limit int) {
	m := new(dns.Msg)
	if err := m.Unpack(response); err != nil {
		n.fail(number, "malformed response %x: %v", response, err)
		return
	}
	if !m.Response || len(packet) >= 2 && m.Id != binary.BigEndian.Uint16(packet) || len(response) > limit {
		n.fail(number, "response of %d bytes, limit %d: %v", len(response), limit, m)
	}
	n.mu.Lock()
	n.rcodes[m.Rcode]++
	n.back[by]++
	if m.Truncated {
		n.tc++
	}
	n.mu.Unlock()
}

// report checks that the flood has been everywhere.
func (n *flood) report(t *testing.T) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, rcode := range []int{dns.RcodeSuccess, dns.RcodeFormatError, dns.RcodeServerFailure, dns.RcodeNameError, dns.RcodeNotImplemented, dns.RcodeRefused, dns.RcodeBadVers} {
		if n.rcodes[rcode] == 0 {
			t.Errorf("no response had the rcode %s", dns.RcodeToString[rcode])
		}
	}
	if n.tc == 0 {
		t.Error("no response was truncated")
	}
	if n.failed > 0 {
		t.Errorf("%d packets failed", n.failed)
	}
	for by, network := range []string{"UDP", "TCP"} {
		if int64(n.back[by]) < n.most/10 {
			t.Errorf("only %d responses by %s to %d packets", n.back[by], network, n.most/2)
		}
	}
	t.Logf("%d packets, %d responses by UDP and %d by TCP, by rcode %v, %d truncated", n.most, n.back[byUDP], n.back[byTCP], n.rcodes, n.tc)
}

// flood is also where the server logs: an error there is a panic.

func (n *flood) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

func (n *flood) Handle(_ context.Context, r slog.Record) error {
	var text strings.Builder
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&text, " %s", a); return true })
	n.t.Errorf("logged: %s%s", r.Message, text.String())
	return nil
}

func (n *flood) WithAttrs([]slog.Attr) slog.Handler { return n }
func (n *flood) WithGroup(string) slog.Handler      { return n }

func (n *flood) ListenPacket(_ context.Context, _, address string, _ ...netx.Option) (net.PacketConn, error) {
	return &floodPackets{flood: n, address: address, closed: make(chan struct{})}, nil
}

func (n *flood) Listen(_ context.Context, _, address string, _ ...netx.Option) (net.Listener, error) {
	return &floodStreams{flood: n, address: address, closed: make(chan struct{}), slots: make(chan struct{}, maxStreams/2)}, nil
}

// Dial is to the server that foreign names are asked of.
func (n *flood) Dial(_ context.Context, network, _ string, _ ...netx.Option) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go answerBadly(theirs, n.next[byUDP].Load())
	return ours, nil
}

// answerBadly answers one message on a pipe with what is nearly a response, by the
// framing of streams or not.
func answerBadly(conn net.Conn, seed int64) {
	defer conn.Close()
	rng := rand.New(rand.NewPCG(43, uint64(seed)))
	buf := make([]byte, maxQuery+2)
	size, err := conn.Read(buf)
	if err != nil {
		return
	}
	p := append([]byte(nil), buf[:size]...)
	if size > 14 {
		p[4] |= 0x80 // a response, if there is a frame around it
		p[2] |= 0x80 // or not
	}
	for range rng.IntN(3) {
		p = mutated(rng, p)
	}
	_, _ = conn.Write(p)
}

// floodPackets is a socket for packets.
type floodPackets struct {
	*flood
	net.PacketConn
	address string
	closed  chan struct{}
	once    sync.Once
}

// floodAddr is who sent a packet.
type floodAddr struct {
	net.UDPAddr
	number int64
	packet []byte
}

func (p *floodPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case <-p.open:
	case <-p.closed:
		return 0, nil, net.ErrClosed
	}
	number, ok := p.take(byUDP)
	if !ok {
		<-p.closed
		return 0, nil, net.ErrClosed
	}
	defer p.over.Add(1)
	packet := p.packet(number)
	return copy(b, packet), &floodAddr{UDPAddr: net.UDPAddr{IP: net.IPv4(127, 7, 1, 9), Port: 5353}, number: number, packet: packet}, nil
}

func (p *floodPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	from := to.(*floodAddr)
	limit := 1232
	if !hasOPT(from.packet) {
		limit = 512
	}
	p.check(byUDP, from.number, from.packet, b, limit)
	return len(b), nil
}

func (p *floodPackets) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(p.address))
}

func (p *floodPackets) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// floodStreams is a socket for streams.
type floodStreams struct {
	*flood
	address string
	slots   chan struct{} // of open ones: more are refused, and that is not what is tested
	closed  chan struct{}
	once    sync.Once
}

func (l *floodStreams) Accept() (net.Conn, error) {
	select {
	case <-l.open:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	number, ok := l.take(byTCP)
	if !ok {
		<-l.closed
		return nil, net.ErrClosed
	}
	return &floodStream{flood: l.flood, slots: l.slots, first: number, ids: map[uint16]bool{}}, nil
}

func (l *floodStreams) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *floodStreams) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(l.address))
}

// floodStream is a connection, which brings one packet after the other, whole or
// in parts, sometimes with a length that is not its own, and then ends.
type floodStream struct {
	*flood
	net.Conn
	slots chan struct{}
	first int64 // the number of its first packet, then of the newest

	mu     sync.Mutex
	begun  bool
	frames []byte // to be read
	back   []byte // written, and not a whole frame yet
	ids    map[uint16]bool
	closed bool
}

func (c *floodStream) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	if len(c.frames) == 0 {
		number := c.first
		if c.begun {
			var ok bool
			if number%17 == 0 { // it has had enough
				return 0, io.EOF
			}
			if number, ok = c.take(byTCP); !ok {
				return 0, io.EOF
			}
			c.first = number
		}
		c.begun = true
		c.over.Add(1)
		packet := c.packet(number)
		size := len(packet)
		if number%23 == 0 {
			size += int(number % 5)
		}
		c.frames = append(binary.BigEndian.AppendUint16(nil, uint16(size)), packet...)
		if size != len(packet) { // what follows is read as it falls
			c.ids = nil
		} else if c.ids != nil && len(packet) >= 2 {
			c.ids[binary.BigEndian.Uint16(packet)] = true
		}
	}
	n := copy(b[:min(len(b), 1+int(c.first%97))], c.frames)
	c.frames = c.frames[n:]
	return n, nil
}

func (c *floodStream) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	c.back = append(c.back, b...)
	for len(c.back) >= 2 && len(c.back) >= 2+int(binary.BigEndian.Uint16(c.back)) {
		size := 2 + int(binary.BigEndian.Uint16(c.back))
		response := c.back[2:size]
		if len(response) < 12 || c.ids != nil && !c.ids[binary.BigEndian.Uint16(response)] {
			c.fail(c.first, "a response to what this connection did not ask: %x", response)
		} else {
			c.check(byTCP, c.first, response[:2], response, dns.MaxMsgSize)
		}
		c.back = c.back[size:]
	}
	return len(b), nil
}

func (c *floodStream) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed && len(c.back) > 0 {
		c.fail(c.first, "the connection ended within a response: %x", c.back)
	}
	if !c.closed {
		<-c.slots
	}
	c.closed = true
	return nil
}

func (c *floodStream) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 7, 1, 9), Port: 5353}
}
func (c *floodStream) SetReadDeadline(time.Time) error  { return nil }
func (c *floodStream) SetWriteDeadline(time.Time) error { return nil }
