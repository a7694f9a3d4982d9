package policy

import (
	"slices"
	"strings"
)

// group decides any number of rules. Up to 64 are one batch. Of more, each rule
// that wants a key to have one of a few exact values is filed under these
// values, so that a request meets only the rules of the values that it has; the
// others are in batches.
type group struct {
	batches []batch
	index   []filing
	callers *callerFiling
	alone   *filing // the one filing, if there is nothing else
}

// filing is the rules that are filed under the values of one key.
type filing struct {
	key     keyRef
	inPlace uint64 // as in keyMask, like slot
	slot    Key
	folders
}

// callerFiling is the rules that are filed under whom they name, as in principalSet.
type callerFiling struct {
	exact, roles, accounts folders
}

// folders are the rules by value, without the condition that the value
// satisfies.
type folders struct {
	// one holds the values with a single rule that is simple, which in large
	// policies are most: what is compared lies in the entry.
	one map[string]leaf
	// few are tried in a row; of more there are batches, and the list is empty.
	few  map[string][]rule
	many map[string][]batch
}

// leaf is a simple rule.
type leaf struct {
	text  string // of ru
	order uint32 // of ru
	ru    *rule
}

const fewRules = 8

func newGroup(rules []rule) group {
	if len(rules) <= batchSize {
		return group{batches: []batch{newBatch(rules)}}
	}
	var g group
	c := newCabinet(rules)
	g.batches = newBatches(c.loose)
	for i := range c.keys {
		k := &c.keys[i]
		if len(k.byValue) > 0 {
			g.index = append(g.index, filing{key: k.key, inPlace: k.key.inPlace(), slot: k.key.key, folders: newFolders(k.byValue)})
		}
	}
	if len(c.exact)+len(c.roles)+len(c.accounts) > 0 {
		g.callers = &callerFiling{exact: newFolders(c.exact), roles: newFolders(c.roles), accounts: newFolders(c.accounts)}
	}
	if len(g.index) == 1 && len(g.batches) == 0 && g.callers == nil {
		g.alone = &g.index[0]
	}
	return g
}

func newBatches(rules []rule) []batch {
	var out []batch
	for part := range slices.Chunk(rules, batchSize) {
		out = append(out, newBatch(part))
	}
	return out
}

func newFolders(byValue map[string][]rule) folders {
	var f folders
	for v, rules := range byValue {
		for i := range rules {
			ru := &rules[i]
			ru.simple = ru.usual && ru.principals == nil && len(ru.conditions) == 0 && (ru.actions == nil || ru.actions.invoke)
		}
		switch {
		case len(rules) == 1 && rules[0].simple:
			// Looking up a value and then comparing a resource is the way of every
			// request, and of many values each is far from memory that was just used:
			// let the two texts lie side by side.
			both := v + rules[0].text
			put(&f.one, both[:len(v)], leaf{both[len(v):], rules[0].order, &rules[0]})
		case len(rules) <= fewRules:
			put(&f.few, v, rules)
		default:
			put(&f.few, v, nil)
			put(&f.many, v, newBatches(rules))
		}
	}
	return f
}

// put makes the map when something is put into it.
func put[V any](m *map[string]V, key string, v V) {
	if *m == nil {
		*m = make(map[string]V)
	}
	(*m)[key] = v
}

// cabinet decides under what each rule is filed.
type cabinet struct {
	keys                   []cabinetKey
	exact, roles, accounts map[string][]rule
	loose                  []rule // what can't be filed
}

type cabinetKey struct {
	key     keyRef
	wanted  map[string]int // how many rules want each value
	byValue map[string][]rule
}

