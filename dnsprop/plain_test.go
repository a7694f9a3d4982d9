package dnsprop

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/message"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// byLibrary hides that a resolver can do without the library; primaryByLibrary
// that an authority can.
type (
	byLibrary        struct{ message.Responder }
	primaryByLibrary struct {
		message.Responder
		message.Primary
	}
)

// plainServer has names of 1, 3 and 200 addresses, and one whose change is to
// come, users' zones, and a VPC with private ones, at a standing clock. Addresses
// are turned around, not shuffled.
func plainServer(t testing.TB) *Server {
	t.Helper()
	s, err := New(Config{
		ID: "plain", Network: newMemNet(), Now: func() time.Time { return time.Unix(1e9, 0) },
		Shuffle: func(n int, swap func(i, j int)) {
			for i := range n / 2 {
				swap(i, n-1-i)
			}
		},
		Pick: func(int) int { return 0 },
	})
	if err != nil {
		t.Fatal(err)
	}
	addresses := make([]string, 200)
	for i := range addresses {
		addresses[i] = netip.AddrFrom4([4]byte{10, 7, 1, byte(i)}).String()
	}
	record := func(name string, ttl uint32, a ...string) *statev1.RecordChange {
		return &statev1.RecordChange{Name: name, Type: "A", After: &statev1.RRset{Ttl: ttl, Addresses: a}}
	}
	hosted := func(id string, zone *statev1.ZoneRef, lines ...string) Resource {
		return resource("change/"+id, &dnsv1.Change{Index: 3, Change: &statev1.DnsChange{
			Id: id, Profile: "instant", Attempts: []int64{1}, Zone: zone, Records: hostedRecords(zone, lines...),
		}})
	}
	vpc := &dnsv1.Vpc{
		Id: "vpc-7", LoopbackOctet: 7, Cidrs: []string{"10.7.0.0/16"}, EnableDnsSupport: true, EnableDnsHostnames: true,
		PrivateZones: []*dnsv1.PrivateZone{{Name: apiZone, Ttl: 60, Addresses: addresses[:20]}},
	}
	associated(private1, private2)(vpc)
	if rejected := s.Install(context.Background(), Update{Index: 1, Full: true, Changed: []Resource{
		resource("vpc/vpc-7", vpc),
		hosted("C3", public1, opening("@ 300 A 192.0.2.1", "www 300 CNAME six.example.com.", "six 60 AAAA 2001:db8::2,2001:db8::1", "*.wild 60 A 192.0.2.2",
			"sub 60 NS ns.elsewhere.test.", "deep.er 60 TXT \"x\"")...),
		hosted("C4", private1, `@ 60 SOA NS.Example.com. Host.example.com. 1 2 3 4 5`, "@ 60 NS ns.example.com.", "one 60 A 10.7.1.1"),
		hosted("C5", private2, "@ 60 SOA a.a.corp.example.com. a.corp.example.com. 1 2 3 4 5", "@ 60 NS ns.example.com.", "six 60 AAAA 2001:db8::3"),
		resource("settings", &dnsv1.Settings{Profile: "aws", Regions: []string{region}}),
		resource("change/C1", &dnsv1.Change{Index: 1, Change: &statev1.DnsChange{
			Id: "C1", Profile: "instant", Attempts: []int64{1},
			Records: []*statev1.RecordChange{
				record(apiName, 60, "127.0.0.1"), record("many."+apiZone, 30, addresses...),
				record(aliasName, 300, addresses[:3]...), record("a.below."+apiZone, 60, addresses[0]),
			},
		}}),
		resource("change/C2", &dnsv1.Change{Index: 2, Change: &statev1.DnsChange{
			Id: "C2", Profile: "instant", Attempts: []int64{2e18},
			Records: []*statev1.RecordChange{record("later."+apiZone, 60, addresses[1]), record(apiName, 60, addresses[2])},
		}}),
	}}); rejected != nil {
		t.Fatal(rejected)
	}
	return s
}

// plainPlaces are an authority, the public resolver, and a VPC's.
const plainPlaces = 3

