package edge

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dataplane/compile"
	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/vpce"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

// serveFrom has the edge answer a request of an endpoint without a network.
func serveFrom(e *Edge, a *vpce.Arrival, r *http.Request) answered {
	w := answered{httptest.NewRecorder()}
	e.ServeHTTP(w, r.WithContext(withArrival(r.Context(), func() *vpce.Arrival { return a })))
	return w
}

type answered struct{ *httptest.ResponseRecorder }

// decision is the id in the answer, empty if there is none.
func (a answered) decision() string {
	return strings.Join(a.Header()["x-postern-decision"], "")
}

func (r *running) refused(c call) *edgev1.Decision {
	r.t.Helper()
	return found(r.t, r.Edge, r.must(c).header.Get("x-postern-decision"))
}

func found(t testing.TB, e *Edge, id string) *edgev1.Decision {
	t.Helper()
	d, search := e.FindDecision(id)
	if d == nil {
		t.Fatalf("decision %q is not there: %v", id, search)
	}
	return d
}

// Every answer with a decision id is found again, with what was known then.
func TestFindDecision(t *testing.T) {
	const only = `{"Version":"2012-10-17","Statement":[` +
		`{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"*"},` +
		`{"Sid":"OnlyB","Effect":"Deny","Principal":"*","Action":"execute-api:Invoke","Resource":"*","Condition":{"StringNotEquals":{"aws:SourceVpce":"` + vpceB + `"}}}]}`
	const silent = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"*","Condition":{"StringEquals":{"aws:UserAgent":"nobody"}}}}`
	for _, test := range []struct {
		name   string
		world  func(w *world)
		call   func(c *call)
		want   *edgev1.Decision // some of it
		proofs []*edgev1.PolicyEvidence
	}{
		{name: "explicit deny", world: func(w *world) { w.stages[0].Policy = only },
			want:   &edgev1.Decision{Result: "explicit_deny", Reason: "the resource policy denies", ApiId: privateAPI, Stage: "prod", DeploymentId: "dep001", ResourcePath: "/pets", Endpoint: vpceA, Vpc: vpcA, Source: "10.61.0.50"},
			proofs: []*edgev1.PolicyEvidence{{Kind: "resource", Decided: true, Effect: "explicit-deny", Statement: 1, Sid: "OnlyB"}}},
		{name: "silent", world: func(w *world) { w.stages[0].Policy = silent },
			want:   &edgev1.Decision{Result: "implicit_deny", Reason: "the resource policy does not allow", ApiId: privateAPI, Stage: "prod", DeploymentId: "dep001", ResourcePath: "/pets", Endpoint: vpceA, Vpc: vpcA, Source: "10.61.0.50"},
			proofs: []*edgev1.PolicyEvidence{{Kind: "resource", Decided: true, Effect: "silent", Statement: -1}}},
		{name: "endpoint policy", world: func(w *world) { w.vpces[0].Policy = only },
			want: &edgev1.Decision{Result: "endpoint_explicit_deny", Reason: "the endpoint policy denies", ApiId: privateAPI, Stage: "prod", DeploymentId: "dep001", ResourcePath: "/pets", Endpoint: vpceA, Vpc: vpcA, Source: "10.61.0.50"},
			proofs: []*edgev1.PolicyEvidence{
				{Kind: "resource", Effect: "allow", Statement: 0},
				{Kind: "endpoint", Decided: true, Effect: "explicit-deny", Statement: 1, Sid: "OnlyB"},
			}},
		{name: "no policy", world: func(w *world) { w.stages[0].Policy = "" },
			want:   &edgev1.Decision{Result: "implicit_deny", Reason: "the resource policy does not allow", ApiId: privateAPI, Stage: "prod", DeploymentId: "dep001", ResourcePath: "/pets", Endpoint: vpceA, Vpc: vpcA, Source: "10.61.0.50"},
			proofs: []*edgev1.PolicyEvidence{{Kind: "resource", Decided: true, Effect: "silent", Statement: -1, Unexplained: noPolicy}}},
		{name: "unknown API", call: func(c *call) { c.host = "nosuch0000.execute-api.us-west-2.amazonaws.com" },
			want: &edgev1.Decision{Result: "forbidden", Reason: "no name in the request is that of an API", Endpoint: vpceA, Vpc: vpcA, Source: "10.61.0.50"}},
		{name: "missing token", world: func(w *world) { w.route(0, "GET", "/pets").Method.AuthorizationType = proto.String("AWS_IAM") },
			want: &edgev1.Decision{Result: "unauthenticated", Reason: "the method wants a signature", ApiId: privateAPI, Stage: "prod", DeploymentId: "dep001", ResourcePath: "/pets", Endpoint: vpceA, Vpc: vpcA, Source: "10.61.0.50"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld()
			if test.world != nil {
				test.world(w)
			}
			r := start(t, w, quiet)
			c := privateCall()
			if test.call != nil {
				test.call(&c)
			}
			before := time.Now()
			d := r.refused(c)
			if at := time.Unix(0, d.GetTimeUnixNano()); at.Before(before) || at.After(time.Now()) {
				t.Errorf("decided at %v, asked at %v", at, before)
			}
			if len(d.GetRequestId()) != 36 || d.GetHost() != c.host || d.GetMethod() != "GET" || d.GetPath() != "/prod/pets" || d.GetVersion() != 1 || d.GetEdge() != "e1" {
				t.Errorf("the request of the decision is %v", d)
			}
			for i, p := range d.GetPolicies() {
				if i < len(test.proofs) && test.proofs[i].Unexplained == "" && (len(p.GetExplanation()) == 0 || p.GetText() == "") {
					t.Errorf("the %s policy is not explained: %v", p.GetKind(), p)
				}
				p.Explanation, p.Text = nil, ""
			}
			got := &edgev1.Decision{
				Result: d.GetResult(), Reason: d.GetReason(), ApiId: d.GetApiId(), Stage: d.GetStage(), DeploymentId: d.GetDeploymentId(), ResourcePath: d.GetResourcePath(),
				Endpoint: d.GetEndpoint(), Vpc: d.GetVpc(), Source: d.GetSource(), Policies: d.GetPolicies(),
			}
			test.want.Policies = test.proofs
			if !proto.Equal(got, test.want) {
				t.Errorf("got  %s\nwant %s", protojson.Format(got), protojson.Format(test.want))
			}
		})
	}
}

// The explanation is by the policy that decided, not by the one that is in place
// when somebody asks, and by the request as it was.
func TestExplainedByWhatDecided(t *testing.T) {
	w := newWorld()
	deny := func(sid, agent string) string {
		return `{"Version":"2012-10-17","Statement":{"Sid":"` + sid + `","Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:UserAgent":"` + agent + `"}}}}`
	}
	w.stages[0].Policy = deny("Old", "curl/8")
	e, q, r := decision(t, w)
	id := serveFrom(e, q.arrival, r).decision()
	w.stages[0].Policy = deny("New", "wget/1")
	table, _ := compile.Config{Integration: e.Prepare}.Compile(e.Table(), w.update(t, 2))
	e.Install(table)
	for range 64 { // requests are reused: whatever the first one left is overwritten
		other := r.Clone(t.Context())
		other.Header.Set("User-Agent", "wget/1")
		serveFrom(e, q.arrival, other)
	}
	d := found(t, e, id)
	if p := d.GetPolicies()[0]; p.GetSid() != "Old" || p.GetUnexplained() != "" || d.GetVersion() != 1 || !bytes.Contains(p.GetExplanation(), []byte("curl/8")) {
		t.Errorf("explained by %v at version %d", p, d.GetVersion())
	}
}

// A value that is too long is cut, which is said; the decision is explained only
// if it does not depend on what is missing.
func TestLongValues(t *testing.T) {
	w := newWorld()
	e, q, r := decision(t, w)
	long := strings.Repeat("x", 5000)
	for _, test := range []struct {
		condition string
		explained bool
	}{
		{`{"StringLike":{"aws:UserAgent":"x*"}}`, true},
		{`{"StringLike":{"aws:UserAgent":"*end"}}`, false},
	} {
		w.stages[0].Policy = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":` + test.condition + `}}`
		table, _ := compile.Config{Integration: e.Prepare}.Compile(e.Table(), w.update(t, e.Table().Index()+1))
		e.Install(table)
		r.Header.Set("User-Agent", long+"end")
		r.Host = privateHost
		d := found(t, e, serveFrom(e, q.arrival, r).decision())
		p := d.GetPolicies()[0]
		if got := p.GetUnexplained() == ""; got != test.explained || p.GetStatement() != 0 {
			t.Errorf("%s: explained %v, %v", test.condition, got, p)
		}
		if len(d.GetShortened()) != 1 || d.GetShortened()[0] != "aws:UserAgent" || proto.Size(d) > 8<<10 {
			t.Errorf("%s: %d bytes, shortened %q", test.condition, proto.Size(d), d.GetShortened())
		}
	}
}

