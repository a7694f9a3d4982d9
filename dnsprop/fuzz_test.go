package dnsprop

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/message"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// FuzzMessage feeds packets to an authority, the public resolver and a VPC's:
// nothing panics, and what comes back is a response to what was asked, within
// the limit.
func FuzzMessage(f *testing.F) {
	for _, packet := range seedPackets(f) {
		f.Add(packet, false)
		f.Add(packet, true)
	}
	s, err := New(Config{ID: "fuzz", Network: newMemNet(), Now: func() time.Time { return time.Unix(1e9, 0) }})
	if err != nil {
		f.Fatal(err)
	}
	installOddZones(f, s)
	responders := []message.Responder{s.authorities[1], s.public, s.vpcs["vpc-7"].resolver}
	var panicked bool
	f.Fuzz(func(t *testing.T, packet []byte, stream bool) {
		for _, r := range responders {
			h := message.Handler{Responder: r, Logger: s.cfg.Logger, Panicked: func() { panicked = true }}
			if transfer := h.Transfer(packet, netip.MustParseAddr("127.7.1.9")); transfer != nil {
				if err := transfer(t.Context(), func(b []byte) error { return new(dns.Msg).Unpack(b) }); err != nil || panicked {
					t.Fatalf("transfer: %v, panicked %v", err, panicked)
				}
			}
			response, later := h.Handle(packet, netip.MustParseAddr("127.7.1.9"), stream)
			if panicked {
				t.Fatal("a panic was recovered")
			}
			if later != nil {
				t.Fatal("forwards without a forwarder")
			}
			if response == nil {
				continue
			}
			m := new(dns.Msg)
			if err := m.Unpack(response); err != nil {
				t.Fatalf("malformed response %x: %v", response, err)
			}
			if !m.Response || response[0] != packet[0] || response[1] != packet[1] {
				t.Fatalf("not a response to the query: %v", m)
			}
			if !stream && len(response) > 1232 || len(response) > 512 && !stream && !hasOPT(packet) {
				t.Fatalf("%d bytes over UDP", len(response))
			}
		}
	})
}

func hasOPT(packet []byte) bool {
	m := new(dns.Msg)
	return m.Unpack(packet) == nil && m.IsEdns0() != nil
}

// seedPackets are queries, good and bad, to begin with.
func seedPackets(tb testing.TB) (out [][]byte) {
	pack := func(m *dns.Msg) []byte {
		b, err := m.Pack()
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	add := func(packet []byte) { out = append(out, packet) }
	for _, name := range []string{apiName, aliasName, "many." + apiZone, apiZone, "nobody." + apiZone, "example.com.", "x.wild.example.com.", "loop.example.com.", "x.sub.example.com.", "."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSOA, dns.TypeANY, dns.TypeTXT, dns.TypeDS} {
			q := new(dns.Msg).SetQuestion(name, qtype)
			add(pack(q))
			add(pack(q.SetEdns0(4096, true)))
		}
	}
	add(pack(new(dns.Msg).SetAxfr(apiZone)))
	add(pack(new(dns.Msg).SetIxfr(apiZone, 1, "ns.", "mbox.")))
	add([]byte{})
	add([]byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	add([]byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0x0c, 0, 1, 0, 1}) // a name that points at itself
	add(append([]byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, '.', '\\', 0}, []byte("\x0bexecute-api\x09us-west-2\x09amazonaws\x03com\x00\x00\x01\x00\x01")...))
	return out
}

// installOddZones gives a server zones with whatever is hard to answer.
func installOddZones(tb testing.TB, s *Server) {
	tb.Helper()
	addresses := make([]string, 200)
	for i := range addresses {
		addresses[i] = netip.AddrFrom4([4]byte{10, 7, 1, byte(i)}).String()
	}
	record := func(name string, a ...string) *statev1.RecordChange {
		return &statev1.RecordChange{Name: name, Type: "A", After: &statev1.RRset{Ttl: 60, Addresses: a}}
	}
	if rejected := s.Install(context.Background(), Update{Index: 1, Full: true, Changed: []Resource{
		resource("settings", &dnsv1.Settings{Profile: "aws", Regions: []string{region}}),
		resource("vpc/vpc-7", &dnsv1.Vpc{
			Id: "vpc-7", LoopbackOctet: 7, Cidrs: []string{"10.7.0.0/16"}, EnableDnsSupport: true, EnableDnsHostnames: true,
			PrivateZones: []*dnsv1.PrivateZone{{Name: apiZone, Ttl: 60, Addresses: addresses}},
		}),
		resource("change/C2", &dnsv1.Change{Index: 1, Change: &statev1.DnsChange{
			Id: "C2", Profile: "instant", Attempts: []int64{1}, Zone: public1,
			Records: hostedRecords(public1, opening("*.wild 60 A 192.0.2.1", "loop 60 CNAME loop.example.com.", "sub 60 NS ns.elsewhere.test.",
				"self ALIAS A self.example.com.", `txt 60 TXT "\000\377"`)...),
		}}),
		resource("change/C1", &dnsv1.Change{Index: 1, Change: &statev1.DnsChange{
			Id: "C1", Profile: "instant", Attempts: []int64{1},
			Records: []*statev1.RecordChange{record(apiName, "127.0.0.1"), record("many."+apiZone, addresses...)},
		}}),
	}}); rejected != nil {
		tb.Fatal(rejected)
	}
}
