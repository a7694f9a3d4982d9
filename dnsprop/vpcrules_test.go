package dnsprop

import (
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// The rows of vpc-endpoints.md, 2.3, where endpoints' and users' private zones
// meet. Those of users' zones alone are in TestPrivateHostedZones, those of
// deployments-and-dns.md, 4.5, in TestAnswers.
func TestMostSpecificPrivateZoneAnswers(t *testing.T) {
	above := &statev1.ZoneRef{Id: "ZABOVE", Name: "amazonaws.com.", Private: true}
	below := &statev1.ZoneRef{Id: "ZBELOW", Name: apiName, Private: true}
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "instant")
		l.profile = "aws"
		l.settings()
		own := func(name, address string) {
			c := l.change(name, address)
			c.Change.Profile = "instant"
			l.put(c)
		}
		regional := vpce + "-abcdefgh." + vpceZone
		own(apiName, "127.0.0.1")
		own(regional, "10.6.1.10")
		l.hosted("instant", public1, opening("api 60 CNAME "+apiName, "to 60 CNAME s3.amazonaws.com.", "alias ALIAS A "+apiName)...)
		l.hosted("instant", above, opening("s3 60 A 10.0.0.3")...)
		l.hosted("instant", below, opening("@ 60 A 10.0.0.5", "six 60 AAAA fd00::1")...)
		l.vpc(6, privateDNS("10.6.1.10"))
		l.vpc(7, func(v *dnsv1.Vpc) { privateDNS("10.7.1.10")(v); associated(above, below)(v) })
		l.vpc(8, associated(above))
		l.vpc(9, nil)
		all, users, endpoint, none := inVPC(7, 1), inVPC(8, 1), inVPC(6, 1), inVPC(9, 1)
		for range 2 { // from the authority, then from the cache
			for _, row := range []struct {
				name  string
				at    vantage
				qname string
				qtype uint16
				want  string
			}{
				{"a user's zone below the endpoint's", all, apiName, dns.TypeA, "A 60 10.0.0.5"},
				{"does not exist below it", all, "x." + apiName, dns.TypeA, "NXDOMAIN 900"},
				{"has its own types", all, "six." + apiName, dns.TypeAAAA, "AAAA 60 fd00::1"},
				{"the endpoint's zone below a user's", all, "other." + apiZone, dns.TypeA, "A 60 10.7.1.10"},
				{"a user's zone above the endpoint's", all, "s3.amazonaws.com.", dns.TypeA, "A 60 10.0.0.3"},
				{"without a way to public names", all, regional, dns.TypeA, "NXDOMAIN 900"},
				{"nor from the region's apex", all, vpceZone, dns.TypeSOA, "NXDOMAIN 900"},
				{"the same zone in a vpc without the endpoint", users, apiName, dns.TypeA, "NXDOMAIN 900"},
				{"the same endpoint in a vpc without the zone", endpoint, apiName, dns.TypeA, "A 60 10.6.1.10"},
				{"another vpc's zones", none, apiName, dns.TypeA, "A 60 127.0.0.1"},
				{"an endpoint's name from another vpc", none, regional, dns.TypeA, "A 60 10.6.1.10"},
				{"other types of the endpoint's zone", endpoint, apiName, dns.TypeTXT, "NODATA 900"},
				{"IPv6 in the endpoint's zone", endpoint, "any.thing." + apiZone, dns.TypeAAAA, "NODATA 900"},

				{"a public CNAME to a captured name", endpoint, "api.example.com.", dns.TypeA, "A 60 10.6.1.10 | CNAME 60 " + apiName},
				{"to a user's private zone", all, "api.example.com.", dns.TypeA, "A 60 10.0.0.5 | CNAME 60 " + apiName},
				{"to where nothing is", users, "api.example.com.", dns.TypeA, "CNAME 60 " + apiName + " | NXDOMAIN"},
				{"to a name that is public elsewhere", all, "to.example.com.", dns.TypeA, "A 60 10.0.0.3 | CNAME 60 s3.amazonaws.com."},
				{"to a name of nobody", none, "to.example.com.", dns.TypeA, "REFUSED | CNAME 60 s3.amazonaws.com."},
				{"a public alias is the authority's", endpoint, "alias.example.com.", dns.TypeA, "A 60 127.0.0.1"},
				{"a name of nobody", all, "nobody.test.", dns.TypeA, "REFUSED"},
			} {
				if got := tell(l.ask(row.at, row.qname, row.qtype)); got != row.want {
					t.Errorf("%s: %s at %s: %q, want %q", row.name, row.qname, row.at.server, got, row.want)
				}
			}
		}
		// Both attributes are needed for private zones; support for any answer.
		l.vpc(7, func(v *dnsv1.Vpc) {
			privateDNS("10.7.1.10")(v)
			associated(above, below)(v)
			v.EnableDnsHostnames = false
		})
		l.expect(all, apiName, "127.0.0.1 60")
		l.expect(all, regional, "10.6.1.10 60")
		l.expect(all, "s3.amazonaws.com.", "REFUSED")
		l.vpc(7, func(v *dnsv1.Vpc) {
			privateDNS("10.7.1.10")(v)
			v.EnableDnsSupport = false
		})
		for _, name := range []string{apiName, regional, "nobody.test."} {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSOA, dns.TypeANY} {
				if got := say(l.ask(all, name, qtype)); got != "REFUSED" {
					t.Errorf("%s without DNS support: %q", name, got)
				}
			}
		}
	})
}

