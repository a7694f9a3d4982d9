package zone

import (
	"slices"
	"sort"
	"strings"

	iradix "github.com/hashicorp/go-immutable-radix"

	"github.com/posternhq/postern/dnsprop/propagation"
)

// Zone is one public zone: a history for each name, from which every
// authority's content at every instant follows.
type Zone struct {
	apex string
	// names holds a history for each name, by its labels below the apex from
	// right to left, each ended by a zero byte. So what is below a name lies
	// under its key, which empty non-terminals need (RFC 8020).
	names *iradix.Tree
	// For each authority, how many changes of this zone it showed at the last
	// edit, and the instants of those to come, sorted. Time does not go back, so
	// what has passed is but a number.
	passed [propagation.Authorities]uint32
	toCome [propagation.Authorities][]int64
}

// history is what a name went through, newest version first.
type history []Version

// Answer is what an authority has for a name at an instant.
type Answer struct {
	// Exists without addresses is NODATA: something is below the name, or it is the apex.
	Exists bool
	RRset  RRset
	// Version is the one that decided; zero if none has shown here.
	Version Version
}

func newZone(apex string) *Zone { return &Zone{apex: apex, names: iradix.New()} }

// Apex is the zone's name.
func (z *Zone) Apex() string { return z.apex }

// Lookup answers for a canonical name in the zone: of the name's changes whose
// instant at this authority has passed, the newest decides. While that one is
// reordered and not settled, of it and those before, down to one that is
// settled, the one that came last does.
func (z *Zone) Lookup(name string, authority int, at int64) Answer {
	if name == z.apex {
		return Answer{Exists: true}
	}
	key, ok := z.key(name)
	if !ok {
		return Answer{}
	}
	var answer Answer
	if h, found := z.names.Get(key); found {
		answer = h.(history).at(authority, at)
	}
	if !answer.Exists && z.existsBelow(key, authority, at) {
		answer.Exists = true
	}
	return answer
}

func (h history) at(authority int, at int64) Answer {
	var last Version
	for _, v := range h {
		if v.Change.shown[authority] > at {
			continue
		}
		if last.Change == nil || v.Change.shown[authority] > last.Change.shown[authority] {
			last = v
		}
		if v.Change.settled[authority] <= at {
			break
		}
	}
	if last.Change == nil {
		return Answer{}
	}
	r := last.record()
	return Answer{Exists: r.Exists, RRset: r.RRset, Version: last}
}

// Shows reports whether an authority answers for each of a change's names by
// it or by what is newer.
func (s *Set) Shows(c *Change, authority int, at int64) bool {
	for i, r := range c.Records {
		if z := s.Find(r.Name); z != nil && z.Lookup(r.Name, authority, at).Version.Compare(Version{Change: c, Ordinal: i}) < 0 {
			return false
		}
	}
	return true
}

func (z *Zone) existsBelow(key []byte, authority int, at int64) bool {
	found := false
	z.names.Root().WalkPrefix(key, func(k []byte, h any) bool {
		found = len(k) > len(key) && h.(history).at(authority, at).Exists
		return found
	})
	return found
}

// Serial counts the instants at which an authority's content changed, from 1: a function of
// the same facts as the zone's content, so a restarted server goes on with it.
// The instant must not be before the last edit's.
func (z *Zone) Serial(authority int, at int64) uint32 {
	return 1 + z.passed[authority] + uint32(passedBy(z.toCome[authority], at))
}

// passedBy is how many of the sorted instants are not after at.
func passedBy(instants []int64, at int64) int {
	return sort.Search(len(instants), func(i int) bool { return instants[i] > at })
}

// key is a name's place in the tree; false for a name that cannot be in it.
func (z *Zone) key(name string) ([]byte, bool) {
	relative, ok := strings.CutSuffix(name, "."+z.apex)
	if !ok || strings.ContainsAny(relative, "\\\x00") {
		return nil, false
	}
	return appendKey(make([]byte, 0, len(relative)+1), relative), true
}

// appendKey appends the labels of a name below an apex from right to left.
func appendKey[T string | []byte](key []byte, relative T) []byte {
	end := len(relative)
	for i := end - 1; i >= -1; i-- {
		if i < 0 || relative[i] == '.' {
			key = append(append(key, relative[i+1:end]...), 0)
			end = i
		}
	}
	return key
}

// Edit collects what makes the next Set of the zones. It belongs to one goroutine.
type Edit struct {
	from  *Set
	zones map[string]*zoneEdit
}

type zoneEdit struct {
	from    *Zone
	names   *iradix.Txn
	add     [propagation.Authorities][]int64
	dropped [propagation.Authorities][]int64
}

// Edit begins an edit with the zones of some regions: those that the Set
// lacks begin empty, those that are no longer among them end.
func (s *Set) Edit(regions []string) *Edit {
	e := &Edit{from: s, zones: make(map[string]*zoneEdit)}
	for _, region := range regions {
		for _, apex := range apexes(region) {
			z := s.zones[apex]
			if z == nil {
				z = newZone(apex)
			}
			e.zones[apex] = &zoneEdit{from: z, names: z.names.Txn()}
		}
	}
	return e
}

// Holds returns the first name of a change that is in no zone, if there is one.
func (e *Edit) Holds(c *Change) (stray string, ok bool) {
	for _, r := range c.Records {
		if e.find(r.Name) == nil {
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
		if z := e.find(r.Name); z != nil {
			touched[z] = append(touched[z], i)
		}
	}
	return touched
}

func (e *Edit) find(name string) *zoneEdit { return enclosing(e.zones, name) }

func (z *zoneEdit) put(v Version) {
	key, _ := z.from.key(v.record().Name)
	var h history
	if old, ok := z.names.Get(key); ok {
		h = old.(history)
	}
	i, _ := slices.BinarySearchFunc(h, v, func(a, b Version) int { return b.Compare(a) })
	z.names.Insert(key, slices.Insert(slices.Clone(h), i, v))
}

func (z *zoneEdit) remove(v Version) {
	key, _ := z.from.key(v.record().Name)
	old, ok := z.names.Get(key)
	if !ok {
		return
	}
	h := slices.DeleteFunc(slices.Clone(old.(history)), func(w Version) bool { return v.Compare(w) == 0 })
	if len(h) == 0 {
		z.names.Delete(key)
		return
	}
	z.names.Insert(key, h)
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
	}
	for apex, edit := range e.zones {
		z := &Zone{apex: apex, names: edit.names.Commit(), passed: edit.from.passed, toCome: edit.from.toCome}
		for a := range z.toCome {
			z.count(a, edit.add[a], edit.dropped[a], at)
		}
		s.zones[apex] = z
	}
	return s
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