// bothWays answers a packet at a place around the library and by it, and fails
// unless the bytes are the same. It returns them. A resolver answers around the
// library twice: what it learns by the first time it knows the second.
func bothWays(t *testing.T, s *Server, place int, packet []byte, stream bool) []byte {
	t.Helper()
	var way, library message.Responder
	switch place {
	case 0:
		way, library = s.authorities[1], primaryByLibrary{s.authorities[1], s.authorities[1]}
	case 1:
		way, library = s.public, byLibrary{s.public}
	case 2:
		way, library = s.vpcs["vpc-7"].resolver, byLibrary{s.vpcs["vpc-7"].resolver}
	}
	panicked := false
	around := message.Handler{Responder: way, Logger: s.cfg.Logger, Panicked: func() { panicked = true }}
	by := message.Handler{Responder: library, Logger: s.cfg.Logger, Panicked: func() { panicked = true }}
	from := netip.MustParseAddr("127.7.0.1")
	got, _ := around.Append([]byte("kept"), packet, from, stream)
	again, _ := around.Append([]byte("kept"), packet, from, stream)
	want, _ := by.Handle(packet, from, stream)
	if panicked {
		t.Fatalf("packet %x: a panic was recovered", packet)
	}
	if want != nil {
		want = append([]byte("kept"), want...)
	}
	if !bytes.Equal(got, want) || !bytes.Equal(again, want) {
		t.Fatalf("place %d, packet %x:\naround the library %x\nagain              %x\nby it              %x", place, packet, got, again, want)
	}
	return got
}

// plainQuestions are queries on both sides of the line between the two ways.
func plainQuestions(t testing.TB) [][]byte {
	t.Helper()
	var packets [][]byte
	add := func(q *dns.Msg) {
		b, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, b, b[:len(b)-1], append(b[:len(b):len(b)], 0))
	}
	for _, name := range []string{
		apiName, "A1b2C3D4e5.Execute-API.us-west-2.AMAZONAWS.com.", aliasName, "many." + apiZone, "below." + apiZone, "a.below." + apiZone,
		"later." + apiZone, "nobody." + apiZone, "x." + apiName, apiZone, vpceZone, "example.com.", "com.", ".", `a\.b.` + apiZone, `a\000.` + apiZone, "*." + apiZone,
		"www.example.com.", "six.example.com.", "SIX.example.com.", "x.wild.example.com.", "er.example.com.", "no.Example.com.", "x.sub.example.com.",
		"one.example.com.", "corp.example.com.", "a.corp.example.com.", "A.a.corp.example.com.", "six.corp.example.com.", "a.a.a.corp.example.com.",
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeANY, dns.TypeAXFR} {
			add(new(dns.Msg).SetQuestion(name, qtype))
			for _, size := range []uint16{0, 512, 600, 1232, 4096} {
				q := new(dns.Msg).SetQuestion(name, qtype).SetEdns0(size, size == 600)
				q.RecursionDesired, q.CheckingDisabled, q.AuthenticatedData = size != 600, size == 600, size == 512
				add(q)
			}
			cookie := new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1232, false)
			cookie.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}}
			add(cookie)
			future := new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1232, false)
			future.IsEdns0().SetVersion(1)
			add(future)
		}
		chaos := new(dns.Msg).SetQuestion(name, dns.TypeA)
		chaos.Question[0].Qclass = dns.ClassCHAOS
		add(chaos)
	}
	return packets
}

func TestPlainAnswersAreTheLibrarys(t *testing.T) {
	s := plainServer(t)
	for place := range plainPlaces {
		answered, denied := 0, 0
		for _, packet := range plainQuestions(t) {
			for _, stream := range []bool{false, true} {
				m := new(dns.Msg)
				switch {
				case m.Unpack(bothWays(t, s, place, packet, stream)[4:]) != nil:
				case len(m.Answer) > 0:
					answered++
				case len(m.Ns) > 0:
					denied++
				}
			}
		}
		if answered < 100 || denied < 100 {
			t.Errorf("place %d: only %d answers and %d denials compared", place, answered, denied)
		}
	}
}

// FuzzPlain compares the two ways on any packet.
func FuzzPlain(f *testing.F) {
	for _, packet := range plainQuestions(f) {
		f.Add(packet, false)
		f.Add(packet, true)
	}
	s := plainServer(f)
	f.Fuzz(func(t *testing.T, packet []byte, stream bool) {
		for place := range plainPlaces {
			bothWays(t, s, place, packet, stream)
		}
	})
}

