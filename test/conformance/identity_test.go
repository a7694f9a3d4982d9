package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

const (
	invokeAll = `{"Version":"2012-10-17","Statement":[{"Sid":"All","Effect":"Allow","Action":"execute-api:Invoke","Resource":"arn:aws:execute-api:*:*:*"}]}`
	assumeAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}`
)

func trusting(account string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":"sts:AssumeRole"}]}`
}

// using is a command line's beginning that uses other credentials.
func using(key, secret, token string) string {
	line := "export AWS_ACCESS_KEY_ID=" + key + " AWS_SECRET_ACCESS_KEY=" + secret
	if token != "" {
		line += " AWS_SESSION_TOKEN=" + token
	}
	return line + "; "
}

func part[T any](t *testing.T, out map[string]any, path ...string) T {
	t.Helper()
	var at any = out
	for _, name := range path {
		m, ok := at.(map[string]any)
		if !ok {
			t.Fatalf("no %s in %v", strings.Join(path, "."), out)
		}
		at = m[name]
	}
	value, ok := at.(T)
	if !ok {
		t.Fatalf("%s is %v", strings.Join(path, "."), at)
	}
	return value
}

// A user gets a key and a policy, assumes a role of another account with them,
// and is who he is with each of his credentials: all by the AWS CLI.
func TestIdentitiesByCLI(t *testing.T) {
	t.Parallel()
	home, other := account(), account()
	c := newCLI(t, cluster(t).API, home, "us-east-1")
	user := c.run(`aws iam create-user --user-name alice --path /team/ --tags Key=team,Value=a`)
	if got, want := part[string](t, user, "User", "Arn"), "arn:aws:iam::"+home+":user/team/alice"; got != want {
		t.Errorf("made %s, want %s", got, want)
	}
	if !isTime(part[string](t, user, "User", "CreateDate")) {
		t.Errorf("made %v", user)
	}
	c.silent(`aws iam wait user-exists --user-name alice`)
	c.silent(`aws iam put-user-policy --user-name alice --policy-name assume --policy-document '` + assumeAll + `'`)
	// The CLI decodes documents and shows them as JSON.
	shown := c.run(`aws iam get-user-policy --user-name alice --policy-name assume`)
	var want any
	if err := json.Unmarshal([]byte(assumeAll), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, part[any](t, shown, "PolicyDocument")); diff != "" {
		t.Errorf("document (-want +got)\n%s", diff)
	}
	if names := c.run(`aws iam list-user-policies --user-name alice`); cmp.Diff([]any{"assume"}, names["PolicyNames"]) != "" {
		t.Errorf("inline policies %v", names)
	}

	key := c.run(`aws iam create-access-key --user-name alice`)
	alice := using(part[string](t, key, "AccessKey", "AccessKeyId"), part[string](t, key, "AccessKey", "SecretAccessKey"), "")
	who := c.run(alice + `aws sts get-caller-identity`)
	if who["Arn"] != "arn:aws:iam::"+home+":user/team/alice" || who["Account"] != home || who["UserId"] != part[string](t, user, "User", "UserId") {
		t.Errorf("alice's key is that of %v", who)
	}
	if me := c.run(alice + `aws iam get-user`); part[string](t, me, "User", "UserName") != "alice" {
		t.Errorf("alice is %v", me)
	}
	// What she makes is of her account: a key says more than the default.
	if api := c.run(alice + `aws apigateway create-rest-api --name hers`); part[string](t, c.run(`aws apigateway get-rest-api --rest-api-id `+part[string](t, api, "id")), "name") != "hers" {
		t.Error("an API made with a user's key is not one of his account")
	}

	there := newCLI(t, cluster(t).API, other, "us-east-1")
	role := there.run(`aws iam create-role --role-name shared --assume-role-policy-document '` + trusting(home) + `' --max-session-duration 7200 --description 'for others'`)
	arn := part[string](t, role, "Role", "Arn")
	if part[string](t, role, "Role", "AssumeRolePolicyDocument", "Version") != "2012-10-17" || part[float64](t, role, "Role", "MaxSessionDuration") != 7200 {
		t.Errorf("made %v", role)
	}
	there.silent(`aws iam wait role-exists --role-name shared`)
	session := c.run(alice + `aws sts assume-role --role-arn ` + arn + ` --role-session-name s1 --duration-seconds 7200`)
	if got, want := part[string](t, session, "AssumedRoleUser", "Arn"), "arn:aws:sts::"+other+":assumed-role/shared/s1"; got != want {
		t.Errorf("session %s, want %s", got, want)
	}
	if !isTime(part[string](t, session, "Credentials", "Expiration")) {
		t.Errorf("session %v", session)
	}
	asRole := using(part[string](t, session, "Credentials", "AccessKeyId"), part[string](t, session, "Credentials", "SecretAccessKey"), part[string](t, session, "Credentials", "SessionToken"))
	who = c.run(asRole + `aws sts get-caller-identity`)
	if who["Arn"] != "arn:aws:sts::"+other+":assumed-role/shared/s1" || who["UserId"] != part[string](t, role, "Role", "RoleId")+":s1" {
		t.Errorf("the session's key is that of %v", who)
	}
	token := c.run(alice + `aws sts get-session-token --duration-seconds 900`)
	who = c.run(using(part[string](t, token, "Credentials", "AccessKeyId"), "x", part[string](t, token, "Credentials", "SessionToken")) + `aws sts get-caller-identity`)
	if who["Arn"] != "arn:aws:iam::"+home+":user/team/alice" {
		t.Errorf("the session token is that of %v", who)
	}

	for command, want := range map[string]string{
		`aws iam create-user --user-name alice`:                                                 "(EntityAlreadyExists) when calling the CreateUser operation: User with name alice already exists.",
		`aws iam get-user --user-name bob`:                                                      "(NoSuchEntity) when calling the GetUser operation: The user with name bob cannot be found.",
		`aws iam delete-user --user-name alice`:                                                 "(DeleteConflict) when calling the DeleteUser operation: Cannot delete entity, must remove access keys first.",
		`aws iam put-user-policy --user-name alice --policy-name x --policy-document '{"a":1}'`: "(MalformedPolicyDocument) when calling the PutUserPolicy operation: Syntax errors in policy.",
		`aws iam create-user --user-name 'a b'`:                                                 "(ValidationError) when calling the CreateUser operation: 1 validation error detected: Value 'a b' at 'userName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]+",
		`aws iam list-groups`:                                                                   "(NotImplemented) when calling the ListGroups operation: Postern does not implement ListGroups",
		alice + `aws sts assume-role --role-arn arn:aws:iam::` + other + `:role/none --role-session-name s1`:   "(AccessDenied) when calling the AssumeRole operation: User: arn:aws:iam::" + home + ":user/team/alice is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::" + other + ":role/none",
		`aws sts assume-role --role-arn ` + arn + ` --role-session-name s1`:                                    "(AccessDenied) when calling the AssumeRole operation: Roles may not be assumed by root accounts.",
		alice + `aws sts assume-role --role-arn ` + arn + ` --role-session-name s1 --duration-seconds 7201`:    "(ValidationError) when calling the AssumeRole operation: The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
		alice + `aws sts assume-role --role-arn ` + arn + ` --role-session-name s1 --duration-seconds 43201`:   "Member must have value less than or equal to 43200",
		`aws iam attach-role-policy --role-name shared --policy-arn arn:aws:iam::aws:policy/NoSuchPolicyAtAll`: "(NoSuchEntity)",
	} {
		if said := c.fails(command); !strings.Contains(said, want) {
			t.Errorf("%s\nsays  %s\nwants %s", command, said, want)
		}
	}
}

