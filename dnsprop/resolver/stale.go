package resolver

import (
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/rdata"
	"github.com/posternhq/postern/dnsprop/zone"
)

// stale returns until when the cache may still answer for a set by something
// older than a version; 0 if it can't. A live entry may until it expires. One
// that is kept to be served stale may until it is replaced, which any query can
// bring about: the instant is then when to look again.
//
// Where an answer is not by the set's own history alone, versions don't compare,
// and an answer's age decides: it is older if it was given before the change was
// everywhere.
func (c *cache) stale(than zone.Version, at int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := than.Change.Records[than.Ordinal]
	hosted := than.Change.Zone != zone.Ref{}
	var last int64
	for up, ok := r.Name, true; ok; up, ok = zone.Parent(up) {
		el := c.names[up]
		if el == nil {
			continue
		}
		k := el.Value.(*cached)
		for e := range k.entries() {
			switch {
			case up != r.Name:
				// Something below makes a name exist, or keeps a wildcard from it.
				if !e.Exists || hosted && (!e.Others || e.Wildcard != "") {
					last = max(last, e.aged(than, at))
				}
			case !hosted || e.Type == r.Type:
				last = max(last, e.older(than, at))
			case !e.Exists, e.Follow != "", e.Wildcard != "", e.Inferred && r.Type == dns.TypeCNAME, e.RRset.Empty() && !r.Exists:
				last = max(last, e.aged(than, at))
			}
		}
	}
	if hosted {
		last = max(last, c.staleBelow(r, than, at))
	}
	return max(last, c.aliased(r.Name, than, at))
}

// staleBelow is stale for the names whose answers a set decides though it is
// another's: a wildcard, a delegation, the beginning or end of a zone, and what
// exists between a wildcard and a name. It looks at every name, but only once a
// change is everywhere. c.mu is held.
func (c *cache) staleBelow(r zone.Record, than zone.Version, at int64) (last int64) {
	apex, wild := strings.CutPrefix(r.Name, "*.")
	all := wild || r.Type == dns.TypeNS || r.Type == dns.TypeSOA
	// The highest name that may exist because of this one.
	top := r.Name
	for up := top; up != than.Change.Zone.Apex; up, _ = zone.Parent(up) {
		top = up
	}
	for name, el := range c.names {
		covered := all && rdata.Within(name, apex)
		for e := range el.Value.(*cached).entries() {
			above, _ := strings.CutPrefix(e.Wildcard, "*.")
			if covered || above != "" && rdata.Within(r.Name, above) || e.Shadowed && rdata.Within(name, top) ||
				slices.ContainsFunc(e.Aliases, func(t string) bool { return all && rdata.Within(t, apex) || rdata.Within(t, top) }) {
				last = max(last, e.aged(than, at))
			}
		}
	}
	return last
}

// staleAliases is stale for what leads to the set by an alias from elsewhere.
func (c *cache) staleAliases(than zone.Version, at int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.aliased(than.Change.Records[than.Ordinal].Name, than, at)
}

// aliased is until when an alias may answer by what its target had before a
// version. c.mu is held.
func (c *cache) aliased(target string, than zone.Version, at int64) (last int64) {
	for name := range c.aliases[target] {
		if el := c.names[name]; el != nil {
			for e := range el.Value.(*cached).entries() {
				if len(e.Aliases) > 0 {
					last = max(last, e.aged(than, at))
				}
			}
		}
	}
	return last
}

// older is until when an entry may answer, if it is by an older version of the
// same set.
func (e *entry) older(than zone.Version, at int64) int64 {
	if e == nil || e.Version.Compare(than) >= 0 {
		return 0
	}
	return e.until(at)
}

// aged is older for an entry whose version does not compare.
func (e *entry) aged(than zone.Version, at int64) int64 {
	if e == nil || e.At >= than.Change.Insync() {
		return 0
	}
	return e.until(at)
}

func (e *entry) until(at int64) int64 {
	switch {
	case e.Keep <= at:
		return 0
	case e.Live(at):
		return e.Expires
	}
	return min(e.Keep, at+int64(failureRecheck))
}
