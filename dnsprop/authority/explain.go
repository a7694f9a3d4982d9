package authority

import (
	"cmp"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/message"
	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/zone"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
)

// Explain is what Respond says to a question at an instant of a Set, with addresses
// in the order of the set. It tells visit, which may be nil, what each name of the
// chain is answered from.
func (a *Authority) Explain(set *zone.Set, q message.Query, at int64, visit func(*dnsv1.Link)) message.Reply {
	asRecorded := func(int, func(int, int)) {}
	if visit == nil {
		return a.respond(set, q, at, asRecorded, nil)
	}
	visited := false
	reply := a.respond(set, q, at, asRecorded, func(name string, answer *Answer) {
		visited = true
		link := &dnsv1.Link{Name: name, Source: dnsv1.Source_SOURCE_AUTHORITY}
		answer.Describe(link, a.cfg.Number, q.Type, at)
		link.Waiting = a.waiting(answer.Zone, name, q.Type, at)
		visit(link)
	})
	if !visited {
		link := &dnsv1.Link{Name: q.Key, Source: dnsv1.Source_SOURCE_FOREIGN, Authority: propagation.PlaceOf(a.cfg.Number)}
		if link.Faults = set.FaultsOf(q.Key, a.cfg.Number, at); link.Faults != nil {
			link.Source = dnsv1.Source_SOURCE_NONE
		} else if z := set.Public(q.Key); z != nil {
			// There is such a zone, and it has not come here, or has gone.
			link.Zone, link.ZoneId = z.Apex(), z.ID()
			link.Waiting = a.waiting(z, z.Apex(), dns.TypeSOA, at)
		}
		visit(link)
	}
	return reply
}

// Describe says what an answer of an authority is from.
func (a *Answer) Describe(link *dnsv1.Link, number int, qtype uint16, at int64) {
	link.Authority = propagation.PlaceOf(number)
	link.Zone, link.ZoneId, link.Private = a.Zone.Apex(), a.Zone.ID(), a.Zone.Private()
	link.By = a.Wildcard
	version := a.Version
	if a.Zone.Hosted() {
		switch {
		case a.Cut != "":
			link.By = a.Cut
		case a.Follow != "":
			version = a.Zone.Decided(cmp.Or(a.Wildcard, link.Name), dns.TypeCNAME, number, at)
		case a.Wildcard != "":
			version = a.Zone.Decided(a.Wildcard, qtype, number, at)
		}
	}
	if c := version.Change; c != nil {
		link.Change, link.Index, link.ShownAt = c.ID, c.Index, c.ShownAt(number)
	}
}

// waiting are the changes of a set that do not show here, the newest first.
func (a *Authority) waiting(z *zone.Zone, name string, qtype uint16, at int64) []*dnsv1.Waiting {
	types := []uint16{qtype}
	if z.Hosted() && qtype != dns.TypeCNAME {
		types = append(types, dns.TypeCNAME)
	}
	var out []*dnsv1.Waiting
	for _, rtype := range types {
		for _, c := range z.Hidden(name, rtype, a.cfg.Number, at) {
			w := &dnsv1.Waiting{Change: c.ID, Index: c.Index, Lag: int64(c.Lag(a.cfg.Number))}
			switch shownAt := c.ShownAt(a.cfg.Number); {
			case shownAt == zone.Never:
				w.Lost = true
			case shownAt <= at:
				w.Overtaken = true
				if settled := c.SettledAt(a.cfg.Number); settled != zone.Never {
					w.ShownAt = settled
				}
			default:
				w.ShownAt = shownAt
			}
			out = append(out, w)
		}
	}
	return out
}
