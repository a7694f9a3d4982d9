package policy

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"
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

// networkMask holds all plain address conditions on one key; absent and flip
// are as in keyMask. In the trie each prefix has the rules of the prefixes that
// contain it, too, so that the longest match is the whole answer.
type networkMask struct {
	key    keyRef
	absent uint64
	flip   uint64
	asked  uint64
	few4   []prefix4Mask // a few prefixes of each family, tried one by one
	few    []prefixMask
	trie   *bart.Table[uint64] // of all prefixes, if they are more
	sole   *bart.Lite          // in place of trie, as in keyMask
	lists  []networkList
}

// prefix4Mask is an IPv4 prefix as the numbers that are compared.
type prefix4Mask struct {
	network, mask uint32
	rules         uint64
}

type networkList struct {
	set   *networkSet
	rules uint64
}

type prefixMask struct {
	prefix netip.Prefix
	rules  uint64
}

// principalMasks finds the rules that name an authenticated caller.
type principalMasks struct {
	everyone uint64 // rules without a principal test
	excepts  uint64 // rules with NotPrincipal, tried one by one
	// sole is the one set of names that there is, and named are its rules;
	// otherwise the maps hold the names of all, as in principalSet.
	sole     *principalSet
	named    uint64
	exact    maskSet
	sessions bool
	roles    maskSet
	accounts maskSet
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

// addNetworks is addKey for address conditions.
func (b *batch) addNetworks(c *condition, bit uint64) bool {
	if c.op.family != familyIP || c.op.set != noSet {
		return false
	}
	i := slices.IndexFunc(b.networks, func(n networkMask) bool { return n.key.name == c.key.name })
	if i < 0 {
		i = len(b.networks)
		b.networks = append(b.networks, networkMask{key: c.key, absent: b.all, flip: b.all})
	}
	n := &b.networks[i]
	if n.asked&bit != 0 {
		return false
	}
	n.asked |= bit
	n.absent, n.flip = assign(n.absent, bit, c.op.negated || c.op.ifExists), assign(n.flip, bit, c.op.negated)
	n.lists = append(n.lists, networkList{&c.networks, bit})
	return true
}

// arrange makes the form of the prefixes that is looked up. Into a trie they go
// wide ones first, so that each takes over the rules of those that contain it.
// That of one condition is used as it is, since bound Programs share it.
func (n *networkMask) arrange() {
	var all []prefixMask
	for _, l := range n.lists {
		for p := range l.set.all() {
			all = append(all, prefixMask{p, l.rules})
		}
	}
	lists := n.lists
	n.lists = nil
	switch {
	case len(all) <= fewPrefixes:
	case len(lists) == 1:
		n.sole = lists[0].set.many
		return
	default:
		n.trie = newTrie(all)
		return
	}
	for _, p := range all {
		if p.prefix.Addr().Is4() {
			mask := ^uint32(0) << (32 - p.prefix.Bits())
			n.few4 = append(n.few4, prefix4Mask{number4(p.prefix.Addr()), mask, p.rules})
		} else {
			n.few = append(n.few, p)
		}
	}
}

// fewPrefixes is how many prefixes are tried as fast as a trie answers.
const fewPrefixes = 32

func number4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func newTrie(all []prefixMask) *bart.Table[uint64] {
	slices.SortFunc(all, func(x, y prefixMask) int { return cmp.Compare(x.prefix.Bits(), y.prefix.Bits()) })
	trie := new(bart.Table[uint64])
	for _, p := range all {
		wider, _ := trie.LookupPrefix(p.prefix) // of the same prefix, too
		trie.Insert(p.prefix, p.rules|wider)
	}
	return trie
}

func newPrincipalMasks(rules []rule) *principalMasks {
	var m principalMasks
	for i := range rules {
		ru, bit := &rules[i], uint64(1)<<i
		switch {
		case ru.principals == nil || ru.principals.anyone && !ru.notPerson:
			m.everyone |= bit
		case ru.notPerson:
			m.excepts |= bit
		default:
			m.named |= bit
			m.sole = ru.principals
		}
	}
	if bits.OnesCount64(m.everyone) == len(rules) {
		return nil
	}
	if bits.OnesCount64(m.named) <= 1 {
		return &m
	}
	m.sole = nil
	var exact, roles, accounts []valueList
	for rest := m.named; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros64(rest)
		set, bit := rules[i].principals, uint64(1)<<i
		m.sessions = m.sessions || set.sessions
		exact = append(exact, valueList{&set.exact, bit})
		roles = append(roles, valueList{&set.roles, bit})
		accounts = append(accounts, valueList{&set.accounts, bit})
	}
	m.exact, m.roles, m.accounts = newMaskSet(exact), newMaskSet(roles), newMaskSet(accounts)
	return &m
}

// find says which rules speak for a caller, and for which of them only by way
// of his account.
func (m *principalMasks) find(p *Principal, rules []rule) (speaking, delegated uint64) {
	direct := m.everyone
	if m.sole != nil {
		switch m.sole.match(p) {
		case grantDirect:
			direct |= m.named
		case grantDelegate:
			delegated = m.named
		}
	} else {
		if m.sessions || !p.isSession() {
			direct |= m.exact.hits(p.ARN)
		}
		if p.RoleARN != "" {
			if p.RolePathUnknown {
				direct |= m.roles.hits(p.RoleARN)
			} else {
				direct |= m.exact.hits(p.RoleARN)
			}
		}
		delegated = m.accounts.hits(p.Account) &^ direct
	}
	for rest := m.excepts; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros64(rest)
		if rules[i].speaksFor(p) != grantNone {
			direct |= 1 << i
		}
	}
	return direct | delegated, delegated
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

func (n *networkMask) satisfied(r *Request) uint64 {
	if a, ok := r.addr(&n.key); ok { // an address that need not be parsed
		return n.hits(a) ^ n.flip
	}
	f := r.lookup(&n.key)
	if f.n == 0 {
		return n.absent
	}
	var hits uint64
	for i := range f.n {
		if a, ok := parseAddr(f.at(i)); ok {
			hits |= n.hits(a)
		}
	}
	return hits ^ n.flip
}

// hits: families never mix, and the zero Addr is in no network.
func (n *networkMask) hits(a netip.Addr) (rules uint64) {
	switch {
	case n.sole != nil:
		if a.IsValid() && n.sole.Contains(a) {
			rules = n.asked
		}
		return rules
	case n.trie != nil:
		if a.IsValid() {
			rules, _ = n.trie.Lookup(a)
		}
		return rules
	}
	if a.Is4() {
		v := number4(a)
		for i := range n.few4 {
			if p := &n.few4[i]; v&p.mask == p.network {
				rules |= p.rules
			}
		}
		return rules
	}
	for i := range n.few {
		if n.few[i].prefix.Contains(a) {
			rules |= n.few[i].rules
		}
	}
	return rules
}

func assign(mask, bit uint64, set bool) uint64 {
	if set {
		return mask | bit
	}
	return mask &^ bit
}
