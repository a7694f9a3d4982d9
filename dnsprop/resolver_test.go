package dnsprop

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/resolver"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// extended are the extended errors of an answer, by the names that RFC 8914 gives them.
func (l *lab) extended(at vantage, name string) string {
	l.t.Helper()
	packet, err := new(dns.Msg).SetQuestion(name, dns.TypeA).SetEdns0(1232, false).Pack()
	if err != nil {
		l.t.Fatal(err)
	}
	b, _ := l.net.exchange(netip.MustParseAddr(at.from), at.server, packet)
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		l.t.Fatal(err)
	}
	var out []string
	for _, o := range m.IsEdns0().Option {
		out = append(out, dns.ExtendedErrorCodeToString[o.(*dns.EDNS0_EDE).InfoCode])
	}
	return strings.Join(out, ", ")
}

func TestResolverSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLabWith(t, "fast", resolver.Options{ServeStale: 5 * time.Minute})
		l.vpc(8, func(v *dnsv1.Vpc) { v.EnableDnsSupport = false })
		l.hosted("instant", public1, opening("www 60 CNAME web.example.com.", "web 30 A 192.0.2.1")...)
		l.until(insync(t, l.set(aliasName, eni)))
		nobody := "nobody." + apiZone
		expect := func(at vantage, name, want string) {
			t.Helper()
			if got := l.extended(at, name); got != want {
				t.Errorf("%s at %s: %q, want %q", name, at.server, got, want)
			}
		}
		for _, name := range []string{aliasName, nobody, "www.example.com."} {
			expect(internet, name, "")
			expect(internet, name, "") // from the cache
		}
		expect(inVPC(8, 1), aliasName, "Prohibited")

		l.fault(&statev1.DnsFault{Kind: propagation.FaultDown})
		expect(internet, apiName, "No Reachable Authority")
		expect(internet, apiName, "Cached Error")
		time.Sleep(time.Minute)
		expect(internet, aliasName, "Stale Answer")
		expect(internet, nobody, "Stale NXDOMAIN Answer")
		expect(internet, "www.example.com.", "Stale Answer")
		l.clear()
		l.fault(&statev1.DnsFault{Kind: propagation.FaultDown, Place: "ns1"})
		l.fault(&statev1.DnsFault{Kind: propagation.FaultServfail})
		expect(internet, apiName, "Network Error") // one is down, the others answer, but fail
		l.clear()
		time.Sleep(5 * time.Minute)
		expect(internet, aliasName, "")
	})
}
