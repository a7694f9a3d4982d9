package policy

import (
	"strings"
	"testing"
)

func TestTrustPolicy(t *testing.T) {
	const user = `arn:aws:iam::111122223333:user/alice`
	for _, tt := range []struct {
		name, doc string
		action    string
		want      Effect
		delegated bool
		problem   string // of ParseTrust
	}{
		{name: "a user", doc: `{"Statement":{"Effect":"Allow","Principal":{"AWS":"` + user + `"},"Action":"sts:AssumeRole"}}`, want: Allow},
		{name: "an account", doc: `{"Statement":{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":["sts:TagSession","sts:AssumeRole"]}}`, want: Allow, delegated: true},
		{name: "another account", doc: `{"Statement":{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"sts:AssumeRole"}}`},
		{name: "a service", doc: `{"Statement":{"Effect":"Allow","Principal":{"Service":"apigateway.amazonaws.com"},"Action":"sts:AssumeRole"}}`},
		{name: "another action", doc: `{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:TagSession"}}`},
		{name: "a condition", doc: `{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:*","Condition":{"StringEquals":{"sts:ExternalId":"42"}}}}`, want: Allow},
		{name: "a deny", doc: `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:*"},{"Effect":"Deny","Principal":{"AWS":"` + user + `"},"Action":"sts:AssumeRole"}]}`, want: ExplicitDeny},
		{name: "a resource", doc: `{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}}`, problem: "leave Resource out"},
		{name: "nobody", doc: `{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole"}}`, problem: "Principal is missing"},
		{name: "all but one", doc: `{"Statement":{"Effect":"Allow","NotPrincipal":{"AWS":"` + user + `"},"Action":"sts:AssumeRole"}}`, problem: "Principal is missing"},
		{name: "nothing", doc: `{"Statement":{"Effect":"Allow","Principal":"*"}}`, problem: "Action is missing"},
		{name: "no effect", doc: `{"Statement":{"Principal":"*","Action":"sts:AssumeRole"}}`, problem: "Effect is missing"},
		{name: "another service", doc: `{"Statement":{"Effect":"Allow","Principal":"*","Action":["sts:AssumeRole","execute-api:Invoke"]}}`, problem: "actions of STS only"},
		{name: "everything", doc: `{"Statement":{"Effect":"Allow","Principal":"*","Action":"*"}}`, problem: "actions of STS only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := ParseTrust([]byte(tt.doc))
			if tt.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tt.problem) {
					t.Fatalf("got %v, want %q", err, tt.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			program, err := Compile(doc)
			if err != nil {
				t.Fatal(err)
			}
			caller, err := ParsePrincipal(user)
			if err != nil {
				t.Fatal(err)
			}
			r := &Request{Action: "sts:AssumeRole", Resource: []byte("arn:aws:iam::444455556666:role/r")}
			r.SetPrincipal(caller)
			r.SetContext("sts:ExternalId", "42")
			if got := program.Eval(r); got.Effect != tt.want || got.Delegated != tt.delegated {
				t.Errorf("got %v, delegated %v, want %v, %v", got.Effect, got.Delegated, tt.want, tt.delegated)
			}
		})
	}
}

func FuzzParseTrust(f *testing.F) {
	f.Add([]byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}]}`))
	f.Add([]byte(`{"Statement":{"Effect":"Deny","Principal":"*","Action":["sts:*"]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		doc, err := ParseTrust(text)
		if err != nil {
			return
		}
		program, err := Compile(doc)
		if err != nil {
			t.Fatalf("a trust policy that does not compile: %v", err)
		}
		r := &Request{Action: "execute-api:Invoke", Resource: []byte("arn:aws:iam::444455556666:role/r")}
		if got := program.Eval(r); got.Effect != Silent {
			t.Errorf("%v about an action that is none of STS", got.Effect)
		}
	})
}
