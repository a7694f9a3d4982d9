package dnsprop

import (
	"fmt"
	"math/rand/v2"
	"slices"
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

const soaValue = "ns1.dns.postern.internal. hostmaster.dns.postern.internal. 1 7200 900 1209600 86400"

var (
	public1  = &statev1.ZoneRef{Id: "ZPUBLIC", Name: "example.com."}
	private1 = &statev1.ZoneRef{Id: "ZPRIVATE", Name: "example.com.", Private: true}
	private2 = &statev1.ZoneRef{Id: "ZINNER", Name: "corp.example.com.", Private: true}
)

// rr is a set of a hosted zone in one line: "www 300 A 10.0.0.1,10.0.0.2",
// "www ALIAS A target.", "www - A" for none. Names are relative to the zone, @ is its apex.
func rr(zone *statev1.ZoneRef, line string) *statev1.RecordChange {
	words := strings.SplitN(line, " ", 4)
	name := zone.GetName()
	if words[0] != "@" {
		name = words[0] + "." + name
	}
	c := &statev1.RecordChange{Name: name, Type: words[2]}
	switch words[1] {
	case "-":
	case "ALIAS":
		c.After = &statev1.RRset{Alias: words[3]}
	default:
		var ttl uint32
		if _, err := fmt.Sscan(words[1], &ttl); err != nil {
			panic(err)
		}
		c.After = &statev1.RRset{Ttl: ttl}
		if values := strings.Split(words[3], ","); words[2] == "A" {
			c.After.Addresses = values
		} else {
			c.After.Values = values
		}
	}
	return c
}

// hosted commits a change of a user's zone, by a profile.
func (l *lab) hosted(profile string, zone *statev1.ZoneRef, lines ...string) *dnsv1.Change {
	l.t.Helper()
	c := l.change("unused.")
	c.Change.Profile, c.Change.Zone, c.Change.Records = profile, zone, hostedRecords(zone, lines...)
	c.Change.LostAt, c.Change.ReorderedAt, c.Change.Lag = 0, 0, nil // what befell the unused name
	propagation.Befall(c.GetChange(), l.faults)
	l.put(c)
	return c
}

func hostedRecords(zone *statev1.ZoneRef, lines ...string) (records []*statev1.RecordChange) {
	for _, line := range lines {
		records = append(records, rr(zone, line))
	}
	return records
}

// opening are the sets that a zone begins with.
func opening(lines ...string) []string {
	return append([]string{"@ 900 SOA " + soaValue, "@ 172800 NS ns1.dns.postern.internal.,ns2.dns.postern.internal."}, lines...)
}

func associated(zones ...*statev1.ZoneRef) func(*dnsv1.Vpc) {
	return func(v *dnsv1.Vpc) {
		for _, z := range zones {
			v.HostedZones = append(v.HostedZones, &dnsv1.HostedZone{Id: z.GetId(), Name: z.GetName()})
		}
	}
}

// tell is an answer record by record, with the rcode if it is not NOERROR.
func tell(m *dns.Msg) string {
	if m == nil || len(m.Answer) == 0 {
		return say(m)
	}
	var out []string
	if m.Rcode != dns.RcodeSuccess {
		out = append(out, dns.RcodeToString[m.Rcode])
	}
	for _, rr := range m.Answer {
		h := rr.Header()
		out = append(out, fmt.Sprintf("%s %d %s", dns.TypeToString[h.Rrtype], h.Ttl, strings.TrimSpace(strings.TrimPrefix(rr.String(), h.String()))))
	}
	if m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError {
		slices.Sort(out)
	}
	return strings.Join(out, " | ")
}

func TestHostedZoneAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "instant")
		l.profile = "aws"
		l.settings()
		regional := vpce + "-abcdefgh." + vpceZone
		for name, address := range map[string]string{apiName: "127.0.0.1", regional: "10.7.1.10"} {
			c := l.change(name, address)
			c.Change.Profile = "instant"
			l.put(c)
		}
		l.vpc(8, nil)
		l.expect(internet, "www.example.com.", "REFUSED")
		l.hosted("instant", public1, opening(
			"@ 300 A 192.0.2.1", "www 300 CNAME web.example.com.", "web 60 A 192.0.2.2,192.0.2.3", "web 60 AAAA 2001:db8::2",
			`txt 120 TXT "hello" "a b","two \134"`, "@ 3600 MX 10 mail.example.com.", "*.wild 30 A 192.0.2.9", "here.wild 30 TXT \"x\"", "*.wild 30 MX 5 mail.example.com.",
			"deep.below.wild 30 A 192.0.2.8",
			"api 60 CNAME "+apiName, "priv ALIAS A "+regional, "priv ALIAS AAAA "+regional, "same ALIAS A web.example.com.", "same ALIAS AAAA web.example.com.",
			"twice ALIAS A same.example.com.", "dangling ALIAS A nothing.example.com.", "self ALIAS A self.example.com.",
			"sub 300 NS ns.elsewhere.test.", "glue.sub 300 A 192.0.2.7",
			"loop1 60 CNAME loop2.example.com.", "loop2 60 CNAME loop1.example.com.", "out 60 CNAME www.elsewhere.test.", "lost 60 CNAME nothing.example.com.",
			"low.neg 10 A 192.0.2.4",
		)...)
		l.hosted("instant", &statev1.ZoneRef{Id: "ZNESTED", Name: "dev.example.com."}, opening("www 60 A 192.0.2.77")...)
		const web = "A 60 192.0.2.2 | A 60 192.0.2.3"
		for _, row := range []struct {
			name         string
			qname        string
			qtype        uint16
			want, resolv string // at an authority; at resolvers, if it is another
		}{
			{"the apex", "", dns.TypeA, "A 300 192.0.2.1", ""},
			{"a name in capitals", "WEB.", dns.TypeA, web, ""},
			{"IPv6", "web.", dns.TypeAAAA, "AAAA 60 2001:db8::2", ""},
			{"a CNAME", "www.", dns.TypeA, web + " | CNAME 300 web.example.com.", ""},
			{"a CNAME by its type", "www.", dns.TypeCNAME, "CNAME 300 web.example.com.", ""},
			{"a CNAME of a type that is not there", "www.", dns.TypeTXT, "CNAME 300 web.example.com.", ""},
			{"texts", "txt.", dns.TypeTXT, `TXT 120 "hello" "a b" | TXT 120 "two \\"`, ""},
			{"no such type", "txt.", dns.TypeA, "NODATA 900", ""},
			{"mail", "", dns.TypeMX, "MX 3600 10 mail.example.com.", ""},
			{"no such name", "nothing.", dns.TypeA, "NXDOMAIN 900", ""},
			{"a wildcard", "x.wild.", dns.TypeA, "A 30 192.0.2.9", ""},
			{"many labels under it", "x.y.wild.", dns.TypeMX, "MX 30 5 mail.example.com.", ""},
			{"a type that it lacks", "x.wild.", dns.TypeTXT, "NODATA 900", ""},
			{"a name that it does not cover", "here.wild.", dns.TypeA, "NODATA 900", ""},
			{"nor what is below that", "x.here.wild.", dns.TypeA, "NXDOMAIN 900", ""},
			{"an empty non-terminal", "below.wild.", dns.TypeA, "NODATA 900", ""},
			{"a sibling of what is below it", "x.below.wild.", dns.TypeA, "NXDOMAIN 900", ""},
			{"the wildcard's parent", "wild.", dns.TypeA, "NODATA 900", ""},
			{"the wildcard itself", "*.wild.", dns.TypeA, "A 30 192.0.2.9", ""},
			{"a CNAME to an API", "api.", dns.TypeA, "CNAME 60 " + apiName, "A 60 127.0.0.1 | CNAME 60 " + apiName},
			{"an alias to an endpoint", "priv.", dns.TypeA, "A 60 10.7.1.10", ""},
			{"which has no IPv6", "priv.", dns.TypeAAAA, "NODATA 900", ""},
			{"an alias in the zone", "same.", dns.TypeA, web, ""},
			{"of IPv6", "same.", dns.TypeAAAA, "AAAA 60 2001:db8::2", ""},
			{"an alias to an alias", "twice.", dns.TypeA, web, ""},
			{"an alias to nothing", "dangling.", dns.TypeA, "NODATA 900", ""},
			{"an alias to itself", "self.", dns.TypeA, "NODATA 900", ""},
			{"a CNAME to nothing", "lost.", dns.TypeA, "NXDOMAIN | CNAME 60 nothing.example.com.", ""},
			{"a CNAME out of here", "out.", dns.TypeA, "CNAME 60 www.elsewhere.test.", "REFUSED | CNAME 60 www.elsewhere.test."},
			{"any", "web.", dns.TypeANY, "HINFO", ""},
			{"name servers", "", dns.TypeNS, "NS 172800 ns1.dns.postern.internal. | NS 172800 ns2.dns.postern.internal.", ""},
			{"a zone within", "www.dev.", dns.TypeA, "A 60 192.0.2.77", ""},
			{"which is the whole of it", "web.dev.", dns.TypeA, "NXDOMAIN 900", ""},
		} {
			for _, at := range []vantage{ns(1), internet, inVPC(8, 1), internet} {
				want := row.want
				if row.resolv != "" && at != ns(1) {
					want = row.resolv
				}
				got := tell(l.ask(at, row.qname+"example.com.", row.qtype))
				if strings.HasPrefix(want, "NXDOMAIN | ") {
					want = strings.TrimPrefix(want, "NXDOMAIN | ")
					if m := l.ask(at, row.qname+"example.com.", row.qtype); m.Rcode != dns.RcodeNameError {
						t.Errorf("%s at %s: rcode %d", row.name, at.server, m.Rcode)
					}
					got = strings.TrimSuffix(strings.TrimPrefix(got, "NXDOMAIN | "), " | NXDOMAIN")
				}
				if row.qtype == dns.TypeANY {
					got, _, _ = strings.Cut(got, " ")
				}
				if got != want {
					t.Errorf("%s at %s: %q, want %q", row.name, at.server, got, want)
				}
			}
		}
		// The SOA is the user's, but for its serial.
		soa := l.ask(ns(2), "example.com.", dns.TypeSOA).Answer[0].(*dns.SOA)
		if soa.Hdr.Ttl != 900 || soa.Minttl != 86400 || soa.Mbox != "hostmaster.dns.postern.internal." || soa.Serial != 2 {
			t.Errorf("soa %v", soa)
		}
		// A delegation is a referral, also for its own name servers, and not for the resolver to follow.
		for _, q := range []string{"x.sub.example.com.", "sub.example.com.", "glue.sub.example.com."} {
			m := l.ask(ns(1), q, dns.TypeNS)
			if m.Authoritative || len(m.Answer) != 0 || len(m.Ns) != 1 || m.Ns[0].Header().Name != "sub.example.com." || m.Ns[0].(*dns.NS).Ns != "ns.elsewhere.test." {
				t.Errorf("referral for %s: %v", q, m)
			}
			l.expect(internet, q, "REFUSED")
		}
		if m := l.ask(ns(1), "web.example.com.", dns.TypeA); !m.Authoritative {
			t.Error("an answer without authority")
		}
		// Going round in circles ends.
		if got := say(l.ask(internet, "loop1.example.com.", dns.TypeA)); got != "SERVFAIL" {
			t.Errorf("a circle: %s", got)
		}
		if m := l.ask(ns(1), "loop1.example.com.", dns.TypeA); m.Rcode != dns.RcodeSuccess || len(m.Answer) == 0 {
			t.Errorf("a circle at an authority: %v", m)
		}
		// Route 53 gives its zones to nobody.
		if m := l.ask(ns(1), "example.com.", dns.TypeAXFR); m.Rcode != dns.RcodeRefused {
			t.Errorf("transfer: %v", m)
		}
		// A user's SOA record shortens negative answers.
		l.hosted("instant", public1, "@ 60 SOA ns. host. 5 1 1 1 30")
		if got := say(l.ask(ns(1), "nothing2.example.com.", dns.TypeA)); got != "NXDOMAIN 30" {
			t.Errorf("after another SOA: %s", got)
		}
		// The end of the zone; what is inside goes with it.
		l.hosted("instant", public1, "@ - SOA", "@ - NS")
		l.expect(ns(1), "web.example.com.", "REFUSED")
		l.expect(internet, "web.example.com.", "192.0.2.2,192.0.2.3 60") // cached
		time.Sleep(time.Hour)
		l.expect(internet, "web.example.com.", "REFUSED")
		l.expect(internet, "www.dev.example.com.", "192.0.2.77 60")
	})
}