// A million packets, of noise and of queries with some bytes changed: no panic,
// and both ways agree on each.
func TestMillionPackets(t *testing.T) {
	packets := 1_000_000
	if testing.Short() {
		packets /= 100
	}
	s := plainServer(t)
	seeds := plainQuestions(t)
	rng := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 0, 600)
	for i := range packets {
		if i%4 == 0 {
			buf = buf[:rng.IntN(100)]
			for j := range buf {
				buf[j] = byte(rng.Uint32())
			}
		} else {
			buf = append(buf[:0], seeds[rng.IntN(len(seeds))]...)
			for range rng.IntN(4) {
				buf[rng.IntN(len(buf))] = byte(rng.Uint32())
			}
		}
		bothWays(t, s, rng.IntN(plainPlaces), buf, i%3 == 0)
	}
}

// Noise on real sockets, and then an answer; serving checks that no goroutine is left.
func TestNoiseOnSockets(t *testing.T) {
	s := serving(t, nil)
	authorities, public := s.Addresses()
	seeds := plainQuestions(t)
	rng := rand.New(rand.NewPCG(3, 4))
	for _, server := range []string{authorities[0], public} {
		udp, err := net.Dial("udp", server)
		if err != nil {
			t.Fatal(err)
		}
		for range 20_000 {
			packet := bytes.Clone(seeds[rng.IntN(len(seeds))])
			for range rng.IntN(5) {
				packet[rng.IntN(len(packet))] = byte(rng.Uint32())
			}
			if _, err := udp.Write(packet); err != nil {
				t.Fatal(err)
			}
		}
		udp.Close()
		for range 200 {
			tcp, err := net.Dial("tcp", server)
			if err != nil {
				t.Fatal(err)
			}
			noise := make([]byte, rng.IntN(2000))
			for i := range noise {
				noise[i] = byte(rng.Uint32N(40)) // small sizes, so that some packets are whole
			}
			_, _ = tcp.Write(noise) // the server may have closed it
			tcp.(*net.TCPConn).CloseWrite()
			tcp.SetReadDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.Copy(io.Discard, tcp); err != nil {
				if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
					t.Fatal("the server holds on to a connection that has ended")
				}
			}
			tcp.Close()
		}
		m, _, err := (&dns.Client{Net: "tcp", Timeout: 20 * time.Second}).ExchangeContext(t.Context(), new(dns.Msg).SetQuestion(apiName, dns.TypeA), server)
		if err != nil || say(m) != "127.0.0.1 60" {
			t.Errorf("afterwards: %v %v", m, err)
		}
	}
}

func TestPlainAllocatesNothing(t *testing.T) {
	s := plainServer(t)
	from := netip.MustParseAddr("127.7.0.1")
	buf := make([]byte, 0, 2048)
	own := []string{apiName, aliasName, "nobody." + apiZone, "x.nobody." + apiZone, "below." + apiZone, apiZone}
	users := []string{"example.com.", "x.wild.example.com.", "six.example.com.", "no.example.com.", "er.example.com."}
	for place, c := range map[string]struct {
		responder message.Responder
		names     []string
	}{
		"authority":       {s.authorities[1], own},
		"public resolver": {s.public, append(users, own...)},
		"vpc's resolver":  {s.vpcs["vpc-7"].resolver, []string{apiName, "nobody." + apiZone, vpceZone, "six.corp.example.com.", "no.corp.example.com."}},
	} {
		h := message.Handler{Responder: c.responder, Count: count(s.metrics.authorityAnswers, "place"), Logger: s.cfg.Logger}
		for _, name := range c.names {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
				packet, err := new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1232, false).Pack()
				if err != nil {
					t.Fatal(err)
				}
				h.Append(buf, packet, from, false) // a resolver learns it
				if n := testing.AllocsPerRun(1000, func() { h.Append(buf, packet, from, false) }); n > 0.01 {
					t.Errorf("%s: %s %s: %v allocations", place, name, dns.TypeToString[qtype], n)
				}
			}
		}
	}
}
