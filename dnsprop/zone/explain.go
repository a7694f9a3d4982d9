package zone

import (
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/propagation"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
)

// Upcoming are the instants after one at which what an authority answers can
// change by itself, sorted: a change shows or settles, or a fault ends.
func (s *Set) Upcoming(authority int, after int64) []int64 {
	var all []int64
	for _, zones := range []map[string]*Zone{s.zones, s.public, s.private} {
		for _, z := range zones {
			instants := z.toCome[authority]
			all = append(all, instants[passedBy(instants, after):]...)
		}
	}
	for _, f := range s.Faults {
		if ends := f.GetEndsAt(); ends > after && propagation.At(f, authority) {
			all = append(all, ends)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Public is the closest public zone that a canonical name is in, whether an
// authority has it or not; nil if there is none.
func (s *Set) Public(name string) *Zone {
	if z := s.Find(name); z != nil {
		return z
	}
	return enclosing(s.public, name)
}

// FaultsOf are the faults by which an authority does not answer for a canonical
// name, or answers SERVFAIL.
func (s *Set) FaultsOf(name string, authority int, at int64) []*dnsv1.FaultInForce {
	var all []*dnsv1.FaultInForce
	for _, f := range s.Faults {
		if f.GetKind() != propagation.FaultDown && f.GetKind() != propagation.FaultServfail {
			continue
		}
		if propagation.InForce(f, at) && propagation.At(f, authority) && propagation.Befalls(f, name) {
			all = append(all, &dnsv1.FaultInForce{Id: propagation.FaultID(f), Authority: propagation.PlaceOf(authority), EndsAt: f.GetEndsAt()})
		}
	}
	return all
}

// ID is that of a user's zone; empty for one of Postern's own.
func (z *Zone) ID() string { return z.user.ID }

// Private reports whether the zone is for the resolvers of some VPCs only.
func (z *Zone) Private() bool { return z.user.Private }

// Decided is the version by which an authority shows a set; zero if none has shown.
func (z *Zone) Decided(name string, rtype uint16, authority int, at int64) Version {
	return z.set(name, rtype).at(authority, at).Version
}

// Hidden are the changes of a set that are newer than what an authority shows of
// it, the newest first. In a zone of Postern's own there is one set of a name.
func (z *Zone) Hidden(name string, rtype uint16, authority int, at int64) []*Change {
	h := z.set(name, rtype)
	if !z.Hosted() {
		h = z.set(name, dns.TypeA)
	}
	shown := h.at(authority, at).Version
	var hidden []*Change
	for _, v := range h {
		if v.Compare(shown) <= 0 {
			break
		}
		hidden = append(hidden, v.Change)
	}
	return hidden
}

// Lag is how much later than it would the change arrives at an authority.
func (c *Change) Lag(authority int) time.Duration { return c.lag[authority] }
