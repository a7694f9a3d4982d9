package procs_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posternhq/postern/test/procs"
	"github.com/posternhq/postern/test/tenant"
)

// patience bounds each wait of these tests; a loaded machine needs a small part of it.
const patience = 60 * time.Second

// pollEvery is how often a state that no signal tells of is looked at.
const pollEvery = 10 * time.Millisecond

var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("test/procs: real processes are not for -short")
		return
	}
	os.Exit(withBinary(m))
}

func withBinary(m *testing.M) int {
	dir, err := os.MkdirTemp("", "postern-procs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if binary, err = procs.Build(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// start runs a cluster for a test. Its logs are shown if the test fails.
func start(t *testing.T, cfg procs.Config) *procs.Cluster {
	t.Helper()
	cfg.Binary, cfg.Dir = binary, t.TempDir()
	c, err := procs.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			showLogs(t, c)
		}
	})
	began := time.Now()
	if err := c.Start(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d nodes, %d edges and DNS were ready after %d ms", len(c.Nodes), len(c.Edges), time.Since(began).Milliseconds())
	return c
}

// shownLog is how much of the end of each log is worth reading first.
const shownLog = 8 << 10

func showLogs(t *testing.T, c *procs.Cluster) {
	for _, p := range c.All() {
		data, err := os.ReadFile(p.Log)
		if err != nil {
			t.Error(err)
			continue
		}
		if len(data) > shownLog {
			data = data[len(data)-shownLog:]
		}
		t.Logf("end of %s:\n%s", filepath.Base(p.Log), data)
	}
}

// eventually tries until what is asked for holds.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	ctx := within(t, patience)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(pollEvery):
		}
	}
}

// settle makes a tenant and waits until all places know it.
func settle(t *testing.T, c *procs.Cluster) *tenant.Tenant {
	t.Helper()
	w, err := tenant.New(within(t, patience), c)
	if err != nil {
		t.Fatal(err)
	}
	mustWait(t, c, w.Version)
	if address, err := w.Resolve(t.Context(), c.DNS, w.Name); err != nil || address != w.ENI {
		t.Fatalf("%s resolves to %s, %v, want %s", w.Name, address, err, w.ENI)
	}
	return w
}

func aws(ctx context.Context, p *procs.Process, method, path string, in, out any) (version uint64, err error) {
	return tenant.AWS(ctx, http.DefaultClient, p.API, method, path, in, out)
}

// wait runs the command of that name.
func wait(t *testing.T, c *procs.Cluster, args ...string) procs.Result {
	t.Helper()
	r, err := c.Command(within(t, patience), append([]string{"wait"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("wait %s: %s", strings.Join(args, " "), strings.TrimSpace(r.Stdout+r.Stderr))
	return r
}

func mustWait(t *testing.T, c *procs.Cluster, version uint64) {
	t.Helper()
	if r := wait(t, c, "--index", strconv.FormatUint(version, 10), "--timeout", "50s"); r.Exit != 0 {
		t.Fatalf("wait for version %d: %+v", version, r)
	}
}

// watcher makes one request after the other until it is stopped.
type watcher struct {
	name     string
	done     atomic.Int64
	newest   atomic.Uint64
	failures chan error
	stop     context.CancelFunc
	ended    chan struct{}
}

// watch starts a watcher. try returns a version, which must never go back.
func watch(t *testing.T, name string, try func(ctx context.Context) (uint64, error)) *watcher {
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{name: name, failures: make(chan error, 100), stop: cancel, ended: make(chan struct{})}
	t.Cleanup(cancel)
	go func() {
		defer close(w.ended)
		for ctx.Err() == nil {
			version, err := try(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case err == nil && version < w.newest.Load():
				err = fmt.Errorf("version %d after version %d", version, w.newest.Load())
			}
			if err != nil {
				select {
				case w.failures <- err:
				default:
				}
				continue
			}
			w.newest.Store(version)
			w.done.Add(1)
		}
	}()
	return w
}

// more waits until the watcher has succeeded n more times, which shows that
// what it asks is still there.
func (w *watcher) more(t *testing.T, n int64) {
	t.Helper()
	goal := w.done.Load() + n
	eventually(t, w.name, func() error {
		select {
		case err := <-w.failures:
			t.Errorf("%s: %v", w.name, err)
		default:
		}
		if done := w.done.Load(); done < goal {
			return fmt.Errorf("%d of %d requests", done, goal)
		}
		return nil
	})
}

// end stops the watcher; that nothing failed is what it was for.
func (w *watcher) end(t *testing.T) {
	t.Helper()
	w.stop()
	<-w.ended
	for {
		select {
		case err := <-w.failures:
			t.Errorf("%s: %v", w.name, err)
		default:
			t.Logf("%s: %d requests, newest version %d", w.name, w.done.Load(), w.newest.Load())
			return
		}
	}
}

// lines counts the lines of a file that contain a text.
func lines(t *testing.T, file, text string) (found []string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}
