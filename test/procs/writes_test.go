package procs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/posternhq/postern/test/procs"
	"github.com/posternhq/postern/test/tenant"
)

// writers create APIs, each its own names, over all nodes in turn, and remember
// what was acknowledged.
type writers struct {
	c     *procs.Cluster
	stop  context.CancelFunc
	group errgroup.Group
	// avoided is a node that clients know to hang.
	avoided atomic.Pointer[procs.Process]

	mu     sync.Mutex
	acked  map[string]string // id to name
	newest uint64
	last   time.Time // of the last acknowledgement
	count  atomic.Int64
}

func write(t *testing.T, c *procs.Cluster, n int) *writers {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	w := &writers{c: c, stop: cancel, acked: map[string]string{}}
	nodes := slices.Clone(c.Nodes) // Joining may replace one meanwhile
	for i := range n {
		w.group.Go(func() error {
			for serial := 0; ctx.Err() == nil; serial++ {
				node := nodes[(i+serial)%len(nodes)]
				if node == w.avoided.Load() {
					continue
				}
				if err := w.one(ctx, node, fmt.Sprintf("w%d-%d", i, serial)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return w
}

// one makes one attempt. What fails is not tried again: it may or may not have
// taken effect, and only what was acknowledged is promised.
func (w *writers) one(ctx context.Context, p *procs.Process, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	began := time.Now()
	var made struct{ ID string }
	version, err := aws(ctx, p, "POST", "/restapis", map[string]any{"name": name}, &made)
	var refused *tenant.Error
	switch {
	case errors.As(err, &refused) && refused.Status/100 == 4 && refused.Status != http.StatusTooManyRequests && refused.Status != http.StatusConflict:
		return fmt.Errorf("create %s at %s: %w", name, p.ID, err)
	case err != nil:
		// The node is down, or there is no leader just now.
		select {
		case <-ctx.Done():
		case <-time.After(pollEvery):
		}
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acked[made.ID] = name
	w.newest = max(w.newest, version)
	w.last = began
	w.count.Add(1)
	return nil
}

// more waits for n more acknowledgements and returns how long that took.
func (w *writers) more(t *testing.T, n int64) time.Duration {
	t.Helper()
	began, goal := time.Now(), w.count.Load()+n
	eventually(t, "writes", func() error {
		if done := w.count.Load(); done < goal {
			return fmt.Errorf("%d of %d", done, goal)
		}
		return nil
	})
	return time.Since(began)
}

// after returns when a write that began after an instant had been acknowledged.
func (w *writers) after(t *testing.T, instant time.Time) time.Duration {
	t.Helper()
	eventually(t, "a write after the fault", func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.last.After(instant) {
			return errors.New("none yet")
		}
		return nil
	})
	return time.Since(instant)
}

func (w *writers) end(t *testing.T) (acked map[string]string, newest uint64) {
	t.Helper()
	w.stop()
	if err := w.group.Wait(); err != nil {
		t.Error(err)
	}
	return w.acked, w.newest
}

// listing returns every API that one node has, in at least this version. The
// node answers from its own replica.
func listing(ctx context.Context, p *procs.Process, version uint64) (map[string]string, error) {
	all := map[string]string{}
	position := ""
	for {
		var page struct {
			Item     []struct{ ID, Name string }
			Position string
		}
		query := url.Values{"limit": {"500"}}
		if position != "" {
			query.Set("position", position)
		}
		if err := stale(ctx, p, "/restapis?"+query.Encode(), version, &page); err != nil {
			return nil, err
		}
		for _, item := range page.Item {
			all[item.ID] = item.Name
		}
		if position = page.Position; position == "" {
			return all, nil
		}
	}
}

// stale reads a node's own replica, once that has reached a version.
func stale(ctx context.Context, p *procs.Process, path string, version uint64, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.API+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("x-postern-consistency", "stale")
	req.Header.Set("x-postern-min-index", strconv.FormatUint(version, 10))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s at %s: %s", path, p.ID, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// checkReplicas checks that every node has all that was acknowledged, and that
// all nodes have the same.
func checkReplicas(t *testing.T, c *procs.Cluster, acked map[string]string, newest uint64) {
	t.Helper()
	ctx := within(t, patience)
	eventually(t, "a write at the end", func() error {
		version, err := aws(ctx, c.Nodes[0], "POST", "/restapis", map[string]any{"name": "the last one"}, nil)
		newest = max(newest, version)
		return err
	})
	// What was under way when the writers ended may still be committed, between
	// one listing and the next, but not for ever.
	lists := make([]map[string]string, len(c.Nodes))
	eventually(t, "all nodes list the same", func() error {
		for i, p := range c.Nodes {
			var err error
			if lists[i], err = listing(ctx, p, newest); err != nil {
				return err
			}
			if !maps.Equal(lists[0], lists[i]) {
				return fmt.Errorf("%s has %d APIs, %s has %d, not the same ones", p.ID, len(lists[i]), c.Nodes[0].ID, len(lists[0]))
			}
		}
		return nil
	})
	for i, p := range c.Nodes {
		lost := 0
		for id, name := range acked {
			if lists[i][id] != name {
				lost++
			}
		}
		if lost > 0 {
			t.Errorf("%s lacks %d of %d acknowledged writes", p.ID, lost, len(acked))
		}
	}
	t.Logf("%d acknowledged, %d there on each of %d nodes", len(acked), len(lists[0]), len(c.Nodes))
}

// TestLeaderKilledUnderWrites is guarantee 1 for one crash at a time: what was
// acknowledged before and during each fail-over is there after it, on all nodes.
func TestLeaderKilledUnderWrites(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 1})
	w := write(t, c, 16)
	w.more(t, 200)
	var failovers []time.Duration
	for range 3 {
		leader, err := c.Leader(within(t, patience))
		if err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		if err := leader.Kill(); err != nil {
			t.Fatal(err)
		}
		failovers = append(failovers, w.after(t, killed))
		next, err := c.Leader(within(t, patience))
		if err != nil {
			t.Fatal(err)
		}
		if next == leader {
			t.Errorf("%s is dead and leads", leader.ID)
		}
		w.more(t, 100)
		if err := procs.StartAll(within(t, patience), leader); err != nil {
			t.Fatal(err)
		}
		w.more(t, 100)
	}
	slices.Sort(failovers)
	t.Logf("leader killed to first acknowledged write: %v", failovers)
	acked, newest := w.end(t)
	checkReplicas(t, c, acked, newest)
}

// TestLeaderPausedUnderWrites: a leader that stood still believes, when it goes
// on, that it leads. Nothing may be acknowledged on the strength of that.
func TestLeaderPausedUnderWrites(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 1})
	w := write(t, c, 12)
	w.more(t, 100)
	for range 2 {
		leader, err := c.Leader(within(t, patience))
		if err != nil {
			t.Fatal(err)
		}
		w.avoided.Store(leader)
		if err := leader.Pause(); err != nil {
			t.Fatal(err)
		}
		t.Logf("leader paused to first acknowledged write: %v", w.after(t, time.Now()))
		w.more(t, 50)
		if err := leader.Resume(); err != nil {
			t.Fatal(err)
		}
		w.avoided.Store(nil)
		w.more(t, 50)
	}
	acked, newest := w.end(t)
	checkReplicas(t, c, acked, newest)
}

// TestAllNodesKilled is guarantee 1 for a power cut: disks are all that is left.
// Guarantee 3 beside it: what edges show never goes back meanwhile.
func TestAllNodesKilled(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 2, OwnPorts: true})
	customer := settle(t, c)
	watchers := serving(t, c, customer)
	w := write(t, c, 12)
	for range 2 {
		w.more(t, 200)
		if err := procs.KillAll(c.Nodes...); err != nil {
			t.Fatal(err)
		}
		more(t, watchers, 20)
		if err := procs.StartAll(within(t, patience), c.Nodes...); err != nil {
			t.Fatal(err)
		}
		w.more(t, 20)
	}
	acked, newest := w.end(t)
	mustWait(t, c, newest)
	more(t, watchers, 1)
	end(t, watchers)
	acked[customer.API] = "tenant"
	checkReplicas(t, c, acked, newest)
}

// TestEverythingKilled: all processes of all roles at once, then all again.
func TestEverythingKilled(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 1, OwnPorts: true})
	customer := settle(t, c)
	w := write(t, c, 8)
	w.more(t, 100)
	if err := procs.KillAll(c.All()...); err != nil {
		t.Fatal(err)
	}
	acked, newest := w.end(t)
	if err := procs.StartAll(within(t, patience), c.All()...); err != nil {
		t.Fatal(err)
	}
	mustWait(t, c, newest)
	version, err := customer.Call(t.Context(), customer.Client(c.Edges[0]))
	if err != nil {
		t.Fatal(err)
	}
	if version < newest {
		t.Errorf("the edge decides by version %d after the barrier of %d", version, newest)
	}
	acked[customer.API] = "tenant"
	checkReplicas(t, c, acked, newest)
}