// Vpc-endpoints.md, 2.3, for users' private zones.
func TestPrivateHostedZones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "instant")
		l.profile = "aws"
		l.settings()
		l.hosted("instant", public1, opening("www 60 A 192.0.2.1", "only 60 A 192.0.2.2", "www.corp 60 A 192.0.2.3")...)
		l.hosted("instant", private1, opening("www 60 A 10.0.0.1", "away 60 CNAME only.example.net.", "up 60 CNAME www.corp.example.com.", "a ALIAS A www.example.com.")...)
		l.hosted("instant", private2, opening("www 60 A 10.0.0.2")...)
		l.hosted("instant", &statev1.ZoneRef{Id: "ZNET", Name: "example.net."}, opening("only 60 A 192.0.2.4")...)
		l.vpc(7, associated(private1, private2))
		l.vpc(8, associated(private1))
		l.vpc(9, nil)
		both, one, none := inVPC(7, 1), inVPC(8, 1), inVPC(9, 1)
		for range 2 { // from the authority, then from the cache
			for _, row := range []struct {
				at         vantage
				name, want string
			}{
				{both, "www.example.com.", "10.0.0.1 60"},
				{one, "www.example.com.", "10.0.0.1 60"},
				{none, "www.example.com.", "192.0.2.1 60"},
				{internet, "www.example.com.", "192.0.2.1 60"},
				{ns(1), "www.example.com.", "192.0.2.1 60"},
				{one, "a.example.com.", "10.0.0.1 60"},
				// No way back to public names.
				{one, "only.example.com.", "NXDOMAIN 900"},
				{none, "only.example.com.", "192.0.2.2 60"},
				// The most specific zone, where it is associated.
				{both, "www.corp.example.com.", "10.0.0.2 60"},
				{one, "www.corp.example.com.", "NXDOMAIN 900"},
				{none, "www.corp.example.com.", "192.0.2.3 60"},
				{internet, "corp.example.com.", "NODATA 900"},
				{both, "corp.example.com.", "NODATA 900"},
			} {
				l.expect(row.at, row.name, row.want)
			}
			// Each link of a chain by the VPC's own eyes.
			for _, c := range []struct {
				at         vantage
				name, want string
			}{
				{both, "up", "A 60 10.0.0.2 | CNAME 60 www.corp.example.com."},
				{one, "away", "A 60 192.0.2.4 | CNAME 60 only.example.net."},
			} {
				if got := tell(l.ask(c.at, c.name+".example.com.", dns.TypeA)); got != c.want {
					t.Errorf("%s: %q", c.name, got)
				}
			}
		}
		// Both attributes are needed.
		l.vpc(8, func(v *dnsv1.Vpc) { associated(private1)(v); v.EnableDnsHostnames = false })
		l.expect(one, "www.example.com.", "192.0.2.1 60")
		l.vpc(8, func(v *dnsv1.Vpc) { associated(private1)(v); v.EnableDnsSupport = false })
		l.expect(one, "www.example.com.", "REFUSED")
		// An association begins at its instant, and ends at once.
		l.vpc(9, func(v *dnsv1.Vpc) {
			associated(private1)(v)
			v.HostedZones[0].From = l.now().Add(time.Minute).UnixNano()
		})
		l.expect(none, "www.example.com.", "192.0.2.1 60")
		l.until(l.now().Add(time.Minute))
		l.expect(none, "www.example.com.", "10.0.0.1 60")
		l.vpc(9, nil)
		l.expect(none, "www.example.com.", "192.0.2.1 60")
		// A private zone that is gone does not hide what is public.
		l.hosted("instant", private1, "@ - SOA", "@ - NS")
		l.vpc(8, nil)
		l.expect(one, "www.example.com.", "192.0.2.1 60")
	})
}

