package service

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
)

// TestPolicyChange: what a deployment changes for the callers of its stage is
// logged, and nothing else is.
func TestPolicyChange(t *testing.T) {
	var out bytes.Buffer
	c := newFakeCluster()
	logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	a := &testAPI{T: t, ctx: context.Background(), cluster: c, ApiGatewayServer: NewAPIGateway(Config{Cluster: c, Logger: logger})}
	made, err := a.CreateRestApi(a.ctx, &apigatewayv1.CreateRestApiRequest{Name: new("test")})
	if err != nil {
		t.Fatal(err)
	}
	a.id, a.root = made.GetId(), made.GetRootResourceId()
	a.mock(a.root, "GET")

	allow := func(vpce string) string {
		return `{"Statement":[{"Sid":"Endpoint","Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/*",` +
			`"Condition":{"StringEquals":{"aws:SourceVpce":"` + vpce + `"}}}]}`
	}
	arn := "arn:aws:execute-api:us-west-2:123456789012:" + a.id + "/prod/GET/pets"
	prefix := `level=INFO msg="deployment changes the policy of its stage" api_id=` + a.id + " stage=prod verdict="
	for _, step := range []struct {
		name, policy, stage, want string
	}{
		{"a new stage", allow("vpce-1"), "prod", ""},
		{"the same policy", allow("vpce-1"), "prod", ""},
		{"no stage", allow("vpce-2"), "", ""},
		{"another endpoint", allow("vpce-2"), "prod", prefix + `different` +
			` newly_allowed="anonymous execute-api:Invoke ` + arn + ` aws:SourceVpce=vpce-2: old implicit-deny, new allow by statement 0 (Endpoint)"` +
			` newly_denied="anonymous execute-api:Invoke ` + arn + ` aws:SourceVpce=vpce-1: old allow by statement 0 (Endpoint), new implicit-deny"` + "\n"},
		{"in other words", strings.Replace(allow("vpce-2"), "StringEquals", "StringLike", 1), "prod", prefix + "equal\n"},
		{"no policy: everyone may call", "", "prod", prefix + `different` +
			` newly_allowed="anonymous execute-api:Invoke ` + arn + `: old implicit-deny, new allow by statement 0"` + "\n"},
	} {
		ops := ops("replace /policy " + step.policy)
		if step.policy == "" {
			ops[0].Value = new("")
		}
		if _, err := a.UpdateRestApi(a.ctx, &apigatewayv1.UpdateRestApiRequest{RestApiId: a.id, PatchOperations: ops}); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		out.Reset()
		req := &apigatewayv1.CreateDeploymentRequest{RestApiId: a.id}
		if step.stage != "" {
			req.StageName = new(step.stage)
		}
		if _, err := a.CreateDeployment(a.ctx, req); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if d := cmp.Diff(step.want, out.String()); d != "" {
			t.Errorf("%s: the log (-want +got):\n%s", step.name, d)
		}
	}
}

// TestPolicyChangeFails: a comparison that fails is logged and goes no further.
func TestPolicyChangeFails(t *testing.T) {
	var out bytes.Buffer
	c := &policyChange{live: "no policy", next: openPolicy}
	c.log(context.Background(), slog.New(slog.NewTextHandler(&out, nil)))
	if !strings.Contains(out.String(), "level=ERROR") || !strings.Contains(out.String(), "could not be compared") {
		t.Errorf("log: %s", out.String())
	}
}
