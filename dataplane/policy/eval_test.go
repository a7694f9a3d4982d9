package policy_test

import (
	"cmp"
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/policytest"
	"github.com/posternhq/postern/dataplane/policy/reference"
)

var (
	documents = flag.Uint64("documents", 2500, "how many generated policies to compare, each with 8 requests")
	firstSeed = flag.Uint64("seed", 0, "seed of the first of them")
)

// TestAgainstReference compares Eval, unbound and bound, with the reference
// evaluator on generated policies and requests. A failure prints its seed, which
// FuzzEval takes too. -documents and -seed say how many and which.
func TestAgainstReference(t *testing.T) {
	var next atomic.Uint64
	var total [policy.ExplicitDeny + 1]atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			effects := map[policy.Effect]int{}
			for i := next.Add(1) - 1; i < *documents && !t.Failed(); i = next.Add(1) - 1 {
				compareSeed(t, *firstSeed+i, effects)
			}
			for e, n := range effects {
				total[e].Add(int64(n))
			}
		})
	}
	workers.Wait()
	if t.Failed() {
		return
	}
	t.Logf("%d cases (seeds %d to %d), each unbound and bound: no difference; %d silent, %d allow, %d explicit-deny", *documents*casesPerDocument,
		*firstSeed, *firstSeed+*documents-1, total[policy.Silent].Load(), total[policy.Allow].Load(), total[policy.ExplicitDeny].Load())
	for e := range total {
		if total[e].Load() < int64(*documents)/10 {
			t.Errorf("only %d decisions are %v: the generator has lost its way", total[e].Load(), policy.Effect(e))
		}
	}
}

func FuzzEval(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		compareSeed(t, seed, map[policy.Effect]int{})
	})
}

// compareSeed may be called by several goroutines: it fails without ending the test.
func compareSeed(t *testing.T, seed uint64, effects map[policy.Effect]int) {
	t.Helper()
	g := policytest.New(seed)
	doc := g.Document()
	query := g.AnyQuery
	switch statements := 60 + int(seed/64%100); seed % 64 { // enough for more than one batch of them
	case 63:
		doc = g.LargeDocument(statements)
	case 31:
		doc = g.CrowdDocument(statements)
		query = func() *policy.Query { return g.CrowdQuery(statements) }
	}
	parsed, err := policy.Parse(doc)
	if err != nil {
		t.Errorf("seed %d: %v\n%s", seed, err, doc)
		return
	}
	prog, err := policy.Compile(parsed)
	if err != nil {
		t.Errorf("seed %d: %v\n%s", seed, err, doc)
		return
	}
	slow, err := reference.Read(doc)
	if err != nil {
		t.Errorf("seed %d: %v", seed, err)
		return
	}
	for range casesPerDocument {
		q := query()
		r, err := q.Request()
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			return
		}
		want, err := slow.Eval(q)
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			return
		}
		got := prog.Eval(r)
		effects[got.Effect]++
		if got != want {
			t.Errorf("seed %d: Eval gives %+v, the reference %+v\n%s\n%+v", seed, got, want, doc, q)
		}
		known := knownOf(g, q, string(r.Resource))
		if bound := prog.Bind(known).Eval(r); bound != want {
			t.Errorf("seed %d: Eval of the bound program gives %+v, the reference %+v\nknown: %+v\n%s\n%+v", seed, bound, want, known, doc, q)
		}
	}
}

const casesPerDocument = 8

// knownOf draws a part of what a query says.
func knownOf(g *policytest.Generator, q *policy.Query, arn string) *policy.Known {
	some := func() bool { return g.IntN(2) == 0 }
	k := &policy.Known{}
	if some() {
		k.Action = cmp.Or(q.Action, policy.DefaultAction)
	}
	if some() {
		k.Resource = arn[:g.IntN(len(arn)+1)]
	}
	given := map[string]policy.Values{}
	principalGiven := false
	for name, values := range q.Context {
		given[strings.ToLower(name)] = values
		principalGiven = principalGiven || strings.HasPrefix(strings.ToLower(name), "aws:principal") || strings.HasPrefix(strings.ToLower(name), "aws:user")
	}
	for key := range policy.KeyUsername + 1 {
		name := strings.ToLower(key.String())
		values, ok := given[name]
		switch {
		case !some():
		case ok && key == policy.KeyCurrentTime && strings.Contains(values[0], "+"):
			// A request holds the time in UTC, which is another text.
		case ok && len(values) == 1:
			k.Set(key, values[0])
		case !ok && key != policy.KeyEpochTime && (q.Principal == "" || key < policy.KeyPrincipalARN):
			k.SetAbsent(key)
		}
	}
	k.Anonymous = q.Principal == "" && !principalGiven && some()
	return k
}

