package snapshot

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/internal/pki"
	"github.com/posternhq/postern/internal/sigv4"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// testKeyring seals the secrets of these tests.
var testKeyring = sync.OnceValue(func() *pki.Keyring {
	dir, err := os.MkdirTemp("", "keyring")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ca, err := pki.LoadOrCreateCA(dir)
	if err != nil {
		panic(err)
	}
	k, err := ca.Keyring()
	if err != nil {
		panic(err)
	}
	return k
})

// day is today in these tests, noon the time in it.
const (
	day  = int64(20_000)
	noon = day*daySeconds + daySeconds/2
)

func named(t statev1.Type, name string) *statev1.Key {
	return identity.NamedKey(t, account, name).Proto()
}

func userRecord(name, id string, p *statev1.Permissions) *statev1.Record {
	return &statev1.Record{Key: named(statev1.Type_TYPE_USER, name), Value: &statev1.Record_User{User: &statev1.User{Name: name, Path: "/", Id: id, Permissions: p}}}
}

func roleRecord(name, id string, p *statev1.Permissions) *statev1.Record {
	return &statev1.Record{Key: named(statev1.Type_TYPE_ROLE, name), Value: &statev1.Record_Role{Role: &statev1.Role{
		Name: name, Path: "/p/", Id: id, Permissions: p, Tags: []*statev1.IamTag{{Key: "Team", Value: "a"}},
	}}}
}

func keyRecord(id, user string, change func(*statev1.AccessKey)) *statev1.Record {
	k := &statev1.AccessKey{Id: id, Account: account, User: user, CreatedAt: noon, Secret: identity.Seal(testKeyring(), account, id, "secret of "+id)}
	if change != nil {
		change(k)
	}
	return &statev1.Record{Key: identity.AccessKeyKey(id).Proto(), Value: &statev1.Record_AccessKey{AccessKey: k}}
}

func sessionRecord(id, role, principal string, change func(*statev1.Session)) *statev1.Record {
	s := &statev1.Session{Id: id, Account: account, Role: role, PrincipalId: principal, Name: "s1", CreatedAt: noon, ExpiresAt: noon + 3600,
		TokenHash: identity.HashToken("token"), Secret: identity.Seal(testKeyring(), account, id, "secret of "+id)}
	if change != nil {
		change(s)
	}
	return &statev1.Record{Key: identity.SessionKey(id).Proto(), Value: &statev1.Record_Session{Session: s}}
}

func policyRecord(name, document string) *statev1.Record {
	return &statev1.Record{Key: named(statev1.Type_TYPE_MANAGED_POLICY, name), Value: &statev1.Record_ManagedPolicy{ManagedPolicy: &statev1.ManagedPolicy{
		Name: name, Path: "/", DefaultVersion: 1, Versions: []*statev1.PolicyVersion{{Number: 1, Document: document}},
	}}}
}

func dayRecord(n int64) *statev1.Record {
	return &statev1.Record{Key: identity.SigningDayKey().Proto(), Value: &statev1.Record_SigningDay{SigningDay: &statev1.SigningDay{Day: n}}}
}

func newIdentityFeed(t testing.TB) *feed {
	f := newFeed(t)
	f.builder = NewBuilder(Config{Keyring: testKeyring()})
	return f
}

func policyARN(name string) string { return identity.PolicyARN(account, "/", name) }

