package dnsprop

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// serving starts a server on real sockets with free ports, in a VPC 10.7.0.0/16.
func serving(t *testing.T, edit func(*Config)) *Server {
	t.Helper()
	current := goleak.IgnoreCurrent()
	cfg := Config{ID: "dns-1", Resolver: "127.0.0.1:0", Registerer: prometheus.NewRegistry()}
	cfg.Now = func() time.Time { return time.Unix(1e9, 0) } // TTLs stand still
	for i := range cfg.Authorities {
		cfg.Authorities[i] = "127.0.0.1:0"
	}
	if edit != nil {
		edit(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	addresses := make([]string, 40) // more than fit into 512 bytes
	for i := range addresses {
		addresses[i] = "10.7.1." + string(rune('1'+i%9)) + string(rune('0'+i/9))
	}
	record := func(name string, a ...string) *statev1.RecordChange {
		return &statev1.RecordChange{Name: name, Type: "A", After: &statev1.RRset{Ttl: 60, Addresses: a}}
	}
	rejected := s.Install(t.Context(), Update{Index: 7, Full: true, Changed: []Resource{
		resource("settings", &dnsv1.Settings{Profile: "aws", Regions: []string{region}}),
		resource("vpc/vpc-7", &dnsv1.Vpc{
			Id: "vpc-7", LoopbackOctet: 77, Cidrs: []string{"10.7.0.0/16"}, EnableDnsSupport: true, EnableDnsHostnames: true,
			PrivateZones: []*dnsv1.PrivateZone{{Name: apiZone, Ttl: 60, Addresses: []string{"10.7.1.10"}}},
		}),
		resource("change/C1", &dnsv1.Change{Index: 7, Change: &statev1.DnsChange{
			Id: "C1", Profile: "instant", Attempts: []int64{1},
			Records: []*statev1.RecordChange{record(apiName, "127.0.0.1"), record("many."+apiZone, addresses...)},
		}}),
	}})
	if rejected != nil {
		t.Fatal(rejected)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		goleak.VerifyNone(t, current)
	})
	return s
}

func TestRealSockets(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := serving(t, func(c *Config) { c.Registerer = reg })
	authorities, public := s.Addresses()
	vpc, ok := s.VPCResolver("vpc-7")
	if !ok || vpc.Addr().String() != "127.77.0.2" || !strings.HasSuffix(public, ":"+vpc.String()[len("127.77.0.2:"):]) {
		t.Fatalf("vpc resolver %v, public %v", vpc, public)
	}
	for _, server := range append(authorities[:], public, vpc.String()) {
		for _, network := range []string{"udp", "tcp"} {
			c := &dns.Client{Net: network, Timeout: 5 * time.Second}
			q := new(dns.Msg).SetQuestion(apiName, dns.TypeA)
			m, _, err := c.ExchangeContext(t.Context(), q, server)
			if err != nil {
				t.Fatalf("%s %s: %v", network, server, err)
			}
			want := "127.0.0.1 60"
			if server == vpc.String() {
				want = "10.7.1.10 60"
			}
			if got := say(m); got != want {
				t.Errorf("%s %s: %q, want %q", network, server, got, want)
			}
		}
	}
	for _, place := range []string{s.resolverID(0), s.vpcID("vpc-7")} {
		if got := testutil.ToFloat64(s.metrics.resolverAnswers.WithLabelValues(place, "NOERROR")); got != 2 {
			t.Errorf("%v answers of %s counted", got, place)
		}
	}
	if err := s.Ready(); err != nil {
		t.Error(err)
	}
	places := s.Places()
	if places[0].GetId() != "dns-1-ns1" || places[4].GetId() != "dns-1-resolver" || places[4].GetAddress() != public {
		t.Errorf("places %v", places)
	}
}

func TestTruncationAndTCP(t *testing.T) {
	s := serving(t, nil)
	_, public := s.Addresses()
	q := new(dns.Msg).SetQuestion("many."+apiZone, dns.TypeA)
	m, _, err := new(dns.Client).ExchangeContext(t.Context(), q, public)
	if err != nil {
		t.Fatal(err)
	}
	if m.Compress = true; !m.Truncated || m.Len() > 512 {
		t.Errorf("truncated %v at %d bytes", m.Truncated, m.Len())
	}
	q.SetEdns0(4096, false)
	m, _, err = new(dns.Client).ExchangeContext(t.Context(), q, public)
	if err != nil {
		t.Fatal(err)
	}
	if m.Truncated || len(m.Answer) != 40 || m.IsEdns0() == nil {
		t.Errorf("with EDNS0: truncated %v, %d answers", m.Truncated, len(m.Answer))
	}
	tcp := &dns.Client{Net: "tcp"}
	m, _, err = tcp.ExchangeContext(t.Context(), new(dns.Msg).SetQuestion("many."+apiZone, dns.TypeA), public)
	if err != nil {
		t.Fatal(err)
	}
	if m.Truncated || len(m.Answer) != 40 {
		t.Errorf("TCP: truncated %v, %d answers", m.Truncated, len(m.Answer))
	}
}

// Many queries, sent before the first answer is read, on one connection.
func TestPipelining(t *testing.T) {
	s := serving(t, nil)
	_, public := s.Addresses()
	conn, err := net.Dial("tcp", public)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	const n = 300
	var out []byte
	for id := range uint16(n) {
		q := new(dns.Msg).SetQuestion(apiName, dns.TypeA)
		q.Id = id
		b, _ := q.Pack()
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(b))), b...)
	}
	if _, err := conn.Write(out); err != nil {
		t.Fatal(err)
	}
	for id := range uint16(n) {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			t.Fatalf("answer %d: %v", id, err)
		}
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, b); err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(b); err != nil || m.Id != id || say(m) != "127.0.0.1 60" {
			t.Fatalf("answer %d: %v %v", id, err, m)
		}
	}
	// A query beyond the limit ends the connection.
	if _, err := conn.Write([]byte{0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after an oversized query: %v", err)
	}
}

