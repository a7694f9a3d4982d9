package publish

import (
	"context"
	"fmt"
	"time"

	"github.com/posternhq/postern/controlplane/state"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Wait returns once every registered place of the kinds (edges, dns; none: both)
// shows the index, 0 being the newest, or once it is clear that one of them
// won't: a place rejected part of it. What it returns names the places that are
// in the way. It calls progress, if not nil, with what is still blocking. An
// error means that there is no answer: ctx ended, or this node stopped leading.
func (b *Barrier) Wait(ctx context.Context, index uint64, kinds []string, progress func(*adminv1.WaitResponse)) (*adminv1.WaitResponse, error) {
	counts, err := countedKinds(kinds)
	if err != nil {
		return nil, err
	}
	election := b.leadership()
	if election == 0 {
		return nil, ErrNotLeader
	}
	v, err := b.cfg.View(ctx)
	if err != nil {
		return nil, err
	}
	if index == 0 {
		index = v.Index()
	}
	w := &waiting{b: b, election: election, index: index, counts: counts, began: time.Now()}
	w.consider(v)
	said := -1 // how many places were blocking when progress was last told
	var told time.Time
	for {
		// Both before looking, so that nothing is missed.
		stored := b.cfg.Store.Watch()
		newer := b.cfg.Store.View()
		if newer.Index() > v.Index() {
			if _, any := changedPlaces(newer, v.Index()); any {
				w.consider(newer)
			}
			v = newer
		}
		found, err := w.look(v)
		if err != nil {
			return w.response(found), err
		}
		if found.done {
			return w.response(found), nil
		}
		if progress != nil && said != len(found.blocking) {
			if since := time.Since(told); since >= progressEvery {
				progress(w.response(found))
				said, told = len(found.blocking), time.Now()
			} else {
				found.again = sooner(found.again, progressEvery-since)
			}
		}
		var alarm <-chan time.Time
		if found.again > 0 {
			alarm = time.After(found.again)
		}
		select {
		case <-found.changed:
		case <-stored:
		case <-alarm:
		case <-ctx.Done():
			return w.response(found), ctx.Err()
		}
	}
}

func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b < a {
		return b
	}
	return a
}

// countedKinds turns the names of a wait into kinds of places.
func countedKinds(names []string) (map[string]bool, error) {
	kinds := map[string]bool{}
	for _, name := range names {
		switch name {
		case "edge", "edges":
			kinds["edge"] = true
		case "dns":
			kinds["authority"], kinds["resolver"] = true, true
		default:
			return nil, fmt.Errorf("unknown kind of places %q: edges or dns", name)
		}
	}
	if len(kinds) == 0 {
		kinds["edge"], kinds["authority"], kinds["resolver"] = true, true, true
	}
	return kinds, nil
}

// waiting is one Wait. Acknowledgements only grow, so a place that has shown the
// version is not looked at again until the set of places changes.
type waiting struct {
	b        *Barrier
	election uint64
	index    uint64
	counts   map[string]bool
	began    time.Time

	total int
	open  []*statev1.Place // that have not shown the version when last looked at
}

// consider starts over with the places of a View.
func (w *waiting) consider(v *state.View) {
	w.total, w.open = 0, w.open[:0]
	for r := range v.All(statev1.Type_TYPE_PLACE) {
		if w.counts[r.GetPlace().GetKind()] {
			w.open = append(w.open, r.GetPlace())
		}
	}
	w.total = len(w.open)
}

// finding is what one look at the open places found.
type finding struct {
	done, reached bool
	blocking      []*statev1.Place // those in the way
	changed       <-chan struct{}  // closed at the next change
	again         time.Duration    // after which time alone may bring one; 0: never
}

// look judges the places that are open.
func (w *waiting) look(v *state.View) (finding, error) {
	b := w.b
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	f := finding{changed: b.changed}
	if !b.holds(w.election) {
		return f, ErrNotLeader
	}
	var rejecting []*statev1.Place
	open := w.open[:0]
	for _, p := range w.open {
		verdict, left := b.judge(p, w.index, now)
		switch verdict {
		case shows:
			continue
		case denies:
			// It may come back, with another version, as long as we wait.
		case blocks:
			f.blocking = append(f.blocking, p)
			if left > 0 {
				f.again = sooner(f.again, left)
			}
		case rejects:
			rejecting = append(rejecting, p)
		}
		open = append(open, p)
	}
	w.open = open
	switch {
	case len(rejecting) > 0:
		f.done, f.blocking = true, rejecting
	case len(f.blocking) == 0 && v.Index() >= w.index:
		// Nobody can show, nor deny for the sake of, a version that does not exist.
		f.done, f.reached = true, true
	}
	return f, nil
}

// response puts a finding in words.
func (w *waiting) response(f finding) *adminv1.WaitResponse {
	now := time.Now()
	resp := &adminv1.WaitResponse{
		Index: w.index, Reached: f.reached, Done: f.done, Total: uint32(w.total), WaitedMs: now.Sub(w.began).Milliseconds(),
	}
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	for _, p := range f.blocking {
		resp.Blocking = append(resp.Blocking, w.b.describe(p, now))
	}
	return resp
}
