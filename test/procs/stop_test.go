package procs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"

	"github.com/posternhq/postern/test/procs"
	"github.com/posternhq/postern/test/tenant"
)

// stopPatience bounds a graceful stop: draining has a bound of its own below it.
const stopPatience = 20 * time.Second

// quiet checks that a run that was asked to end had nothing to complain of from
// then on, but that peers which ended before it can't be reached: `before` is the
// log as it was.
func quiet(t *testing.T, p *procs.Process, before int64) {
	t.Helper()
	data, err := os.ReadFile(p.Log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data[before:])) {
		if strings.Contains(line, "connection refused") || strings.Contains(line, "connection reset") {
			continue
		}
		if strings.Contains(line, `"level":"WARN"`) || strings.Contains(line, `"level":"ERROR"`) || !strings.HasPrefix(line, "{") {
			t.Errorf("%s, stopping: %s", p.ID, line)
		}
	}
}

func logSize(t *testing.T, p *procs.Process) int64 {
	t.Helper()
	info, err := os.Stat(p.Log)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestGracefulStop: every role ends with exit code 0 on SIGTERM, without a
// warning, and starts again where it was.
func TestGracefulStop(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 2, OwnPorts: true})
	w := settle(t, c)
	leader, err := c.Leader(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	// The leader first, while the others run: it hands over. Then the rest.
	order := []*procs.Process{leader}
	for _, p := range c.All() {
		if p != leader {
			order = append(order, p)
		}
	}
	for _, p := range order {
		before := logSize(t, p)
		began := time.Now()
		exit, err := p.Stop(within(t, stopPatience))
		if err != nil {
			t.Fatal(err)
		}
		if exit != 0 {
			t.Errorf("%s ended with exit code %d", p.ID, exit)
		}
		t.Logf("%s ended after %d ms", p.ID, time.Since(began).Milliseconds())
		quiet(t, p, before)
		if p == leader {
			if _, err := c.Leader(within(t, patience)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := procs.StartAll(within(t, patience), c.All()...); err != nil {
		t.Fatal(err)
	}
	mustWait(t, c, w.Version)
	for _, edge := range c.Edges {
		if _, err := w.Call(t.Context(), w.Client(edge)); err != nil {
			t.Errorf("%s: %v", edge.ID, err)
		}
	}
}

// TestLeaderStoppedUnderWrites: a leader that is asked to end hands over; no
// acknowledged write is lost, and the group is without a leader for a moment only.
func TestLeaderStoppedUnderWrites(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 1})
	w := write(t, c, 12)
	w.more(t, 100)
	for range 2 {
		leader, err := c.Leader(within(t, patience))
		if err != nil {
			t.Fatal(err)
		}
		asked := time.Now()
		exit, err := leader.Stop(within(t, stopPatience))
		if err != nil || exit != 0 {
			t.Fatalf("stop: exit code %d, %v", exit, err)
		}
		t.Logf("leader asked to stop to first acknowledged write after it: %v", w.after(t, asked))
		w.more(t, 50)
		if err := procs.StartAll(within(t, patience), leader); err != nil {
			t.Fatal(err)
		}
	}
	acked, newest := w.end(t)
	checkReplicas(t, c, acked, newest)
}

// slow points an API at a backend that answers when it is told to.
func slow(ctx context.Context, t *testing.T, p *procs.Process, w *tenant.Tenant, backend string) uint64 {
	t.Helper()
	var resources struct {
		Item []struct{ ID string }
	}
	if _, err := aws(ctx, p, "GET", "/restapis/"+w.API+"/resources", nil, &resources); err != nil || len(resources.Item) == 0 {
		t.Fatalf("resources: %v, %v", resources, err)
	}
	if _, err := aws(ctx, p, "PUT", "/restapis/"+w.API+"/resources/"+resources.Item[0].ID+"/methods/GET/integration",
		map[string]any{"type": "HTTP_PROXY", "httpMethod": "GET", "uri": backend}, nil); err != nil {
		t.Fatal(err)
	}
	version, err := aws(ctx, p, "POST", "/restapis/"+w.API+"/deployments", map[string]any{"stageName": "test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// TestRequestsUnderWayFinish: an edge that is asked to end answers what it took.
func TestRequestsUnderWayFinish(t *testing.T) {
	c := start(t, procs.Config{Nodes: 1, Edges: 1, OwnPorts: true})
	w := settle(t, c)
	const n = 8
	arrived, release := make(chan struct{}, n), make(chan struct{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	backend := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		_, _ = io.WriteString(rw, `{"served":true}`)
	})}
	go func() { _ = backend.Serve(ln) }()
	t.Cleanup(func() { _ = backend.Close() })
	mustWait(t, c, slow(within(t, patience), t, c.Nodes[0], w, "http://"+ln.Addr().String()+"/"))

	answers := make(chan error, n)
	for range n {
		go func() {
			_, err := w.Call(t.Context(), w.Client(c.Edges[0]))
			answers <- err
		}()
	}
	for range n {
		<-arrived
	}
	ended := make(chan int, 1)
	go func() {
		exit, err := c.Edges[0].Stop(within(t, stopPatience))
		if err != nil {
			exit = -2
		}
		ended <- exit
	}()
	// It takes nothing new before it lets go of what it has.
	eventually(t, "the edge closes its listeners", func() error {
		conn, err := net.Dial("tcp", c.Edges[0].Public)
		if err != nil {
			return nil
		}
		_ = conn.Close()
		return fmt.Errorf("it still listens at %s", c.Edges[0].Public)
	})
	close(release)
	for range n {
		if err := <-answers; err != nil {
			t.Errorf("a request under way: %v", err)
		}
	}
	if exit := <-ended; exit != 0 {
		t.Errorf("the edge ended with exit code %d", exit)
	}
}

// TestLeave: an edge that stops for good takes its cache and its part in the barrier along.
func TestLeave(t *testing.T) {
	c := start(t, procs.Config{Nodes: 1, Edges: 1, OwnPorts: true})
	w := settle(t, c)
	if exit, err := c.Edges[0].Stop(within(t, stopPatience)); err != nil || exit != 0 {
		t.Fatalf("stop: exit code %d, %v", exit, err)
	}
	if err := c.Edges[0].Start("--leave"); err != nil {
		t.Fatal(err)
	}
	if err := c.Edges[0].AwaitReady(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if exit, err := c.Edges[0].Stop(within(t, stopPatience)); err != nil || exit != 0 {
		t.Fatalf("leave: exit code %d, %v", exit, err)
	}
	version, err := w.Touch(t.Context(), c.Nodes[0], "nobody-left")
	if err != nil {
		t.Fatal(err)
	}
	mustWait(t, c, version)
	status, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(status.GetPlaces(), func(p *adminv1.Place) bool { return p.GetKind() == "edge" }) {
		t.Errorf("places after it left: %v", status.GetPlaces())
	}
}

// shape is the keys of an object and, below them, those of the first element of
// each list and of each object.
func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range v {
			out[key] = shape(value)
		}
		return out
	case []any:
		if len(v) == 0 {
			return []any{}
		}
		return []any{shape(v[0])}
	default:
		return fmt.Sprintf("%T", v)
	}
}

// TestCommandShapes: what `status` and `wait` print under -o json is a contract
// (design §9).
func TestCommandShapes(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 1})
	w := settle(t, c)
	const place = `{"id":"string","kind":"string","az":"string","address":"string","version":"float64","state":"string","reason":"string","last_contact":"string"}`
	const node = `{"id":"string","address":"string","role":"string","applied":"float64","reachable":"bool"}`
	for _, test := range []struct {
		args []string
		exit int
		want string
	}{
		{[]string{"status"}, 0, `{"index":"float64","leader":"string","nodes":[` + node + `],"places":[` + place + `],"dns":{"profile":"string","speed":"float64","now":"string","frozen":"bool","faults":[]}}`},
		{[]string{"wait", "--latest", "--timeout", "50s"}, 0, `{"index":"float64","reached":"bool","waited_ms":"float64","blocking":[]}`},
		{[]string{"wait", "--index", fmt.Sprint(w.Version), "--for", "edges"}, 0, `{"index":"float64","reached":"bool","waited_ms":"float64","blocking":[]}`},
		{[]string{"wait", "--index", "1000000", "--timeout", "100ms"}, 1, `{"index":"float64","reached":"bool","waited_ms":"float64","blocking":[` + place + `]}`},
		{[]string{"admin", "peers", "list"}, 0, `{"nodes":[` + node + `]}`},
		{[]string{"admin", "places", "list"}, 0, `{"places":[` + place + `]}`},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			r, err := c.Command(within(t, patience), append(test.args, "-o", "json")...)
			if err != nil {
				t.Fatal(err)
			}
			if r.Exit != test.exit {
				t.Errorf("exit code %d, want %d: %s", r.Exit, test.exit, r.Stderr)
			}
			var got, want any
			if err := json.Unmarshal([]byte(r.Stdout), &got); err != nil {
				t.Fatalf("%v in %q", err, r.Stdout)
			}
			if err := json.Unmarshal([]byte(test.want), &want); err != nil {
				t.Fatal(err)
			}
			if a, b := fmt.Sprint(shape(got)), fmt.Sprint(want); a != b {
				t.Errorf("shape\n  %s\nwant\n  %s", a, b)
			}
			if strings.Count(r.Stdout, "\n") != 1 {
				t.Errorf("not one line: %q", r.Stdout)
			}
		})
	}
	t.Run("usage", func(t *testing.T) {
		r, err := c.Command(within(t, patience), "wait", "-o", "json")
		if err != nil || r.Exit != 2 || !strings.Contains(r.Stderr, `{"error":{"kind":"usage","message":`) {
			t.Errorf("%+v, %v", r, err)
		}
	})
	t.Run("folder in use", func(t *testing.T) {
		twin := exec.CommandContext(within(t, patience), binary, "edge", "--id", c.Edges[0].ID, "--data", c.Dir, "--servers", c.Nodes[0].GRPC, "--listen-public", "")
		out, _ := twin.CombinedOutput()
		if twin.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "in use by another process") {
			t.Errorf("exit code %d, %s", twin.ProcessState.ExitCode(), out)
		}
	})
}
