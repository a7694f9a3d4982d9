package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/posternhq/postern/internal/sigv4"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

// The accounts of the story: one owns the API, the other calls it.
const (
	ownerAccount  = "123456789012"
	callerAccount = "444455556666"
)

// playCrossAccount tells the story of an API that another account may call: an
// endpoint over there that the API's policy admits, and callers who sign.
func (s *story) playCrossAccount() error {
	var owner, caller aws.Credentials
	for _, act := range []func() error{
		func() (err error) { owner, err = s.account(ownerAccount, "team-a"); return err },
		func() (err error) { caller, err = s.account(callerAccount, "team-b"); return err },
		func() error { return s.callersNetwork(caller) },
		func() error { return s.sharedAPI(owner) },
		s.shareByEndpoint,
		func() error { return s.shareByIdentity(owner, caller) },
	} {
		if err := act(); err != nil {
			return err
		}
	}
	return nil
}

// account makes an account, and returns the access key of its root user.
func (s *story) account(id, name string) (aws.Credentials, error) {
	made, err := s.admin.CreateAccount(s.ctx, &adminv1.CreateAccountRequest{Id: id, Alias: name})
	if err != nil {
		return aws.Credentials{}, err
	}
	s.say("   account %s, %s", id, name)
	return aws.Credentials{AccessKeyID: made.GetAccessKeyId(), SecretAccessKey: made.GetSecretAccessKey()}, nil
}

func (s *story) callersNetwork(caller aws.Credentials) error {
	s.chapter("In account " + callerAccount + ": a VPC with an interface endpoint")
	s.as(caller.AccessKeyID, caller.SecretAccessKey)
	var err error
	if s.vpc, s.subnets, err = s.network("10.1.0.0/16", "10.1.1.0/24"); err != nil {
		return err
	}
	s.endpoint, s.endpointDNS, err = s.createEndpoint(s.vpc, "10.1.0.0/16", s.subnets)
	s.say("   %s, %s", s.vpc, s.endpoint)
	return err
}

func (s *story) sharedAPI(owner aws.Credentials) error {
	s.chapter("In account " + ownerAccount + ": a private API that refuses everybody yet")
	s.as(owner.AccessKeyID, owner.SecretAccessKey)
	if err := s.createAPI(); err != nil {
		return err
	}
	if err := s.policy(statementOf("Deny", "*", nil)); err != nil {
		return err
	}
	// The endpoint's names, too, take their time.
	if err := s.watchNames("the endpoint's public names", s.endpoint, s.endpointDNS[0]); err != nil {
		return err
	}
	s.check("from the other account's VPC", "403", statusOf(s.call(s.vpc, s.privateURL("/pets"), nil)))
	return nil
}

func statementOf(effect string, principal any, condition map[string]any) map[string]any {
	st := map[string]any{"Effect": effect, "Principal": principal, "Action": "execute-api:Invoke", "Resource": "execute-api:/*"}
	if condition != nil {
		st["Condition"] = condition
	}
	return st
}

// policy gives the API a resource policy, deploys it, and waits for the edges.
func (s *story) policy(statements ...map[string]any) error {
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		return err
	}
	if _, err := s.gateway.UpdateRestApi(s.ctx, &apigateway.UpdateRestApiInput{RestApiId: &s.api, PatchOperations: []types.PatchOperation{
		{Op: types.OpReplace, Path: aws.String("/policy"), Value: aws.String(string(text))},
	}}); err != nil {
		return err
	}
	if _, err := s.gateway.CreateDeployment(s.ctx, &apigateway.CreateDeploymentInput{RestApiId: &s.api, StageName: aws.String("test")}); err != nil {
		return err
	}
	return s.settle()
}

func (s *story) shareByEndpoint() error {
	s.chapter("Shared with the endpoint: whoever comes through it may call")
	if err := s.policy(statementOf("Allow", "*", map[string]any{"StringEquals": map[string]any{"aws:SourceVpce": s.endpoint}})); err != nil {
		return err
	}
	s.check("from the other account's VPC, by the endpoint that is named", "200", statusOf(s.call(s.vpc, s.privateURL("/pets"), nil)))
	return nil
}

