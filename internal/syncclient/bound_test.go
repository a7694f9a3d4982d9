package syncclient

import (
	"testing"
	"time"

	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// A place that is started with a longer staleness bound, or none, serves nothing
// of its cache before the cluster knows: until then the barrier takes it for one
// that denies once the old bound is over.
func TestLongerBoundIsRegisteredBeforeTheCacheServes(t *testing.T) {
	dir := t.TempDir()
	o := newOrigin()
	o.change(map[string]string{"a": "1"})
	full := o.full()
	server := serve(t, func(_ *syncv1.Hello, s syncv1.EdgeSync_SubscribeServer) error {
		_ = s.Send(snapshotOf(full))
		<-s.Context().Done()
		return nil
	})
	asked := make(chan struct{}, 1)
	nobody := serve(t, func(_ *syncv1.Hello, s syncv1.EdgeSync_SubscribeServer) error {
		asked <- struct{}{}
		<-s.Context().Done()
		return nil
	})
	// started says what is installed at the start: 1 from the cache, 0 nothing.
	started := func(bound time.Duration, server string) uint64 {
		t.Helper()
		m := &mirror{}
		c := newClient(t, dir, m)
		c.cfg.Places = []Place{{ID: "e1", Kind: "edge", MaxStaleness: bound}}
		if err := c.restore(); err != nil {
			t.Fatal(err)
		}
		index := c.Index()
		if c.cache != nil {
			_ = c.cache.close()
		}
		if server == "" {
			return index
		}
		_, updates, _ := follow(t, func(cfg *Config) { cfg.Dir, cfg.Seal, cfg.Places = dir, testSeal{"k1"}, c.cfg.Places }, server)
		if server == nobody {
			<-asked
		} else {
			<-updates
		}
		return index
	}
	for _, step := range []struct {
		name   string
		bound  time.Duration
		server string
		want   uint64
	}{
		{"first start", 5 * time.Second, server, 0},
		{"the same bound", 5 * time.Second, "", 1},
		{"a shorter one", time.Second, "", 1},
		{"a longer one", time.Minute, "", 0},
		{"none", 0, "", 0},
		{"none, and nobody answers", 0, nobody, 0},
		{"none, still unknown", 0, "", 0},
		{"the first one again", 5 * time.Second, "", 1},
		{"none, registered", 0, server, 0},
		{"none, known", 0, "", 1},
	} {
		if got := started(step.bound, step.server); got != step.want {
			t.Errorf("%s: starts with version %d, not %d", step.name, got, step.want)
		}
	}
}
