package edge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dataplane/compile"
	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/policytest"
	"github.com/posternhq/postern/dataplane/vpce"
	"github.com/posternhq/postern/internal/netx"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

// drawn is a world of random policies, in the names that the generator uses.
type drawn struct {
	*policytest.Generator
	*world
	home map[string]string // endpoint to VPC
}

func (d *drawn) pick(list ...string) string { return list[d.IntN(len(list))] }

func (d *drawn) policy() string {
	if d.IntN(8) == 0 {
		return ""
	}
	if d.IntN(2) == 0 {
		return string(d.Document())
	}
	// About what programs are bound to, which the generator asks for too rarely.
	statements := []string{`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`}
	for range 1 + d.IntN(3) {
		key, values := "aws:SourceVpc", []string{"vpc-1", "vpc-2", "vpc-3"}
		switch d.IntN(5) {
		case 0:
			key, values = "aws:SourceVpce", []string{"vpce-1", "vpce-2"}
		case 1:
			key, values = "aws:SourceVpcArn", []string{"arn:aws:ec2:us-east-1:111122223333:vpc/vpc-1", "arn:aws:ec2:us-east-1:111122223333:vpc/vpc-2"}
		case 2:
			key, values = d.pick("aws:SecureTransport", "aws:SourceArn", "aws:MultiFactorAuthPresent", "aws:PrincipalArn"), []string{"true", "false"}
		}
		operator := d.pick("StringEquals", "StringNotEquals", "StringLike", "StringEqualsIfExists", "ForAnyValue:StringEquals", "ForAllValues:StringNotEquals")
		value := d.pick(values...)
		switch d.IntN(6) {
		case 0:
			operator, value = "Null", d.pick("true", "false")
		case 1:
			key, operator, value = d.pick("aws:VpcSourceIp", "aws:SourceIp"), d.pick("IpAddress", "NotIpAddress"), d.pick("10.1.2.3", "10.0.0.0/8", "192.168.0.0/16")
		}
		statements = append(statements, fmt.Sprintf(`{"Effect":%q,"Principal":"*","Action":"*","Resource":"arn:aws:execute-api:us-east-1:%s:%s/%s/%s/*","Condition":{%q:{%q:%q}}}`,
			d.pick("Deny", "Deny", "Allow"), d.pick("111122223333", "*"), d.pick("abcde12345", "*"), d.pick("prod", "dev", "*"), d.pick("GET", "*"), operator, key, value))
	}
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements[d.IntN(2):], ",") + `]}`
}

func newDrawn(seed uint64) *drawn {
	d := &drawn{Generator: policytest.New(seed), world: &world{}, home: map[string]string{"vpce-1": "vpc-1", "vpce-2": "vpc-2"}}
	const region, account = "us-east-1", "111122223333"
	for id, kind := range map[string]string{"abcde12345": "PRIVATE", "fghij67890": "REGIONAL"} {
		d.apis = append(d.apis, &edgev1.Api{Id: id, Account: account, Region: region, EndpointType: kind})
		for _, name := range []string{"prod", "dev"} {
			s := &edgev1.Stage{ApiId: id, Account: account, Region: region, Name: name}
			for _, path := range []string{"/", "/{proxy+}"} {
				s.Routes = append(s.Routes, &edgev1.Route{ResourceId: "r" + path, Path: path, HttpMethod: "ANY", Method: mock(200)})
			}
			if name == "dev" {
				canary := proto.CloneOf(s)
				s.Canary = &edgev1.Canary{PercentTraffic: 50, Stage: canary}
			}
			d.stages = append(d.stages, s)
		}
	}
	for _, id := range []string{"vpc-1", "vpc-2", "vpc-3"} {
		d.vpcs = append(d.vpcs, &edgev1.Vpc{Id: id, Account: account, Region: region, Cidrs: []string{"10.0.0.0/8"}})
	}
	for id := range d.home {
		d.vpces = append(d.vpces, &edgev1.VpcEndpoint{Id: id, Account: account, Region: region})
	}
	d.redraw()
	return d
}

// redraw changes policies, the VPCs that endpoints are in, and settings.
func (d *drawn) redraw() {
	for _, s := range d.stages {
		s.Policy = d.policy()
		if s.Canary != nil {
			s.Canary.Stage.Policy = d.policy()
		}
	}
	d.move()
}

func (d *drawn) move() {
	for _, e := range d.vpces {
		d.home[e.Id] = d.pick("vpc-1", "vpc-2", "vpc-3")
		e.VpcId, e.Policy = d.home[e.Id], d.policy()
	}
	d.settings = &edgev1.Settings{SourceIpOnPrivate: d.pick("absent", "eni", "client")}
}

