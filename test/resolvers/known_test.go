package resolvers

import (
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// explanation is why a difference is not ours to mend.
type explanation struct {
	id     string
	of     []string // software; empty: all
	what   string
	source string
	// passing: what follows in the history is to be the same again. After any other
	// difference caches hold different things, and the history ends.
	passing bool
	is      func(*difference) bool
}

func (e explanation) by(w software) bool { return len(e.of) == 0 || slices.Contains(e.of, w.name) }

var known = []explanation{
	{
		id: "absence-asked-anew", of: []string{"knot-resolver"}, passing: true,
		what:   "Forwarding, it asks anew for what an unsigned zone did not have.",
		source: "observed with 5.6",
		is:     func(d *difference) bool { return d.onlySOA() && soaTTL(d.theirs) > soaTTL(d.ours) },
	},
	{
		id: "absence-asked-anew-and-found", of: []string{"knot-resolver"},
		what:   "So it finds sooner what is there by now, or fails.",
		source: "as above",
		is:     func(d *difference) bool { return d.absent() },
	},
	{
		id: "shared-soa", of: []string{"unbound"},
		what:   "It keeps one SOA record for all absences of a zone, with the time at which it was last another.",
		source: "unbound 1.17, services/cache/rrset.c",
		is:     func(d *difference) bool { return d.onlySOA() },
	},
	{
		id: "nxdomain-for-all-types", of: []string{"unbound"},
		what:   "We take NXDOMAIN for an answer to all types of the name; it for one to the type that was asked for, unless DNSSEC proves it.",
		source: "RFC 2308, 5; RFC 8198",
		is:     func(d *difference) bool { return d.ours.rcode == "NXDOMAIN" && d.askedBefore(sameName) },
	},
	{
		id: "nxdomain-below", of: []string{"unbound", "pdns-recursor"},
		what:   "We take NXDOMAIN of a name for what is below it, too; they do so only where DNSSEC proves it.",
		source: "RFC 8020, 2; unbound.conf(5), harden-below-nxdomain; PowerDNS Recursor settings, nothing-below-nxdomain",
		is:     func(d *difference) bool { return d.ours.rcode == "NXDOMAIN" && d.askedBefore(above) },
	},
	{
		id: "last-second", of: []string{"unbound", "knot-resolver"},
		what:   "It gives a record until its last second has passed, with a TTL of 0.",
		source: "unbound 1.17, services/cache/rrset.c",
		is: func(d *difference) bool {
			return d.theirs.rcode != "SERVFAIL" && slices.Contains(strings.Fields(d.theirs.ttls), "0") && !slices.Contains(strings.Fields(d.ours.ttls), "0")
		},
	},
	{
		id: "chain-as-received", of: []string{"pdns-recursor"},
		what:   "Of an answer that has a CNAME it takes the records of the target with it, though it had others, or none, of it.",
		source: "RFC 2181, 5.4.1, on which data is to be trusted more",
		is: func(d *difference) bool {
			return strings.HasPrefix(d.asked.name, "c.") && strings.Contains(d.ours.records, "CNAME") && strings.Contains(d.theirs.records, "CNAME")
		},
	},
	{
		id: "no-negative-ceiling", of: []string{"knot-resolver"},
		what:   "It has no ceiling of its own for the time of an absence.",
		source: "knot-resolver 5.6, cache.max_ttl",
		is: func(d *difference) bool {
			return d.mode.negativeMax > 0 && strings.Contains(d.theirs.ttls, "SOA") && !d.absent()
		},
	},
	{
		id: "stale-is-extended", of: []string{"pdns-recursor"},
		what:   "It extends what is stale by its TTL, at most 30 s, and gives it as if it were not, where we say 30 s each time.",
		source: "PowerDNS Recursor settings, serve-stale-extensions",
		is: func(d *difference) bool {
			return d.mode.stale > 0 && len(d.failed) > 0 && d.ours.rcode == d.theirs.rcode && d.ours.records == d.theirs.records
		},
	},
	{
		id: "stale-for-a-second", of: []string{"knot-resolver"}, passing: true,
		what:   "It gives stale answers with a TTL of 1 s, where RFC 8767 recommends 30.",
		source: "RFC 8767, 4; knot-resolver 5.6, modules/serve_stale",
		is: func(d *difference) bool {
			return d.mode.stale > 0 && d.ours.rcode == d.theirs.rcode && d.ours.records == d.theirs.records && strings.Contains(d.ours.ttls, "30") && strings.Contains(d.theirs.ttls, "1")
		},
	},
	{
		id:     "failure-behind-a-cname",
		what:   "Where a CNAME is there and its target fails, they may give the CNAME with SERVFAIL; we never do.",
		source: "RFC 1034, 4.3.1, leaves it open",
		is: func(d *difference) bool {
			return d.ours == said{rcode: "SERVFAIL"} && d.theirs.rcode == "SERVFAIL" && strings.Contains(d.theirs.records, "CNAME")
		},
	},
	{
		id:     "failure-remembered",
		what:   "We remember that all name servers failed for a name for 1 s, then 2, 4... up to 5 minutes; others otherwise, or not at all.",
		source: "RFC 9520, 3.2, which leaves the time from 1 s to 5 min to the resolver",
		is: func(d *difference) bool {
			return (d.ours.rcode == "SERVFAIL") != (d.theirs.rcode == "SERVFAIL") && len(d.failed) > 0
		},
	},
}

// onlySOA: all is the same but for how long the absence may be kept.
func (d *difference) onlySOA() bool {
	return d.ours.rcode == d.theirs.rcode && d.ours.records == d.theirs.records && strings.Contains(d.ours.ttls, "SOA") && strings.Contains(d.theirs.ttls, "SOA")
}

// soaTTL is the time for which an answer lets an absence be kept.
func soaTTL(s said) int {
	_, text, _ := strings.Cut(s.ttls, "SOA ")
	n, _ := strconv.Atoi(text)
	return n
}

// absent: we say that what was asked for is not there, be it behind a CNAME.
func (d *difference) absent() bool {
	return d.ours.rcode != "SERVFAIL" && !strings.Contains(d.ours.records, " "+dns.TypeToString[d.asked.qtype]+" ")
}

func sameName(asked, before string) bool { return asked == before }
func above(asked, before string) bool    { return strings.HasSuffix(asked, "."+before) }

// askedBefore reports whether a name that stands so to the last question's was
// asked for before, by itself or through a CNAME: names that begin with c have
// those, to names that begin with a or b.
func (d *difference) askedBefore(relation func(asked, before string) bool) bool {
	names := func(name string) []string {
		if rest, ok := strings.CutPrefix(name, "c."); ok {
			return []string{name, "a." + rest, "b." + rest}
		}
		return []string{name}
	}
	for _, s := range d.steps[:len(d.steps)-1] {
		if s.name == "" {
			continue
		}
		for _, before := range names(s.name) {
			for _, asked := range names(d.asked.name) {
				if relation(asked, before) {
					return true
				}
			}
		}
	}
	return false
}

// explain returns what explains a difference, nil if nothing does.
func explain(w software, d *difference) *explanation {
	for i := range known {
		if e := &known[i]; e.by(w) && e.is(d) {
			return e
		}
	}
	return nil
}
