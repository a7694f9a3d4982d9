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
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/internal/pki"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

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
	before := identity.DayOf(time.Now())
	lead(func(context.Context, *Server) {}, func(v *state.View) bool {
		day := v.Get(identity.SigningDayKey()).GetSigningDay().GetDay()
		if day == 0 {
			return false
		}
		if day < before || day > identity.DayOf(time.Now()) {
			t.Errorf("the day is %d", day)
		}
		written := ""
		for r := range v.All(statev1.Type_TYPE_AUDIT_EVENT) {
			written = r.GetAuditEvent().GetPrincipal()
		}
		if written != "spiffe://postern/server/n1" {
			t.Errorf("by the audit it was written by %q", written)
		}
		return true
	})
}
