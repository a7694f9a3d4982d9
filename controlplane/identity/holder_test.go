package identity

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/internal/pki"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const account = "111122223333"

func view(t *testing.T, records ...*statev1.Record) *state.View {
	t.Helper()
	store := state.New()
	if r := store.Apply(1, []*statev1.Txn{{Puts: records}}); r[0].Refused != nil {
		t.Fatal(r[0].Refused)
	}
	return store.View()
}

func user(name, id string) *statev1.Record {
	return &statev1.Record{Key: NamedKey(statev1.Type_TYPE_USER, account, name).Proto(), Value: &statev1.Record_User{User: &statev1.User{
		Name: name, Path: "/team/", Id: id, Tags: []*statev1.IamTag{{Key: "Team", Value: "a"}},
	}}}
}

func role(name, id string) *statev1.Record {
	return &statev1.Record{Key: NamedKey(statev1.Type_TYPE_ROLE, account, name).Proto(), Value: &statev1.Record_Role{Role: &statev1.Role{
		Name: name, Path: "/service/", Id: id, Tags: []*statev1.IamTag{{Key: "Team", Value: "a"}, {Key: "Env", Value: "test"}},
	}}}
}

func accessKey(k *statev1.AccessKey) *statev1.Record {
	k.Account = account
	return &statev1.Record{Key: AccessKeyKey(k.GetId()).Proto(), Value: &statev1.Record_AccessKey{AccessKey: k}}
}

func session(s *statev1.Session) *statev1.Record {
	s.Account = account
	return &statev1.Record{Key: SessionKey(s.GetId()).Proto(), Value: &statev1.Record_Session{Session: s}}
}

func TestFind(t *testing.T) {
	v := view(t, user("Alice", "AIDA1"), role("Deploy", "AROA1"),
		accessKey(&statev1.AccessKey{Id: "AKIAROOT"}),
		accessKey(&statev1.AccessKey{Id: "AKIAALICE", User: "Alice"}),
		accessKey(&statev1.AccessKey{Id: "AKIAOFF", User: "Alice", Inactive: true}),
		accessKey(&statev1.AccessKey{Id: "AKIABOB", User: "bob"}),
		session(&statev1.Session{Id: "ASIAROLE", Role: "Deploy", PrincipalId: "AROA1", Name: "s1", ExpiresAt: 100, Tags: []*statev1.IamTag{{Key: "team", Value: "b"}}}),
		session(&statev1.Session{Id: "ASIAOTHER", Role: "Deploy", PrincipalId: "AROA0", Name: "s1", ExpiresAt: 100}),
		session(&statev1.Session{Id: "ASIAGONE", Role: "gone", PrincipalId: "AROA2", Name: "s1", ExpiresAt: 100}),
		session(&statev1.Session{Id: "ASIAUSER", User: "Alice", PrincipalId: "AIDA1", ExpiresAt: 100}),
		session(&statev1.Session{Id: "ASIAROOT", ExpiresAt: 100}),
	)
	for _, tt := range []struct {
		id, arn, userID string
		status          Status
	}{
		{"AKIAROOT", "arn:aws:iam::111122223333:root", account, Active},
		{"AKIAALICE", "arn:aws:iam::111122223333:user/team/Alice", "AIDA1", Active},
		{"AKIAOFF", "arn:aws:iam::111122223333:user/team/Alice", "AIDA1", Inactive},
		{"AKIABOB", "", "", Unknown}, // a key whose user is gone
		{"AKIANONE", "", "", Unknown},
		{"111122223333", "", "", Unknown},
		{"ASIAROLE", "arn:aws:sts::111122223333:assumed-role/Deploy/s1", "AROA1:s1", Active},
		{"ASIAOTHER", "", "", Unknown}, // of an older role of that name
		{"ASIAGONE", "", "", Unknown},
		{"ASIAUSER", "arn:aws:iam::111122223333:user/team/Alice", "AIDA1", Active},
		{"ASIAROOT", "arn:aws:iam::111122223333:root", account, Active},
	} {
		h, status := Find(v, tt.id, time.Unix(99, 0))
		if status != tt.status || (h == nil) != (status == Unknown) {
			t.Errorf("%s: status %v, holder %v, want %v", tt.id, status, h, tt.status)
			continue
		}
		if h != nil && (h.ARN() != tt.arn || h.UserID() != tt.userID) {
			t.Errorf("%s: got %s %s, want %s %s", tt.id, h.ARN(), h.UserID(), tt.arn, tt.userID)
		}
	}
	if _, status := Find(v, "ASIAROLE", time.Unix(100, 0)); status != Expired {
		t.Errorf("at its end a session is %v, want Expired", status)
	}
	h, _ := Find(v, "ASIAROLE", time.Unix(0, 0))
	want := &policy.Principal{
		Type: policy.TypeAssumedRole, ARN: "arn:aws:sts::111122223333:assumed-role/Deploy/s1", Account: account,
		RoleARN: "arn:aws:iam::111122223333:role/service/Deploy", UserID: "AROA1:s1", Tags: map[string]string{"team": "b", "env": "test"},
	}
	if diff := cmp.Diff(want, h.Principal()); diff != "" {
		t.Errorf("principal (-want +got)\n%s", diff)
	}
}

