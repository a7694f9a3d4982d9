package edge

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dataplane/vpce"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

var public = &vpce.Arrival{Source: viaA.Source}

// Tables A and B of resource-policies.md §6, cell by cell: identity policy,
// resource policy, result. A private API adds a policy of its endpoint that
// allows.
func TestTables(t *testing.T) {
	const allow, implicit, explicit = 200, 403, -403
	for name, table := range map[string]struct {
		account string
		cells   map[[2]string]int
	}{
		"A": {account, map[[2]string]int{
			{"Allow", "Allow"}: allow, {"Allow", "Silent"}: allow, {"Allow", "Deny"}: explicit,
			{"Silent", "Allow"}: allow, {"Silent", "Silent"}: implicit, {"Silent", "Deny"}: explicit,
			{"Deny", "Allow"}: explicit, {"Deny", "Silent"}: explicit, {"Deny", "Deny"}: explicit,
		}},
		"B": {otherAccount, map[[2]string]int{
			{"Allow", "Allow"}: allow, {"Allow", "Silent"}: implicit, {"Allow", "Deny"}: explicit,
			{"Silent", "Allow"}: implicit, {"Silent", "Silent"}: implicit, {"Silent", "Deny"}: explicit,
			{"Deny", "Allow"}: explicit, {"Deny", "Silent"}: explicit, {"Deny", "Deny"}: explicit,
		}},
	} {
		for cell, want := range table.cells {
			own := map[string][]string{"Allow": {document("Allow", "")}, "Silent": nil, "Deny": {document("Allow", ""), document("Deny", "")}}[cell[0]]
			resource := map[string]string{"Allow": document("Allow", everyone), "Silent": document("Allow", nobody), "Deny": document("Deny", everyone)}[cell[1]]
			w := newWorld()
			w.signedMethods()
			w.vpces[0].Policy = allowAll
			for _, s := range w.stages {
				s.Policy = resource
			}
			callers := map[string]signer{
				"user": w.user(table.account, "bob", own...),
				"role": w.role(table.account, "dev", &edgev1.AccessSession{}, own...),
			}
			e := w.edge(t)
			for who, s := range callers {
				for host, a := range map[string]*vpce.Arrival{privateHost: viaA, publicHost: public} {
					res := serveFrom(e, a, s.request(t, "GET", "https://"+host+"/prod/pets", ""))
					got := res.Code
					if strings.Contains(res.Body.String(), "with an explicit deny in a") {
						got = -got
					}
					if got != want {
						t.Errorf("table %s, %v, %s, %s: %d, want %d: %s", name, cell, who, host, got, want, res.Body)
					}
				}
			}
		}
	}
}

