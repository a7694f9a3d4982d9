package vpcclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/posternhq/postern/internal/netx"
)

// The network of these tests: VPC 10.71/16 on 127.71, an edge in it, a resolver
// that knows one name, and a client.
const (
	clientAddr = "127.71.0.50"
	edgeAddr   = "127.71.0.10"
	edgeName   = "abcde12345.execute-api.us-west-2.amazonaws.com"
)

// resolver answers A queries for names that it knows and notes who asks.
type resolver struct {
	conn  net.PacketConn
	names map[string]netip.Addr

	mu   sync.Mutex
	from []netip.Addr
}

func newResolver(t *testing.T, names map[string]netip.Addr) *resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.71.0.2:0")
	if err != nil {
		t.Skipf("needs all of 127/8: %v", err)
	}
	r := &resolver{conn: conn, names: names}
	done := make(chan struct{})
	go func() { defer close(done); r.serve() }()
	t.Cleanup(func() { conn.Close(); <-done })
	return r
}

func (r *resolver) serve() {
	buf := make([]byte, 4096)
	for {
		n, from, err := r.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		r.mu.Lock()
		r.from = append(r.from, netip.MustParseAddrPort(from.String()).Addr())
		r.mu.Unlock()
		q := m.Questions[0]
		m.Response, m.Additionals = true, nil
		a, ok := r.names[strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))]
		switch {
		case !ok:
			m.RCode = dnsmessage.RCodeNameError
		case q.Type == dnsmessage.TypeA:
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
				Body:   &dnsmessage.AResource{A: a.As4()},
			}}
		}
		if out, err := m.Pack(); err == nil {
			_, _ = r.conn.WriteTo(out, from)
		}
	}
}

func (r *resolver) addr() netip.AddrPort { return netip.MustParseAddrPort(r.conn.LocalAddr().String()) }

