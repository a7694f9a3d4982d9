package procs_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/posternhq/postern/test/procs"
	"github.com/posternhq/postern/test/tenant"
)

// redeploy gives the tenant's API another policy, everywhere.
func redeploy(t *testing.T, c *procs.Cluster, w *tenant.Tenant, policy string) {
	t.Helper()
	ctx := within(t, patience)
	api := "/restapis/" + w.API
	patch := map[string]any{"patchOperations": []any{map[string]string{"op": "replace", "path": "/policy", "value": policy}}}
	if _, err := aws(ctx, c.Nodes[0], "PATCH", api, patch, nil); err != nil {
		t.Fatal(err)
	}
	version, err := aws(ctx, c.Nodes[0], "POST", api+"/deployments", map[string]any{"stageName": "test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustWait(t, c, version)
}

// TestExplainDecision follows a refusal from the header of the answer to its
// account, asked of every node though the edge is connected to one of them, and
// by the policy that decided though another one is in place by then.
func TestExplainDecision(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 2, OwnPorts: true})
	w := settle(t, c)
	const other = "vpce-0f0f0f0f0f0f0f0f0"
	policy := func(sid, endpoint string) string {
		return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[`+
			`{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/*"},`+
			`{"Sid":%q,"Effect":"Deny","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/*","Condition":{"StringNotEquals":{"aws:SourceVpce":%q}}}]}`, sid, endpoint)
	}
	redeploy(t, c, w, policy("OnlyTheOther", other))

	edge := c.Edges[1]
	ctx := within(t, patience)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+w.Name+"/test", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.Client(edge).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	id := resp.Header.Get("x-postern-decision")
	if resp.StatusCode != http.StatusForbidden || id == "" {
		t.Fatalf("answered %s with decision %q", resp.Status, id)
	}
	redeploy(t, c, w, policy("OnlyOurs", w.Endpoint))

	explain := func(node *procs.Process, args ...string) (stdout, stderr string, exit int) {
		var out, errs strings.Builder
		run := exec.CommandContext(within(t, patience), binary, append([]string{"policy", "explain", "--api", "http://" + node.API, "--decision", id}, args...)...)
		run.Stdout, run.Stderr = &out, &errs
		_ = run.Run() // its exit code says it
		return out.String(), errs.String(), run.ProcessState.ExitCode()
	}
	for _, node := range c.Nodes {
		text, errs, exit := explain(node)
		for _, part := range []string{
			"explicit_deny: the resource policy denies", id, edge.ID, "The resource policy, which decided",
			"explicit-deny by statement 1 (OnlyTheOther)", "would be allowed", other,
		} {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q is not in the answer", node.ID, part)
			}
		}
		if exit != 0 || t.Failed() {
			t.Fatalf("%s: exit %d\n%s%s", node.ID, exit, text, errs)
		}
	}
	var got struct {
		ID, Edge, Result, Endpoint string
		Policies                   []struct {
			Kind, Sid   string
			Decided     bool
			Statement   int
			Explanation struct {
				Decision string
			}
		}
	}
	text, errs, exit := explain(c.Nodes[2], "-o", "json")
	if err := json.Unmarshal([]byte(text), &got); err != nil || exit != 0 {
		t.Fatalf("exit %d, %v\n%s%s", exit, err, text, errs)
	}
	if got.ID != id || got.Edge != edge.ID || got.Result != "explicit_deny" || got.Endpoint != w.Endpoint || len(got.Policies) != 1 {
		t.Fatalf("%s", text)
	}
	if p := got.Policies[0]; p.Kind != "resource" || p.Sid != "OnlyTheOther" || !p.Decided || p.Statement != 1 || p.Explanation.Decision != "explicit-deny" {
		t.Errorf("%s", text)
	}

	// It is gone with the edge, which is said with who was asked.
	if err := edge.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the edge is missed", func() error {
		_, errs, exit := explain(c.Nodes[0])
		for _, part := range []string{"no edge holds decision " + id, "Asked: " + c.Edges[0].ID + " (keeps 4096, has 0)", "Not reached: " + edge.ID} {
			if exit != 1 || !strings.Contains(errs, part) {
				return fmt.Errorf("exit %d, %s", exit, errs)
			}
		}
		return nil
	})
}
