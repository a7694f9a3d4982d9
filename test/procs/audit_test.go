package procs_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/posternhq/postern/test/procs"
)

// TestAuditSurvivesCrashes: who wrote what is told by every node alike, also of
// writes that came in at a follower, and after the leader was killed.
func TestAuditSurvivesCrashes(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 1, OwnPorts: true})
	settle(t, c)
	audit := func() string {
		t.Helper()
		r, err := c.Command(within(t, patience), "admin", "audit", "-o", "json")
		if err != nil || r.Exit != 0 {
			t.Fatalf("audit: %+v, %v", r, err)
		}
		return r.Stdout
	}
	if r, err := c.Command(within(t, patience), "admin", "fault", "set", "dns-down", "--place", "ns2"); err != nil || r.Exit != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	before := audit()
	operations := map[string]string{} // by operation: the principal
	for line := range strings.Lines(before) {
		var e struct{ Operation, Principal, Source, ID string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		operations[e.Operation] = e.Principal
		if e.Operation == "postern:SetDnsFault" && !strings.HasPrefix(e.Source, "127.0.0.1:") {
			t.Errorf("source %q", e.Source)
		}
	}
	if got := operations["postern:SetDnsFault"]; got != "arn:aws:iam::123456789012:root" {
		t.Errorf("the fault was set by %q", got)
	}
	if got := operations["postern:RegisterPlaces"]; !strings.HasPrefix(got, "spiffe://postern/edge/") && !strings.HasPrefix(got, "spiffe://postern/dns/") {
		t.Errorf("places were registered by %q", got)
	}
	leader, err := c.Leader(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "audit after the leader was killed", func() error {
		r, err := c.Command(within(t, patience), "admin", "audit", "-o", "json")
		if err == nil && !strings.HasPrefix(r.Stdout, before) {
			err = fmt.Errorf("exit %d, %s%s", r.Exit, r.Stdout, r.Stderr)
		}
		return err
	})
}
