package zone

import (
	"fmt"
	"slices"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/rdata"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Users' zones. All that is known of one is what its changes say, its beginning
// and its end too: it is there while its apex has an SOA record.

// newRecord reads one set of a user's zone.
func (z Ref) newRecord(r *statev1.RecordChange) (Record, error) {
	rec := Record{Name: r.GetName()}
	if name, err := rdata.Owner(rec.Name); err != nil || name != rec.Name {
		return rec, fmt.Errorf("%q is not a lower-case name with a trailing dot", rec.Name)
	}
	var ok bool
	if rec.Type, ok = rdata.Type(r.GetType()); !ok {
		return rec, fmt.Errorf("%s: no zone holds record type %q", rec.Name, r.GetType())
	}
	after := r.GetAfter()
	switch {
	case after.GetAlias() != "":
		name, err := rdata.Owner(after.GetAlias())
		if err != nil || name != after.GetAlias() {
			return rec, fmt.Errorf("%s: alias target %q is not a lower-case name with a trailing dot", rec.Name, after.GetAlias())
		}
		rec.RRset.Alias = name
	case rec.Type != dns.TypeA && len(after.GetAddresses()) > 0:
		return rec, fmt.Errorf("%s: addresses in a set of type %s", rec.Name, r.GetType())
	case len(after.GetValues()) > 0:
		var err error
		if rec.RRset.Data, err = rdata.ParseSet(r.GetType(), after.GetValues()); err != nil {
			return rec, fmt.Errorf("%s: %w", rec.Name, err)
		}
	}
	err := rec.read(after)
	return rec, err
}

// Hosted reports whether the zone is a user's.
func (z *Zone) Hosted() bool { return z.user != (Ref{}) }

// Present reports whether an authority has the zone at an instant. Postern's own
// zones are always there.
func (z *Zone) Present(authority int, at int64) bool {
	return !z.Hosted() || z.set(z.apex, dns.TypeSOA).at(authority, at).Exists
}

// SOA is what the user gave for the zone's SOA record; false if there is none
// at this authority. Its serial is not that of the zone.
func (z *Zone) SOA(authority int, at int64) (RRset, bool) {
	a := z.set(z.apex, dns.TypeSOA).at(authority, at)
	return a.RRset, a.Exists
}

// lookup is Lookup in a user's zone: RFC 1034, 4.3.2, with the wildcards of RFC
// 4592, but for aliases, whose targets may be elsewhere.
func (z *Zone) lookup(key []byte, rtype uint16, authority int, at int64) Answer {
	// From the apex down: a delegation covers what is below it.
	covered := 0 // how much of key exists
	for end := range key {
		if key[end] != 0 {
			continue
		}
		part := key[:end+1]
		s, here := z.sets(part)
		if here && !(rtype == dns.TypeDS && end+1 == len(key)) {
			if ns := s.of(dns.TypeNS).at(authority, at); ns.Exists {
				return Answer{Exists: true, RRset: ns.RRset, Version: ns.Version, Cut: s.name(), Inferred: true}
			}
		}
		if (!here || !s.exist(authority, at)) && !z.existsBelow(part, authority, at) {
			break // nor does anything further down
		}
		covered = end + 1
	}
	if covered == len(key) {
		s, _ := z.sets(key)
		answer := s.answer(rtype, authority, at)
		answer.Exists = true
		return answer
	}
	// The name does not exist: the wildcard below its closest encloser answers.
	wild := append(append(make([]byte, 0, covered+2), key[:covered]...), '*', 0)
	var own Version
	if s, here := z.sets(key); here {
		own = s.of(rtype).at(authority, at).Version
	}
	s, here := z.sets(wild)
	if !here || !s.exist(authority, at) {
		return Answer{Version: own, Inferred: true, Shadowed: z.shadowed(key[:covered])}
	}
	answer := s.answer(rtype, authority, at)
	answer.Exists, answer.Wildcard, answer.Version, answer.Inferred = true, s.name(), own, true
	return answer
}

// shadowed reports whether there is a wildcard, now or at another time, at a name
// that a closest encloser is below.
func (z *Zone) shadowed(encloser []byte) bool {
	for end := range encloser {
		if end == 0 || encloser[end-1] == 0 {
			if _, here := z.sets(append(slices.Clone(encloser[:end]), '*', 0)); here {
				return true
			}
		}
	}
	return false
}

func (z *Zone) sets(key []byte) (sets, bool) {
	s, found := z.names.Get(key)
	if !found {
		return nil, false
	}
	return s.(sets), true
}

// answer is what a name has of a type, or its CNAME.
func (s sets) answer(rtype uint16, authority int, at int64) Answer {
	answer := s.of(rtype).at(authority, at)
	answer.Others = s.exist(authority, at)
	if answer.Exists || rtype == dns.TypeCNAME {
		return answer
	}
	alias := s.of(dns.TypeCNAME).at(authority, at)
	switch {
	case !alias.Exists:
		// That there is no CNAME has decided, too.
		answer.RRset, answer.Inferred = RRset{}, true
	case rtype == dns.TypeANY:
	default:
		answer.RRset, answer.Inferred = alias.RRset, true
		if len(alias.RRset.Data) == 1 {
			answer.Follow = alias.RRset.Data[0].(*dns.CNAME).Target
		}
	}
	return answer
}

// maxLinks bounds how far aliases are followed: users can make them point in a
// circle.
const maxLinks = 8

// Lookup is the zone's, with the sets that aliases lead to, in the same zone or
// among Postern's own names, as the same authority has them.
func (s *Set) Lookup(z *Zone, name string, rtype uint16, authority int, at int64) Answer {
	answer := z.Lookup(name, rtype, authority, at)
	for answer.RRset.Alias != "" {
		target := answer.RRset.Alias
		answer.Aliases = append(answer.Aliases, target)
		answer.RRset = RRset{}
		if len(answer.Aliases) > maxLinks {
			break
		}
		if rdata.Within(target, z.apex) {
			// Not what a CNAME or a delegation would lead to.
			if found := z.Lookup(target, rtype, authority, at); found.Follow == "" && found.Cut == "" {
				answer.RRset = found.RRset
			}
		} else if own := s.Find(target); own != nil && rtype == dns.TypeA {
			answer.RRset = own.Lookup(target, rtype, authority, at).RRset
			answer.RRset.TTL = min(answer.RRset.TTL, s.PositiveTTL)
		}
	}
	return answer
}
