package gateway

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	route53v1 "github.com/posternhq/postern/proto/postern/route53/v1"
)

// services is a connection that keeps the call and answers what it is told.
type services struct {
	method  string
	request proto.Message
	sent    metadata.MD

	answer proto.Message // nil: an empty one
	header metadata.MD
	err    *apierr.Error
}

func (s *services) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	s.method = method
	s.request = proto.Clone(args.(proto.Message))
	s.sent, _ = metadata.FromOutgoingContext(ctx)
	for _, opt := range opts {
		if o, ok := opt.(grpc.HeaderCallOption); ok {
			*o.HeaderAddr = s.header
		}
	}
	if s.err != nil {
		// As a connection gives it: a status, no longer an *apierr.Error.
		return status.FromProto(s.err.GRPCStatus().Proto()).Err()
	}
	if s.answer != nil {
		proto.Merge(reply.(proto.Message), s.answer)
	}
	return nil
}

func (s *services) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	panic("no operation of AWS is a stream")
}

// front returns a Gateway's base URL.
func front(t testing.TB, conn *services, change ...func(*Config)) string {
	t.Helper()
	cfg := Config{Conn: conn}
	for _, f := range change {
		f(&cfg)
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	return server.URL
}

type answer struct {
	status int
	header http.Header
	body   string
}

func send(t testing.TB, method, url, body string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(data)}
}

func signature(key, region, service string) string {
	return "AWS4-HMAC-SHA256 Credential=" + key + "/20260101/" + region + "/" + service + "/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"
}

const formType = "application/x-www-form-urlencoded; charset=utf-8"

func TestScope(t *testing.T) {
	tests := []struct {
		name, method, target, body string
		header                     []string
		rpc, account, region       string
	}{
		{
			name: "account and region of the signature", method: "GET", target: "/restapis",
			header: []string{"Authorization", signature("111122223333", "eu-west-1", "apigateway")},
			rpc:    "/postern.apigateway.v1.ApiGateway/GetRestApis", account: "111122223333", region: "eu-west-1",
		},
		{
			name: "an ordinary key is the default account", method: "GET", target: "/restapis",
			header: []string{"Authorization", signature("AKIAIOSFODNN7EXAMPLE", "us-east-1", "apigateway")},
			rpc:    "/postern.apigateway.v1.ApiGateway/GetRestApis", account: "123456789012", region: "us-east-1",
		},
		{
			name: "not signed", method: "GET", target: "/restapis",
			rpc: "/postern.apigateway.v1.ApiGateway/GetRestApis", account: "123456789012", region: "us-west-2",
		},
		{
			name: "another scheme is no signature", method: "GET", target: "/restapis", header: []string{"Authorization", "Bearer x"},
			rpc: "/postern.apigateway.v1.ApiGateway/GetRestApis", account: "123456789012", region: "us-west-2",
		},
		{
			name: "presigned", method: "GET", target: "/?Action=DescribeVpcs&Version=2016-11-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=444455556666%2F20260101%2Fap-south-1%2Fec2%2Faws4_request",
			rpc: "/postern.ec2.v1.EC2/DescribeVpcs", account: "444455556666", region: "ap-south-1",
		},
		{
			name: "form, not signed", method: "POST", target: "/", body: "Action=DescribeVpcs", header: []string{"Content-Type", formType},
			rpc: "/postern.ec2.v1.EC2/DescribeVpcs", account: "123456789012", region: "us-west-2",
		},
		{
			name: "action of STS, not signed", method: "POST", target: "/", body: "Action=GetCallerIdentity&Version=2011-06-15", header: []string{"Content-Type", formType},
			rpc: "/postern.sts.v1.STS/GetCallerIdentity", account: "123456789012", region: "us-west-2",
		},
		{
			name: "path of Route 53, not signed", method: "GET", target: "/2013-04-01/change/C1",
			rpc: "/postern.route53.v1.Route53/GetChange", account: "123456789012", region: "us-west-2",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := &services{}
			got := send(t, tt.method, front(t, conn)+tt.target, tt.body, tt.header...)
			if got.status != 200 || conn.method != tt.rpc {
				t.Fatalf("called %q, answered %d %s", conn.method, got.status, got.body)
			}
			for key, want := range map[string]string{metaAccount: tt.account, metaRegion: tt.region, metaRequestID: got.header.Get("x-amzn-RequestId")} {
				if values := conn.sent.Get(key); len(values) != 1 || values[0] != want {
					t.Errorf("%s: got %q, want %q", key, values, want)
				}
			}
		})
	}
}

