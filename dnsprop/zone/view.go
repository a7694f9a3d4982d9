package zone

import (
	"iter"
	"slices"
)

// View is one of Postern's own zones as an authority shows it at an instant. Like
// the Zone it does not change: a later look gives the same.
type View struct {
	zone      *Zone
	authority int
	at        int64
}

// View is the zone at an authority and an instant, which must not be before the
// last edit's.
func (z *Zone) View(authority int, at int64) View { return View{z, authority, at} }

// Apex is the zone's name.
func (v View) Apex() string { return v.zone.apex }

// Serial is that of the zone's SOA record.
func (v View) Serial() uint32 { return v.zone.Serial(v.authority, v.at) }

// RRsets are the names that have addresses, in an order that depends on the
// names alone.
func (v View) RRsets() iter.Seq2[string, RRset] {
	return func(yield func(string, RRset) bool) {
		v.zone.names.Root().Walk(func(_ []byte, value any) bool {
			answer := value.(sets)[0].at(v.authority, v.at)
			return answer.Exists && !yield(value.(sets).name(), answer.RRset)
		})
	}
}

// Differences are the names whose addresses are not the same in v and a later
// w, each with both sets; no addresses mean no such name. It takes a look at
// each name. Zones of the same apex only.
func (v View) Differences(w View) iter.Seq2[string, [2]RRset] {
	return func(yield func(string, [2]RRset) bool) {
		goOn := true
		w.zone.names.Root().Walk(func(key []byte, value any) bool {
			s := value.(sets)
			before, after := v.rrset(key), s[0].at(w.authority, w.at).RRset
			if !before.equal(after) {
				goOn = yield(s.name(), [2]RRset{before, after})
			}
			return !goOn
		})
		if !goOn {
			return
		}
		// A change can have been taken back whole.
		v.zone.names.Root().Walk(func(key []byte, value any) bool {
			s := value.(sets)
			if _, there := w.zone.names.Get(key); there {
				return false
			}
			before := s[0].at(v.authority, v.at).RRset
			return len(before.Addresses) > 0 && !yield(s.name(), [2]RRset{before, {}})
		})
	}
}

func (v View) rrset(key []byte) RRset {
	if s, found := v.zone.names.Get(key); found {
		return s.(sets)[0].at(v.authority, v.at).RRset
	}
	return RRset{}
}

// equal compares sets; of no addresses the TTL says nothing.
func (s RRset) equal(t RRset) bool {
	return len(s.Addresses) == 0 && len(t.Addresses) == 0 || s.TTL == t.TTL && slices.Equal(s.Addresses, t.Addresses)
}
