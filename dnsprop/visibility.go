package dnsprop

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/zone"
)

// tracker computes the versions of the places: the index of the snapshot, held
// below the first change that a place does not show yet.
//
// What has once shown stays shown, and a cache that is rid of what is older
// than an INSYNC change cannot get it back; so a change leaves the tracker for
// good, and what an evaluation costs follows the changes under way. A reordered
// change, in whose stead an older one can show, leaves after all older ones.
type tracker struct {
	index       uint64
	underway    []*underway // by (index, id) of the change
	authorities [propagation.Authorities]uint64
	resolver    uint64
}

// underway is a change that some place does not show.
type underway struct {
	change *zone.Change
	// clearAt is the first instant at which the resolver may be through with it:
	// its INSYNC, then the end of the last stale answer.
	clearAt int64
	// timed: the change came while this server was running, so how long it took
	// can be told.
	timed bool
	shown [propagation.Authorities]bool
}

func order(a *underway, c *zone.Change) int {
	return zone.Version{Change: a.change}.Compare(zone.Version{Change: c})
}

// put adds a change, or replaces it after a new attempt.
func (t *tracker) put(c *zone.Change, timed bool) {
	u := &underway{change: c, clearAt: c.Insync(), timed: timed}
	i, found := slices.BinarySearchFunc(t.underway, c, order)
	if found {
		u.shown = t.underway[i].shown
		t.underway[i] = u
		return
	}
	t.underway = slices.Insert(t.underway, i, u)
}

func (t *tracker) remove(c *zone.Change) {
	if i, found := slices.BinarySearchFunc(t.underway, c, order); found {
		t.underway = slices.Delete(t.underway, i, i+1)
	}
}

// evaluate brings the versions up to an instant of a Set, which the changes
// under way are in. stale is resolver.Stale over all resolvers. It returns the
// next instant at which something changes by itself, zone.Never if nothing will.
func (t *tracker) evaluate(set *zone.Set, at int64, stale func(c *zone.Change, at int64) int64, programming *prometheus.HistogramVec) (next int64) {
	next = zone.Never
	authorities := [propagation.Authorities]uint64{t.index, t.index, t.index, t.index}
	resolver := t.index
	left := t.underway[:0]
	for _, u := range t.underway {
		overtaken := false
		for a := range authorities {
			if shownAt := u.change.ShownAt(a); shownAt > at {
				authorities[a] = min(authorities[a], u.change.Index-1)
				next = min(next, shownAt)
				continue
			} else if !u.shown[a] {
				u.shown[a] = true
				u.observe(programming, "authority", shownAt)
			}
			if settledAt := u.change.SettledAt(a); settledAt > at && !set.Shows(u.change, a, at) {
				overtaken = true
				authorities[a] = min(authorities[a], u.change.Index-1)
				next = min(next, settledAt)
			}
		}
		if u.clearAt <= at {
			if last := stale(u.change, at); last > at {
				u.clearAt = last
			}
		}
		switch {
		case overtaken:
			resolver = min(resolver, u.change.Index-1)
		case u.clearAt > at:
			resolver = min(resolver, u.change.Index-1)
			next = min(next, u.clearAt)
		case !u.change.Reordered() || len(left) == 0:
			u.observe(programming, "resolver", at)
			continue
		}
		left = append(left, u)
	}
	clear(t.underway[len(left):])
	t.underway = left
	for a := range authorities {
		t.authorities[a] = max(t.authorities[a], authorities[a])
	}
	t.resolver = max(t.resolver, resolver)
	return next
}

func (u *underway) observe(programming *prometheus.HistogramVec, kind string, at int64) {
	if u.timed {
		programming.WithLabelValues(kind).Observe(float64(max(at-u.change.Committed, 0)) / 1e9)
	}
}
