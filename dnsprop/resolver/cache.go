package resolver

import (
	"container/list"
	"sync"

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
}

// cached is what is known about a name. An NXDOMAIN answers for all types
// (RFC 2308, 5), everything else for its own.
type cached struct {
	name     string
	nxdomain *entry
	types    []typed
}

type typed struct {
	qtype uint16
	*entry
}

// entry is one answer with the instant at which it must be forgotten.
type entry struct {
	authority.Answer
	From    int   // authority that said so
	At      int64 // when
	Expires int64
}

func newCache(capacity int) *cache {
	return &cache{capacity: capacity, names: make(map[string]*list.Element)}
}

// lookup returns the live entry that answers a question, nil if there is none.
// An NXDOMAIN covers everything below its name (RFC 8020). c.mu is held.
func (c *cache) lookup(name string, qtype uint16, at int64) *entry {
	for up, ok := name, true; ok; up, ok = zone.Parent(up) {
		el := c.names[up]
		if el == nil {
			continue
		}
		k := el.Value.(*cached)
		k.expire(at)
		if k.empty() {
			c.remove(el)
			continue
		}
		if k.nxdomain != nil {
			c.recent.MoveToFront(el)
			return k.nxdomain
		}
		if up != name {
			continue
		}
		for _, t := range k.types {
			if t.qtype == qtype {
				c.recent.MoveToFront(el)
				return t.entry
			}
		}
	}
	return nil
}

// store keeps an entry unless it expires at once. c.mu is held.
func (c *cache) store(name string, qtype uint16, e *entry) {
	if e.Expires <= e.At {
		return
	}
	el := c.names[name]
	if el == nil {
		for len(c.names) >= c.capacity {
			c.remove(c.recent.Back())
		}
		el = c.recent.PushFront(&cached{name: name})
		c.names[name] = el
	}
	k := el.Value.(*cached)
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

func (c *cache) remove(el *list.Element) {
	delete(c.names, el.Value.(*cached).name)
	c.recent.Remove(el)
}

// stale returns the last instant at which the cache may still answer for a
// name by something older than a version; 0 if it can't.
func (c *cache) stale(name string, than zone.Version, at int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	var last int64
	older := func(e *entry) {
		if e != nil && e.Expires > at && e.Version.Compare(than) < 0 {
			last = max(last, e.Expires)
		}
	}
	for up, ok := name, true; ok; up, ok = zone.Parent(up) {
		el := c.names[up]
		if el == nil {
			continue
		}
		k := el.Value.(*cached)
		if up == name {
			older(k.nxdomain)
			for _, t := range k.types {
				older(t.entry)
			}
		} else if e := k.nxdomain; e != nil && e.Expires > at && e.At < than.Change.Insync() {
			// An ancestor's version does not compare with the name's own: its
			// age decides.
			last = max(last, e.Expires)
		}
	}
	return last
}

func (c *cache) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.names)
	c.recent.Init()
}

func (k *cached) expire(at int64) {
	if k.nxdomain != nil && k.nxdomain.Expires <= at {
		k.nxdomain = nil
	}
	live := k.types[:0]
	for _, t := range k.types {
		if t.Expires > at {
			live = append(live, t)
		}
	}
	clear(k.types[len(live):])
	k.types = live
}

func (k *cached) empty() bool { return k.nxdomain == nil && len(k.types) == 0 }