// Managed policies by the AWS CLI: versions, attaching, boundaries, paging.
func TestManagedPoliciesByCLI(t *testing.T) {
	t.Parallel()
	who := account()
	c := newCLI(t, cluster(t).API, who, "us-east-1")
	made := c.run(`aws iam create-policy --policy-name invoke --description d --policy-document '` + invokeAll + `'`)
	arn := part[string](t, made, "Policy", "Arn")
	c.silent(`aws iam wait policy-exists --policy-arn ` + arn)
	c.silent(`aws iam create-policy-version --policy-arn ` + arn + ` --set-as-default --policy-document '` + assumeAll + `'`)
	version := c.run(`aws iam get-policy-version --policy-arn ` + arn + ` --version-id v1`)
	if part[bool](t, version, "PolicyVersion", "IsDefaultVersion") || part[string](t, version, "PolicyVersion", "Document", "Version") != "2012-10-17" {
		t.Errorf("version %v", version)
	}
	c.silent(`aws iam set-default-policy-version --policy-arn ` + arn + ` --version-id v1; aws iam delete-policy-version --policy-arn ` + arn + ` --version-id v2`)
	c.silent(`aws iam create-role --role-name r --assume-role-policy-document '` + trusting(who) + `' --permissions-boundary ` + arn)
	c.silent(`aws iam attach-role-policy --role-name r --policy-arn ` + arn)
	c.silent(`aws iam attach-role-policy --role-name r --policy-arn arn:aws:iam::aws:policy/AdministratorAccess`)
	policy := c.run(`aws iam get-policy --policy-arn ` + arn)
	if part[float64](t, policy, "Policy", "AttachmentCount") != 1 || part[float64](t, policy, "Policy", "PermissionsBoundaryUsageCount") != 1 || part[string](t, policy, "Policy", "DefaultVersionId") != "v1" {
		t.Errorf("policy %v", policy)
	}
	role := c.run(`aws iam get-role --role-name r`)
	if part[string](t, role, "Role", "PermissionsBoundary", "PermissionsBoundaryArn") != arn {
		t.Errorf("role %v", role)
	}
	if listed := part[[]any](t, c.run(`aws iam list-attached-role-policies --role-name r`), "AttachedPolicies"); len(listed) != 2 {
		t.Errorf("attached %v", listed)
	}
	if used := part[[]any](t, c.run(`aws iam list-entities-for-policy --policy-arn `+arn), "PolicyRoles"); len(used) != 1 {
		t.Errorf("used by %v", used)
	}
	c.silent(`aws iam tag-role --role-name r --tags Key=a,Value=1 Key=b,Value=2; aws iam untag-role --role-name r --tag-keys a`)
	if tags := part[[]any](t, c.run(`aws iam list-role-tags --role-name r`), "Tags"); cmp.Diff([]any{map[string]any{"Key": "b", "Value": "2"}}, tags) != "" {
		t.Errorf("tags %v", tags)
	}
	// The CLI follows markers by itself.
	c.silent(`for n in 1 2 3 4 5; do aws iam create-user --user-name u$n; done`)
	if users := part[[]any](t, c.run(`aws iam list-users --page-size 2`), "Users"); len(users) != 5 {
		t.Errorf("%d users", len(users))
	}
	// What tools ask before they delete: the lists are there, and empty.
	if got := part[[]any](t, c.run(`aws iam list-instance-profiles-for-role --role-name r`), "InstanceProfiles"); len(got) != 0 {
		t.Errorf("instance profiles %v", got)
	}
	if got := part[[]any](t, c.run(`aws iam list-groups-for-user --user-name u1`), "Groups"); len(got) != 0 {
		t.Errorf("groups %v", got)
	}
	c.silent(`aws iam detach-role-policy --role-name r --policy-arn ` + arn)
	c.silent(`aws iam detach-role-policy --role-name r --policy-arn arn:aws:iam::aws:policy/AdministratorAccess`)
	c.silent(`aws iam delete-role-permissions-boundary --role-name r; aws iam delete-role --role-name r; aws iam delete-policy --policy-arn ` + arn)
	if said := c.fails(`aws iam get-policy --policy-arn ` + arn); !strings.Contains(said, "(NoSuchEntity)") {
		t.Errorf("a deleted policy: %s", said)
	}
}