func TestHeadersOfTheClient(t *testing.T) {
	conn := &services{}
	send(t, "GET", front(t, conn)+"/restapis", "", "x-postern-consistency", "stale", "x-postern-min-index", "17",
		"x-postern-account", "999999999999", "x-postern-forwarded", "n1", "Grpc-Metadata-x-postern-account", "888888888888", "Grpc-Timeout", "1n")
	for key, want := range map[string]string{metaConsistency: "stale", metaMinIndex: "17", metaAccount: defaultAccount} {
		if got := conn.sent.Get(key); len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	if got := conn.sent.Get("x-postern-forwarded"); got != nil {
		t.Errorf("a client made the request look forwarded: %q", got)
	}
}

func TestHeadersOfTheServer(t *testing.T) {
	conn := &services{header: metadata.Pairs(metaVersion, "42", metaWarning, "first", metaWarning, "second", "x-other", "no")}
	url := front(t, conn)
	for _, target := range []string{"/restapis", "/?Action=DescribeVpcs", "/2013-04-01/change/C1"} {
		for _, e := range []*apierr.Error{nil, apierr.BadRequest("no")} {
			conn.err = e
			got := send(t, "GET", url+target, "")
			if v := got.header.Values("x-postern-version"); len(v) != 1 || v[0] != "42" {
				t.Errorf("%s, error %v: version %q", target, e, v)
			}
			if v := got.header.Values("x-postern-warning"); len(v) != 2 {
				t.Errorf("%s, error %v: warnings %q", target, e, v)
			}
			if got.header.Get("x-other") != "" {
				t.Errorf("%s: header of another name let through", target)
			}
			if id := got.header.Get("x-amzn-RequestId"); !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) {
				t.Errorf("%s: request id %q", target, id)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	conn := &services{}
	url := front(t, conn)
	tests := []struct {
		name, method, target, body string
		header                     []string
		status                     int
		contains                   string
	}{
		{"service that Postern lacks", "POST", "/", "{}", []string{"Authorization", signature("a", "us-east-1", "dynamodb")}, 501, `"message"`},
		{"query service that Postern lacks", "POST", "/", "Action=ListQueues", []string{"Authorization", signature("a", "us-east-1", "sqs"), "Content-Type", formType}, 501, "<ErrorResponse><Error><Type>Receiver</Type><Code>NotImplemented</Code>"},
		{"region that is none", "GET", "/restapis", "", []string{"Authorization", signature("a", "us..east", "apigateway")}, 403, "Credential should be scoped to a valid region."},
		{"another site's page", "POST", "/restapis", "{}", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, 403, "Refused"},
		{"another site's image", "GET", "/?Action=DeleteVpc&VpcId=vpc-1", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, "Refused"},
		{"another site's reset", "POST", "/_postern/reset", "", []string{"Origin", "https://evil.example"}, 403, "Refused"},
		{"path that is not UTF-8", "GET", "/restapis/%ff", "", nil, 400, "malformed"},
		{"query that is not UTF-8", "GET", "/restapis?position=%ff", "", nil, 400, "malformed"},
		{"body too large", "POST", "/restapis", strings.Repeat(" ", maxBody+1), nil, 413, "Request size exceeded"},
		{"body of very many values", "POST", "/restapis", "[" + strings.Repeat("0,", maxValues) + "0]", nil, 413, "values"},
		{"form of very many parameters", "POST", "/", "Action=DescribeVpcs" + strings.Repeat("&X=", 20_000), []string{"Content-Type", formType}, 400, "<Code>MalformedQueryString</Code>"},
		{"form too large", "POST", "/", "Action=DescribeVpcs&X=" + strings.Repeat("x", maxForm), []string{"Content-Type", formType}, 413, "<Code>RequestEntityTooLarge</Code>"},
		{"line too long", "GET", "/restapis?position=" + strings.Repeat("x", maxTarget), "", nil, 413, "The request line is longer"},
		{"reset by GET", "GET", "/_postern/reset", "", nil, 403, "Unable to determine"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn.method = ""
			got := send(t, tt.method, url+tt.target, tt.body, tt.header...)
			if got.status != tt.status || !strings.Contains(got.body, tt.contains) {
				t.Errorf("got %d %s", got.status, got.body)
			}
			if conn.method != "" {
				t.Errorf("reached %s", conn.method)
			}
		})
	}
}

func TestInternalErrorsStayInside(t *testing.T) {
	var log bytes.Buffer
	conn := &services{err: apierr.Internal("secret path /var/lib")}
	url := front(t, conn, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	got := send(t, "GET", url+"/restapis", "")
	id := got.header.Get("x-amzn-RequestId")
	if got.status != 500 || strings.Contains(got.body, "secret") || !strings.Contains(got.body, id) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if !strings.Contains(log.String(), "secret") || !strings.Contains(log.String(), id) {
		t.Errorf("log: %s", log.String())
	}
}

func TestReset(t *testing.T) {
	conn := &services{answer: &adminv1.ResetResponse{Index: 7}, header: metadata.Pairs(metaVersion, "7")}
	got := send(t, "POST", front(t, conn)+"/_postern/reset", "")
	if got.status != 200 || got.body != `{"index":7}` || got.header.Get("x-postern-version") != "7" || conn.method != "/postern.admin.v1.Admin/Reset" {
		t.Errorf("got %d %s %v, called %s", got.status, got.body, got.header, conn.method)
	}
}

func TestOtherHandlers(t *testing.T) {
	say := func(what string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, what) })
	}
	url := front(t, &services{}, func(c *Config) {
		c.CA = func() []byte { return []byte("PEM") }
		c.Extra = map[string]http.Handler{"/console/": say("console"), "/console/api/": say("api")}
	})
	for target, want := range map[string]string{"/ca.pem": "PEM", "/console": "console", "/console/x": "console", "/console/api/x": "api"} {
		if got := send(t, "GET", url+target, ""); got.status != 200 || got.body != want {
			t.Errorf("%s: got %d %s", target, got.status, got.body)
		}
	}
	if got := send(t, "GET", front(t, &services{})+"/ca.pem", ""); got.status != 404 {
		t.Errorf("no CA: got %d", got.status)
	}
}