// Who may call, and what the refused are told (resource-policies.md §8).
func TestAuthorize(t *testing.T) {
	const (
		tail    = " is not authorized to perform: execute-api:Invoke on resource: arn:aws:execute-api:us-west-2:********9012:priv000001/prod/GET/pets"
		bobARN  = "arn:aws:iam::" + account + ":user/bob"
		devARN  = "arn:aws:sts::" + account + ":assumed-role/dev/s1"
		roleARN = "arn:aws:iam::" + account + ":role/path/dev"
	)
	allow, deny, silent := document("Allow", ""), document("Deny", ""), document("Allow", "", `{"StringEquals":{"aws:UserAgent":"nobody"}}`)
	limit := func(documents ...string) *edgev1.AccessSession {
		s := &edgev1.AccessSession{}
		for _, d := range documents {
			s.Policies = append(s.Policies, &edgev1.NamedPolicy{Document: d})
		}
		return s
	}
	both := func(clauses ...string) string {
		return `{"Version":"2012-10-17","Statement":[` + strings.Join(clauses, ",") + `]}`
	}
	for _, tt := range []struct {
		name   string
		world  func(w *world) signer
		caller string // with suffix: the message to him; empty: allowed
		suffix string
	}{
		{name: "user without policies", world: func(w *world) signer {
			w.stages[0].Policy = document("Allow", nobody)
			return w.user(account, "bob")
		}, caller: bobARN, suffix: " because no identity-based policy allows the execute-api:Invoke action"},
		{name: "one policy of several denies", world: func(w *world) signer { return w.user(account, "bob", allow, silent, deny) },
			caller: bobARN, suffix: " with an explicit deny in an identity-based policy"},
		{name: "resource policy denies him", world: func(w *world) signer {
			w.stages[0].Policy = both(clause("Allow", everyone), clause("Deny", `{"AWS":"`+bobARN+`"}`))
			return w.user(account, "bob", allow)
		}, caller: bobARN, suffix: " with an explicit deny in a resource-based policy"},
		{name: "no resource policy", world: func(w *world) signer {
			w.stages[0].Policy = ""
			return w.user(account, "bob", allow)
		}, caller: bobARN, suffix: " because no resource-based policy allows the execute-api:Invoke action"},
		{name: "resource policy names the role", world: func(w *world) signer {
			w.stages[0].Policy = document("Allow", `{"AWS":"`+roleARN+`"}`)
			return w.role(account, "dev", limit())
		}},
		{name: "resource policy names the account only", world: func(w *world) signer {
			w.stages[0].Policy = document("Allow", `{"AWS":"`+account+`"}`)
			return w.user(account, "bob")
		}, caller: bobARN, suffix: " because no identity-based policy allows the execute-api:Invoke action"},
		{name: "resource policy names the account of the root user", world: func(w *world) signer {
			w.stages[0].Policy = document("Allow", `{"AWS":"`+account+`"}`)
			return w.root(account)
		}},
		{name: "root user, silent resource policy", world: func(w *world) signer {
			w.stages[0].Policy = document("Allow", nobody)
			return w.root(account)
		}},
		{name: "root user of another account", world: func(w *world) signer {
			w.stages[0].Policy = document("Allow", `{"AWS":"arn:aws:iam::`+otherAccount+`:root"}`)
			return w.root(otherAccount)
		}},
		{name: "root user of an account that is not let in", world: func(w *world) signer {
			w.stages[0].Policy = document("Allow", nobody)
			return w.root(otherAccount)
		}, caller: "arn:aws:iam::" + otherAccount + ":root", suffix: " because no resource-based policy allows the execute-api:Invoke action"},
		{name: "boundary silent", world: func(w *world) signer {
			s := w.user(account, "bob", allow)
			w.bound(silent)
			return s
		}, caller: bobARN, suffix: " because no permissions boundary allows the execute-api:Invoke action"},
		{name: "boundary denies", world: func(w *world) signer {
			s := w.user(account, "bob", allow)
			w.bound(deny)
			return s
		}, caller: bobARN, suffix: " with an explicit deny in a permissions boundary"},
		{name: "boundary allows what no policy does", world: func(w *world) signer {
			w.stages[0].Policy = document("Allow", nobody)
			s := w.user(account, "bob")
			w.bound(allow)
			return s
		}, caller: bobARN, suffix: " because no identity-based policy allows the execute-api:Invoke action"},
		{name: "boundary silent, named by the resource policy", world: func(w *world) signer {
			w.stages[0].Policy = document("Allow", `{"AWS":"`+bobARN+`"}`)
			s := w.user(account, "bob")
			w.bound(silent)
			return s
		}},
		{name: "boundary silent, named from another account", world: func(w *world) signer {
			w.stages[0].Policy = document("Allow", `{"AWS":"arn:aws:iam::`+otherAccount+`:user/bob"}`)
			s := w.user(otherAccount, "bob", allow)
			w.bound(silent)
			return s
		}, caller: "arn:aws:iam::" + otherAccount + ":user/bob", suffix: " because no permissions boundary allows the execute-api:Invoke action"},
		{name: "session policy silent", world: func(w *world) signer { return w.role(account, "dev", limit(silent), allow) },
			caller: devARN, suffix: " because no session policy allows the execute-api:Invoke action"},
		{name: "one session policy of two allows", world: func(w *world) signer { return w.role(account, "dev", limit(silent, allow), allow) }},
		{name: "one session policy of two denies", world: func(w *world) signer { return w.role(account, "dev", limit(allow, deny), allow) },
			caller: devARN, suffix: " with an explicit deny in a session policy"},
		{name: "session policy silent, session named", world: func(w *world) signer {
			w.stages[0].Policy = document("Allow", `{"AWS":"`+devARN+`"}`)
			return w.role(account, "dev", limit(silent))
		}},
		{name: "session policy silent, role named", world: func(w *world) signer {
			w.stages[0].Policy = document("Allow", `{"AWS":"`+roleARN+`"}`)
			return w.role(account, "dev", limit(silent))
		}, caller: devARN, suffix: " because no session policy allows the execute-api:Invoke action"},
		{name: "endpoint policy denies him", world: func(w *world) signer {
			w.vpces[0].Policy = both(clause("Allow", everyone), clause("Deny", `{"AWS":"`+bobARN+`"}`))
			return w.user(account, "bob", allow)
		}, caller: bobARN, suffix: " with an explicit deny in a VPC endpoint policy"},
		{name: "endpoint policy allows another", world: func(w *world) signer {
			w.vpces[0].Policy = document("Allow", nobody)
			return w.user(account, "bob", allow)
		}, caller: bobARN, suffix: " because no VPC endpoint policy allows the execute-api:Invoke action"},
		{name: "endpoint policy allows him", world: func(w *world) signer {
			w.vpces[0].Policy = document("Allow", `{"AWS":"`+bobARN+`"}`)
			return w.user(account, "bob", allow)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, detail := range []string{"detailed", "classic"} {
				w := newWorld()
				w.signedMethods()
				w.settings = &edgev1.Settings{DenyDetail: detail}
				s := tt.world(w)
				res := serveFrom(w.edge(t), viaA, s.request(t, "GET", petsURL, ""))
				if tt.caller == "" {
					if res.Code != 200 {
						t.Errorf("%s: %d %s", detail, res.Code, res.Body)
					}
					continue
				}
				suffix := tt.suffix
				switch {
				case detail == "detailed":
				case strings.HasPrefix(suffix, " with an explicit deny"):
					suffix = " with an explicit deny"
				default:
					suffix = ""
				}
				want := `{"Message":"User: ` + tt.caller + tail + suffix + `"}`
				if res.Code != 403 || res.Header()["x-amzn-ErrorType"][0] != "AccessDeniedException" || res.Body.String() != want {
					t.Errorf("%s: %d %s\nwant %s", detail, res.Code, res.Body, want)
				}
			}
		})
	}
}