func TestSealedIsOfItsKey(t *testing.T) {
	ca, err := pki.LoadOrCreateCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	k, err := ca.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	s := Seal(k, account, "AKIA1", "secret")
	if got, err := Open(k, account, "AKIA1", s); got != "secret" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for _, other := range [][2]string{{account, "AKIA2"}, {"444455556666", "AKIA1"}} {
		if _, err := Open(k, other[0], other[1], s); err == nil {
			t.Errorf("opens as %v", other)
		}
	}
	s.KeyId = "another"
	if _, err := Open(k, account, "AKIA1", s); !errors.Is(err, pki.ErrSealed) {
		t.Errorf("got %v, want ErrSealed", err)
	}
}

func TestManagedPolicy(t *testing.T) {
	m := &statev1.ManagedPolicy{Name: "Read", Path: "/p/", DefaultVersion: 2, Versions: []*statev1.PolicyVersion{{Number: 1, Document: "one"}, {Number: 2, Document: "two"}}}
	v := view(t, &statev1.Record{Key: NamedKey(statev1.Type_TYPE_MANAGED_POLICY, account, "Read").Proto(), Value: &statev1.Record_ManagedPolicy{ManagedPolicy: m}})
	for arn, want := range map[string]string{
		"arn:aws:iam::111122223333:policy/p/Read": "two",
		"arn:aws:iam::111122223333:policy/p/read": "",
		"arn:aws:iam::111122223333:policy/Read":   "",
		"arn:aws:iam::444455556666:policy/p/Read": "",
		"arn:aws:iam::111122223333:role/p/Read":   "",
		"arn:aws:iam::aws:policy/NoSuch":          "",
	} {
		if got := Document(ManagedPolicy(v, arn)); got != want {
			t.Errorf("%s: got %q, want %q", arn, got, want)
		}
	}
	granting, boundary, limited := Policies(v, &statev1.Permissions{
		Boundary: "arn:aws:iam::111122223333:policy/p/Read", Attached: []string{"arn:aws:iam::111122223333:policy/p/Read"},
		Inline: []*statev1.InlinePolicy{{Name: "i", Document: "inline"}},
	})
	if diff := cmp.Diff([]string{"inline", "two"}, granting); diff != "" || boundary != "two" || !limited {
		t.Errorf("boundary %q, limited %v (-want +got)\n%s", boundary, limited, diff)
	}
	for _, p := range Provided() {
		doc, err := policy.Parse([]byte(Document(p)))
		if err != nil {
			t.Errorf("%s: %v", p.GetName(), err)
			continue
		}
		if problems, _ := doc.Validate(policy.IdentityPolicy); len(problems) > 0 {
			t.Errorf("%s: %v", p.GetName(), problems)
		}
	}
}

func FuzzSplitARN(f *testing.F) {
	f.Add("111122223333", "/", "alice")
	f.Add("aws", "/service-role/", "Policy")
	f.Fuzz(func(t *testing.T, account, path, name string) {
		arn := PolicyARN(account, path, name)
		gotAccount, gotPath, gotName, ok := SplitARN(arn, "policy")
		if ok && PolicyARN(gotAccount, gotPath, gotName) != arn {
			t.Errorf("%q is split into %q, %q, %q", arn, gotAccount, gotPath, gotName)
		}
		if _, _, _, ok := SplitARN(arn, "role"); ok && account == "111122223333" {
			t.Errorf("%q is taken for a role", arn)
		}
	})
}
