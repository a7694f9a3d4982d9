package resolvers

import (
	"slices"
	"strings"
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
		id: "soa-as-received", of: []string{"knot-resolver"}, passing: true,
		what:   "It keeps an absence for as long, but gives its SOA record with the TTL that it came with.",
		source: "knot-resolver 5.6, lib/cache/entry_pkt.c",
		is:     func(d *difference) bool { return d.onlySOA() },
	},
	{
		id: "shared-soa", of: []string{"unbound"},
		what:   "It keeps one SOA record for all absences of a zone, with the time of the first, until it becomes another.",
		source: "unbound 1.17, services/cache/rrset.c",
		is:     func(d *difference) bool { return d.onlySOA() },
	},
	{
		id:     "nxdomain-for-all-types",
		of:     []string{"unbound", "knot-resolver"},
		what:   "We take NXDOMAIN for an answer to all types of the name; they for one to the type that was asked for, unless DNSSEC proves it.",
		source: "RFC 2308, 5; RFC 8198",
		is:     func(d *difference) bool { return d.ours.rcode == "NXDOMAIN" && d.askedBefore(sameName) },
	},
	{
		id: "nxdomain-below", of: []string{"unbound", "knot-resolver"},
		what:   "We take NXDOMAIN of a name for what is below it, too; they do so only where DNSSEC proves it.",
		source: "RFC 8020, 2; unbound.conf(5), harden-below-nxdomain",
		is:     func(d *difference) bool { return d.ours.rcode == "NXDOMAIN" && d.askedBefore(above) },
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

func sameName(asked, before string) bool { return asked == before }
func above(asked, before string) bool    { return strings.HasSuffix(asked, "."+before) }

// askedBefore reports whether a question before was for a name that stands so to
// the last one's.
func (d *difference) askedBefore(relation func(asked, before string) bool) bool {
	return slices.ContainsFunc(d.steps[:len(d.steps)-1], func(s step) bool { return s.name != "" && relation(d.asked.name, s.name) })
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
