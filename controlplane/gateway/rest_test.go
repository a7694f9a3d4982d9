package gateway

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/posternhq/postern/controlplane/apierr"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

func str(s string) *string { return proto.String(s) }

func stringMap(pairs ...string) *awsv1.StringMap {
	m := &awsv1.StringMap{}
	for i := 0; i < len(pairs); i += 2 {
		if m.Entries == nil {
			m.Entries = map[string]string{}
		}
		m.Entries[pairs[i]] = pairs[i+1]
	}
	return m
}

const method = "/restapis/u67n3ov968/resources/abc123/methods/GET"

func TestRESTRequests(t *testing.T) {
	tests := []struct {
		name, method, target, body string
		status                     int // of an answer without error
		rpc                        string
		want                       proto.Message
	}{
		{
			"create", "POST", "/restapis", `{"name":"private","endpointConfiguration":{"types":["PRIVATE"],"vpcEndpointIds":["vpce-1"]},"description":null,"unknown":{"x":[1]},"tags":{}}`,
			201, "CreateRestApi",
			&apigatewayv1.CreateRestApiRequest{
				Name:                  str("private"),
				EndpointConfiguration: &apigatewayv1.EndpointConfiguration{Types: &awsv1.StringList{Values: []string{"PRIVATE"}}, VpcEndpointIds: []string{"vpce-1"}},
				Tags:                  stringMap(),
			},
		},
		{"no body", "POST", "/restapis", "", 201, "CreateRestApi", &apigatewayv1.CreateRestApiRequest{}},
		{"null for a body", "POST", "/restapis", "null", 201, "CreateRestApi", &apigatewayv1.CreateRestApiRequest{}},
		{
			"path parameters win over the body", "POST", "/restapis/u67n3ov968/resources/root", `{"pathPart":"pets","restApiId":"other","parentId":"other"}`,
			201, "CreateResource",
			&apigatewayv1.CreateResourceRequest{RestApiId: "u67n3ov968", ParentId: "root", PathPart: str("pets")},
		},
		{
			"patch", "PATCH", "/restapis/u67n3ov968", `{"patchOperations":[{"op":"add","path":"/endpointConfiguration/vpcEndpointIds","value":"vpce-1"},{"op":"remove","path":"/description"}]}`,
			200, "UpdateRestApi",
			&apigatewayv1.UpdateRestApiRequest{RestApiId: "u67n3ov968", PatchOperations: []*awsv1.PatchOperation{
				{Op: str("add"), Path: str("/endpointConfiguration/vpcEndpointIds"), Value: str("vpce-1")},
				{Op: str("remove"), Path: str("/description")},
			}},
		},
		{"patch of a method response answers 201", "PATCH", method + "/responses/200", `{}`, 201, "UpdateMethodResponse", nil},
		{
			"the backend's verb is httpMethod, as the path's is", "PUT", method + "/integration", `{"type":"HTTP","httpMethod":"POST","uri":"http://x","requestTemplates":{"application/json":null,"text/plain":""},"timeoutInMillis":50,"cacheKeyParameters":[]}`,
			201, "PutIntegration",
			&apigatewayv1.PutIntegrationRequest{
				RestApiId: "u67n3ov968", ResourceId: "abc123", ResourceMethod: "GET",
				Type: str("HTTP"), HttpMethod: str("POST"), Uri: str("http://x"), TimeoutInMillis: proto.Int32(50),
				RequestTemplates:   &awsv1.NullableStringMap{Entries: map[string]*awsv1.NullableString{"application/json": {}, "text/plain": {Value: str("")}}},
				CacheKeyParameters: &awsv1.StringList{},
			},
		},
		{"empty templates are kept", "PUT", method + "/integration/responses/200", `{"responseTemplates":{},"selectionPattern":""}`, 201, "PutIntegrationResponse",
			&apigatewayv1.PutIntegrationResponseRequest{RestApiId: "u67n3ov968", ResourceId: "abc123", HttpMethod: "GET", StatusCode: "200", SelectionPattern: str(""), ResponseTemplates: &awsv1.NullableStringMap{}}},
		{
			"texts that spell numbers and booleans", "POST", "/restapis/u67n3ov968/stages", `{"stageName":"s","deploymentId":"d","cacheClusterEnabled":"TRUE","tracingEnabled":"false","canarySettings":{"percentTraffic":"12.5"}}`,
			201, "CreateStage",
			&apigatewayv1.CreateStageRequest{RestApiId: "u67n3ov968", StageName: str("s"), DeploymentId: str("d"), CacheClusterEnabled: proto.Bool(true), TracingEnabled: proto.Bool(false), CanarySettings: &apigatewayv1.CanarySettings{PercentTraffic: proto.Float64(12.5)}},
		},
		{"test invoke", "POST", method, `{"multiValueHeaders":{"a":["1","2"],"b":[]},"pathWithQueryString":"/?x=1"}`, 200, "TestInvokeMethod",
			&apigatewayv1.TestInvokeMethodRequest{RestApiId: "u67n3ov968", ResourceId: "abc123", HttpMethod: "GET", PathWithQueryString: str("/?x=1"),
				MultiValueHeaders: &apigatewayv1.StringListMap{Entries: map[string]*awsv1.StringList{"a": {Values: []string{"1", "2"}}, "b": {}}}}},
		{"list", "GET", "/restapis?limit=500&position=abc%3D&other=1", "", 200, "GetRestApis", &apigatewayv1.GetRestApisRequest{Limit: proto.Int32(500), Position: str("abc=")}},
		{"embed", "GET", "/restapis/u67n3ov968/resources?embed=methods", "", 200, "GetResources", &apigatewayv1.GetResourcesRequest{RestApiId: "u67n3ov968", Embed: []string{"methods"}}},
		{"query can't change the path", "GET", "/restapis/u67n3ov968/resources?restApiId=other&rest_api_id=other", "", 200, "GetResources", &apigatewayv1.GetResourcesRequest{RestApiId: "u67n3ov968"}},
		{"filter", "GET", "/restapis/u67n3ov968/stages?deploymentId=d1", "", 200, "GetStages", &apigatewayv1.GetStagesRequest{RestApiId: "u67n3ov968", DeploymentId: str("d1")}},
		{"delete api", "DELETE", "/restapis/u67n3ov968", "", 202, "DeleteRestApi", &apigatewayv1.DeleteRestApiRequest{RestApiId: "u67n3ov968"}},
		{"delete method", "DELETE", method, "", 204, "DeleteMethod", nil},
		{"tags, encoded", "GET", "/tags/arn%3Aaws%3Aapigateway%3Aus-west-2%3A%3A%2Frestapis%2Fabc%2Fstages%2Fprod", "", 200, "GetTags", &apigatewayv1.GetTagsRequest{ResourceArn: "arn:aws:apigateway:us-west-2::/restapis/abc/stages/prod"}},
		{"tags, raw", "GET", "/tags/arn:aws:apigateway:us-west-2::/restapis/abc", "", 200, "GetTags", &apigatewayv1.GetTagsRequest{ResourceArn: "arn:aws:apigateway:us-west-2::/restapis/abc"}},
		{"tags, mixed", "GET", "/tags/arn:aws:apigateway:us-west-2::%2frestapis/abc", "", 200, "GetTags", &apigatewayv1.GetTagsRequest{ResourceArn: "arn:aws:apigateway:us-west-2::/restapis/abc"}},
		{"a path is decoded once", "GET", "/tags/arn%3Aaws%3A%252F", "", 200, "GetTags", &apigatewayv1.GetTagsRequest{ResourceArn: "arn:aws:%2F"}},
		{"tag", "PUT", "/tags/arn%3Aaws%3Aapigateway%3Aus-west-2%3A%3A%2Frestapis%2Fabc", `{"tags":{"a":"1"}}`, 204, "TagResource",
			&apigatewayv1.TagResourceRequest{ResourceArn: "arn:aws:apigateway:us-west-2::/restapis/abc", Tags: stringMap("a", "1")}},
		{"untag", "DELETE", "/tags/arn%3Aaws%3Aapigateway%3Aus-west-2%3A%3A%2Frestapis%2Fabc?tagKeys=a&tagKeys=b%20c", "", 204, "UntagResource",
			&apigatewayv1.UntagResourceRequest{ResourceArn: "arn:aws:apigateway:us-west-2::/restapis/abc", TagKeys: []string{"a", "b c"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := &services{}
			// The type that a client claims means nothing.
			got := send(t, tt.method, front(t, conn)+tt.target, tt.body, "Content-Type", "application/x-www-form-urlencoded", "X-HTTP-Method-Override", "DELETE", "TE", "trailers")
			if got.status != tt.status || conn.method != "/postern.apigateway.v1.ApiGateway/"+tt.rpc {
				t.Fatalf("called %q, answered %d %s", conn.method, got.status, got.body)
			}
			if tt.want != nil {
				if diff := cmp.Diff(tt.want, conn.request, protocmp.Transform()); diff != "" {
					t.Errorf("request (-want +got)\n%s", diff)
				}
			}
			wantBody := "{}"
			if tt.method == "DELETE" || tt.rpc == "TagResource" {
				wantBody = ""
			}
			switch tt.rpc {
			case "GetRestApis", "GetResources", "GetStages", "GetDeployments":
				wantBody = `{"item":[]}`
			}
			if got.body != wantBody {
				t.Errorf("body %q", got.body)
			}
			if wantBody != "" && got.header.Get("Content-Type") != contentJSON {
				t.Errorf("type %q", got.header.Get("Content-Type"))
			}
			if id := got.header.Get("x-amz-apigw-id"); len(id) != 16 || !strings.HasSuffix(id, "=") {
				t.Errorf("x-amz-apigw-id %q", id)
			}
		})
	}
}

func TestRESTAnswers(t *testing.T) {
	tests := []struct {
		name, target string
		answer       proto.Message
		want         string
	}{
		{
			"api", "/restapis/u67n3ov968",
			&apigatewayv1.RestApi{
				Id: str("u67n3ov968"), Name: str("private"), CreatedDate: proto.Float64(1565718256), ApiKeySource: str("HEADER"),
				EndpointConfiguration:     &apigatewayv1.EndpointConfiguration{Types: &awsv1.StringList{Values: []string{"PRIVATE"}}, IpAddressType: str("dualstack")},
				Policy:                    str(`{\"Version\":\"2012-10-17\"} <&>` + "\n\x01é"),
				Tags:                      stringMap(),
				DisableExecuteApiEndpoint: proto.Bool(false),
				RootResourceId:            str("root"),
			},
			`{"id":"u67n3ov968","name":"private","createdDate":1565718256,"apiKeySource":"HEADER","endpointConfiguration":{"types":["PRIVATE"],"ipAddressType":"dualstack"},` +
				`"policy":"{\\\"Version\\\":\\\"2012-10-17\\\"} <&>\n\u0001é","tags":{},"disableExecuteApiEndpoint":false,"rootResourceId":"root"}`,
		},
		{
			"resources without embed", "/restapis/a/resources",
			&apigatewayv1.GetResourcesResponse{Item: []*apigatewayv1.Resource{
				{Id: str("1"), Path: str("/")},
				{Id: str("2"), ParentId: str("1"), PathPart: str("pets"), Path: str("/pets"), ResourceMethods: map[string]*apigatewayv1.Method{"PUT": {}, "GET": {}}},
			}, Position: str("next")},
			`{"item":[{"id":"1","path":"/"},{"id":"2","parentId":"1","pathPart":"pets","path":"/pets","resourceMethods":{"GET":{},"PUT":{}}}],"position":"next"}`,
		},
		{"an empty list is there", "/restapis", &apigatewayv1.GetRestApisResponse{}, `{"item":[]}`},
		{
			"templates may be null", method + "/integration/responses/200",
			&apigatewayv1.IntegrationResponse{StatusCode: str("200"), SelectionPattern: str(""), ResponseTemplates: &awsv1.NullableStringMap{Entries: map[string]*awsv1.NullableString{
				"application/json": {}, "text/plain": {Value: str("x")},
			}}},
			`{"statusCode":"200","selectionPattern":"","responseTemplates":{"application/json":null,"text/plain":"x"}}`,
		},
		{
			"numbers", "/account",
			&apigatewayv1.Account{ThrottleSettings: &apigatewayv1.ThrottleSettings{BurstLimit: proto.Int32(5000), RateLimit: proto.Float64(10000.5)}, Features: []string{"UsagePlans"}, ApiKeyVersion: str("4")},
			`{"throttleSettings":{"burstLimit":5000,"rateLimit":10000.5},"features":["UsagePlans"],"apiKeyVersion":"4"}`,
		},
		{
			"summary", "/restapis/a/deployments/d",
			&apigatewayv1.Deployment{Id: str("d"), ApiSummary: map[string]*apigatewayv1.MethodSnapshots{
				"/": {Entries: map[string]*apigatewayv1.MethodSnapshot{"GET": {AuthorizationType: str("NONE"), ApiKeyRequired: proto.Bool(false)}}},
			}},
			`{"id":"d","apiSummary":{"/":{"GET":{"authorizationType":"NONE","apiKeyRequired":false}}}}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := send(t, "GET", front(t, &services{answer: tt.answer})+tt.target, "")
			if got.status != 200 || got.body != tt.want {
				t.Errorf("got %d\n%s\nwant\n%s", got.status, got.body, tt.want)
			}
			if !json.Valid([]byte(got.body)) {
				t.Error("not JSON")
			}
		})
	}
	long := send(t, "POST", front(t, &services{answer: &apigatewayv1.TestInvokeMethodResponse{Latency: proto.Int64(1 << 40)}})+method, "{}")
	if long.body != `{"latency":1099511627776}` {
		t.Errorf("int64: %s", long.body)
	}
}

func TestRESTErrors(t *testing.T) {
	conn := &services{}
	url := front(t, conn)
	tests := []struct {
		name     string
		err      *apierr.Error
		status   int
		exc, msg string
	}{
		{"not found", apierr.NotFound("Invalid API identifier specified 123456789012:abc"), 404, "NotFoundException", "Invalid API identifier specified 123456789012:abc"},
		{"validation", apierr.Validation(`1 validation error detected: [1-5]\d\d "x"`), 400, "ValidationException", `1 validation error detected: [1-5]\d\d "x"`},
		{"too many", apierr.New(apierr.KindTooMany, "", "Too Many Requests"), 429, "TooManyRequestsException", "Too Many Requests"},
		{"no leader", apierr.New(apierr.KindUnavailable, "", "no leader"), 503, "ServiceUnavailableException", "no leader"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn.err = tt.err
			got := send(t, "GET", url+"/restapis/abc", "")
			var body struct{ Message string }
			if err := json.Unmarshal([]byte(got.body), &body); err != nil {
				t.Fatal(err)
			}
			if got.status != tt.status || got.header.Get("x-amzn-ErrorType") != tt.exc || body.Message != tt.msg {
				t.Errorf("got %d %s %s", got.status, got.header.Get("x-amzn-ErrorType"), got.body)
			}
			if retry := got.header.Get("Retry-After") != ""; retry != (tt.status == 429 || tt.status == 503) {
				t.Errorf("Retry-After: %v", retry)
			}
		})
	}
}

func TestRESTWrongBodies(t *testing.T) {
	const number = "com.amazon.coral.value.json.numbers.TruncatingBigNumber"
	tests := []struct{ name, body, want string }{
		{"number for a text in a map", `{"responseTemplates":{"application/json":123}}`, "class " + number + " can not be converted to an String"},
		{"boolean for a text", `{"selectionPattern":true}`, "class java.lang.Boolean can not be converted to an String"},
		{"structure for a text", `{"selectionPattern":{}}`, "Start of structure or map found where not expected"},
		{"list for a text", `{"selectionPattern":[]}`, "Start of list found where not expected"},
		{"list for a map", `{"responseParameters":[]}`, "Start of list found where not expected"},
		{"text for a map", `{"responseParameters":"x"}`, "Unexpected field type"},
		{"list for the whole", `[]`, "Start of list found where not expected"},
		{"text for the whole", `"x"`, "Unexpected field type"},
		{"of two mistakes the first in order", `{"responseTemplates":{"b":true,"a":1}}`, "class " + number + " can not be converted to an String"},
	}
	conn := &services{}
	url := front(t, conn)
	check := func(t *testing.T, got answer, want string) {
		t.Helper()
		var body struct{ Message string }
		if err := json.Unmarshal([]byte(got.body), &body); err != nil {
			t.Fatal(err)
		}
		if got.status != 400 || got.header.Get("x-amzn-ErrorType") != "SerializationException" || !strings.HasPrefix(body.Message, want) {
			t.Errorf("got %d %s %s", got.status, got.header.Get("x-amzn-ErrorType"), got.body)
		}
		if conn.method != "" {
			t.Errorf("called %s", conn.method)
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			check(t, send(t, "PUT", url+method+"/integration/responses/200", tt.body), tt.want)
		})
	}
	for _, body := range []string{"{", `{"a":1}}`, `{"a":1} 2`, "nul", "{'a':1}", "\xff"} {
		t.Run("malformed "+body, func(t *testing.T) {
			check(t, send(t, "POST", url+"/restapis", body), "Could not parse the request body as JSON")
		})
	}
	for body, want := range map[string]string{
		`{"minimumCompressionSize":"many"}`:          "class java.lang.String can not be converted to an Integer",
		`{"minimumCompressionSize":true}`:            "class java.lang.Boolean can not be converted to an Integer",
		`{"minimumCompressionSize":2147483648}`:      "class " + number + " can not be converted to an Integer",
		`{"minimumCompressionSize":1e999999999}`:     "class " + number + " can not be converted to an Integer",
		`{"disableExecuteApiEndpoint":1}`:            "class " + number + " can not be converted to an Boolean",
		`{"disableExecuteApiEndpoint":"yes"}`:        "class java.lang.String can not be converted to an Boolean",
		`{"binaryMediaTypes":"x"}`:                   "Unexpected field type",
		`{"endpointConfiguration":"PRIVATE"}`:        "Unexpected field type",
		`{"endpointConfiguration":{"types":"EDGE"}}`: "Unexpected field type",
	} {
		t.Run(body, func(t *testing.T) { check(t, send(t, "POST", url+"/restapis", body), want) })
	}
}

func TestRESTWrongQuery(t *testing.T) {
	conn := &services{}
	url := front(t, conn)
	got := send(t, "GET", url+"/restapis?limit=many", "")
	if got.status != 400 || got.header.Get("x-amzn-ErrorType") != "BadRequestException" || got.body != `{"message":"Invalid value for parameter limit"}` {
		t.Errorf("got %d %s %s", got.status, got.header.Get("x-amzn-ErrorType"), got.body)
	}
	if conn.method != "" {
		t.Errorf("called %s", conn.method)
	}
}

func TestRESTOperationsThatAreNotThere(t *testing.T) {
	conn := &services{}
	url := front(t, conn)
	tests := []struct {
		method, target string
		status         int
		contains       string
	}{
		{"POST", "/restapis?mode=import", 501, "ImportRestApi"},
		{"POST", "/restapis?failonwarnings=true&mode=import&parameters=x", 501, "ImportRestApi"},
		{"PUT", "/restapis/abc?mode=overwrite", 501, "PutRestApi"},
		{"POST", "/apikeys?mode=import", 501, "ImportApiKeys"},
		{"POST", "/apikeys", 501, "CreateApiKey"},
		{"GET", "/restapis/abc/stages/prod/exports/oas30", 501, "GetExport"},
		{"DELETE", "/restapis/abc/stages/prod/cache/data", 501, "FlushStageCache"},
		{"GET", "/domainnames/x%2Fy/basepathmappings/(none)", 501, "GetBasePathMapping"},
		{"GET", "/nothing", 403, "Unable to determine service/operation name to be authorized"},
		{"HEAD", "/restapis", 403, ""},
		{"OPTIONS", "/restapis", 403, "Unable to determine"},
		{"DELETE", "/restapis", 403, "Unable to determine"},
		{"GET", "/", 403, "Unable to determine"},
		{"GET", "//restapis", 403, "Unable to determine"},
		{"GET", "/restapis/", 403, "Unable to determine"},
		{"GET", "/restapis/abc%2fresources", 403, "Unable to determine"},
		{"GET", "/restapis//resources", 403, "Unable to determine"},
		{"GET", "/restapis/abc/../def", 403, "Unable to determine"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			conn.method = ""
			got := send(t, tt.method, url+tt.target, "")
			if got.status != tt.status || !strings.Contains(got.body, tt.contains) || conn.method != "" {
				t.Errorf("got %d %s, called %q", got.status, got.body, conn.method)
			}
		})
	}
}

// TestMissingIsMissing fails when an operation of the table gets an RPC.
func TestMissingIsMissing(t *testing.T) {
	methods := service(apigatewayv1.File_postern_apigateway_v1_apigateway_proto).Methods()
	have := map[string]bool{}
	for i := range methods.Len() {
		have[string(methods.Get(i).Name())] = true
	}
	lines := newRequestLines(missingAPIGateway)
	if len(lines) < 70 {
		t.Errorf("only %d lines read", len(lines))
	}
	for _, l := range lines {
		if have[l.operation] {
			t.Errorf("%s is there now", l.operation)
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"name":"a","endpointConfiguration":{"types":["PRIVATE"]},"tags":{"a":null},"minimumCompressionSize":"1e3"}`))
	f.Add([]byte(`{"type":"HTTP","requestTemplates":{"a":null,"b":""},"tlsConfig":{"insecureSkipVerification":"TRUE"},"timeoutInMillis":9.9e1}`))
	f.Add([]byte(`{"multiValueHeaders":{"a":["\ud800",null]},"patchOperations":[null,{"op":"\u0000"}]}`))
	f.Add([]byte(`[[[`))
	messages := []proto.Message{
		&apigatewayv1.CreateRestApiRequest{}, &apigatewayv1.PutIntegrationRequest{}, &apigatewayv1.TestInvokeMethodRequest{},
		&apigatewayv1.UpdateStageRequest{}, &apigatewayv1.CreateStageRequest{}, &apigatewayv1.PutMethodRequest{},
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, m := range messages {
			msg := m.ProtoReflect().New()
			if readJSON(data, msg) != nil {
				continue
			}
			// What was read can be sent, written, and reads as the same again.
			if _, err := proto.Marshal(msg.Interface()); err != nil {
				t.Fatalf("%T: %v", m, err)
			}
			text := appendJSON(nil, msg)
			if !json.Valid(text) {
				t.Fatalf("%T: wrote %q", m, text)
			}
			again := m.ProtoReflect().New()
			if err := readJSON(text, again); err != nil {
				t.Fatalf("%T: %v in %q", m, err, text)
			}
			if !proto.Equal(msg.Interface(), again.Interface()) {
				t.Fatalf("%T: %q reads as another message", m, text)
			}
		}
	})
}

func FuzzPath(f *testing.F) {
	f.Add("GET", "/restapis/abc/resources?embed=methods&limit=1")
	f.Add("DELETE", "/tags/arn%3Aaws%2F?tagKeys=a&tagKeys=b")
	f.Add("POST", "/restapis?mode=import")
	f.Add("GET", "/2013-04-01/change/C1")
	f.Add("PUT", "/restapis/%2e%2e/%00/..//x:y")
	f.Add("GET", "/?Action=DescribeVpcs&Filter.1.Name=x")
	conn := &services{}
	g, err := New(Config{Conn: conn})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		r, err := http.NewRequest(method, "http://127.0.0.1", nil)
		if err != nil {
			return
		}
		if r.URL, err = r.URL.Parse(target); err != nil || r.URL.Host != "127.0.0.1" {
			return
		}
		r.RequestURI, r.Body = target, http.NoBody
		w := httptest.NewRecorder()
		conn.method, conn.request = "", nil
		g.ServeHTTP(w, r)
		if w.Code < 200 || w.Code == 500 || w.Code > 599 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if conn.request != nil {
			if _, err := proto.Marshal(conn.request); err != nil {
				t.Fatalf("%s: %v", conn.method, err)
			}
		}
	})
}