// The SDK's own types of errors, its paginator, and its provider of credentials
// that assumes a role by itself.
func TestIdentitiesBySDK(t *testing.T) {
	t.Parallel()
	who := account()
	ctx := t.Context()
	base := aws.String("http://" + cluster(t).API)
	client := iam.New(iam.Options{BaseEndpoint: base, Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider(who, "secret", ""), Retryer: aws.NopRetryer{}})
	ok := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for n := range 5 {
		ok(client.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String(fmt.Sprintf("u%d", n)), Tags: []iamtypes.Tag{{Key: aws.String("n"), Value: aws.String(fmt.Sprint(n))}}}))
	}
	var names []string
	for pages := iam.NewListUsersPaginator(client, &iam.ListUsersInput{MaxItems: aws.Int32(2)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range page.Users {
			names = append(names, *u.UserName)
		}
	}
	if diff := cmp.Diff([]string{"u0", "u1", "u2", "u3", "u4"}, names); diff != "" {
		t.Errorf("users (-want +got)\n%s", diff)
	}
	_, err := client.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("U0")})
	if _, exists := errors.AsType[*iamtypes.EntityAlreadyExistsException](err); !exists {
		t.Errorf("a name that differs in case only: %v", err)
	}
	_, err = client.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("none")})
	if _, missing := errors.AsType[*iamtypes.NoSuchEntityException](err); !missing {
		t.Errorf("a role that is not there: %v", err)
	}
	_, err = client.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("u0"), PolicyName: aws.String("p"), PolicyDocument: aws.String("{")})
	if _, malformed := errors.AsType[*iamtypes.MalformedPolicyDocumentException](err); !malformed {
		t.Errorf("a document that is none: %v", err)
	}
	user, err := client.GetUser(ctx, &iam.GetUserInput{UserName: aws.String("u3")})
	if ok(user, err); len(user.User.Tags) != 1 || *user.User.Tags[0].Value != "3" || user.User.CreateDate == nil {
		t.Errorf("user %+v", user.User)
	}

	ok(client.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("u0"), PolicyName: aws.String("p"), PolicyDocument: aws.String(assumeAll)}))
	key, err := client.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("u0")})
	ok(key, err)
	role, err := client.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(trusting(who))})
	ok(role, err)
	identity := func(provider aws.CredentialsProvider) (*sts.Client, string, error) {
		c := sts.New(sts.Options{BaseEndpoint: base, Region: "us-east-1", Credentials: provider, Retryer: aws.NopRetryer{}})
		answer, err := c.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return c, "", err
		}
		return c, *answer.Arn, nil
	}
	asUser, arn, err := identity(credentials.NewStaticCredentialsProvider(*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, ""))
	if ok(nil, err); arn != "arn:aws:iam::"+who+":user/u0" {
		t.Errorf("the user's key is that of %s", arn)
	}
	_, arn, err = identity(stscreds.NewAssumeRoleProvider(asUser, *role.Role.Arn, func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "by-itself" }))
	if ok(nil, err); arn != "arn:aws:sts::"+who+":assumed-role/r/by-itself" {
		t.Errorf("the role's credentials are those of %s", arn)
	}
	_, _, err = identity(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		out, err := asUser.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + who + ":role/none"), RoleSessionName: aws.String("s1")})
		if err != nil {
			return aws.Credentials{}, err
		}
		return aws.Credentials{AccessKeyID: *out.Credentials.AccessKeyId, SecretAccessKey: *out.Credentials.SecretAccessKey}, nil
	}))
	if e, api := errors.AsType[smithy.APIError](err); !api || e.ErrorCode() != "AccessDenied" {
		t.Errorf("a role that is not there is assumed with %v", err)
	}
}