// Each change reaches the resources that it is about, and no others.
func TestCallersFollow(t *testing.T) {
	f := newIdentityFeed(t)
	f.step("api/a settings", puts(restAPI("a", "PRIVATE")))
	f.step("", puts(keyRecord("AKIA1", "bob", nil))) // of nobody yet
	f.step("key/AKIA1 principal/AIDA1", puts(userRecord("bob", "AIDA1", nil)))
	f.step("key/AKIA0", puts(keyRecord("AKIA0", "", nil))) // of the root user
	f.step("principal/AROA1", puts(roleRecord("dev", "AROA1", nil)))
	f.step("key/ASIA1", puts(sessionRecord("ASIA1", "dev", "AROA1", nil)))

	// Policies.
	f.step("principal/AIDA1", puts(policyRecord("Read", "read"), userRecord("bob", "AIDA1", &statev1.Permissions{
		Inline: []*statev1.InlinePolicy{{Name: "own", Document: "inline"}}, Attached: []string{policyARN("Read"), policyARN("Gone")},
	})))
	expect(f, "principal/AIDA1", &edgev1.Principal{}, &edgev1.Principal{Id: "AIDA1", Policies: []*edgev1.NamedPolicy{
		{Name: "own", Document: "inline"}, {Name: policyARN("Read"), Document: "read"},
	}})
	f.step("principal/AIDA1 principal/AROA1", puts(policyRecord("Read", "more"), roleRecord("dev", "AROA1", &statev1.Permissions{Boundary: policyARN("Read")})))
	expect(f, "principal/AROA1", &edgev1.Principal{}, &edgev1.Principal{Id: "AROA1", Boundary: &edgev1.NamedPolicy{Name: policyARN("Read"), Document: "more"}})
	f.step("principal/AIDA1", puts(userRecord("bob", "AIDA1", nil)))
	f.step("principal/AROA1", puts(policyRecord("Read", "less"))) // the user has it no more
	f.step("principal/AROA1", nil, named(statev1.Type_TYPE_MANAGED_POLICY, "Read"))

	// Keys.
	f.step("-key/AKIA1", puts(keyRecord("AKIA1", "bob", func(k *statev1.AccessKey) { k.Inactive = true })))
	f.step("key/AKIA1", puts(keyRecord("AKIA1", "bob", nil)))
	f.step("-key/AKIA1", nil, identity.AccessKeyKey("AKIA1").Proto())
	f.step("key/AKIA1", puts(keyRecord("AKIA1", "bob", nil)))
	// A user's name is in what his keys say.
	f.step("key/AKIA2 principal/AIDA1 -key/AKIA1", puts(userRecord("rob", "AIDA1", nil), keyRecord("AKIA2", "rob", nil)), named(statev1.Type_TYPE_USER, "bob"))
	f.step("key/AKIA1", puts(keyRecord("AKIA1", "rob", nil)))
	// A role that is made anew is another one, and its old sessions are nobody's.
	f.step("principal/AROA2 -key/ASIA1 -principal/AROA1", puts(roleRecord("dev", "AROA2", nil)))
	f.step("-principal/AROA2", nil, named(statev1.Type_TYPE_ROLE, "dev"))

	// Regions and days touch all keys.
	west := proto.CloneOf(restAPI("b", "PRIVATE"))
	west.Key.Region = "eu-west-1"
	f.step("api/b key/AKIA0 key/AKIA1 key/AKIA2", puts(west))
	again := proto.CloneOf(restAPI("c", "PRIVATE"))
	again.Key.Region = "eu-west-1"
	f.step("api/c", puts(again))
	f.step("-api/b", nil, west.Key)
	f.step("key/AKIA0 key/AKIA1 key/AKIA2 -api/c", nil, again.Key)
	f.step("", puts(dayRecord(day))) // which they have been made around
	f.step("key/AKIA0 key/AKIA1 key/AKIA2", puts(dayRecord(day+1)))
}

