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
	resolvers   []uint64 // the public one, of all VPCs too, and the named ones
}

// underway is a change that some place does not show.
type underway struct {
	change *zone.Change
	// clearAt is, for each resolver, the first instant at which it may be through
	// with it: its INSYNC, then the end of the last stale answer.
	clearAt []int64
	// timed: the change came while this server was running, so how long it took
	// can be told.
	timed   bool
	shown   [propagation.Authorities]bool
	cleared []bool // of the resolvers
}

func order(a *underway, c *zone.Change) int {
	return zone.Version{Change: a.change}.Compare(zone.Version{Change: c})
}

// put adds a change, or replaces it after a new attempt.
func (t *tracker) put(c *zone.Change, timed bool) {
	u := &underway{change: c, clearAt: slices.Repeat([]int64{c.Insync()}, len(t.resolvers)), cleared: make([]bool, len(t.resolvers)), timed: timed}
	i, found := slices.BinarySearchFunc(t.underway, c, order)
	if found {
		u.shown, u.cleared = t.underway[i].shown, t.underway[i].cleared
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
// under way are in. stale is resolver.Stale over all caches of a resolver. It returns the
// next instant at which something changes by itself, zone.Never if nothing will.
func (t *tracker) evaluate(set *zone.Set, at int64, stale func(resolver int, c *zone.Change, at int64) int64, programming *prometheus.HistogramVec) (next int64) {
	next = zone.Never
	authorities := [propagation.Authorities]uint64{t.index, t.index, t.index, t.index}
	resolvers := slices.Repeat([]uint64{t.index}, len(t.resolvers))
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
		// A reordered change is held on to until nothing older can show in its stead.
		last := !overtaken && (!u.change.Reordered() || len(left) == 0)
		through := last
		for r := range resolvers {
			if u.cleared[r] {
				continue
			}
			if u.clearAt[r] <= at {
				u.clearAt[r] = max(u.clearAt[r], stale(r, u.change, at))
			}
			switch {
			case u.clearAt[r] > at:
				next = min(next, u.clearAt[r])
				fallthrough
			case overtaken:
				resolvers[r] = min(resolvers[r], u.change.Index-1)
				through = false
			case last:
				u.cleared[r] = true
				u.observe(programming, "resolver", at)
			}
		}
		if through {
			continue
		}
		left = append(left, u)
	}
	clear(t.underway[len(left):])
	t.underway = left
	for a := range authorities {
		t.authorities[a] = max(t.authorities[a], authorities[a])
	}
	for r := range resolvers {
		t.resolvers[r] = max(t.resolvers[r], resolvers[r])
	}
	return next
}

func (u *underway) observe(programming *prometheus.HistogramVec, kind string, at int64) {
	if u.timed {
		programming.WithLabelValues(kind).Observe(float64(max(at-u.change.Committed, 0)) / 1e9)
	}
}
