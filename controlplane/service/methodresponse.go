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

func errNoResponse() error { return apierr.NotFound("Invalid Response status code specified") }

// changeMethod is changeResource for what lies inside one method.
func (s *apiGateway) changeMethod(ctx context.Context, apiID, resourceID, verb string, missing error, change func(a *restAPI, m *apigatewayv1.Method) error) error {
	return s.changeResource(ctx, apiID, resourceID, inMethod(verb, missing, change))
}

// inMethod is a change of a resource that changes one of its methods.
func inMethod(verb string, missing error, change func(a *restAPI, m *apigatewayv1.Method) error) func(*restAPI, *apigatewayv1.Resource) error {
	return func(a *restAPI, r *apigatewayv1.Resource) error {
		m := r.ResourceMethods[verb]
		if m == nil {
			return missing
		}
		return change(a, m)
	}
}

func (s *apiGateway) PutMethodResponse(ctx context.Context, req *apigatewayv1.PutMethodResponseRequest) (*apigatewayv1.MethodResponse, error) {
	who := caller(ctx)
	return create(ctx, s.cfg, "PutMethodResponse", req, func(v *state.View) (*statev1.Txn, *apigatewayv1.MethodResponse, error) {
		made := &apigatewayv1.MethodResponse{
			StatusCode:         new(req.GetStatusCode()),
			ResponseParameters: proto.CloneOf(req.ResponseParameters),
			ResponseModels:     proto.CloneOf(req.ResponseModels),
		}
		put := inMethod(req.GetHttpMethod(), errNoMethod(), func(a *restAPI, m *apigatewayv1.Method) error {
			if m.MethodResponses[req.GetStatusCode()] != nil {
				return apierr.Conflict("Response already exists for this resource")
			}
			for _, name := range slices.Sorted(maps.Keys(req.GetResponseParameters().GetEntries())) {
				if err := checkResponseParameter(name); err != nil {
					return err
				}
			}
			if err := checkModels(a, req.GetResponseModels().GetEntries()); err != nil {
				return err
			}
			if m.MethodResponses == nil {
				m.MethodResponses = make(map[string]*apigatewayv1.MethodResponse)
			}
			m.MethodResponses[req.GetStatusCode()] = made
			return nil
		})
		txn, err := resourceTxn(v, who, req.GetRestApiId(), req.GetResourceId(), put)
		return txn, made, err
	})
}

// checkResponseParameter checks the name of a parameter that a method answers with.
func checkResponseParameter(name string) error {
	header, ok := strings.CutPrefix(name, "method.response.header.")
	if !ok || !parameterName.MatchString(header) {
		return apierr.BadRequest("Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression specified: %s]", name)
	}
	return nil
}

func (s *apiGateway) GetMethodResponse(ctx context.Context, req *apigatewayv1.GetMethodResponseRequest) (*apigatewayv1.MethodResponse, error) {
	m, err := s.readMethod(ctx, req.GetRestApiId(), req.GetResourceId(), req.GetHttpMethod())
	if err != nil {
		return nil, err
	}
	r := m.GetMethodResponses()[req.GetStatusCode()]
	if r == nil {
		return nil, errNoResponse()
	}
	return r, nil
}

func (s *apiGateway) DeleteMethodResponse(ctx context.Context, req *apigatewayv1.DeleteMethodResponseRequest) (*apigatewayv1.Empty, error) {
	err := s.changeMethod(ctx, req.GetRestApiId(), req.GetResourceId(), req.GetHttpMethod(), errNoMethod(), func(_ *restAPI, m *apigatewayv1.Method) error {
		if m.MethodResponses[req.GetStatusCode()] == nil {
			return errNoResponse()
		}
		delete(m.MethodResponses, req.GetStatusCode())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &apigatewayv1.Empty{}, nil
}

func (s *apiGateway) UpdateMethodResponse(ctx context.Context, req *apigatewayv1.UpdateMethodResponseRequest) (*apigatewayv1.MethodResponse, error) {
	var after *apigatewayv1.MethodResponse
	err := s.changeMethod(ctx, req.GetRestApiId(), req.GetResourceId(), req.GetHttpMethod(), errNoMethod(), func(a *restAPI, m *apigatewayv1.Method) (err error) {
		before := m.MethodResponses[req.GetStatusCode()]
		if before == nil {
			return errNoResponse()
		}
		table := methodResponsePatch(a)
		if after, err = table.apply(before, req.GetPatchOperations()); err != nil {
			return err
		}
		m.MethodResponses[req.GetStatusCode()] = after
		return nil
	})
	if err != nil {
		return nil, err
	}
	return after, nil
}

func methodResponsePatch(a *restAPI) *patchTable[*apigatewayv1.MethodResponse] {
	type response = *apigatewayv1.MethodResponse
	parameters := boolEntries(func(r response) **awsv1.BoolMap { return &r.ResponseParameters })
	models := stringEntries(func(r response) **awsv1.StringMap { return &r.ResponseModels })
	models.missing = errNoContentType
	models.parse = func(name string) (string, error) { return name, checkModel(a, name) }
	return &patchTable[response]{
		refuse: refuseClassic[response],
		rows: []patchRow[response]{
			{"/responseParameters/{}", opsEdit, func(r response, p *patch) error {
				if p.op == "add" {
					if err := checkResponseParameter(p.args[0]); err != nil {
						return err
					}
				}
				return parameters.apply(r, p)
			}},
			{"/responseModels/{}", opsEdit, models.apply},
		},
	}
}
