package policy

import (
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Validate says of a statement that it can never match only where that is
// certain: it tries, for each condition key by itself, the absent key and
// enough values to stand for all. Where no such set of values is known, the
// key is taken to have one that satisfies everything.

// keyConditions are all conditions of a statement on one key.
type keyConditions struct {
	name   string // as first written
	path   string // of the first
	offset int
	list   []condition
	values []*keyValues // list[i] was compiled from it
}

// unsatisfiable finds a key whose conditions no request satisfies together.
// absent says which keys no request has.
func (d *Document) unsatisfiable(s *statement, absent func(*keyRef) bool) *keyConditions {
	var keys []*keyConditions
	byName := make(map[string]*keyConditions)
	for i := range s.conditions {
		b := &s.conditions[i]
		for j := range b.keys {
			kv := &b.keys[j]
			c := compileCondition(b.op, kv, d.variables())
			k := byName[c.key.name]
			if k == nil {
				k = &keyConditions{name: kv.name, path: s.path + ".Condition." + b.name + "." + kv.name, offset: kv.offset}
				byName[c.key.name] = k
				keys = append(keys, k)
			}
			k.list, k.values = append(k.list, c), append(k.values, kv)
		}
	}
	for _, k := range keys {
		if !k.absentHolds() && (absent(&k.list[0].key) || !k.presentMayHold()) {
			return k
		}
	}
	return nil
}

// absentHolds: without a value of the key, all its conditions hold.
func (k *keyConditions) absentHolds() bool {
	var r Request
	return !slices.ContainsFunc(k.list, func(c condition) bool { return !c.holds(&r) })
}

// presentMayHold is false only if no value satisfies all conditions.
func (k *keyConditions) presentMayHold() bool {
	if slices.ContainsFunc(k.list, func(c condition) bool { return c.neverPresent() }) || k.excluded() {
		return false
	}
	if k.list[0].key.key == keyExtra || k.list[0].key.list {
		return true // of a list one value may satisfy this condition and one that
	}
	candidates, known := k.candidates()
	if !known {
		return true
	}
	return slices.ContainsFunc(candidates, k.holdsFor)
}

// holdsFor says whether a value satisfies all conditions that it alone decides.
func (k *keyConditions) holdsFor(v string) bool {
	ref := &k.list[0].key
	var r Request
	if ref.key < numKeys {
		r.Set(ref.key, v)
	} else {
		r.Extra = map[string][]string{ref.name: {v}}
	}
	return !slices.ContainsFunc(k.list, func(c condition) bool { return !c.hasVariables() && !c.holds(&r) })
}

// hasVariables: the condition depends on other keys, too.
func (c *condition) hasVariables() bool {
	for i := range c.patterns {
		if c.patterns[i].vars {
			return true
		}
	}
	for i := range c.arns {
		if slices.ContainsFunc(c.arns[i][:], func(p pattern) bool { return p.vars }) {
			return true
		}
	}
	return false
}

// neverPresent: the condition holds for no value whatever.
func (c *condition) neverPresent() bool {
	switch {
	case c.op.family == familyNull:
		return !c.bools[0]
	case c.op.negated:
		return c.op.set == noSet && slices.ContainsFunc(c.patterns, func(p pattern) bool {
			return c.op.family == familyStringLike && p.tokens == nil && !p.exact && p.prefix+p.suffix == "" && len(p.inner) == 0 // "*"
		})
	case c.op.set == forAllValues:
		return false // an empty value is an empty set
	}
	return len(c.patterns)+len(c.decimals)+len(c.instants)+len(c.arns) == 0 && c.bools == [2]bool{} && c.strings.empty() && c.networks.empty()
}

func (s *stringSet) empty() bool {
	for range s.all() {
		return false
	}
	return true
}

func (s *networkSet) empty() bool {
	for range s.all() {
		return false
	}
	return true
}

// excluded finds an operator and its negation, the second with all values of
// the first: then no value, and of a list no values, satisfy both.
func (k *keyConditions) excluded() bool {
	for i := range k.list {
		p := &k.list[i]
		if p.op.negated || p.op.set == forAllValues || p.op.family == familyNull {
			continue
		}
		for j := range k.list {
			n := &k.list[j]
			if n.op.negated && n.op.set == noSet && n.op.family == p.op.family && n.op.comparison == p.op.comparison && contains(k.values[j], k.values[i]) {
				return true
			}
		}
	}
	return false
}

func contains(all, some *keyValues) bool {
	have := make(map[string]bool, len(all.values))
	for _, e := range all.values {
		have[e.text] = true
	}
	return !slices.ContainsFunc(some.values, func(e entry) bool { return !have[e.text] })
}

// candidates are values that stand for all: if none of them satisfies the
// conditions, no value does. known is false if there is no such set.
func (k *keyConditions) candidates() (values []string, known bool) {
	only := familyNull // the one family besides Null, if there is one
	for i := range k.list {
		c := &k.list[i]
		positive := !c.op.negated && !c.hasVariables()
		switch {
		case positive && c.op.family == familyString, positive && c.op.family == familyBinary:
			// Nothing else satisfies this one; but to ForAllValues an empty value does.
			return append(slices.Collect(c.strings.all()), ""), true
		case c.op.family == familyNull:
		case only == familyNull:
			only = c.op.family
		case c.op.family != only:
			return nil, false
		}
	}
	values = []string{""}
	positive := slices.ContainsFunc(k.list, func(c condition) bool { return !c.op.negated && c.op.family != familyNull })
	var more []string
	switch {
	case !positive: // negated operators hold for what is no literal, too
		return nil, false
	case only == familyNumeric:
		more, known = k.numbers()
	case only == familyDate:
		more, known = k.dates()
	case only == familyBool:
		more, known = []string{"true", "false"}, true
	case only == familyIP:
		more, known = k.addresses(), true
	}
	return append(values, more...), known
}

// numbers are all thresholds, and numbers next to them on either side, nearer
// than any two thresholds are to each other.
func (k *keyConditions) numbers() (out []string, known bool) {
	const tooLong = 100 // digits; nobody's threshold
	fraction := 0
	var thresholds []decimal
	for i := range k.list {
		for _, d := range k.list[i].decimals {
			if len(d.whole)+len(d.fraction) > tooLong {
				return nil, false
			}
			fraction = max(fraction, len(d.fraction)+1)
			thresholds = append(thresholds, d)
		}
	}
	for _, d := range thresholds {
		scaled, _ := new(big.Int).SetString("0"+d.whole+d.fraction+strings.Repeat("0", fraction-len(d.fraction)), 10)
		if d.negative {
			scaled.Neg(scaled)
		}
		for _, step := range []int64{-1, 0, 1} {
			digits := new(big.Int).Add(scaled, big.NewInt(step))
			sign := ""
			if digits.Sign() < 0 {
				sign = "-"
			}
			text := digits.Abs(digits).String()
			if len(text) <= fraction {
				text = strings.Repeat("0", fraction-len(text)+1) + text
			}
			out = append(out, sign+text[:len(text)-fraction]+"."+text[len(text)-fraction:])
		}
	}
	return out, true
}

// dates are all thresholds, and the instants before and after.
func (k *keyConditions) dates() (out []string, known bool) {
	for i := range k.list {
		for _, t := range k.list[i].instants {
			at := time.Unix(t.seconds, int64(t.nanos)).UTC()
			if at.Year() < 2 || at.Year() > 9998 { // there may be no text for its neighbours
				return nil, false
			}
			for _, step := range []time.Duration{-1, 0, 1} {
				out = append(out, at.Add(step).Format(time.RFC3339Nano))
			}
		}
	}
	return out, true
}

// addresses are the first of each run of addresses that no range divides.
func (k *keyConditions) addresses() []string {
	// After the block of IPv4 addresses in IPv6 clothes, which are none of IPv6.
	out := []string{"0.0.0.0", "::", "::1:0:0:0"}
	for i := range k.list {
		for p := range k.list[i].networks.all() {
			out = append(out, p.Addr().String())
			if next := lastAddr(p).Next(); next.IsValid() {
				out = append(out, next.String())
			}
		}
	}
	return out
}

// lastAddr is the last address of a prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