// call is a random request and where it comes from.
func (d *drawn) call() (*vpce.Arrival, *http.Request) {
	host := d.pick("abcde12345", "abcde12345", "fghij67890")
	path := "/" + d.pick("prod", "dev") + "/" + d.pick("pets", "GET", "x")
	for range d.IntN(4) {
		path += "/" + d.pick("prod", "GET", "POST", "pets", "pet", "bob", "a%20b", ":111122223333:abcde12345", "", "*")
	}
	r := httptest.NewRequest(d.pick("GET", "POST"), "https://"+host+".execute-api.us-east-1.amazonaws.com"+path, nil)
	for name, value := range map[string]string{
		"User-Agent": d.pick("", "curl", "libcurl/8", "x", "10.1.2.3"), "Referer": d.pick("", "x", "https://a/"),
	} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	a := &vpce.Arrival{Source: netip.MustParseAddr(d.pick("10.1.2.3", "10.1.2.1", "192.168.7.7", "8.8.8.8", "2001:db8::1"))}
	if host == "abcde12345" {
		a.Endpoint = d.pick("vpce-1", "vpce-2")
		a.VPC = d.home[a.Endpoint]
		a.Interface = netip.MustParseAddr(d.pick("10.1.2.9", "192.168.7.1"))
	}
	return a, r
}