// newCabinet files each rule under its most selective key: the one whose
// values, of those that the rule lists, are wanted by the fewest rules. A rule
// is copied once for each value, so all copies together are no more than the
// document has values; that is also why folders are not filed again inside.
func newCabinet(rules []rule) *cabinet {
	c := &cabinet{exact: make(map[string][]rule), roles: make(map[string][]rule), accounts: make(map[string][]rule)}
	named := make(map[string]int) // how many rules name each principal
	byName := make(map[string]int)
	for i := range rules {
		for j := range rules[i].conditions {
			cond := &rules[i].conditions[j]
			if !cond.filable() {
				continue
			}
			at, ok := byName[cond.key.name]
			if !ok {
				at = len(c.keys)
				byName[cond.key.name] = at
				c.keys = append(c.keys, cabinetKey{key: cond.key, wanted: make(map[string]int), byValue: make(map[string][]rule)})
			}
			for v := range cond.strings.all() {
				c.keys[at].wanted[v]++
			}
		}
		for name := range rules[i].names() {
			named[name]++
		}
	}
	for i := range rules {
		ru := &rules[i]
		best, bestKey, bestCost := -1, -1, len(rules)
		for j := range ru.conditions {
			cond := &ru.conditions[j]
			if !cond.filable() {
				continue
			}
			at, cost := byName[cond.key.name], 0
			for v := range cond.strings.all() {
				cost = max(cost, c.keys[at].wanted[v])
			}
			if cost < bestCost {
				best, bestKey, bestCost = j, at, cost
			}
		}
		callerCost := 0
		for name := range ru.names() {
			callerCost = max(callerCost, named[name])
		}
		switch {
		case callerCost > 0 && callerCost < bestCost:
			c.fileByCaller(ru)
		case best >= 0:
			cond := &ru.conditions[best]
			filed := *ru
			filed.conditions = nil
			if len(ru.conditions) > 1 {
				filed.conditions = slices.Delete(slices.Clone(ru.conditions), best, best+1)
			}
			for v := range cond.strings.all() {
				c.keys[bestKey].byValue[v] = append(c.keys[bestKey].byValue[v], filed)
			}
		default:
			c.loose = append(c.loose, *ru)
		}
	}
	return c
}

// filable says that the condition can hold only if the key has one of its values.
func (c *condition) filable() bool { return c.exactStrings() && !c.op.negated && !c.op.ifExists }

// names yields all that a Principal element with nothing but names has in it.
func (ru *rule) names() func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if ru.principals == nil || ru.notPerson || ru.principals.anyone {
			return
		}
		for _, set := range [...]*stringSet{&ru.principals.exact, &ru.principals.roles, &ru.principals.accounts} {
			for name := range set.all() {
				if !yield(name) {
					return
				}
			}
		}
	}
}

// fileByCaller leaves the principal test in the rule: it says whether a caller
// is named himself or by his account only.
func (c *cabinet) fileByCaller(ru *rule) {
	for name := range ru.principals.exact.all() {
		c.exact[name] = append(c.exact[name], *ru)
	}
	for name := range ru.principals.roles.all() {
		c.roles[name] = append(c.roles[name], *ru)
	}
	for name := range ru.principals.accounts.all() {
		c.accounts[name] = append(c.accounts[name], *ru)
	}
}

// search returns the best rule that applies, or best if there is no better one.
func (g *group) search(r *Request, invoke bool, best finding) finding {
	if g.alone != nil && r.present&g.alone.inPlace != 0 {
		return g.alone.open(r.values[g.alone.slot], r, invoke, best)
	}
	for i := range g.batches {
		best = g.batches[i].search(r, invoke, best)
	}
	for i := range g.index {
		best = g.index[i].search(r, invoke, best)
	}
	if r.Principal != nil && g.callers != nil {
		best = g.callers.search(r, invoke, best)
	}
	return best
}

func (f *filing) search(r *Request, invoke bool, best finding) finding {
	if r.present&f.inPlace != 0 {
		return f.open(r.values[f.slot], r, invoke, best)
	}
	values := r.lookup(&f.key)
	for i := range values.n {
		best = f.open(values.at(i), r, invoke, best)
	}
	return best
}

func (c *callerFiling) search(r *Request, invoke bool, best finding) finding {
	p := r.Principal
	best = c.exact.open(p.ARN, r, invoke, best)
	best = c.accounts.open(p.Account, r, invoke, best)
	if p.RoleARN != "" {
		best = c.exact.open(p.RoleARN, r, invoke, best)
		best = c.roles.open(p.RoleARN, r, invoke, best)
	}
	return best
}

func (f *folders) open(value string, r *Request, invoke bool, best finding) finding {
	if l, ok := f.one[value]; ok {
		switch {
		case l.order >= best.rank:
		case !invoke:
			if g := l.ru.applies(r, invoke); g != grantNone {
				return best.better(l.ru, g)
			}
		case strings.HasPrefix(view(r.Resource), l.text):
			return finding{l.ru, l.order}
		}
		return best
	}
	if len(f.few) == 0 {
		return best
	}
	rules, ok := f.few[value]
	for i := range rules {
		ru := &rules[i]
		if ru.order >= best.rank {
			return best // those behind it can't be better either
		}
		if g := ru.applies(r, invoke); g != grantNone {
			best = best.better(ru, g)
		}
	}
	if ok && len(rules) == 0 {
		many := f.many[value]
		for i := range many {
			best = many[i].search(r, invoke, best)
		}
	}
	return best
}
