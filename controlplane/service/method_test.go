package service

import (
	"testing"

	"github.com/posternhq/postern/controlplane/apierr"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

func bools(names ...string) *awsv1.BoolMap {
	m := &awsv1.BoolMap{Entries: make(map[string]bool)}
	for _, n := range names {
		m.Entries[n] = true
	}
	return m
}

func strMap(pairs ...string) *awsv1.StringMap {
	m := &awsv1.StringMap{Entries: make(map[string]string)}
	for i := 0; i < len(pairs); i += 2 {
		m.Entries[pairs[i]] = pairs[i+1]
	}
	return m
}

func TestPutMethod(t *testing.T) {
	for _, c := range []struct {
		name string
		req  *apigatewayv1.PutMethodRequest
		kind apierr.Kind
		err  string
	}{
		{"plain", &apigatewayv1.PutMethodRequest{}, 0, ""},
		{"lower-case authorization", &apigatewayv1.PutMethodRequest{AuthorizationType: new("aws_iam")}, 0, ""},
		{"parameters", &apigatewayv1.PutMethodRequest{RequestParameters: bools("method.request.header.A", "method.request.path.b", "method.request.querystring.c[]")}, 0, ""},
		{"default model", &apigatewayv1.PutMethodRequest{RequestModels: strMap("application/json", "Error")}, 0, ""},
		{"unknown API", &apigatewayv1.PutMethodRequest{RestApiId: "nothing"}, apierr.KindNotFound, "Invalid Resource identifier specified"},
		{"unknown resource", &apigatewayv1.PutMethodRequest{ResourceId: "nothing"}, apierr.KindNotFound, "Invalid Resource identifier specified"},
		{"verb", &apigatewayv1.PutMethodRequest{HttpMethod: "get"}, apierr.KindInvalid, "Invalid HttpMethod specified. Valid options are GET,PUT,POST,DELETE,PATCH,OPTIONS,HEAD,ANY"},
		{"taken", &apigatewayv1.PutMethodRequest{HttpMethod: "PUT"}, apierr.KindConflict, "Method already exists for this resource"},
		{"authorizer", &apigatewayv1.PutMethodRequest{AuthorizationType: new("CUSTOM"), AuthorizerId: new("abc123")}, apierr.KindInvalid, "Invalid authorizer ID specified. Setting the authorization type to CUSTOM or COGNITO_USER_POOLS requires a valid authorizer."},
		{"validator", &apigatewayv1.PutMethodRequest{RequestValidatorId: new("abc123")}, apierr.KindInvalid, "Invalid Request Validator identifier specified"},
		{"model", &apigatewayv1.PutMethodRequest{RequestModels: strMap("application/json", "petModel")}, apierr.KindInvalid, "Invalid model identifier specified: petModel"},
		{"one name in two places", &apigatewayv1.PutMethodRequest{RequestParameters: bools("method.request.header.a", "method.request.path.a")}, apierr.KindInvalid, "Parameter names must be unique across querystring, header and path"},
		{"no such place", &apigatewayv1.PutMethodRequest{RequestParameters: bools("method.request.cookie.a")}, apierr.KindInvalid, "Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression specified: method.request.cookie.a]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newTestAPI(t)
			a.mock(a.root, "PUT")
			if c.req.RestApiId == "" {
				c.req.RestApiId = a.id
			}
			if c.req.ResourceId == "" {
				c.req.ResourceId = a.root
			}
			if c.req.HttpMethod == "" {
				c.req.HttpMethod = "GET"
			}
			if c.req.AuthorizationType == nil {
				c.req.AuthorizationType = new("NONE")
			}
			made, err := a.PutMethod(a.ctx, c.req)
			if c.err != "" {
				wantError(t, err, c.kind, c.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			read, err := a.GetMethod(a.ctx, &apigatewayv1.GetMethodRequest{RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := protoDiff(made, read); diff != "" {
				t.Errorf("answered and read differ:\n%s", diff)
			}
		})
	}
}

func TestUpdateMethod(t *testing.T) {
	for _, c := range []struct {
		name  string
		patch []string
		kind  apierr.Kind
		err   string
		check func(*apigatewayv1.Method) bool
	}{
		{"junk is false", []string{"replace /apiKeyRequired true", "replace /apiKeyRequired junk"}, 0, "", func(m *apigatewayv1.Method) bool { return m.ApiKeyRequired != nil && !m.GetApiKeyRequired() }},
		{"any case is true", []string{"replace /apiKeyRequired TRUE"}, 0, "", func(m *apigatewayv1.Method) bool { return m.GetApiKeyRequired() }},
		{"an emptied map is omitted", []string{"add /requestParameters/method.request.header.A true", "remove /requestParameters/method.request.header.A"}, 0, "", func(m *apigatewayv1.Method) bool { return m.RequestParameters == nil }},
		{"scopes", []string{"add /authorizationScopes a", "add /authorizationScopes b", "remove /authorizationScopes a"}, 0, "", func(m *apigatewayv1.Method) bool {
			return len(m.GetAuthorizationScopes().GetValues()) == 1
		}},
		{"an authorizer without use is ignored", []string{"replace /authorizerId abc123"}, 0, "", func(m *apigatewayv1.Method) bool { return m.AuthorizerId == nil }},
		{"authorizer", []string{"replace /authorizationType CUSTOM"}, apierr.KindInvalid, "Invalid authorizer ID specified. Setting the authorization type to CUSTOM or COGNITO_USER_POOLS requires a valid authorizer.", nil},
		{"path", []string{"replace /httpMethod PUT"}, apierr.KindInvalid, "Invalid patch path /httpMethod", nil},
		{"operation", []string{"add /authorizationType NONE"}, apierr.KindInvalid, "Invalid patch operation specified. Must be one of: [replace]", nil},
		{"slash not escaped", []string{"add /requestModels/application/json Empty"}, apierr.KindInvalid, "Invalid patch path /requestModels/application/json", nil},
		{"model", []string{"add /requestModels/application~1json petModel"}, apierr.KindInvalid, "Invalid model identifier specified: petModel", nil},
		{"absent parameter", []string{"remove /requestParameters/method.request.header.A"}, apierr.KindNotFound, "Invalid parameter name specified", nil},
		{"absent content type", []string{"remove /requestModels/application~1json"}, apierr.KindNotFound, "Content-Type specified was not found", nil},
		{"validator", []string{"replace /requestValidatorId abc123"}, apierr.KindInvalid, "Invalid Request Validator identifier specified", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newTestAPI(t)
			a.mock(a.root, "GET")
			after, err := a.UpdateMethod(a.ctx, &apigatewayv1.UpdateMethodRequest{RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET", PatchOperations: ops(c.patch...)})
			if c.err != "" {
				wantError(t, err, c.kind, c.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !c.check(after) {
				t.Errorf("method %v", after)
			}
		})
	}
}

func TestMethodResponses(t *testing.T) {
	a := newTestAPI(t)
	a.mock(a.root, "GET")
	put := &apigatewayv1.PutMethodResponseRequest{
		RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET", StatusCode: "200",
		ResponseParameters: bools("method.response.header.A"), ResponseModels: strMap("application/json", "Empty"),
	}
	if _, err := a.PutMethodResponse(a.ctx, put); err != nil {
		t.Fatal(err)
	}
	_, err := a.PutMethodResponse(a.ctx, put)
	wantError(t, err, apierr.KindConflict, "Response already exists for this resource")
	put.StatusCode, put.ResponseParameters = "201", bools("integration.response.header.A")
	_, err = a.PutMethodResponse(a.ctx, put)
	wantError(t, err, apierr.KindInvalid, "Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression specified: integration.response.header.A]")
	get := &apigatewayv1.GetMethodResponseRequest{RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET", StatusCode: "200"}
	if r, err := a.GetMethodResponse(a.ctx, get); err != nil || !r.GetResponseParameters().GetEntries()["method.response.header.A"] {
		t.Errorf("response %v, error %v", r, err)
	}
	if _, err := a.DeleteMethodResponse(a.ctx, &apigatewayv1.DeleteMethodResponseRequest{RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET", StatusCode: "200"}); err != nil {
		t.Fatal(err)
	}
	_, err = a.GetMethodResponse(a.ctx, get)
	wantError(t, err, apierr.KindNotFound, "Invalid Response status code specified")
}

func TestModelsAndValidatorsInUse(t *testing.T) {
	a := newTestAPI(t)
	a.mock(a.root, "GET")
	validator, err := a.CreateRequestValidator(a.ctx, &apigatewayv1.CreateRequestValidatorRequest{RestApiId: a.id, Name: new("v"), ValidateRequestBody: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.CreateModel(a.ctx, &apigatewayv1.CreateModelRequest{RestApiId: a.id, Name: new("pet"), ContentType: new("application/json"), Schema: new("{}")}); err != nil {
		t.Fatal(err)
	}
	_, err = a.CreateModel(a.ctx, &apigatewayv1.CreateModelRequest{RestApiId: a.id, Name: new("pet"), ContentType: new("application/json"), Schema: new("{}")})
	wantError(t, err, apierr.KindConflict, "Model name already exists for this REST API")
	if _, err := a.PutMethodResponse(a.ctx, &apigatewayv1.PutMethodResponseRequest{RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET", StatusCode: "200", ResponseModels: strMap("application/json", "pet")}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.UpdateMethod(a.ctx, &apigatewayv1.UpdateMethodRequest{RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET", PatchOperations: ops("replace /requestValidatorId " + validator.GetId())}); err != nil {
		t.Fatal(err)
	}
	if m, err := a.GetModel(a.ctx, &apigatewayv1.GetModelRequest{RestApiId: a.id, ModelName: "pet"}); err != nil || m.GetSchema() != "{}" {
		t.Errorf("model %v, error %v", m, err)
	}
	_, err = a.GetModel(a.ctx, &apigatewayv1.GetModelRequest{RestApiId: a.id, ModelName: "dog"})
	wantError(t, err, apierr.KindNotFound, "Invalid model name specified: dog")
	if list, err := a.GetRequestValidators(a.ctx, &apigatewayv1.GetRequestValidatorsRequest{RestApiId: a.id}); err != nil || len(list.GetItem()) != 1 {
		t.Errorf("validators %v, error %v", list, err)
	}
	after, err := a.UpdateRequestValidator(a.ctx, &apigatewayv1.UpdateRequestValidatorRequest{RestApiId: a.id, RequestValidatorId: validator.GetId(), PatchOperations: ops("replace /validateRequestBody junk", "replace /name w")})
	if err != nil || after.GetValidateRequestBody() || after.GetName() != "w" {
		t.Errorf("validator %v, error %v", after, err)
	}
	_, err = a.DeleteModel(a.ctx, &apigatewayv1.DeleteModelRequest{RestApiId: a.id, ModelName: "pet"})
	wantError(t, err, apierr.KindConflict, "Cannot delete model 'pet', is referenced in method response: //GET/200")
	_, err = a.DeleteRequestValidator(a.ctx, &apigatewayv1.DeleteRequestValidatorRequest{RestApiId: a.id, RequestValidatorId: validator.GetId()})
	wantError(t, err, apierr.KindConflict, "Cannot delete request validator '"+validator.GetId()+"', is referenced in method request: //GET")
	if _, err := a.DeleteMethod(a.ctx, &apigatewayv1.DeleteMethodRequest{RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.DeleteModel(a.ctx, &apigatewayv1.DeleteModelRequest{RestApiId: a.id, ModelName: "pet"}); err != nil {
		t.Error(err)
	}
	if _, err := a.DeleteRequestValidator(a.ctx, &apigatewayv1.DeleteRequestValidatorRequest{RestApiId: a.id, RequestValidatorId: validator.GetId()}); err != nil {
		t.Error(err)
	}
}
