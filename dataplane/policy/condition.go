package policy

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"
)

// condition is one operator applied to one key.
type condition struct {
	op       operator
	key      keyRef
	cost     int
	strings  stringSet // String equality without variables, Binary
	patterns []pattern // what strings can't hold: wildcards, variables, ignored case
	decimals []decimal
	instants []instant
	bools    [2]bool // Bool and Null: false, true is among the values
	arns     []arnPattern
	networks networkSet
}

// arnPattern is a value of an Arn operator: six parts, each a pattern.
type arnPattern [arnParts]pattern

// compileCondition drops values that are no literals of the operator's family:
// they match nothing, so a negated operator holds.
func compileCondition(op operator, kv *keyValues, variables bool) condition {
	c := condition{op: op, key: refKey(kv.name)}
	variables = variables && op.family.takesVariables()
	for _, v := range kv.values {
		switch op.family {
		case familyString, familyStringLike, familyStringFold:
			p := parsePattern(v.text, op.family == familyStringLike, variables)
			if p.exact && op.family != familyStringFold {
				c.strings.add(p.prefix)
			} else {
				c.patterns = append(c.patterns, p)
			}
		case familyNumeric:
			if d, ok := parseDecimal(v.text); ok {
				c.decimals = append(c.decimals, d)
			}
		case familyDate:
			if t, ok := parseInstant(v.text); ok {
				c.instants = append(c.instants, t)
			}
		case familyBool, familyNull:
			if b := parseBool(v.text); b >= 0 {
				c.bools[b] = true
			} else if variables {
				c.patterns = append(c.patterns, parsePattern(v.text, false, true))
			}
		case familyBinary:
			if b, ok := parseBinary(v.text); ok {
				c.strings.add(b)
			}
		case familyIP:
			if n, ok := parseCIDR(v.text); ok {
				c.networks.add(n)
			}
		case familyARN:
			if parts, n := splitTokens(tokenize(v.text, true, variables)); n == arnParts {
				var a arnPattern
				for i := range parts {
					a[i] = newPattern(parts[i])
				}
				c.arns = append(c.arns, a)
			}
		}
	}
	c.cost = 1 + 4*len(c.patterns) + 8*len(c.arns) + 2*(len(c.decimals)+len(c.instants))
	if op.family == familyIP {
		c.cost = 2
	}
	return c
}

// exactStrings says that the condition is a plain comparison with known texts.
func (c *condition) exactStrings() bool {
	return c.op.set == noSet && (c.op.family == familyString || c.op.family == familyStringLike) && len(c.patterns) == 0
}

// cheap conditions are worth testing before the resource.
func (c *condition) cheap() bool { return c.cost <= 2 }

func sortByCost(list []condition) {
	slices.SortStableFunc(list, func(a, b condition) int { return a.cost - b.cost })
}

// holds is the whole of the language's condition semantics above a single
// value: absence, negation, IfExists and the set operators.
func (c *condition) holds(r *Request) bool {
	if c.op.family == familyIP && c.op.set == noSet {
		if a, ok := r.addr(&c.key); ok { // the hot case: an address that need not be parsed
			return c.networks.contains(a) != c.op.negated
		}
	}
	f := r.lookup(&c.key)
	switch {
	case c.op.family == familyNull:
		return f.n == 0 && c.bools[1] || f.n > 0 && c.bools[0]
	case c.op.set == noSet:
		if f.n == 0 {
			return c.op.negated || c.op.ifExists
		}
		// On a list: any value for a positive operator, no value for a negated one.
		for i := range f.n {
			if c.matches(f.at(i), r) {
				return !c.op.negated
			}
		}
		return c.op.negated
	case f.n == 0:
		return c.op.set == forAllValues || c.op.ifExists
	case f.n == 1 && f.at(0) == "":
		// To a set operator one empty value is an empty set, yet not an absent key.
		return c.op.set == forAllValues
	}
	for i := range f.n {
		satisfied := c.matches(f.at(i), r) != c.op.negated
		if satisfied != (c.op.set == forAllValues) {
			return satisfied // one satisfied decides ForAnyValue, one unsatisfied ForAllValues
		}
	}
	return c.op.set == forAllValues
}

