package policy

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

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
