package policy_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/posternhq/postern/dataplane/policy"
)

func TestParsePrincipal(t *testing.T) {
	for _, tt := range []struct {
		arn  string
		want policy.Principal // ARN is that of the caller; empty Type: refused
	}{
		{"arn:aws:iam::111122223333:root", policy.Principal{Type: policy.TypeAccount, Account: "111122223333", UserID: "111122223333"}},
		{"arn:aws:iam::111122223333:user/a/b/bob", policy.Principal{Type: policy.TypeUser, Account: "111122223333", UserName: "bob"}},
		{"arn:aws:iam::1:role/a/dev", policy.Principal{Type: policy.TypeAssumedRole, Account: "1", RoleARN: "arn:aws:iam::1:role/a/dev"}},
		{"arn:aws-cn:sts::1:assumed-role/dev/s/x", policy.Principal{Type: policy.TypeAssumedRole, Account: "1", RoleARN: "arn:aws-cn:iam::1:role/dev", RolePathUnknown: true}},
		{"arn:aws:sts::1:federated-user/fay", policy.Principal{Type: policy.TypeFederatedUser, Account: "1", UserID: "1:fay"}},
		{"111122223333", policy.Principal{}},
		{"*", policy.Principal{}},
		{"", policy.Principal{}},
		{"AIDA1234567890ABCDEF", policy.Principal{}},
		{"AIDA1234567890abcdef", policy.Principal{}},
		{"arn:aws:iam::1:user/*", policy.Principal{}},
		{"arn:aws:iam::1:group/x", policy.Principal{}},
		{"arn:aws:iam::x:user/x", policy.Principal{}},
		{"arn:aws:sts::1:assumed-role/dev", policy.Principal{}},
	} {
		p, err := policy.ParsePrincipal(tt.arn)
		if tt.want.Type == "" {
			if err == nil {
				t.Errorf("%q is accepted as %+v", tt.arn, *p)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.arn, err)
			continue
		}
		got := *p
		if got.ARN != tt.arn {
			t.Errorf("%q: ARN %q", tt.arn, got.ARN)
		}
		if got.Type != tt.want.Type || got.Account != tt.want.Account || got.RoleARN != tt.want.RoleARN ||
			got.RolePathUnknown != tt.want.RolePathUnknown || got.UserName != tt.want.UserName || got.UserID != tt.want.UserID {
			t.Errorf("%q: %+v, want %+v", tt.arn, got, tt.want)
		}
	}
}

// TestRolePath: where a session's role is known with its path, the path counts.
func TestRolePath(t *testing.T) {
	prog := compile(t, `{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::1:role/service/dev"},"Action":"*","Resource":"*"}}`)
	session := policy.Principal{Type: policy.TypeAssumedRole, ARN: "arn:aws:sts::1:assumed-role/dev/s", Account: "1"}
	for _, tt := range []struct {
		role    string
		unknown bool
		want    policy.Effect
	}{
		{"arn:aws:iam::1:role/dev", true, policy.Allow},
		{"arn:aws:iam::1:role/service/dev", false, policy.Allow},
		{"arn:aws:iam::1:role/dev", false, policy.Silent},
		{"arn:aws:iam::1:role/other/dev", false, policy.Silent},
		{"arn:aws:iam::2:role/dev", true, policy.Silent},
	} {
		p := session
		p.RoleARN, p.RolePathUnknown = tt.role, tt.unknown
		r := hotRequest()
		r.SetPrincipal(&p)
		if d := prog.Eval(r); d.Effect != tt.want {
			t.Errorf("%s, path unknown %v: %v, want %v", tt.role, tt.unknown, d.Effect, tt.want)
		}
	}
	role := policy.Principal{Type: policy.TypeAssumedRole, ARN: "arn:aws:iam::1:role/service/dev", Account: "1", RoleARN: "arn:aws:iam::1:role/service/dev"}
	deny := compile(t, `{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":["1","arn:aws:iam::1:role/service/dev"]},"Action":"*","Resource":"*"}}`)
	r := hotRequest()
	r.SetPrincipal(&role)
	if d := deny.Eval(r); d.Effect != policy.Silent {
		t.Errorf("a role named with its account is denied: %v", d)
	}
}

// isNull asks a program whether a key is absent.
func isNull(t *testing.T, key string, r *policy.Request) bool {
	t.Helper()
	prog := compile(t, `{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"Null":{"`+key+`":"true"}}}}`)
	return prog.Eval(r).Effect == policy.Allow
}

// equals asks a program whether a key has a value.
func equals(t *testing.T, key, value string, r *policy.Request) bool {
	t.Helper()
	prog := compile(t, `{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"`+key+`":"`+value+`"}}}}`)
	return prog.Eval(r).Effect == policy.Allow
}

func TestEveryKeyIsFound(t *testing.T) {
	for k := policy.KeySourceVpc; k <= policy.KeyUsername; k++ {
		var r policy.Request
		if !isNull(t, k.String(), &r) {
			t.Errorf("%v is present in an empty request", k)
		}
		r.Set(k, "10.1.2.3")
		if !equals(t, strings.ToUpper(k.String()), "10.1.2.3", &r) {
			t.Errorf("%v is not what it was set to", k)
		}
		r.Unset(k)
		if !isNull(t, k.String(), &r) {
			t.Errorf("%v is present after Unset", k)
		}
		r.SetContext(strings.ToLower(k.String()), "10.1.2.3")
		if !equals(t, k.String(), "10.1.2.3", &r) {
			t.Errorf("%v is not what its context was set to", k)
		}
		if found, ok := policy.LookupKey(strings.ToUpper(k.String())); !ok || found != k {
			t.Errorf("%v is looked up as %v, %v", k, found, ok)
		}
		r.Reset()
		if !isNull(t, k.String(), &r) {
			t.Errorf("%v is present after Reset", k)
		}
	}
}

