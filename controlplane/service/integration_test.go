package service

import (
	"strings"
	"testing"

	"github.com/posternhq/postern/controlplane/apierr"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

func templates(pairs ...string) *awsv1.NullableStringMap {
	m := &awsv1.NullableStringMap{Entries: make(map[string]*awsv1.NullableString)}
	for i := 0; i < len(pairs); i += 2 {
		m.Entries[pairs[i]] = &awsv1.NullableString{Value: new(pairs[i+1])}
	}
	return m
}

func TestPutIntegration(t *testing.T) {
	type request = apigatewayv1.PutIntegrationRequest
	const mapping = "Invalid mapping expression specified: Validation Result: warnings : [], errors : "
	for _, c := range []struct {
		name string
		req  *request
		err  string
	}{
		{"mock", &request{Type: new("MOCK")}, ""},
		{"http", &request{Type: new("HTTP"), HttpMethod: new("GET"), Uri: new("http://example.com:8080/a?b=c")}, ""},
		{"variables in host, port and path", &request{Type: new("HTTP_PROXY"), HttpMethod: new("ANY"), Uri: new("https://${stageVariables.host}:${stageVariables.port}/x/{proxy}")}, ""},
		{"declared parameter", &request{Type: new("MOCK"), RequestParameters: strMap("integration.request.path.a", "method.request.path.id")}, ""},
		{"other sources", &request{Type: new("MOCK"), RequestParameters: strMap(
			"integration.request.header.A", "'fixed'", "integration.request.header.B", "context.requestId",
			"integration.request.header.C", "stageVariables.v", "integration.request.querystring.d", "method.request.body.a.b",
			"integration.request.querystring.e", "method.request.multivaluequerystring.e")}, ""},
		{"no verb", &request{Type: new("HTTP"), Uri: new("http://example.com")}, "Enumeration value for HttpMethod must be non-empty"},
		{"strange verb", &request{Type: new("HTTP"), HttpMethod: new("FETCH"), Uri: new("http://example.com")}, "Invalid HttpMethod specified. Valid options are GET,PUT,POST,DELETE,PATCH,OPTIONS,HEAD,ANY"},
		{"no uri", &request{Type: new("HTTP"), HttpMethod: new("GET")}, "Invalid HTTP endpoint specified for URI"},
		{"other scheme", &request{Type: new("HTTP_PROXY"), HttpMethod: new("GET"), Uri: new("ftp://example.com")}, "Invalid HTTP endpoint specified for URI"},
		{"no host", &request{Type: new("HTTP_PROXY"), HttpMethod: new("GET"), Uri: new("http:///x")}, "Invalid HTTP endpoint specified for URI"},
		{"no role", &request{Type: new("AWS"), HttpMethod: new("POST"), Uri: new("arn:aws:apigateway:us-east-1:s3:path/b/k")}, "Role ARN must be specified for AWS integrations"},
		{"passthrough", &request{Type: new("MOCK"), PassthroughBehavior: new("ALWAYS")}, "Invalid passthroughBehavior specified. Valid options are WHEN_NO_MATCH,WHEN_NO_TEMPLATES,NEVER"},
		{"too short", &request{Type: new("MOCK"), TimeoutInMillis: new(int32(49))}, "Timeout should be between 50 ms and 29000 ms"},
		{"too long", &request{Type: new("MOCK"), TimeoutInMillis: new(int32(29001))}, "Timeout should be between 50 ms and 29000 ms"},
		{"link without id", &request{Type: new("HTTP"), HttpMethod: new("GET"), Uri: new("http://example.com"), ConnectionType: new("VPC_LINK")}, "ConnectionId must be specified for connection type VPC_LINK"},
		{"content type", &request{Type: new("MOCK"), RequestTemplates: templates("json", "{}")}, "Validation Result: warnings : [], errors : [Invalid content type specified: json]"},
		{"huge template", &request{Type: new("MOCK"), RequestTemplates: templates("application/json", strings.Repeat(" ", maxTemplate+1))}, "The mapping template for application/json exceeds the maximum size of 300 KB"},
		{"no expression", &request{Type: new("MOCK"), RequestParameters: strMap("integration.request.header.A", "true")}, mapping + "[Invalid mapping expression specified: true]"},
		{"wrong destination", &request{Type: new("MOCK"), RequestParameters: strMap("method.request.header.A", "'x'")}, mapping + "[Invalid mapping expression specified: method.request.header.A]"},
		{"undeclared parameters", &request{Type: new("MOCK"), RequestParameters: strMap("integration.request.path.a", "method.request.path.x", "integration.request.path.b", "method.request.path.y")},
			mapping + "[Invalid mapping expression parameter specified: method.request.path.x, Invalid mapping expression parameter specified: method.request.path.y]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newTestAPI(t)
			if _, err := a.PutMethod(a.ctx, &apigatewayv1.PutMethodRequest{
				RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET", AuthorizationType: new("NONE"), RequestParameters: bools("method.request.path.id"),
			}); err != nil {
				t.Fatal(err)
			}
			c.req.RestApiId, c.req.ResourceId, c.req.ResourceMethod = a.id, a.root, "GET"
			made, err := a.PutIntegration(a.ctx, c.req)
			if c.err != "" {
				wantError(t, err, apierr.KindInvalid, c.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			read, err := a.GetIntegration(a.ctx, &apigatewayv1.GetIntegrationRequest{RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := protoDiff(made, read); diff != "" {
				t.Errorf("answered and read differ:\n%s", diff)
			}
		})
	}
}

func TestUpdateIntegration(t *testing.T) {
	for _, c := range []struct {
		name  string
		patch []string
		kind  apierr.Kind
		err   string
		check func(*apigatewayv1.Integration) bool
	}{
		{"uri", []string{"replace /uri http://example.org/x"}, 0, "", func(in *apigatewayv1.Integration) bool { return in.GetUri() == "http://example.org/x" }},
		{"bad uri", []string{"replace /uri example.org"}, apierr.KindInvalid, "Invalid HTTP endpoint specified for URI", nil},
		{"to mock", []string{"replace /type MOCK"}, 0, "", func(in *apigatewayv1.Integration) bool { return in.Uri == nil }},
		{"to nothing", []string{"replace /type NOTHING"}, apierr.KindInvalid, "Invalid integration type specified. Valid options are HTTP,MOCK,AWS_PROXY,HTTP_PROXY,AWS", nil},
		{"timeout", []string{"replace /timeoutInMillis 50"}, 0, "", func(in *apigatewayv1.Integration) bool { return in.GetTimeoutInMillis() == 50 }},
		{"timeout in words", []string{"replace /timeoutInMillis soon"}, apierr.KindInvalid, "Timeout should be between 50 ms and 29000 ms", nil},
		{"template, empty is null", []string{"add /requestTemplates/application~1json"}, 0, "", func(in *apigatewayv1.Integration) bool {
			template := in.GetRequestTemplates().GetEntries()["application/json"]
			return template != nil && template.Value == nil
		}},
		{"template removed", []string{"add /requestTemplates/application~1json {}", "remove /requestTemplates/application~1json"}, 0, "", func(in *apigatewayv1.Integration) bool { return in.RequestTemplates == nil }},
		{"absent template removed", []string{"remove /requestTemplates/application~1json"}, apierr.KindNotFound, "Content-Type specified was not found", nil},
		{"content handling", []string{"replace /contentHandling CONVERT_TO_TEXT", "replace /contentHandling"}, 0, "", func(in *apigatewayv1.Integration) bool { return in.ContentHandling == nil }},
		{"cache keys", []string{"add /cacheKeyParameters/method.request.path.a", "add /cacheKeyParameters/method.request.path.b", "remove /cacheKeyParameters/method.request.path.a"}, 0, "", func(in *apigatewayv1.Integration) bool {
			return len(in.GetCacheKeyParameters().GetValues()) == 1
		}},
		{"certificate not verified", []string{"replace /tlsConfig/insecureSkipVerification true"}, 0, "", func(in *apigatewayv1.Integration) bool { return in.GetTlsConfig().GetInsecureSkipVerification() }},
		{"unknown path", []string{"replace /integrationResponses x"}, apierr.KindInvalid, "Invalid patch path /integrationResponses", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newTestAPI(t)
			a.mock(a.root, "GET")
			if _, err := a.PutIntegration(a.ctx, &apigatewayv1.PutIntegrationRequest{
				RestApiId: a.id, ResourceId: a.root, ResourceMethod: "GET", Type: new("HTTP"), HttpMethod: new("GET"), Uri: new("http://example.com"),
			}); err != nil {
				t.Fatal(err)
			}
			after, err := a.UpdateIntegration(a.ctx, &apigatewayv1.UpdateIntegrationRequest{RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET", PatchOperations: ops(c.patch...)})
			if c.err != "" {
				wantError(t, err, c.kind, c.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !c.check(after) {
				t.Errorf("integration %v", after)
			}
		})
	}
}

func TestIntegrationResponses(t *testing.T) {
	a := newTestAPI(t)
	a.mock(a.root, "GET")
	if _, err := a.PutMethodResponse(a.ctx, &apigatewayv1.PutMethodResponseRequest{RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET", StatusCode: "200", ResponseParameters: bools("method.response.header.A")}); err != nil {
		t.Fatal(err)
	}
	put := &apigatewayv1.PutIntegrationResponseRequest{
		RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET", StatusCode: "200",
		ResponseParameters: strMap("method.response.header.A", "integration.response.header.B"),
	}
	if _, err := a.PutIntegrationResponse(a.ctx, put); err != nil {
		t.Fatal(err)
	}
	put.ResponseParameters = strMap("method.response.header.Undeclared", "'x'")
	_, err := a.PutIntegrationResponse(a.ctx, put)
	wantError(t, err, apierr.KindInvalid, "Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression parameter specified: method.response.header.Undeclared]")

	update := &apigatewayv1.UpdateIntegrationResponseRequest{RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET", StatusCode: "200",
		PatchOperations: ops("replace /selectionPattern", `replace /responseTemplates/application~1json {"a":1}`, "replace /responseParameters/method.response.header.A 'fixed'")}
	after, err := a.UpdateIntegrationResponse(a.ctx, update)
	if err != nil {
		t.Fatal(err)
	}
	if after.SelectionPattern == nil || after.GetResponseParameters().GetEntries()["method.response.header.A"] != "'fixed'" || after.GetResponseTemplates().GetEntries()["application/json"].GetValue() != `{"a":1}` {
		t.Errorf("response %v", after)
	}
	update.PatchOperations = ops("replace /statusCode 201")
	_, err = a.UpdateIntegrationResponse(a.ctx, update)
	wantError(t, err, apierr.KindInvalid, "Invalid patch path /statusCode")

	gone := &apigatewayv1.DeleteIntegrationResponseRequest{RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET", StatusCode: "200"}
	if _, err := a.DeleteIntegrationResponse(a.ctx, gone); err != nil {
		t.Fatal(err)
	}
	_, err = a.DeleteIntegrationResponse(a.ctx, gone)
	wantError(t, err, apierr.KindNotFound, "Invalid Response status code specified")
	m, err := a.GetMethod(a.ctx, &apigatewayv1.GetMethodRequest{RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET"})
	if err != nil || len(m.GetMethodIntegration().GetIntegrationResponses()) != 0 {
		t.Errorf("method %v, error %v", m, err)
	}

	if _, err := a.DeleteIntegration(a.ctx, &apigatewayv1.DeleteIntegrationRequest{RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET"}); err != nil {
		t.Fatal(err)
	}
	_, err = a.PutIntegrationResponse(a.ctx, put)
	wantError(t, err, apierr.KindNotFound, "Invalid Integration identifier specified")
}
