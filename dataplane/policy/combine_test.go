package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/policytest"
	"github.com/posternhq/postern/dataplane/policy/reference"
)

// TestCombine runs the tables of the resource-policy page. Each line of
// `combine` is one request, its fields the words of the table:
//
//	auth=none|iam|custom|cognito  private  same  root  named  grants
//	resource= endpoint= identity= boundary= session=allow|delegated|silent|deny
//
// A policy that is left out is not attached. The statement that speaks in each
// policy is the length of the policy's name, so that outcomes tell them apart.
func TestCombine(t *testing.T) {
	datadriven.Walk(t, "testdata/combine", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			for line := range strings.Lines(d.Input) {
				c := combination(t, line)
				got := c.Outcome()
				if want := reference.Combine(*c); got != want {
					t.Errorf("%s: got %+v, the reference %+v", line, got, want)
				}
				fmt.Fprintf(&out, "%s\n", outcomeText(got))
			}
			return out.String()
		})
	})
}

func combination(t *testing.T, line string) *policy.Combination {
	t.Helper()
	c := new(policy.Combination)
	for _, field := range strings.Fields(line) {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "auth":
			auth, ok := map[string]policy.Auth{"none": policy.AuthNone, "iam": policy.AuthIAM, "custom": policy.AuthCustom, "cognito": policy.AuthCognito}[value]
			if !ok {
				t.Fatalf("no auth %q", value)
			}
			c.Auth = auth
		case "private":
			c.Private = true
		case "same":
			c.SameAccount = true
		case "root":
			c.Root = true
		case "named":
			c.Named = true
		case "grants":
			c.AccountGrants = true
		default:
			v, ok := map[string]*policy.Verdict{
				"resource": &c.Resource, "endpoint": &c.Endpoint, "identity": &c.Identity, "boundary": &c.Boundary, "session": &c.Session,
			}[name]
			if !ok {
				t.Fatalf("no field %q", field)
			}
			v.Attached, v.Statement = true, len(name)
			switch value {
			case "allow":
				v.Effect = policy.Allow
			case "delegated":
				v.Effect, v.Delegated = policy.Allow, true
			case "deny":
				v.Effect = policy.ExplicitDeny
			case "silent":
				v.Statement = -1
			default:
				t.Fatalf("no verdict %q", field)
			}
		}
	}
	return c
}

func outcomeText(o policy.Outcome) string {
	if o.Effect == policy.Silent {
		return fmt.Sprintf("deny: no %s allows", o.Source)
	}
	if o.Statement < 0 {
		return fmt.Sprintf("%s: %s", o.Effect, o.Source)
	}
	return fmt.Sprintf("%s: %s, statement %d", o.Effect, o.Source, o.Statement)
}

// TestCombineEverything compares all combinations that there are.
func TestCombineEverything(t *testing.T) {
	own := []policy.Verdict{
		{},
		{Attached: true, Decision: policy.Decision{Statement: -1}},
		{Attached: true, Decision: policy.Decision{Effect: policy.Allow, Statement: 4}},
		{Attached: true, Decision: policy.Decision{Effect: policy.ExplicitDeny, Statement: 7}},
	}
	resource := append([]policy.Verdict{{Attached: true, Decision: policy.Decision{Effect: policy.Allow, Statement: 2, Delegated: true}}}, own...)
	truth := []bool{false, true}
	n := 0
	check := func(c policy.Combination) {
		n++
		got, want := c.Outcome(), reference.Combine(c)
		if got != want {
			t.Fatalf("%+v: got %+v, the reference %+v", c, got, want)
		}
		if gate, open := c.Gate(); !open && gate != got {
			t.Fatalf("%+v: got %+v behind a gate that says %+v", c, got, gate)
		}
		if text := got.Suffix(); (text == "") != (got.Allowed() || got.Source == policy.SourceAuthorizer && got.Effect == policy.Silent) {
			t.Fatalf("%+v: suffix %q", got, text)
		}
	}
	for _, auth := range []policy.Auth{policy.AuthNone, policy.AuthIAM, policy.AuthCustom, policy.AuthCognito} {
		for bits := range 32 {
			c := policy.Combination{
				Auth: auth, Private: truth[bits&1], SameAccount: truth[bits>>1&1], Root: truth[bits>>2&1],
				Named: truth[bits>>3&1], AccountGrants: truth[bits>>4&1],
			}
			for _, c.Resource = range resource {
				for _, c.Endpoint = range own {
					for _, c.Identity = range own {
						for _, c.Boundary = range own {
							for _, c.Session = range own {
								check(c)
							}
						}
					}
				}
			}
		}
	}
	if want := 4 * 32 * 5 * 4 * 4 * 4 * 4; n != want {
		t.Errorf("%d combinations, want %d", n, want)
	}
}

