package seed_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go/transport/http"

	resourcepolicy "github.com/posternhq/postern/dataplane/policy"
)

// Resource policies and endpoint policies.

// storedPolicy is the policy of an API as its owner reads it: the service
// escapes the quotes once more than JSON needs.
func storedPolicy(text *string) string {
	return strings.NewReplacer(`\"`, `"`, `\/`, `/`).Replace(aws.ToString(text))
}

func (w *world) setPolicy(a restAPI, text string) *apigateway.UpdateRestApiOutput {
	w.Helper()
	return w.mustPatch(a, op(types.OpReplace, "/policy", text))
}

// TestS17_AttachAPolicy is S17 and S48: saving, and what is read back.
func TestS17_AttachAPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.endpointIn(w.vpc("a"))
	a := w.createAPI(types.EndpointTypePrivate, "")
	if w.getAPI(a).Policy != nil {
		t.Fatal("a new API has a policy")
	}
	updated := w.setPolicy(a, onlyEndpoints(e.id))
	arn := `"arn:aws:execute-api:` + region + `:` + ownAccount + `:` + a.id + `/*"`
	for what, text := range map[string]*string{"S17: policy in the answer": updated.Policy, "S48: policy when read": w.getAPI(a).Policy} {
		got := storedPolicy(text)
		if n := strings.Count(got, `"Resource":`+arn); n != 2 || strings.Contains(got, "execute-api:/*") {
			t.Errorf("%s: %s, want both statements on %s", what, got, arn)
		}
		if !strings.Contains(got, e.id) {
			t.Errorf("%s: %s, want the endpoint in it", what, got)
		}
	}
}

func TestS48_SavedPolicyHasFullARNs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.createAPI(types.EndpointTypePrivate, "")
	const statement = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":`
	arn := "arn:aws:execute-api:" + region + ":" + ownAccount + ":" + a.id + "/"
	for _, c := range []struct{ given, kept string }{
		{"execute-api:/*", arn + "*"},
		{"execute-api:/test/GET/*", arn + "test/GET/*"},
		{arn + "prod/*", arn + "prod/*"},
	} {
		w.setPolicy(a, statement+`"`+c.given+`"}]}`)
		if got := storedPolicy(w.getAPI(a).Policy); !strings.Contains(got, `"`+c.kept+`"`) {
			t.Errorf("%s is read back as %s, want %s", c.given, got, c.kept)
		}
	}
}

// warnings are what the service says beside its answer.
func warnings(w *world, out *apigateway.UpdateRestApiOutput) []string {
	w.Helper()
	raw, ok := middleware.GetRawResponse(out.ResultMetadata).(*http.Response)
	if !ok {
		w.Fatal("the SDK keeps no raw answer")
	}
	return raw.Header.Values("x-postern-warning")
}

// TestPolicyWaitsForADeployment is the scenario D6 of docs/dns.md: a policy that
// was changed decides nothing until the next deployment.
func TestPolicyWaitsForADeployment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v, other := w.vpc("a"), w.vpc("a")
	e, f := w.endpointIn(v), w.endpointIn(other)
	a := w.privateAPI(onlyEndpoints(e.id))
	w.settle()
	w.served("before", w.call(v.id, a.url()), a)
	w.denied("before, by another endpoint", w.call(other.id, a.url()))
	w.setPolicy(a, onlyEndpoints(f.id))
	w.settle()
	w.served("changed, not deployed", w.call(v.id, a.url()), a)
	w.denied("changed, not deployed, by another endpoint", w.call(other.id, a.url()))
	w.deploy(a)
	w.settle()
	w.denied("deployed", w.call(v.id, a.url()))
	w.served("deployed, by another endpoint", w.call(other.id, a.url()), a)
}

func TestS47_SourceVPCAllowlist(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v, other := w.vpc("a"), w.vpc("a")
	e := w.endpointIn(v)
	w.endpointIn(other)
	template, err := resourcepolicy.Template("source-vpce")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(template, `"aws:SourceVpce": "{{vpceID}}"`) {
		t.Fatalf("the template does not feed {{vpceID}} to aws:SourceVpce:\n%s", template)
	}
	wildcards := strings.NewReplacer("{{stageNameOrWildcard}}", "*", "{{httpVerbOrWildcard}}", "*", "{{resourcePathOrWildcard}}", "*")
	unfilled := wildcards.Replace(template)
	filled := strings.ReplaceAll(unfilled, "{{vpceID}}", e.id)

	a := w.createAPI(types.EndpointTypePrivate, "")
	w.echo(a)
	equal(w, "warnings about the filled template", strings.Join(warnings(w, w.setPolicy(a, filled)), "; "), "")
	w.deploy(a)
	w.settle()
	w.served("filled in, by that endpoint", w.call(v.id, a.url()), a)
	w.denied("filled in, by another", w.call(other.id, a.url()))

	if got := strings.Join(warnings(w, w.setPolicy(a, unfilled)), "; "); !strings.Contains(got, "{{vpceID}}") {
		t.Errorf("warnings about the braces: %q, want them named", got)
	}
	w.deploy(a)
	w.settle()
	w.denied("braces left in, by that endpoint", w.call(v.id, a.url()))
	w.denied("braces left in, by another", w.call(other.id, a.url()))

	// What the seed asks for, in the console's template: an endpoint's id where a
	// VPC's belongs.
	if got := strings.Join(warnings(w, w.setPolicy(a, onlyVPC(e.id))), "; "); !strings.Contains(got, e.id) || !strings.Contains(got, "aws:SourceVpce") {
		t.Errorf("warnings about an endpoint's id under aws:SourceVpc: %q, want the id and the right key", got)
	}
	w.deploy(a)
	w.settle()
	w.denied("an endpoint's id under aws:SourceVpc", w.call(v.id, a.url()))
}

func TestS49_EndpointPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	e := w.endpointIn(v)
	a, b := w.privateAPI(onlyEndpoints(e.id)), w.privateAPI(onlyEndpoints(e.id))
	w.settle()
	for _, api := range []restAPI{a, b} {
		w.served("with the default endpoint policy", w.call(v.id, api.url()), api)
	}
	document := `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"arn:aws:execute-api:` +
		region + `:` + ownAccount + `:` + a.id + `/*"}]}`
	must[*ec2.ModifyVpcEndpointOutput](w, "set endpoint policy")(w.ec2.ModifyVpcEndpoint(w.ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: &e.id, PolicyDocument: &document}))
	w.settle()
	w.served("the API that the endpoint policy names", w.call(v.id, a.url()), a)
	w.denied("another", w.call(v.id, b.url()))
	must[*ec2.ModifyVpcEndpointOutput](w, "reset endpoint policy")(w.ec2.ModifyVpcEndpoint(w.ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: &e.id, ResetPolicy: aws.Bool(true)}))
	w.settle()
	w.served("after a reset", w.call(v.id, b.url()), b)
}
