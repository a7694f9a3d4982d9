package service

import (
	"context"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

var verbs = []string{"GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD", "ANY"}

var authorizationTypes = []string{"NONE", "AWS_IAM", "CUSTOM", "COGNITO_USER_POOLS"}

func errNoMethod() error { return apierr.NotFound("Invalid Method identifier specified") }

// checkVerb checks the HTTP verb of a method or of its backend.
func checkVerb(verb string) error {
	if !slices.Contains(verbs, verb) {
		return apierr.BadRequest("Invalid HttpMethod specified. Valid options are %s", strings.Join(verbs, ","))
	}
	return nil
}

// changeResource commits what change makes of a copy of a resource.
func (s *apiGateway) changeResource(ctx context.Context, apiID, resourceID string, change func(a *restAPI, r *apigatewayv1.Resource) error) error {
	who := caller(ctx)
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		return resourceTxn(v, who, apiID, resourceID, change)
	})
	return err
}

// resourceTxn is the Txn of a change of one resource. An unknown API is
// answered like an unknown resource.
func resourceTxn(v *state.View, who Caller, apiID, resourceID string, change func(a *restAPI, r *apigatewayv1.Resource) error) (*statev1.Txn, error) {
	a, err := findAPIElse(v, who, apiID, errNoResource())
	if err != nil {
		return nil, err
	}
	record := a.child(statev1.Type_TYPE_RESOURCE, resourceID)
	if record == nil {
		return nil, errNoResource()
	}
	r := proto.CloneOf(record.GetResource())
	if err := change(a, r); err != nil {
		return nil, err
	}
	return a.change(resourceRecord(who, a.GetId(), r)), nil
}

// readMethod finds a method of a View.
func (s *apiGateway) readMethod(ctx context.Context, apiID, resourceID, verb string) (*apigatewayv1.Method, error) {
	a, err := s.readAPIElse(ctx, apiID, errNoResource())
	if err != nil {
		return nil, err
	}
	r := a.child(statev1.Type_TYPE_RESOURCE, resourceID).GetResource()
	if r == nil {
		return nil, errNoResource()
	}
	m := r.GetResourceMethods()[verb]
	if m == nil {
		return nil, errNoMethod()
	}
	return m, nil
}

func (s *apiGateway) PutMethod(ctx context.Context, req *apigatewayv1.PutMethodRequest) (*apigatewayv1.Method, error) {
	who := caller(ctx)
	return create(ctx, s.cfg, "PutMethod", req, func(v *state.View) (*statev1.Txn, *apigatewayv1.Method, error) {
		m := &apigatewayv1.Method{
			HttpMethod:          new(req.GetHttpMethod()),
			AuthorizationType:   new(strings.ToUpper(req.GetAuthorizationType())),
			AuthorizerId:        given(req.AuthorizerId),
			ApiKeyRequired:      new(req.GetApiKeyRequired()),
			OperationName:       given(req.OperationName),
			RequestParameters:   proto.CloneOf(req.RequestParameters),
			RequestModels:       proto.CloneOf(req.RequestModels),
			RequestValidatorId:  given(req.RequestValidatorId),
			AuthorizationScopes: proto.CloneOf(req.AuthorizationScopes),
		}
		txn, err := resourceTxn(v, who, req.GetRestApiId(), req.GetResourceId(), func(a *restAPI, r *apigatewayv1.Resource) error {
			if err := checkVerb(req.GetHttpMethod()); err != nil {
				return err
			}
			if r.ResourceMethods[req.GetHttpMethod()] != nil {
				return apierr.Conflict("Method already exists for this resource")
			}
			if err := checkMethod(a, m); err != nil {
				return err
			}
			if r.ResourceMethods == nil {
				r.ResourceMethods = make(map[string]*apigatewayv1.Method)
			}
			r.ResourceMethods[req.GetHttpMethod()] = m
			return nil
		})
		return txn, m, err
	})
}

// given is a member that AWS takes as absent when it is empty.
func given(s *string) *string {
	if s == nil || *s == "" {
		return nil
	}
	return new(*s)
}

// checkMethod checks a method that is about to be stored as a whole.
func checkMethod(a *restAPI, m *apigatewayv1.Method) error {
	if !slices.Contains(authorizationTypes, m.GetAuthorizationType()) {
		return apierr.BadRequest("Invalid authorizationType specified. Valid options are %s", strings.Join(authorizationTypes, ","))
	}
	if err := checkParameterNames(m.GetRequestParameters().GetEntries()); err != nil {
		return err
	}
	if usesAuthorizer(m) {
		return errAuthorizer()
	}
	if m.RequestValidatorId != nil && a.child(statev1.Type_TYPE_REQUEST_VALIDATOR, m.GetRequestValidatorId()) == nil {
		return apierr.BadRequest("Invalid Request Validator identifier specified")
	}
	return checkModels(a, m.GetRequestModels().GetEntries())
}

// usesAuthorizer: there are no authorizers yet, so such a method can't name one
// that exists.
func usesAuthorizer(m *apigatewayv1.Method) bool {
	return m.GetAuthorizationType() == "CUSTOM" || m.GetAuthorizationType() == "COGNITO_USER_POOLS"
}

func errAuthorizer() error {
	return apierr.BadRequest("Invalid authorizer ID specified. Setting the authorization type to CUSTOM or COGNITO_USER_POOLS requires a valid authorizer.")
}

