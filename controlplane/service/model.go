package service

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Names of the models that every API begins with.
const (
	modelEmpty = "Empty"
	modelError = "Error"
)

func errNoModel(name string) error { return apierr.NotFound("Invalid model name specified: %s", name) }

func errNoSchema() error {
	return apierr.BadRequest("Model schema must have at least 1 property or array items defined")
}

func (s *apiGateway) defaultModels() []*apigatewayv1.Model {
	schema := func(name, more string) string {
		return fmt.Sprintf("{\n  \"$schema\" : \"http://json-schema.org/draft-04/schema#\",\n  \"title\" : \"%s Schema\",\n  \"type\" : \"object\"%s\n}", name, more)
	}
	return []*apigatewayv1.Model{
		{
			Id:          new(s.cfg.alphanumeric(idLength)),
			Name:        new(modelEmpty),
			Description: new("This is a default empty schema model"),
			Schema:      new(schema(modelEmpty, "")),
			ContentType: new("application/json"),
		},
		{
			Id:          new(s.cfg.alphanumeric(idLength)),
			Name:        new(modelError),
			Description: new("This is a default error schema model"),
			Schema:      new(schema(modelError, ",\n  \"properties\" : {\n    \"message\" : { \"type\" : \"string\" }\n  }")),
			ContentType: new("application/json"),
		},
	}
}

func (s *apiGateway) CreateModel(ctx context.Context, req *apigatewayv1.CreateModelRequest) (*apigatewayv1.Model, error) {
	who := caller(ctx)
	return create(ctx, s.cfg, "CreateModel", req, func(v *state.View) (*statev1.Txn, *apigatewayv1.Model, error) {
		a, err := findAPI(v, who, req.GetRestApiId())
		if err != nil {
			return nil, nil, err
		}
		switch {
		case req.GetName() == "":
			return nil, nil, apierr.BadRequest("Model name must be non-empty")
		case strings.Contains(req.GetName(), "/"):
			return nil, nil, apierr.BadRequest("Model name must be alphanumeric: %s", req.GetName())
		case a.child(statev1.Type_TYPE_MODEL, req.GetName()) != nil:
			return nil, nil, apierr.Conflict("Model name already exists for this REST API")
		case req.GetSchema() == "":
			return nil, nil, errNoSchema()
		}
		made := &apigatewayv1.Model{
			Id:          new(s.cfg.alphanumeric(idLength)),
			Name:        req.Name,
			Description: given(req.Description),
			Schema:      req.Schema,
			ContentType: req.ContentType,
		}
		return a.change(modelRecord(who, a.GetId(), made)), made, nil
	})
}

func (s *apiGateway) GetModel(ctx context.Context, req *apigatewayv1.GetModelRequest) (*apigatewayv1.Model, error) {
	a, err := s.readAPIElse(ctx, req.GetRestApiId(), errNoModel(req.GetModelName()))
	if err != nil {
		return nil, err
	}
	m := a.child(statev1.Type_TYPE_MODEL, req.GetModelName()).GetModel()
	if m == nil {
		return nil, errNoModel(req.GetModelName())
	}
	return m, nil
}

// GetModels lists the user's own models first, then those of every API.
func (s *apiGateway) GetModels(ctx context.Context, req *apigatewayv1.GetModelsRequest) (*apigatewayv1.GetModelsResponse, error) {
	a, err := s.readAPI(ctx, req.GetRestApiId())
	if err != nil {
		return nil, err
	}
	order := func(r *statev1.Record) string {
		name := r.GetModel().GetName()
		if name == modelEmpty || name == modelError {
			return "1" + name
		}
		return "0" + name
	}
	records, position, err := listPage(a.children(statev1.Type_TYPE_MODEL), order, req.Limit, req.Position)
	if err != nil {
		return nil, err
	}
	out := &apigatewayv1.GetModelsResponse{Position: position}
	for _, r := range records {
		out.Item = append(out.Item, r.GetModel())
	}
	return out, nil
}

func (s *apiGateway) DeleteModel(ctx context.Context, req *apigatewayv1.DeleteModelRequest) (*apigatewayv1.Empty, error) {
	who := caller(ctx)
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		a, err := findAPIElse(v, who, req.GetRestApiId(), errNoModel(req.GetModelName()))
		if err != nil {
			return nil, err
		}
		record := a.child(statev1.Type_TYPE_MODEL, req.GetModelName())
		if record == nil {
			return nil, errNoModel(req.GetModelName())
		}
		if user := a.modelUser(req.GetModelName()); user != "" {
			return nil, apierr.Conflict("Cannot delete model '%s', is referenced in %s", req.GetModelName(), user)
		}
		return a.remove(record), nil
	})
	if err != nil {
		return nil, err
	}
	return &apigatewayv1.Empty{}, nil
}

// modelUser names a method that uses the model, "" if none does.
func (a *restAPI) modelUser(model string) string {
	for method, m := range a.methods() {
		for _, name := range m.GetRequestModels().GetEntries() {
			if name == model {
				return "method request: " + method
			}
		}
		for _, status := range slices.Sorted(maps.Keys(m.GetMethodResponses())) {
			for _, name := range m.GetMethodResponses()[status].GetResponseModels().GetEntries() {
				if name == model {
					return "method response: " + method + "/" + status
				}
			}
		}
	}
	return ""
}

// methods are all methods of the API by "path/VERB", the deepest paths first.
// Which user of a model AWS names when there are several is recorded so.
func (a *restAPI) methods() func(yield func(string, *apigatewayv1.Method) bool) {
	records := a.children(statev1.Type_TYPE_RESOURCE)
	slices.SortFunc(records, func(x, y *statev1.Record) int {
		return strings.Compare(y.GetResource().GetPath(), x.GetResource().GetPath())
	})
	return func(yield func(string, *apigatewayv1.Method) bool) {
		for _, r := range records {
			methods := r.GetResource().GetResourceMethods()
			for _, verb := range slices.Sorted(maps.Keys(methods)) {
				if !yield(r.GetResource().GetPath()+"/"+verb, methods[verb]) {
					return
				}
			}
		}
	}
}

func (s *apiGateway) UpdateModel(ctx context.Context, req *apigatewayv1.UpdateModelRequest) (*apigatewayv1.Model, error) {
	who := caller(ctx)
	var after *apigatewayv1.Model
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		a, err := findAPIElse(v, who, req.GetRestApiId(), errNoModel(req.GetModelName()))
		if err != nil {
			return nil, err
		}
		before := a.child(statev1.Type_TYPE_MODEL, req.GetModelName()).GetModel()
		if before == nil {
			return nil, errNoModel(req.GetModelName())
		}
		if after, err = modelPatch.apply(before, req.GetPatchOperations()); err != nil {
			return nil, err
		}
		return a.change(modelRecord(who, a.GetId(), after)), nil
	})
	if err != nil {
		return nil, err
	}
	return after, nil
}

var modelPatch = &patchTable[*apigatewayv1.Model]{
	refuse: refuseModern[*apigatewayv1.Model],
	rows: []patchRow[*apigatewayv1.Model]{
		{"/description", opsReplace, setString(func(m *apigatewayv1.Model) **string { return &m.Description })},
		{"/schema", opsReplace, func(m *apigatewayv1.Model, p *patch) error {
			if p.value == "" {
				return errNoSchema()
			}
			m.Schema = new(p.value)
			return nil
		}},
	},
}