// A new zone, and a change in it, come to each authority at an instant of its own.
func TestHostedZonePropagates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "aws")
		c := l.hosted("aws", public1, opening("www 60 A 192.0.2.1")...)
		first, last, firstAt, lastAt := 0, 0, time.Time{}, time.Time{}
		for a := range propagation.Authorities {
			at, _ := propagation.Instant(c.GetChange(), a)
			if firstAt.IsZero() || at.Before(firstAt) {
				first, firstAt = a, at
			}
			if at.After(lastAt) {
				last, lastAt = a, at
			}
		}
		l.until(firstAt)
		l.expect(ns(first+1), "www.example.com.", "192.0.2.1 60")
		l.expect(ns(last+1), "www.example.com.", "REFUSED")
		l.pick = last
		l.expect(internet, "www.example.com.", "192.0.2.1 60") // the resolver goes on to one that has it
		if _, resolver := l.versions(); resolver >= c.GetIndex() {
			t.Error("the resolver has the change before all authorities do")
		}
		l.until(lastAt)
		l.expect(ns(last+1), "www.example.com.", "192.0.2.1 60")
		<-awaitVersion(l, c.GetIndex())
		l.restart()
		l.expect(ns(last+1), "www.example.com.", "192.0.2.1 60")
		l.expect(internet, "www.example.com.", "192.0.2.1 60")
		// A reset of the laboratory.
		l.remove("change/" + c.GetChange().GetId())
		l.expect(ns(last+1), "www.example.com.", "REFUSED")
		l.expect(internet, "www.example.com.", "REFUSED")
	})
}