// What policies are told of callers of each kind.
func TestCallerConditions(t *testing.T) {
	w := newWorld()
	w.signedMethods()
	session := &edgev1.AccessSession{IssuedAt: 1_600_000_000, SourceIdentity: "amy"}
	callers := map[string]signer{
		"user": w.user(account, "bob", document("Allow", "")),
		"role": w.role(account, "dev", session, document("Allow", "")),
		"root": w.root(account),
	}
	w.keys[1].Tags = map[string]string{"team": "a", "cost center": "7"}
	absent := func(key string) string { return `{"Null":{"` + key + `":"true"}}` }
	equals := func(key, value string) string { return `{"StringEquals":{"` + key + `":"` + value + `"}}` }
	for condition, holds := range map[string]string{
		equals("aws:PrincipalArn", "arn:aws:iam::"+account+":user/bob"):      "user",
		equals("aws:PrincipalArn", "arn:aws:iam::"+account+":role/path/dev"): "role",
		equals("aws:PrincipalArn", "arn:aws:iam::"+account+":root"):          "root",
		equals("aws:PrincipalAccount", account):                              "user role root",
		equals("aws:PrincipalType", "User"):                                  "user",
		equals("aws:PrincipalType", "AssumedRole"):                           "role",
		equals("aws:PrincipalType", "Account"):                               "root",
		equals("aws:userid", "AIDABOB"):                                      "user",
		equals("aws:userid", "AROADEV:s1"):                                   "role",
		equals("aws:userid", account):                                        "root",
		equals("aws:username", "bob"):                                        "user",
		absent("aws:username"):                                               "role root",
		equals("aws:PrincipalTag/Team", "a"):                                 "user role",
		equals("aws:PrincipalTag/Cost Center", "7"):                          "role",
		equals("aws:SourceIdentity", "amy"):                                  "role",
		absent("aws:SourceIdentity"):                                         "user root",
		`{"DateEquals":{"aws:TokenIssueTime":"2020-09-13T12:26:40Z"}}`:       "role",
		absent("aws:TokenIssueTime"):                                         "user root",
		`{"Bool":{"aws:MultiFactorAuthPresent":"false"}}`:                    "role",
		absent("aws:MultiFactorAuthPresent"):                                 "user root",
		absent("aws:MultiFactorAuthAge"):                                     "user role root",
		equals("aws:SourceVpce", vpceA):                                      "user role root",
		`{"Bool":{"aws:SecureTransport":"true"}}`:                            "user role root",
	} {
		w.stages[0].Policy = `{"Version":"2012-10-17","Statement":[` + clause("Deny", everyone, condition) + `]}`
		e := w.edge(t)
		for who, s := range callers {
			denied := serveFrom(e, viaA, s.request(t, "GET", petsURL, "")).Code == 403
			if want := strings.Contains(holds, who); denied != want {
				t.Errorf("%s: of the %s it holds: %v", condition, who, denied)
			}
		}
	}
}

