package compile

import (
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/dataplane/policy"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

const own = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`

func bobsKey() *edgev1.AccessKey {
	keys := make([]byte, 9*32)
	for i := range keys {
		keys[i] = byte(i / 32)
	}
	return &edgev1.AccessKey{
		Id: "AKIA1", Account: "123456789012", PrincipalId: "AIDA1", Type: "User", UserId: "AIDA1", UserName: "bob",
		Arn: "arn:aws:iam::123456789012:user/bob", FirstDay: 100, SigningKeys: []*edgev1.SigningKeys{{Region: "us-west-2", Keys: keys}},
	}
}

// A key is good for its regions and days, to the second.
func TestSigningKey(t *testing.T) {
	c := next1(t, nil, 1, []Resource{res(t, "key/AKIA1", bobsKey())}).Caller([]byte("AKIA1"))
	for _, tt := range []struct {
		region string
		second int64
		want   int // -1 for none
	}{
		{"us-west-2", 100*daySeconds - 1, -1}, {"us-west-2", 100 * daySeconds, 0}, {"us-west-2", 101*daySeconds - 1, 0},
		{"us-west-2", 108 * daySeconds, 8}, {"us-west-2", 109 * daySeconds, -1}, {"us-west-2", 1 << 40, -1},
		{"us-west-2", -1, -1}, {"eu-west-1", 100 * daySeconds, -1}, {"", 100 * daySeconds, -1},
	} {
		got := -1
		if key := c.SigningKey(tt.region, time.Unix(tt.second, 0)); key != nil {
			got = int(key[31])
		}
		if got != tt.want {
			t.Errorf("%q at %d: key %d, want %d", tt.region, tt.second, got, tt.want)
		}
	}
}

// What can't be a caller is rejected by name, and the last good form stays.
func TestCallersThatDoNotCompile(t *testing.T) {
	session := func(s *edgev1.AccessSession) func(*edgev1.AccessKey) {
		return func(k *edgev1.AccessKey) { k.Session = s }
	}
	hash := make([]byte, 32)
	for name, change := range map[string]func(*edgev1.AccessKey){
		"content is that of":             func(k *edgev1.AccessKey) { k.Id = "AKIA2" },
		"unknown type of principal":      func(k *edgev1.AccessKey) { k.Type = "Robot" },
		"a Account whose policies":       func(k *edgev1.AccessKey) { k.Type = "Account" },
		"a User whose policies":          func(k *edgev1.AccessKey) { k.PrincipalId = "" },
		"neither account nor ARN":        func(k *edgev1.AccessKey) { k.Arn = "" },
		"signing keys of us-west-2":      func(k *edgev1.AccessKey) { k.SigningKeys[0].Keys = k.SigningKeys[0].Keys[1:] },
		"hash of the session token":      session(&edgev1.AccessSession{TokenHash: hash[1:]}),
		"policy inline: ":                session(&edgev1.AccessSession{TokenHash: hash, Policies: []*edgev1.NamedPolicy{{Name: "inline", Document: "{"}}}),
		"attached to a caller has no Pr": session(&edgev1.AccessSession{TokenHash: hash, Policies: []*edgev1.NamedPolicy{{Document: allow}}}),
	} {
		good := next1(t, nil, 1, []Resource{res(t, "key/AKIA1", bobsKey())})
		k := bobsKey()
		change(k)
		for _, full := range []bool{false, true} {
			table, rejected := Config{}.Compile(good, Update{Index: 2, Full: full, Changed: []Resource{res(t, "key/AKIA1", k)}})
			if len(rejected) != 1 || rejected[0].Resource != "key/AKIA1" || !strings.Contains(rejected[0].Reason, name) {
				t.Errorf("%s: rejected %v", name, rejected)
			}
			if table.Caller([]byte("AKIA1")) != good.Caller([]byte("AKIA1")) {
				t.Errorf("%s, full %v: the last good form is gone", name, full)
			}
		}
		if table, _ := (Config{}).Compile(nil, Update{Index: 1, Changed: []Resource{res(t, "key/AKIA1", k)}}); table.Caller([]byte("AKIA1")) != nil {
			t.Errorf("%s: it is a caller", name)
		}
	}
}

// Keys and policies come and go by themselves; a key without its owner's
// policies has none.
func TestPrincipalOf(t *testing.T) {
	p := &edgev1.Principal{Id: "AIDA1", Policies: []*edgev1.NamedPolicy{{Name: "own", Document: own}}, Boundary: &edgev1.NamedPolicy{Name: "b", Document: own}}
	table := next1(t, nil, 1, []Resource{res(t, "key/AKIA1", bobsKey()), res(t, "principal/AIDA1", p)})
	c := table.Caller([]byte("AKIA1"))
	if got := table.PrincipalOf(c); got == nil || len(got.Policies) != 1 || got.Policies[0].Name != "own" || len(got.Boundary) != 1 {
		t.Fatalf("got %+v", got)
	}
	p.Boundary.Document = `{"Statement":{}}`
	bad, rejected := Config{}.Compile(table, Update{Index: 2, Full: true, Changed: []Resource{res(t, "key/AKIA1", bobsKey()), res(t, "principal/AIDA1", p)}})
	if len(rejected) != 1 || bad.PrincipalOf(c) != table.PrincipalOf(c) {
		t.Errorf("rejected %v", rejected)
	}
	if table = next1(t, table, 3, nil, "principal/AIDA1"); table.PrincipalOf(c) != nil {
		t.Error("policies that were removed are there")
	}
	root := bobsKey()
	root.PrincipalId, root.Type = "", "Account"
	table = next1(t, table, 4, []Resource{res(t, "key/AKIA1", root)})
	if got := table.PrincipalOf(table.Caller([]byte("AKIA1"))); got == nil || len(got.Policies)+len(got.Boundary) > 0 {
		t.Errorf("the root user has %+v", got)
	}
	if table = next1(t, table, 5, nil, "key/AKIA1"); table.Caller([]byte("AKIA1")) != nil || (*Table)(nil).Caller(nil) != nil {
		t.Error("a key that was removed is there")
	}
}

// Of several policies the first that denies decides, else the first that allows.
func TestDecide(t *testing.T) {
	document := func(effect, action string) *edgev1.NamedPolicy {
		return &edgev1.NamedPolicy{Document: `{"Statement":{"Effect":"` + effect + `","Action":"` + action + `","Resource":"*"}}`}
	}
	allows, denies, silent := document("Allow", "*"), document("Deny", "*"), document("Allow", "s3:*")
	for _, tt := range []struct {
		list   []*edgev1.NamedPolicy
		effect policy.Effect
		at     int
	}{
		{nil, policy.Silent, -1},
		{[]*edgev1.NamedPolicy{silent, silent}, policy.Silent, -1},
		{[]*edgev1.NamedPolicy{silent, allows, allows}, policy.Allow, 1},
		{[]*edgev1.NamedPolicy{allows, silent, denies, denies}, policy.ExplicitDeny, 2},
	} {
		list, err := compileNamed(tt.list)
		if err != nil {
			t.Fatal(err)
		}
		if v, at := Decide(list, &policy.Request{Action: policy.DefaultAction}); v.Effect != tt.effect || at != tt.at || !v.Attached {
			t.Errorf("%v: %+v by %d", tt.list, v, at)
		}
	}
}