// When the resolver's version is the newest, every cache answers as the newest
// content says: wildcards, aliases, CNAMEs, delegations and private zones too.
func TestHostedZoneVersionsAreExact(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { liveHosted(t, seed) })
		})
	}
}

func liveHosted(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	var cache resolver.Options
	if seed%2 == 1 {
		cache = resolver.Options{ServeStale: 10 * time.Minute, Prefetch: true}
	}
	l := newLabWith(t, "aws", cache)
	l.seed = seed
	l.vpc(8, associated(private1))
	endpoint := vpce + "-x." + vpceZone
	content := map[string]map[string]string{} // of each zone: "name type" to the line that set it
	own := ""
	for _, z := range []*statev1.ZoneRef{public1, private1} {
		content[z.GetId()] = map[string]string{}
		l.hosted("instant", z, opening()...)
	}
	names := []string{"a", "b.a", "c.b.a", "*", "*.a", "d", "e"}
	var queries []string
	for _, n := range append(names, "x.a", "x.y.a", "z") {
		queries = append(queries, n+".example.com.")
	}
	zones := map[vantage]*statev1.ZoneRef{internet: public1, inVPC(8, 1): private1, inVPC(8, 2): private1}
	checked := 0
	check := func() {
		_, version := l.versions()
		for at, z := range zones {
			for _, q := range queries {
				if rng.IntN(3) > 0 {
					continue
				}
				l.pick = rng.IntN(4)
				rtype := []uint16{dns.TypeA, dns.TypeTXT}[rng.IntN(2)]
				got := oracleForm(l.ask(at, q, rtype))
				if version < l.index {
					continue
				}
				checked++
				if want := oracle(content[z.GetId()], own, strings.TrimSuffix(q, ".example.com."), dns.TypeToString[rtype], 0); got != want {
					t.Fatalf("%s at %s, all at version %d: %s %q, want %q of %v", l.now().Format(time.TimeOnly), at.server, version, dns.TypeToString[rtype], q+" "+got, want, content[z.GetId()])
				}
			}
		}
	}
	serial := 0
	for range 400 {
		switch rng.IntN(6) {
		case 0, 1:
			z := []*statev1.ZoneRef{public1, private1}[rng.IntN(2)]
			zone := content[z.GetId()]
			serial++
			name := names[rng.IntN(len(names))]
			line := ""
			switch rng.IntN(6) {
			case 0:
				line = fmt.Sprintf("%s 60 A 10.1.%d.%d", name, serial/250, 1+serial%250)
			case 1:
				line = fmt.Sprintf("%s 60 TXT \"%d\"", name, serial)
			case 2:
				line = name + " 60 CNAME " + strings.ReplaceAll(queries[rng.IntN(len(queries))], "*", "w")
			case 3:
				line = name + " ALIAS A " + append([]string{endpoint}, queries...)[rng.IntN(1+len(queries))]
			default:
				if len(zone) == 0 {
					continue
				}
				keys := make([]string, 0, len(zone))
				for k := range zone {
					keys = append(keys, k)
				}
				slices.Sort(keys)
				n, rtype, _ := strings.Cut(keys[rng.IntN(len(keys))], " ")
				line = n + " - " + rtype
			}
			words := strings.Fields(line)
			_, cname := zone[words[0]+" CNAME"]
			_, a := zone[words[0]+" A"]
			_, txt := zone[words[0]+" TXT"]
			if words[1] != "-" && (words[2] == "CNAME") != cname && (cname || a || txt) {
				continue // a CNAME stands alone
			}
			if key := words[0] + " " + words[2]; words[1] == "-" {
				delete(zone, key)
			} else {
				zone[key] = line
			}
			l.hosted("aws", z, line)
		case 2:
			serial++
			own = fmt.Sprintf("10.7.%d.%d", serial/250, 1+serial%250)
			if rng.IntN(4) == 0 {
				own = ""
				l.set(endpoint)
			} else {
				l.set(endpoint, own)
			}
		case 3:
			time.Sleep(time.Duration(rng.IntN(400)) * time.Second)
		default:
			time.Sleep(time.Duration(rng.IntN(30)) * time.Second)
		}
		check()
		if rng.IntN(12) == 0 {
			// To the very moment at which it is said that all have it.
			if _, version := l.versions(); version < l.index {
				<-awaitVersion(l, l.index)
			}
			check()
		}
	}
	if checked < 100 {
		t.Errorf("only %d answers were checked", checked)
	}
}

