package service

import (
	"testing"

	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/controlplane/state"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// The day is written only where a key is in need of it, and goes back only from
// what can't have been a clock a little ahead.
func TestDayTxn(t *testing.T) {
	const today, second = 20_000, 24 * 60 * 60
	key := &statev1.Record{Key: identity.AccessKeyKey("AKIA1").Proto(), Value: &statev1.Record_AccessKey{AccessKey: &statev1.AccessKey{CreatedAt: today*second + 7}}}
	session := &statev1.Record{Key: identity.SessionKey("ASIA1").Proto(), Value: &statev1.Record_Session{Session: &statev1.Session{CreatedAt: today*second - 1}}}
	day := func(n int64) *statev1.Record {
		return &statev1.Record{Key: identity.SigningDayKey().Proto(), Value: &statev1.Record_SigningDay{SigningDay: &statev1.SigningDay{Day: n}}}
	}
	for name, tt := range map[string]struct {
		records []*statev1.Record
		writes  bool
	}{
		"no keys":                    {nil, false},
		"a key of today":             {[]*statev1.Record{key}, false},
		"a session of yesterday":     {[]*statev1.Record{key, session}, true},
		"written today":              {[]*statev1.Record{session, day(today)}, false},
		"written yesterday":          {[]*statev1.Record{session, day(today - 1)}, true},
		"yesterday, all keys newer":  {[]*statev1.Record{key, day(today - 1)}, false},
		"a leader's clock was ahead": {[]*statev1.Record{session, day(today + 1)}, false},
		"a leader's clock was wrong": {[]*statev1.Record{key, day(today + 1000)}, true},
	} {
		store := state.New()
		store.Apply(1, []*statev1.Txn{{Puts: tt.records}})
		txn := dayTxn(store.View(), today)
		if (txn != nil) != tt.writes {
			t.Errorf("%s: %v", name, txn)
			continue
		}
		if txn == nil {
			continue
		}
		if r := store.Apply(2, []*statev1.Txn{txn}); r[0].Refused != nil {
			t.Errorf("%s: refused: %v", name, r[0].Refused)
		}
		if got := store.View().Get(identity.SigningDayKey()).GetSigningDay().GetDay(); got != today || dayTxn(store.View(), today) != nil {
			t.Errorf("%s: the day is %d", name, got)
		}
	}
}
