package compile

import (
	"fmt"
	"sync"

	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/route"
)

func (c Config) compileStage(m *edgev1.Stage) (*Stage, error) {
	s := &Stage{
		APIID: m.GetApiId(), Account: m.GetAccount(), Region: m.GetRegion(), Name: m.GetName(),
		DeploymentID:            m.GetDeploymentId(),
		DefaultEndpointDisabled: m.GetDisableExecuteApiEndpoint(),
		Variables:               m.GetVariables().GetEntries(),
		BinaryMediaTypes:        m.GetBinaryMediaTypes(),
		MinimumCompressionSize:  -1,
		MethodSettings:          m.GetMethodSettings(),
	}
	if m.MinimumCompressionSize != nil {
		s.MinimumCompressionSize = int(m.GetMinimumCompressionSize())
	}
	if len(m.GetRequestValidators()) > 0 {
		s.RequestValidators = make(map[string]*apigatewayv1.RequestValidator, len(m.GetRequestValidators()))
		for _, v := range m.GetRequestValidators() {
			s.RequestValidators[v.GetId()] = v
		}
	}
	if len(m.GetModels()) > 0 {
		s.Models = make(map[string]*apigatewayv1.Model, len(m.GetModels()))
		for _, v := range m.GetModels() {
			s.Models[v.GetName()] = v
		}
	}
	var err error
	if s.Policy, err = compilePolicy(m.GetPolicy()); err != nil {
		return nil, err
	}
	s.bind()
	s.named = sync.OnceValue(namedProgram(s.Policy))
	if s.Router, err = c.compileRoutes(m); err != nil {
		return nil, err
	}
	if canary := m.GetCanary(); canary != nil {
		other, err := c.compileStage(canary.GetStage())
		if err != nil {
			return nil, fmt.Errorf("canary: %w", err)
		}
		s.Canary = &Canary{PercentTraffic: canary.GetPercentTraffic(), Stage: other}
	}
	return s, nil
}

func (c Config) compileRoutes(m *edgev1.Stage) (*route.Router[*Method], error) {
	routes := make([]route.Route[*Method], 0, len(m.GetRoutes()))
	for _, r := range m.GetRoutes() {
		rt := route.Route[*Method]{Path: r.GetPath(), Method: r.GetHttpMethod()}
		if rt.Method != "" {
			method := &Method{ResourceID: r.GetResourceId(), ResourcePath: r.GetPath(), HTTPMethod: r.GetHttpMethod(), Method: r.GetMethod()}
			if c.Integration != nil {
				var err error
				if method.Integration, err = c.Integration(m, r); err != nil {
					return nil, fmt.Errorf("integration of %s %s: %w", rt.Method, rt.Path, err)
				}
			}
			rt.Value = method
		}
		routes = append(routes, rt)
	}
	return route.NewRouter(routes)
}

// compilePolicy returns nil for no policy.
func compilePolicy(text string) (*policy.Program, error) {
	if text == "" {
		return nil, nil
	}
	doc, err := policy.Parse([]byte(text))
	if err != nil {
		return nil, err
	}
	return policy.Compile(doc)
}