// Of more denials than there is room for the newest stay; what is not there is
// answered with what is.
func TestDenialsAreBounded(t *testing.T) {
	const room = 16
	w := newWorld()
	w.stages[0].Policy = ""
	e, q, r := decision(t, w)
	e.denials = newDenials(room)
	if _, s := e.FindDecision("0000000000"); s.GetCapacity() != room || s.GetKept() != 0 || s.GetOldestUnixNano() != 0 {
		t.Errorf("an edge that denied nothing says %v", s)
	}
	var ids []string
	for range 3*room + 5 {
		ids = append(ids, serveFrom(e, q.arrival, r).decision())
	}
	for i, id := range ids {
		d, s := e.FindDecision(id)
		if kept := i >= len(ids)-room; kept != (d != nil) || kept == (s != nil) {
			t.Errorf("denial %d of %d: %v, %v", i, len(ids), d, s)
		}
	}
	oldest := found(t, e, ids[len(ids)-room]).GetTimeUnixNano()
	if _, s := e.FindDecision(ids[0]); s.GetKept() != room || s.GetOldestUnixNano() != oldest {
		t.Errorf("of %v the oldest is of %d", s, oldest)
	}
	none := newDenials(0)
	none.add(&denial{id: "a"})
	if none.find("a") != nil {
		t.Error("an edge that keeps none found one")
	}
}

