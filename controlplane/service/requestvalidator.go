package service

import (
	"context"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

func errNoValidator() error {
	return apierr.NotFound("Invalid Request Validator identifier specified")
}

func errBlankValidator() error { return apierr.BadRequest("Request Validator name cannot be blank") }

func (s *apiGateway) CreateRequestValidator(ctx context.Context, req *apigatewayv1.CreateRequestValidatorRequest) (*apigatewayv1.RequestValidator, error) {
	who := caller(ctx)
	return create(ctx, s.cfg, "CreateRequestValidator", req, func(v *state.View) (*statev1.Txn, *apigatewayv1.RequestValidator, error) {
		a, err := findAPIElse(v, who, req.GetRestApiId(), apierr.BadRequest("Invalid REST API identifier specified"))
		if err != nil {
			return nil, nil, err
		}
		if req.GetName() == "" {
			return nil, nil, errBlankValidator()
		}
		made := &apigatewayv1.RequestValidator{
			Id:                        new(s.unusedID(a, statev1.Type_TYPE_REQUEST_VALIDATOR)),
			Name:                      req.Name,
			ValidateRequestBody:       new(req.GetValidateRequestBody()),
			ValidateRequestParameters: new(req.GetValidateRequestParameters()),
		}
		return a.change(validatorRecord(who, a.GetId(), made)), made, nil
	})
}

func (s *apiGateway) GetRequestValidator(ctx context.Context, req *apigatewayv1.GetRequestValidatorRequest) (*apigatewayv1.RequestValidator, error) {
	a, err := s.readAPIElse(ctx, req.GetRestApiId(), errNoValidator())
	if err != nil {
		return nil, err
	}
	rv := a.child(statev1.Type_TYPE_REQUEST_VALIDATOR, req.GetRequestValidatorId()).GetRequestValidator()
	if rv == nil {
		return nil, errNoValidator()
	}
	return rv, nil
}

func (s *apiGateway) GetRequestValidators(ctx context.Context, req *apigatewayv1.GetRequestValidatorsRequest) (*apigatewayv1.GetRequestValidatorsResponse, error) {
	a, err := s.readAPI(ctx, req.GetRestApiId())
	if err != nil {
		return nil, err
	}
	records, position, err := listPage(a.children(statev1.Type_TYPE_REQUEST_VALIDATOR), byCreation, req.Limit, req.Position)
	if err != nil {
		return nil, err
	}
	out := &apigatewayv1.GetRequestValidatorsResponse{Position: position}
	for _, r := range records {
		out.Item = append(out.Item, r.GetRequestValidator())
	}
	return out, nil
}

func (s *apiGateway) DeleteRequestValidator(ctx context.Context, req *apigatewayv1.DeleteRequestValidatorRequest) (*apigatewayv1.Empty, error) {
	who := caller(ctx)
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		a, err := findAPIElse(v, who, req.GetRestApiId(), errNoValidator())
		if err != nil {
			return nil, err
		}
		record := a.child(statev1.Type_TYPE_REQUEST_VALIDATOR, req.GetRequestValidatorId())
		if record == nil {
			return nil, errNoValidator()
		}
		for method, m := range a.methods() {
			if m.GetRequestValidatorId() == req.GetRequestValidatorId() {
				return nil, apierr.Conflict("Cannot delete request validator '%s', is referenced in method request: %s", req.GetRequestValidatorId(), method)
			}
		}
		return a.remove(record), nil
	})
	if err != nil {
		return nil, err
	}
	return &apigatewayv1.Empty{}, nil
}

func (s *apiGateway) UpdateRequestValidator(ctx context.Context, req *apigatewayv1.UpdateRequestValidatorRequest) (*apigatewayv1.RequestValidator, error) {
	who := caller(ctx)
	var after *apigatewayv1.RequestValidator
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		a, err := findAPIElse(v, who, req.GetRestApiId(), errNoValidator())
		if err != nil {
			return nil, err
		}
		before := a.child(statev1.Type_TYPE_REQUEST_VALIDATOR, req.GetRequestValidatorId()).GetRequestValidator()
		if before == nil {
			return nil, errNoValidator()
		}
		if after, err = validatorPatch.apply(before, req.GetPatchOperations()); err != nil {
			return nil, err
		}
		return a.change(validatorRecord(who, a.GetId(), after)), nil
	})
	if err != nil {
		return nil, err
	}
	return after, nil
}

var validatorPatch = &patchTable[*apigatewayv1.RequestValidator]{
	refuse: refuseModern[*apigatewayv1.RequestValidator],
	rows: []patchRow[*apigatewayv1.RequestValidator]{
		{"/name", opsReplace, func(rv *apigatewayv1.RequestValidator, p *patch) error {
			if p.value == "" {
				return errBlankValidator()
			}
			rv.Name = new(p.value)
			return nil
		}},
		{"/validateRequestParameters", opsReplace, setBool(func(rv *apigatewayv1.RequestValidator) **bool { return &rv.ValidateRequestParameters })},
		{"/validateRequestBody", opsReplace, setBool(func(rv *apigatewayv1.RequestValidator) **bool { return &rv.ValidateRequestBody })},
	},
}