// checkParameterNames checks the parameters that a method declares: their form,
// and that no name is used in two locations.
func checkParameterNames(parameters map[string]bool) error {
	names := make(map[string]bool)
	for _, p := range slices.Sorted(maps.Keys(parameters)) {
		if !isRequestParameter(p) {
			return apierr.BadRequest("Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression specified: %s]", p)
		}
		name := p[strings.LastIndexByte(p, '.')+1:]
		if names[name] {
			return apierr.BadRequest("Parameter names must be unique across querystring, header and path")
		}
		names[name] = true
	}
	return nil
}

// checkModels checks that the models of a content-type map exist.
func checkModels(a *restAPI, models map[string]string) error {
	for _, contentType := range slices.Sorted(maps.Keys(models)) {
		if err := checkModel(a, models[contentType]); err != nil {
			return err
		}
	}
	return nil
}

func checkModel(a *restAPI, name string) error {
	if name == "" || a.child(statev1.Type_TYPE_MODEL, name) == nil {
		return apierr.BadRequest("Invalid model identifier specified: %s", name)
	}
	return nil
}

func (s *apiGateway) GetMethod(ctx context.Context, req *apigatewayv1.GetMethodRequest) (*apigatewayv1.Method, error) {
	return s.readMethod(ctx, req.GetRestApiId(), req.GetResourceId(), req.GetHttpMethod())
}

func (s *apiGateway) DeleteMethod(ctx context.Context, req *apigatewayv1.DeleteMethodRequest) (*apigatewayv1.Empty, error) {
	err := s.changeResource(ctx, req.GetRestApiId(), req.GetResourceId(), func(_ *restAPI, r *apigatewayv1.Resource) error {
		if r.ResourceMethods[req.GetHttpMethod()] == nil {
			return errNoMethod()
		}
		delete(r.ResourceMethods, req.GetHttpMethod())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &apigatewayv1.Empty{}, nil
}

func (s *apiGateway) UpdateMethod(ctx context.Context, req *apigatewayv1.UpdateMethodRequest) (*apigatewayv1.Method, error) {
	var after *apigatewayv1.Method
	err := s.changeResource(ctx, req.GetRestApiId(), req.GetResourceId(), func(a *restAPI, r *apigatewayv1.Resource) (err error) {
		before := r.ResourceMethods[req.GetHttpMethod()]
		if before == nil {
			return errNoMethod()
		}
		table := methodPatch(a)
		if after, err = table.apply(before, req.GetPatchOperations()); err != nil {
			return err
		}
		if usesAuthorizer(after) {
			return errAuthorizer()
		}
		after.AuthorizerId = nil // without a type that uses it, the authorizer is ignored
		r.ResourceMethods[req.GetHttpMethod()] = after
		return nil
	})
	if err != nil {
		return nil, err
	}
	return after, nil
}

func methodPatch(a *restAPI) *patchTable[*apigatewayv1.Method] {
	type method = *apigatewayv1.Method
	parameters := boolEntries(func(m method) **awsv1.BoolMap { return &m.RequestParameters })
	models := stringEntries(func(m method) **awsv1.StringMap { return &m.RequestModels })
	models.missing = errNoContentType
	models.parse = func(name string) (string, error) { return name, checkModel(a, name) }
	return &patchTable[method]{
		refuse: refuseClassic[method],
		rows: []patchRow[method]{
			{"/authorizationType", opsReplace, func(m method, p *patch) error {
				kind := strings.ToUpper(p.value)
				if !slices.Contains(authorizationTypes, kind) {
					return apierr.BadRequest("Invalid authorizationType specified. Valid options are %s", strings.Join(authorizationTypes, ","))
				}
				m.AuthorizationType = new(kind)
				return nil
			}},
			{"/authorizerId", opsReplace, setString(func(m method) **string { return &m.AuthorizerId })},
			{"/authorizationScopes", opsEdit, patchScopes},
			{"/apiKeyRequired", opsReplace, setBool(func(m method) **bool { return &m.ApiKeyRequired })},
			{"/operationName", opsReplace, setString(func(m method) **string { return &m.OperationName })},
			{"/requestValidatorId", opsReplace, func(m method, p *patch) error {
				if p.value != "" && a.child(statev1.Type_TYPE_REQUEST_VALIDATOR, p.value) == nil {
					return apierr.BadRequest("Invalid Request Validator identifier specified")
				}
				m.RequestValidatorId = given(&p.value)
				return nil
			}},
			{"/requestParameters/{}", opsEdit, func(m method, p *patch) error {
				if err := parameters.apply(m, p); err != nil {
					return err
				}
				return checkParameterNames(m.GetRequestParameters().GetEntries())
			}},
			{"/requestModels/{}", opsEdit, models.apply},
		},
	}
}

func patchScopes(m *apigatewayv1.Method, p *patch) error {
	scopes := slices.DeleteFunc(slices.Clone(m.GetAuthorizationScopes().GetValues()), func(s string) bool { return s == p.value })
	switch p.op {
	case "add":
		scopes = append(scopes, p.value)
	case "replace":
		scopes = strings.FieldsFunc(p.value, func(r rune) bool { return r == ',' })
	}
	m.AuthorizationScopes = nil
	if len(scopes) > 0 {
		m.AuthorizationScopes = &awsv1.StringList{Values: scopes}
	}
	return nil
}
