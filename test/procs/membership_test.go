package procs_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/test/procs"
)

// TestForgetfulNode is guarantee 1's rule: a node that lost its disk does not
// come back under its id, for it has forgotten what it acknowledged. It is
// removed and joins anew.
func TestForgetfulNode(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 1})
	w := write(t, c, 4)
	w.more(t, 50)
	victim := c.Nodes[2]
	if err := victim.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(victim.Dir); err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-victim.Ended():
	case <-time.After(patience):
		t.Fatal("a node without its data was taken for the one that it was")
	}
	if code := victim.ExitCode(); code != 1 {
		t.Errorf("it ended with exit code %d, want 1", code)
	}
	if len(lines(t, victim.Log, "instance")) == 0 && len(lines(t, victim.Log, "another folder")) == 0 {
		t.Error("it does not say why it refuses to start")
	}
	w.more(t, 50) // the others never noticed

	remove(t, c, victim.ID)
	anew, err := c.Joining(victim.ID)
	if err != nil {
		t.Fatal(err)
	}
	// Its old folder was locked by nobody and is gone; it starts from nothing.
	if err := procs.StartAll(within(t, patience), anew); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three members that can be reached", func() error {
		status, err := c.Status(t.Context())
		if err != nil {
			return err
		}
		for _, n := range status.GetNodes() {
			if n.GetId() == anew.ID && (n.GetAddress() != anew.GRPC || n.GetRole() == "nonvoter" || !n.GetReachable()) {
				return fmt.Errorf("%v", n)
			}
		}
		if len(status.GetNodes()) != 3 {
			return fmt.Errorf("%d members", len(status.GetNodes()))
		}
		return nil
	})
	w.more(t, 50)

	// It counts: with another one dead there is a majority with it only.
	other := c.Nodes[0]
	if err := other.Kill(); err != nil {
		t.Fatal(err)
	}
	w.after(t, time.Now())
	w.more(t, 20)
	if err := procs.StartAll(within(t, patience), other); err != nil {
		t.Fatal(err)
	}
	acked, newest := w.end(t)
	checkReplicas(t, c, acked, newest)
}

func remove(t *testing.T, c *procs.Cluster, id string) {
	t.Helper()
	eventually(t, "admin peers remove "+id, func() error {
		r, err := c.Command(t.Context(), "admin", "peers", "remove", id)
		if err == nil && r.Exit != 0 {
			err = errors.New(r.Stderr)
		}
		return err
	})
}

// TestUnreachableEdgeBlocksTheBarrier is guarantee 5: an edge that nobody can
// reach may still be serving, so it blocks, by name, until it is removed. When
// it comes back after that, it denies.
func TestUnreachableEdgeBlocksTheBarrier(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 2, OwnPorts: true})
	w := settle(t, c)
	lost, kept := c.Edges[1], c.Edges[0]
	if err := lost.Kill(); err != nil {
		t.Fatal(err)
	}
	version, err := w.Touch(t.Context(), c.Nodes[0], "without-it")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r := wait(t, c, "--index", fmt.Sprint(version), "--for", "edges", "--timeout", "1s")
	if r.Exit != 1 || !strings.Contains(r.Stdout, lost.ID) || strings.Contains(r.Stdout, kept.ID+" ") {
		t.Errorf("wait says %+v, want exit code 1 and %s alone by name", r, lost.ID)
	}
	if took := time.Since(began); took < time.Second || took > patience/2 {
		t.Errorf("a wait with a time-out of 1 s took %v", took)
	}
	if r := wait(t, c, "--index", fmt.Sprint(version), "--for", "dns", "--timeout", "30s"); r.Exit != 0 {
		t.Errorf("an edge blocks the barrier of DNS: %+v", r)
	}

	r, err = c.Command(within(t, patience), "admin", "places", "remove", lost.ID)
	if err != nil || r.Exit != 0 {
		t.Fatalf("places remove: %+v, %v", r, err)
	}
	mustWait(t, c, version)

	// It comes back with its cache, which would have it serve. It gives up the
	// endpoint's addresses, which other edges may share, and denies on its own.
	if err := lost.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a removed edge knows it", func() error {
		err := lost.Ready(t.Context())
		if err != nil && strings.Contains(err.Error(), "removed") {
			return nil
		}
		return fmt.Errorf("its readiness says %v", err)
	})
	for range 5 {
		fresh := w.Client(lost)
		fresh.Timeout = time.Second // who is not let in may get no answer at all
		if version, err := w.Call(t.Context(), fresh); err == nil {
			t.Errorf("after its removal it served by version %d", version)
		}
		fresh.CloseIdleConnections()
	}
	public := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // whatever it serves with
	resp, err := public.Get("https://" + lost.Public + "/test")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("its public listener answered %s", resp.Status)
	}
	if !lost.Running() {
		t.Errorf("it ended with exit code %d", lost.ExitCode())
	}
	if _, err := w.Call(t.Context(), w.Client(kept)); err != nil {
		t.Errorf("the other edge: %v", err)
	}
	version, err = w.Touch(t.Context(), c.Nodes[0], "after-it")
	if err != nil {
		t.Fatal(err)
	}
	mustWait(t, c, version)
}

// TestPausedEdgeBlocksTheBarrier: an edge that hangs blocks too, and unblocks by itself.
func TestPausedEdgeBlocksTheBarrier(t *testing.T) {
	c := start(t, procs.Config{Nodes: 1, Edges: 2, OwnPorts: true})
	w := settle(t, c)
	hung := c.Edges[0]
	if err := hung.Pause(); err != nil {
		t.Fatal(err)
	}
	version, err := w.Touch(t.Context(), c.Nodes[0], "while-it-hangs")
	if err != nil {
		t.Fatal(err)
	}
	if r := wait(t, c, "--index", fmt.Sprint(version), "--timeout", "500ms"); r.Exit != 1 || !strings.Contains(r.Stdout, hung.ID) {
		t.Errorf("wait says %+v, want exit code 1 and %s by name", r, hung.ID)
	}
	if err := hung.Resume(); err != nil {
		t.Fatal(err)
	}
	mustWait(t, c, version)
	if shown, err := w.Call(t.Context(), w.Client(hung)); err != nil || shown < version {
		t.Errorf("after the barrier of %d the edge answers by version %d, %v", version, shown, err)
	}
}

// TestSharedEndpointSurvivesAnEdge: edges of one zone share an endpoint's
// addresses, so that the death of one does not take the endpoint away.
func TestSharedEndpointSurvivesAnEdge(t *testing.T) {
	c := start(t, procs.Config{Nodes: 1, Edges: 2})
	w := settle(t, c)
	for _, edge := range c.Edges {
		if err := edge.Kill(); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			fresh := w.Client(c.Edges[0]) // both have the same address
			if _, err := w.Call(t.Context(), fresh); err != nil {
				t.Errorf("with %s dead: %v", edge.ID, err)
			}
			fresh.CloseIdleConnections()
		}
		if err := procs.StartAll(within(t, patience), edge); err != nil {
			t.Fatal(err)
		}
	}
}