// What is nobody's is forwarded, what is in a private zone never is, nor anything
// for a VPC without DNS support.
func TestVPCForwards(t *testing.T) {
	asked := make(chan string, 100)
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	upstream := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		asked <- q.Question[0].Name
		_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeNameError)) // the test notices an answer that is missing
	})}
	s := serving(t, func(c *Config) { c.Forward = packets.LocalAddr().String() })
	go func() { _ = upstream.ActivateAndServe() }()
	defer upstream.Shutdown()
	vpc := &dnsv1.Vpc{
		Id: "vpc-7", LoopbackOctet: 77, Cidrs: []string{"10.7.0.0/16"}, EnableDnsSupport: true, EnableDnsHostnames: true,
		PrivateZones: []*dnsv1.PrivateZone{{Name: apiZone, Ttl: 60, Addresses: []string{eni}}},
	}
	associated(private1)(vpc)
	install := func(index uint64) {
		t.Helper()
		if rejected := s.Install(t.Context(), Update{Index: index, Changed: []Resource{
			resource("vpc/vpc-7", vpc),
			resource("change/C9", &dnsv1.Change{Index: 5, Change: &statev1.DnsChange{
				Id: "C9", Profile: "instant", Attempts: []int64{1}, Zone: private1, Records: hostedRecords(private1, opening("out 60 CNAME www.elsewhere.test.")...),
			}}),
		}}); rejected != nil {
			t.Fatal(rejected)
		}
	}
	install(20)
	address, _ := s.VPCResolver("vpc-7")
	ask := func(name string) *dns.Msg {
		t.Helper()
		m, _, err := (&dns.Client{Timeout: 20 * time.Second}).ExchangeContext(t.Context(), new(dns.Msg).SetQuestion(name, dns.TypeA), address.String())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for name, want := range map[string]string{
		"elsewhere.test.":      "elsewhere.test.", // nobody's
		"s3.amazonaws.com.":    "s3.amazonaws.com.",
		"out.example.com.":     "www.elsewhere.test.", // the end of a chain
		"nothing.example.com.": "",                    // a user's private zone
		"any." + apiZone:       "",                    // the endpoint's
		"any." + vpceZone:      "",                    // Postern's public ones
	} {
		m := ask(name)
		if got := receive(asked); got != want {
			t.Errorf("%s: %q was asked for elsewhere, want %q", name, got, want)
		}
		if want != "" && m.Rcode != dns.RcodeNameError {
			t.Errorf("%s: rcode %d, want that of the other server", name, m.Rcode)
		}
	}
	vpc.EnableDnsSupport = false
	install(21)
	if m := ask("elsewhere.test."); m.Rcode != dns.RcodeRefused {
		t.Errorf("without DNS support: %v", m)
	}
	if got := receive(asked); got != "" {
		t.Errorf("without DNS support %q was asked for elsewhere", got)
	}
}

func receive(c <-chan string) string {
	select {
	case s := <-c:
		return s
	default:
		return ""
	}
}

// Each response has the addresses in an order of its own, from wherever.
func TestAnswersRotate(t *testing.T) {
	s := serving(t, nil)
	authorities, public := s.Addresses()
	vpc, _ := s.VPCResolver("vpc-7")
	rules := &dnsv1.Vpc{Id: "vpc-7", LoopbackOctet: 77, Cidrs: []string{"10.7.0.0/16"}, EnableDnsSupport: true, EnableDnsHostnames: true}
	privateDNS("10.7.1.1", "10.7.1.2", "10.7.1.3")(rules)
	if rejected := s.Install(t.Context(), Update{Index: 8, Changed: []Resource{resource("vpc/vpc-7", rules)}}); rejected != nil {
		t.Fatal(rejected)
	}
	for _, server := range []string{authorities[0], public, vpc.String()} {
		first := map[string]int{}
		for range 300 {
			m, _, err := (&dns.Client{Timeout: 20 * time.Second}).ExchangeContext(t.Context(), new(dns.Msg).SetQuestion("many."+apiZone, dns.TypeA).SetEdns0(1232, false), server)
			if err != nil {
				t.Fatal(err)
			}
			all := make([]string, len(m.Answer))
			for i, rr := range m.Answer {
				all[i] = rr.(*dns.A).A.String()
			}
			first[all[0]]++
			if slices.Sort(all); len(slices.Compact(all)) != len(m.Answer) {
				t.Fatalf("%s: an address twice", server)
			}
		}
		if len(first) < 2 {
			t.Errorf("%s: always in the same order: %v", server, first)
		}
	}
}
