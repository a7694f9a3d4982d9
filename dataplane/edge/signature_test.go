package edge

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dataplane/compile"
	"github.com/posternhq/postern/dataplane/integration"
	"github.com/posternhq/postern/dataplane/vpce"
	"github.com/posternhq/postern/internal/sigv4"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

const petsURL = "https://" + privateHost + "/prod/pets"

// installed compiles a world into an edge without listeners.
func (w *world) edge(t testing.TB) *Edge {
	t.Helper()
	e, _, _ := decision(t, w)
	return e
}

var viaA = &vpce.Arrival{
	Endpoint: vpceA, VPC: vpcA, Source: netip.MustParseAddr("10.61.0.50"), Interface: netip.MustParseAddr("10.61.0.10"),
}

// Whatever is wrong with a signature, the answer is private-apis.md §6's.
func TestSignatureErrors(t *testing.T) {
	w := newWorld()
	w.signedMethods()
	bob := w.user(account, "bob", document("Allow", ""))
	dev := w.role(account, "dev", &edgev1.AccessSession{}, document("Allow", ""))
	over := w.role(account, "over", &edgev1.AccessSession{ExpiresAt: time.Now().Unix() - 1}, document("Allow", ""))
	lost := w.user(account, "lost")
	w.owners = w.owners[:len(w.owners)-1] // its policies did not arrive
	late := w.user(account, "late", document("Allow", ""))
	w.keys[len(w.keys)-1].FirstDay -= 30 // the control plane has been away for a month
	e := w.edge(t)
	with := func(s signer, change func(*signer)) signer { change(&s); return s }

	const (
		unknown    = `{"message":"The security token included in the request is invalid."}`
		mismatched = `{"message":"` + mismatch + `"}`
	)
	for _, tt := range []struct {
		name   string
		by     signer
		change func(r *http.Request)
		kind   string // x-amzn-ErrorType
		body   string // begins with this
	}{
		{name: "good", by: bob, body: `{"mock":201}`},
		{name: "good session", by: dev, body: `{"mock":201}`},
		{name: "not signed", by: bob, change: func(r *http.Request) { r.Header.Del("Authorization") },
			kind: "MissingAuthenticationTokenException", body: `{"message":"Missing Authentication Token"}`},
		{name: "unknown key", by: with(bob, func(s *signer) { s.id = "AKIANOBODY" }), kind: "UnrecognizedClientException", body: unknown},
		{name: "wrong secret", by: with(bob, func(s *signer) { s.secret = "other" }), kind: "InvalidSignatureException", body: mismatched},
		{name: "no session token", by: with(dev, func(s *signer) { s.token = "" }), kind: "UnrecognizedClientException", body: unknown},
		{name: "another session token", by: with(dev, func(s *signer) { s.token = "other" }), kind: "UnrecognizedClientException", body: unknown},
		{name: "session token of a user", by: with(bob, func(s *signer) { s.token = "other" }), kind: "UnrecognizedClientException", body: unknown},
		{name: "session over", by: over, kind: "ExpiredTokenException", body: `{"message":"The security token included in the request is expired"}`},
		{name: "policies missing", by: lost, kind: "UnrecognizedClientException", body: unknown},
		{name: "no key of the day", by: late, kind: "UnrecognizedClientException", body: unknown},
		{name: "expired", by: with(bob, func(s *signer) { s.ago = 6 * time.Minute }), kind: "InvalidSignatureException", body: `{"message":"Signature expired: `},
		{name: "early", by: with(bob, func(s *signer) { s.ago = -6 * time.Minute }), kind: "InvalidSignatureException", body: `{"message":"Signature not yet current: `},
		{name: "region", by: with(bob, func(s *signer) { s.region = "eu-west-1" }), kind: "InvalidSignatureException", body: `{"message":"Credential should be scoped to a valid region. "}`},
		{name: "service", by: with(bob, func(s *signer) { s.service = "apigateway" }), kind: "InvalidSignatureException", body: `{"message":"Credential should be scoped to correct service: 'execute-api'. "}`},
		{name: "bearer token", by: bob, change: func(r *http.Request) { r.Header.Set("Authorization", "Bearer abc") },
			kind: "IncompleteSignatureException", body: `{"message":"'abc' not a valid key=value pair (missing equal-sign) in Authorization header: 'Bearer abc'."}`},
		{name: "another body", by: bob, change: func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("other")) }, kind: "InvalidSignatureException", body: mismatched},
		{name: "another query", by: bob, change: func(r *http.Request) { r.URL.RawQuery = "a=b" }, kind: "InvalidSignatureException", body: mismatched},
		{name: "another method", by: bob, change: func(r *http.Request) { r.Method = "GET" }, kind: "InvalidSignatureException", body: mismatched},
		{name: "another host", by: bob, change: func(r *http.Request) { r.Host += ":443" }, kind: "InvalidSignatureException", body: mismatched},
		{name: "another signed header", by: bob, change: func(r *http.Request) { r.Header.Set("X-Amz-Date", r.Header.Get("X-Amz-Date")+" ") },
			kind: "IncompleteSignatureException", body: `{"message":"Date must be in ISO-8601 'basic format'.`},
		{name: "body too long", by: bob, change: func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", integration.MaxBody+1))), -1
		}, kind: "RequestTooLargeException", body: `{"message":"Request Too Long"}`},
		{name: "body said to be too long", by: bob, change: func(r *http.Request) { r.ContentLength = integration.MaxBody + 1 },
			kind: "RequestTooLargeException", body: `{"message":"Request Too Long"}`},
		{name: "broken body", by: bob, change: func(r *http.Request) { r.Body = io.NopCloser(io.MultiReader(strings.NewReader("x"), broken{})) },
			kind: "InvalidSignatureException", body: mismatched},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.by.request(t, "POST", petsURL, "the body")
			if tt.change != nil {
				tt.change(r)
			}
			res := serveFrom(e, viaA, r)
			status := map[string]int{"": 201, "RequestTooLargeException": 413}[tt.kind]
			if status == 0 {
				status = 403
			}
			if kind := strings.Join(res.Header()["x-amzn-ErrorType"], ""); res.Code != status || kind != tt.kind || !strings.HasPrefix(res.Body.String(), tt.body) {
				t.Errorf("got %d %s %s", res.Code, kind, res.Body)
			}
		})
	}
}

