package service

import (
	"context"
	"time"

	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/controlplane/state"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// WriteSigningDay writes which day it is, if there are access keys that know of
// an earlier one only; a key that was made today needs no record. It is for the
// node that leads, which does so by itself.
func WriteSigningDay(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	_, err := update(ctx, cfg, func(v *state.View) (*statev1.Txn, error) {
		return dayTxn(v, identity.DayOf(cfg.Now())), nil
	})
	return err
}

// dayTxn moves the day on, nil if nobody needs that. It goes back from what a
// leader with a wrong clock wrote, but not from what one wrote a little earlier.
func dayTxn(v *state.View, today int64) *statev1.Txn {
	r := v.Get(identity.SigningDayKey())
	switch day := r.GetSigningDay().GetDay(); {
	case day == today, day == today+1, day < today && !madeBefore(v, today):
		return nil
	}
	key := identity.SigningDayKey().Proto()
	return &statev1.Txn{
		Guards: []*statev1.Guard{{Key: key, ModifyIndex: r.GetModifyIndex()}},
		Puts:   []*statev1.Record{{Key: key, Value: &statev1.Record_SigningDay{SigningDay: &statev1.SigningDay{Day: today}}}},
	}
}

// madeBefore reports whether there is an access key, long-term or not, from
// before a day.
func madeBefore(v *state.View, day int64) bool {
	for r := range v.All(statev1.Type_TYPE_ACCESS_KEY) {
		if identity.DayOf(time.Unix(r.GetAccessKey().GetCreatedAt(), 0)) < day {
			return true
		}
	}
	for r := range v.All(statev1.Type_TYPE_SESSION) {
		if identity.DayOf(time.Unix(r.GetSession().GetCreatedAt(), 0)) < day {
			return true
		}
	}
	return false
}