// TestSuffixes are the messages that clients of the API know.
func TestSuffixes(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"auth=none resource=deny", " with an explicit deny in a resource-based policy"},
		{"auth=none resource=silent", " because no resource-based policy allows the execute-api:Invoke action"},
		{"auth=iam same", " because no identity-based policy allows the execute-api:Invoke action"},
		{"auth=iam same identity=deny", " with an explicit deny in an identity-based policy"},
		{"auth=none private resource=allow endpoint=deny", " with an explicit deny in a VPC endpoint policy"},
		{"auth=none private resource=allow endpoint=silent", " because no VPC endpoint policy allows the execute-api:Invoke action"},
		{"auth=iam same identity=allow boundary=deny", " with an explicit deny in a permissions boundary"},
		{"auth=iam same identity=allow boundary=silent", " because no permissions boundary allows the execute-api:Invoke action"},
		{"auth=iam same identity=allow session=deny", " with an explicit deny in a session policy"},
		{"auth=iam same identity=allow session=silent", " because no session policy allows the execute-api:Invoke action"},
		{"auth=custom identity=deny", " with an explicit deny in an identity-based policy"},
		{"auth=custom identity=silent", ""},
		{"auth=none", ""},
	} {
		if got := combination(t, tc.line).Outcome().Suffix(); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.line, got, tc.want)
		}
	}
}

func TestOutcomeAllocatesNothing(t *testing.T) {
	c := combination(t, "auth=iam same private resource=delegated endpoint=allow identity=allow boundary=allow session=silent")
	var o policy.Outcome
	if n := testing.AllocsPerRun(100, func() { o = c.Outcome() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if o.Source != policy.SourceSession {
		t.Errorf("outcome %+v: the test would measure less than it says", o)
	}
}

// TestNamedAgainstReference: whether a policy names the caller himself, by
// CompileNamed and by the reference.
func TestNamedAgainstReference(t *testing.T) {
	named := 0
	for seed := range uint64(2500) {
		g := policytest.New(seed)
		text := g.Document()
		doc, err := policy.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		prog, err := policy.CompileNamed(doc)
		if err != nil {
			t.Fatal(err)
		}
		ref, err := reference.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			q := g.Query()
			got := prog.Eval(request(t, q)).Effect
			want, err := ref.Names(q)
			if err != nil {
				t.Fatal(err)
			}
			if got == policy.ExplicitDeny || (got == policy.Allow) != want {
				t.Fatalf("seed %d: %v, the reference says %v\n%s\n%+v", seed, got, want, text, q)
			}
			if want {
				named++
			}
		}
	}
	if named < 100 {
		t.Errorf("only %d callers were named", named)
	}
}

func TestNamed(t *testing.T) {
	const session = "arn:aws:sts::111122223333:assumed-role/dev/s1"
	for _, tc := range []struct {
		entry, caller string
		want          policy.Effect
	}{
		{session, session, policy.Allow},
		{"arn:aws:iam::111122223333:role/dev", session, policy.Silent},
		{"arn:aws:iam::111122223333:role/dev", "arn:aws:iam::111122223333:role/dev", policy.Silent},
		{"111122223333", session, policy.Silent},
		{"arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:root", policy.Silent},
		{"*", session, policy.Silent},
		{"arn:aws:iam::111122223333:user/team/amy", "arn:aws:iam::111122223333:user/team/amy", policy.Allow},
	} {
		doc, err := policy.Parse(fmt.Appendf(nil, `{"Statement":{"Effect":"Allow","Principal":{"AWS":[%q]},"Action":"*","Resource":"*"}}`, tc.entry))
		if err != nil {
			t.Fatal(err)
		}
		prog, err := policy.CompileNamed(doc)
		if err != nil {
			t.Fatal(err)
		}
		if got := prog.Eval(request(t, &policy.Query{Principal: tc.caller, Resource: apiARN + "/prod/GET/pets"})).Effect; got != tc.want {
			t.Errorf("%s names %s: %v, want %v", tc.entry, tc.caller, got, tc.want)
		}
	}
}
