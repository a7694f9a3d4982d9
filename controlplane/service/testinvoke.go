package service

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/internal/vtl"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// TestInvokeMethod answers from the method as it is now, deployed or not,
// without authorisation or policy. It covers MOCK integrations with literal
// templates: a control-plane node calls no backends.
func (s *apiGateway) TestInvokeMethod(ctx context.Context, req *apigatewayv1.TestInvokeMethodRequest) (*apigatewayv1.TestInvokeMethodResponse, error) {
	a, err := s.readAPIElse(ctx, req.GetRestApiId(), errNoResource())
	if err != nil {
		return nil, err
	}
	r := a.child(statev1.Type_TYPE_RESOURCE, req.GetResourceId()).GetResource()
	if r == nil {
		return nil, errNoResource()
	}
	m := r.GetResourceMethods()[req.GetHttpMethod()]
	if m == nil {
		return nil, errNoMethod()
	}
	in := m.GetMethodIntegration()
	switch {
	case in == nil:
		return nil, apierr.BadRequest("No integration defined for method")
	case in.GetType() != integrationMock:
		return nil, apierr.Unsupported("TestInvokeMethod is available for MOCK integrations only, this method has %s: deploy the API and call it", in.GetType())
	}
	started := s.cfg.Now()
	t := testInvocation{
		cfg: s.cfg,
		id:  s.cfg.uuid(),
	}
	answer, err := t.run(r, in, req)
	if err != nil {
		return nil, err
	}
	answer.Log = new(t.log.String())
	answer.Latency = new(s.cfg.Now().Sub(started).Milliseconds())
	return answer, nil
}

// testInvocation is one test call and its log.
type testInvocation struct {
	cfg Config
	id  string
	log strings.Builder
}

func (t *testInvocation) logf(format string, args ...any) {
	at := t.cfg.Now().UTC().Format("Mon Jan 02 15:04:05 UTC 2006")
	fmt.Fprintf(&t.log, "%s : %s\n", at, fmt.Sprintf(format, args...))
}

func (t *testInvocation) run(r *apigatewayv1.Resource, in *apigatewayv1.Integration, req *apigatewayv1.TestInvokeMethodRequest) (*apigatewayv1.TestInvokeMethodResponse, error) {
	path, query, _ := strings.Cut(req.GetPathWithQueryString(), "?")
	if path == "" {
		path = r.GetPath()
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, apierr.BadRequest("Invalid pathWithQueryString specified: %s", req.GetPathWithQueryString())
	}
	fmt.Fprintf(&t.log, "Execution log for request %s\n", t.id)
	t.logf("Starting execution for request: %s", t.id)
	t.logf("HTTP Method: %s, Resource Path: %s", req.GetHttpMethod(), path)
	t.logf("Method request path: %s", pairs(pathParameters(r.GetPath(), path)))
	t.logf("Method request query string: %s", pairs(firstValues(values)))
	t.logf("Method request headers: %s", pairs(requestHeaders(req)))
	t.logf("Method request body before transformations: %s", req.GetBody())

	status, err := mockStatus(in.GetRequestTemplates())
	if err != nil {
		return nil, err
	}
	response := selectResponse(in, status)
	if response == nil {
		t.logf("Execution failed due to configuration error: No match for output mapping and no default output mapping configured. Endpoint Response Status Code: %d", status)
		t.logf("Method completed with status: 500")
		return testAnswer(500, `{"message": "Internal server error"}`, nil), nil
	}
	body, err := literalTemplate(response.GetResponseTemplates())
	if err != nil {
		return nil, err
	}
	headers := make(map[string]string)
	for destination, source := range response.GetResponseParameters().GetEntries() {
		if value, ok := strings.CutPrefix(source, "'"); ok {
			headers[strings.TrimPrefix(destination, "method.response.header.")] = strings.TrimSuffix(value, "'")
		}
	}
	code, err := strconv.ParseInt(response.GetStatusCode(), 10, 32)
	if err != nil {
		return nil, fmt.Errorf("stored status code %q: %w", response.GetStatusCode(), err)
	}
	answer := testAnswer(int32(code), body, headers)
	t.logf("Method response body after transformations: %s", body)
	t.logf("Method response headers: %s", pairs(answer.GetHeaders().GetEntries()))
	t.logf("Successfully completed execution")
	t.logf("Method completed with status: %d", code)
	return answer, nil
}

