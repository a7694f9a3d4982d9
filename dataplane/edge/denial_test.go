package edge

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the files under testdata")

// Every answer that the edge itself gives, as it is on the wire.
func TestDenials(t *testing.T) {
	deny := func(condition string) string {
		return `{"Version":"2012-10-17","Statement":[` +
			`{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"*"},` +
			`{"Effect":"Deny","Principal":"*","Action":"execute-api:Invoke","Resource":"*","Condition":` + condition + `}]}`
	}
	const silent = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"arn:aws:execute-api:*:*:other00000/*"}}`
	classic := func(w *world) { w.settings = &edgev1.Settings{DenyDetail: "classic"} }
	auth := func(kind string) func(w *world) {
		return func(w *world) { w.route(0, "GET", "/pets").Method.AuthorizationType = proto.String(kind) }
	}
	type test struct {
		name  string
		world func(w *world)
		call  func(c *call)
		edge  func(c *Config)
	}
	public := func(c *call) { c.from, c.to, c.host = "127.0.0.1", "127.0.0.1", publicHost }
	tests := []test{
		{name: "public API through an endpoint", call: func(c *call) { c.host = publicHost }},
		{name: "private API from the public side", call: func(c *call) { c.from, c.to = "127.0.0.1", "127.0.0.1" }},
		{name: "endpoint name without an API", call: func(c *call) { c.host = vpceA + "-abcdefgh.execute-api.us-west-2.vpce.amazonaws.com" }},
		{name: "unknown API", call: func(c *call) { c.host = "nosuch0000.execute-api.us-west-2.amazonaws.com" }},
		{name: "unknown API in the header", call: func(c *call) {
			c.host = vpceA + "-abcdefgh.execute-api.us-west-2.vpce.amazonaws.com"
			c.header = http.Header{"X-Apigw-Api-Id": {"nosuch0000"}}
		}},
		{name: "foreign host on the public side", call: func(c *call) {
			public(c)
			c.host, c.sni = "www.example.com", publicHost
			c.header = http.Header{"X-Apigw-Api-Id": {publicAPI}}
		}},
		{name: "name of another region", call: func(c *call) {
			c.host, c.sni = privateAPI+".execute-api.eu-west-1.amazonaws.com", privateHost
		}},
		{name: "unknown stage", call: func(c *call) { c.path = "/nope/pets" }},
		{name: "no stage", call: func(c *call) { c.path = "/" }},
		{name: "default endpoint disabled", world: func(w *world) { w.stages[0].DisableExecuteApiEndpoint = true }},
		{name: "no such path", call: func(c *call) { c.path = "/prod/nothing" }},
		{name: "no such method", call: func(c *call) { c.method = "DELETE" }},
		{name: "method wants a signature", world: auth("AWS_IAM")},
		{name: "signed call", world: auth("AWS_IAM"), call: func(c *call) {
			c.header = http.Header{"Authorization": {"AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-west-2/execute-api/aws4_request, SignedHeaders=host, Signature=00"}}
		}},
		{name: "signed in the query", world: auth("AWS_IAM"), call: func(c *call) { c.path += "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00" }},
		{name: "authorizer", world: auth("CUSTOM")},
		{name: "user pool", world: auth("COGNITO_USER_POOLS")},
		{name: "no policy", world: func(w *world) { w.stages[0].Policy = "" }},
		{name: "resource policy silent", world: func(w *world) { w.stages[0].Policy = silent }},
		{name: "resource policy silent, classic", world: func(w *world) { w.stages[0].Policy = silent; classic(w) }},
		{name: "resource policy silent, root", world: func(w *world) { w.stages[0].Policy = silent }, call: func(c *call) { c.path = "/prod" }},
		{name: "resource policy silent, trailing slash", world: func(w *world) { w.stages[0].Policy = silent }, call: func(c *call) { c.path = "/prod/pets/?a=b" }},
		{name: "resource policy silent, escapes", world: func(w *world) { w.stages[0].Policy = silent }, call: func(c *call) { c.path = "/prod/pets/a%20b%2Fc" }},
		{name: "resource policy denies", world: func(w *world) { w.stages[0].Policy = deny(`{"StringNotEquals":{"aws:SourceVpc":"vpc-other"}}`) }},
		{name: "resource policy denies, classic", world: func(w *world) {
			w.stages[0].Policy = deny(`{"StringNotEquals":{"aws:SourceVpc":"vpc-other"}}`)
			classic(w)
		}},
		{name: "endpoint policy silent", world: func(w *world) { w.vpces[0].Policy = silent }},
		{name: "endpoint policy silent, classic", world: func(w *world) { w.vpces[0].Policy = silent; classic(w) }},
		{name: "endpoint policy denies", world: func(w *world) { w.vpces[0].Policy = deny(`{"StringEquals":{"aws:SourceVpce":"` + vpceA + `"}}`) }},
		{name: "endpoint policy, bearer token", world: func(w *world) { w.vpces[0].Policy = allowAll }, call: func(c *call) {
			c.header = http.Header{"Authorization": {"Bearer abc\"<x>"}}
		}},
		{name: "public API, policy silent", world: func(w *world) { w.stages[1].Policy = silent }, call: public},
		{name: "ARN too long", call: func(c *call) { c.path = "/prod/pets/" + strings.Repeat("x", 1600) }},
		{name: "URL too long", call: func(c *call) { c.path = "/prod/pets?" + strings.Repeat("x", 10240) }},
		{name: "headers too long", call: func(c *call) { c.header = http.Header{"X-Long": {strings.Repeat("x", 10240)}} }},
		{name: "API key", world: func(w *world) { w.route(0, "GET", "/pets").Method.ApiKeyRequired = proto.Bool(true) }},
		{name: "throttled", world: func(w *world) {
			w.stages[0].MethodSettings = map[string]*apigatewayv1.MethodSetting{
				"~1pets/GET": {ThrottlingRateLimit: proto.Float64(0), ThrottlingBurstLimit: proto.Int32(0)},
			}
		}},
		{name: "body too long", call: func(c *call) { c.method, c.body = "POST", strings.Repeat("x", 10<<20+1) }},
		{name: "missing parameters", world: func(w *world) {
			w.stages[0].RequestValidators = []*apigatewayv1.RequestValidator{{Id: proto.String("val001"), ValidateRequestParameters: proto.Bool(true)}}
			m := w.route(0, "GET", "/pets").Method
			m.RequestValidatorId = proto.String("val001")
			m.RequestParameters = &awsv1.BoolMap{Entries: map[string]bool{
				"method.request.querystring.b": true, "method.request.header.x-a": true,
				"method.request.querystring.there": true, "method.request.querystring.optional": false,
			}}
		}, call: func(c *call) { c.path += "?there=1" }},
		{name: "media type", world: func(w *world) {
			w.route(0, "GET", "/pets").Method.MethodIntegration.PassthroughBehavior = proto.String("NEVER")
		}, call: func(c *call) { c.header = http.Header{"Content-Type": {"text/plain"}} }},
		{name: "template language", world: func(w *world) {
			w.route(0, "GET", "/pets").Method.MethodIntegration.RequestTemplates = nullable(`{"statusCode": $input.params('s')}`)
		}},
		{name: "stale", edge: func(c *Config) {
			c.MaxStaleness, c.Freshness = time.Second, func() time.Duration { return 2 * time.Second }
		}},
		{name: "without headers", call: func(c *call) { c.path = "/nope" }, edge: func(c *Config) { c.Headers = false }},
	}
	shown := []string{"x-amzn-ErrorType", "Content-Type", "Content-Length", "Connection"}
	var out strings.Builder
	shared := start(t, newWorld(), nil)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld()
			if test.world != nil {
				test.world(w)
			}
			c := privateCall()
			if test.call != nil {
				test.call(&c)
			}
			r := shared
			if test.edge != nil {
				r = start(t, w, test.edge)
			} else {
				r.install(w)
			}
			res := r.must(c)
			fmt.Fprintf(&out, "== %s\n%d\n", test.name, res.status)
			for _, h := range shown {
				if v := res.header.Get(h); v != "" {
					fmt.Fprintf(&out, "%s: %s\n", h, v)
				}
			}
			for _, h := range []string{"x-postern-version", "x-postern-decision"} {
				if res.header.Get(h) != "" {
					fmt.Fprintf(&out, "has %s\n", h)
				}
			}
			fmt.Fprintf(&out, "%s\n\n", res.body)
			if id := res.header.Get("x-amzn-RequestId"); !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(id) {
				t.Errorf("x-amzn-RequestId is %q", id)
			}
			if id := res.header.Get("x-amz-apigw-id"); len(id) != 16 || !strings.HasSuffix(id, "=") {
				t.Errorf("x-amz-apigw-id is %q", id)
			}
			if res.header.Get("X-Amzn-Trace-Id") != "" {
				t.Error("an error carries X-Amzn-Trace-Id")
			}
		})
	}
	compare(t, "denials.txt", out.String())
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	g, w := strings.Split(got, "\n\n"), strings.Split(string(want), "\n\n")
	for _, section := range g {
		if !slices.Contains(w, section) {
			t.Errorf("not in %s:\n%s", file, section)
		}
	}
	for _, section := range w {
		if !slices.Contains(g, section) {
			t.Errorf("in %s only:\n%s", file, section)
		}
	}
}
