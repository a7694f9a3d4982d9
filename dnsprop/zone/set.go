package zone

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/posternhq/postern/dnsprop/propagation"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Set is the public zones at one version, with the settings by which they are
// read. The zero Set has no zones.
type Set struct {
	Clock propagation.Clock
	// PositiveTTL caps every record's own, so that a switch to a profile without
	// caches ends caching; NegativeTTL is that of "there is no such name".
	PositiveTTL, NegativeTTL time.Duration
	// Faults are those in force, of which the Set goes by those of how authorities
	// answer; the others are in the changes. Nobody may modify them.
	Faults []*statev1.DnsFault

	zones map[string]*Zone
}

// At is the instant of the DNS clock at a wall time.
func (s *Set) At(wall time.Time) int64 { return s.Clock.Now(wall).UnixNano() }

// Find returns the zone that a canonical name is in, nil if none is.
func (s *Set) Find(name string) *Zone { return enclosing(s.zones, name) }

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

// Addresses is Find and Lookup in one, for a canonical name without escapes that
// has addresses; false for any other. It allocates nothing.
func (s *Set) Addresses(name []byte, authority int, at int64) (RRset, bool) {
	var key [256]byte
	for i := 0; i < len(name); {
		if z := s.zones[string(name[i:])]; z != nil {
			if i == 0 {
				return RRset{}, false // the apex has none
			}
			h, found := z.names.Get(appendKey(key[:0], name[:i-1]))
			if !found {
				return RRset{}, false
			}
			answer := h.(history).at(authority, at)
			return answer.RRset, len(answer.RRset.Addresses) > 0
		}
		dot := bytes.IndexByte(name[i:], '.')
		if dot < 0 {
			break
		}
		i += dot + 1
	}
	return RRset{}, false
}

// Zones is how many zones there are.
func (s *Set) Zones() int { return len(s.zones) }

// Apexes names the zones, sorted.
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
func Parent(name string) (string, bool) {
	for i := 0; i < len(name)-1; i++ {
		switch name[i] {
		case '\\':
			i++ // of \DDD the digits cannot be dots, so one is enough
		case '.':
			return name[i+1:], true
		}
	}
	return "", false
}

// apexes names the zones of a region: API and alias names are in the first,
// the names of endpoints in the second.
func apexes(region string) [2]string {
	return [2]string{
		"execute-api." + region + ".amazonaws.com.",
		"execute-api." + region + ".vpce.amazonaws.com.",
	}
}
