package integration

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dataplane/route"
	"github.com/posternhq/postern/internal/netx"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

// seen is what a backend got.
type seen struct {
	method, uri, host, body string
	header                  http.Header
	length                  int64
}

// backend is an HTTP server that records requests.
type backend struct {
	*httptest.Server
	got    seen
	answer func(w http.ResponseWriter, r *http.Request)
}

func newBackend(t *testing.T) *backend {
	b := &backend{answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Log(err)
		}
		b.got = seen{r.Method, r.RequestURI, r.Host, string(body), r.Header, r.ContentLength}
		b.answer(w, r)
	}))
	t.Cleanup(b.Close)
	return b
}

// front is a method with an integration, called by a client.
type front struct {
	in        *apigatewayv1.Integration
	variables map[string]string
	path      string // of the resource
	raw       string // as called, with query
	method    string
	header    http.Header
	host      string
	body      io.Reader
	length    int64
	config    Config
	binary    []string
}

func integrationOf(kind, uri string) *apigatewayv1.Integration {
	return &apigatewayv1.Integration{Type: &kind, Uri: &uri, HttpMethod: proto.String("ANY")}
}

func parameters(pairs ...string) *awsv1.StringMap {
	m := &awsv1.StringMap{Entries: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		m.Entries[pairs[i]] = pairs[i+1]
	}
	return m
}

func templates(pairs ...string) *awsv1.NullableStringMap {
	m := &awsv1.NullableStringMap{Entries: map[string]*awsv1.NullableString{}}
	for i := 0; i < len(pairs); i += 2 {
		m.Entries[pairs[i]] = &awsv1.NullableString{}
		if pairs[i+1] != "null" {
			m.Entries[pairs[i]].Value = proto.String(pairs[i+1])
		}
	}
	return m
}

func (f *front) call(t *testing.T) (*httptest.ResponseRecorder, Fault, error) {
	t.Helper()
	if f.path == "" {
		f.path, f.raw = "/pets", "/pets"+f.raw
	}
	if f.method == "" {
		f.method = "GET"
	}
	f.config.Network = netx.Host()
	p := New(f.config)
	t.Cleanup(p.Close)
	b := p.Prepare(&edgev1.Stage{ApiId: "abcde12345", Name: "prod", Variables: &awsv1.StringMap{Entries: f.variables}, BinaryMediaTypes: f.binary},
		&edgev1.Route{Path: f.path, HttpMethod: "ANY", Method: &apigatewayv1.Method{MethodIntegration: f.in}})
	r := httptest.NewRequest(f.method, "https://api.example/prod"+f.raw, f.body)
	if f.length != 0 {
		r.ContentLength = f.length
	}
	if f.header != nil {
		r.Header = f.header
	}
	if f.host != "" {
		r.Host = f.host
	}
	router, err := route.NewRouter([]route.Route[int]{{Path: f.path, Method: "ANY"}})
	if err != nil {
		t.Fatal(err)
	}
	c := &Call{Request: r, Params: &route.Params{}, TraceID: "Root=1-00000000-000000000000000000000000",
		Context: contextOf{}}
	if _, ok := router.Match(strings.TrimPrefix(r.URL.EscapedPath(), "/prod"), f.method, c.Params); !ok {
		t.Fatalf("%s does not match %s", f.raw, f.path)
	}
	w := httptest.NewRecorder()
	fault, err := b.Serve(w, c)
	return w, fault, err
}

type contextOf struct{}

func (contextOf) ContextValue(name string) (string, bool) {
	return "context of " + name, name != "absent"
}

func (f *front) must(t *testing.T) *httptest.ResponseRecorder {
	t.Helper()
	w, fault, err := f.call(t)
	if fault != None || err != nil {
		t.Fatalf("fault %d: %v", fault, err)
	}
	return w
}

