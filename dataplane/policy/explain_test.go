package policy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/cockroachdb/datadriven"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/policytest"
	"github.com/posternhq/postern/dataplane/policy/reference"
)

// TestExplain shows explanations, in the notation of TestWorked. The directives:
//
//	policy, document   as there, or a policy without principals; prints nothing
//	explain            a request; prints the explanation as text
//	json               the same as JSON
//
// What each explanation says is checked against the reference evaluator.
func TestExplain(t *testing.T) {
	datadriven.Walk(t, "testdata/explain", func(t *testing.T, path string) {
		var doc []byte
		var prog *policy.Program
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "policy", "document":
				text := strings.ReplaceAll(d.Input, "$P", apiARN)
				if d.Cmd == "policy" {
					version := "2012-10-17"
					d.MaybeScanArgs(t, "version", &version)
					text = buildDocument(t, version, d.Input)
				}
				doc = []byte(text)
				prog = compileAny(t, doc)
				return ""
			case "explain":
				return explained(t, prog, doc, parseQuery(t, d.Input)).String()
			case "json":
				var out bytes.Buffer
				text, err := json.Marshal(explained(t, prog, doc, parseQuery(t, d.Input)))
				if err != nil {
					t.Fatal(err)
				}
				if err := json.Indent(&out, text, "", "  "); err != nil {
					t.Fatal(err)
				}
				return out.String() + "\n"
			}
			d.Fatalf(t, "unknown directive")
			return ""
		})
	})
}

// compileAny compiles a policy that is attached to a resource or to a caller.
func compileAny(t *testing.T, doc []byte) *policy.Program {
	t.Helper()
	d, err := policy.Parse(doc)
	if err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	if p, err := policy.Compile(d); err == nil {
		return p
	}
	p, err := policy.CompileIdentity(d)
	if err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	return p
}

// explained explains a request and holds every fact that can be checked
// against Eval and the reference.
func explained(t *testing.T, prog *policy.Program, doc []byte, q *policy.Query) *policy.Explanation {
	t.Helper()
	r := request(t, q)
	x := prog.Explain(r)
	if want := prog.Eval(r); x.Decision != want {
		t.Errorf("the explanation says %+v, Eval %+v\n%s\n%+v", x.Decision, want, doc, q)
	}
	bound := prog.Bind(&policy.Known{Action: r.Action, Resource: string(r.Resource)})
	if got := bound.Explain(r).String(); got != x.String() {
		t.Errorf("a bound program explains\n%s\nthe whole one\n%s", got, x)
	}

	ref, err := reference.Read(doc)
	if err != nil {
		t.Fatal(err)
	}
	applies, err := ref.Applies(q)
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Statements) != len(applies) {
		t.Fatalf("%d statements of %d are explained", len(x.Statements), len(applies))
	}
	for i, s := range x.Statements {
		if s.Applies != applies[i] || s.Applies != (s.Failed == nil) || s.Applies != (s.Held != nil) {
			t.Errorf("statement %d: %+v; the reference says it applies: %v\n%s\n%+v", i, s, applies[i], doc, q)
		}
	}

	if x.Decision.Effect == policy.Allow && len(x.NearMisses) > 0 {
		t.Errorf("an allowed request has near misses: %+v", x.NearMisses)
	}
	for _, m := range x.NearMisses {
		changed := change(q, &m)
		eval := ref.Eval
		if isIdentity(prog) {
			eval = ref.EvalIdentity
		}
		got, err := eval(changed)
		if err != nil {
			t.Fatal(err)
		}
		if got.Effect != policy.Allow {
			t.Errorf("%+v: the reference says %+v\n%s\n%+v", m, got, doc, changed)
		}
	}
	return x
}

func isIdentity(prog *policy.Program) bool {
	_, err := policy.Compile(prog.Document())
	return err != nil
}

// change makes the change that a near miss proposes.
func change(q *policy.Query, m *policy.NearMiss) *policy.Query {
	out := *q
	out.Context = maps.Clone(q.Context)
	drop := func(names ...string) {
		maps.DeleteFunc(out.Context, func(name string, _ policy.Values) bool {
			return slices.ContainsFunc(names, func(n string) bool {
				return strings.EqualFold(n, name) || strings.HasSuffix(n, "/") && strings.HasPrefix(strings.ToLower(name), n)
			})
		})
	}
	switch m.Element {
	case "principal":
		out.Principal = m.Value
		drop("aws:PrincipalArn", "aws:PrincipalAccount", "aws:PrincipalOrgID", "aws:PrincipalType", "aws:userid", "aws:username",
			"aws:PrincipalOrgPaths", "aws:principaltag/")
	case "action":
		out.Action = m.Value
	case "resource":
		out.Resource = m.Value
	default:
		drop(m.Element)
		if strings.EqualFold(m.Element, "aws:CurrentTime") {
			drop("aws:EpochTime")
		}
		out.Context[m.Element] = nil
		if !m.Absent {
			out.Context[m.Element] = policy.Values{m.Value}
		}
	}
	return &out
}

func FuzzExplain(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, seed%3 == 0)
	}
	f.Fuzz(func(t *testing.T, seed uint64, identity bool) { explainSeed(t, seed, identity) })
}

