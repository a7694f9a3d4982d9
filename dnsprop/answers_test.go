package dnsprop

import (
	"testing"
	"testing/synctest"

	"github.com/miekg/dns"

	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
)

// The rows of deployments-and-dns.md, 4.5.
func TestAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "instant")
		l.profile = "aws" // caches as on AWS, while the changes below show at once
		l.settings()
		regional := vpce + "-abcdefgh." + vpceZone
		zonal := vpce + "-abcdefgh-us-west-2a." + vpceZone
		for name, addresses := range map[string][]string{
			apiName:   {"127.0.0.1"},
			aliasName: {"10.7.1.10", "10.7.2.10"},
			regional:  {"10.7.1.10", "10.7.2.10"},
			zonal:     {"10.7.1.10"},
		} {
			c := l.change(name, addresses...)
			c.Change.Profile = "instant"
			l.put(c)
		}
		l.vpc(7, privateDNS("10.7.1.10", "10.7.2.10"))
		l.vpc(8, nil)

		var (
			public  = "127.0.0.1 60"
			enis    = "10.7.1.10,10.7.2.10 60"
			absent  = "NXDOMAIN 900"
			nodata  = "NODATA 900"
			with    = inVPC(7, 1)
			without = inVPC(8, 1)
		)
		for _, row := range []struct {
			name  string
			at    vantage
			qname string
			qtype uint16
			want  string
		}{
			{"public api from the internet", internet, apiName, dns.TypeA, public},
			{"private api from the internet", internet, private + "." + apiZone, dns.TypeA, absent},
			{"public api from a vpc with private dns", with, apiName, dns.TypeA, enis},
			{"private api from a vpc with private dns", with, private + "." + apiZone, dns.TypeA, enis},
			{"unknown api from a vpc with private dns", with, "nobody." + apiZone, dns.TypeA, enis},
			{"many labels under the wildcard", with, "d-1.x.y." + apiZone, dns.TypeA, enis},
			{"public api from a vpc without", without, apiName, dns.TypeA, public},
			{"private api from a vpc without", without, private + "." + apiZone, dns.TypeA, absent},
			{"alias from the internet", internet, aliasName, dns.TypeA, enis},
			{"alias from a vpc without", without, aliasName, dns.TypeA, enis},
			{"alias not associated", internet, private + "-vpce-0." + apiZone, dns.TypeA, absent},
			{"alias from a vpc with private dns", with, aliasName, dns.TypeA, enis},
			{"alias not associated from a vpc with private dns", with, private + "-vpce-0." + apiZone, dns.TypeA, enis},
			{"endpoint from the internet", internet, regional, dns.TypeA, enis},
			{"endpoint from a vpc with", with, regional, dns.TypeA, enis},
			{"endpoint from a vpc without", without, regional, dns.TypeA, enis},
			{"zonal from the internet", internet, zonal, dns.TypeA, "10.7.1.10 60"},
			{"zonal from a vpc with", with, zonal, dns.TypeA, "10.7.1.10 60"},
			{"apex from a vpc with private dns", with, apiZone, dns.TypeA, enis},
			{"apex from a vpc without", without, apiZone, dns.TypeA, nodata},
			{"apex from the internet", internet, apiZone, dns.TypeA, nodata},
			{"no AAAA from the internet", internet, aliasName, dns.TypeAAAA, nodata},
			{"no AAAA from a vpc with", with, apiName, dns.TypeAAAA, nodata},
			{"no AAAA of an endpoint", without, regional, dns.TypeAAAA, nodata},
			{"other names at an authority", ns(1), "example.com.", dns.TypeA, "REFUSED"},
			{"the root at an authority", ns(2), ".", dns.TypeNS, "REFUSED"},
			{"a parent of the zone", ns(3), "us-west-2.amazonaws.com.", dns.TypeA, "REFUSED"},
			{"another region", ns(4), api + ".execute-api.eu-west-1.amazonaws.com.", dns.TypeA, "REFUSED"},
			{"other names at the public resolver", internet, "example.com.", dns.TypeA, "REFUSED"},
			{"other names in a vpc", with, "example.com.", dns.TypeA, "REFUSED"},
			{"a dot inside a label is no boundary", ns(1), `a\.` + apiZone, dns.TypeA, "REFUSED"},
			{"authority on an alias", ns(1), aliasName, dns.TypeA, enis},
			{"authority on nothing", ns(4), "nobody." + apiZone, dns.TypeA, absent},
			{"soa", ns(1), apiZone, dns.TypeSOA, "SOA"},
			{"ns", ns(1), apiZone, dns.TypeNS, "NS"},
			{"soa by the resolver", internet, vpceZone, dns.TypeSOA, "SOA"},
			{"any", ns(1), apiName, dns.TypeANY, "HINFO"},
			{"any of nothing", ns(1), "nobody." + apiZone, dns.TypeANY, absent},
			{"any by the resolver", internet, apiName, dns.TypeANY, "HINFO"},
			{"no zone transfer", ns(1), apiZone, dns.TypeAXFR, "REFUSED"},
		} {
			if got := say(l.ask(row.at, row.qname, row.qtype)); got != row.want {
				t.Errorf("%s: %s %s: %q, want %q", row.name, row.qname, dns.TypeToString[row.qtype], got, row.want)
			}
		}

		// Upper case is found and repeated.
		{
			m := l.ask(internet, "P1P2p3p4p5-VPCE-0123456789abcdef0.Execute-API.us-west-2.amazonaws.com.", dns.TypeA)
			if got := say(m); got != enis {
				t.Errorf("%q", got)
			}
			if got := m.Answer[0].Header().Name; got != m.Question[0].Name {
				t.Errorf("owner %q does not repeat the question", got)
			}
		}
		// Who says what about itself.
		{
			for _, c := range []struct {
				at     vantage
				aa, ra bool
			}{{ns(1), true, false}, {internet, false, true}, {with, false, true}} {
				if m := l.ask(c.at, aliasName, dns.TypeA); m.Authoritative != c.aa || m.RecursionAvailable != c.ra {
					t.Errorf("%s: aa %v ra %v", c.at.server, m.Authoritative, m.RecursionAvailable)
				}
			}
		}
		// Attributes of the vpc.
		{
			l.vpc(7, func(v *dnsv1.Vpc) {
				privateDNS("10.7.1.10")(v)
				v.EnableDnsHostnames = false
			})
			l.expect(with, apiName, "127.0.0.1 60")
			l.vpc(7, func(v *dnsv1.Vpc) {
				privateDNS("10.7.1.10")(v)
				v.EnableDnsSupport = false
			})
			l.expect(with, apiName, "REFUSED")
			l.expect(with, regional, "REFUSED")
		}
		// A private zone begins at its instant.
		{
			l.vpc(9, func(v *dnsv1.Vpc) {
				privateDNS("10.9.1.10")(v)
				v.PrivateZones[0].AvailableAt = l.now().Add(60e9).UnixNano()
			})
			l.expect(inVPC(9, 1), apiName, "127.0.0.1 60")
			l.until(l.now().Add(60e9))
			l.expect(inVPC(9, 1), apiName, "10.9.1.10 60")
		}
		// A vpc that is gone does not answer.
		{
			l.remove("vpc/vpc-8")
			if _, ok := l.srv.VPCResolver("vpc-8"); ok {
				t.Error("still there")
			}
			if l.net.packets[without.server] != nil || l.net.streams[without.server] != nil {
				t.Error("its address is still bound")
			}
		}
	})
}