// A key says who the caller is and can verify what it is to, no more: the
// secret is not in it, nor is a key of other regions, services or days.
func TestKeyContent(t *testing.T) {
	f := newIdentityFeed(t)
	f.step("api/a key/ASIA1 principal/AROA1 settings", puts(restAPI("a", "PRIVATE"), roleRecord("dev", "AROA1", nil),
		sessionRecord("ASIA1", "dev", "AROA1", func(s *statev1.Session) {
			s.Policies, s.PolicyArns, s.SourceIdentity = []string{"one", "two"}, []string{"arn:two"}, "amy"
			s.Tags = []*statev1.IamTag{{Key: "team", Value: "b"}}
			s.ExpiresAt = noon + daySeconds
		})))
	var m edgev1.AccessKey
	if err := proto.Unmarshal(f.have["key/ASIA1"].Body, &m); err != nil {
		t.Fatal(err)
	}
	keys := m.SigningKeys
	m.SigningKeys = nil
	want := &edgev1.AccessKey{
		Id: "ASIA1", Account: account, PrincipalId: "AROA1", Type: "AssumedRole", UserId: "AROA1:s1", Tags: map[string]string{"team": "b"},
		Arn: "arn:aws:sts::" + account + ":assumed-role/dev/s1", RoleArn: "arn:aws:iam::" + account + ":role/p/dev", FirstDay: int32(day - 1),
		Session: &edgev1.AccessSession{TokenHash: identity.HashToken("token"), IssuedAt: noon, ExpiresAt: noon + daySeconds, SourceIdentity: "amy",
			Policies: []*edgev1.NamedPolicy{{Name: "inline", Document: "one"}, {Name: "arn:two", Document: "two"}}},
	}
	if !proto.Equal(&m, want) {
		t.Errorf("got %v\nwant %v", &m, want)
	}
	// Yesterday, today, and the day on which the session ends.
	if len(keys) != 1 || keys[0].Region != region || len(keys[0].Keys) != 3*32 {
		t.Fatalf("signing keys: %v", keys)
	}
	for i, date := range []string{"20241003", "20241004", "20241005"} {
		if got := time.Unix((day-1+int64(i))*daySeconds, 0).UTC().Format("20060102"); got != date {
			t.Fatalf("day %d is %s", i, got)
		}
		if want := sigv4.DeriveKey("secret of ASIA1", date, region, "execute-api"); !bytes.Equal(keys[0].Keys[i*32:][:32], want[:]) {
			t.Errorf("the key of %s is another", date)
		}
	}
	for _, text := range []string{"secret of", "token"} {
		if bytes.Contains(f.have["key/ASIA1"].Body, []byte(text)) {
			t.Errorf("%q is in what edges get", text)
		}
	}
	// A key of a user lasts a week without a control plane.
	f.step("key/AKIA0", puts(keyRecord("AKIA0", "", nil)))
	if err := proto.Unmarshal(f.have["key/AKIA0"].Body, &m); err != nil {
		t.Fatal(err)
	}
	if n := len(m.SigningKeys[0].Keys) / 32; n != 9 || m.FirstDay != int32(day-1) || m.Session != nil || m.Type != "Account" {
		t.Errorf("%d days from %d: %v", n, m.FirstDay, &m)
	}
	// Days that are past stay as long as a presigned URL of theirs may.
	f.step("key/AKIA0", puts(keyRecord("AKIA0", "", func(k *statev1.AccessKey) { k.CreatedAt = noon - 100*daySeconds }), dayRecord(day)))
	if err := proto.Unmarshal(f.have["key/AKIA0"].Body, &m); err != nil {
		t.Fatal(err)
	}
	if n := len(m.SigningKeys[0].Keys) / 32; n != 15 || m.FirstDay != int32(day-7) {
		t.Errorf("%d days from %d", n, m.FirstDay)
	}
	// A session that has ended is dropped with its day.
	f.step("key/AKIA0", puts(dayRecord(day+1)))
	f.step("key/AKIA0 -key/ASIA1", puts(dayRecord(day+2)))
	// A secret that can't be opened is that of no key, and of this one only.
	f.step("-key/AKIA0", puts(keyRecord("AKIA0", "", func(k *statev1.AccessKey) { k.Secret.Box[20] ^= 1 })))
}

// identityRecords are drawn by TestFollowingEqualsStartingAnew.
func identityRecords(pick func(name string, of ...string) string) []*statev1.Record {
	permissions := &statev1.Permissions{Attached: []string{policyARN(pick("attached", "Read", "Write"))}}
	if b := pick("boundary", "", "Read"); b != "" {
		permissions.Boundary = policyARN(b)
	}
	user := pick("user", "bob", "amy")
	elsewhere := proto.CloneOf(restAPI("w", "PRIVATE"))
	elsewhere.Key.Region = "eu-west-1"
	return []*statev1.Record{
		elsewhere,
		userRecord(user, pick("user id", "AIDA1", "AIDA2")+user, permissions),
		roleRecord("dev", pick("role id", "AROA1", "AROA2"), permissions),
		keyRecord(pick("key", "AKIA1", "AKIA2"), pick("owner", "", "bob", "amy"), func(k *statev1.AccessKey) { k.Inactive = pick("inactive", "", "x") != "" }),
		sessionRecord("ASIA1", "dev", pick("session of", "AROA1", "AROA2"), nil),
		policyRecord(pick("policy", "Read", "Write"), pick("document", "one", "two")),
		dayRecord(day + int64(len(pick("day", "", "1", "22")))),
	}
}

// A new day derives all keys anew; it must stay far from being felt.
func BenchmarkBuilderNewDay(b *testing.B) {
	f := newIdentityFeed(b)
	records := []*statev1.Record{restAPI("a", "PRIVATE"), userRecord("bob", "AIDA1", nil)}
	for i := range 10_000 {
		records = append(records, keyRecord(fmt.Sprintf("AKIA%d", i), "bob", nil))
	}
	f.apply(records)
	f.update()
	n := day
	for b.Loop() {
		n++
		f.apply(puts(dayRecord(n)))
		f.update()
	}
	b.ReportMetric(float64(len(f.have["key/AKIA1"].Body)), "bytes/key")
}