func testAnswer(status int32, body string, headers map[string]string) *apigatewayv1.TestInvokeMethodResponse {
	all := map[string]string{"Content-Type": "application/json"}
	maps.Copy(all, headers)
	lists := make(map[string]*awsv1.StringList)
	for name, value := range all {
		lists[name] = &awsv1.StringList{Values: []string{value}}
	}
	return &apigatewayv1.TestInvokeMethodResponse{
		Status:            new(status),
		Body:              new(body),
		Headers:           &awsv1.StringMap{Entries: all},
		MultiValueHeaders: &apigatewayv1.StringListMap{Entries: lists},
	}
}

// literalTemplate returns what the template for JSON renders to.
func literalTemplate(templates *awsv1.NullableStringMap) (string, error) {
	text := templates.GetEntries()["application/json"].GetValue()
	if !vtl.Literal(text) {
		return "", apierr.Unsupported("TestInvokeMethod: the template needs the mapping-template language, which is not available yet")
	}
	return text, nil
}

// mockStatus is the status that a MOCK integration's request template names; 0
// if it names none, which no response matches.
func mockStatus(templates *awsv1.NullableStringMap) (int, error) {
	text, err := literalTemplate(templates)
	if err != nil {
		return 0, err
	}
	var named struct {
		StatusCode json.Number `json:"statusCode"` // quoted or not
	}
	if json.Unmarshal([]byte(text), &named) != nil {
		return 0, nil
	}
	status, err := strconv.Atoi(named.StatusCode.String())
	if err != nil {
		return 0, nil
	}
	return status, nil
}

// selectResponse finds the integration response for a backend's status: the
// first whose pattern matches all of it, else the one without a pattern.
func selectResponse(in *apigatewayv1.Integration, status int) *apigatewayv1.IntegrationResponse {
	if status == 0 {
		return nil
	}
	var fallback *apigatewayv1.IntegrationResponse
	for _, code := range slices.Sorted(maps.Keys(in.GetIntegrationResponses())) {
		r := in.GetIntegrationResponses()[code]
		if r.GetSelectionPattern() == "" {
			if fallback == nil {
				fallback = r
			}
			continue
		}
		pattern, err := regexp.Compile("^(?:" + r.GetSelectionPattern() + ")$")
		if err == nil && pattern.MatchString(strconv.Itoa(status)) {
			return r
		}
	}
	return fallback
}

// pathParameters are the values of a resource path's variables in a request
// path; none if the path isn't of that resource.
func pathParameters(template, path string) map[string]string {
	want := strings.Split(strings.Trim(template, "/"), "/")
	have := strings.Split(strings.Trim(path, "/"), "/")
	out := make(map[string]string)
	for i, part := range want {
		switch {
		case i >= len(have):
			return nil
		case isGreedy(part):
			out[strings.Trim(part, "{+}")] = strings.Join(have[i:], "/")
			return out
		case isVariable(part):
			out[strings.Trim(part, "{}")] = have[i]
		case part != have[i]:
			return nil
		}
	}
	if len(have) != len(want) {
		return nil
	}
	return out
}

func firstValues(values url.Values) map[string]string {
	out := make(map[string]string)
	for name := range values {
		out[name] = values.Get(name)
	}
	return out
}

func requestHeaders(req *apigatewayv1.TestInvokeMethodRequest) map[string]string {
	out := make(map[string]string)
	maps.Copy(out, req.GetHeaders().GetEntries())
	for name, list := range req.GetMultiValueHeaders().GetEntries() {
		out[name] = strings.Join(list.GetValues(), ",")
	}
	return out
}

// pairs prints a map as the log does.
func pairs(m map[string]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, name+"="+m[name])
	}
	return "{" + strings.Join(out, ", ") + "}"
}

// uuid returns a random UUID, the form of request ids.
func (cfg Config) uuid() string {
	const hexDigits = "0123456789abcdef"
	id := cfg.pick(hexDigits, 32)
	return id[:8] + "-" + id[8:12] + "-4" + id[13:16] + "-" + cfg.pick("89ab", 1) + id[17:20] + "-" + id[20:]
}
