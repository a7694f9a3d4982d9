package policy

import (
	"slices"
	"strings"
)

// keyMask holds all plain exact-string conditions, and Null, on one key.
type keyMask struct {
	inPlace uint64 // the key's bit in Request.present, if its values sit in their place
	slot    Key    // and that place
	nowhere bool   // there is no other source of values but Request.Extra
	// For a present key: hits are the rules that list its value, and XOR with
	// flip turns them into those that it satisfies. A negated condition and a
	// rule that does not ask about the key have their bit set in flip.
	flip   uint64
	values maskSet
	absent uint64 // the rules that an absent key satisfies
	asked  uint64 // the rules that ask about the key
	key    keyRef
	lists  []valueList // until they are arranged
}

// boolMask holds all plain Bool conditions on one key.
type boolMask struct {
	inPlace uint64 // as in keyMask, like absent and flip
	slot    Key
	flip    uint64
	values  [2]uint64 // the rules that want false, and those that want true
	absent  uint64
	asked   uint64
	key     keyRef
}

// addKey takes a condition into the mask of its key, unless it is of a kind that
// masks don't hold or the rule has asked about this key already.
func (b *batch) addKey(c *condition, bit uint64) bool {
	if !c.exactStrings() && c.op.family != familyNull {
		return false
	}
	i := slices.IndexFunc(b.keys, func(k keyMask) bool { return k.key.name == c.key.name })
	if i < 0 {
		i = len(b.keys)
		b.keys = append(b.keys, keyMask{key: c.key, slot: c.key.key, inPlace: c.key.inPlace(), nowhere: c.key.nowhere(), absent: b.all, flip: b.all})
	}
	k := &b.keys[i]
	if k.asked&bit != 0 {
		return false
	}
	k.asked |= bit
	if c.op.family == familyNull {
		k.absent, k.flip = assign(k.absent, bit, c.bools[1]), assign(k.flip, bit, c.bools[0])
		return true
	}
	k.absent, k.flip = assign(k.absent, bit, c.op.negated || c.op.ifExists), assign(k.flip, bit, c.op.negated)
	k.lists = append(k.lists, valueList{&c.strings, bit})
	return true
}

// addBool is addKey for Bool conditions.
func (b *batch) addBool(c *condition, bit uint64) bool {
	if c.op.family != familyBool || c.op.set != noSet || len(c.patterns) > 0 {
		return false
	}
	i := slices.IndexFunc(b.bools, func(m boolMask) bool { return m.key.name == c.key.name })
	if i < 0 {
		i = len(b.bools)
		b.bools = append(b.bools, boolMask{key: c.key, slot: c.key.key, inPlace: c.key.inPlace(), absent: b.all, flip: b.all})
	}
	m := &b.bools[i]
	if m.asked&bit != 0 {
		return false
	}
	m.asked |= bit
	m.absent, m.flip = assign(m.absent, bit, c.op.ifExists), assign(m.flip, bit, false)
	for v := range m.values {
		m.values[v] = assign(m.values[v], bit, c.bools[v])
	}
	return true
}

// maskSet holds, for each of some values, the rules that list it: a few values
// in a row, more in a map.
type maskSet struct {
	few   []valueMask
	lasts string // the last bytes of few, if it is longer: ids differ there, and searching them costs less than comparing texts
	many  map[string]uint64
	// sole is in place of many where all values are of one condition: its set is
	// used as it is, since Programs that were bound share it. soleRules are its.
	sole      map[string]struct{}
	soleRules uint64
}

type valueMask struct {
	value string
	rules uint64
}

// fewMasks is how many values are found as fast by their last bytes as by hash.
const fewMasks = 16

// valueList is the values of one condition, and the rules that it is of.
type valueList struct {
	set   *stringSet
	rules uint64
}

func newMaskSet(lists []valueList) maskSet {
	if len(lists) == 1 && len(lists[0].set.many) > fewMasks {
		return maskSet{sole: lists[0].set.many, soleRules: lists[0].rules}
	}
	many := make(map[string]uint64)
	for _, l := range lists {
		for v := range l.set.all() {
			many[v] |= l.rules
		}
	}
	if len(many) > fewMasks {
		return maskSet{many: many}
	}
	var s maskSet
	for v, rules := range many {
		s.few = append(s.few, valueMask{v, rules})
	}
	slices.SortFunc(s.few, func(x, y valueMask) int { return strings.Compare(x.value, y.value) })
	if len(s.few) <= fewStrings {
		return s
	}
	lasts := make([]byte, len(s.few))
	for i := range s.few {
		lasts[i] = lastByte(s.few[i].value)
	}
	s.lasts = string(lasts)
	return s
}

func (s *maskSet) size() int { return len(s.few) + len(s.many) + len(s.sole) }

// hits are the rules that list a value.
func (s *maskSet) hits(v string) uint64 {
	switch {
	case s.sole != nil:
		if _, ok := s.sole[v]; ok {
			return s.soleRules
		}
	case s.many != nil:
		return s.many[v]
	case s.lasts == "":
		for i := range s.few {
			if s.few[i].value == v {
				return s.few[i].rules
			}
		}
	default:
		last := lastByte(v)
		for from := 0; from < len(s.few); from++ {
			i := strings.IndexByte(s.lasts[from:], last)
			if i < 0 {
				break
			}
			if from += i; s.few[from].value == v {
				return s.few[from].rules
			}
		}
	}
	return 0
}

// satisfied are the rules whose condition on the key holds, or that have none.
func (k *keyMask) satisfied(r *Request) uint64 {
	if r.present&k.inPlace == 0 {
		if k.nowhere && r.Extra == nil {
			return k.absent
		}
		return k.elsewhere(r)
	}
	v := r.values[k.slot]
	if len(k.values.few) == 1 { // as of most keys of most policies
		if k.values.few[0].value == v {
			return k.values.few[0].rules ^ k.flip
		}
		return k.flip
	}
	return k.values.hits(v) ^ k.flip
}

// elsewhere are the rules whose condition on the key holds, or that have none,
// for a key without a value of its own in its place.
func (k *keyMask) elsewhere(r *Request) uint64 {
	f := r.lookup(&k.key)
	if f.n == 0 {
		return k.absent
	}
	// Of a list any value counts: it satisfies a positive operator, and keeps a
	// negated one from holding.
	var hits uint64
	for i := range f.n {
		hits |= k.values.hits(f.at(i))
	}
	return hits ^ k.flip
}

func (m *boolMask) satisfied(r *Request) uint64 {
	if r.present&m.inPlace != 0 {
		if v := parseBool(r.values[m.slot]); v >= 0 {
			return m.values[v] ^ m.flip
		}
		return m.flip
	}
	f := r.lookup(&m.key)
	if f.n == 0 {
		return m.absent
	}
	var hits uint64
	for i := range f.n {
		if v := parseBool(f.at(i)); v >= 0 {
			hits |= m.values[v]
		}
	}
	return hits ^ m.flip
}

func assign(mask, bit uint64, set bool) uint64 {
	if set {
		return mask | bit
	}
	return mask &^ bit
}
