package zone

import (
	"maps"
	"slices"

	iradix "github.com/hashicorp/go-immutable-radix"

	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/rdata"
)

// Edit collects what makes the next Set of the zones. It belongs to one goroutine.
type Edit struct {
	from *Set
	// Postern's own zones, users' public ones by apex, and private ones by id.
	zones, public, private map[string]*zoneEdit
}

type zoneEdit struct {
	from    *Zone
	names   *iradix.Txn
	add     [propagation.Authorities][]int64
	dropped [propagation.Authorities][]int64
}

// Edit begins an edit with the zones of some regions: those that the Set
// lacks begin empty, those that are no longer among them end. Users' zones
// begin and end with the changes that are in them.
func (s *Set) Edit(regions []string) *Edit {
	e := &Edit{from: s, zones: make(map[string]*zoneEdit), public: map[string]*zoneEdit{}, private: map[string]*zoneEdit{}}
	for _, region := range regions {
		for _, apex := range apexes(region) {
			z := s.zones[apex]
			if z == nil {
				z = newZone(apex, Ref{})
			}
			e.zones[apex] = &zoneEdit{from: z, names: z.names.Txn()}
		}
	}
	return e
}

// Holds returns the first name of a change that is in no zone, if there is one.
func (e *Edit) Holds(c *Change) (stray string, ok bool) {
	for _, r := range c.Records {
		if c.Zone != (Ref{}) {
			if !rdata.Within(r.Name, c.Zone.Apex) {
				return r.Name, false
			}
		} else if e.find(r.Name) == nil {
			return r.Name, false
		}
	}
	return "", true
}

// Put adds a change, all of whose names the zones hold.
func (e *Edit) Put(c *Change) {
	for z, ordinals := range e.touched(c) {
		for _, i := range ordinals {
			z.put(Version{Change: c, Ordinal: i})
		}
		for a := range z.add {
			z.add[a] = append(z.add[a], c.instants(a)...)
		}
	}
}

// Remove takes out a change that was put, in this edit or before.
func (e *Edit) Remove(c *Change) {
	for z, ordinals := range e.touched(c) {
		for _, i := range ordinals {
			z.remove(Version{Change: c, Ordinal: i})
		}
		for a := range z.dropped {
			z.dropped[a] = append(z.dropped[a], c.instants(a)...)
		}
	}
}

func (e *Edit) touched(c *Change) map[*zoneEdit][]int {
	touched := make(map[*zoneEdit][]int, 1)
	for i, r := range c.Records {
		if z := e.zoneOf(c, r.Name); z != nil {
			touched[z] = append(touched[z], i)
		}
	}
	return touched
}

func (e *Edit) zoneOf(c *Change, name string) *zoneEdit {
	if c.Zone == (Ref{}) {
		return e.find(name)
	}
	edits, zones, key := e.public, e.from.public, c.Zone.Apex
	if c.Zone.Private {
		edits, zones, key = e.private, e.from.private, c.Zone.ID
	}
	if edits[key] == nil {
		z := zones[key]
		if z == nil {
			z = newZone(c.Zone.Apex, c.Zone)
		}
		edits[key] = &zoneEdit{from: z, names: z.names.Txn()}
	}
	return edits[key]
}

func (e *Edit) find(name string) *zoneEdit { return enclosing(e.zones, name) }

func (z *zoneEdit) put(v Version) {
	r := v.record()
	key, _ := z.from.key(r.Name)
	var all sets
	if old, ok := z.names.Get(key); ok {
		all = slices.Clone(old.(sets))
	}
	i := slices.IndexFunc(all, func(t typed) bool { return t.rtype == r.Type })
	if i < 0 {
		i, all = len(all), append(all, typed{rtype: r.Type})
	}
	h := all[i].history
	at, _ := slices.BinarySearchFunc(h, v, func(a, b Version) int { return b.Compare(a) })
	all[i].history = slices.Insert(slices.Clone(h), at, v)
	z.names.Insert(key, all)
}

func (z *zoneEdit) remove(v Version) {
	r := v.record()
	key, _ := z.from.key(r.Name)
	old, ok := z.names.Get(key)
	if !ok {
		return
	}
	all := slices.Clone(old.(sets))
	for i := range all {
		if all[i].rtype == r.Type {
			all[i].history = slices.DeleteFunc(slices.Clone(all[i].history), func(w Version) bool { return v.Compare(w) == 0 })
		}
	}
	all = slices.DeleteFunc(all, func(t typed) bool { return len(t.history) == 0 })
	if len(all) == 0 {
		z.names.Delete(key)
		return
	}
	z.names.Insert(key, all)
}

// Set ends the edit at an instant of the DNS clock. It keeps the settings of
// the Set that was edited.
func (e *Edit) Set(at int64) *Set {
	s := &Set{
		Clock:       e.from.Clock,
		PositiveTTL: e.from.PositiveTTL,
		NegativeTTL: e.from.NegativeTTL,
		Faults:      e.from.Faults,
		zones:       make(map[string]*Zone, len(e.zones)),
		public:      maps.Clone(e.from.public),
		private:     maps.Clone(e.from.private),
	}
	for apex, edit := range e.zones {
		s.zones[apex] = edit.zone(at)
	}
	commit(&s.public, e.public, at)
	commit(&s.private, e.private, at)
	return s
}

// commit brings edited zones of users into a map of them. One without a change
// left was taken back whole: a laboratory was reset.
func commit(zones *map[string]*Zone, edits map[string]*zoneEdit, at int64) {
	if *zones == nil && len(edits) > 0 {
		*zones = make(map[string]*Zone, len(edits))
	}
	for key, edit := range edits {
		z := edit.zone(at)
		if z.names.Len() == 0 {
			delete(*zones, key)
		} else {
			(*zones)[key] = z
		}
	}
}

func (z *zoneEdit) zone(at int64) *Zone {
	next := &Zone{apex: z.from.apex, user: z.from.user, names: z.names.Commit(), passed: z.from.passed, toCome: z.from.toCome}
	for a := range next.toCome {
		next.count(a, z.add[a], z.dropped[a], at)
	}
	return next
}

// count brings an authority's counts up to an instant, with some instants more
// and some less.
func (z *Zone) count(authority int, add, dropped []int64, at int64) {
	instants := z.toCome[authority]
	if len(add)+len(dropped) > 0 {
		instants = append(slices.Clone(instants), add...)
		slices.Sort(instants)
	}
	for _, d := range dropped {
		if i, ok := slices.BinarySearch(instants, d); ok {
			instants = slices.Delete(instants, i, i+1)
		} else {
			z.passed[authority]-- // it had passed when it was last counted
		}
	}
	n := passedBy(instants, at)
	z.passed[authority] += uint32(n)
	z.toCome[authority] = instants[n:]
}