// echo is an edge that answers with the address of its caller, then echoes.
func echo(t *testing.T) (port uint16) {
	t.Helper()
	ln, err := net.Listen("tcp", edgeAddr+":0")
	if err != nil {
		t.Skipf("needs all of 127/8: %v", err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
				fmt.Fprintln(conn, host)
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return netip.MustParseAddrPort(ln.Addr().String()).Port()
}

type fixture struct {
	addr     string
	resolver *resolver
	asked    func() []Where
}

func start(t *testing.T, fallback string) *fixture {
	t.Helper()
	port := echo(t)
	res := newResolver(t, map[string]netip.Addr{
		edgeName:       netip.MustParseAddr("10.71.0.10"),
		"other.vpc":    netip.MustParseAddr("10.99.0.1"),
		"refusing.vpc": netip.MustParseAddr("10.71.0.77"),
	})
	var mu sync.Mutex
	var asked []Where
	p, err := New(Config{
		Network: netx.Host(), Addr: "127.0.0.1:0", EdgePort: port, Default: fallback,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Resolve: func(_ context.Context, w Where) (Placement, error) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, w)
			if w.VPC == "vpc-unknown" {
				return Placement{}, errors.New("no such VPC")
			}
			return Placement{
				LocalAddr: netip.MustParseAddr(clientAddr), Resolver: res.addr(), Region: "us-west-2",
				Mappings: []Mapping{{VPC: "vpc-1", Prefix: netip.MustParsePrefix("10.71.0.0/16"), Octet: 71}},
			}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	addr, err := p.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &fixture{addr: addr, resolver: res, asked: func() []Where { mu.Lock(); defer mu.Unlock(); return asked }}
}

func (f *fixture) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

// socksDial speaks SOCKS as a client; an empty user offers no authentication
// only. It returns the reply code, or 255 if the method was refused.
func (f *fixture) socksDial(t *testing.T, user, host string, port uint16) (net.Conn, byte) {
	t.Helper()
	conn := f.dial(t)
	method := byte(methodNone)
	if user != "" {
		method = methodUser
	}
	conn.Write([]byte{5, 2, methodNone, method})
	var two [2]byte
	if _, err := io.ReadFull(conn, two[:]); err != nil {
		t.Fatal(err)
	}
	if two[1] == methodRefused {
		return conn, 255
	}
	if two[1] != method {
		t.Fatalf("method %d was chosen", two[1])
	}
	if user != "" {
		b := append([]byte{1, byte(len(user))}, user...)
		conn.Write(append(b, 1, 'x'))
		if _, err := io.ReadFull(conn, two[:]); err != nil || two[1] != 0 {
			t.Fatalf("user: %v, %v", two, err)
		}
	}
	b := []byte{5, 1, 0}
	if a, err := netip.ParseAddr(host); err == nil {
		b = append(append(b, addressIPv4), a.AsSlice()...)
	} else {
		b = append(append(b, addressName, byte(len(host))), host...)
	}
	conn.Write(binary.BigEndian.AppendUint16(b, port))
	var r [10]byte
	if _, err := io.ReadFull(conn, r[:]); err != nil {
		t.Fatal(err)
	}
	return conn, r[1]
}

// echoes checks that a connection goes to the edge, from the client's address,
// and that each way can end by itself.
func echoes(t *testing.T, conn net.Conn, in io.Reader) {
	t.Helper()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := clientAddr + "\nhello"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSOCKS(t *testing.T) {
	f := start(t, "")
	conn, code := f.socksDial(t, "vpc-1/subnet-2/sg-3+sg-4", edgeName, 443)
	if code != 0 {
		t.Fatalf("reply %d", code)
	}
	echoes(t, conn, conn)
	want := []Where{{VPC: "vpc-1", Subnet: "subnet-2", SecurityGroups: []string{"sg-3", "sg-4"}}}
	if diff := cmp.Diff(want, f.asked()); diff != "" {
		t.Error(diff)
	}
	f.resolver.mu.Lock()
	defer f.resolver.mu.Unlock()
	for _, from := range f.resolver.from {
		if from.String() != clientAddr {
			t.Errorf("a query came from %s", from)
		}
	}
}

func TestSOCKSReplies(t *testing.T) {
	f := start(t, "")
	for _, test := range []struct {
		name, user, host string
		port             uint16
		want             byte
	}{
		{"address of the VPC", "vpc-1", "10.71.0.10", 443, 0},
		{"address of this machine", "vpc-1", edgeAddr, 443, 0},
		{"no such name", "vpc-1", "nosuch.execute-api.us-west-2.amazonaws.com", 443, 4},
		{"no route to another VPC", "vpc-1", "other.vpc", 443, 3},
		{"refused", "vpc-1", "refusing.vpc", 443, 5},
		{"unknown VPC", "vpc-unknown", edgeName, 443, 1},
		{"user is no place", "a b", edgeName, 443, 2},
		{"host is no name", "vpc-1", "a\nb", 443, 8},
		{"port 0", "vpc-1", edgeName, 0, 8},
		{"no user", "", edgeName, 443, 255},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, code := f.socksDial(t, test.user, test.host, test.port); code != test.want {
				t.Errorf("reply %d, want %d", code, test.want)
			}
		})
	}
}

func TestDefaultPlace(t *testing.T) {
	f := start(t, "internet")
	if _, code := f.socksDial(t, "", edgeName, 443); code != 0 {
		t.Errorf("reply %d", code)
	}
	if w := f.asked(); len(w) != 1 || w[0].VPC != "internet" {
		t.Errorf("asked for %v", w)
	}
}

func TestConnect(t *testing.T) {
	f := start(t, "")
	auth := func(user string) string {
		return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":x")) + "\r\n"
	}
	conn := f.dial(t)
	fmt.Fprintf(conn, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n%s\r\n", edgeName, edgeName, auth("vpc-1%2Fsubnet-2"))
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, &http.Request{Method: "CONNECT"})
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 200 {
		t.Fatalf("status %s", res.Status)
	}
	echoes(t, conn, in)

	for _, test := range []struct {
		name, request, body string
		want                int
	}{
		{"no such name", "CONNECT nosuch.example:443 HTTP/1.1\r\n" + auth("vpc-1"), "no such host", 502},
		{"no route", "CONNECT other.vpc:443 HTTP/1.1\r\n" + auth("vpc-1"), "no route", 502},
		{"unknown VPC", "CONNECT x.example:443 HTTP/1.1\r\n" + auth("vpc-unknown"), "no such VPC", 502},
		{"no user", "CONNECT " + edgeName + ":443 HTTP/1.1\r\n", "user name", 407},
		{"not basic", "CONNECT " + edgeName + ":443 HTTP/1.1\r\nProxy-Authorization: Bearer x\r\n", "Basic", 407},
		{"plain HTTP", "GET http://x.example/ HTTP/1.1\r\n" + auth("vpc-1"), "CONNECT", 405},
		{"no port", "CONNECT x.example HTTP/1.1\r\n" + auth("vpc-1"), "host:port", 400},
		{"endless", "CONNECT x.example:443 HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", maxRequest), "bytes", 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := f.dial(t)
			go func() { _, _ = io.WriteString(conn, test.request+"\r\n") }()
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != test.want || !strings.Contains(string(body), test.body) {
				t.Errorf("got %s: %s", res.Status, body)
			}
		})
	}
}

