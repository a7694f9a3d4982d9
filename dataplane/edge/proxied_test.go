package edge

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dataplane/integration"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

// proxied adds /proxy/{proxy+}, an HTTP_PROXY to a backend, and /mapped, an HTTP
// integration to its /mapped.
func proxied(w *world, backend string) *world {
	w.stages[0].Routes = append(w.stages[0].Routes,
		&edgev1.Route{ResourceId: "res100", Path: "/proxy/{proxy+}", HttpMethod: "ANY", Method: &apigatewayv1.Method{
			MethodIntegration: &apigatewayv1.Integration{
				Type: proto.String("HTTP_PROXY"), HttpMethod: proto.String("ANY"), Uri: proto.String(backend + "/{proxy}"), TimeoutInMillis: proto.Int32(2000),
				RequestParameters: &awsv1.StringMap{Entries: map[string]string{"integration.request.path.proxy": "method.request.path.proxy"}},
			}}},
		&edgev1.Route{ResourceId: "res101", Path: "/mapped", HttpMethod: "GET", Method: &apigatewayv1.Method{
			MethodIntegration: &apigatewayv1.Integration{
				Type: proto.String("HTTP"), HttpMethod: proto.String("GET"), Uri: proto.String(backend + "/mapped"),
				IntegrationResponses: map[string]*apigatewayv1.IntegrationResponse{"200": {StatusCode: proto.String("200")}},
			}}})
	return w
}

// From the client's TLS to the backend and back, with the gateway's own answers
// where the backend has none.
func TestProxied(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/abort"):
			panic(http.ErrAbortHandler)
		case strings.HasPrefix(r.URL.Path, "/torn"):
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(make([]byte, 100000))
			panic(http.ErrAbortHandler)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Path", r.RequestURI)
		w.Header().Set("X-Amzn-Requestid", "backend's")
		_, _ = w.Write(body)
	}))
	defer backend.Close()
	r := start(t, proxied(newWorld(), backend.URL), nil)

	c := privateCall()
	c.method, c.path, c.body = "POST", "/prod/proxy/a%2Fb//c?q=1", strings.Repeat("x", 100<<10)
	res := r.must(c)
	if res.status != 200 || res.body != c.body || res.header.Get("X-Path") != "/a%2Fb//c?q=1" {
		t.Errorf("got %d, %d bytes, path %s", res.status, len(res.body), res.header.Get("X-Path"))
	}
	if id := res.header.Get("x-amzn-RequestId"); id == "backend's" || id == "" || len(res.header.Values("x-amzn-RequestId")) != 1 {
		t.Errorf("request id is %q", res.header.Values("x-amzn-RequestId"))
	}
	if res.header.Get("X-Amzn-Trace-Id") != "" {
		t.Error("HTTP_PROXY answers carry X-Amzn-Trace-Id")
	}

	c = privateCall()
	c.path = "/prod/mapped"
	if res := r.must(c); res.status != 200 || !strings.HasPrefix(res.header.Get("X-Amzn-Trace-Id"), "Root=1-") || res.header.Get("X-Path") != "" {
		t.Errorf("HTTP: got %d %v", res.status, res.header)
	}

	c.path = "/prod/proxy/abort"
	if res := r.must(c); res.status != 504 || res.body != answers[backendNetwork].body || res.header.Get("x-amzn-ErrorType") != "InternalServerErrorException" {
		t.Errorf("aborted: got %d %s", res.status, res.body)
	}
	c.path = "/prod/proxy/torn"
	if res, err := r.do(c); err == nil {
		t.Errorf("a torn answer looks whole: %d, %d bytes", res.status, len(res.body))
	}
}

// A body that says its length only as it ends is cut off at the limit.
func TestChunkedBodyOverTheLimit(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer backend.Close()
	r := start(t, proxied(newWorld(), backend.URL), nil)
	client := r.client(clientA, eniA)
	for size, want := range map[int]int{integration.MaxBody: 200, integration.MaxBody + 1: 413} {
		body := struct{ io.Reader }{bytes.NewReader(make([]byte, size))} // hides its length
		res, err := client.Post("https://"+privateHost+"/prod/proxy/x", "application/octet-stream", body)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%d bytes: got %d %s", size, res.StatusCode, text)
		}
	}
}

// The same once the backend has begun to answer, but not said anything yet.
func TestChunkedBodyOverTheLimitAfterTheHead(t *testing.T) {
	answering, sent := make(chan struct{}), make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		both := http.NewResponseController(w)
		_ = both.EnableFullDuplex()
		w.WriteHeader(http.StatusOK)
		_ = both.Flush()
		close(answering)
		_, _ = io.Copy(io.Discard, r.Body)
		<-sent
	}))
	defer backend.Close()
	r := start(t, proxied(newWorld(), backend.URL), nil)
	body, feed := io.Pipe()
	go func() {
		defer close(sent)
		_, _ = feed.Write(make([]byte, 1<<20))
		<-answering
		_, _ = feed.Write(make([]byte, integration.MaxBody))
		_ = feed.Close()
	}()
	res, err := r.client(clientA, eniA).Post("https://"+privateHost+"/prod/proxy/x", "application/octet-stream", body)
	if err != nil {
		t.Fatal(err)
	}
	_ = body.CloseWithError(io.ErrClosedPipe)
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != 413 {
		t.Errorf("got %d %s", res.StatusCode, text)
	}
}

// Why a method can't be carried out is in the log at its usual level, but calls
// can't flood it.
func TestReasonIsLoggedOnce(t *testing.T) {
	w := newWorld()
	w.route(0, "GET", "/pets").Method.MethodIntegration.RequestTemplates = nullable(`{"statusCode": $input.params('s')}`)
	var log lockedBuffer
	r := start(t, w, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for range 3 {
		if res := r.must(privateCall()); res.status != 500 {
			t.Errorf("got %d", res.status)
		}
	}
	if n := strings.Count(log.String(), "mapping language"); n != 1 {
		t.Errorf("the reason is logged %d times:\n%s", n, log.String())
	}
}

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// BenchmarkProxied measures HTTP_PROXY beside a direct call of the backend.
func BenchmarkProxied(b *testing.B) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"hello":"world"}`)
	}))
	defer backend.Close()
	r := start(b, proxied(newWorld(), backend.URL), quiet)
	client := r.client(clientA, eniA)
	b.SetParallelism(8)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			res, err := client.Get("https://" + privateHost + "/prod/proxy/x")
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}
