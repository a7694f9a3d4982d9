package service

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/dataplane/policy"
	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	stsv1 "github.com/posternhq/postern/proto/postern/sts/v1"
)

func TestGetCallerIdentity(t *testing.T) {
	i := newTestIAM(t)
	who := must2(i.sts.GetCallerIdentity(i.root("222222222222"), nil))(t)
	if who.GetAccount() != "222222222222" || who.GetArn() != "arn:aws:iam::222222222222:root" || who.GetUserId() != "222222222222" {
		t.Errorf("without a key: %v", who)
	}
	who = must2(i.sts.GetCallerIdentity(i.with(i.user(iamHome, "alice", "")), nil))(t)
	if who.GetAccount() != iamHome || who.GetArn() != "arn:aws:iam::111122223333:user/alice" || !strings.HasPrefix(who.GetUserId(), "AIDA") {
		t.Errorf("a user: %v", who)
	}
}

func statement(effect, action, resource string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,"Action":%q,"Resource":%q}]}`, effect, action, resource)
}

func trust(principal, action, condition string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":%q},"Action":%q%s}]}`, principal, action, condition)
}

// Who may assume a role: the trust policy always has a say, the caller's own
// policies where it does not name him, or is of another account.
func TestAssumeRoleIsDecided(t *testing.T) {
	const (
		alice    = "arn:aws:iam::111122223333:user/alice"
		may      = `sts:AssumeRole`
		denial   = "AccessDenied: User: arn:aws:iam::111122223333:user/alice is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::%s:role/r"
		tagging  = "AccessDenied: is not authorized to perform: sts:TagSession on resource"
		identify = "AccessDenied: is not authorized to perform: sts:SetSourceIdentity on resource"
	)
	allow := statement("Allow", may, "*")
	deny := statement("Deny", may, "*")
	for _, tt := range []struct {
		name, account, trust, own, boundary string
		change                              func(*stsv1.AssumeRoleRequest)
		want                                string // "": allowed
	}{
		{name: "named, same account", account: iamHome, trust: trust(alice, may, "")},
		{name: "named, and a boundary is silent", account: iamHome, trust: trust(alice, may, ""), boundary: statement("Allow", "ec2:*", "*")},
		{name: "named, and denied by himself", account: iamHome, trust: trust(alice, may, ""), own: deny, want: denial + " with an explicit deny in an identity-based policy"},
		{name: "account, no own policy", account: iamHome, trust: trust(iamHome, may, ""), want: denial},
		{name: "account and own policy", account: iamHome, trust: trust(iamHome, may, ""), own: allow},
		{name: "account and own policy for the role", account: iamHome, trust: trust(iamHome, may, ""), own: statement("Allow", may, "arn:aws:iam::111122223333:role/r")},
		{name: "account and own policy for another", account: iamHome, trust: trust(iamHome, may, ""), own: statement("Allow", may, "arn:aws:iam::111122223333:role/x"), want: denial},
		{name: "account, own policy, silent boundary", account: iamHome, trust: trust(iamHome, may, ""), own: allow, boundary: statement("Allow", "ec2:*", "*"), want: denial},
		{name: "account, own policy, denying boundary", account: iamHome, trust: trust(iamHome, may, ""), own: allow, boundary: deny, want: denial + " with an explicit deny in a permissions boundary"},
		{name: "own policy alone", account: iamHome, trust: trust("arn:aws:iam::111122223333:user/bob", may, ""), own: allow, want: denial},
		{name: "trust denies", account: iamHome, trust: strings.Replace(trust(alice, may, ""), "Allow", "Deny", 1), own: allow, want: denial + " with an explicit deny in the role trust policy"},
		{name: "other account, both", account: iamOther, trust: trust(iamHome, may, ""), own: allow},
		{name: "other account, named only", account: iamOther, trust: trust(alice, may, ""), want: denial},
		{name: "other account, own policy only", account: iamOther, trust: trust(iamOther, may, ""), own: allow, want: denial},
		{name: "external id", account: iamOther, trust: trust(alice, may, `,"Condition":{"StringEquals":{"sts:ExternalId":"42"}}`), own: allow, change: func(r *stsv1.AssumeRoleRequest) { r.ExternalId = new("42") }},
		{name: "no external id", account: iamOther, trust: trust(alice, may, `,"Condition":{"StringEquals":{"sts:ExternalId":"42"}}`), own: allow, want: denial},
		{name: "session name", account: iamHome, trust: trust(alice, may, `,"Condition":{"StringLike":{"sts:RoleSessionName":"${aws:username}"}}`), want: denial},
		{name: "session name as it should be", account: iamHome, trust: trust(alice, may, `,"Condition":{"StringLike":{"sts:RoleSessionName":"${aws:username}"}}`), change: func(r *stsv1.AssumeRoleRequest) { r.RoleSessionName = new("alice") }},
		{name: "from an address", account: iamHome, trust: trust(alice, may, `,"Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`)},
		{name: "from elsewhere", account: iamHome, trust: trust(alice, may, `,"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), want: denial},
		{name: "tags without the right", account: iamHome, trust: trust(alice, may, ""), change: func(r *stsv1.AssumeRoleRequest) { r.Tags = []*stsv1.Tag{{Key: new("k"), Value: new("v")}} }, want: tagging},
		{name: "tags with the right", account: iamHome, trust: trust(alice, "sts:*", `,"Condition":{"StringEqualsIfExists":{"aws:RequestTag/k":"v"}}`), change: func(r *stsv1.AssumeRoleRequest) { r.Tags = []*stsv1.Tag{{Key: new("k"), Value: new("v")}} }},
		{name: "source identity without the right", account: iamHome, trust: trust(alice, may, ""), change: func(r *stsv1.AssumeRoleRequest) { r.SourceIdentity = new("me") }, want: identify},
		{name: "source identity with the right", account: iamHome, trust: trust(alice, "sts:*", ""), change: func(r *stsv1.AssumeRoleRequest) { r.SourceIdentity = new("me") }},
		{name: "no such role", account: iamHome, trust: trust(alice, may, ""), change: func(r *stsv1.AssumeRoleRequest) { r.RoleArn = new("arn:aws:iam::111122223333:role/none") }, want: "AccessDenied: sts:AssumeRole on resource: arn:aws:iam::111122223333:role/none"},
		{name: "wrong path", account: iamHome, trust: trust(alice, may, ""), change: func(r *stsv1.AssumeRoleRequest) { r.RoleArn = new("arn:aws:iam::111122223333:role/x/r") }, want: "AccessDenied: sts:AssumeRole"},
		{name: "no role at all", account: iamHome, trust: trust(alice, may, ""), change: func(r *stsv1.AssumeRoleRequest) { r.RoleArn = new("arn:aws:iam::111122223333:user/r") }, want: "ValidationError: is invalid"},
		{name: "longer than the role says", account: iamHome, trust: trust(alice, may, ""), change: func(r *stsv1.AssumeRoleRequest) { r.DurationSeconds = new(int32(3601)) }, want: "ValidationError: exceeds the MaxSessionDuration set for this role"},
		{name: "session policy that is none", account: iamHome, trust: trust(alice, may, ""), change: func(r *stsv1.AssumeRoleRequest) { r.Policy = new("{}") }, want: "MalformedPolicyDocument: Syntax errors in policy."},
		{name: "session policy of another account", account: iamHome, trust: trust(alice, may, ""), change: func(r *stsv1.AssumeRoleRequest) {
			r.PolicyArns = []*stsv1.PolicyDescriptorType{{Arn: new("arn:aws:iam::444455556666:policy/p")}}
		}, want: "ValidationError: does not exist"},
		{name: "transitive key without its tag", account: iamHome, trust: trust(alice, "sts:*", ""), change: func(r *stsv1.AssumeRoleRequest) { r.TransitiveTagKeys = []string{"k"} }, want: "InvalidParameterValue: must be included"},
		{name: "a tag twice", account: iamHome, trust: trust(alice, "sts:*", ""), change: func(r *stsv1.AssumeRoleRequest) { r.Tags = []*stsv1.Tag{{Key: new("k")}, {Key: new("K")}} }, want: "InvalidParameterValue: Duplicate tag keys"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := newTestIAM(t)
			key := i.user(iamHome, "alice", tt.own)
			if tt.boundary != "" {
				ctx := i.root(iamHome)
				p := must2(i.CreatePolicy(ctx, &iamv1.CreatePolicyRequest{PolicyName: new("b"), PolicyDocument: new(tt.boundary)}))(t).GetPolicy()
				i.must(i.PutUserPermissionsBoundary(ctx, &iamv1.PutUserPermissionsBoundaryRequest{UserName: new("alice"), PermissionsBoundary: p.Arn}))
			}
			req := &stsv1.AssumeRoleRequest{RoleArn: new(i.role(tt.account, "r", tt.trust)), RoleSessionName: new("s1")}
			if tt.change != nil {
				tt.change(req)
			}
			answer, err := i.sts.AssumeRole(i.with(key), req)
			if tt.want != "" {
				if strings.Contains(tt.want, "%s") {
					tt.want = fmt.Sprintf(tt.want, tt.account)
					// To the letter: nothing may follow.
					_, words, _ := strings.Cut(tt.want, ": ")
					if err == nil || !strings.HasSuffix(err.Error(), words) {
						t.Errorf("got %v, want %s", err, words)
					}
				}
				refused(t, err, tt.want)
				return
			}
			made := must(t, answer, err)
			who := must2(i.sts.GetCallerIdentity(i.with(made.GetCredentials().GetAccessKeyId()), nil))(t)
			if want := "arn:aws:sts::" + tt.account + ":assumed-role/r/" + req.GetRoleSessionName(); who.GetArn() != want || made.GetAssumedRoleUser().GetArn() != want {
				t.Errorf("session %s, %s, want %s", who.GetArn(), made.GetAssumedRoleUser().GetArn(), want)
			}
			if !strings.HasPrefix(who.GetUserId(), "AROA") || !strings.HasSuffix(who.GetUserId(), ":"+req.GetRoleSessionName()) || who.GetUserId() != made.GetAssumedRoleUser().GetAssumedRoleId() {
				t.Errorf("user id %s, %s", who.GetUserId(), made.GetAssumedRoleUser().GetAssumedRoleId())
			}
		})
	}
	i := newTestIAM(t)
	_, err := i.sts.AssumeRole(i.root(iamHome), &stsv1.AssumeRoleRequest{RoleArn: new(i.role(iamHome, "r", trustHome)), RoleSessionName: new("s1")})
	refused(t, err, "AccessDenied: Roles may not be assumed by root accounts.")
}

// A role that assumes another one hands on its transitive tags and its source
// identity, for an hour at most; a session policy limits what it may do.
func TestRoleChaining(t *testing.T) {
	i := newTestIAM(t)
	ctx := i.root(iamHome)
	alice := i.user(iamHome, "alice", allowAll)
	first, second := i.role(iamHome, "first", trustHome), i.role(iamHome, "second", trustHome)
	i.must(i.PutRolePolicy(ctx, &iamv1.PutRolePolicyRequest{RoleName: new("first"), PolicyName: new("p"), PolicyDocument: new(allowAll)}))
	for _, r := range []string{"first", "second"} {
		i.must(i.UpdateRole(ctx, &iamv1.UpdateRoleRequest{RoleName: &r, MaxSessionDuration: new(int32(7200))}))
	}
	one := must2(i.sts.AssumeRole(i.with(alice), &stsv1.AssumeRoleRequest{
		RoleArn: &first, RoleSessionName: new("s1"), DurationSeconds: new(int32(7200)), SourceIdentity: new("alice"), TransitiveTagKeys: []string{"team"},
		Tags: []*stsv1.Tag{{Key: new("team"), Value: new("a")}, {Key: new("env"), Value: new("test")}},
	}))(t)
	asFirst := i.with(one.GetCredentials().GetAccessKeyId())
	h, _ := identity.Find(i.cluster.store.View(), one.GetCredentials().GetAccessKeyId(), i.now)
	if diff := cmp.Diff(map[string]string{"team": "a", "env": "test"}, h.Principal().Tags); diff != "" {
		t.Errorf("tags of the first session (-want +got)\n%s", diff)
	}
	if !identity.TokenIs(h.Session, one.GetCredentials().GetSessionToken()) || identity.TokenIs(h.Session, "another") {
		t.Error("the session's token is not told from another")
	}

	ask := func(change func(*stsv1.AssumeRoleRequest)) (*stsv1.AssumeRoleResponse, error) {
		req := &stsv1.AssumeRoleRequest{RoleArn: &second, RoleSessionName: new("s2")}
		change(req)
		return i.sts.AssumeRole(asFirst, req)
	}
	_, err := ask(func(r *stsv1.AssumeRoleRequest) { r.DurationSeconds = new(int32(3601)) })
	refused(t, err, "ValidationError: 1 hour session limit for roles assumed by role chaining")
	_, err = ask(func(r *stsv1.AssumeRoleRequest) { r.Tags = []*stsv1.Tag{{Key: new("Team"), Value: new("b")}} })
	refused(t, err, "InvalidParameterValue: conflicts with a transitive tag key")
	_, err = ask(func(r *stsv1.AssumeRoleRequest) { r.SourceIdentity = new("bob") })
	refused(t, err, "AccessDenied: sts:SetSourceIdentity")
	two := must2(ask(func(r *stsv1.AssumeRoleRequest) { r.Policy = new(statement("Allow", "execute-api:Invoke", "*")) }))(t)
	if two.GetSourceIdentity() != "alice" {
		t.Errorf("source identity %q", two.GetSourceIdentity())
	}
	h, _ = identity.Find(i.cluster.store.View(), two.GetCredentials().GetAccessKeyId(), i.now)
	if diff := cmp.Diff(map[string]string{"team": "a"}, h.Principal().Tags); diff != "" {
		t.Errorf("tags of the second session (-want +got)\n%s", diff)
	}
	for action, want := range map[string]policy.Effect{"execute-api:Invoke": policy.Allow, "ec2:CreateVpc": policy.Silent} {
		if got := h.Verdicts(i.cluster.store.View(), &policy.Request{Action: action, Resource: []byte("*")}).Session; !got.Attached || got.Effect != want {
			t.Errorf("session policy about %s: %v, want %v", action, got, want)
		}
	}
	// The session's policy limits what may be assumed next, too.
	limited := must2(i.sts.AssumeRole(i.with(alice), &stsv1.AssumeRoleRequest{RoleArn: &first, RoleSessionName: new("s3"), Policy: new(statement("Allow", "ec2:*", "*"))}))(t)
	_, err = i.sts.AssumeRole(i.with(limited.GetCredentials().GetAccessKeyId()), &stsv1.AssumeRoleRequest{RoleArn: &second, RoleSessionName: new("s4")})
	refused(t, err, "AccessDenied: assumed-role/first/s3 is not authorized to perform: sts:AssumeRole")

	// With its role the session is gone, even if a role of that name comes back.
	i.must(i.DeleteRole(ctx, &iamv1.DeleteRoleRequest{RoleName: new("second")}))
	i.role(iamHome, "second", trustHome)
	if h, status := identity.Find(i.cluster.store.View(), two.GetCredentials().GetAccessKeyId(), i.now); h != nil || status != identity.Unknown {
		t.Errorf("the session of a deleted role is %v", status)
	}
}

func TestGetSessionToken(t *testing.T) {
	i := newTestIAM(t)
	alice := i.user(iamHome, "alice", "")
	ends := func(c *stsv1.Credentials) time.Duration {
		end, err := time.Parse(time.RFC3339, c.GetExpiration())
		if err != nil {
			t.Fatal(err)
		}
		return end.Sub(i.now)
	}
	mine := must2(i.sts.GetSessionToken(i.with(alice), &stsv1.GetSessionTokenRequest{}))(t).GetCredentials()
	if got := ends(mine); got != 12*time.Hour {
		t.Errorf("ends after %v", got)
	}
	who := must2(i.sts.GetCallerIdentity(i.with(mine.GetAccessKeyId()), nil))(t)
	if who.GetArn() != "arn:aws:iam::111122223333:user/alice" {
		t.Errorf("the session is that of %v", who)
	}
	_, err := i.sts.GetSessionToken(i.with(mine.GetAccessKeyId()), &stsv1.GetSessionTokenRequest{})
	refused(t, err, "AccessDenied: Cannot call GetSessionToken with session credentials")
	roots := must2(i.sts.GetSessionToken(i.root(iamHome), &stsv1.GetSessionTokenRequest{DurationSeconds: new(int32(7200))}))(t).GetCredentials()
	if got := ends(roots); got != time.Hour {
		t.Errorf("the root user's ends after %v", got)
	}
}

// Sessions leave the state an hour after their end, the oldest first and a
// bounded number a write.
func TestOldSessionsLeave(t *testing.T) {
	i := newTestIAM(t)
	begin := func(seconds int32) string {
		return must2(i.sts.GetSessionToken(i.root(iamHome), &stsv1.GetSessionTokenRequest{DurationSeconds: &seconds}))(t).GetCredentials().GetAccessKeyId()
	}
	count := func() (n int) {
		last := ""
		for r := range i.cluster.store.View().All(statev1.Type_TYPE_SESSION) {
			n++
			if id := r.GetSession().GetId(); id <= last {
				t.Errorf("%s after %s", id, last)
			} else {
				last = id
			}
		}
		return n
	}
	for range maxReaped + 10 {
		begin(900)
	}
	long := begin(3600)
	i.now = i.now.Add(15*time.Minute + sessionKept - time.Second)
	begin(900)
	if got := count(); got != maxReaped+12 {
		t.Errorf("%d sessions, none should have left", got)
	}
	i.now = i.now.Add(time.Second)
	begin(900)
	if got := count(); got != 10+3 {
		t.Errorf("%d sessions, want the ten that one write may not delete and three more", got)
	}
	begin(900)
	if got := count(); got != 4 {
		t.Errorf("%d sessions are left", got)
	}
	if _, status := identity.Find(i.cluster.store.View(), long, i.now); status != identity.Expired {
		t.Errorf("one that ended within the hour is %v", status)
	}
}

func TestTimeTextIsOrdered(t *testing.T) {
	last := ""
	for _, seconds := range []int64{0, 1, 31, 32, 1_700_000_000, 1_700_000_001, 1_700_000_032, 4_000_000_000, 1<<35 - 1} {
		if text := timeText(seconds); text <= last || len(text) != 7 {
			t.Errorf("%d is %q, after %q", seconds, text, last)
		} else {
			last = text
		}
	}
}
