package zone

import (
	"sort"
	"strings"

	iradix "github.com/hashicorp/go-immutable-radix"

	"github.com/posternhq/postern/dnsprop/propagation"
)

// Zone is one zone: a history for each set, from which every authority's content
// at every instant follows. It is one of Postern's own, which hold addresses
// only, or a user's.
type Zone struct {
	apex string
	// user is the zero Ref in a zone of Postern's own. Of public zones that had the
	// same name one after the other, it is the first.
	user Ref
	// names holds the histories of each name, by its labels below the apex from
	// right to left, each ended by a zero byte. So what is below a name lies
	// under its key, which empty non-terminals need (RFC 8020).
	names *iradix.Tree
	// For each authority, how many changes of this zone it showed at the last
	// edit, and the instants of those to come, sorted. Time does not go back, so
	// what has passed is but a number.
	passed [propagation.Authorities]uint32
	toCome [propagation.Authorities][]int64
}

// history is what a set went through, newest version first.
type history []Version

// sets are the histories of a name, by type. There is at least one.
type sets []typed

type typed struct {
	rtype uint16
	history
}

// of is the history of a type; nil if there is none.
func (s sets) of(rtype uint16) history {
	for i := range s {
		if s[i].rtype == rtype {
			return s[i].history
		}
	}
	return nil
}

func (s sets) name() string { return s[0].history[0].record().Name }

// exist reports whether an authority shows any set of the name.
func (s sets) exist(authority int, at int64) bool {
	for i := range s {
		if s[i].at(authority, at).Exists {
			return true
		}
	}
	return false
}

// Answer is what an authority has for a name at an instant.
type Answer struct {
	// Exists without a set is NODATA: the name has others, something is below it,
	// or it is the apex.
	Exists bool
	RRset  RRset
	// Version is the one that decided; zero if none has shown here.
	Version Version

	// The rest is for users' zones only.

	// Aliases are the names that led to RRset.
	Aliases []string
	// Follow is the name to go on with: that of a CNAME, in RRset.
	Follow string
	// Cut is the name from which on the zone is delegated to others, to those in RRset.
	Cut string
	// Others: the name has sets of some type.
	Others bool
	// Wildcard is the name whose set this is, if it is not the name's own.
	Wildcard string
	// Shadowed: there is no such name, and a closer one keeps a wildcard from it.
	Shadowed bool
	// Inferred: more than the name's own history of the type has decided.
	Inferred bool
}

func newZone(apex string, user Ref) *Zone { return &Zone{apex: apex, user: user, names: iradix.New()} }

// Apex is the zone's name.
func (z *Zone) Apex() string { return z.apex }

// Lookup answers for a canonical name in the zone: of the set's changes whose
// instant at this authority has passed, the newest decides. While that one is
// reordered and not settled, of it and those before, down to one that is
// settled, the one that came last does.
//
// A zone of Postern's own has addresses only: they are the answer, whatever the type.
func (z *Zone) Lookup(name string, rtype uint16, authority int, at int64) Answer {
	key, ok := z.key(name)
	if !ok {
		return Answer{}
	}
	if z.Hosted() {
		return z.lookup(key, rtype, authority, at)
	}
	return z.lookupOwn(key, authority, at)
}

// lookupOwn is Lookup in a zone of Postern's own, for a name by its key.
func (z *Zone) lookupOwn(key []byte, authority int, at int64) Answer {
	if len(key) == 0 {
		return Answer{Exists: true}
	}
	var answer Answer
	if s, found := z.names.Get(key); found {
		answer = s.(sets)[0].at(authority, at)
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

// Shows reports whether an authority answers for each of a change's sets by
// it or by what is newer.
func (s *Set) Shows(c *Change, authority int, at int64) bool {
	for i, r := range c.Records {
		z := s.zoneOf(c, r.Name)
		if z != nil && z.set(r.Name, r.Type).at(authority, at).Version.Compare(Version{Change: c, Ordinal: i}) < 0 {
			return false
		}
	}
	return true
}

// zoneOf is the zone in which a change holds a name.
func (s *Set) zoneOf(c *Change, name string) *Zone {
	switch {
	case c.Zone == (Ref{}):
		return s.Find(name)
	case c.Zone.Private:
		return s.private[c.Zone.ID]
	}
	return s.public[c.Zone.Apex]
}

// set is the history of a name and type; nil if there is none.
func (z *Zone) set(name string, rtype uint16) history {
	if key, ok := z.key(name); ok {
		if s, found := z.names.Get(key); found {
			return s.(sets).of(rtype)
		}
	}
	return nil
}

func (z *Zone) existsBelow(key []byte, authority int, at int64) bool {
	found := false
	z.names.Root().WalkPrefix(key, func(k []byte, s any) bool {
		found = len(k) > len(key) && s.(sets).exist(authority, at)
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
	if name == z.apex {
		return nil, true
	}
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
