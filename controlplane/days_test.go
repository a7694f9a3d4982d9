package controlplane

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posternhq/postern/controlplane/cluster"
	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/controlplane/snapshot"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/internal/pki"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// The day is written only where a key is in need of it, and goes back only from
// what can't have been a clock a little ahead.
func TestDayTxn(t *testing.T) {
	const today, second = 20_000, 24 * 60 * 60
	key := &statev1.Record{Key: identity.AccessKeyKey("AKIA1").Proto(), Value: &statev1.Record_AccessKey{AccessKey: &statev1.AccessKey{CreatedAt: today*second + 7}}}
	session := &statev1.Record{Key: identity.SessionKey("ASIA1").Proto(), Value: &statev1.Record_Session{Session: &statev1.Session{CreatedAt: today*second - 1}}}
	day := func(n int64) *statev1.Record {
		return &statev1.Record{Key: snapshot.SigningDayKey().Proto(), Value: &statev1.Record_SigningDay{SigningDay: &statev1.SigningDay{Day: n}}}
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
		if got := store.View().Get(snapshot.SigningDayKey()).GetSigningDay().GetDay(); got != today || dayTxn(store.View(), today) != nil {
			t.Errorf("%s: the day is %d", name, got)
		}
	}
}

// A node that leads writes the day, so that keys made before it go on.
func TestLeaderWritesTheDay(t *testing.T) {
	ca, err := pki.LoadOrCreateCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	id, err := ca.Identity(pki.RoleServer, "n1")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	listen := func(address string) net.Listener {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	// lead runs the node while it leads, until a View is as wanted.
	address := "127.0.0.1:0"
	lead := func(do func(ctx context.Context, s *Server), wanted func(*state.View) bool) {
		t.Helper()
		own := listen(address)
		address = own.Addr().String()
		s, err := New(Config{
			ID: "n1", Dir: dir, CA: ca, Identity: id, GRPC: own, API: listen("127.0.0.1:0"), Auth: "none",
			Bootstrap: []cluster.Server{{ID: "n1", Address: address}},
			Logger:    slog.New(slog.NewTextHandler(t.Output(), nil)), Registerer: prometheus.NewRegistry(),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		do(ctx, s)
		for {
			changed := s.Node().Store().Watch()
			if wanted(s.Node().Store().View()) {
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				t.Fatal("the state is not as wanted")
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	key := identity.AccessKeyKey("AKIA1")
	lead(func(ctx context.Context, s *Server) {
		if _, err := s.Node().ReadView(ctx); err != nil { // it leads
			t.Fatal(err)
		}
		old := &statev1.AccessKey{Id: "AKIA1", Account: "123456789012", CreatedAt: time.Now().Add(-48 * time.Hour).Unix()}
		if _, err := s.Node().Propose(ctx, &statev1.Txn{Puts: []*statev1.Record{{Key: key.Proto(), Value: &statev1.Record_AccessKey{AccessKey: old}}}}); err != nil {
			t.Fatal(err)
		}
	}, func(v *state.View) bool { return v.Get(key) != nil })
	before := snapshot.DayOf(time.Now())
	lead(func(context.Context, *Server) {}, func(v *state.View) bool {
		day := v.Get(snapshot.SigningDayKey()).GetSigningDay().GetDay()
		return day >= before && day <= snapshot.DayOf(time.Now())
	})
}
