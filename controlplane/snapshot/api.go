package snapshot

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/posternhq/postern/controlplane/state"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

func apiName(id string) string { return "api/" + id }

// api offers what takes effect without a deployment: the endpoint type.
func (b *Builder) api(k state.Key, r *statev1.Record) {
	types := r.GetRestApi().GetEndpointConfiguration().GetTypes().GetValues()
	_, was := b.offered[apiName(k.ID)]
	switch is := len(types) > 0; {
	case is && !was:
		b.counted(k.Region, 1)
	case was && !is:
		b.counted(k.Region, -1)
	}
	if len(types) == 0 {
		b.offer(apiName(k.ID), "", nil)
		return
	}
	b.offer(apiName(k.ID), "", &edgev1.Api{Id: k.ID, Account: k.Account, Region: k.Region, EndpointType: types[0]})
}

func (b *Builder) stage(v *state.View, k state.Key, r *statev1.Record) {
	apiID, name, _ := strings.Cut(k.ID, "/")
	resource := apiName(apiID) + "/stage/" + name
	m := stageMessage(v, k, apiID, r.GetStage())
	if m == nil || v.Get(state.Key{Type: statev1.Type_TYPE_REST_API, Account: k.Account, Region: k.Region, ID: apiID}) == nil {
		b.offer(resource, "", nil)
		return
	}
	b.offer(resource, "", m)
}

// stageMessage joins a stage's own settings, which act at once, with what its
// deployment froze. It returns nil if a deployment does not exist.
func stageMessage(v *state.View, k state.Key, apiID string, s *apigatewayv1.Stage) *edgev1.Stage {
	if s == nil {
		return nil
	}
	m := deployed(v, k, apiID, s.GetDeploymentId())
	if m == nil {
		return nil
	}
	own := func(m *edgev1.Stage, variables *awsv1.StringMap) {
		m.Name, m.Variables, m.MethodSettings = s.GetStageName(), variables, s.GetMethodSettings().GetEntries()
	}
	own(m, s.GetVariables())
	if c := s.GetCanarySettings(); c != nil && c.GetDeploymentId() != "" {
		canary := deployed(v, k, apiID, c.GetDeploymentId())
		if canary == nil {
			return nil
		}
		own(canary, overridden(s.GetVariables(), c.GetStageVariableOverrides()))
		m.Canary = &edgev1.Canary{PercentTraffic: c.GetPercentTraffic(), Stage: canary}
	}
	return m
}

func overridden(variables, by *awsv1.StringMap) *awsv1.StringMap {
	if len(by.GetEntries()) == 0 {
		return variables
	}
	merged := maps.Clone(variables.GetEntries())
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, by.GetEntries())
	return &awsv1.StringMap{Entries: merged}
}

// deployed is the part of a stage that its deployment froze, nil if there is no
// such deployment. It shares the messages of the record.
func deployed(v *state.View, k state.Key, apiID, deploymentID string) *edgev1.Stage {
	r := v.Get(state.Key{Type: statev1.Type_TYPE_DEPLOYMENT, Account: k.Account, Region: k.Region, ID: apiID + "/" + deploymentID})
	d := r.GetDeployment()
	if d == nil {
		return nil
	}
	m := &edgev1.Stage{
		ApiId: apiID, Account: k.Account, Region: k.Region, DeploymentId: deploymentID,
		DisableExecuteApiEndpoint: d.GetRestApi().GetDisableExecuteApiEndpoint(),
		Policy:                    d.GetRestApi().GetPolicy(),
		BinaryMediaTypes:          d.GetRestApi().GetBinaryMediaTypes(),
		RequestValidators:         slices.SortedFunc(slices.Values(d.GetRequestValidators()), byID[*apigatewayv1.RequestValidator]),
		Models:                    slices.SortedFunc(slices.Values(d.GetModels()), byID[*apigatewayv1.Model]),
	}
	if api := d.GetRestApi(); api != nil {
		m.MinimumCompressionSize = api.MinimumCompressionSize
	}
	for _, res := range d.GetResources() {
		for verb, method := range res.GetResourceMethods() {
			m.Routes = append(m.Routes, &edgev1.Route{ResourceId: res.GetId(), Path: res.GetPath(), HttpMethod: verb, Method: method})
		}
		if len(res.GetResourceMethods()) == 0 {
			// It exists all the same: routing must know.
			m.Routes = append(m.Routes, &edgev1.Route{ResourceId: res.GetId(), Path: res.GetPath()})
		}
	}
	slices.SortFunc(m.Routes, func(a, b *edgev1.Route) int {
		return cmp.Or(strings.Compare(a.GetPath(), b.GetPath()), strings.Compare(a.GetHttpMethod(), b.GetHttpMethod()))
	})
	return m
}

func byID[T interface{ GetId() string }](a, b T) int { return strings.Compare(a.GetId(), b.GetId()) }