func TestForward(t *testing.T) {
	upstream := &dns.Server{Addr: "127.0.0.1:0", Net: "udp", Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		rr, _ := dns.NewRR(q.Question[0].Name + " 30 IN A 192.0.2.1")
		m.Answer = []dns.RR{rr}
		_ = w.WriteMsg(m) // the test notices an answer that is missing
	})}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	upstream.PacketConn = packets
	s := serving(t, func(c *Config) { c.Forward = packets.LocalAddr().String() })
	go func() { _ = upstream.ActivateAndServe() }()
	defer upstream.Shutdown()
	_, public := s.Addresses()
	for _, network := range []string{"udp", "tcp"} {
		c := &dns.Client{Net: network}
		m, _, err := c.ExchangeContext(t.Context(), new(dns.Msg).SetQuestion("Example.com.", dns.TypeA), public)
		if err != nil {
			t.Fatal(err)
		}
		if got := say(m); got != "192.0.2.1 30" || m.Answer[0].Header().Name != "Example.com." {
			t.Errorf("%s: %v", network, m)
		}
		// Our own names are never asked for elsewhere.
		m, _, err = c.ExchangeContext(t.Context(), new(dns.Msg).SetQuestion("nobody."+apiZone, dns.TypeA), public)
		if err != nil {
			t.Fatal(err)
		}
		if got := say(m); got != "NXDOMAIN 900" {
			t.Errorf("%s: our own name: %q", network, got)
		}
	}
}

func TestAddressInUseIsRejectedByName(t *testing.T) {
	s := serving(t, nil)
	vpc, _ := s.VPCResolver("vpc-7")
	second := resource("vpc/vpc-8", &dnsv1.Vpc{Id: "vpc-8", LoopbackOctet: 77, Cidrs: []string{"10.7.0.0/16"}})
	rejected := s.Install(t.Context(), Update{Index: 8, Changed: []Resource{second}})
	if len(rejected) != 1 || rejected[0].Resource != "vpc/vpc-8" || !strings.Contains(rejected[0].Reason, "in use") {
		t.Fatalf("rejections %v", rejected)
	}
	// With the first VPC gone its address is free.
	rejected = s.Install(t.Context(), Update{Index: 9, Removed: []string{"vpc/vpc-7"}, Changed: []Resource{second}})
	if rejected != nil {
		t.Fatal(rejected)
	}
	if now, _ := s.VPCResolver("vpc-8"); now != vpc {
		t.Errorf("at %v, want %v", now, vpc)
	}
}