// An endpoint with a policy reads the Authorization header of methods without
// authorization (§6.5): it must be a signature that holds, and the caller is
// the policy's; for the API he stays anonymous.
func TestEndpointPolicyOfSignedCaller(t *testing.T) {
	const bobOnly = `{"AWS":"arn:aws:iam::` + account + `:user/bob"}`
	w := newWorld()
	bob, amy := w.user(account, "bob"), w.user(account, "amy")
	call := func(s signer, change func(*signer)) (int, string) {
		if change != nil {
			change(&s)
		}
		res := serveFrom(w.edge(t), viaA, s.request(t, "POST", petsURL, "the body"))
		return res.Code, strings.Join(res.Header()["x-amzn-ErrorType"], "")
	}
	wrong := func(s *signer) { s.secret = "wrong" }

	if code, kind := call(bob, wrong); code != 201 {
		t.Errorf("default endpoint policy: the header was read: %d %s", code, kind)
	}
	w.vpces[0].Policy = document("Allow", bobOnly)
	if code, kind := call(bob, nil); code != 201 {
		t.Errorf("bob: %d %s", code, kind)
	}
	if code, kind := call(amy, nil); code != 403 || kind != "AccessDeniedException" {
		t.Errorf("amy: %d %s", code, kind)
	}
	if code, kind := call(bob, wrong); code != 403 || kind != "InvalidSignatureException" {
		t.Errorf("wrong signature: %d %s", code, kind)
	}
	// Nobody that the API's policy names can call a method without authorization.
	w.stages[0].Policy = document("Allow", bobOnly)
	e := w.edge(t)
	res := serveFrom(e, viaA, bob.request(t, "GET", petsURL, ""))
	if !strings.Contains(res.Body.String(), "User: anonymous is not") {
		t.Errorf("named by the API: %d %s", res.Code, res.Body)
	}
	for _, p := range found(t, e, res.decision()).GetPolicies() {
		if p.GetUnexplained() != "" || p.GetKind() == "resource" != p.GetDecided() {
			t.Errorf("evidence: %v", p)
		}
	}
	// Anonymous callers are judged, too.
	w.stages[0].Policy, w.vpces[0].Policy = allowAll, document("Allow", bobOnly)
	r := bob.request(t, "GET", petsURL, "")
	r.Header.Del("Authorization")
	if res := serveFrom(w.edge(t), viaA, r); res.Code != 403 || !strings.Contains(res.Body.String(), "VPC endpoint policy") {
		t.Errorf("anonymous: %d %s", res.Code, res.Body)
	}
}

