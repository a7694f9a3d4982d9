package seed_test

import (
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"
)

// restAPI is an API of the tests: GET / answers 200 with its id, and says in
// headers which endpoint, VPC and source address the edge decided by.
type restAPI struct {
	id, root string
}

// host is its default name: private DNS for a private API.
func (a restAPI) host() string { return a.id + ".execute-api." + region + ".amazonaws.com" }

// alias is the name that an association with the endpoint makes.
func (a restAPI) alias(e endpoint) string {
	return a.id + "-" + e.id + ".execute-api." + region + ".amazonaws.com"
}

// body is what GET / answers.
func (a restAPI) body() string { return fmt.Sprintf(`{"api":%q}`, a.id) }

func (a restAPI) url() string                { return "https://" + a.host() + "/test" }
func (a restAPI) aliasURL(e endpoint) string { return "https://" + a.alias(e) + "/test" }
func endpointURL(name string) string         { return "https://" + name + "/test" }

// A policy in the words of the AWS documents: everybody, unless the condition
// fails.
func policy(condition map[string]any) string {
	statement := func(effect string) map[string]any {
		return map[string]any{"Effect": effect, "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*"}
	}
	statements := []any{statement("Allow")}
	if condition != nil {
		deny := statement("Deny")
		deny["Condition"] = condition
		statements = append(statements, deny)
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		panic(err) // strings and maps of strings
	}
	return string(text)
}

func onlyFrom(key string, values ...string) string {
	return policy(map[string]any{"StringNotEquals": map[string]any{key: values}})
}

func allowAll() string                   { return policy(nil) }
func onlyVPC(vpcs ...string) string      { return onlyFrom("aws:SourceVpc", vpcs...) }
func onlyEndpoints(ids ...string) string { return onlyFrom("aws:SourceVpce", ids...) }
func onlyAddresses(cidr ...string) string {
	return policy(map[string]any{"NotIpAddress": map[string]any{"aws:VpcSourceIp": cidr}})
}

// createAPI makes an API without methods.
func (w *world) createAPI(kind types.EndpointType, policy string, endpoints ...string) restAPI {
	w.Helper()
	in := &apigateway.CreateRestApiInput{
		Name:                  aws.String(w.Name()),
		EndpointConfiguration: &types.EndpointConfiguration{Types: []types.EndpointType{kind}, VpcEndpointIds: endpoints},
	}
	if policy != "" {
		in.Policy = &policy
	}
	made := must[*apigateway.CreateRestApiOutput](w, "create API")(w.api.CreateRestApi(w.ctx, in))
	return restAPI{id: aws.ToString(made.Id), root: aws.ToString(made.RootResourceId)}
}

// echo gives the API its GET /.
func (w *world) echo(a restAPI) {
	w.Helper()
	if err := w.tryEcho(a); err != nil {
		w.Fatalf("set up GET / of %s: %v", a.id, err)
	}
}

// shown are the headers with which GET / says how the edge saw the caller.
var shown = map[string]string{
	"seen-endpoint": "context.identity.vpceId",
	"seen-vpc":      "context.identity.vpcId",
	"seen-source":   "context.identity.sourceIp",
	"seen-api":      "context.apiId",
}

func (w *world) tryEcho(a restAPI) error {
	get, ok := aws.String("GET"), aws.String("200")
	declared, mapped := map[string]bool{}, map[string]string{}
	for header, source := range shown {
		declared["method.response.header."+header] = false
		mapped["method.response.header."+header] = source
	}
	if _, err := w.api.PutMethod(w.ctx, &apigateway.PutMethodInput{RestApiId: &a.id, ResourceId: &a.root, HttpMethod: get, AuthorizationType: aws.String("NONE")}); err != nil {
		return err
	}
	if _, err := w.api.PutMethodResponse(w.ctx, &apigateway.PutMethodResponseInput{RestApiId: &a.id, ResourceId: &a.root, HttpMethod: get, StatusCode: ok, ResponseParameters: declared}); err != nil {
		return err
	}
	if _, err := w.api.PutIntegration(w.ctx, &apigateway.PutIntegrationInput{
		RestApiId: &a.id, ResourceId: &a.root, HttpMethod: get, Type: types.IntegrationTypeMock,
		RequestTemplates: map[string]string{"application/json": `{"statusCode": 200}`},
	}); err != nil {
		return err
	}
	_, err := w.api.PutIntegrationResponse(w.ctx, &apigateway.PutIntegrationResponseInput{
		RestApiId: &a.id, ResourceId: &a.root, HttpMethod: get, StatusCode: ok, ResponseParameters: mapped,
		ResponseTemplates: map[string]string{"application/json": a.body()},
	})
	return err
}

func (w *world) tryDeploy(a restAPI, stage string) error {
	_, err := w.api.CreateDeployment(w.ctx, &apigateway.CreateDeploymentInput{RestApiId: &a.id, StageName: &stage})
	return err
}

func (w *world) deploy(a restAPI) {
	w.Helper()
	if err := w.tryDeploy(a, "test"); err != nil {
		w.Fatalf("deploy %s: %v", a.id, err)
	}
}

// privateAPI makes a private API with GET /, deployed to the stage "test".
func (w *world) privateAPI(policy string, endpoints ...string) restAPI {
	w.Helper()
	a := w.createAPI(types.EndpointTypePrivate, policy, endpoints...)
	w.echo(a)
	w.deploy(a)
	return a
}

// publicAPI is privateAPI for the public types.
func (w *world) publicAPI(kind types.EndpointType) restAPI {
	w.Helper()
	a := w.createAPI(kind, "")
	w.echo(a)
	w.deploy(a)
	return a
}

// patch updates an API.
func (w *world) patch(a restAPI, operations ...types.PatchOperation) (*apigateway.UpdateRestApiOutput, error) {
	return w.api.UpdateRestApi(w.ctx, &apigateway.UpdateRestApiInput{RestApiId: &a.id, PatchOperations: operations})
}

func (w *world) mustPatch(a restAPI, operations ...types.PatchOperation) *apigateway.UpdateRestApiOutput {
	w.Helper()
	return must[*apigateway.UpdateRestApiOutput](w, "update API")(w.patch(a, operations...))
}

func op(verb types.Op, path, value string) types.PatchOperation {
	return types.PatchOperation{Op: verb, Path: &path, Value: &value}
}

func associate(e endpoint) types.PatchOperation {
	return op(types.OpAdd, "/endpointConfiguration/vpcEndpointIds", e.id)
}

func disassociate(e endpoint) types.PatchOperation {
	return op(types.OpRemove, "/endpointConfiguration/vpcEndpointIds", e.id)
}

// become changes an API's type.
func become(from, to string) types.PatchOperation {
	return op(types.OpReplace, "/endpointConfiguration/types/"+from, to)
}

func (w *world) getAPI(a restAPI) *apigateway.GetRestApiOutput {
	w.Helper()
	return must[*apigateway.GetRestApiOutput](w, "get API")(w.api.GetRestApi(w.ctx, &apigateway.GetRestApiInput{RestApiId: &a.id}))
}
