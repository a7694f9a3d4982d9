package procs_test

import (
	"context"
	"testing"

	"github.com/posternhq/postern/test/procs"
	"github.com/posternhq/postern/test/tenant"
)

// serving watches every edge, over kept and over new connections, and the
// resolver of the VPC.
func serving(t *testing.T, c *procs.Cluster, w *tenant.Tenant) []*watcher {
	var all []*watcher
	for _, edge := range c.Edges {
		kept := w.Client(edge)
		all = append(all, watch(t, edge.ID+" over one connection", func(ctx context.Context) (uint64, error) { return w.Call(ctx, kept) }))
		all = append(all, watch(t, edge.ID+" over new connections", func(ctx context.Context) (uint64, error) {
			fresh := w.Client(edge)
			defer fresh.CloseIdleConnections()
			return w.Call(ctx, fresh)
		}))
	}
	return append(all, watch(t, "resolver", func(ctx context.Context) (uint64, error) {
		_, err := w.Resolve(ctx, c.DNS, w.Name)
		return 0, err
	}))
}

func more(t *testing.T, watchers []*watcher, n int64) {
	t.Helper()
	for _, w := range watchers {
		w.more(t, n)
	}
}

func end(t *testing.T, watchers []*watcher) {
	t.Helper()
	for _, w := range watchers {
		w.end(t)
	}
}

// TestServingWithoutControlPlane is guarantee 7: edges and DNS answer as before
// with no control plane at all, also after a crash of their own, and follow it
// again when it is back.
func TestServingWithoutControlPlane(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 2, OwnPorts: true})
	w := settle(t, c)
	watchers := serving(t, c, w)
	more(t, watchers, 20)

	if err := procs.KillAll(c.Nodes...); err != nil {
		t.Fatal(err)
	}
	more(t, watchers, 100)
	end(t, watchers)

	// Their own crash on top: what they know is on their disks.
	places := append([]*procs.Process{c.DNS}, c.Edges...)
	if err := procs.KillAll(places...); err != nil {
		t.Fatal(err)
	}
	if err := procs.StartAll(within(t, patience), places...); err != nil {
		t.Fatal(err)
	}
	watchers = serving(t, c, w)
	more(t, watchers, 50)

	if err := procs.StartAll(within(t, patience), c.Nodes...); err != nil {
		t.Fatal(err)
	}
	var version uint64
	eventually(t, "a write after the outage", func() (err error) {
		version, err = w.Touch(t.Context(), c.Nodes[1], "after")
		return err
	})
	mustWait(t, c, version)
	more(t, watchers, 10)
	end(t, watchers)
	for _, watcher := range watchers[:len(watchers)-1] {
		if newest := watcher.newest.Load(); newest < version {
			t.Errorf("%s answered by version %d after the barrier of %d", watcher.name, newest, version)
		}
	}
}

// TestServingWithPausedControlPlane: nodes that keep their connections open and
// say nothing are as good as none.
func TestServingWithPausedControlPlane(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 1, OwnPorts: true})
	w := settle(t, c)
	watchers := serving(t, c, w)
	for _, p := range c.Nodes {
		if err := p.Pause(); err != nil {
			t.Fatal(err)
		}
	}
	more(t, watchers, 100)
	for _, p := range c.Nodes {
		if err := p.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	var version uint64
	eventually(t, "a write after the pause", func() (err error) {
		version, err = w.Touch(t.Context(), c.Nodes[0], "after")
		return err
	})
	mustWait(t, c, version)
	end(t, watchers)
}