// A presigned URL is good for as long as it says, a week at most.
func TestPresignedForDays(t *testing.T) {
	w := newWorld()
	w.signedMethods()
	bob := w.user(account, "bob", document("Allow", ""))
	e := w.edge(t)
	const day = 24 * time.Hour
	for _, tt := range []struct {
		ago     time.Duration
		expires string
		want    string
	}{
		{3 * day, "604800", `{"mock":200}`},
		{7*day - time.Hour, "604800", `{"mock":200}`},
		{3 * day, "172800", `{"message":"Signature expired: `},
		{time.Hour, "604801", `{"message":"X-Amz-Expires must be`},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", petsURL+"?X-Amz-Expires="+tt.expires, nil)
		if err != nil {
			t.Fatal(err)
		}
		const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
		signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), bob.credentials(), r, empty, service, region, time.Now().Add(-tt.ago))
		if err != nil {
			t.Fatal(err)
		}
		if r, err = http.NewRequestWithContext(t.Context(), "GET", signed, nil); err != nil {
			t.Fatal(err)
		}
		if res := serveFrom(e, viaA, received(t, r)); !strings.HasPrefix(res.Body.String(), tt.want) {
			t.Errorf("%v ago, for %s s: %d %s", tt.ago, tt.expires, res.Code, res.Body)
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// A key that is gone verifies nothing from the next version on, and one whose
// resource can't be read is nobody's.
func TestRevocation(t *testing.T) {
	w := newWorld()
	w.signedMethods()
	bob := w.user(account, "bob", document("Allow", ""))
	e := w.edge(t)
	call := func() int { return serveFrom(e, viaA, bob.request(t, "GET", petsURL, "")).Code }
	install := func(u compile.Update) []compile.Rejection {
		table, rejected := compile.Config{Integration: e.Prepare}.Compile(e.Table(), u)
		e.Install(table)
		return rejected
	}
	if got := call(); got != 200 {
		t.Fatalf("before: %d", got)
	}
	install(compile.Update{Index: 2, Removed: []string{"key/" + bob.id}})
	if got := call(); got != 403 {
		t.Errorf("revoked: %d", got)
	}
	install(w.update(t, 3))
	if got := call(); got != 200 {
		t.Errorf("back again: %d", got)
	}
	install(compile.Update{Index: 4, Removed: []string{"principal/AIDABOB"}})
	if got := call(); got != 403 {
		t.Errorf("without policies: %d", got)
	}
	bad, err := proto.Marshal(&edgev1.Principal{Id: "AIDABOB", Policies: []*edgev1.NamedPolicy{{Name: "wrong", Document: `{"Statement":1}`}}})
	if err != nil {
		t.Fatal(err)
	}
	rejected := install(compile.Update{Index: 5, Changed: []compile.Resource{{Name: "principal/AIDABOB", Body: bad}}})
	if len(rejected) != 1 || rejected[0].Resource != "principal/AIDABOB" || !strings.HasPrefix(rejected[0].Reason, "policy wrong: ") {
		t.Errorf("rejected: %v", rejected)
	}
	if got := call(); got != 403 {
		t.Errorf("with policies that can't be read: %d", got)
	}
}

// Signed requests in every form reach the backend whole, and without their
// Authorization header.
func TestSignedReachesBackend(t *testing.T) {
	type got struct {
		body, authorization, bearer string
		length                      int64
	}
	seen := make(chan got, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		seen <- got{string(body), r.Header.Get("Authorization"), r.Header.Get("X-Bearer"), r.ContentLength}
	}))
	defer backend.Close()
	w := proxied(newWorld(), backend.URL)
	w.signedMethods()
	bob := w.user(account, "bob", document("Allow", ""))
	dev := w.role(account, "dev", &edgev1.AccessSession{}, document("Allow", ""))
	edge := start(t, w, nil)
	long := strings.Repeat("0123456789", 100_000)

	for _, tt := range []struct {
		name string
		by   signer
		host string // signed and sent; dialled is the endpoint's interface
		path string
		body string
		// change is made before, after is made behind the signature.
		change, after func(c *call, r *http.Request)
		presigned     bool
	}{
		{name: "without body", by: bob, path: "/prod/proxy/a"},
		{name: "path and query", by: bob, path: "/prod/proxy/a%20b/c+d/%E2%82%AC?b=2&a=1&a=%2F&c"},
		{name: "body", by: bob, path: "/prod/proxy/a", body: "the body"},
		{name: "long body", by: bob, path: "/prod/proxy/a", body: long},
		{name: "session", by: dev, path: "/prod/proxy/a", body: "the body"},
		{name: "hash in a header", by: bob, path: "/prod/proxy/a", body: "x", change: func(_ *call, r *http.Request) {
			r.Header.Set("X-Amz-Content-Sha256", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")
		}},
		{name: "unsigned payload", by: bob, path: "/prod/proxy/a", body: "anything", change: func(_ *call, r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", sigv4.Unsigned) }},
		{name: "alias name", by: bob, host: privateAPI + "-" + vpceA + ".execute-api.us-west-2.amazonaws.com", path: "/prod/proxy/a"},
		{name: "endpoint name", by: bob, host: vpceA + "-abcdefgh.execute-api.us-west-2.vpce.amazonaws.com", path: "/prod/proxy/a",
			change: func(_ *call, r *http.Request) { r.Header.Set("X-Apigw-Api-Id", privateAPI) }},
		{name: "endpoint name, header not signed", by: bob, host: vpceA + "-abcdefgh.execute-api.us-west-2.vpce.amazonaws.com", path: "/prod/proxy/a",
			after: func(_ *call, r *http.Request) { r.Header.Set("X-Apigw-Api-Id", privateAPI) }},
		{name: "presigned", by: bob, path: "/prod/proxy/a?X-Amz-Expires=60", presigned: true},
		{name: "presigned session", by: dev, path: "/prod/proxy/a?b=c&X-Amz-Expires=60", presigned: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := privateCall()
			c.host, c.path, c.body, c.method = or(tt.host, privateHost), tt.path, tt.body, "POST"
			c.header = http.Header{}
			r, err := http.NewRequestWithContext(t.Context(), c.method, "https://"+c.host+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if tt.change != nil {
				tt.change(&c, r)
			}
			if tt.presigned {
				signed, header, err := v4.NewSigner().PresignHTTP(t.Context(), tt.by.credentials(), r,
					"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", service, region, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				r.Header = header
				r.Header.Del("Host")
				c.path = strings.TrimPrefix(signed, "https://"+c.host)
			} else {
				tt.by.sign(t, r, c.body)
			}
			if tt.after != nil {
				tt.after(&c, r)
			}
			c.header = r.Header
			res := edge.must(c)
			if res.status != 200 {
				t.Fatalf("got %d %s", res.status, res.body)
			}
			if b := <-seen; b.body != tt.body || b.authorization != "" || b.length != int64(len(tt.body)) {
				t.Errorf("the backend got %d of %d bytes, length %d, Authorization %q", len(b.body), len(tt.body), b.length, b.authorization)
			}
		})
	}
}

// A body in HTTP's chunks is read whole and handed on with its length.
func TestSignedChunks(t *testing.T) {
	var length int64
	var body []byte
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		length = r.ContentLength
	}))
	defer backend.Close()
	w := proxied(newWorld(), backend.URL)
	w.signedMethods()
	bob := w.user(account, "bob", document("Allow", ""))
	e := w.edge(t)
	r, err := http.NewRequestWithContext(t.Context(), "PUT", "https://"+privateHost+"/prod/proxy/a", io.MultiReader(strings.NewReader("the "), strings.NewReader("body")))
	if err != nil {
		t.Fatal(err)
	}
	bob.sign(t, r, "the body")
	sent := received(t, r)
	if sent.ContentLength != -1 {
		t.Fatalf("length %d: not in chunks", sent.ContentLength)
	}
	if res := serveFrom(e, viaA, sent); res.Code != 200 || string(body) != "the body" || length != int64(len(body)) {
		t.Errorf("got %d %s; the backend %q, length %d", res.Code, res.Body, body, length)
	}
}