// A VPC made a moment ago is reachable although the client's placement, which is
// kept for a while, does not know it.
func TestPlacementFollowsNewVPC(t *testing.T) {
	port := echo(t)
	mappings := []Mapping{{VPC: "vpc-1", Prefix: netip.MustParsePrefix("10.70.0.0/16"), Octet: 70}}
	asked := 0
	p, err := New(Config{
		Network: netx.Host(), Addr: "127.0.0.1:0", EdgePort: port, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Resolve: func(context.Context, Where) (Placement, error) {
			asked++
			return Placement{LocalAddr: netip.MustParseAddr(clientAddr), Mappings: mappings}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := demand{user: "onprem", host: "10.71.0.10", port: 443}
	if _, err := p.connect(t.Context(), d); kindOf(err) != failUnreachable {
		t.Fatalf("before the VPC is there: %v, want no route", err)
	}
	before := asked
	mappings = append(mappings, Mapping{VPC: "vpc-2", Prefix: netip.MustParsePrefix("10.71.0.0/16"), Octet: 71})
	for range 3 {
		conn, err := p.connect(t.Context(), d)
		if err != nil {
			t.Fatalf("after: %v", err)
		}
		conn.Close()
	}
	if asked != before+1 {
		t.Errorf("the placement was asked for %d times after the VPC was made, want once", asked-before)
	}
}

func TestWhere(t *testing.T) {
	for _, user := range []string{"vpc-1", "vpc-1/subnet-2", "vpc-1/subnet-2/sg-3+sg-4", "vpc-1//sg-3", "internet", "onprem", "onprem/vpc-1+vpc-2"} {
		w, err := ParseWhere(user)
		if err != nil {
			t.Errorf("%s: %v", user, err)
		}
		if w.String() != user {
			t.Errorf("%s reads as %s", user, w)
		}
	}
	for _, user := range []string{"", "/", "vpc-1/a/b/c", "internet/x", "onprem/a/b", "vpc 1", "vpc-1/../x", "%2F"} {
		if w, err := ParseWhere(user); err == nil {
			t.Errorf("%q reads as %s", user, w)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte("\x05\x01\x02\x01\x05vpc-1\x01x\x05\x01\x00\x03\x09localhost\x01\xbb"))
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x01\xbb"))
	f.Add([]byte("CONNECT a.example:443 HTTP/1.1\r\nProxy-Authorization: Basic dnBjLTE6eA==\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bufio.NewReaderSize(bytes.NewReader(data), maxRequest)
		var d demand
		var err error
		if len(data) > 0 && data[0] == socksVersion {
			d, err = readSOCKS(in, io.Discard, true)
		} else {
			d, err = readConnect(in, true)
		}
		if err != nil {
			connect{}.fail(io.Discard, err)
			socks{}.fail(io.Discard, err)
			return
		}
		if d.port == 0 || d.host == "" || strings.ContainsAny(d.host, " \r\n/@") {
			t.Errorf("accepted %+v", d)
		}
		if w, err := ParseWhere(d.user); err == nil {
			if again, err := ParseWhere(w.String()); err != nil || again.String() != w.String() {
				t.Errorf("%q reads as %s, then as %s, %v", d.user, w, again, err)
			}
		}
	})
}
