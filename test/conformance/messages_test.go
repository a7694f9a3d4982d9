package conformance

import (
	"fmt"
	"strings"
	"testing"
)

// fixture is an API with a tree of resources, methods, a deployment and a
// stage, for asking what must not be asked.
type fixture struct {
	t       *testing.T
	clients clients
	// ids stand for {account}, {api} and so on in params and messages.
	ids map[string]string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	who := account()
	f := &fixture{t: t, clients: newClients(cluster(t).API, who, region), ids: map[string]string{"account": who}}
	f.keep("api", "id", "CreateRestApi", params{"name": "fixture"})
	f.keep("root", "rootResourceId", "GetRestApi", params{"restApiId": "{api}"})
	f.keep("pets", "id", "CreateResource", params{"restApiId": "{api}", "parentId": "{root}", "pathPart": "pets"})
	f.keep("pet", "id", "CreateResource", params{"restApiId": "{api}", "parentId": "{pets}", "pathPart": "{id}"})
	f.keep("files", "id", "CreateResource", params{"restApiId": "{api}", "parentId": "{root}", "pathPart": "files"})
	f.keep("greedy", "id", "CreateResource", params{"restApiId": "{api}", "parentId": "{files}", "pathPart": "{proxy+}"})
	f.keep("", "", "PutMethod", f.get(params{"authorizationType": "NONE"}))
	f.keep("", "", "PutIntegration", f.get(params{"type": "MOCK", "requestTemplates": params{"application/json": `{"statusCode": 200}`}}))
	f.keep("", "", "PutMethodResponse", f.get(params{"statusCode": "200"}))
	f.keep("", "", "PutIntegrationResponse", f.get(params{"statusCode": "200"}))
	f.keep("deployment", "id", "CreateDeployment", params{"restApiId": "{api}", "stageName": "prod"})
	f.keep("bare", "id", "CreateRestApi", params{"name": "no methods"})
	f.keep("private", "id", "CreateRestApi", params{"name": "no policy", "endpointConfiguration": params{"types": []any{"PRIVATE"}}})
	return f
}

// get adds members to those that name GET /pets.
func (f *fixture) get(more params) params {
	out := params{"restApiId": "{api}", "resourceId": "{pets}", "httpMethod": "GET"}
	for k, v := range more {
		out[k] = v
	}
	return out
}