func TestHTTPProxyPassesEverything(t *testing.T) {
	b := newBackend(t)
	b.answer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Own", "1")
		w.Header()["X-Two"] = []string{"a", "b"}
		w.Header().Set("Server", "backend")
		w.Header().Set("X-Postern-Version", "99")
		w.Header().Set("X-Amzn-RequestId", "theirs")
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(418)
		_, _ = io.WriteString(w, "teapot")
	}
	f := front{in: integrationOf("HTTP_PROXY", b.URL+"/base/{proxy}?fixed=1"), path: "/{proxy+}", raw: "/a%2Fb/c%20d//e?x=1&x=2&y=%41;z", method: "PUT",
		body: strings.NewReader("body"), header: http.Header{
			"X-Custom": {"1", "2"}, "Authorization": {"Bearer x"}, "Content-Type": {"text/plain"}, "Date": {"now"},
			"Connection": {"X-Hop"}, "X-Hop": {"1"}, "Via": {"1.1 x"}, "Te": {"trailers"}, "Expect": {""}, "Content-Md5": {"x"},
			"X-Amzn-Vpce-Id": {"vpce-forged"}, "X-Amzn-Apigateway-Api-Id": {"forged"}, "Accept-Encoding": {"br"}, "Content-Encoding": {"gzip"},
		}}
	w := f.must(t)
	want := seen{method: "PUT", uri: "/base/a%2Fb/c%20d//e?fixed=1&x=1&x=2&y=%41;z", host: strings.TrimPrefix(b.URL, "http://"), body: "body", length: 4,
		header: http.Header{
			"X-Custom": {"1,2"}, "Authorization": {"Bearer x"}, "Content-Type": {"text/plain"}, "Date": {"now"}, "Accept-Encoding": {"br"},
			"Accept": {"application/json"}, "User-Agent": {"AmazonAPIGateway_abcde12345"}, "Content-Length": {"4"},
			"X-Amzn-Apigateway-Api-Id": {"abcde12345"}, "X-Amzn-Trace-Id": {"Root=1-00000000-000000000000000000000000"},
		}}
	if diff := cmp.Diff(want, b.got, cmp.AllowUnexported(seen{})); diff != "" {
		t.Error(diff)
	}
	if w.Code != 418 || w.Body.String() != "teapot" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	got := w.Result().Header
	for name, want := range map[string][]string{
		"X-Own": {"1"}, "X-Two": {"a", "b"}, "x-amzn-Remapped-Server": {"backend"}, "Server": nil, "X-Postern-Version": nil,
		"x-amzn-Remapped-X-Amzn-Requestid": {"theirs"}, "X-Amzn-Requestid": nil, "Www-Authenticate": nil,
		"x-amzn-Remapped-Www-Authenticate": {"Basic"}, "x-amzn-Remapped-Content-Length": {"6"}, "Content-Length": {"6"}, "Date": nil,
	} {
		if !slices.Equal(got[name], want) {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if len(got["x-amzn-Remapped-Date"]) != 1 {
		t.Error("the backend's Date is not remapped")
	}
}

// What the policy saw as one segment must not become two on the way out: a
// character of the uri that URLs don't have has net/url decode all of the path.
func TestPathIsNotDecodedBesideOddLiterals(t *testing.T) {
	for _, literal := range []string{"/plain/", "/a b/", "/été/", "/a|b/", `/a"b/`, "/a%2Fb|/"} {
		b := newBackend(t)
		f := &front{in: integrationOf("HTTP_PROXY", b.URL+literal+"{proxy}?x=1"), path: "/files/{proxy+}", raw: "/files/..%2Fadmin/%41"}
		if _, fault, err := f.call(t); fault != None {
			t.Fatal(literal, fault, err)
		}
		if !strings.HasSuffix(b.got.uri, "/..%2Fadmin/%41?x=1") {
			t.Errorf("%s: the backend got %s", literal, b.got.uri)
		}
	}
}

func TestHTTPProxyMergesMappings(t *testing.T) {
	b := newBackend(t)
	f := front{in: integrationOf("HTTP_PROXY", b.URL+"/{id}"), path: "/pets/{pet}", raw: "/pets/7%2F8?keep=1&over=2", variables: map[string]string{"v": "var"},
		header: http.Header{"X-From": {"client"}, "X-Source": {"value"}}}
	f.in.RequestParameters = parameters(
		"integration.request.path.id", "method.request.path.pet",
		"integration.request.querystring.over", "'mapped'",
		"integration.request.querystring.pet", "method.request.path.pet",
		"integration.request.header.x-from", "stageVariables.v",
		"integration.request.header.x-to", "method.request.header.x-source",
		"integration.request.header.x-context", "context.requestId",
		"integration.request.header.x-absent", "context.absent",
		"integration.request.header.x-novar", "stageVariables.none",
		"integration.request.header.host", "'backend.example'",
	)
	f.must(t)
	if b.got.uri != "/7%2F8?keep=1&over=mapped&pet=7%2F8" || b.got.host != "backend.example" {
		t.Errorf("got %s of %s", b.got.uri, b.got.host)
	}
	for name, want := range map[string]string{"X-From": "var", "X-To": "value", "X-Context": "context of requestId", "X-Absent": "", "X-Novar": ""} {
		if got := b.got.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestHTTPSendsOnlyWhatIsMapped(t *testing.T) {
	b := newBackend(t)
	f := front{in: integrationOf("HTTP", b.URL+"/x"), raw: "?q=1&q=2&r=3", method: "POST", body: strings.NewReader(`{"a":{"b":[1,"two"]}}`),
		header: http.Header{"X-Client": {"1", "2"}, "Content-Type": {"application/json; charset=utf-8"}}}
	f.in.HttpMethod = proto.String("PATCH")
	f.in.RequestParameters = parameters(
		"integration.request.querystring.last", "method.request.querystring.q",
		"integration.request.querystring.all", "method.request.multivaluequerystring.q",
		"integration.request.header.last", "method.request.header.X-Client",
		"integration.request.header.all", "method.request.multivalueheader.x-client",
		"integration.request.header.whole", "method.request.body",
		"integration.request.header.field", "method.request.body.a.b[1]",
		"integration.request.header.length", "method.request.header.content-length",
		"integration.request.header.connection", "'close'",
	)
	f.in.IntegrationResponses = map[string]*apigatewayv1.IntegrationResponse{"200": {StatusCode: proto.String("200")}}
	f.must(t)
	want := seen{method: "PATCH", uri: "/x?all=1&all=2&last=2", host: strings.TrimPrefix(b.URL, "http://"), body: `{"a":{"b":[1,"two"]}}`, length: 21,
		header: http.Header{
			"Last": {"2"}, "All": {"1,2"}, "Whole": {`{"a":{"b":[1,"two"]}}`}, "Field": {"two"}, "Content-Type": {"application/json; charset=utf-8"},
			"Accept": {"application/json"}, "User-Agent": {"AmazonAPIGateway_abcde12345"}, "Content-Length": {"21"},
			"X-Amzn-Apigateway-Api-Id": {"abcde12345"}, "X-Amzn-Trace-Id": {"Root=1-00000000-000000000000000000000000"},
		}}
	if diff := cmp.Diff(want, b.got, cmp.AllowUnexported(seen{})); diff != "" {
		t.Error(diff)
	}
}

func TestHTTPResponses(t *testing.T) {
	b := newBackend(t)
	status := 200
	b.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Back", "1")
		w.Header()["X-Many"] = []string{"a", "b"}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"error":{"code":7}}`)
	}
	f := front{in: integrationOf("HTTP", b.URL)}
	f.in.IntegrationResponses = map[string]*apigatewayv1.IntegrationResponse{
		"200": {StatusCode: proto.String("200"), ResponseParameters: parameters(
			"method.response.header.one", "integration.response.header.X-Back",
			"method.response.header.many", "integration.response.multivalueheader.x-many",
			"method.response.header.code", "integration.response.body.error.code",
			"method.response.header.static", "'s'",
			"method.response.header.Server", "'mine'",
			"method.response.header.Transfer-Encoding", "'x'",
		)},
		"404": {StatusCode: proto.String("404"), SelectionPattern: proto.String("4\\d{2}"), ResponseTemplates: templates("application/json", `{"no":"such"}`)},
		"502": {StatusCode: proto.String("502"), SelectionPattern: proto.String("50"), ResponseTemplates: templates("application/json", "never")},
	}
	w := f.must(t)
	if w.Code != 200 || w.Body.String() != `{"error":{"code":7}}` {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	for name, want := range map[string]string{"One": "1", "Many": "a,b", "Code": "7", "Static": "s", "X-Back": "", "Content-Type": "application/json"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := w.Header()["x-amzn-Remapped-Server"]; len(got) != 1 {
		t.Errorf("mapped Server header: %v", w.Header())
	}
	status = 410
	if w := f.must(t); w.Code != 404 || w.Body.String() != `{"no":"such"}` || w.Header().Get("X-Back") != "" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	status = 500 // "50" must match whole
	if w := f.must(t); w.Code != 200 {
		t.Errorf("got %d", w.Code)
	}
	delete(f.in.IntegrationResponses, "200")
	if _, fault, _ := f.call(t); fault != Misconfigured {
		t.Errorf("no integration response fits: fault %d", fault)
	}
}

func TestRequestTemplates(t *testing.T) {
	b := newBackend(t)
	responses := map[string]*apigatewayv1.IntegrationResponse{"200": {StatusCode: proto.String("200")}}
	for _, test := range []struct {
		name, behavior, contentType string
		templates                   *awsv1.NullableStringMap
		fault                       Fault
		body                        string
	}{
		{"none", "", "text/plain", nil, None, "client"},
		{"match", "", "application/json; charset=utf-8", templates("application/json", "literal"), None, "literal"},
		{"match without a type", "NEVER", "", templates("application/json", "literal"), None, "literal"},
		{"null transforms nothing", "NEVER", "", templates("application/json", "null"), None, "client"},
		{"default key", "NEVER", "text/plain", templates("$default", "default"), None, "default"},
		{"no match", "WHEN_NO_MATCH", "text/plain", templates("application/json", "literal"), None, "client"},
		{"no match, when no templates", "WHEN_NO_TEMPLATES", "text/plain", templates("application/json", "literal"), MediaType, ""},
		{"no templates, when no templates", "WHEN_NO_TEMPLATES", "text/plain", nil, None, "client"},
		{"never", "NEVER", "text/plain", nil, MediaType, ""},
		{"language", "", "", templates("application/json", `{"a": "$input.body"}`), Misconfigured, ""},
		{"language of another type", "", "text/plain", templates("application/json", "$x"), None, "client"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b.got = seen{}
			f := front{in: integrationOf("HTTP", b.URL), method: "POST", body: strings.NewReader("client"), header: http.Header{}}
			if test.contentType != "" {
				f.header.Set("Content-Type", test.contentType)
			}
			f.in.RequestTemplates, f.in.IntegrationResponses = test.templates, responses
			if test.behavior != "" {
				f.in.PassthroughBehavior = &test.behavior
			}
			_, fault, _ := f.call(t)
			if fault != test.fault || b.got.body != test.body {
				t.Errorf("fault %d, backend got %q", fault, b.got.body)
			}
		})
	}
}

func TestMock(t *testing.T) {
	mock := func(template string, change func(f *front)) (int, string, string, Fault) {
		t.Helper()
		f := front{in: integrationOf("MOCK", ""), header: http.Header{}}
		f.in.RequestTemplates = templates("application/json", template)
		f.in.IntegrationResponses = map[string]*apigatewayv1.IntegrationResponse{
			"200": {StatusCode: proto.String("200"), ResponseTemplates: templates("application/json", `{"ok":1}`, "text/xml", "<ok/>"),
				ResponseParameters: parameters("method.response.header.X-Static", "'s'")},
			"404": {StatusCode: proto.String("404"), SelectionPattern: proto.String("4..")},
		}
		if change != nil {
			change(&f)
		}
		w, fault, _ := f.call(t)
		return w.Code, w.Body.String(), w.Header().Get("Content-Type"), fault
	}
	for _, template := range []string{`{"statusCode": 200}`, `{statusCode: 200}`, `{'statusCode': 200,}`, `{"a": {"b": [1, "}"]}, statusCode:200}`} {
		if code, body, kind, fault := mock(template, nil); fault != None || code != 200 || body != `{"ok":1}` || kind != "application/json" {
			t.Errorf("%s: %d %s %s, fault %d", template, code, body, kind, fault)
		}
	}
	if code, body, _, _ := mock(`{"statusCode": 404}`, nil); code != 404 || body != "" {
		t.Errorf("got %d %q", code, body)
	}
	if _, body, kind, _ := mock(`{"statusCode": 200}`, func(f *front) { f.header.Set("Accept", "text/xml, */*") }); body != "<ok/>" || kind != "text/xml" {
		t.Errorf("by Accept: %q, %s", body, kind)
	}
	for _, template := range []string{`{}`, `{"statusCode": "200"}`, `{"statusCode": 200.5}`, `nonsense`, `{"statusCode"`, `{"statusCode": $x}`, `null`} {
		if _, _, _, fault := mock(template, nil); fault != Misconfigured {
			t.Errorf("%s: fault %d", template, fault)
		}
	}
	if code, _, _, fault := mock("", func(f *front) {
		f.in.RequestTemplates, f.method, f.body = nil, "POST", strings.NewReader(`{"statusCode": 200}`)
	}); fault != None || code != 200 {
		t.Errorf("body that passes through: %d, fault %d", code, fault)
	}
	if _, _, _, fault := mock(`{"statusCode": 200}`, func(f *front) {
		f.in.IntegrationResponses["200"].ResponseTemplates = templates("application/json", "$context.requestId")
	}); fault != Misconfigured {
		t.Errorf("response in the template language: fault %d", fault)
	}
}

func TestFailures(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	broken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	broken.Close()
	for _, test := range []struct {
		name   string
		uri    string
		change func(f *front)
		answer func(w http.ResponseWriter, r *http.Request)
		want   Fault
	}{
		{name: "timeout", change: func(f *front) { f.in.TimeoutInMillis = proto.Int32(50) }, answer: func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}, want: Timeout},
		{name: "refused", uri: "http://" + broken.Addr().String(), want: Network},
		{name: "broken off", answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, want: Network},
		{name: "broken off after the head", answer: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, want: Network},
		{name: "no such host", uri: "http://nosuch.invalid/", want: Misconfigured},
		{name: "not http", uri: "ftp://127.0.0.1/", want: Misconfigured},
		{name: "no stage variable", uri: "http://${stageVariables.none}/", want: Misconfigured},
		{name: "no value for a placeholder", uri: "http://127.0.0.1:1/{none}", want: Misconfigured},
		{name: "placeholder is no host", uri: "http://{h}/", change: func(f *front) {
			f.in.RequestParameters = parameters("integration.request.path.h", "'x@127.0.0.1:1'")
		}, want: Misconfigured},
		{name: "header that can't be mapped", change: func(f *front) {
			f.in.RequestParameters = parameters("integration.request.header.Content-Length", "'3'")
		}, want: Misconfigured},
		{name: "line break in a header", change: func(f *front) {
			f.in.RequestParameters = parameters("integration.request.header.x", "method.request.querystring.x")
			f.raw = "?x=a%0d%0aHost:%20forged"
		}, want: Misconfigured},
		{name: "link", change: func(f *front) { f.in.ConnectionType = proto.String("VPC_LINK") }, want: Misconfigured},
		{name: "kind", change: func(f *front) { f.in.Type = proto.String("AWS_PROXY") }, want: Misconfigured},
		{name: "no integration", change: func(f *front) { f.in = nil }, want: Misconfigured},
		{name: "response too large", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(MaxBody+1))
			w.WriteHeader(200)
		}, want: ResponseTooLarge},
		{name: "request too large", change: func(f *front) { f.method, f.body, f.length = "POST", strings.NewReader("x"), MaxBody+1 }, want: RequestTooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBackend(t)
			if test.answer != nil {
				b.answer = test.answer
			}
			if test.uri == "" {
				test.uri = b.URL
			}
			f := front{in: integrationOf("HTTP_PROXY", test.uri)}
			if test.change != nil {
				test.change(&f)
			}
			w, fault, err := f.call(t)
			if fault != test.want {
				t.Errorf("fault %d, %v, want %d", fault, err, test.want)
			}
			if len(w.Header()) > 0 || w.Body.Len() > 0 {
				t.Errorf("something was written: %v %s", w.Header(), w.Body)
			}
		})
	}
}

func TestStreaming(t *testing.T) {
	b := newBackend(t)
	large := strings.Repeat("0123456789abcdef", MaxBody/16)
	b.answer = func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, large) }
	for _, known := range []bool{true, false} {
		f := front{in: integrationOf("HTTP_PROXY", b.URL), method: "POST", body: strings.NewReader(large)}
		f.length = int64(len(large))
		if !known {
			f.length = -1
		}
		w := f.must(t)
		if b.got.body != large {
			t.Errorf("the backend got %d bytes", len(b.got.body))
		}
		if w.Body.String() != large {
			t.Errorf("the client got %d bytes", w.Body.Len())
		}
	}
	b.answer = func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, large+"x") }
	f := front{in: integrationOf("HTTP_PROXY", b.URL)}
	if _, fault, _ := f.call(t); fault != Aborted {
		t.Errorf("an endless response: fault %d", fault)
	}
}

// A body of unknown length that turns out small still has a Content-Length.
func TestSmallChunkedRequest(t *testing.T) {
	b := newBackend(t)
	f := front{in: integrationOf("HTTP_PROXY", b.URL), method: "POST", body: strings.NewReader("small"), length: -1}
	f.must(t)
	if b.got.length != 5 || b.got.body != "small" {
		t.Errorf("backend got %d bytes: %q", b.got.length, b.got.body)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	b := newBackend(t)
	b.answer = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }
	f := front{in: integrationOf("HTTP_PROXY", b.URL+"/here")}
	if w := f.must(t); w.Code != 302 || w.Header().Get("Location") != "/elsewhere" || b.got.uri != "/here" {
		t.Errorf("got %d, the backend saw %s", w.Code, b.got.uri)
	}
}

func TestTLSToBackends(t *testing.T) {
	b := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "secure") }))
	defer b.Close()
	f := front{in: integrationOf("HTTP_PROXY", b.URL)}
	if _, fault, _ := f.call(t); fault != Network {
		t.Errorf("a backend that nobody vouches for: fault %d", fault)
	}
	f.in.TlsConfig = &apigatewayv1.TlsConfig{InsecureSkipVerification: proto.Bool(true)}
	if w := f.must(t); w.Body.String() != "secure" {
		t.Errorf("got %s", w.Body)
	}
	f.in.TlsConfig = nil
	f.config.RootCAs = x509.NewCertPool()
	f.config.RootCAs.AddCert(b.Certificate())
	if w := f.must(t); w.Body.String() != "secure" {
		t.Errorf("got %s", w.Body)
	}
}

func TestBreaker(t *testing.T) {
	p := New(Config{Network: netx.Host(), BreakAfter: 2, BreakFor: time.Hour})
	defer p.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	b := p.Prepare(&edgev1.Stage{ApiId: "abcde12345"}, &edgev1.Route{Method: &apigatewayv1.Method{MethodIntegration: integrationOf("HTTP_PROXY", "http://"+ln.Addr().String())}})
	call := func() (Fault, error) {
		return b.Serve(httptest.NewRecorder(), &Call{Request: httptest.NewRequest("GET", "/", nil), Params: &route.Params{}})
	}
	var last error
	for range 3 {
		fault, err := call()
		if fault != Network {
			t.Fatalf("fault %d, %v", fault, err)
		}
		last = err
	}
	var op *net.OpError
	if errors.As(last, &op) {
		t.Errorf("the backend was called again: %v", last)
	}
}

func FuzzMockStatus(f *testing.F) {
	for _, s := range []string{`{"statusCode": 200}`, `{statusCode:200}`, `{'a':[{}],"statusCode":-1}`, `{"a\"b":1,}`, `{"a\`, "{[[[["} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { mockStatus(s) })
}

func FuzzURI(f *testing.F) {
	f.Add("http://127.0.0.1/{id}?x={y}", "a/b")
	f.Add("https://{h}.example/${stageVariables.v}", "..")
	f.Fuzz(func(t *testing.T, text, value string) {
		u, err := parseURI(text, map[string]string{"v": value})
		if err != nil {
			return
		}
		mappings, err := parseMappings(map[string]string{"integration.request.path.id": "'" + value + "'", "integration.request.path.h": "'" + value + "'"}, nil, requestSide)
		if err != nil {
			t.Fatal(err)
		}
		to, err := u.expand(&Call{Params: &route.Params{}}, mappings, &inputs{}, true)
		if err == nil && to.Host == "" {
			t.Errorf("%q has no host: %v", text, to)
		}
	})
}

func FuzzMapping(f *testing.F) {
	f.Add("method.request.body.a[0].b", `{"a":[{"b":1}]}`)
	f.Add("method.request.querystring.x", "")
	f.Fuzz(func(t *testing.T, expression, body string) {
		s, err := parseSource(expression, nil, requestSide)
		if err != nil {
			return
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = body
		c := &Call{Request: r, Params: &route.Params{}, Context: contextOf{}}
		s.values(&inputs{call: c, header: http.Header{textproto.CanonicalMIMEHeaderKey(body): {body}}, body: []byte(body)})
	})
}

// The table of data-plane.md §7.5.
func TestContentHandling(t *testing.T) {
	b := newBackend(t)
	const plain, coded = "\x00binary\xff", "AGJpbmFyef8="
	png, text := "image/png", "text/plain"
	for _, test := range []struct {
		side, handling, contentType, accept, in, want string
	}{
		{"request", "", text, "", coded, coded},
		{"request", toBinary, text, "", coded, plain},
		{"request", toText, text, "", coded, coded},
		{"request", "", png, "", plain, plain},
		{"request", toBinary, png, "", plain, plain},
		{"request", toText, png, "", plain, coded},
		{"response", "", text, text, coded, coded},
		{"response", toBinary, text, text, coded, plain},
		{"response", toText, text, text, coded, coded},
		{"response", "", text, png, coded, plain},
		{"response", toBinary, text, png, coded, plain},
		{"response", toText, text, png, coded, coded},
		{"response", "", png, text, plain, coded},
		{"response", toBinary, png, text, plain, plain},
		{"response", toText, png, text, plain, coded},
		{"response", "", png, png + ";q=1, */*", plain, plain},
		{"response", toBinary, png, png, plain, plain},
		{"response", toText, png, png, plain, coded},
		{"response", toBinary, text, text, "not base64!", "fault"},
	} {
		for _, kind := range []string{"HTTP", "HTTP_PROXY"} {
			if kind == "HTTP_PROXY" && test.side == "response" && test.handling != "" {
				continue // has no integration response to say so
			}
			f := front{in: integrationOf(kind, b.URL), binary: []string{"image/PNG"}, method: "POST", header: http.Header{}}
			f.in.IntegrationResponses = map[string]*apigatewayv1.IntegrationResponse{"200": {StatusCode: proto.String("200")}}
			if test.side == "request" {
				f.in.ContentHandling = &test.handling
				f.header.Set("Content-Type", test.contentType)
				f.body = strings.NewReader(test.in)
			} else {
				f.in.IntegrationResponses["200"].ContentHandling = &test.handling
				f.header.Set("Accept", test.accept)
				b.answer = func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", test.contentType)
					_, _ = io.WriteString(w, test.in)
				}
			}
			w, fault, _ := f.call(t)
			got := w.Body.String()
			if test.side == "request" {
				got = b.got.body
			}
			if fault == Misconfigured {
				got = "fault"
			}
			if got != test.want {
				t.Errorf("%s %s of %s, handling %q, accept %q: got %q, want %q", kind, test.side, test.contentType, test.handling, test.accept, got, test.want)
			}
		}
	}
}
