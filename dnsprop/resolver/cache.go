package resolver

import (
	"container/list"
	"iter"
	"net/netip"
	"slices"
	"sync"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/authority"
	"github.com/posternhq/postern/dnsprop/zone"
)

// maxTypes bounds the query types cached for one name: clients ask for a
// handful, only floods for more.
const maxTypes = 8

// cache holds answers by name, the least recently used leave when it is full.
type cache struct {
	mu       sync.Mutex
	capacity int // names
	names    map[string]*list.Element
	recent   list.List // of *cached, most recently used first
	// aliases are the cached names by the names that their aliases led to.
	aliases map[string]map[string]bool
	lookups Lookups
}

// cached is what is known about a name. An NXDOMAIN answers for all types
// (RFC 2308, 5), everything else for its own.
type cached struct {
	name     string
	nxdomain *entry
	types    []typed
	failure  Failure
	targets  []string // of aliases, that it is found by
}

type typed struct {
	qtype uint16
	*entry
}

// entry is one answer with the time for which it is kept.
type entry struct {
	authority.Answer
	Span
	Type uint16     // that was asked for
	From int        // authority that said so
	By   netip.Addr // client whose query brought it here
}

func newCache(capacity int) *cache {
	return &cache{capacity: capacity, names: make(map[string]*list.Element), aliases: map[string]map[string]bool{}}
}

// lookup returns the live entry that answers a question, or else an expired
// one that may be served stale (RFC 8767); nil if there is none. An NXDOMAIN
// covers everything below its name (RFC 8020). c.mu is held. It allocates nothing.
func lookup[T string | []byte](c *cache, name T, qtype uint16, at int64) (live, stale *entry) {
	for up, ok := name, true; ok; up, ok = zone.Parent(up) {
		el := c.names[string(up)]
		if el == nil {
			continue
		}
		k := el.Value.(*cached)
		k.expire(at)
		if k.empty() {
			c.remove(el)
			continue
		}
		e := k.answer(qtype, len(up) == len(name), at)
		if e == nil {
			continue
		}
		if e.Live(at) {
			c.recent.MoveToFront(el)
			return e, nil
		}
		if stale == nil {
			// Used or not, it is asked for.
			c.recent.MoveToFront(el)
			stale = e
		}
	}
	return nil, stale
}

// failing reports whether the authorities failed for a name so lately that
// they must not be asked again yet. c.mu is held.
func (c *cache) failing(name string, at int64) bool {
	el := c.names[name]
	return el != nil && el.Value.(*cached).failure.Holds(at)
}

// fail remembers a failure. spare: there is a stale answer to give meanwhile.
// c.mu is held.
func (c *cache) fail(name string, at int64, spare bool) {
	k := c.name(name)
	k.failure = k.failure.Again(at, spare)
}

// name returns what is known about a name, made if need be. c.mu is held.
func (c *cache) name(name string) *cached {
	el := c.names[name]
	if el == nil {
		for len(c.names) >= c.capacity {
			c.remove(c.recent.Back())
		}
		el = c.recent.PushFront(&cached{name: name})
		c.names[name] = el
	}
	return el.Value.(*cached)
}

// store keeps an entry unless it expires at once. c.mu is held.
func (c *cache) store(name string, qtype uint16, e *entry) {
	if el := c.names[name]; el != nil {
		k := el.Value.(*cached)
		k.failure = Failure{}
		// What was kept to be served stale is older than this answer.
		k.nxdomain = nil
		k.drop(qtype)
		if k.empty() {
			c.remove(el)
		}
	}
	if e.Expires <= e.At {
		return
	}
	k := c.name(name)
	c.link(k, e.Aliases)
	if !e.Exists {
		// Whatever was known about types of the name is older and contradicts it.
		k.nxdomain, k.types = e, nil
		return
	}
	k.nxdomain = nil
	if len(k.types) == maxTypes {
		k.types = append(k.types[:0], k.types[1:]...)
	}
	k.types = append(k.types, typed{qtype, e})
}

// link has a name found by what its aliases led to. c.mu is held.
func (c *cache) link(k *cached, targets []string) {
	for _, t := range targets {
		if c.aliases[t] == nil {
			c.aliases[t] = map[string]bool{}
		}
		if !c.aliases[t][k.name] {
			c.aliases[t][k.name] = true
			k.targets = append(k.targets, t)
		}
	}
}

func (c *cache) remove(el *list.Element) {
	k := el.Value.(*cached)
	for _, t := range k.targets {
		if delete(c.aliases[t], k.name); len(c.aliases[t]) == 0 {
			delete(c.aliases, t)
		}
	}
	delete(c.names, k.name)
	c.recent.Remove(el)
}

// resize changes how many names there is room for.
func (c *cache) resize(capacity int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.capacity = capacity; len(c.names) > c.capacity; {
		c.remove(c.recent.Back())
	}
}

func (c *cache) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.names)
	clear(c.aliases)
	c.recent.Init()
}

func (k *cached) expire(at int64) {
	if k.nxdomain != nil && k.nxdomain.Keep <= at {
		k.nxdomain = nil
	}
	live := k.types[:0]
	for _, t := range k.types {
		if t.Keep > at {
			live = append(live, t)
		}
	}
	clear(k.types[len(live):])
	k.types = live
	if k.failure.Forgotten(at) {
		k.failure = Failure{}
	}
}

// entries are all that is known of a name.
func (k *cached) entries() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		if k.nxdomain != nil && !yield(k.nxdomain) {
			return
		}
		for _, t := range k.types {
			if !yield(t.entry) {
				return
			}
		}
	}
}

// answer is the entry that answers for a type of the name itself, or else for
// what is below it; nil if there is none, or none any more.
func (k *cached) answer(qtype uint16, itself bool, at int64) *entry {
	if e := k.nxdomain; e != nil && at < e.Keep {
		return e
	}
	if !itself {
		return nil
	}
	best := k.typed(qtype)
	switch {
	case best == nil:
	case best.Live(at):
		return best
	case at >= best.Keep:
		best = nil
	}
	// A CNAME stands for all other types (RFC 1034, 3.6.2), whichever was asked for.
	if qtype == dns.TypeCNAME || qtype == dns.TypeANY {
		return best
	}
	for _, t := range k.types {
		if t.Follow != "" && at < t.Keep && (best == nil || t.Expires > best.Expires) {
			best = t.entry
		}
	}
	return best
}

// typed is the entry of a query type, nil if there is none.
func (k *cached) typed(qtype uint16) *entry {
	for _, t := range k.types {
		if t.qtype == qtype {
			return t.entry
		}
	}
	return nil
}

func (k *cached) drop(qtype uint16) {
	k.types = slices.DeleteFunc(k.types, func(t typed) bool { return t.qtype == qtype })
}

func (k *cached) empty() bool {
	return k.nxdomain == nil && len(k.types) == 0 && k.failure == (Failure{})
}
