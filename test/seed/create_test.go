package seed_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"

	"github.com/posternhq/postern/test/optional"
)

// Creating a private API, and giving it methods and integrations.

// petStore is the backend of the AWS examples.
func petStore(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		if id, ok := strings.CutPrefix(r.URL.Path, "/petstore/pets/"); ok {
			fmt.Fprintf(rw, `{"id": %q, "type": "cat"}`, id)
			return
		}
		fmt.Fprint(rw, `[{"id": 1, "type": "dog"}, {"id": 2, "type": "cat"}]`)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/petstore"
}

func (w *world) resource(a restAPI, parent, part string) string {
	w.Helper()
	made := must[*apigateway.CreateResourceOutput](w, "create resource")(w.api.CreateResource(w.ctx, &apigateway.CreateResourceInput{RestApiId: &a.id, ParentId: &parent, PathPart: &part}))
	return aws.ToString(made.Id)
}

// httpGET sets up GET with a HTTP custom integration, in the four steps of the
// create-api-using-awscli guide.
func (w *world) httpGET(a restAPI, resource, uri string, declared map[string]bool, mapping map[string]string) {
	w.Helper()
	get, ok := aws.String("GET"), aws.String("200")
	method := must[*apigateway.PutMethodOutput](w, "put method")(w.api.PutMethod(w.ctx, &apigateway.PutMethodInput{
		RestApiId: &a.id, ResourceId: &resource, HttpMethod: get, AuthorizationType: aws.String("NONE"), RequestParameters: declared,
	}))
	equal(w, "method", aws.ToString(method.HttpMethod)+" "+aws.ToString(method.AuthorizationType), "GET NONE")
	response := must[*apigateway.PutMethodResponseOutput](w, "put method response")(w.api.PutMethodResponse(w.ctx, &apigateway.PutMethodResponseInput{
		RestApiId: &a.id, ResourceId: &resource, HttpMethod: get, StatusCode: ok,
	}))
	equal(w, "status of the method response", aws.ToString(response.StatusCode), "200")
	integration := must[*apigateway.PutIntegrationOutput](w, "put integration")(w.api.PutIntegration(w.ctx, &apigateway.PutIntegrationInput{
		RestApiId: &a.id, ResourceId: &resource, HttpMethod: get, Type: types.IntegrationTypeHttp, IntegrationHttpMethod: get, Uri: &uri, RequestParameters: mapping,
	}))
	equal(w, "integration", string(integration.Type)+" "+aws.ToString(integration.Uri), "HTTP "+uri)
	answered := must[*apigateway.PutIntegrationResponseOutput](w, "put integration response")(w.api.PutIntegrationResponse(w.ctx, &apigateway.PutIntegrationResponseInput{
		RestApiId: &a.id, ResourceId: &resource, HttpMethod: get, StatusCode: ok, SelectionPattern: aws.String(""),
	}))
	equal(w, "status of the integration response", aws.ToString(answered.StatusCode), "200")
}

// TestS45_PetStore makes the guide's API, first /pets (S41), then /pets/{petId}.
func TestS45_PetStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	e := w.endpointIn(v)
	backend := petStore(t)
	a := w.createAPI(types.EndpointTypePrivate, onlyEndpoints(e.id))
	pets := w.resource(a, a.root, "pets")
	t.Run("S41", func(t *testing.T) {
		w := w.lab.world(t, ownAccount, region)
		w.httpGET(a, pets, backend+"/pets", nil, nil)
		w.deploy(a)
		w.settle()
		w.want("GET /pets", w.call(v.id, a.url()+"/pets"), 200, `[{"id": 1, "type": "dog"}, {"id": 2, "type": "cat"}]`)
	})
	t.Run("S45", func(t *testing.T) {
		w := w.lab.world(t, ownAccount, region)
		pet := w.resource(a, pets, "{petId}")
		w.httpGET(a, pet, backend+"/pets/{id}",
			map[string]bool{"method.request.path.petId": true},
			map[string]string{"integration.request.path.id": "method.request.path.petId"})
		w.deploy(a)
		w.settle()
		w.want("GET /pets", w.call(v.id, a.url()+"/pets"), 200, `"type": "dog"`)
		w.want("GET /pets/{petId}", w.call(v.id, a.url()+"/pets/7"), 200, `{"id": "7", "type": "cat"}`)
		w.want("a path that the API does not have", w.call(v.id, a.url()+"/cats"), 403, `{"message":"Missing Authentication Token"}`)
	})
}