func bare(t testing.TB) *Edge {
	t.Helper()
	e, err := New(Config{
		Network: netx.Host(), Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		Certificates: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") },
		AZs:          []string{"none"}, Headers: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// unchanged drops from an update the resources that are as they were, so that a
// table keeps their compiled form.
func unchanged(last map[string]string, u compile.Update) compile.Update {
	u.Full = last == nil
	var changed []compile.Resource
	for _, r := range u.Changed {
		if last[r.Name] != string(r.Body) {
			changed = append(changed, r)
		}
	}
	u.Changed = changed
	return u
}

// Bound programs decide each request as the policies that they come from do,
// with the same statement; also after endpoints have moved to other VPCs and
// settings changed, while stages stay as they were compiled.
func TestBoundDecidesAlike(t *testing.T) {
	const worlds, moves, calls = 150, 3, 40
	began := time.Now()
	var decided, byBound [policy.ExplicitDeny + 1]int
	for seed := range uint64(worlds) {
		d := newDrawn(seed)
		e := bare(t)
		var last map[string]string
		for index := range uint64(moves) {
			u := d.update(t, index+1)
			table, rejected := compile.Config{Integration: e.Prepare}.Compile(e.Table(), unchanged(last, u))
			if len(rejected) > 0 {
				t.Fatalf("seed %d: %v", seed, rejected)
			}
			last = map[string]string{}
			for _, r := range u.Changed {
				last[r.Name] = string(r.Body)
			}
			e.Install(table)
			for range calls {
				a, r := d.call()
				q := &request{in: e.now.Load(), arrival: a, time: began}
				v := e.decide(q, r)
				if !q.evaluated {
					t.Fatalf("seed %d: %s %s: %s", seed, r.Method, r.URL, reasons[v])
				}
				check := func(kind string, got policy.Decision, p *policy.Program) {
					want := p.Eval(&q.policy)
					if p == nil {
						want = policy.Decision{Statement: got.Statement}
					}
					if got != want {
						t.Fatalf("seed %d, version %d: the %s policy of %s %s by %+v decides %+v, bound %+v\n%s",
							seed, index+1, kind, r.Method, r.URL, a, want, got, q.stage.Policy.Document().Normalize(policy.Target{}))
					}
					decided[want.Effect]++
				}
				check("resource", q.policies.Resource.Decision, q.stage.Policy)
				if q.policies.Endpoint.Attached {
					check("endpoint", q.policies.Endpoint.Decision, q.endpoint.Policy)
				}
				if by := q.stage.PoliciesFor(q.api, q.endpoint, q.vpc); by.Resource != q.stage.Policy {
					byBound[q.policies.Resource.Effect]++
				}
			}
			d.move()
		}
	}
	// A test of which nothing comes out proves nothing.
	for effect, n := range decided {
		if n < worlds || byBound[effect] < worlds {
			t.Errorf("%d decisions are %v, %d of them by bound programs", n, policy.Effect(effect), byBound[effect])
		}
	}
}

// A caller who is known is decided by programs that were not bound to anonymous
// ones.
func TestBoundIsForAnonymousCallers(t *testing.T) {
	w := newWorld()
	const bob = "arn:aws:iam::" + account + ":user/bob"
	w.stages[0].Policy = `{"Version":"2012-10-17","Statement":[` +
		`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},` +
		`{"Effect":"Deny","Principal":{"AWS":"` + bob + `"},"Action":"*","Resource":"*"}]}`
	e, q, r := decision(t, w)
	if v := e.decide(q, r); v != allowed {
		t.Fatal(reasons[v])
	}
	p, err := policy.ParsePrincipal(bob)
	if err != nil {
		t.Fatal(err)
	}
	q.policy.SetPrincipal(p)
	if v := q.authorize(r); v != policyDeny {
		t.Errorf("bob is answered %q", reasons[v])
	}
}

// More endpoints than there is room for are decided right, and none of them
// costs an allocation once the places are taken.
func TestManyWays(t *testing.T) {
	const ways = 40
	w := newWorld()
	w.stages[0].Policy = `{"Version":"2012-10-17","Statement":[` +
		`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},` +
		`{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringLike":{"aws:SourceVpce":"vpce-*7"}}}]}`
	for i := range ways {
		w.vpces = append(w.vpces, &edgev1.VpcEndpoint{Id: fmt.Sprintf("vpce-%04d", i), Account: account, Region: region, VpcId: vpcA})
	}
	e, q, r := decision(t, w)
	in, source := q.in, q.arrival.Source
	arrivals := make([]*vpce.Arrival, ways)
	for i := range arrivals {
		arrivals[i] = &vpce.Arrival{Endpoint: fmt.Sprintf("vpce-%04d", i), VPC: vpcA, Source: source}
	}
	all := func(q *request) {
		for i, a := range arrivals {
			q.reset()
			q.in, q.arrival = in, a
			want := allowed
			if i%10 == 7 {
				want = policyDeny
			}
			if v := e.decide(q, r); v != want {
				t.Errorf("by %s: %s", a.Endpoint, reasons[v])
			}
		}
	}
	all(q)
	// Every 1024th request without a place takes one: fewer are measured.
	if n := testing.AllocsPerRun(5, func() { all(q) }); n != 0 {
		t.Errorf("deciding allocates %v times", n)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 2048 / (ways - 16) {
				all(new(request))
			}
		})
	}
	wg.Wait()
}

// BenchmarkAuthorize is the part of a decision that policies take, by the
// programs of the stage and by those that are bound to what is known.
func BenchmarkAuthorize(b *testing.B) {
	conditions := []string{
		`"StringEquals":{"aws:SourceVpce":["` + vpceA + `","` + vpceB + `"]}`, `"StringEquals":{"aws:SourceVpce":"` + vpceB + `"}`,
		`"StringEquals":{"aws:SourceVpc":"` + vpcB + `"},"IpAddress":{"aws:VpcSourceIp":"10.62.0.0/16"}`, `"StringNotEquals":{"aws:SourceVpc":["` + vpcA + `","` + vpcB + `"]}`,
	}
	many := []string{`{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"` + arn(privateAPI) + `/*"}`}
	for i := range 20 {
		many = append(many, fmt.Sprintf(`{"Effect":"Deny","Principal":"*","Action":"execute-api:Invoke","Resource":"%s/prod/GET/part%d/*","Condition":{%s}}`, arn(privateAPI), i/4, conditions[i%4]))
	}
	for name, text := range map[string]string{
		"allowlist":  `{"Version":"2012-10-17","Statement":[` + many[0] + `,{"Effect":"Deny","Principal":"*","Action":"execute-api:Invoke","Resource":"` + arn(privateAPI) + `/*","Condition":{"StringNotEquals":{"aws:SourceVpce":"` + vpceA + `"}}}]}`,
		"statements": `{"Version":"2012-10-17","Statement":[` + strings.Join(many, ",") + `]}`,
	} {
		w := newWorld()
		w.stages[0].Policy = text
		e, q, r := decision(b, w)
		if v := e.decide(q, r); v != allowed {
			b.Fatal(reasons[v])
		}
		b.Run(name+"/unbound", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := q.stage.Policy.Eval(&q.policy); d.Effect != policy.Allow {
					b.Fatal(d)
				}
			}
		})
		b.Run(name+"/bound", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := q.stage.PoliciesFor(q.api, q.endpoint, q.vpc).Resource.Eval(&q.policy); d.Effect != policy.Allow {
					b.Fatal(d)
				}
			}
		})
	}
}