// fill puts the ids into their places.
func (f *fixture) fill(v any) any {
	switch v := v.(type) {
	case string:
		for name, id := range f.ids {
			v = strings.ReplaceAll(v, "{"+name+"}", id)
		}
		return v
	case map[string]any:
		out := make(map[string]any)
		for k, e := range v {
			out[k] = f.fill(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = f.fill(e)
		}
		return out
	}
	return v
}

// keep makes a call that must succeed and keeps an id of its answer.
func (f *fixture) keep(name, member, operation string, p params) {
	f.t.Helper()
	answer := terraform{f.t, f.clients}.api(operation, f.fill(p).(map[string]any))
	if name != "" {
		f.ids[name] = text(f.t, answer, member)
	}
}

func patches(operations ...string) []any {
	var out []any
	for _, line := range operations {
		words := strings.SplitN(line, " ", 3)
		p := params{"op": words[0]}
		if len(words) > 1 {
			p["path"] = words[1]
		}
		if len(words) > 2 {
			p["value"] = words[2]
		}
		out = append(out, p)
	}
	return out
}

// TestMessages asks for what AWS refuses and compares status, name and text
// with those seen of AWS elsewhere than in the records.
func TestMessages(t *testing.T) {
	f := newFixture(t)
	api := func(more params) params {
		out := params{"restApiId": "{api}"}
		for k, v := range more {
			out[k] = v
		}
		return out
	}
	create := func(configuration params, more params) params {
		out := params{"name": "x", "endpointConfiguration": configuration}
		for k, v := range more {
			out[k] = v
		}
		return out
	}
	stage := func(operations ...string) params {
		return api(params{"stageName": "prod", "patchOperations": patches(operations...)})
	}
	const (
		bad      = "400 BadRequestException "
		invalid  = "400 ValidationException "
		notFound = "404 NotFoundException "
		conflict = "409 ConflictException "
	)
	for _, tc := range []struct {
		operation string
		params    params
		want      string
	}{
		{"GetRestApi", params{"restApiId": "abc"}, notFound + "Invalid API identifier specified {account}:abc"},
		{"DeleteRestApi", params{"restApiId": "ABC"}, notFound + "Invalid API identifier specified {account}:ABC"},
		{"GetResource", api(params{"resourceId": "nope"}), notFound + "Invalid Resource identifier specified"},
		{"GetMethod", f.get(params{"httpMethod": "PUT"}), notFound + "Invalid Method identifier specified"},
		{"GetMethod", f.get(params{"httpMethod": "NONSENSE"}), notFound + "Invalid Method identifier specified"},
		{"GetMethodResponse", f.get(params{"statusCode": "404"}), notFound + "Invalid Response status code specified"},
		{"GetIntegrationResponse", f.get(params{"statusCode": "404"}), notFound + "Invalid Response status code specified"},
		{"GetStage", api(params{"stageName": "nope"}), notFound + "Invalid stage identifier specified"},
		{"UpdateStage", api(params{"stageName": "nope", "patchOperations": patches("replace /description x")}), notFound + "Invalid stage identifier specified"},
		{"GetDeployment", api(params{"deploymentId": "nope"}), notFound + "Invalid Deployment identifier specified"},
		{"DeleteDeployment", api(params{"deploymentId": "{deployment}"}), bad + "Active stages pointing to this deployment must be moved or deleted"},
		{"CreateStage", api(params{"deploymentId": "nope", "stageName": "x"}), bad + "Deployment id does not exist"},
		{"CreateStage", api(params{"deploymentId": "{deployment}", "stageName": "prod"}), conflict + "Stage already exists"},
		{"CreateDeployment", params{"restApiId": "{bare}"}, bad + "The REST API doesn't contain any methods"},
		{"CreateRestApi", params{"name": "x", "description": ""}, bad + "Description cannot be an empty string"},
		{"CreateRestApi", params{"name": "x", "minimumCompressionSize": -1.0}, bad + "Invalid minimum compression size, must be between 0 and 10485760"},
		{"UpdateRestApi", api(params{"patchOperations": patches("replace /minimumCompressionSize many")}), bad + "Invalid minimum compression size, must be between 0 and 10485760"},
		{"CreateResource", api(params{"parentId": "{root}", "pathPart": "pets"}), conflict + "Another resource with the same parent already has this name: pets"},
		{"CreateResource", api(params{"parentId": "{pets}", "pathPart": "{other}"}), bad + "A sibling ({id}) of this resource already has a variable path part -- only one is allowed"},
		{"CreateResource", api(params{"parentId": "{greedy}", "pathPart": "x"}), bad + "Cannot create a child of a resource with a greedy path variable: {proxy+}"},
		{"CreateResource", api(params{"parentId": "{root}", "pathPart": "a/b"}), bad + "Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and curly braces at the beginning and the end."},
		{"CreateResource", api(params{"parentId": "nope", "pathPart": "x"}), notFound + "Invalid Resource identifier specified"},
		{"UpdateResource", api(params{"resourceId": "{pets}", "patchOperations": patches("replace /parentId {pet}")}), bad + "Resources cannot be cyclical."},
		{"UpdateResource", api(params{"resourceId": "{root}", "patchOperations": patches("replace /pathPart x")}), bad + "Root resource cannot update its pathPart."},
		{"UpdateResource", api(params{"resourceId": "{pets}", "patchOperations": patches("replace /invalid x")}), bad + "Invalid patch path  '/invalid' specified for op 'replace'. Must be one of: [/parentId, /pathPart]"},
		{"UpdateResource", api(params{"resourceId": "{pets}", "patchOperations": patches("remove /pathPart x")}), bad + "Invalid patch path  '/pathPart' specified for op 'remove'. Please choose supported operations"},
		{"PutMethod", f.get(params{"httpMethod": "FETCH", "authorizationType": "NONE"}), bad + "Invalid HttpMethod specified. Valid options are GET,PUT,POST,DELETE,PATCH,OPTIONS,HEAD,ANY"},
		{"PutMethod", f.get(params{"authorizationType": "NONE"}), conflict + "Method already exists for this resource"},
		{"PutMethod", f.get(params{"httpMethod": "PUT", "authorizationType": "CUSTOM"}), bad + "Invalid authorizer ID specified. Setting the authorization type to CUSTOM or COGNITO_USER_POOLS requires a valid authorizer."},
		{"PutMethod", f.get(params{"httpMethod": "PUT", "authorizationType": "NONE", "requestValidatorId": "nope"}), bad + "Invalid Request Validator identifier specified"},
		{"PutMethod", f.get(params{"httpMethod": "PUT", "authorizationType": "NONE", "requestModels": params{"application/json": "petModel"}}), bad + "Invalid model identifier specified: petModel"},
		{"PutMethod", f.get(params{"httpMethod": "PUT", "authorizationType": "NONE", "requestParameters": params{"method.request.querystring.a": true, "method.request.header.a": true}}), bad + "Parameter names must be unique across querystring, header and path"},
		{"PutIntegration", f.get(params{"type": "wrong"}), invalid + "1 validation error detected: Value 'wrong' at 'putIntegrationInput.type' failed to satisfy constraint: Member must satisfy enum value set: [HTTP, MOCK, AWS_PROXY, HTTP_PROXY, AWS]"},
		{"PutIntegration", f.get(params{"type": "HTTP", "uri": "https://example.com"}), bad + "Enumeration value for HttpMethod must be non-empty"},
		{"PutIntegration", f.get(params{"type": "HTTP", "integrationHttpMethod": "GET", "uri": "nowhere"}), bad + "Invalid HTTP endpoint specified for URI"},
		{"PutIntegration", f.get(params{"type": "MOCK", "timeoutInMillis": 10.0}), bad + "Timeout should be between 50 ms and 29000 ms"},
		{"PutIntegrationResponse", f.get(params{"statusCode": "99"}), invalid + `1 validation error detected: Value '99' at 'statusCode' failed to satisfy constraint: Member must satisfy regular expression pattern: [1-5]\d\d`},
		{"PutMethodResponse", f.get(params{"statusCode": "200"}), conflict + "Response already exists for this resource"},
		{"UpdateMethod", f.get(params{"patchOperations": patches("replace /httpMethod PUT")}), bad + "Invalid patch path /httpMethod"},
		{"UpdateMethod", f.get(params{"patchOperations": patches("replace")}), bad + "Invalid patch path null"},
		{"UpdateMethod", f.get(params{"patchOperations": patches("remove /requestParameters/method.request.querystring.none")}), notFound + "Invalid parameter name specified"},
		{"UpdateMethod", f.get(params{"patchOperations": patches("remove /requestModels/application~1xml")}), notFound + "Content-Type specified was not found"},
		{"UpdateMethod", f.get(params{"patchOperations": patches("add /requestModels/application/json Empty")}), bad + "Invalid patch path /requestModels/application/json"},
		{"UpdateRestApi", api(params{"patchOperations": patches("replaces /name x")}), invalid + "1 validation error detected: Value 'replaces' at 'updateRestApiInput.patchOperations.1.member.op' failed to satisfy constraint: Member must satisfy enum value set: [add, remove, move, test, replace, copy]"},
		{"UpdateRestApi", api(params{"patchOperations": patches("add /name x")}), bad + "Invalid patch operation specified. Must be one of: [replace]"},
		{"UpdateRestApi", api(params{"patchOperations": patches("replace /nothing x")}), bad + "Invalid patch path /nothing"},
		{"UpdateRestApi", api(params{"patchOperations": patches("add /binaryMediaTypes")}), bad + "Invalid patch path /binaryMediaTypes"},
		{"UpdateRestApi", api(params{"patchOperations": patches("replace /endpointConfiguration/types/0 WRONG")}), bad + "Invalid EndpointTypes specified. Valid options are REGIONAL,EDGE,PRIVATE"},
		{"UpdateRestApi", api(params{"patchOperations": patches("remove /endpointConfiguration/types/0")}), bad + "Invalid patch operation specified. Must be 'add'|'remove'|'replace'"},
		{"UpdateRestApi", params{"restApiId": "{private}", "patchOperations": patches("replace /endpointConfiguration/types/PRIVATE EDGE")}, bad + "Cannot update endpoint from PRIVATE to EDGE"},
		{"CreateRestApi", create(params{"types": []any{"wrong"}}, nil), invalid + "1 validation error detected: Value '[wrong]' at 'createRestApiInput.endpointConfiguration.types' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [PRIVATE, EDGE, REGIONAL]]"},
		{"CreateRestApi", create(params{"ipAddressType": "wrong", "types": []any{"wrong"}}, nil), invalid + "2 validation errors detected: Value '[wrong]' at 'createRestApiInput.endpointConfiguration.types' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [PRIVATE, EDGE, REGIONAL]]; Value 'wrong' at 'createRestApiInput.endpointConfiguration.ipAddressType' failed to satisfy constraint: Member must satisfy enum value set: [ipv4, dualstack]"},
		{"CreateRestApi", create(params{"types": []any{}}, nil), bad + "REGIONAL Configuration and EDGE Configuration cannot be both DISABLED."},
		{"CreateRestApi", create(params{"types": []any{"EDGE", "PRIVATE"}}, nil), bad + "Cannot create an api with multiple Endpoint Types."},
		{"CreateRestApi", create(params{"types": []any{"PRIVATE"}, "ipAddressType": "ipv4"}, nil), bad + "Only dualstack ipAddressType is supported for Private APIs."},
		{"CreateRestApi", create(params{"types": []any{"PRIVATE"}, "ipAddressType": "ipv4"}, params{"description": ""}), bad + "Description cannot be an empty string"},
		{"CreateRestApi", create(params{"types": []any{"REGIONAL"}, "vpcEndpointIds": []any{"vpce-0212a4ababd5b8c3e"}}, nil), bad + "VPCEndpoints can only be specified with PRIVATE apis."},
		{"UpdateStage", stage("remove /canarySettings/badPath"), bad + "Cannot remove method setting canarySettings/badPath because there is no method setting for this method "},
		{"UpdateStage", stage("replace /accessLogSettings/nothing x"), bad + "Invalid accessLogSettings path. Must be one of : [/accessLogSettings/destinationArn, /accessLogSettings/format]"},
		{"CreateRequestValidator", params{"restApiId": "nope", "name": "x"}, bad + "Invalid REST API identifier specified"},
		{"CreateRequestValidator", api(params{"name": ""}), bad + "Request Validator name cannot be blank"},
		{"GetRequestValidator", params{"restApiId": "nope", "requestValidatorId": "x"}, notFound + "Invalid Request Validator identifier specified"},
		{"CreateModel", api(params{"name": "Empty", "contentType": "application/json", "schema": `{"type":"object"}`}), conflict + "Model name already exists for this REST API"},
		{"CreateModel", api(params{"name": "", "contentType": "application/json", "schema": `{"type":"object"}`}), bad + "Model name must be non-empty"},
		{"GetModel", api(params{"modelName": "nope"}), notFound + "Invalid model name specified: nope"},
		{"UpdateModel", params{"restApiId": "nope", "modelName": "nope", "patchOperations": patches("replace /description x")}, notFound + "Invalid model name specified: nope"},
		{"UpdateMethod", params{"restApiId": "nope", "resourceId": "x", "httpMethod": "GET", "patchOperations": patches("replace /operationName x")}, notFound + "Invalid Resource identifier specified"},
		{"DeleteIntegrationResponse", f.get(params{"httpMethod": "PUT", "statusCode": "200"}), notFound + "Invalid Integration identifier specified"},
		{"GetIntegration", f.get(params{"httpMethod": "PUT"}), notFound + "Invalid Method identifier specified"},
		{"DeleteMethod", f.get(params{"httpMethod": "PUT"}), notFound + "Invalid Method identifier specified"},
		{"DeleteStage", api(params{"stageName": "nope"}), notFound + "Invalid stage identifier specified"},
		{"DeleteResource", api(params{"resourceId": "{root}"}), bad + "Cannot remove root resource"},
	} {
		answer, err := f.clients.invoke(t.Context(), "apigateway", tc.operation, f.fill(tc.params).(map[string]any))
		if err != nil {
			t.Errorf("%s %v: %v", tc.operation, tc.params, err)
			continue
		}
		want := f.fill(tc.want).(string)
		got := fmt.Sprintf("%v", at(t, answer, "ResponseMetadata", "HTTPStatusCode"))
		if answer["Error"] != nil {
			got += fmt.Sprintf(" %s %s", text(t, answer, "Error", "Code"), text(t, answer, "Error", "Message"))
		}
		if got != want {
			t.Errorf("%s %v\n  want %s\n  got  %s", tc.operation, tc.params, want, got)
		}
	}
}