// FuzzExplainText: documents that no generator would write.
func FuzzExplainText(f *testing.F) {
	f.Add([]byte(everyFamily), "arn:aws:iam::111122223333:user/bob", "abcde12345/prod/GET/", "vpce-1")
	f.Add([]byte(sourceEndpoint), "", "a", "")
	f.Add([]byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":"s3:?","NotResource":"${*}","Condition":{"StringLike":{"aws:SourceVpce":"${x, '}'}*${"}}}}`), "444455556666", "/", "\xff")
	f.Add([]byte(`{"Statement":{"Effect":"Deny","NotPrincipal":{"Service":"a"},"Action":"*","Resource":["execute-api:/","arn:a:b:c:d:/*//?"],"Condition":{"NumericLessThan":{"AWS:EpochTime":"-9223372036854775808","aws:SourceVpce":"99999999999999999999"},"DateEquals":{"aws:SourceVpce":["0001-01-01","9999-12-31T23:59:59-23:59"]},"NotIpAddress":{"aws:SourceIp":["::/0","255.255.255.255","0.0.0.0/0"]}}}}`), "", "a/b/c", "5")
	f.Fuzz(func(t *testing.T, doc []byte, caller, resource, value string) {
		d, err := policy.Parse(doc)
		if err != nil {
			return
		}
		prog, err := policy.Compile(d)
		if err != nil {
			if prog, err = policy.CompileIdentity(d); err != nil {
				return
			}
		}
		r := hotRequest()
		if p, err := policy.ParsePrincipal(caller); err == nil {
			r.SetPrincipal(p)
		}
		r.Resource = []byte(resource)
		r.SetContext("custom:word", value, caller)
		r.Set(policy.KeySourceVpce, value)
		x := prog.Explain(r)
		if want := prog.Eval(r); x.Decision != want {
			t.Errorf("the explanation says %+v, Eval %+v", x.Decision, want)
		}
		if text := x.String(); !printableLines(text) {
			t.Errorf("not for a terminal: %q", text)
		}
		if text, err := json.Marshal(x); err != nil || !json.Valid(text) {
			t.Errorf("%v: %s", err, text)
		}
	})
}

// printableLines says that a terminal shows the text as it is.
func printableLines(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) })
}

func explainSeed(t *testing.T, seed uint64, identity bool) (near int) {
	t.Helper()
	g := policytest.New(seed)
	doc := g.Document()
	if identity {
		doc = g.IdentityDocument()
	}
	prog := compileAny(t, doc)
	for range 4 {
		q := g.Query()
		x := explained(t, prog, doc, q)
		if t.Failed() {
			t.Fatalf("seed %d, identity %v", seed, identity)
		}
		if text := x.String(); !printableLines(text) {
			t.Fatalf("seed %d: not for a terminal: %q", seed, text)
		}
		near += len(x.NearMisses)
	}
	return near
}

// TestExplainGenerated: generated policies and requests, as FuzzExplain has them.
func TestExplainGenerated(t *testing.T) {
	near := 0
	for seed := range uint64(1200) {
		near += explainSeed(t, seed, seed%4 == 0)
	}
	t.Logf("%d near misses", near)
	if near < 1200 {
		t.Errorf("only %d near misses: the search has lost its way", near)
	}
}

// TestExplainLeavesRequest: an explanation keeps nothing of the request, and
// changes nothing in it.
func TestExplainLeavesRequest(t *testing.T) {
	prog := compile(t, sourceEndpoint)
	r := hotRequest()
	before := prog.Eval(r)
	endpoint := []byte("vpce-7")
	r.Extra = map[string][]string{"custom:word": {"a"}}
	r.Set(policy.KeySourceVpce, string(endpoint))
	x := prog.Explain(r)
	text := x.String()
	if len(x.NearMisses) == 0 {
		t.Fatal("no near miss was tried")
	}
	r.Set(policy.KeySourceVpce, "vpce-0a1b2c3d4e5f60718")
	copy(r.Resource, "zzzzz")
	if got := x.String(); got != text {
		t.Errorf("the explanation changed with the request:\n%s", got)
	}
	copy(r.Resource, "arn:a")
	if got := prog.Eval(r); got != before {
		t.Errorf("the request changed: %+v, before %+v", got, before)
	}
}

// TestExplainIsBounded: a policy with thousands of everything.
func TestExplainIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"Version":"2012-10-17","Statement":[`)
	const n = 1000
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/prod/GET/*","Condition":{"StringEquals":{"custom:Key%d":[`, i)
		for j := range 20 {
			fmt.Fprintf(&b, `%s"%d-%s"`, []string{"", ","}[min(j, 1)], j, strings.Repeat("v", 300))
		}
		b.WriteString(`]}}}`)
	}
	b.WriteString(`]}`)
	x := compile(t, b.String()).Explain(hotRequest())
	if len(x.Statements) != n || len(x.Context) != 64 || len(x.NearMisses) != 8 {
		t.Errorf("%d statements, %d keys, %d near misses", len(x.Statements), len(x.Context), len(x.NearMisses))
	}
	if size := len(x.String()); size > 64<<10 {
		t.Errorf("%d bytes of text", size)
	}
	f := x.Statements[n-1].Failed
	if f == nil || len(f.Wanted) != 8 || f.More != 12 {
		t.Fatalf("the last statement: %+v", x.Statements[n-1])
	}
	if size := len(f.Text); size > 4096 {
		t.Errorf("%d bytes of one sentence", size)
	}
}

func TestExplainNoPolicy(t *testing.T) {
	var p *policy.Program
	x := p.Explain(hotRequest())
	if want := (policy.Decision{Statement: -1}); x.Decision != want || !strings.HasPrefix(x.String(), "implicit-deny: there is no policy\n") {
		t.Errorf("no policy explains\n%s", x)
	}
}