// Denials and questions come from many goroutines.
func TestDenialsConcurrently(t *testing.T) {
	d := newDenials(8)
	p, err := policy.Parse([]byte(allowAll))
	if err != nil {
		t.Fatal(err)
	}
	program, err := policy.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	kept := &denial{id: "kept", request: &policy.Request{Action: policy.DefaultAction}, policies: []evidence{{program: program}}}
	d.add(kept)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 1000 {
				id := fmt.Sprint(g, i)
				d.add(&denial{id: id, time: time.Unix(int64(i), 0)})
				if n := d.find(id); n != nil && n.id != id {
					t.Errorf("asked for %s, got %s", id, n.id)
				}
				kept.explain("e1")
				d.extent()
			}
		})
	}
	wg.Wait()
}

// A request that passes leaves nothing behind.
func TestAllowedIsNotKept(t *testing.T) {
	e, q, r := decision(t, newWorld())
	w := serveFrom(e, q.arrival, r)
	if w.Code != 200 || w.decision() != "" {
		t.Fatalf("got %d with decision %q", w.Code, w.decision())
	}
	if kept, _ := e.denials.extent(); kept != 0 {
		t.Errorf("%d decisions are kept", kept)
	}
}

// The log names the policy and the statement, below the levels that are read by
// default.
func TestRefusalIsLogged(t *testing.T) {
	w := newWorld()
	w.stages[0].Policy = `{"Version":"2012-10-17","Statement":[{"Sid":"Shut","Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}]}`
	e, q, r := decision(t, w)
	var log bytes.Buffer
	for level, want := range map[slog.Level]bool{slog.LevelDebug: true, slog.LevelInfo: false} {
		log.Reset()
		e.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level}))
		id := serveFrom(e, q.arrival, r).decision()
		if got := strings.Contains(log.String(), "decision="+id+" policy=resource statement=0 sid=Shut"); got != want {
			t.Errorf("at %v: %s", level, log.String())
		}
	}
}

// Whatever a client sends, what is kept of it can be sent.
func FuzzDenial(f *testing.F) {
	f.Add(privateHost, "/prod/pets", "GET", "curl/8")
	f.Add("h\xff", "/prod/\xfe", "G\xffT", "\xff")
	f.Add(privateHost, "/prod/pets/"+strings.Repeat("%ff", 900), "GET", strings.Repeat("é", 600))
	w := newWorld()
	w.stages[0].Policy = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"StringLike":{"aws:UserAgent":"*z","aws:Referer":"*"}}}}`
	e, _, _ := decision(f, w)
	a := &vpce.Arrival{Endpoint: vpceA, VPC: vpcA, Source: netip.MustParseAddr("10.61.0.50")}
	f.Fuzz(func(t *testing.T, host, path, method, agent string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		r := &http.Request{Method: method, Host: host, URL: u, RequestURI: path, ProtoMajor: 1, Body: http.NoBody, Header: http.Header{"User-Agent": {agent}, "Referer": {agent}}}
		w := serveFrom(e, a, r)
		id := w.decision()
		if id == "" {
			return
		}
		d := found(t, e, id)
		if _, err := proto.Marshal(d); err != nil {
			t.Error(err)
		}
		for _, p := range d.GetPolicies() {
			if p.GetUnexplained() == "" != (p.GetText() != "" && len(p.GetExplanation()) > 0) || p.GetUnexplained() != "" && len(d.GetShortened()) == 0 {
				t.Errorf("%v", p)
			}
		}
	})
}
