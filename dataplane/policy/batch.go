package policy

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
)

// batchSize is how many rules one batch decides at once: the bits of a word.
const batchSize = 64

// batch decides up to 64 rules together. Rule i is bit i of every mask. What
// many rules ask about one key is answered by one look-up, whose mask says for
// which rules the answer is right; the masks are ANDed, and only the rules that
// survive are tried one by one with what no mask holds.
type batch struct {
	rules []rule // their conditions are those that no mask holds
	all   uint64
	// Answers known beforehand: for the usual action, and for anonymous callers.
	invoke    uint64
	anonymous uint64
	actions   []actionMask    // for other actions
	everyone  uint64          // the rules that speak for everyone
	callers   *principalMasks // nil: all of them do
	bools     []boolMask
	keys      []keyMask // cheapest first
	networks  []networkMask
	// plain: all rules are about the same resources, and masks hold all of their
	// conditions.
	plain     bool
	lone      *keyMask     // if plain, and for everyone: the one mask that there is
	text      string       // what all resources begin with, all of them if usual
	resources *resourceSet // what all rules say, taken out of them; nil: see heads
	heads     []headMask
	headed    uint64 // the rules in heads: of their resources only the paths are left
	paths     []pathMask
}

// actionMask are the rules that have one action set.
type actionMask struct {
	set   *actionSet
	rules uint64
}

// headMask are the rules whose resources all have one head.
type headMask struct {
	head  *arnHead
	rules uint64
}

// newBatch arranges at most batchSize rules. It copies them, since it takes
// the conditions that its masks hold out of them.
func newBatch(rules []rule) batch {
	b := batch{rules: slices.Clone(rules), all: ^uint64(0) >> (batchSize - len(rules))}
	for i := range b.rules {
		ru, bit := &b.rules[i], uint64(1)<<i
		if ru.actions == nil || ru.actions.invoke {
			b.invoke |= bit
		}
		if ru.actions != nil {
			b.addAction(ru.actions, bit)
		}
		if ru.speaksFor(nil) != grantNone {
			b.anonymous |= bit
		}
		all := ru.conditions
		ru.conditions = nil
		for j := range all {
			if !b.addKey(&all[j], bit) && !b.addBool(&all[j], bit) && !b.addNetworks(&all[j], bit) {
				ru.conditions = append(ru.conditions, all[j])
			}
		}
	}
	b.everyone, b.callers = b.all, newPrincipalMasks(b.rules)
	if b.callers != nil {
		b.everyone = b.callers.everyone
	}
	b.addResources()
	for i := range b.keys {
		b.keys[i].values, b.keys[i].lists = newMaskSet(b.keys[i].lists), nil
	}
	slices.SortStableFunc(b.keys, func(x, y keyMask) int { return cmp.Compare(x.values.size(), y.values.size()) })
	for i := range b.networks {
		b.networks[i].arrange()
	}
	if r := b.resources; r != nil && r.usual && !r.negated {
		b.resources, b.text = nil, r.text
	}
	b.plain = !slices.ContainsFunc(b.rules, func(ru rule) bool { return ru.resources != nil || len(ru.conditions) > 0 })
	if b.plain && b.callers == nil && len(b.keys) == 1 && len(b.bools)+len(b.networks) == 0 {
		b.lone = &b.keys[0]
	}
	return b
}

func (b *batch) addAction(set *actionSet, bit uint64) {
	for i := range b.actions {
		if b.actions[i].set == set {
			b.actions[i].rules |= bit
			return
		}
	}
	b.actions = append(b.actions, actionMask{set, bit})
}

// addResources prepares what rules have in common: the whole of their
// resources, else the parts before the path.
func (b *batch) addResources() {
	first := b.rules[0].resources
	if !slices.ContainsFunc(b.rules, func(ru rule) bool { return ru.resources != first }) {
		b.resources = first
		for i := range b.rules {
			b.rules[i].resources = nil
		}
		return
	}
	for i := range b.rules {
		ru, bit := &b.rules[i], uint64(1)<<i
		if ru.resources == nil || !ru.resources.alike || ru.resources.negated {
			continue
		}
		b.headed |= bit
		ru.text = strings.TrimPrefix(ru.text, ru.resources.head.text)
		at := slices.IndexFunc(b.heads, func(h headMask) bool { return h.head == ru.resources.head })
		if at < 0 {
			at = len(b.heads)
			b.heads = append(b.heads, headMask{head: ru.resources.head})
		}
		b.heads[at].rules |= bit
	}
	b.paths = newPathMasks(b.rules, b.headed)
}

// acting are the rules that are about the request's action.
func (b *batch) acting(r *Request, invoke bool) uint64 {
	if invoke {
		return b.invoke
	}
	alive := b.all
	for i := range b.actions {
		if !b.actions[i].set.match(r, false) {
			alive &^= b.actions[i].rules
		}
	}
	return alive
}

// satisfied are those of the rules alive whose conditions, as far as masks hold
// them, are satisfied. No key is looked up for rules that are out already.
func (b *batch) satisfied(r *Request, alive uint64) uint64 {
	for i := range b.bools {
		if m := &b.bools[i]; alive&m.asked != 0 {
			alive &= m.satisfied(r)
		}
	}
	for i := range b.keys {
		if k := &b.keys[i]; alive&k.asked != 0 {
			alive &= k.satisfied(r)
		}
	}
	for i := range b.networks {
		if n := &b.networks[i]; alive&n.asked != 0 {
			alive &= n.satisfied(r)
		}
	}
	return alive
}

// search returns the best rule that applies, or best if there is no better one.
func (b *batch) search(r *Request, invoke bool, best finding) finding {
	alive := b.acting(r, invoke)
	arn, path := view(r.Resource), "" // which part is the path does not depend on the head before it
	if !strings.HasPrefix(arn, b.text) {
		return best
	}
	for i := range b.heads {
		if h := &b.heads[i]; alive&h.rules != 0 {
			if behind, ok := h.head.cut(arn); ok {
				path = behind
			} else {
				alive &^= h.rules
			}
		}
	}
	for i := range b.paths {
		alive &= b.paths[i].possible(path)
	}
	var delegated uint64
	switch {
	case r.Principal == nil:
		alive &= b.anonymous
	case alive&^b.everyone != 0:
		var speaking uint64
		speaking, delegated = b.callers.find(r.Principal, b.rules)
		alive &= speaking
	}
	if alive = b.satisfied(r, alive); alive == 0 || b.resources != nil && !b.resources.match(r) {
		return best
	}
	for ; alive != 0; alive &= alive - 1 {
		i := bits.TrailingZeros64(alive)
		ru := &b.rules[i]
		if ru.order >= best.rank {
			return best // those behind it can't be better either
		}
		switch {
		case ru.resources == nil:
		case b.headed>>i&1 == 0:
			if !ru.resources.match(r) {
				continue
			}
		case ru.usual:
			if !strings.HasPrefix(path, ru.text) {
				continue
			}
		case !ru.resources.anyPath(path, r):
			continue
		}
		if len(ru.conditions) == 0 || ru.conditionsHold(r) {
			g := grantDirect
			if delegated>>i&1 != 0 {
				g = grantDelegate
			}
			best = best.better(ru, g)
		}
	}
	return best
}

func (ru *rule) conditionsHold(r *Request) bool {
	for i := range ru.conditions {
		if !ru.conditions[i].holds(r) {
			return false
		}
	}
	return true
}