func TestGRPCOnTheSameListener(t *testing.T) {
	g, err := New(Config{Conn: &services{}, GRPC: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
	})})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(g)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	h2 := &http.Client{Transport: &http.Transport{Protocols: new(http.Protocols)}}
	h2.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
	defer h2.CloseIdleConnections()
	for _, tt := range []struct {
		client *http.Client
		want   int
	}{{h2, http.StatusTeapot}, {http.DefaultClient, http.StatusForbidden}} {
		resp, err := tt.client.Post(server.URL+"/postern.admin.v1.Admin/Status", "application/grpc", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s: got %d, want %d", resp.Proto, resp.StatusCode, tt.want)
		}
	}
}

func TestNew(t *testing.T) {
	conn := &services{}
	for name, cfg := range map[string]Config{
		"no connection": {},
		"prefix of all": {Conn: conn, Extra: map[string]http.Handler{"/": http.NotFoundHandler()}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRoute53(t *testing.T) {
	conn := &services{answer: &route53v1.GetChangeResponse{ChangeInfo: &route53v1.ChangeInfo{
		Id: proto.String("/change/C1"), Status: proto.String("PENDING"), SubmittedAt: proto.String("2026-01-01T00:00:00.000Z"),
	}}}
	url := front(t, conn)
	got := send(t, "GET", url+"/2013-04-01/change/C1", "", "Authorization", signature("a", "us-east-1", "route53"))
	want := xmlHeader + `<GetChangeResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ChangeInfo><Id>/change/C1</Id><Status>PENDING</Status><SubmittedAt>2026-01-01T00:00:00.000Z</SubmittedAt></ChangeInfo></GetChangeResponse>`
	if got.status != 200 || got.body != want || got.header.Get("Content-Type") != contentXML {
		t.Errorf("got %d %s\n%s\nwant\n%s", got.status, got.header.Get("Content-Type"), got.body, want)
	}
	if id := conn.request.(*route53v1.GetChangeRequest).GetId(); id != "C1" {
		t.Errorf("id %q", id)
	}

	conn.err = apierr.New(apierr.KindNotFound, "NoSuchChange", "Could not find resource with ID: C1")
	got = send(t, "GET", url+"/2013-04-01/change/C1", "")
	want = xmlHeader + `<ErrorResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Error><Type>Sender</Type><Code>NoSuchChange</Code><Message>Could not find resource with ID: C1</Message></Error><RequestId>` + got.header.Get("x-amzn-RequestId") + `</RequestId></ErrorResponse>`
	if got.status != 404 || got.body != want {
		t.Errorf("got %d\n%s\nwant\n%s", got.status, got.body, want)
	}

	for target, want := range map[string]int{"/2013-04-01/healthcheck": 501, "/2013-04-01/tags/hostedzone/Z1/": 501, "/2013-04-01/nothing": 404} {
		if got := send(t, "GET", url+target, ""); got.status != want {
			t.Errorf("%s: got %d %s", target, got.status, got.body)
		}
	}
}

// A name of a stranger's that resolves to loopback makes the browser take this
// listener for the stranger's site: no header but Host tells.
func TestRebindingIsRefused(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1:4780": true, "[::1]:4780": true, "localhost:4780": true, "LOCALHOST": true, "postern": true, "x.localhost": true,
		"host.docker.internal:4780": true, "apigateway.us-west-2.amazonaws.com": true, "ec2.amazonaws.com.": true,
		"evil.example:4780": false, "127.0.0.1.evil.example:4780": false, "amazonaws.com.evil.example": false, "evilamazonaws.com": false, "localhost.evil.example.": false,
	} {
		if got := ownName(host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
	conn := &services{}
	r, err := http.NewRequest(http.MethodPost, front(t, conn)+"/_postern/reset", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "evil.example:4780"
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusForbidden || conn.method != "" {
		t.Errorf("got %s, reached %q", res.Status, conn.method)
	}
}
