package controlplane

import (
	"context"
	"time"

	"github.com/posternhq/postern/controlplane/snapshot"
	"github.com/posternhq/postern/controlplane/state"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// dayEvery is how often a leader looks what day it is. It need not be often:
// edges have the keys of the next days.
const dayEvery = time.Minute

// days writes the day that signing keys are made around while this node leads:
// a version like any other, so that edges change at an index and not at
// midnight by their own clocks.
func (s *Server) days(ctx context.Context) error {
	for {
		changed := s.node.LeadershipChanged()
		if s.node.IsLeader() {
			s.writeDay(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-time.After(dayEvery):
		}
	}
}

// writeDay writes today, if there are access keys that know of an earlier day
// only. A key that was made today needs no record.
func (s *Server) writeDay(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, dayEvery)
	defer cancel()
	v, err := s.node.ReadView(ctx)
	if err != nil {
		return // no longer the leader, or not for long: the next round
	}
	txn := dayTxn(v, snapshot.DayOf(time.Now()))
	if txn == nil {
		return
	}
	if _, err := s.node.Propose(ctx, txn); err != nil {
		s.cfg.Logger.Info("the day is not written yet", "component", "days", "node", s.cfg.ID, "error", err)
	}
}

// dayTxn moves the day on, nil if nobody needs that. It goes back from what a
// leader with a wrong clock wrote, but not from what one wrote a little earlier.
func dayTxn(v *state.View, today int64) *statev1.Txn {
	r := v.Get(snapshot.SigningDayKey())
	switch day := r.GetSigningDay().GetDay(); {
	case day == today, day == today+1, day < today && !madeBefore(v, today):
		return nil
	}
	key := snapshot.SigningDayKey().Proto()
	return &statev1.Txn{
		Guards: []*statev1.Guard{{Key: key, ModifyIndex: r.GetModifyIndex()}},
		Puts:   []*statev1.Record{{Key: key, Value: &statev1.Record_SigningDay{SigningDay: &statev1.SigningDay{Day: today}}}},
	}
}

// madeBefore reports whether there is an access key, long-term or not, from
// before a day.
func madeBefore(v *state.View, day int64) bool {
	for r := range v.All(statev1.Type_TYPE_ACCESS_KEY) {
		if snapshot.DayOf(time.Unix(r.GetAccessKey().GetCreatedAt(), 0)) < day {
			return true
		}
	}
	for r := range v.All(statev1.Type_TYPE_SESSION) {
		if snapshot.DayOf(time.Unix(r.GetSession().GetCreatedAt(), 0)) < day {
			return true
		}
	}
	return false
}
