package procs_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/posternhq/postern/test/optional"
	"github.com/posternhq/postern/test/procs"
	"github.com/posternhq/postern/test/tenant"
)

// TestENILate: the endpoint's names are there and the endpoint says "available",
// but who connects gets no answer until the fault's lag is over.
func TestENILate(t *testing.T) {
	optional.Tool(t, "curl")
	c := start(t, procs.Config{Nodes: 1, Edges: 2})
	ctx := within(t, patience)
	did := func(args ...string) {
		t.Helper()
		if r, err := c.Command(ctx, args...); err != nil || r.Exit != 0 {
			t.Fatalf("%v: %+v, %v", args, r, err)
		}
	}
	did("dns", "clock", "--speed", "0")
	did("admin", "fault", "set", "eni-late", "--lag", "1h")
	api, err := tenant.New(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	did("admin", "fault", "clear", "--all") // what it befell stays late
	did("wait", "--latest", "--timeout", "30s")
	_, dnsPort, err := net.SplitHostPort(c.DNS.DNS)
	if err != nil {
		t.Fatal(err)
	}
	vpc := defaultVPC(t, ctx, c.Nodes[0])
	curl := func(ctx context.Context, patience string) (code string, exit int, errs string) {
		run := exec.CommandContext(ctx, binary, "vpc", "exec", "--edge-port", strconv.Itoa(c.Edges[0].Port), "--dns-port", dnsPort, "--client-cache", "none", vpc, "--",
			"curl", "-sS", "--max-time", patience, "-o", os.DevNull, "-w", "%{http_code}", "https://"+api.Name+"/test/")
		run.Env = append(os.Environ(), "POSTERN_API=http://"+c.Nodes[0].API)
		var out, stderr bytes.Buffer
		run.Stdout, run.Stderr = &out, &stderr
		_ = run.Run() // its exit code says it
		return out.String(), run.ProcessState.ExitCode(), stderr.String()
	}
	const timedOut = 28 // curl's exit code
	if code, exit, errs := curl(ctx, "2"); exit != timedOut || code != "000" {
		t.Errorf("while the interfaces are late: exit %d, %q, %q", exit, code, errs)
	}
	did("dns", "advance", "59m")
	if code, exit, errs := curl(ctx, "2"); exit != timedOut || code != "000" {
		t.Errorf("a minute too early: exit %d, %q, %q", exit, code, errs)
	}
	did("dns", "advance", "1m")
	eventually(t, "answer of the endpoint", func() error {
		if code, exit, errs := curl(ctx, "20"); exit != 0 || code != "200" {
			return fmt.Errorf("exit %d, %q, %q", exit, code, errs)
		}
		return nil
	})
}