func TestAddresses(t *testing.T) {
	var r policy.Request
	r.SetAddr(policy.KeySourceIP, netip.MustParseAddr("::ffff:10.1.2.3"))
	if !equals(t, "aws:SourceIp", "10.1.2.3", &r) {
		t.Error("a mapped address is not unmapped")
	}
	r.SetAddr(policy.KeySourceIP, netip.MustParseAddr("fe80::1%eth0"))
	if !equals(t, "aws:SourceIp", "fe80::1", &r) {
		t.Error("a zone is not dropped")
	}
	r.SetAddr(policy.KeySourceIP, netip.Addr{})
	if !isNull(t, "aws:SourceIp", &r) {
		t.Error("no address is present")
	}
	r.SetAddr(policy.KeyUserAgent, netip.MustParseAddr("10.1.2.3"))
	if !isNull(t, "aws:UserAgent", &r) {
		t.Error("a key that holds no address took one")
	}
}

func TestTimes(t *testing.T) {
	r := policy.Request{Time: time.Date(2026, 1, 2, 4, 4, 5, 999, time.FixedZone("", 3600))}
	if !equals(t, "aws:CurrentTime", "2026-01-02T03:04:05Z", &r) || !equals(t, "aws:EpochTime", "1767323045", &r) {
		t.Error("keys of the time are not its second in UTC")
	}
	r.Set(policy.KeyCurrentTime, "2020-01-01T00:00:00Z")
	if !equals(t, "aws:CurrentTime", "2020-01-01T00:00:00Z", &r) || !equals(t, "aws:EpochTime", "1767323045", &r) {
		t.Error("a key that was set does not come first")
	}
}

func TestSetResource(t *testing.T) {
	var r policy.Request
	if r.SetResource("arn:aws:execute-api:us-east-1:1") || r.SetResource("urn:a:b:c:d:e") || r.Resource != nil {
		t.Errorf("took what is no ARN: %q", r.Resource)
	}
	if !r.SetResource("arn:aws-cn:execute-api:cn-north-1:1:api/s/GET/a:b") || string(r.Resource) != "arn:aws-cn:execute-api:cn-north-1:1:api/s/GET/a:b" {
		t.Errorf("%q", r.Resource)
	}
}

// TestLongAction: longer than the space for lower-casing it.
func TestLongAction(t *testing.T) {
	name := strings.Repeat("Long", 50)
	prog := compile(t, `{"Statement":{"Effect":"Allow","Principal":"*","Action":"execute-api:`+name+`","Resource":"*"}}`)
	r := hotRequest()
	r.Action = "execute-api:" + strings.ToUpper(name)
	if d := prog.Eval(r); d.Effect != policy.Allow {
		t.Error(d)
	}
}

func TestPartitionOf(t *testing.T) {
	for region, want := range map[string]string{"us-west-2": "aws", "cn-north-1": "aws-cn", "us-gov-east-1": "aws-us-gov", "": "aws"} {
		if got := policy.PartitionOf(region); got != want {
			t.Errorf("%s is in %s, want %s", region, got, want)
		}
	}
}

// TestSetContextReplaces: a key that is given anew has nothing of what it was.
func TestSetContextReplaces(t *testing.T) {
	prog := compile(t, `{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpce":"vpce-1"}}}}`)
	for _, values := range [][]string{nil, {"vpce-2"}, {"vpce-2", "vpce-3"}} {
		r := hotRequest()
		r.Set(policy.KeySourceVpce, "vpce-1")
		r.SetContext("aws:sourcevpce", values...)
		if d := prog.Eval(r); d.Effect != policy.Silent {
			t.Errorf("the key is %q now, yet %v", values, d.Effect)
		}
	}
}

// A clone keeps its values when the buffers behind the original are used again.
func TestRequestClone(t *testing.T) {
	doc, err := policy.Parse([]byte(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke",
		"Resource":"arn:aws:execute-api:us-west-2:123456789012:abcde12345/prod/GET/*",
		"Condition":{"StringEquals":{"aws:UserAgent":"curl/8","aws:EpochTime":"1577836800"},"IpAddress":{"aws:SourceIp":"192.0.2.1"}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(doc)
	if err != nil {
		t.Fatal(err)
	}
	buffer := []byte("curl/8")
	r := &policy.Request{Action: policy.DefaultAction, Time: time.Unix(1577836800, 0)}
	r.SetResource("arn:aws:execute-api:us-west-2:123456789012:abcde12345/prod/GET/pets")
	r.Set(policy.KeyUserAgent, unsafe.String(&buffer[0], len(buffer)))
	r.SetAddr(policy.KeySourceIP, netip.MustParseAddr("192.0.2.1"))
	if d := p.Eval(r); d.Effect != policy.Allow {
		t.Fatalf("the request gets %v", d)
	}
	c := r.Clone()
	copy(buffer, "______")
	copy(r.Resource, "_________")
	r.Unset(policy.KeySourceIP)
	if d := p.Eval(r); d.Effect != policy.Silent {
		t.Errorf("the changed request gets %v", d)
	}
	if d := p.Eval(c); d.Effect != policy.Allow {
		t.Errorf("the clone gets %v", d)
	}
}