// A refusal names the caller, his key, and each policy that was asked.
func TestEvidenceOfCaller(t *testing.T) {
	w := newWorld()
	w.signedMethods()
	w.vpces[0].Policy = allowAll
	session := &edgev1.AccessSession{Policies: []*edgev1.NamedPolicy{{Name: "arn:aws:iam::aws:policy/X", Document: document("Allow", "")}}}
	s := w.role(account, "dev", session, document("Allow", ""), document("Allow", "", `{"StringEquals":{"aws:UserAgent":"nobody"}}`))
	w.bound(`{"Version":"2012-10-17","Statement":[` + strings.Replace(clause("Deny", ""), `{`, `{"Sid":"Shut",`, 1) + `]}`)
	e := w.edge(t)
	d := found(t, e, serveFrom(e, viaA, s.request(t, "GET", petsURL, "")).decision())
	if d.GetPrincipal() != "arn:aws:sts::"+account+":assumed-role/dev/s1" || d.GetAccessKey() != s.id || d.GetResult() != "boundary_explicit_deny" {
		t.Errorf("got %v", d)
	}
	want := []string{"resource  allow", "endpoint  allow", "identity p0 allow", "identity p1 silent", "boundary boundary explicit-deny decided Shut", "session arn:aws:iam::aws:policy/X allow"}
	var got []string
	for _, p := range d.GetPolicies() {
		line := p.GetKind() + " " + p.GetName() + " " + p.GetEffect()
		if p.GetDecided() {
			line += " decided " + p.GetSid()
		}
		got = append(got, line)
		if p.GetUnexplained() != "" || p.GetText() == "" {
			t.Errorf("%s: %q", line, p.GetUnexplained())
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// To verify and decide a signed request costs no allocation but for its body.
func TestSignedDoesNotAllocate(t *testing.T) {
	w := newWorld()
	w.signedMethods()
	w.vpces[0].Policy = allowAll
	session := &edgev1.AccessSession{Policies: []*edgev1.NamedPolicy{{Document: document("Allow", "")}}}
	callers := []signer{
		w.user(account, "bob", document("Allow", "", `{"StringEquals":{"aws:PrincipalTag/team":"a"}}`)),
		w.role(account, "dev", session, document("Allow", "")),
	}
	w.bound(document("Allow", ""))
	e, q, _ := decision(t, w)
	for _, s := range callers {
		r := s.request(t, "GET", petsURL+"/7?b=1&a=%20", "")
		if n := testing.AllocsPerRun(200, func() {
			in, a := q.in, q.arrival
			q.reset()
			q.in, q.arrival, q.time = in, a, time.Now()
			if v := e.decide(q, r); v != allowed {
				t.Fatalf("%s: %s", reasons[v], q.detail())
			}
		}); n != 0 {
			t.Errorf("%s: decide allocates %v times", s.id, n)
		}
	}
}

// The same request with and without a signature, side by side.
func BenchmarkDecideSigned(b *testing.B) {
	for _, auth := range []string{"NONE", "AWS_IAM"} {
		b.Run(auth, func(b *testing.B) {
			w := newWorld()
			for _, r := range w.stages[0].Routes {
				r.Method.AuthorizationType = proto.String(auth)
			}
			s := w.user(account, "bob", document("Allow", ""))
			e, q, _ := decision(b, w)
			in, a, now := q.in, q.arrival, time.Now()
			r := s.request(b, "GET", petsURL+"/7", "")
			b.ReportAllocs()
			for b.Loop() {
				q.reset()
				q.in, q.arrival, q.time = in, a, now
				if v := e.decide(q, r); v != allowed {
					b.Fatal(reasons[v], q.detail())
				}
			}
		})
	}
}
