package zone

import (
	"iter"
	"slices"
)

// View is a zone as an authority shows it at an instant. Like the Zone it does
// not change: a later look gives the same.
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
			answer := value.(history).at(v.authority, v.at)
			return answer.Exists && !yield(value.(history)[0].record().Name, answer.RRset)
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
			h := value.(history)
			before, after := v.rrset(key), h.at(w.authority, w.at).RRset
			if !before.equal(after) {
				goOn = yield(h[0].record().Name, [2]RRset{before, after})
			}
			return !goOn
		})
		if !goOn {
			return
		}
		// A change can have been taken back whole.
		v.zone.names.Root().Walk(func(key []byte, value any) bool {
			h := value.(history)
			if _, there := w.zone.names.Get(key); there {
				return false
			}
			before := h.at(v.authority, v.at).RRset
			return len(before.Addresses) > 0 && !yield(h[0].record().Name, [2]RRset{before, {}})
		})
	}
}

func (v View) rrset(key []byte) RRset {
	if h, found := v.zone.names.Get(key); found {
		return h.(history).at(v.authority, v.at).RRset
	}
	return RRset{}
}

// equal compares sets; of no addresses the TTL says nothing.
func (s RRset) equal(t RRset) bool {
	return len(s.Addresses) == 0 && len(t.Addresses) == 0 || s.TTL == t.TTL && slices.Equal(s.Addresses, t.Addresses)
}
