package zone

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/posternhq/postern/dnsprop/propagation"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Set is the zones at one version, with the settings by which they are read. The zero Set has no zones.
type Set struct {
	Clock propagation.Clock
	// PositiveTTL caps the TTL of Postern's own records, so that a switch to a profile
	// without caches ends caching; NegativeTTL is that of "there is no such name".
	PositiveTTL, NegativeTTL time.Duration
	// Faults are those in force, of which the Set goes by those of how authorities
	// answer; the others are in the changes. Nobody may modify them.
	Faults []*statev1.DnsFault

	zones map[string]*Zone
	// Users' zones: public ones by apex, private ones by id.
	public, private map[string]*Zone
}

// At is the instant of the DNS clock at a wall time.
func (s *Set) At(wall time.Time) int64 { return s.Clock.Now(wall).UnixNano() }

// Find returns the zone of Postern's own that a canonical name is in, nil if
// none is.
func (s *Set) Find(name string) *Zone { return enclosing(s.zones, name) }

// Serving returns the public zone, Postern's or a user's, that an authority
// answers from for a canonical name; nil if it has none. Own names come first:
// no user's zone can be at or above them.
func (s *Set) Serving(name string, authority int, at int64) *Zone {
	if z := s.Find(name); z != nil || len(s.public) == 0 {
		return z
	}
	for up, ok := name, true; ok; up, ok = Parent(up) {
		if z := s.public[up]; z != nil && z.Present(authority, at) {
			return z
		}
	}
	return nil
}

// Served reports whether some authority has a zone for a canonical name.
func (s *Set) Served(name string, at int64) bool {
	for authority := range propagation.Authorities {
		if s.Serving(name, authority, at) != nil {
			return true
		}
	}
	return false
}

// TTL is how long a set of a zone may be kept. A user's own stands, but under a
// profile without caches.
func (s *Set) TTL(z *Zone, r RRset) time.Duration {
	if z.Hosted() && s.PositiveTTL > 0 {
		return r.TTL
	}
	return min(r.TTL, s.PositiveTTL)
}

// Private returns a user's private zone, nil if no change of it is known.
func (s *Set) Private(id string) *Zone { return s.private[id] }

// Condition is what an authority does with a query while a fault is in force.
type Condition int

// The conditions of an authority, from well to worst.
const (
	Answering Condition = iota
	Failing             // it answers SERVFAIL
	Down                // it does not answer
)

// Condition is that of an authority for a canonical name at an instant. It
// allocates nothing.
func (s *Set) Condition(name string, authority int, at int64) Condition {
	worst := Answering
	for _, f := range s.Faults {
		c := Answering
		switch f.GetKind() {
		case propagation.FaultDown:
			c = Down
		case propagation.FaultServfail:
			c = Failing
		}
		if c > worst && propagation.InForce(f, at) && propagation.At(f, authority) && propagation.Befalls(f, name) {
			worst = c
		}
	}
	return worst
}

// LookupOwn is Find and Lookup in one, for a canonical name without escapes; a
// nil Zone for one that is in none of Postern's own. It allocates nothing.
func (s *Set) LookupOwn(name []byte, authority int, at int64) (*Zone, Answer) {
	var key [256]byte
	for i := 0; i < len(name); {
		if z := s.zones[string(name[i:])]; z != nil {
			below := key[:0]
			if i > 0 {
				below = appendKey(below, name[:i-1])
			}
			return z, z.lookupOwn(below, authority, at)
		}
		dot := bytes.IndexByte(name[i:], '.')
		if dot < 0 {
			break
		}
		i += dot + 1
	}
	return nil, Answer{}
}

// Zones is how many zones of Postern's own there are.
func (s *Set) Zones() int { return len(s.zones) }

// Apexes names the zones of Postern's own, sorted.
func (s *Set) Apexes() []string { return slices.Sorted(maps.Keys(s.zones)) }

// enclosing returns the value of the longest name that is name or a parent of it.
func enclosing[T any](zones map[string]*T, name string) *T {
	if len(zones) == 0 {
		return nil
	}
	for {
		if z := zones[name]; z != nil {
			return z
		}
		var ok bool
		if name, ok = Parent(name); !ok {
			return nil
		}
	}
}

// Parent cuts the first label off a canonical name; false at the root. A dot
// that belongs to a label is escaped in presentation form and does not cut.
func Parent[T string | []byte](name T) (parent T, ok bool) {
	for i := 0; i < len(name)-1; i++ {
		switch name[i] {
		case '\\':
			i++ // of \DDD the digits cannot be dots, so one is enough
		case '.':
			return name[i+1:], true
		}
	}
	return parent, false
}

// apexes names the zones of a region: API and alias names are in the first,
// the names of endpoints in the second.
func apexes(region string) [2]string {
	return [2]string{
		"execute-api." + region + ".amazonaws.com.",
		"execute-api." + region + ".vpce.amazonaws.com.",
	}
}
