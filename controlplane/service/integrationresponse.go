package service

import (
	"context"

	"google.golang.org/protobuf/proto"

	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

func (s *apiGateway) PutIntegrationResponse(ctx context.Context, req *apigatewayv1.PutIntegrationResponseRequest) (*apigatewayv1.IntegrationResponse, error) {
	var made *apigatewayv1.IntegrationResponse
	err := s.changeMethod(ctx, req.GetRestApiId(), req.GetResourceId(), req.GetHttpMethod(), errNoMethod(), func(_ *restAPI, m *apigatewayv1.Method) error {
		in := m.MethodIntegration
		if in == nil {
			return errNoIntegration()
		}
		r := &apigatewayv1.IntegrationResponse{
			StatusCode:         new(req.GetStatusCode()),
			SelectionPattern:   req.SelectionPattern,
			ResponseParameters: proto.CloneOf(req.ResponseParameters),
			ResponseTemplates:  storedTemplates(req.ResponseTemplates),
			ContentHandling:    given(req.ContentHandling),
		}
		if err := checkIntegrationResponse(m, r); err != nil {
			return err
		}
		if in.IntegrationResponses == nil {
			in.IntegrationResponses = make(map[string]*apigatewayv1.IntegrationResponse)
		}
		in.IntegrationResponses[req.GetStatusCode()] = r
		made = r
		return nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// checkIntegrationResponse checks a response that is about to be stored as a whole.
func checkIntegrationResponse(m *apigatewayv1.Method, r *apigatewayv1.IntegrationResponse) error {
	if err := checkTemplates(r.GetResponseTemplates().GetEntries()); err != nil {
		return err
	}
	return checkMappings(r.GetResponseParameters().GetEntries(), func(destination, source string) string {
		return checkResponseMapping(m, r.GetStatusCode(), destination, source)
	})
}

func (s *apiGateway) GetIntegrationResponse(ctx context.Context, req *apigatewayv1.GetIntegrationResponseRequest) (*apigatewayv1.IntegrationResponse, error) {
	m, err := s.readMethod(ctx, req.GetRestApiId(), req.GetResourceId(), req.GetHttpMethod())
	if err != nil {
		return nil, err
	}
	if m.MethodIntegration == nil {
		return nil, errNoIntegration()
	}
	r := m.MethodIntegration.IntegrationResponses[req.GetStatusCode()]
	if r == nil {
		return nil, errNoResponse()
	}
	return r, nil
}

func (s *apiGateway) DeleteIntegrationResponse(ctx context.Context, req *apigatewayv1.DeleteIntegrationResponseRequest) (*apigatewayv1.Empty, error) {
	err := s.changeMethod(ctx, req.GetRestApiId(), req.GetResourceId(), req.GetHttpMethod(), errNoIntegration(), func(_ *restAPI, m *apigatewayv1.Method) error {
		switch in := m.MethodIntegration; {
		case in == nil:
			return errNoIntegration()
		case in.IntegrationResponses[req.GetStatusCode()] == nil:
			return errNoResponse()
		}
		delete(m.MethodIntegration.IntegrationResponses, req.GetStatusCode())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &apigatewayv1.Empty{}, nil
}

func (s *apiGateway) UpdateIntegrationResponse(ctx context.Context, req *apigatewayv1.UpdateIntegrationResponseRequest) (*apigatewayv1.IntegrationResponse, error) {
	var after *apigatewayv1.IntegrationResponse
	err := s.changeMethod(ctx, req.GetRestApiId(), req.GetResourceId(), req.GetHttpMethod(), errNoMethod(), func(_ *restAPI, m *apigatewayv1.Method) (err error) {
		if m.MethodIntegration == nil {
			return errNoIntegration()
		}
		before := m.MethodIntegration.IntegrationResponses[req.GetStatusCode()]
		if before == nil {
			return errNoResponse()
		}
		if after, err = integrationResponsePatch.apply(before, req.GetPatchOperations()); err != nil {
			return err
		}
		if err := checkIntegrationResponse(m, after); err != nil {
			return err
		}
		m.MethodIntegration.IntegrationResponses[req.GetStatusCode()] = after
		return nil
	})
	if err != nil {
		return nil, err
	}
	return after, nil
}

var integrationResponsePatch = func() *patchTable[*apigatewayv1.IntegrationResponse] {
	type response = *apigatewayv1.IntegrationResponse
	parameters := stringEntries(func(r response) **awsv1.StringMap { return &r.ResponseParameters })
	parameters.upsert = true
	templates := templateEntries(func(r response) **awsv1.NullableStringMap { return &r.ResponseTemplates })
	return &patchTable[response]{
		refuse: refuseClassic[response],
		rows: []patchRow[response]{
			{"/selectionPattern", opsReplace, func(r response, p *patch) error {
				r.SelectionPattern = new(p.value)
				return nil
			}},
			{"/contentHandling", opsReplaceRemove, patchContentHandling(func(r response) **string { return &r.ContentHandling })},
			{"/responseParameters/{}", opsEdit, parameters.apply},
			{"/responseTemplates/{}", opsEdit, templates.apply},
		},
	}
}()
