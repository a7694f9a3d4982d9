package conformance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

// at follows names and indexes into an output.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				t.Fatalf("no element %d in %v", p, l)
			}
			v = l[p]
		}
	}
	return v
}

func text(t *testing.T, v any, path ...any) string {
	t.Helper()
	s, ok := at(t, v, path...).(string)
	if !ok {
		t.Fatalf("no text at %v of %v", path, v)
	}
	return s
}

// The CLI knows who it is, and what a dry run and an unknown thing answer.
func TestCLIIdentityAndErrors(t *testing.T) {
	t.Parallel()
	who := account()
	c := newCLI(t, cluster(t).API, who, seedRegion)
	identity := c.run("aws sts get-caller-identity")
	if identity["Account"] != who || !strings.HasPrefix(text(t, identity, "Arn"), "arn:aws:iam::"+who+":") || text(t, identity, "UserId") == "" {
		t.Errorf("identity %v", identity)
	}
	for command, said := range map[string]string{
		"aws ec2 create-vpc --cidr-block 10.0.0.0/16 --dry-run": "(DryRunOperation) when calling the CreateVpc operation: Request would have succeeded, but DryRun flag is set.",
		"aws ec2 describe-vpcs --vpc-ids vpc-0123456789abcdef0": "(InvalidVpcID.NotFound) when calling the DescribeVpcs operation: The vpc ID 'vpc-0123456789abcdef0' does not exist",
		"aws apigateway get-rest-api --rest-api-id u67n3ov968":  "(NotFoundException) when calling the GetRestApi operation: Invalid API identifier specified " + who + ":u67n3ov968",
	} {
		// Some releases of the CLI say how often they tried, others don't.
		if got := strings.Replace(c.fails(command), " (reached max retries: 0)", "", 1); !strings.Contains(got, said) {
			t.Errorf("%s\nsays  %s\nwant  %s", command, got, said)
		}
	}
}

// A private API gets its endpoint, policy, deployment and name by the CLI.
func TestCLIStory(t *testing.T) {
	t.Parallel()
	who := account()
	sdk := newClients(cluster(t).API, who, seedRegion)
	endpoint := makeEndpoints(t, sdk, 1)[0]
	c := newCLI(t, cluster(t).API, who, seedRegion)

	found := c.run("aws ec2 describe-vpc-endpoints --filters Name=vpc-endpoint-id,Values=" + endpoint + " Name=service-name,Values=com.amazonaws.us-west-2.execute-api")
	if text(t, found, "VpcEndpoints", 0, "VpcEndpointId") != endpoint || text(t, found, "VpcEndpoints", 0, "State") != "available" ||
		at(t, found, "VpcEndpoints", 0, "PrivateDnsEnabled") != true || !isTime(at(t, found, "VpcEndpoints", 0, "CreationTimestamp")) {
		t.Errorf("found %v", found)
	}

	api := c.run("aws apigateway create-rest-api --name petstore --endpoint-configuration types=PRIVATE,vpcEndpointIds=" + endpoint)
	id := text(t, api, "id")
	// Older releases of the CLI do not know rootResourceId.
	mockMethod(t, sdk, id, text(t, c.run("aws apigateway get-resources --rest-api-id "+id), "items", 0, "id"))
	if said := c.fails("aws apigateway create-deployment --stage-name test --rest-api-id " + id); !strings.Contains(said, "Private REST API doesn't have a resource policy attached to it") {
		t.Errorf("a deployment without a policy says %q", said)
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/*",` +
		`"Condition":{"StringEquals":{"aws:SourceVpce":"` + endpoint + `"}}}]}`
	updated := c.run(fmt.Sprintf(`aws apigateway update-rest-api --rest-api-id %s --patch-operations '[{"op":"replace","path":"/policy","value":%q}]'`, id, policy))
	if p := text(t, updated, "policy"); !strings.Contains(p, `arn:aws:execute-api:us-west-2:`+who+`:`+id+`\/*`) {
		t.Errorf("the policy reads back %s", p)
	}
	deployment := c.run("aws apigateway create-deployment --stage-name test --stage-description 'the stage' --description 'the deployment' --rest-api-id " + id)
	stages := c.run("aws apigateway get-stages --rest-api-id " + id)
	if text(t, stages, "item", 0, "deploymentId") != text(t, deployment, "id") || text(t, stages, "item", 0, "description") != "the stage" {
		t.Errorf("stages %v after deployment %v", stages, deployment)
	}

	change := dnsChange(t, id)
	c.run("aws route53 wait resource-record-sets-changed --id /change/" + change)
	info := c.run("aws route53 get-change --id " + change)
	if text(t, info, "ChangeInfo", "Status") != "INSYNC" || text(t, info, "ChangeInfo", "Id") != "/change/"+change || !isTime(at(t, info, "ChangeInfo", "SubmittedAt")) {
		t.Errorf("change %v", info)
	}
}

// mockMethod gives a resource a GET that answers by itself.
func mockMethod(t *testing.T, c clients, api, resource string) {
	t.Helper()
	ctx, get, ok := t.Context(), aws.String("GET"), aws.String("200")
	_, err := c.apigateway.PutMethod(ctx, &apigateway.PutMethodInput{RestApiId: &api, ResourceId: &resource, HttpMethod: get, AuthorizationType: aws.String("NONE")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.apigateway.PutIntegration(ctx, &apigateway.PutIntegrationInput{
		RestApiId: &api, ResourceId: &resource, HttpMethod: get, Type: types.IntegrationTypeMock,
		RequestTemplates: map[string]string{"application/json": `{"statusCode": 200}`},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.apigateway.PutMethodResponse(ctx, &apigateway.PutMethodResponseInput{RestApiId: &api, ResourceId: &resource, HttpMethod: get, StatusCode: ok}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.apigateway.PutIntegrationResponse(ctx, &apigateway.PutIntegrationResponseInput{RestApiId: &api, ResourceId: &resource, HttpMethod: get, StatusCode: ok}); err != nil {
		t.Fatal(err)
	}
}

// dnsChange is the id of a change of names that an API has caused.
func dnsChange(t *testing.T, api string) string {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+cluster(t).API, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer, err := adminv1.NewAdminClient(conn).ListDnsChanges(t.Context(), &adminv1.ListDnsChangesRequest{Subject: api})
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.GetChanges()) == 0 {
		t.Fatalf("no change of names by API %s", api)
	}
	return answer.GetChanges()[0].GetId()
}
