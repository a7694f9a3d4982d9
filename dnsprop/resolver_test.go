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

// RFC 9520: what failed is not asked again for a second, then two, four...
func TestResolverRemembersFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "fast")
		l.until(insync(t, l.set(aliasName, eni)))
		l.fault(&statev1.DnsFault{Kind: propagation.FaultServfail, Name: aliasName})
		l.expect(internet, aliasName, "SERVFAIL")
		time.Sleep(time.Second)
		l.expect(internet, aliasName, "SERVFAIL") // asked again, for two seconds
		l.clear()
		time.Sleep(2*time.Second - 1)
		l.expect(internet, aliasName, "SERVFAIL")
		time.Sleep(time.Nanosecond)
		l.expect(internet, aliasName, eni+" 60")
	})
}

// RFC 8767: what has expired stands in while every authority fails, for 30
// seconds at a time and no longer than its bound.
func TestResolverServesStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLabWith(t, "fast", resolver.Options{ServeStale: 5 * time.Minute})
		l.until(insync(t, l.set(aliasName, eni)))
		l.expect(internet, aliasName, eni+" 60")
		down := &statev1.DnsFault{Kind: propagation.FaultDown}
		l.fault(down)
		time.Sleep(time.Minute)
		l.expect(internet, aliasName, eni+" 30")
		l.clear()
		l.until(insync(t, l.set(aliasName, "10.7.1.99")))
		l.expect(internet, aliasName, eni+" 30") // not asked again before 30 s
		if _, version := l.versions(); version >= l.index {
			t.Errorf("version %d while version %d is hidden by a stale answer", version, l.index)
		}
		time.Sleep(30 * time.Second)
		l.expect(internet, aliasName, "10.7.1.99 60")
		time.Sleep(30 * time.Second) // the tracker looks again
		if _, version := l.versions(); version < l.index {
			t.Errorf("version %d, want %d: the stale answer is gone", version, l.index)
		}
		l.fault(down)
		time.Sleep(6*time.Minute + 1)
		l.expect(internet, aliasName, "SERVFAIL") // past the bound
	})
}

func TestResolverPrefetches(t *testing.T) {
	for _, prefetch := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := newLabWith(t, "fast", resolver.Options{Prefetch: prefetch})
			l.until(insync(t, l.set(aliasName, eni)))
			l.expect(internet, aliasName, eni+" 60")
			time.Sleep(50 * time.Second)
			l.expect(internet, aliasName, eni+" 10") // too early to ask again
			l.expect(internet, aliasName, eni+" 10")
			time.Sleep(5 * time.Second)
			l.expect(internet, aliasName, eni+" 5") // who makes it ask has the old answer
			next := eni + " 5"
			if prefetch {
				next = eni + " 60"
			}
			l.expect(internet, aliasName, next)
		})
	}
}

func TestResolverBoundsTTLs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLabWith(t, "aws", resolver.Options{
			TTL:         resolver.Bounds{Min: 5 * time.Minute},
			NegativeTTL: resolver.Bounds{Max: 10 * time.Second},
		})
		c := l.set(aliasName, eni)
		l.expect(internet, aliasName, "NXDOMAIN 10")
		l.until(insync(t, c))
		l.expect(internet, aliasName, eni+" 300")
		l.expect(ns(1), aliasName, eni+" 60")
		l.until(insync(t, l.set(aliasName)))
		l.expect(ns(1), aliasName, "NXDOMAIN 900")
	})
}

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
