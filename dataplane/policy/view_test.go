package policy_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/posternhq/postern/dataplane/policy"
)

func TestView(t *testing.T) {
	text := `{"Version":"2012-10-17","Statement":[{"Sid":"One","Effect":"Deny",
	 "NotPrincipal":{"AWS":["111122223333","arn:aws:iam::9:root","arn:aws:iam::9:role/x/dev","AIDAAAAAAAAAAAAAAAAA"],"Service":"s.amazonaws.com"},
	 "NotAction":["execute-api:Invoke"],"Resource":"execute-api:/a",
	 "Condition":{"ForAnyValue:StringNotLikeIfExists":{"Custom:Key":["a*${aws:username, 'b'}?"]},
	  "NotIpAddress":{"aws:SourceIp":["10.1.2.3/8","none"]},"DateEquals":{"aws:CurrentTime":"1970"},
	  "NumericEquals":{"x":[1.50,"one"]},"Bool":{"x":["TRUE","maybe"]},"BinaryEquals":{"x":["eA==","!"]}}},
	 {"Effect":"Allow","Action":"*","Resource":["*","nonsense","arn:aws:execute-api:us-*","arn:*:s:r:a:x:y${aws:TagKeys}"]}]}`
	doc, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	condition := func(op, key string, values ...string) policy.ConditionView {
		return policy.ConditionView{Operator: op, Key: key, Name: key, Values: values}
	}
	like := policy.ConditionView{Operator: "StringLike", Negated: true, IfExists: true, ForAny: true,
		Key: "custom:key", Name: "Custom:Key", Values: []string{"a*${aws:username, 'b'}?"}}
	address := condition("IpAddress", "aws:sourceip", "10.1.2.3/8", "none")
	address.Name, address.Negated = "aws:SourceIp", true
	date := condition("DateEquals", "aws:currenttime", "1970")
	date.Name = "aws:CurrentTime"
	want := policy.StatementView{Sid: "One", Effect: policy.ExplicitDeny,
		Principal: &policy.PrincipalView{Negated: true, Accounts: []string{"111122223333", "9"},
			Exact: []string{"arn:aws:iam::9:role/x/dev"}, Roles: []string{"arn:aws:iam::9:role/dev"}},
		Action:     policy.ElementView{Negated: true, Values: []string{"execute-api:Invoke"}},
		Resource:   policy.ElementView{Values: []string{"execute-api:/a"}},
		Conditions: []policy.ConditionView{like, address, date, condition("NumericEquals", "x", "1.50", "one"), condition("Bool", "x", "TRUE", "maybe"), condition("BinaryEquals", "x", "eA==", "!")}}
	got := doc.View(0)
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(policy.ConditionView{}), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("statement 0 (-want +got):\n%s", d)
	}
	if v := doc.View(1); v.Principal != nil || v.Effect != policy.Allow || v.Sid != "" {
		t.Errorf("statement 1: %+v", v)
	}
	if string(doc.Text()) != text {
		t.Errorf("text %s", doc.Text())
	}

	c := got.Conditions
	for _, v := range []struct {
		name      string
		want, got any
	}{
		{"patterns", [][]policy.Piece{{{Text: "a"}, {Kind: policy.PieceAny}, {Kind: policy.PieceVariable, Key: "aws:username", Text: "b", HasDefault: true}, {Kind: policy.PieceOne}}}, c[0].Patterns()},
		{"prefixes", []string{"10.0.0.0/8"}, texts(c[1].Prefixes())},
		{"inside", true, c[1].Matches("10.255.0.1")},
		{"outside", false, c[1].Matches("11.0.0.1")},
		{"instants", []time.Time{time.Unix(0, 0).UTC()}, c[2].Instants()},
		{"numbers", []string{"1.50"}, c[3].Numbers()},
		{"bools", []bool{true}, c[4].Bools()},
		{"binaries", []string{"x"}, c[5].Binaries()},
		{"short", []policy.ResourcePattern{{Short: true, Parts: [][]policy.Piece{{{Text: "a"}}}}}, doc.ResourcePatterns(0)},
		{"resources", []policy.ResourcePattern{{Everything: true}, {Never: true},
			{Parts: [][]policy.Piece{{{Text: "arn"}}, {{Text: "aws"}}, {{Text: "execute-api"}}, {{Text: "us-"}, {Kind: policy.PieceAny}}}},
			{Parts: [][]policy.Piece{{{Text: "arn"}}, {{Kind: policy.PieceAny}}, {{Text: "s"}}, {{Text: "r"}}, {{Text: "a"}},
				{{Text: "x:y"}, {Kind: policy.PieceVariable, Key: "aws:tagkeys", List: true}}}}}, doc.ResourcePatterns(1)},
		{"parts", [][]policy.Piece{{{Text: "a"}}, {}, {{Text: "b"}}}, policy.PatternParts([]policy.Piece{{Text: "a::b"}})},
	} {
		if d := cmp.Diff(v.want, v.got); d != "" {
			t.Errorf("%s (-want +got):\n%s", v.name, d)
		}
	}
}

func texts(list []netip.Prefix) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.String())
	}
	return out
}