func TestS40_NamesAreFree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"Simple PetStore (Console, Private)", "Simple PetStore (AWS CLI, Private)"} {
		made := must[*apigateway.CreateRestApiOutput](w, "create API")(w.api.CreateRestApi(w.ctx, &apigateway.CreateRestApiInput{
			Name: &name, EndpointConfiguration: &types.EndpointConfiguration{Types: []types.EndpointType{types.EndpointTypePrivate}},
		}))
		equal(w, "name in the answer", aws.ToString(made.Name), name)
		got := w.getAPI(restAPI{id: aws.ToString(made.Id)})
		equal(w, "name when read", aws.ToString(got.Name), name)
		equal(w, "type", got.EndpointConfiguration.Types[0], types.EndpointTypePrivate)
	}
}

func TestS70_RegionsAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.createAPI(types.EndpointTypePrivate, "")
	w.getAPI(a)
	elsewhere := w.lab.world(t, ownAccount, "us-east-1")
	_, err := elsewhere.api.GetRestApi(w.ctx, &apigateway.GetRestApiInput{RestApiId: &a.id})
	w.refused("the same id in us-east-1", err, "NotFoundException", "Invalid API identifier specified ")
}

// cli runs the AWS CLI and returns one value of its answer, by a JMESPath query.
type cli struct {
	*world
	path string
	env  []string
}

func newCLI(w *world) cli {
	w.Helper()
	path := optional.Tool(w, "aws")
	return cli{world: w, path: path, env: append(os.Environ(),
		"AWS_ACCESS_KEY_ID="+w.account, "AWS_SECRET_ACCESS_KEY=secret", "AWS_SESSION_TOKEN=",
		"AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
	)}
}

func (c cli) run(query string, args ...string) string {
	c.Helper()
	args = append(args, "--endpoint-url", "http://"+c.lab.addr.API, "--region", c.region(), "--output", "text")
	if query != "" {
		args = append(args, "--query", query)
	}
	cmd := exec.CommandContext(c.ctx, c.path, args...)
	cmd.Env = c.env
	out, err := cmd.Output()
	if err != nil {
		why := ""
		if exit, ok := err.(*exec.ExitError); ok {
			why = string(exit.Stderr)
		}
		c.Fatalf("aws %s: %v: %s", strings.Join(args, " "), err, strings.TrimSpace(why))
	}
	return strings.TrimSpace(string(out))
}

// TestS13_FlowByTheCLI goes through the seed's steps with the AWS CLI, for which
// each command is a second of work. The VPC, which the seed takes for granted,
// is there before.
func TestS13_FlowByTheCLI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := newCLI(w)
	v := w.vpc("a")
	group := w.group(v.id, "https", v.cidr)

	// 1. Create the endpoint.
	e := endpoint{vpc: v}
	e.id = c.run("VpcEndpoint.VpcEndpointId", "ec2", "create-vpc-endpoint", "--vpc-id", v.id, "--vpc-endpoint-type", "Interface",
		"--service-name", "com.amazonaws."+region+".execute-api", "--subnet-ids", v.subnets[0], "--security-group-ids", group)

	// 2. Create the API, and a method.
	a := restAPI{id: c.run("id", "apigateway", "create-rest-api", "--name", "Simple PetStore (AWS CLI, Private)",
		"--description", "Simple private PetStore API", "--endpoint-configuration", `{ "types": ["PRIVATE"] }`)}
	// Older releases of the CLI do not know rootResourceId.
	a.root = c.run("items[0].id", "apigateway", "get-resources", "--rest-api-id", a.id)
	at := []string{"--rest-api-id", a.id, "--resource-id", a.root, "--http-method", "GET"}
	do := func(command string, args ...string) {
		t.Helper()
		c.run("", slices.Concat([]string{"apigateway", command}, at, args)...)
	}
	do("put-method", "--authorization-type", "NONE")
	do("put-integration", "--type", "HTTP_PROXY", "--integration-http-method", "GET", "--uri", petStore(t)+"/pets")

	// 3. Attach a policy.
	patch, err := json.Marshal([]map[string]string{{"op": "replace", "path": "/policy", "value": onlyEndpoints(e.id)}})
	if err != nil {
		t.Fatal(err)
	}
	c.run("", "apigateway", "update-rest-api", "--rest-api-id", a.id, "--patch-operations", string(patch))

	// 4. Deploy. 5. Test.
	c.run("", "apigateway", "create-deployment", "--rest-api-id", a.id, "--stage-name", "test")
	w.settle()
	w.want("GET /", w.call(v.id, a.url()), 200, `"type": "dog"`)
}