func (s *story) shareByIdentity(owner, caller aws.Credentials) error {
	s.chapter("Shared with the account: who calls must sign, and both accounts must allow it")
	resources, err := s.gateway.GetResources(s.ctx, &apigateway.GetResourcesInput{RestApiId: &s.api})
	if err != nil {
		return err
	}
	for _, r := range resources.Items {
		if aws.ToString(r.Path) != "/pets" {
			continue
		}
		if _, err := s.gateway.UpdateMethod(s.ctx, &apigateway.UpdateMethodInput{RestApiId: &s.api, ResourceId: r.Id, HttpMethod: aws.String("GET"), PatchOperations: []types.PatchOperation{
			{Op: types.OpReplace, Path: aws.String("/authorizationType"), Value: aws.String("AWS_IAM")},
		}}); err != nil {
			return err
		}
	}
	s.as(caller.AccessKeyID, caller.SecretAccessKey)
	bob, err := s.user("bob")
	if err != nil {
		return err
	}
	s.as(owner.AccessKeyID, owner.SecretAccessKey)
	if err := s.policy(statementOf("Allow", map[string]any{"AWS": callerAccount}, nil)); err != nil {
		return err
	}
	s.check("without a signature", `403 {"message":"Missing Authentication Token"}`, s.call(s.vpc, s.privateURL("/pets"), nil))
	answer := s.callSigned(bob)
	s.check("signed, but his own account allows nothing", "403", statusOf(answer))
	s.say("     %s", answer)
	s.as(caller.AccessKeyID, caller.SecretAccessKey)
	if _, err := s.iam.PutUserPolicy(s.ctx, &iam.PutUserPolicyInput{UserName: aws.String("bob"), PolicyName: aws.String("invoke"), PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"execute-api:Invoke","Resource":"arn:aws:execute-api:*:` + ownerAccount + `:*"}}`)}); err != nil {
		return err
	}
	if err := s.settle(); err != nil {
		return err
	}
	s.check("signed, and both accounts allow it", "200", statusOf(s.callSigned(bob)))
	s.as(owner.AccessKeyID, owner.SecretAccessKey)
	if err := s.policy(statementOf("Allow", map[string]any{"AWS": ownerAccount}, nil)); err != nil {
		return err
	}
	s.check("once the API's account allows only its own", "403", statusOf(s.callSigned(bob)))
	if err := s.policy(statementOf("Allow", map[string]any{"AWS": callerAccount}, nil)); err != nil {
		return err
	}
	s.as(caller.AccessKeyID, caller.SecretAccessKey)
	if _, err := s.iam.UpdateAccessKey(s.ctx, &iam.UpdateAccessKeyInput{UserName: aws.String("bob"), AccessKeyId: &bob.AccessKeyID, Status: "Inactive"}); err != nil {
		return err
	}
	if err := s.settle(); err != nil {
		return err
	}
	s.check("once his key is taken away", `403 {"message":"The security token included in the request is invalid."}`, s.callSigned(bob))
	return nil
}

// user makes a user of the account whose clients are in use, with an access key.
func (s *story) user(name string) (aws.Credentials, error) {
	if _, err := s.iam.CreateUser(s.ctx, &iam.CreateUserInput{UserName: &name}); err != nil {
		return aws.Credentials{}, err
	}
	made, err := s.iam.CreateAccessKey(s.ctx, &iam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		return aws.Credentials{}, err
	}
	s.say("   user %s of account %s", name, callerAccount)
	return aws.Credentials{AccessKeyID: aws.ToString(made.AccessKey.AccessKeyId), SecretAccessKey: aws.ToString(made.AccessKey.SecretAccessKey)}, nil
}

// callSigned is call from the VPC with a signature.
func (s *story) callSigned(who aws.Credentials) string {
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, s.privateURL("/pets"), nil)
	if err != nil {
		return err.Error()
	}
	if err := sign(s.ctx, who, req); err != nil {
		return err.Error()
	}
	return s.send(s.vpc, req, nil)
}

// sign signs a call of an API that has no body.
func sign(ctx context.Context, who aws.Credentials, req *http.Request) error {
	if err := v4.NewSigner().SignHTTP(ctx, who, req, fmt.Sprintf("%x", sigv4.Empty), "execute-api", storyRegion, time.Now()); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	return nil
}
