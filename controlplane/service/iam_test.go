package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/fsm"
	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/internal/pki"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	stsv1 "github.com/posternhq/postern/proto/postern/sts/v1"
)

const (
	iamHome   = "111122223333"
	iamOther  = "444455556666"
	allowAll  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	denyAll   = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`
	trustHome = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]}]}`
)

// testIAM is IAM and STS on a fake cluster whose clock stands still.
type testIAM struct {
	*testing.T
	iamv1.IAMServer
	sts     stsv1.STSServer
	cluster *fakeCluster
	now     time.Time
	keyring *pki.Keyring
}

func newKeyring(t *testing.T) *pki.Keyring {
	t.Helper()
	ca, err := pki.LoadOrCreateCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	k, err := ca.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newTestIAM(t *testing.T) *testIAM {
	t.Helper()
	i := &testIAM{T: t, cluster: newFakeCluster(), now: time.Unix(1_700_000_000, 0), keyring: newKeyring(t)}
	cfg := Config{Cluster: i.cluster, Keyring: i.keyring, Now: func() time.Time { return i.now }}
	i.IAMServer, i.sts = NewIAM(cfg), NewSTS(cfg)
	return i
}

// root is a request of an account's root user.
func (i *testIAM) root(account string) context.Context { return as(i.Context(), account, "us-east-1") }

// with is a request signed with a key, as a node passes it on.
func (i *testIAM) with(id string) context.Context {
	i.Helper()
	h, _ := identity.Find(i.cluster.store.View(), id, i.now)
	if h == nil {
		i.Fatalf("nobody has the key %s", id)
	}
	return metadata.NewIncomingContext(i.Context(), metadata.Pairs(metaAccount, h.Account, metaRegion, "us-east-1", metaAccessKey, id,
		metaPrincipal, h.ARN(), metaUserID, h.UserID(), metaSource, "192.0.2.7:4000"))
}

// user makes a user with a key, and his policy if there is one.
func (i *testIAM) user(account, name, document string) (key string) {
	i.Helper()
	ctx := i.root(account)
	i.must(i.CreateUser(ctx, &iamv1.CreateUserRequest{UserName: &name}))
	if document != "" {
		i.must(i.PutUserPolicy(ctx, &iamv1.PutUserPolicyRequest{UserName: &name, PolicyName: new("own"), PolicyDocument: &document}))
	}
	answer, err := i.CreateAccessKey(ctx, &iamv1.CreateAccessKeyRequest{UserName: &name})
	return must(i.T, answer, err).GetAccessKey().GetAccessKeyId()
}

func (i *testIAM) role(account, name, trust string) (arn string) {
	i.Helper()
	answer, err := i.CreateRole(i.root(account), &iamv1.CreateRoleRequest{RoleName: &name, AssumeRolePolicyDocument: &trust})
	return must(i.T, answer, err).GetRole().GetArn()
}

// refused checks the code of an error, as `code: words of the message`.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	var e *apierr.Error
	code, words, _ := strings.Cut(want, ": ")
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, words) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestUsersAndRolesAreAlike(t *testing.T) {
	i := newTestIAM(t)
	ctx := i.root(iamHome)
	u := must2(i.CreateUser(ctx, &iamv1.CreateUserRequest{UserName: new("Alice"), Path: new("/team/"), Tags: []*iamv1.Tag{{Key: new("k"), Value: new("v")}}}))(t).GetUser()
	if u.GetArn() != "arn:aws:iam::111122223333:user/team/Alice" || !strings.HasPrefix(u.GetUserId(), "AIDA") || len(u.GetUserId()) != 21 || u.GetCreateDate() != "2023-11-14T22:13:20Z" {
		t.Errorf("made %v", u)
	}
	r := must2(i.CreateRole(ctx, &iamv1.CreateRoleRequest{RoleName: new("deploy"), AssumeRolePolicyDocument: new(trustHome)}))(t).GetRole()
	if r.GetArn() != "arn:aws:iam::111122223333:role/deploy" || !strings.HasPrefix(r.GetRoleId(), "AROA") || r.GetMaxSessionDuration() != 3600 {
		t.Errorf("made %v", r)
	}
	if got, err := url.PathUnescape(r.GetAssumeRolePolicyDocument()); err != nil || got != trustHome {
		t.Errorf("trust policy %q, %v", r.GetAssumeRolePolicyDocument(), err)
	}
	_, err := i.CreateUser(ctx, &iamv1.CreateUserRequest{UserName: new("ALICE")})
	refused(t, err, "EntityAlreadyExists: User with name ALICE already exists.")
	_, err = i.GetUser(ctx, &iamv1.GetUserRequest{UserName: new("alice")})
	refused(t, err, "NoSuchEntity: The user with name alice cannot be found.")
	_, err = i.ListGroupsForUser(ctx, &iamv1.ListGroupsForUserRequest{UserName: new("bob")})
	refused(t, err, "NoSuchEntity: The user with name bob cannot be found.")
	_, err = i.ListInstanceProfilesForRole(ctx, &iamv1.ListInstanceProfilesForRoleRequest{RoleName: new("none")})
	refused(t, err, "NoSuchEntity: The role with name none cannot be found.")
	_, err = i.GetRole(i.root(iamOther), &iamv1.GetRoleRequest{RoleName: new("deploy")})
	refused(t, err, "NoSuchEntity: The role with name deploy cannot be found.")

	// Everything below is the same for both.
	type twin struct {
		word    string
		put     func(name, document string) error
		get     func(name string) (*string, error)
		names   func() []string
		drop    func(name string) error
		attach  func(arn string) error
		detach  func(arn string) error
		arns    func() []string
		limit   func(arn string) error
		unlimit func() error
		tag     func(tags ...*iamv1.Tag) error
		untag   func(keys ...string) error
		tags    func() []*iamv1.Tag
		delete  func() error
	}
	policy := must2(i.CreatePolicy(ctx, &iamv1.CreatePolicyRequest{PolicyName: new("read"), PolicyDocument: new(allowAll)}))(t).GetPolicy().GetArn()
	second := func(_ any, err error) error { return err }
	name := new("Alice")
	role := new("deploy")
	for _, w := range []twin{
		{
			"user",
			func(n, d string) error {
				return second(i.PutUserPolicy(ctx, &iamv1.PutUserPolicyRequest{UserName: name, PolicyName: &n, PolicyDocument: &d}))
			},
			func(n string) (*string, error) {
				a, err := i.GetUserPolicy(ctx, &iamv1.GetUserPolicyRequest{UserName: name, PolicyName: &n})
				return new(a.GetPolicyDocument()), err
			},
			func() []string {
				return must2(i.ListUserPolicies(ctx, &iamv1.ListUserPoliciesRequest{UserName: name}))(t).GetPolicyNames()
			},
			func(n string) error {
				return second(i.DeleteUserPolicy(ctx, &iamv1.DeleteUserPolicyRequest{UserName: name, PolicyName: &n}))
			},
			func(arn string) error {
				return second(i.AttachUserPolicy(ctx, &iamv1.AttachUserPolicyRequest{UserName: name, PolicyArn: &arn}))
			},
			func(arn string) error {
				return second(i.DetachUserPolicy(ctx, &iamv1.DetachUserPolicyRequest{UserName: name, PolicyArn: &arn}))
			},
			func() []string {
				return arnsOf(must2(i.ListAttachedUserPolicies(ctx, &iamv1.ListAttachedUserPoliciesRequest{UserName: name}))(t).GetAttachedPolicies())
			},
			func(arn string) error {
				return second(i.PutUserPermissionsBoundary(ctx, &iamv1.PutUserPermissionsBoundaryRequest{UserName: name, PermissionsBoundary: &arn}))
			},
			func() error {
				return second(i.DeleteUserPermissionsBoundary(ctx, &iamv1.DeleteUserPermissionsBoundaryRequest{UserName: name}))
			},
			func(tags ...*iamv1.Tag) error {
				return second(i.TagUser(ctx, &iamv1.TagUserRequest{UserName: name, Tags: tags}))
			},
			func(keys ...string) error {
				return second(i.UntagUser(ctx, &iamv1.UntagUserRequest{UserName: name, TagKeys: keys}))
			},
			func() []*iamv1.Tag {
				return must2(i.ListUserTags(ctx, &iamv1.ListUserTagsRequest{UserName: name}))(t).GetTags()
			},
			func() error { return second(i.DeleteUser(ctx, &iamv1.DeleteUserRequest{UserName: name})) },
		},
		{
			"role",
			func(n, d string) error {
				return second(i.PutRolePolicy(ctx, &iamv1.PutRolePolicyRequest{RoleName: role, PolicyName: &n, PolicyDocument: &d}))
			},
			func(n string) (*string, error) {
				a, err := i.GetRolePolicy(ctx, &iamv1.GetRolePolicyRequest{RoleName: role, PolicyName: &n})
				return new(a.GetPolicyDocument()), err
			},
			func() []string {
				return must2(i.ListRolePolicies(ctx, &iamv1.ListRolePoliciesRequest{RoleName: role}))(t).GetPolicyNames()
			},
			func(n string) error {
				return second(i.DeleteRolePolicy(ctx, &iamv1.DeleteRolePolicyRequest{RoleName: role, PolicyName: &n}))
			},
			func(arn string) error {
				return second(i.AttachRolePolicy(ctx, &iamv1.AttachRolePolicyRequest{RoleName: role, PolicyArn: &arn}))
			},
			func(arn string) error {
				return second(i.DetachRolePolicy(ctx, &iamv1.DetachRolePolicyRequest{RoleName: role, PolicyArn: &arn}))
			},
			func() []string {
				return arnsOf(must2(i.ListAttachedRolePolicies(ctx, &iamv1.ListAttachedRolePoliciesRequest{RoleName: role}))(t).GetAttachedPolicies())
			},
			func(arn string) error {
				return second(i.PutRolePermissionsBoundary(ctx, &iamv1.PutRolePermissionsBoundaryRequest{RoleName: role, PermissionsBoundary: &arn}))
			},
			func() error {
				return second(i.DeleteRolePermissionsBoundary(ctx, &iamv1.DeleteRolePermissionsBoundaryRequest{RoleName: role}))
			},
			func(tags ...*iamv1.Tag) error {
				return second(i.TagRole(ctx, &iamv1.TagRoleRequest{RoleName: role, Tags: tags}))
			},
			func(keys ...string) error {
				return second(i.UntagRole(ctx, &iamv1.UntagRoleRequest{RoleName: role, TagKeys: keys}))
			},
			func() []*iamv1.Tag {
				return must2(i.ListRoleTags(ctx, &iamv1.ListRoleTagsRequest{RoleName: role}))(t).GetTags()
			},
			func() error { return second(i.DeleteRole(ctx, &iamv1.DeleteRoleRequest{RoleName: role})) },
		},
	} {
		t.Run(w.word, func(t *testing.T) {
			ok := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			ok(w.put("b", allowAll))
			ok(w.put("a", denyAll))
			ok(w.put("b", denyAll)) // replaced
			if got := w.names(); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("inline policies %v", got)
			}
			document, err := w.get("b")
			ok(err)
			if got, err := url.PathUnescape(*document); err != nil || got != denyAll || strings.ContainsAny(*document, ` "+{`) {
				t.Errorf("document %q, %v", *document, err)
			}
			refused(t, w.put("c", `{"Statement":{}}`), "MalformedPolicyDocument: Syntax errors in policy. ")
			refused(t, w.put("c", strings.Replace(allowAll, `"Action"`, `"Principal":"*","Action"`, 1)), "MalformedPolicyDocument: leave Principal out")
			refused(t, w.put("big", bigPolicy(10_300)), "LimitExceeded: exceeded for "+w.word)
			_, err = w.get("c")
			refused(t, err, "NoSuchEntity: The "+w.word+" policy with name c cannot be found.")
			refused(t, w.drop("c"), "NoSuchEntity: c cannot be found")

			ok(w.attach(policy))
			ok(w.attach(policy)) // stays as it is
			ok(w.attach("arn:aws:iam::aws:policy/AdministratorAccess"))
			ok(w.limit(policy))
			if got := w.arns(); !slices.Equal(got, []string{policy, "arn:aws:iam::aws:policy/AdministratorAccess"}) {
				t.Errorf("attached %v", got)
			}
			p := must2(i.GetPolicy(ctx, &iamv1.GetPolicyRequest{PolicyArn: &policy}))(t).GetPolicy()
			if p.GetAttachmentCount() != 1 || p.GetPermissionsBoundaryUsageCount() != 1 {
				t.Errorf("policy %v", p)
			}
			p = must2(i.GetPolicy(ctx, &iamv1.GetPolicyRequest{PolicyArn: new("arn:aws:iam::aws:policy/AdministratorAccess")}))(t).GetPolicy()
			if p.GetAttachmentCount() != 1 {
				t.Errorf("policy %v", p)
			}
			used := must2(i.ListEntitiesForPolicy(ctx, &iamv1.ListEntitiesForPolicyRequest{PolicyArn: &policy, PolicyUsageFilter: new("PermissionsBoundary")}))(t)
			if len(used.GetPolicyUsers())+len(used.GetPolicyRoles()) != 1 {
				t.Errorf("used by %v", used)
			}
			_, err = i.DeletePolicy(ctx, &iamv1.DeletePolicyRequest{PolicyArn: &policy})
			refused(t, err, "DeleteConflict: Cannot delete a policy attached to entities.")
			refused(t, w.attach("arn:aws:iam::111122223333:policy/none"), "NoSuchEntity: Policy arn:aws:iam::111122223333:policy/none does not exist or is not attachable.")
			refused(t, w.attach("arn:aws:iam::444455556666:policy/read"), "NoSuchEntity: does not exist or is not attachable")

			refused(t, w.delete(), "DeleteConflict: must detach all policies first")
			ok(w.detach("arn:aws:iam::aws:policy/AdministratorAccess"))
			ok(w.detach(policy))
			refused(t, w.detach(policy), "NoSuchEntity: was not found")
			ok(w.unlimit())
			refused(t, w.unlimit(), "NoSuchEntity: does not have a permissions boundary")
			refused(t, w.delete(), "DeleteConflict: must delete policies first")
			ok(w.drop("a"))
			ok(w.drop("b"))

			ok(w.tag(&iamv1.Tag{Key: new("Team"), Value: new("a")}))
			ok(w.tag(&iamv1.Tag{Key: new("team"), Value: new("b")})) // the same key
			refused(t, w.tag(&iamv1.Tag{Key: new("x")}, &iamv1.Tag{Key: new("X")}), "InvalidInput: Duplicate tag keys")
			refused(t, w.tag(&iamv1.Tag{Key: new("aws:x")}), "InvalidInput: System tag keys")
			var many []*iamv1.Tag
			for n := range maxIAMTags {
				many = append(many, &iamv1.Tag{Key: new(fmt.Sprint(n)), Value: new("")})
			}
			refused(t, w.tag(many...), "LimitExceeded: The number of tags")
			if got := w.tags(); got[len(got)-1].GetKey() != "team" || got[len(got)-1].GetValue() != "b" {
				t.Errorf("tags %v", got)
			}
			ok(w.untag("TEAM", "k"))
			if got := w.tags(); len(got) != 0 {
				t.Errorf("tags %v", got)
			}
			ok(w.limit(policy))
			ok(w.delete()) // a boundary is in nobody's way
			refused(t, w.delete(), "NoSuchEntity: cannot be found")
		})
	}
	if _, err := i.DeletePolicy(ctx, &iamv1.DeletePolicyRequest{PolicyArn: &policy}); err != nil {
		t.Errorf("a policy that nobody uses: %v", err)
	}
}