// oracle answers from a content by the rules read slowly; aliases and CNAMEs
// one after the other.
func oracle(zone map[string]string, own, name, rtype string, links int) string {
	if links > 8 {
		return "circle"
	}
	exists := func(n string) bool {
		for k := range zone {
			owner, _, _ := strings.Cut(k, " ")
			if owner == n || strings.HasSuffix(owner, "."+n) {
				return true
			}
		}
		return false
	}
	owner := name
	if !exists(name) {
		up := name
		for up != "" && !exists(up) {
			_, up, _ = strings.Cut(up, ".")
		}
		owner = strings.TrimSuffix("*."+up, ".")
		if !exists(owner) {
			return "nothing"
		}
	}
	line, ok := zone[owner+" "+rtype]
	if !ok {
		if line, ok = zone[owner+" CNAME"]; !ok {
			return "nothing"
		}
		target := strings.Fields(line)[3]
		return oracle(zone, own, strings.TrimSuffix(target, ".example.com."), rtype, links+1)
	}
	words := strings.Fields(line)
	if words[1] != "ALIAS" {
		return words[3]
	}
	if !strings.HasSuffix(words[3], ".example.com.") {
		if own == "" {
			return "nothing"
		}
		return own
	}
	// An alias leads to a set, not along a CNAME.
	target := strings.TrimSuffix(words[3], ".example.com.")
	bare := map[string]string{}
	for k, v := range zone {
		if strings.HasSuffix(k, " CNAME") {
			v, k = "x 60 TXT \"\"", strings.TrimSuffix(k, "CNAME")+"TXT"
		}
		bare[k] = v
	}
	found := oracle(bare, own, target, rtype, links+1)
	if found == "circle" {
		return "nothing"
	}
	return found
}

// oracleForm reduces an answer to what the oracle tells.
func oracleForm(m *dns.Msg) string {
	switch {
	case m == nil:
		return "silence"
	case m.Rcode == dns.RcodeServerFailure:
		return "circle"
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return dns.RcodeToString[m.Rcode]
	}
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			return rr.A.String()
		case *dns.TXT:
			return `"` + rr.Txt[0] + `"`
		}
	}
	return "nothing"
}
