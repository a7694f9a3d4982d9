package dnsprop

import (
	"time"

	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/zone"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
)

// maxFollowed bounds the changes of one question for progress.
const maxFollowed = 32

// Progress says how far each place is with changes: when it shows them, and until
// when a cache may answer by what is older. Of many, it takes the first 32.
func (s *Server) Progress(q *dnsv1.ProgressQuestion) *dnsv1.Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.zones.Load()
	at := set.At(s.cfg.Now())
	out := &dnsv1.Progress{Now: at, Index: s.tracker.index}
	places := s.places()
	for _, id := range q.GetChanges()[:min(len(q.GetChanges()), maxFollowed)] {
		progress := &dnsv1.ChangeProgress{Change: id}
		out.Changes = append(out.Changes, progress)
		c := s.changes[id]
		if c == nil {
			continue
		}
		for i := range places {
			p := &places[i]
			if len(progress.Places) == maxPlaces || p.resolver != nil && !p.resolver.Sees(c) {
				continue
			}
			step := &dnsv1.PlaceProgress{Place: p.id, Kind: p.kind()}
			step.State, step.Until = p.progress(set, c, at)
			if wall, ok := set.Clock.Wall(time.Unix(0, step.Until)); ok && step.Until != 0 {
				step.UntilWall = wall.UnixNano()
			}
			progress.Places = append(progress.Places, step)
		}
	}
	return out
}

// progress is how far a place is with a change, and when the next step is; 0: never.
func (p *place) progress(set *zone.Set, c *zone.Change, at int64) (dnsv1.ProgressState, int64) {
	state, until := dnsv1.ProgressState_PROGRESS_STATE_DONE, int64(0)
	if p.authority != nil {
		return shown(set, c, p.number, at)
	}
	// As it is with the slowest of those that it may ask.
	for a := range propagation.Authorities {
		if worse, when := shown(set, c, a, at); worse != dnsv1.ProgressState_PROGRESS_STATE_DONE && rank(worse, when) >= rank(state, until) {
			state, until = worse, when
		}
	}
	if stale := p.resolver.StaleIn(p.az, c, at); state == dnsv1.ProgressState_PROGRESS_STATE_DONE && stale > at {
		return dnsv1.ProgressState_PROGRESS_STATE_STALE, stale
	}
	return state, until
}

// rank orders what is not done by how long it lasts.
func rank(state dnsv1.ProgressState, until int64) int64 {
	switch {
	case state == dnsv1.ProgressState_PROGRESS_STATE_DONE:
		return 0
	case until == 0:
		return zone.Never
	}
	return until
}

// shown is how far an authority is.
func shown(set *zone.Set, c *zone.Change, authority int, at int64) (dnsv1.ProgressState, int64) {
	switch shownAt, settledAt := c.ShownAt(authority), c.SettledAt(authority); {
	case shownAt == zone.Never:
		return dnsv1.ProgressState_PROGRESS_STATE_LOST, 0
	case shownAt > at:
		return dnsv1.ProgressState_PROGRESS_STATE_WAITING, shownAt
	case settledAt > at && !set.Shows(c, authority, at):
		if settledAt == zone.Never {
			settledAt = 0
		}
		return dnsv1.ProgressState_PROGRESS_STATE_OVERTAKEN, settledAt
	}
	return dnsv1.ProgressState_PROGRESS_STATE_DONE, 0
}