func arnsOf(list []*iamv1.AttachedPolicy) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.GetPolicyArn())
	}
	return out
}

// bigPolicy is a policy of at least so many characters.
func bigPolicy(size int) string {
	var resources []string
	for n := 0; n*30 < size; n++ {
		resources = append(resources, fmt.Sprintf(`"arn:aws:execute-api:*:*:api%06d/*"`, n))
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"execute-api:Invoke","Resource":[` + strings.Join(resources, ",") + `]}]}`
}

// must2 is must for a call that is written in its place.
func must2[T any](answer T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		return must(t, answer, err)
	}
}

func TestPolicyVersions(t *testing.T) {
	i := newTestIAM(t)
	ctx := i.root(iamHome)
	arn := new(must2(i.CreatePolicy(ctx, &iamv1.CreatePolicyRequest{PolicyName: new("p"), Path: new("/x/"), PolicyDocument: new(allowAll), Description: new("d")}))(t).GetPolicy().GetArn())
	_, err := i.CreatePolicy(ctx, &iamv1.CreatePolicyRequest{PolicyName: new("P"), PolicyDocument: new(allowAll)})
	refused(t, err, "EntityAlreadyExists: A policy called P already exists. Duplicate names are not allowed.")
	_, err = i.CreatePolicy(ctx, &iamv1.CreatePolicyRequest{PolicyName: new("big"), PolicyDocument: new(bigPolicy(6_400))})
	refused(t, err, "LimitExceeded: Cannot exceed quota for PolicySize: 6144")
	for n := 2; n <= 5; n++ {
		made := must2(i.CreatePolicyVersion(ctx, &iamv1.CreatePolicyVersionRequest{PolicyArn: arn, PolicyDocument: new(denyAll), SetAsDefault: new(n == 3)}))(t).GetPolicyVersion()
		if made.GetVersionId() != fmt.Sprintf("v%d", n) || made.GetIsDefaultVersion() != (n == 3) {
			t.Errorf("made %v", made)
		}
	}
	_, err = i.CreatePolicyVersion(ctx, &iamv1.CreatePolicyVersionRequest{PolicyArn: arn, PolicyDocument: new(denyAll)})
	refused(t, err, "LimitExceeded: A managed policy can have up to 5 versions.")
	_, err = i.DeletePolicyVersion(ctx, &iamv1.DeletePolicyVersionRequest{PolicyArn: arn, VersionId: new("v3")})
	refused(t, err, "DeleteConflict: Cannot delete the default version of a policy.")
	i.must(i.DeletePolicyVersion(ctx, &iamv1.DeletePolicyVersionRequest{PolicyArn: arn, VersionId: new("v5")}))
	made := must2(i.CreatePolicyVersion(ctx, &iamv1.CreatePolicyVersionRequest{PolicyArn: arn, PolicyDocument: new(denyAll)}))(t).GetPolicyVersion()
	if made.GetVersionId() != "v6" {
		t.Errorf("the number of a deleted version is used again: %v", made)
	}
	var listed []string
	for marker := (*string)(nil); ; {
		answer := must2(i.ListPolicyVersions(ctx, &iamv1.ListPolicyVersionsRequest{PolicyArn: arn, MaxItems: new(int32(2)), Marker: marker}))(t)
		for _, v := range answer.GetVersions() {
			listed = append(listed, v.GetVersionId())
		}
		if !answer.GetIsTruncated() {
			break
		}
		marker = answer.Marker
	}
	if diff := cmp.Diff([]string{"v6", "v4", "v3", "v2", "v1"}, listed); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	i.must(i.SetDefaultPolicyVersion(ctx, &iamv1.SetDefaultPolicyVersionRequest{PolicyArn: arn, VersionId: new("v1")}))
	if got := identity.Document(identity.ManagedPolicy(i.cluster.store.View(), *arn)); got != allowAll {
		t.Errorf("the default is %s", got)
	}
	_, err = i.GetPolicyVersion(ctx, &iamv1.GetPolicyVersionRequest{PolicyArn: arn, VersionId: new("v5")})
	refused(t, err, "NoSuchEntity: version v5 does not exist or is not attachable")
	_, err = i.DeletePolicy(ctx, &iamv1.DeletePolicyRequest{PolicyArn: arn})
	refused(t, err, "DeleteConflict: This policy has more than one version.")
	_, err = i.DeletePolicyVersion(ctx, &iamv1.DeletePolicyVersionRequest{PolicyArn: new("arn:aws:iam::aws:policy/AdministratorAccess"), VersionId: new("v1")})
	refused(t, err, "AccessDenied: outside your own account")

	i.must(i.TagPolicy(ctx, &iamv1.TagPolicyRequest{PolicyArn: arn, Tags: []*iamv1.Tag{{Key: new("a"), Value: new("1")}, {Key: new("b"), Value: new("2")}}}))
	i.must(i.UntagPolicy(ctx, &iamv1.UntagPolicyRequest{PolicyArn: arn, TagKeys: []string{"A"}}))
	tags := must2(i.ListPolicyTags(ctx, &iamv1.ListPolicyTagsRequest{PolicyArn: arn}))(t).GetTags()
	if len(tags) != 1 || tags[0].GetKey() != "b" || tags[0].GetValue() != "2" {
		t.Errorf("tags %v", tags)
	}

	list := func(req *iamv1.ListPoliciesRequest) (names []string) {
		for _, p := range must2(i.ListPolicies(ctx, req))(t).GetPolicies() {
			names = append(names, p.GetPolicyName())
		}
		return names
	}
	if got := list(&iamv1.ListPoliciesRequest{Scope: new("Local")}); !slices.Equal(got, []string{"p"}) {
		t.Errorf("local policies %v", got)
	}
	if got := list(&iamv1.ListPoliciesRequest{}); len(got) != 1+len(identity.Provided()) {
		t.Errorf("all policies %v", got)
	}
	if got := list(&iamv1.ListPoliciesRequest{OnlyAttached: new(true)}); len(got) != 0 {
		t.Errorf("attached policies %v", got)
	}
}

func (i *testIAM) must(answer proto.Message, err error) proto.Message {
	i.Helper()
	return must(i.T, answer, err)
}

func TestAccessKeys(t *testing.T) {
	i := newTestIAM(t)
	first := i.user(iamHome, "alice", "")
	ctx := i.with(first)
	// Without a name a request is about the caller.
	second := must2(i.CreateAccessKey(ctx, &iamv1.CreateAccessKeyRequest{}))(t).GetAccessKey()
	if second.GetUserName() != "alice" || len(second.GetAccessKeyId()) != 20 || len(second.GetSecretAccessKey()) != 40 || second.GetStatus() != "Active" {
		t.Errorf("made %v", second)
	}
	_, err := i.CreateAccessKey(ctx, &iamv1.CreateAccessKeyRequest{})
	refused(t, err, "LimitExceeded: Cannot exceed quota for AccessKeysPerUser: 2")
	k := i.cluster.store.View().Get(identity.AccessKeyKey(second.GetAccessKeyId())).GetAccessKey()
	if got, err := identity.Open(i.keyring, iamHome, k.GetId(), k.GetSecret()); err != nil || got != second.GetSecretAccessKey() {
		t.Errorf("the record's secret is %q, %v", got, err)
	}
	i.must(i.UpdateAccessKey(ctx, &iamv1.UpdateAccessKeyRequest{UserName: new("alice"), AccessKeyId: second.AccessKeyId, Status: new("Inactive")}))
	if _, status := identity.Find(i.cluster.store.View(), second.GetAccessKeyId(), i.now); status != identity.Inactive {
		t.Errorf("status %v", status)
	}
	listed := must2(i.ListAccessKeys(ctx, &iamv1.ListAccessKeysRequest{}))(t).GetAccessKeyMetadata()
	states := map[string]string{}
	for _, m := range listed {
		states[m.GetAccessKeyId()] = m.GetStatus()
	}
	if diff := cmp.Diff(map[string]string{first: "Active", second.GetAccessKeyId(): "Inactive"}, states); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// Renamed, he keeps his keys.
	root := i.root(iamHome)
	i.must(i.UpdateUser(root, &iamv1.UpdateUserRequest{UserName: new("alice"), NewUserName: new("carol"), NewPath: new("/new/")}))
	if who := must2(i.sts.GetCallerIdentity(i.with(first), nil))(t); who.GetArn() != "arn:aws:iam::111122223333:user/new/carol" {
		t.Errorf("the key is that of %v", who)
	}
	bob := i.user(iamHome, "bob", "")
	_, err = i.DeleteAccessKey(root, &iamv1.DeleteAccessKeyRequest{UserName: new("carol"), AccessKeyId: &bob})
	refused(t, err, "NoSuchEntity: The Access Key with id "+bob+" cannot be found.")
	_, err = i.UpdateUser(root, &iamv1.UpdateUserRequest{UserName: new("carol"), NewUserName: new("Bob")})
	refused(t, err, "EntityAlreadyExists: User with name Bob already exists.")
	_, err = i.DeleteUser(root, &iamv1.DeleteUserRequest{UserName: new("carol")})
	refused(t, err, "DeleteConflict: must remove access keys first")
	for _, id := range []string{first, second.GetAccessKeyId()} {
		i.must(i.DeleteAccessKey(root, &iamv1.DeleteAccessKeyRequest{UserName: new("carol"), AccessKeyId: &id}))
		if h, _ := identity.Find(i.cluster.store.View(), id, i.now); h != nil {
			t.Errorf("a deleted key is that of %s", h.ARN())
		}
	}
	// The root user has keys of his own.
	rootKey := must2(i.CreateAccessKey(root, &iamv1.CreateAccessKeyRequest{}))(t).GetAccessKey()
	if who := must2(i.sts.GetCallerIdentity(i.with(rootKey.GetAccessKeyId()), nil))(t); who.GetArn() != "arn:aws:iam::111122223333:root" || who.GetUserId() != iamHome || rootKey.UserName != nil {
		t.Errorf("the key %v is that of %v", rootKey.GetAccessKeyId(), who)
	}
	if u := must2(i.GetUser(i.with(rootKey.GetAccessKeyId()), &iamv1.GetUserRequest{}))(t).GetUser(); u.UserName != nil || u.GetArn() != "arn:aws:iam::111122223333:root" {
		t.Errorf("the root user is %v", u)
	}
}

// A rival commits between a request's decision and its commit: the request is
// decided again.
func TestRivals(t *testing.T) {
	alice := new("alice")
	arn := new("arn:aws:iam::111122223333:policy/p")
	for _, tt := range []struct {
		name           string
		request, rival func(i *testIAM, ctx context.Context) error
		want           string
	}{
		{
			"the second key twice",
			func(i *testIAM, ctx context.Context) error {
				_, err := i.CreateAccessKey(ctx, &iamv1.CreateAccessKeyRequest{UserName: alice})
				return err
			},
			func(i *testIAM, ctx context.Context) error {
				_, err := i.CreateAccessKey(ctx, &iamv1.CreateAccessKeyRequest{UserName: alice})
				return err
			},
			"LimitExceeded: AccessKeysPerUser",
		},
		{
			"a deleted policy is attached",
			func(i *testIAM, ctx context.Context) error {
				_, err := i.AttachUserPolicy(ctx, &iamv1.AttachUserPolicyRequest{UserName: alice, PolicyArn: arn})
				return err
			},
			func(i *testIAM, ctx context.Context) error {
				_, err := i.DeletePolicy(ctx, &iamv1.DeletePolicyRequest{PolicyArn: arn})
				return err
			},
			"NoSuchEntity: does not exist or is not attachable",
		},
		{
			"an attached policy is deleted",
			func(i *testIAM, ctx context.Context) error {
				_, err := i.DeletePolicy(ctx, &iamv1.DeletePolicyRequest{PolicyArn: arn})
				return err
			},
			func(i *testIAM, ctx context.Context) error {
				_, err := i.PutUserPermissionsBoundary(ctx, &iamv1.PutUserPermissionsBoundaryRequest{UserName: alice, PermissionsBoundary: arn})
				return err
			},
			"DeleteConflict: attached to entities",
		},
		{
			"a user who gets a policy is deleted",
			func(i *testIAM, ctx context.Context) error {
				for r := range i.cluster.store.View().All(statev1.Type_TYPE_ACCESS_KEY) {
					id := r.GetAccessKey().GetId()
					i.must(i.DeleteAccessKey(ctx, &iamv1.DeleteAccessKeyRequest{UserName: alice, AccessKeyId: &id}))
				}
				_, err := i.DeleteUser(ctx, &iamv1.DeleteUserRequest{UserName: alice})
				return err
			},
			func(i *testIAM, ctx context.Context) error {
				_, err := i.AttachUserPolicy(ctx, &iamv1.AttachUserPolicyRequest{UserName: alice, PolicyArn: arn})
				return err
			},
			"DeleteConflict: must detach all policies first",
		},
		{
			"the alias of another",
			func(i *testIAM, ctx context.Context) error {
				_, err := i.CreateAccountAlias(ctx, &iamv1.CreateAccountAliasRequest{AccountAlias: new("one")})
				return err
			},
			func(i *testIAM, ctx context.Context) error {
				_, err := i.CreateAccountAlias(i.root(iamOther), &iamv1.CreateAccountAliasRequest{AccountAlias: new("one")})
				return err
			},
			"EntityAlreadyExists: account alias one",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := newTestIAM(t)
			ctx := i.root(iamHome)
			i.user(iamHome, "alice", "")
			i.must(i.CreatePolicy(ctx, &iamv1.CreatePolicyRequest{PolicyName: new("p"), PolicyDocument: new(allowAll)}))
			// A service of its own: writers of one wait for each other.
			rival := *i
			rival.IAMServer = NewIAM(Config{Cluster: i.cluster, Keyring: i.keyring, Now: func() time.Time { return i.now }})
			i.cluster.before = func() {
				i.cluster.before = nil
				if err := tt.rival(&rival, ctx); err != nil {
					t.Errorf("the rival: %v", err)
				}
			}
			refused(t, tt.request(i, ctx), tt.want)
		})
	}
}

func TestAnotherSealingKeyIsNoticed(t *testing.T) {
	i := newTestIAM(t)
	i.user(iamHome, "alice", "")
	stranger := NewIAM(Config{Cluster: i.cluster, Keyring: newKeyring(t)})
	_, err := stranger.CreateAccessKey(i.root(iamHome), &iamv1.CreateAccessKeyRequest{})
	if !errors.Is(err, pki.ErrSealed) || !strings.Contains(err.Error(), "copy pki/sealing.key") {
		t.Errorf("got %v", err)
	}
	if _, err := NewIAM(Config{Cluster: i.cluster}).CreateAccessKey(i.root(iamHome), &iamv1.CreateAccessKeyRequest{}); err == nil {
		t.Error("a key was made that nobody sealed")
	}
}

func TestAccountAlias(t *testing.T) {
	i := newTestIAM(t)
	ctx := i.root(iamHome)
	i.must(i.CreateAccountAlias(ctx, &iamv1.CreateAccountAliasRequest{AccountAlias: new("one")}))
	_, err := i.CreateAccountAlias(i.root(iamOther), &iamv1.CreateAccountAliasRequest{AccountAlias: new("one")})
	refused(t, err, "EntityAlreadyExists: The account alias one already exists.")
	i.must(i.CreateAccountAlias(ctx, &iamv1.CreateAccountAliasRequest{AccountAlias: new("two")}))
	i.must(i.CreateAccountAlias(i.root(iamOther), &iamv1.CreateAccountAliasRequest{AccountAlias: new("one")}))
	if got := must2(i.ListAccountAliases(ctx, &iamv1.ListAccountAliasesRequest{}))(t).GetAccountAliases(); !slices.Equal(got, []string{"two"}) {
		t.Errorf("aliases %v", got)
	}
	_, err = i.DeleteAccountAlias(ctx, &iamv1.DeleteAccountAliasRequest{AccountAlias: new("one")})
	refused(t, err, "NoSuchEntity: The account alias one cannot be found.")
	i.must(i.DeleteAccountAlias(ctx, &iamv1.DeleteAccountAliasRequest{AccountAlias: new("two")}))
	if r := i.cluster.store.View().Get(identity.AliasKey("two")); r != nil {
		t.Errorf("left over: %v", r)
	}
}

func TestCreateAccount(t *testing.T) {
	i := newTestIAM(t)
	a := NewAdmin(AdminConfig{Config: Config{Cluster: i.cluster, Keyring: i.keyring, Now: func() time.Time { return i.now }}})
	ctx := i.Context()
	made := must2(a.CreateAccount(ctx, &adminv1.CreateAccountRequest{Alias: "team-a"}))(t)
	id := made.GetAccount().GetId()
	if !accountText.MatchString(id) || made.GetAccount().GetAlias() != "team-a" {
		t.Errorf("made %v", made.GetAccount())
	}
	if who := must2(i.sts.GetCallerIdentity(i.with(made.GetAccessKeyId()), nil))(t); who.GetArn() != "arn:aws:iam::"+id+":root" {
		t.Errorf("the key is that of %v", who)
	}
	_, err := a.CreateAccount(ctx, &adminv1.CreateAccountRequest{Id: id})
	refused(t, err, "EntityAlreadyExists: has a root access key already, "+made.GetAccessKeyId())
	_, err = a.CreateAccount(ctx, &adminv1.CreateAccountRequest{Alias: "team-a"})
	refused(t, err, "EntityAlreadyExists: The account alias team-a already exists.")
	for _, bad := range []*adminv1.CreateAccountRequest{{Id: "12345"}, {Alias: "A"}, {Alias: "a--b"}, {Alias: strings.Repeat("a", 64)}} {
		if _, err := a.CreateAccount(ctx, bad); apierr.FromGRPC(err).Kind != apierr.KindInvalid {
			t.Errorf("%v: %v", bad, err)
		}
	}
	// One that has users has no key of its root user yet, and keeps its alias.
	i.must(i.CreateAccountAlias(i.root(iamHome), &iamv1.CreateAccountAliasRequest{AccountAlias: new("home")}))
	i.user(iamHome, "alice", "")
	if got := must2(a.CreateAccount(ctx, &adminv1.CreateAccountRequest{Id: iamHome}))(t).GetAccount(); got.GetAlias() != "home" {
		t.Errorf("made %v", got)
	}
	i.role(iamOther, "r", trustHome)
	want := []*adminv1.Account{
		{Id: iamHome, Alias: "home", CreatedAt: i.now.Unix(), RootAccessKeys: 1, Users: 1}, {Id: iamOther, Roles: 1},
		{Id: id, Alias: "team-a", CreatedAt: i.now.Unix(), RootAccessKeys: 1},
	}
	slices.SortFunc(want, func(x, y *adminv1.Account) int { return strings.Compare(x.GetId(), y.GetId()) })
	if diff := protoDiff(&adminv1.ListAccountsResponse{Accounts: want}, must2(a.ListAccounts(ctx, nil))(t)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestListsArePaged(t *testing.T) {
	i := newTestIAM(t)
	ctx := i.root(iamHome)
	for n := range 7 {
		i.must(i.CreateUser(ctx, &iamv1.CreateUserRequest{UserName: new(fmt.Sprintf("u%d", n)), Path: new([]string{"/", "/a/"}[n%2])}))
	}
	var names []string
	pages := 0
	for marker := (*string)(nil); ; pages++ {
		answer := must2(i.ListUsers(ctx, &iamv1.ListUsersRequest{MaxItems: new(int32(3)), Marker: marker}))(t)
		for _, u := range answer.GetUsers() {
			names = append(names, u.GetUserName())
		}
		if marker = answer.Marker; marker == nil {
			break
		}
	}
	if diff := cmp.Diff([]string{"u0", "u1", "u2", "u3", "u4", "u5", "u6"}, names); diff != "" || pages != 2 {
		t.Errorf("%d pages (-want +got)\n%s", pages+1, diff)
	}
	if got := must2(i.ListUsers(ctx, &iamv1.ListUsersRequest{PathPrefix: new("/a")}))(t).GetUsers(); len(got) != 3 {
		t.Errorf("below /a: %v", got)
	}
}

// A secret is in no record but sealed, and in no event of the audit.
func TestSecretsAreNowhereInTheClear(t *testing.T) {
	i := newTestIAM(t)
	alice := i.user(iamHome, "alice", allowAll)
	secrets := []string{must2(i.CreateAccessKey(i.with(alice), &iamv1.CreateAccessKeyRequest{}))(t).GetAccessKey().GetSecretAccessKey()}
	assumed := must2(i.sts.AssumeRole(i.with(alice), &stsv1.AssumeRoleRequest{RoleArn: new(i.role(iamHome, "r", trustHome)), RoleSessionName: new("s1")}))(t).GetCredentials()
	secrets = append(secrets, assumed.GetSecretAccessKey(), assumed.GetSessionToken())
	records := 0
	for r := range i.cluster.store.View().Records() {
		records++
		b, err := proto.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets {
			if len(s) < 40 || strings.Contains(string(b), s) || strings.Contains(fmt.Sprint(r), s) {
				t.Errorf("secret %q in %v", s, r.GetKey())
			}
		}
	}
	// Nor are they in a raft snapshot, which names the keys.
	var snapshot bytes.Buffer
	if err := fsm.Write(&snapshot, i.cluster.store.View()); err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets {
		if strings.Contains(snapshot.String(), s) {
			t.Errorf("secret %q in the raft snapshot", s)
		}
	}
	if !strings.Contains(snapshot.String(), assumed.GetAccessKeyId()) {
		t.Error("the raft snapshot has no session")
	}
	if records < 5 || i.cluster.store.View().Get(identity.SessionKey(assumed.GetAccessKeyId())).GetSession() == nil {
		t.Errorf("%d records were looked at", records)
	}
}
