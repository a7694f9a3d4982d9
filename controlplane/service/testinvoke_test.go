package service

import (
	"context"
	"regexp"
	"testing"
	"time"

	"github.com/posternhq/postern/controlplane/apierr"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
)

func TestInvokeMock(t *testing.T) {
	a := newTestAPI(t)
	a.ApiGatewayServer = NewAPIGateway(Config{Cluster: a.cluster, Now: func() time.Time { return time.Unix(1700000000, 0) }})
	pet := a.path("/pets/{petId}")
	a.mock(pet, "GET")
	put := func(template string) {
		t.Helper()
		if _, err := a.PutIntegration(a.ctx, &apigatewayv1.PutIntegrationRequest{
			RestApiId: a.id, ResourceId: pet, ResourceMethod: "GET", Type: new("MOCK"), RequestTemplates: templates("application/json", template),
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.PutIntegrationResponse(a.ctx, &apigatewayv1.PutIntegrationResponseRequest{
			RestApiId: a.id, ResourceId: pet, HttpMethod: "GET", StatusCode: "200", ResponseTemplates: templates("application/json", `{"pets": "all the pets"}`),
			ResponseParameters: strMap("method.response.header.X-Test", "'yes'"),
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.PutIntegrationResponse(a.ctx, &apigatewayv1.PutIntegrationResponseRequest{
			RestApiId: a.id, ResourceId: pet, HttpMethod: "GET", StatusCode: "404", SelectionPattern: new("4\\d\\d"),
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.PutMethodResponse(a.ctx, &apigatewayv1.PutMethodResponseRequest{
		RestApiId: a.id, ResourceId: pet, HttpMethod: "GET", StatusCode: "200", ResponseParameters: bools("method.response.header.X-Test"),
	}); err != nil {
		t.Fatal(err)
	}
	invoke := func(path string) (*apigatewayv1.TestInvokeMethodResponse, error) {
		return a.TestInvokeMethod(context.Background(), &apigatewayv1.TestInvokeMethodRequest{
			RestApiId: a.id, ResourceId: pet, HttpMethod: "GET", PathWithQueryString: new(path), Headers: strMap("A", "b"), Body: new("hello"),
		})
	}

	put(`{"statusCode": 200}`)
	answer, err := invoke("/pets/123?foo=bar")
	if err != nil {
		t.Fatal(err)
	}
	if answer.GetStatus() != 200 || answer.GetBody() != `{"pets": "all the pets"}` || answer.GetHeaders().GetEntries()["X-Test"] != "yes" {
		t.Errorf("answer %v", answer)
	}
	id := regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	const at = "Tue Nov 14 22:13:20 UTC 2023 : "
	want := "Execution log for request ID\n" +
		at + "Starting execution for request: ID\n" +
		at + "HTTP Method: GET, Resource Path: /pets/123\n" +
		at + "Method request path: {petId=123}\n" +
		at + "Method request query string: {foo=bar}\n" +
		at + "Method request headers: {A=b}\n" +
		at + "Method request body before transformations: hello\n" +
		at + "Method response body after transformations: {\"pets\": \"all the pets\"}\n" +
		at + "Method response headers: {Content-Type=application/json, X-Test=yes}\n" +
		at + "Successfully completed execution\n" +
		at + "Method completed with status: 200\n"
	if got := id.ReplaceAllString(answer.GetLog(), "ID"); got != want {
		t.Errorf("log\n%s\nwant\n%s", got, want)
	}

	put(`{"statusCode": 404}`)
	if answer, err = invoke(""); err != nil || answer.GetStatus() != 404 || answer.GetBody() != "" {
		t.Errorf("answer %v, error %v", answer, err)
	}
	put(`{}`)
	if answer, err = invoke(""); err != nil || answer.GetStatus() != 500 {
		t.Errorf("answer %v, error %v", answer, err)
	}
	put(`{"statusCode": $x}`)
	if _, err = invoke(""); asAPIError(err).Kind != apierr.KindUnsupported {
		t.Errorf("error %v", err)
	}
}

func TestPathParameters(t *testing.T) {
	for _, c := range []struct{ template, path, want string }{
		{"/", "/", "{}"},
		{"/pets/{id}", "/pets/1", "{id=1}"},
		{"/pets/{id}", "/pets/{id}", "{id={id}}"},
		{"/pets/{id}", "/random/1", "{}"},
		{"/pets/{id}", "/pets/1/2", "{}"},
		{"/pets/{id}/toys/{toy}", "/pets/1/toys/2", "{id=1, toy=2}"},
		{"/{proxy+}", "/a/b/c", "{proxy=a/b/c}"},
		{"/a/{proxy+}", "/a", "{}"},
	} {
		if got := pairs(pathParameters(c.template, c.path)); got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.path, c.template, got, c.want)
		}
	}
}