// What is no signature stays: it may be the backend's.
func TestHideSignature(t *testing.T) {
	for value, want := range map[string]string{"Bearer x": "Bearer x", "AWS4-HMAC-SHA256 Credential=x": ""} {
		r := &http.Request{Header: http.Header{"Authorization": {value}}}
		if hideSignature(r); r.Header.Get("Authorization") != want {
			t.Errorf("%s: left %q", value, r.Header.Get("Authorization"))
		}
	}
}

// Methods with AWS_IAM have the caller in their context, others don't.
func TestCallerContext(t *testing.T) {
	w := newWorld()
	w.signedMethods()
	w.route(0, "POST", "/pets").Method.AuthorizationType = proto.String("NONE")
	w.vpces[0].Policy = allowAll
	bob := w.user(otherAccount, "bob", document("Allow", ""))
	e, q, _ := decision(t, w)
	names := []string{"identity.accessKey", "identity.accountId", "identity.caller", "identity.user", "identity.userArn"}
	for method, want := range map[string][]string{
		"GET":  {"AKIABOB", otherAccount, "AIDABOB", "AIDABOB", "arn:aws:iam::" + otherAccount + ":user/bob"},
		"POST": {"", "", "", "", ""},
	} {
		in, a := q.in, q.arrival
		q.reset()
		q.in, q.arrival, q.time = in, a, time.Now()
		r := bob.request(t, method, petsURL, "")
		q.head = r
		if v := e.decide(q, r); v != allowed {
			t.Fatalf("%s: %s: %s", method, reasons[v], q.detail())
		}
		for i, name := range names {
			if got, ok := q.ContextValue(name); got != want[i] || ok != (got != "") {
				t.Errorf("%s: %s is %q, %v", method, name, got, ok)
			}
		}
	}
}