// compile is for tests whose document is right.
func compile(t testing.TB, doc string) *policy.Program {
	t.Helper()
	d, err := policy.Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// request is for tests whose query is right.
func request(t testing.TB, q *policy.Query) *policy.Request {
	t.Helper()
	r, err := q.Request()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// hotRequest is a request through an endpoint as an edge makes it.
func hotRequest() *policy.Request {
	r := &policy.Request{
		Action:   "execute-api:Invoke",
		Resource: []byte(apiARN + "/prod/GET/pets/7"),
		Time:     time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC),
	}
	r.Set(policy.KeySourceVpc, "vpc-0a1b2c3d")
	r.Set(policy.KeySourceVpce, "vpce-0a1b2c3d4e5f60718")
	r.SetAddr(policy.KeyVpcSourceIP, netip.MustParseAddr("10.1.2.3"))
	r.Set(policy.KeySecureTransport, "true")
	r.Set(policy.KeyUserAgent, "curl/8.5.0")
	return r
}

// everyFamily is a policy that makes Eval use each kind of condition.
const everyFamily = `{"Version":"2012-10-17","Statement":[
 {"Effect":"Deny","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/admin/*","Condition":{"StringNotEquals":{"aws:SourceVpce":"vpce-9"}}},
 {"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::111122223333:role/dev"},"Action":"*","Resource":"*","Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/ops-?"}}},
 {"Effect":"Deny","NotPrincipal":{"AWS":["111122223333","arn:aws:iam::111122223333:role/dev","arn:aws:sts::111122223333:assumed-role/dev/s1"]},"NotAction":"execute-api:Invoke","Resource":"*"},
 {"Effect":"Allow","Principal":"*","Action":"Execute-API:Inv?ke","NotResource":"arn:aws:execute-api:*:*:*/prod/POST/*","Condition":{
  "StringLike":{"aws:UserAgent":["*curl*","a?b"],"aws:CurrentTime":"2026-*","aws:VpcSourceIp":"10.*"},
  "StringEquals":{"aws:VpcSourceIp":"10.1.2.3","aws:PrincipalTag/team":"${aws:PrincipalTag/dept, 'blue'}","aws:SourceVpce":["a","b","c","d","e","f","g","vpce-0a1b2c3d4e5f60718"]},
  "StringEqualsIgnoreCase":{"aws:SourceVpc":"VPC-0A1B2C3D"},
  "NumericGreaterThan":{"aws:EpochTime":1577836800},
  "DateGreaterThan":{"aws:CurrentTime":"2020-01-01"},
  "Bool":{"aws:SecureTransport":true},
  "BinaryEquals":{"aws:UserAgent":"Y3VybC84LjUuMA=="},
  "IpAddress":{"aws:VpcSourceIp":["10.9.0.0/16","10.8.0.0/16","10.7.0.0/16","10.6.0.0/16","10.1.0.0/16"],"custom:Address":"2001:db8::/32"},
  "NotIpAddress":{"custom:Broken":"10.0.0.0/8"},
  "ForAnyValue:StringLike":{"aws:PrincipalOrgPaths":"o-1/*"},
  "ForAllValues:StringEquals":{"aws:TagKeys":["x","y"]},
  "Null":{"aws:Referer":"true"}}}]}`

func TestEvalAllocatesNothing(t *testing.T) {
	prog := compile(t, everyFamily)
	r := hotRequest()
	p, err := policy.ParsePrincipal("arn:aws:sts::111122223333:assumed-role/dev/s1")
	if err != nil {
		t.Fatal(err)
	}
	p.Tags = map[string]string{"team": "blue"}
	p.OrgPaths = []string{"o-1/r-1/"}
	r.SetPrincipal(p)
	r.Extra = map[string][]string{"custom:address": {"2001:db8::1"}, "custom:broken": {"not an address"}, "aws:tagkeys": {"x"}}
	var d policy.Decision
	if n := testing.AllocsPerRun(200, func() { d = prog.Eval(r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if want := (policy.Decision{Effect: policy.Allow, Statement: 3}); d != want {
		t.Errorf("decision %+v, want %+v: the test would measure less than it says", d, want)
	}
}

// TestNothingAllocates: whatever the policy, whatever the caller sends.
func TestNothingAllocates(t *testing.T) {
	for seed := range uint64(800) {
		g := policytest.New(seed)
		doc := g.Document()
		prog := compile(t, string(doc))
		q := g.Query()
		r := request(t, q)
		if n := testing.AllocsPerRun(3, func() { prog.Eval(r) }); n != 0 {
			t.Fatalf("seed %d: %v allocations\n%s\n%+v", seed, n, doc, q)
		}
	}
}

// TestRequestAllocatesNothing: what an edge does for each request.
func TestRequestAllocatesNothing(t *testing.T) {
	prog := compile(t, sourceEndpoint)
	var r policy.Request
	resource := []byte(apiARN + "/prod/GET/pets")
	addr := netip.MustParseAddr("::ffff:10.1.2.3")
	if n := testing.AllocsPerRun(200, func() {
		r.Reset()
		r.Action, r.Resource = "execute-api:Invoke", resource
		r.SetPrincipal(nil)
		r.Set(policy.KeySourceVpce, "vpce-1")
		r.SetAddr(policy.KeyVpcSourceIP, addr)
		if d := prog.Eval(&r); d.Effect != policy.Allow {
			t.Fatal(d)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

const sourceEndpoint = `{"Version":"2012-10-17","Statement":[
 {"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"arn:aws:execute-api:us-east-1:111122223333:abcde12345/*"},
 {"Effect":"Deny","Principal":"*","Action":"execute-api:Invoke","Resource":"arn:aws:execute-api:us-east-1:111122223333:abcde12345/*",
  "Condition":{"StringNotEquals":{"aws:SourceVpce":["vpce-1","vpce-0a1b2c3d4e5f60718"]}}}]}`

func BenchmarkEval(b *testing.B) {
	for _, bm := range []struct{ name, doc string }{
		{"SourceEndpoint", sourceEndpoint},
		{"EveryFamily", everyFamily},
	} {
		b.Run(bm.name, func(b *testing.B) {
			prog := compile(b, bm.doc)
			r := hotRequest()
			b.ReportAllocs()
			for b.Loop() {
				prog.Eval(r)
			}
		})
	}
}

// TestGlobIsNotExponential: patterns that ruin a backtracking matcher.
func TestGlobIsNotExponential(t *testing.T) {
	for _, pattern := range []string{
		strings.Repeat("*a", 3000) + "b",
		strings.Repeat("a*", 3000) + "b",
		strings.Repeat("*", 8000) + "b",
		strings.Repeat("*?", 3000) + "b",
		strings.Repeat("*a?", 2000) + "b",
	} {
		prog := compile(t, fmt.Sprintf(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"execute-api:/%s"}]}`, pattern))
		r := hotRequest()
		r.Resource = []byte("arn:aws:execute-api:us-east-1:111122223333:api/" + strings.Repeat("a", 8000))
		start := time.Now()
		if d := prog.Eval(r); d.Effect != policy.Silent {
			t.Errorf("%.20s matches", pattern)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%.20s took %v", pattern, took)
		}
	}
}

func TestNilProgramIsSilent(t *testing.T) {
	var p *policy.Program
	if d := p.Eval(hotRequest()); d.Effect != policy.Silent || d.Statement != -1 {
		t.Errorf("no policy decides %+v", d)
	}
}

func TestCompileNeedsPrincipal(t *testing.T) {
	d, err := policy.Parse([]byte(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := policy.Compile(d); err == nil {
		t.Error("a statement without Principal was compiled")
	}
}

// TestCompileIsBounded: whatever a document of the largest size holds, reading
// and compiling it costs little.
func TestCompileIsBounded(t *testing.T) {
	const size = policy.MaxEndpointPolicy
	fill := func(format, unit string) string {
		return fmt.Sprintf(format, strings.Repeat(unit, (size-len(format))/len(unit)))
	}
	statement := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{%s}}}`
	for name, doc := range map[string]string{
		"stars":      fill(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"execute-api:/%s"}}`, "*a"),
		"questions":  fill(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"execute-api:/%s"}}`, "?*"),
		"resources":  fill(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":["*"%s]}}`, `,"execute-api:/*a*"`),
		"statements": fill(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}%s]}`, `,{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`),
		"filed":      fill(fmt.Sprintf(`{"Statement":[%s]}`, strings.TrimSuffix(strings.Repeat(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"a":["x","y","z"],"b":["x","y","z"],"c":["x","y","z"],"d":["x","y","z"],"e":["x","y","z"]}}},`, 100), ",")+"%s"), " "),
		"callers":    fill(fmt.Sprintf(`{"Statement":[%s]}`, strings.TrimSuffix(strings.Repeat(`{"Effect":"Allow","Principal":{"AWS":["111122223333","arn:aws:iam::1:role/a"]},"Action":"*","Resource":"*","Condition":{"StringLike":{"a":"x*"}}},`, 140), ",")+"%s"), " "),
		"variables":  fill(fmt.Sprintf(statement, `"StringLike":{"aws:username":"%s"}`), "${aws:userid, 'x'}*"),
		"addresses":  fill(fmt.Sprintf(statement, `"IpAddress":{"aws:SourceIp":["::/0"%s]}`), `,"2001:db8::/32"`),
		"arns":       fill(fmt.Sprintf(statement, `"ArnLike":{"aws:PrincipalArn":["*"%s]}`), `,"a:*:?:*:*:*"`),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		compile(t, doc)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		// Ten times what is promised, as the machine may be busy and the race detector on.
		if took > 200*time.Millisecond {
			t.Errorf("%s: %v", name, took)
		}
		if bytes := after.TotalAlloc - before.TotalAlloc; bytes > 10<<20 {
			t.Errorf("%s: %d bytes", name, bytes)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	var many strings.Builder
	many.WriteString(`{"Version":"2012-10-17","Statement":[`)
	for i := range 10000 {
		if i > 0 {
			many.WriteByte(',')
		}
		fmt.Fprintf(&many, `{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"arn:aws:execute-api:us-east-1:111122223333:abcde12345/prod/GET/tenant-%d/*","Condition":{"StringEquals":{"aws:SourceVpce":"vpce-%08x"}}}`, i, i)
	}
	many.WriteString(`]}`)
	for _, bm := range []struct{ name, doc string }{
		{"SourceEndpoint", sourceEndpoint},
		{"EveryFamily", everyFamily},
		{"Statements10000", many.String()},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				compile(b, bm.doc)
			}
		})
	}
}