// matches says whether one value of the request matches any of the policy's
// values by the positive form of the operator. A value that can't be read as
// the family's type matches none.
func (c *condition) matches(v string, r *Request) bool {
	switch c.op.family {
	case familyString, familyStringLike:
		if c.strings.has(v) {
			return true
		}
		for i := range c.patterns {
			if c.patterns[i].match(v, r) {
				return true
			}
		}
	case familyStringFold:
		for i := range c.patterns {
			if c.patterns[i].matchFold(v, r) {
				return true
			}
		}
	case familyNumeric:
		if d, ok := parseDecimal(v); ok {
			for i := range c.decimals {
				if c.op.comparison.holds(d.compare(c.decimals[i])) {
					return true
				}
			}
		}
	case familyDate:
		if t, ok := parseInstant(v); ok {
			for i := range c.instants {
				if c.op.comparison.holds(t.compare(c.instants[i])) {
					return true
				}
			}
		}
	case familyBool:
		b := parseBool(v)
		if b < 0 {
			return false
		}
		if c.bools[b] {
			return true
		}
		for i := range c.patterns {
			if c.patterns[i].matchFold(v, r) {
				return true
			}
		}
	case familyBinary:
		return c.strings.has(v)
	case familyIP:
		a, ok := parseAddr(v)
		return ok && c.networks.contains(a)
	case familyARN:
		return c.matchesARN(v, r)
	}
	return false
}

func (c *condition) matchesARN(v string, r *Request) bool {
	parts, n := splitARN(v)
	if n != arnParts {
		return false
	}
next:
	for i := range c.arns {
		for j := arnParts - 1; j >= 0; j-- {
			if !c.arns[i][j].match(parts[j], r) {
				continue next
			}
		}
		return true
	}
	return false
}

// matchFold compares ignoring case. The pattern has no wildcards; it is one
// text, or texts and variables, which are matched piece by piece.
func (p *pattern) matchFold(s string, r *Request) bool {
	if p.tokens == nil {
		return strings.EqualFold(s, p.prefix)
	}
	return foldTokens(p.tokens, s, r)
}

func foldTokens(tokens []token, s string, r *Request) bool {
	for i := range tokens {
		text := tokens[i].text
		if tokens[i].kind == tokenVar {
			var ok bool
			if text, ok = tokens[i].resolve(r); !ok {
				return false
			}
		}
		size, ok := foldPrefix(s, text)
		if !ok {
			return false
		}
		s = s[size:]
	}
	return s == ""
}

// foldPrefix says whether s starts with text, ignoring case, and how many bytes
// of s that is: letters that differ in case may differ in length.
func foldPrefix(s, text string) (int, bool) {
	n := 0
	for range text {
		i := n
		for i++; i < len(s) && s[i]&0xC0 == 0x80; i++ {
		}
		if n >= len(s) {
			return 0, false
		}
		n = i
	}
	return n, strings.EqualFold(s[:n], text)
}

// stringSet holds exact values: a few in a row, more in a map.
type stringSet struct {
	few  []string
	many map[string]struct{}
}

const fewStrings = 4

func (s *stringSet) add(v string) {
	switch {
	case s.has(v):
	case s.many != nil:
		s.many[v] = struct{}{}
	case len(s.few) < fewStrings:
		s.few = append(s.few, v)
	default:
		s.many = make(map[string]struct{})
		for _, old := range s.few {
			s.many[old] = struct{}{}
		}
		s.many[v] = struct{}{}
		s.few = nil
	}
}

// size is how many values there are.
func (s *stringSet) size() int { return len(s.few) + len(s.many) }

// all yields the values in no order.
func (s *stringSet) all() iter.Seq[string] {
	if s.many != nil {
		return maps.Keys(s.many)
	}
	return slices.Values(s.few)
}

func (s *stringSet) has(v string) bool {
	if s.many != nil {
		_, ok := s.many[v]
		return ok
	}
	for _, e := range s.few {
		if len(e) == len(v) && lastByte(e) == lastByte(v) && e == v {
			return true
		}
	}
	return false
}

// lastByte is the last byte of a text, 0 of an empty one.
func lastByte(s string) byte {
	if s == "" {
		return 0
	}
	return s[len(s)-1]
}

// networkSet holds prefixes: a few in a row, more in a trie.
type networkSet struct {
	few  []netip.Prefix
	many *bart.Lite
}

const fewNetworks = 4

func (s *networkSet) add(p netip.Prefix) {
	switch {
	case s.many != nil:
		s.many.Insert(p)
	case len(s.few) < fewNetworks:
		s.few = append(s.few, p)
	default:
		s.many = new(bart.Lite)
		for _, old := range s.few {
			s.many.Insert(old)
		}
		s.many.Insert(p)
		s.few = nil
	}
}

// all yields the prefixes in no order.
func (s *networkSet) all() iter.Seq[netip.Prefix] {
	if s.many != nil {
		return s.many.All()
	}
	return slices.Values(s.few)
}

// contains: families never mix, and the zero Addr is in no network.
func (s *networkSet) contains(a netip.Addr) bool {
	if s.many != nil {
		return a.IsValid() && s.many.Contains(a)
	}
	for _, p := range s.few {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
