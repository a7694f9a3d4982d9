package constraint

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
)

const (
	apigateway = "/postern.apigateway.v1.ApiGateway/"
	ec2        = "/postern.ec2.v1.EC2/"
	iam        = "/postern.iam.v1.IAM/"
)

func TestValidate(t *testing.T) {
	str := proto.String
	types := func(values ...string) *apigatewayv1.EndpointConfiguration {
		return &apigatewayv1.EndpointConfiguration{Types: &awsv1.StringList{Values: values}}
	}
	wrongOp := []*awsv1.PatchOperation{{Op: str("wrong_op"), Path: str("/x")}}
	both := types("wrong")
	both.IpAddressType = str("wrong")
	tests := []struct {
		name    string
		method  string
		request proto.Message
		kind    apierr.Kind
		want    string // "" for none
	}{
		{"valid", apigateway + "CreateRestApi", &apigatewayv1.CreateRestApiRequest{Name: str("a"), EndpointConfiguration: types("PRIVATE")}, 0, ""},
		{"an empty list breaks no enumeration", apigateway + "CreateRestApi", &apigatewayv1.CreateRestApiRequest{Name: str("a"), EndpointConfiguration: types()}, 0, ""},
		{
			"wrong type in a list", apigateway + "CreateRestApi",
			&apigatewayv1.CreateRestApiRequest{Name: str("a"), EndpointConfiguration: types("wrong")}, apierr.KindValidation,
			"1 validation error detected: Value '[wrong]' at 'createRestApiInput.endpointConfiguration.types' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [PRIVATE, EDGE, REGIONAL]]",
		},
		{
			"types come before ipAddressType", apigateway + "CreateRestApi",
			&apigatewayv1.CreateRestApiRequest{Name: str("a"), EndpointConfiguration: both}, apierr.KindValidation,
			"2 validation errors detected: Value '[wrong]' at 'createRestApiInput.endpointConfiguration.types' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [PRIVATE, EDGE, REGIONAL]]; Value 'wrong' at 'createRestApiInput.endpointConfiguration.ipAddressType' failed to satisfy constraint: Member must satisfy enum value set: [ipv4, dualstack]",
		},
		{
			"missing member", apigateway + "CreateRestApi", &apigatewayv1.CreateRestApiRequest{}, apierr.KindValidation,
			"1 validation error detected: Value null at 'createRestApiInput.name' failed to satisfy constraint: Member must not be null",
		},
		{
			"integration type", apigateway + "PutIntegration",
			&apigatewayv1.PutIntegrationRequest{Type: str("HTTPS_PROXY")}, apierr.KindValidation,
			"1 validation error detected: Value 'HTTPS_PROXY' at 'putIntegrationInput.type' failed to satisfy constraint: Member must satisfy enum value set: [HTTP, MOCK, AWS_PROXY, HTTP_PROXY, AWS]",
		},
		{
			"member of the path", apigateway + "UpdateMethodResponse",
			&apigatewayv1.UpdateMethodResponseRequest{StatusCode: "wrong"}, apierr.KindValidation,
			`1 validation error detected: Value 'wrong' at 'statusCode' failed to satisfy constraint: Member must satisfy regular expression pattern: [1-5]\d\d`,
		},
		{
			"body before path", apigateway + "UpdateMethodResponse",
			&apigatewayv1.UpdateMethodResponseRequest{StatusCode: "wrong", PatchOperations: wrongOp}, apierr.KindValidation,
			`2 validation errors detected: Value 'wrong_op' at 'updateMethodResponseInput.patchOperations.1.member.op' failed to satisfy constraint: Member must satisfy enum value set: [add, remove, move, test, replace, copy]; Value 'wrong' at 'statusCode' failed to satisfy constraint: Member must satisfy regular expression pattern: [1-5]\d\d`,
		},
		{"a pattern holds for the whole value", apigateway + "GetMethodResponse", &apigatewayv1.GetMethodResponseRequest{StatusCode: "200x"}, apierr.KindValidation,
			`1 validation error detected: Value '200x' at 'statusCode' failed to satisfy constraint: Member must satisfy regular expression pattern: [1-5]\d\d`},
		{"ec2 names the first that is missing", ec2 + "CreateVpcEndpoint", &ec2v1.CreateVpcEndpointRequest{}, apierr.KindInvalid, "The request must contain the parameter vpcId"},
		{"ec2 lists by their query name", ec2 + "DeleteVpcEndpoints", &ec2v1.DeleteVpcEndpointsRequest{}, apierr.KindInvalid, "The request must contain the parameter vpcEndpointId"},
		{"ec2 complete", ec2 + "DeleteVpc", &ec2v1.DeleteVpcRequest{VpcId: str("vpc-1")}, 0, ""},
		{"query services name all", iam + "CreateUser", &iamv1.CreateUserRequest{UserName: str("a b"), Path: str("x")}, apierr.KindValidation,
			`2 validation errors detected: Value 'x' at 'path' failed to satisfy constraint: Member must satisfy regular expression pattern: (/)|(/[!-~]+/); Value 'a b' at 'userName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]+`},
		{"too long", iam + "GetUser", &iamv1.GetUserRequest{UserName: str(strings.Repeat("a", 129))}, apierr.KindValidation,
			"1 validation error detected: Value '" + strings.Repeat("a", 129) + "' at 'userName' failed to satisfy constraint: Member must have length less than or equal to 128"},
		{"too large", iam + "ListUsers", &iamv1.ListUsersRequest{MaxItems: proto.Int32(1001)}, apierr.KindValidation,
			"1 validation error detected: Value '1001' at 'maxItems' failed to satisfy constraint: Member must have value less than or equal to 1000"},
		{"too small", iam + "ListUsers", &iamv1.ListUsersRequest{MaxItems: proto.Int32(0)}, apierr.KindValidation,
			"1 validation error detected: Value '0' at 'maxItems' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"too many", iam + "TagUser", &iamv1.TagUserRequest{UserName: str("a"), Tags: slices.Repeat([]*iamv1.Tag{{Key: str("k"), Value: str("")}}, 51)}, apierr.KindValidation,
			"1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50"},
		{"long values are cut", iam + "GetPolicy", &iamv1.GetPolicyRequest{PolicyArn: str(strings.Repeat("a", 2049))}, apierr.KindValidation,
			"1 validation error detected: Value '" + strings.Repeat("a", 1000) + "...' at 'policyArn' failed to satisfy constraint: Member must have length less than or equal to 2048"},
		{"not an AWS service", "/postern.admin.v1.Admin/Reset", &adminv1.ResetRequest{}, 0, ""},
		{"unknown method", "/nobody.v1.Nothing/Do", &adminv1.ResetRequest{}, 0, ""},
		{"another method's request", apigateway + "CreateRestApi", &adminv1.ResetRequest{}, 0, ""},
		{"no request", apigateway + "CreateRestApi", nil, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Validate(tt.method, tt.request)
			if tt.want == "" {
				if err != nil {
					t.Fatalf("got %v", err)
				}
				return
			}
			e, ok := errors.AsType[*apierr.Error](err)
			if !ok {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if e.Kind != tt.kind || e.Message != tt.want {
				t.Errorf("got %v:\n%s\nwant\n%s", e.Kind, e.Message, tt.want)
			}
		})
	}
}
