package vpce

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"
)

// fake is a Directory with one endpoint at one address.
type fake struct {
	at     netip.Addr
	id     string
	admits func(netip.Addr) bool
	late   bool
}

func (f *fake) ByAddress(local netip.Addr) (string, Endpoint) {
	if local != f.at {
		return "", nil
	}
	return f.id, f
}

func (f *fake) ByID(id string) Endpoint {
	if id != f.id {
		return nil
	}
	return f
}

func (f *fake) Source(remote netip.Addr) (netip.Addr, bool) {
	return netip.MustParseAddr("10.0.0.9"), remote == netip.MustParseAddr("127.0.0.1")
}
func (f *fake) Admits(a netip.Addr) bool { return f.admits(a) }
func (f *fake) Accepts() bool            { return !f.late }
func (f *fake) VPC() string              { return "vpc-1" }
func (f *fake) Interface() netip.Addr    { return netip.MustParseAddr("10.0.0.1") }

func listen(t *testing.T, change func(*Config)) (*Listener, *Silence) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inner.Close() })
	silence := &Silence{}
	cfg := Config{
		Directory: &fake{at: netip.MustParseAddr("127.0.0.1"), id: "vpce-1", admits: func(netip.Addr) bool { return true }},
		Silence:   silence,
	}
	if change != nil {
		change(&cfg)
	}
	return Listen(inner, cfg), silence
}

func dial(t *testing.T, l net.Listener, first string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_, _ = io.WriteString(c, first)
	return c
}

func TestArrivalOfADirectConnection(t *testing.T) {
	l, _ := listen(t, nil)
	dial(t, l, "hello")
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	want := Arrival{Endpoint: "vpce-1", VPC: "vpc-1", Source: netip.MustParseAddr("10.0.0.9"), Interface: netip.MustParseAddr("10.0.0.1")}
	if got := conn.(*Conn).Arrival(); got == nil || *got != want {
		t.Errorf("arrival %+v", got)
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "hello" {
		t.Errorf("read %q, %v", buf, err)
	}
}

// A late interface answers nobody, as if his packets had been dropped.
func TestLateInterfaceIsSilent(t *testing.T) {
	f := &fake{at: netip.MustParseAddr("127.0.0.1"), id: "vpce-1", admits: func(netip.Addr) bool { return true }, late: true}
	l, _ := listen(t, func(c *Config) { c.Directory = f })
	if _, ok := l.arrival(netip.MustParseAddr("127.0.0.1"), f.at); ok {
		t.Error("a late interface takes a connection")
	}
	f.late = false
	if _, ok := l.arrival(netip.MustParseAddr("127.0.0.1"), f.at); !ok {
		t.Error("once it is not late any more, it takes none")
	}
}

func TestHeaderOfATrustedPeer(t *testing.T) {
	trust := func(c *Config) { c.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
	l, silence := listen(t, trust)
	good := header(t, "10.9.9.9", "vpce-1")
	dial(t, l, good+"hello")
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.(*Conn).Arrival() != nil {
		t.Error("the arrival is known before the header was read")
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "hello" {
		t.Errorf("read %q, %v", buf, err)
	}
	want := Arrival{Endpoint: "vpce-1", VPC: "vpc-1", Source: netip.MustParseAddr("10.9.9.9")}
	if got := conn.(*Conn).Arrival(); got == nil || *got != want {
		t.Errorf("arrival %+v", got)
	}

	// Not through an endpoint, on an endpoint's interface; then an unknown endpoint.
	for n, first := range []string{header(t, "10.9.9.9", ""), header(t, "10.9.9.9", "vpce-2")} {
		dial(t, l, first)
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(buf); !errors.Is(err, ErrNotAdmitted) {
			t.Errorf("read: %v", err)
		}
		if _, err := conn.Write(buf); !errors.Is(err, ErrNotAdmitted) {
			t.Errorf("write: %v", err)
		}
		conn.Close()
		if silence.Len() != n+1 {
			t.Errorf("silence holds %d", silence.Len())
		}
	}
}

func TestSilenceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Silence
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		ours, theirs := net.Pipe()
		s.Take(ours)
		time.Sleep(silenceLife - 2*time.Second)
		theirs.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := theirs.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("before its time: %v", err)
		}
		theirs.SetReadDeadline(time.Time{})
		if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("after its time: %v", err)
		}
		ours, theirs = net.Pipe()
		s.Take(ours)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("after the end: %v", err)
		}
		ours, theirs = net.Pipe()
		s.Take(ours)
		if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("taken after the end: %v", err)
		}
	})
}

func TestSilenceIsBounded(t *testing.T) {
	var s Silence
	first, theirs := net.Pipe()
	s.Take(first)
	for range silenceMax {
		c, _ := net.Pipe()
		s.Take(c)
	}
	if s.Len() != silenceMax {
		t.Errorf("holds %d", s.Len())
	}
	if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the oldest is still open: %v", err)
	}
}

func header(t testing.TB, source, endpoint string) string {
	t.Helper()
	h := &proxyproto.Header{
		Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4,
		SourceAddr:      &net.TCPAddr{IP: net.ParseIP(source), Port: 1234},
		DestinationAddr: &net.TCPAddr{IP: net.ParseIP("10.0.0.1"), Port: 443},
	}
	if endpoint != "" {
		if err := h.SetTLVs([]proxyproto.TLV{{Type: 0xEA, Value: append([]byte{1}, endpoint...)}}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// FuzzHeader feeds the PROXY header path. What it accepts must name a source,
// and must have begun as version 2 does.
func FuzzHeader(f *testing.F) {
	good := header(f, "10.9.9.9", "vpce-01d622316a7df47f9")
	f.Add([]byte(good))
	f.Add([]byte(good + "\x16\x03\x01"))
	f.Add([]byte(header(f, "10.9.9.9", "")))
	f.Add([]byte("PROXY TCP4 10.9.9.9 10.0.0.1 1 443\r\n"))
	f.Add([]byte(string(proxyproto.SIGV2) + "\x20\x00\x00\x00"))
	f.Add([]byte(string(proxyproto.SIGV2) + "\x21\x21\x00\x24" + good))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(data), headerSize)
		p, err := readHeader(r)
		if err != nil {
			return
		}
		if !p.source.IsValid() || !bytes.HasPrefix(data, proxyproto.SIGV2) {
			t.Errorf("accepted %+v", p)
		}
	})
}
