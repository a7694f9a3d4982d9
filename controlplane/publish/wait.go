package publish

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

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
	var told time.Time
	var last *adminv1.WaitResponse
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
		resp, changed, again, err := w.look(v)
		if err != nil {
			return resp, err
		}
		if resp.GetDone() {
			return resp, nil
		}
		now := time.Now()
		if progress != nil && !proto.Equal(shape(last), shape(resp)) {
			if since := now.Sub(told); since >= progressEvery {
				progress(resp)
				told, last = now, resp
			} else {
				again = sooner(again, progressEvery-since)
			}
		}
		var alarm <-chan time.Time
		var timer *time.Timer
		if again > 0 {
			timer = time.NewTimer(again)
			alarm = timer.C
		}
		select {
		case <-changed:
		case <-stored:
		case <-alarm:
		case <-ctx.Done():
			resp.WaitedMs = time.Since(w.began).Milliseconds()
			return resp, ctx.Err()
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// shape is a response without what changes all the time.
func shape(r *adminv1.WaitResponse) *adminv1.WaitResponse {
	if r == nil {
		return nil
	}
	s := proto.CloneOf(r)
	s.WaitedMs = 0
	for _, p := range s.GetBlocking() {
		p.Reason, p.LastContactMs, p.Version = "", 0, 0
	}
	return s
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

// look judges the places that are open. changed is closed at the next change,
// again is after how long time alone may bring one.
func (w *waiting) look(v *state.View) (resp *adminv1.WaitResponse, changed <-chan struct{}, again time.Duration, err error) {
	b := w.b
	now := time.Now()
	resp = &adminv1.WaitResponse{Index: w.index, Total: uint32(w.total), WaitedMs: now.Sub(w.began).Milliseconds()}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.holds(w.election) {
		return resp, nil, 0, ErrNotLeader
	}
	var rejecting []*adminv1.Place
	var open []*statev1.Place
	for _, p := range w.open {
		verdict, left := b.judge(p, w.index, now)
		switch verdict {
		case shows:
			continue
		case denies:
			// It may come back, with another version, as long as we wait.
		case blocks:
			resp.Blocking = append(resp.Blocking, b.describe(p, now))
			if left > 0 {
				again = sooner(again, left)
			}
		case rejects:
			place := b.describe(p, now)
			resp.Blocking = append(resp.Blocking, place)
			rejecting = append(rejecting, place)
		}
		open = append(open, p)
	}
	w.open = open
	switch {
	case len(rejecting) > 0:
		resp.Done, resp.Blocking = true, rejecting
	case len(resp.GetBlocking()) == 0 && v.Index() >= w.index:
		// Nobody can show, nor deny for the sake of, a version that does not exist.
		resp.Done, resp.Reached = true, true
	}
	return resp, b.changed, again, nil
}
