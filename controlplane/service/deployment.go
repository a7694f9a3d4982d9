package service

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/internal/vtl"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

func errNoDeployment() error { return apierr.NotFound("Invalid Deployment identifier specified") }

func (s *apiGateway) CreateDeployment(ctx context.Context, req *apigatewayv1.CreateDeploymentRequest) (*apigatewayv1.Deployment, error) {
	who := caller(ctx)
	var content *statev1.Deployment
	var change *policyChange
	made, err := create(ctx, s.cfg, "CreateDeployment", req, func(v *state.View) (*statev1.Txn, *apigatewayv1.Deployment, error) {
		a, err := findAPI(v, who, req.GetRestApiId())
		if err != nil {
			return nil, nil, err
		}
		if err := checkCanaryDeployment(a, req); err != nil {
			return nil, nil, err
		}
		if content, err = freeze(a); err != nil {
			return nil, nil, err
		}
		made := &apigatewayv1.Deployment{
			Id:          new(s.unusedID(a, statev1.Type_TYPE_DEPLOYMENT)),
			Description: given(req.Description),
			CreatedDate: epoch(s.cfg.Now()),
		}
		content.Deployment = made
		change = changeOfPolicy(a, req.GetStageName())
		txn := a.change(deploymentRecord(who, a.GetId(), content))
		if req.GetStageName() != "" {
			stage, err := s.deployTo(a, req, made.GetId())
			if err != nil {
				return nil, nil, err
			}
			txn.Puts = append(txn.Puts, stageRecord(who, a.GetId(), stage))
		}
		for _, kicked := range kickDNS(s.cfg, v, state.KeyOf(a.record.Key)) {
			txn.Guards = append(txn.Guards, guard(kicked))
			txn.Puts = append(txn.Puts, kicked)
		}
		return txn, made, nil
	})
	if err != nil {
		return nil, err
	}
	warn(ctx, unrenderable(content.GetResources())...)
	change.log(ctx, s.cfg.Logger)
	return made, nil
}

// checkCanaryDeployment: a canary release goes to a stage that exists.
func checkCanaryDeployment(a *restAPI, req *apigatewayv1.CreateDeploymentRequest) error {
	const invalid = "Invalid deployment content specified."
	name := req.GetStageName()
	stage := a.child(statev1.Type_TYPE_STAGE, name).GetStage()
	switch {
	case req.CanarySettings == nil:
		if stage.GetCanarySettings() != nil {
			return apierr.BadRequest(invalid+"Stage %s has a canary release, so deploy to the canary or remove it first", name)
		}
		return nil
	case req.StageName == nil:
		return apierr.BadRequest(invalid + "Non null and non empty stageName must be provided for canary deployment. Provided value is null")
	case name == "":
		return apierr.BadRequest(invalid + "Non null and non empty stageName must be provided for canary deployment. Provided value is ")
	case stage == nil:
		return apierr.BadRequest(invalid+"Stage %s must already be created before making a canary release deployment", name)
	}
	return checkPercent(req.GetCanarySettings().GetPercentTraffic())
}

// freeze takes the content of a deployment from the API as it is.
func freeze(a *restAPI) (*statev1.Deployment, error) {
	d := &statev1.Deployment{RestApi: a.RestApi}
	methods := 0
	for _, r := range a.children(statev1.Type_TYPE_RESOURCE) {
		d.Resources = append(d.Resources, r.GetResource())
		for _, m := range r.GetResource().GetResourceMethods() {
			methods++
			if m.MethodIntegration == nil {
				return nil, apierr.BadRequest("No integration defined for method")
			}
		}
	}
	if methods == 0 {
		return nil, apierr.BadRequest("The REST API doesn't contain any methods")
	}
	if isPrivate(a.RestApi) && a.Policy == nil {
		return nil, apierr.BadRequest("Private REST API doesn't have a resource policy attached to it")
	}
	for _, r := range a.children(statev1.Type_TYPE_MODEL) {
		d.Models = append(d.Models, r.GetModel())
	}
	for _, r := range a.children(statev1.Type_TYPE_REQUEST_VALIDATOR) {
		d.RequestValidators = append(d.RequestValidators, r.GetRequestValidator())
	}
	slices.SortFunc(d.Resources, func(x, y *apigatewayv1.Resource) int { return strings.Compare(x.GetPath(), y.GetPath()) })
	return d, nil
}

// deployTo makes the stage of a deployment, or points an existing one at it. A
// canary release moves only the stage's canary.
func (s *apiGateway) deployTo(a *restAPI, req *apigatewayv1.CreateDeploymentRequest, id string) (*apigatewayv1.Stage, error) {
	record := a.child(statev1.Type_TYPE_STAGE, req.GetStageName())
	if record == nil {
		return s.newStage(a, &apigatewayv1.CreateStageRequest{
			StageName:           req.StageName,
			DeploymentId:        new(id),
			Description:         req.StageDescription,
			CacheClusterEnabled: req.CacheClusterEnabled,
			CacheClusterSize:    req.CacheClusterSize,
			Variables:           req.Variables,
			TracingEnabled:      req.TracingEnabled,
		})
	}
	stage := proto.CloneOf(record.GetStage())
	if c := req.CanarySettings; c != nil {
		stage.CanarySettings = &apigatewayv1.CanarySettings{
			DeploymentId:   new(id),
			PercentTraffic: new(c.GetPercentTraffic()),
			UseStageCache:  new(c.GetUseStageCache()),
		}
		if len(c.GetStageVariableOverrides().GetEntries()) > 0 {
			stage.CanarySettings.StageVariableOverrides = proto.CloneOf(c.StageVariableOverrides)
		}
	} else {
		stage.DeploymentId = new(id)
	}
	if req.GetStageDescription() != "" {
		stage.Description = req.StageDescription
	}
	if len(req.GetVariables().GetEntries()) > 0 {
		stage.Variables = proto.CloneOf(req.Variables)
	}
	if req.TracingEnabled != nil {
		stage.TracingEnabled = req.TracingEnabled
	}
	if req.CacheClusterEnabled != nil {
		setCache(stage, req.GetCacheClusterEnabled(), req.GetCacheClusterSize())
	}
	stage.LastUpdatedDate = epoch(s.cfg.Now())
	return stage, checkStage(stage)
}

// unrenderable names the templates whose calls can't be answered.
func unrenderable(resources []*apigatewayv1.Resource) []string {
	var out []string
	check := func(what string, templates *awsv1.NullableStringMap) {
		for _, contentType := range slices.Sorted(maps.Keys(templates.GetEntries())) {
			if !vtl.Literal(templates.GetEntries()[contentType].GetValue()) {
				out = append(out, fmt.Sprintf("%s for %s needs the mapping-template language, which is not available yet: calls that use it answer 500", what, contentType))
			}
		}
	}
	for _, r := range resources {
		for _, verb := range slices.Sorted(maps.Keys(r.GetResourceMethods())) {
			in := r.GetResourceMethods()[verb].GetMethodIntegration()
			check(fmt.Sprintf("%s %s: request template", verb, r.GetPath()), in.GetRequestTemplates())
			for _, status := range slices.Sorted(maps.Keys(in.GetIntegrationResponses())) {
				check(fmt.Sprintf("%s %s: response template of %s", verb, r.GetPath(), status), in.GetIntegrationResponses()[status].GetResponseTemplates())
			}
		}
	}
	return out
}

func (s *apiGateway) GetDeployment(ctx context.Context, req *apigatewayv1.GetDeploymentRequest) (*apigatewayv1.Deployment, error) {
	a, err := s.readAPIElse(ctx, req.GetRestApiId(), errNoDeployment())
	if err != nil {
		return nil, err
	}
	d := a.child(statev1.Type_TYPE_DEPLOYMENT, req.GetDeploymentId()).GetDeployment()
	if d == nil {
		return nil, errNoDeployment()
	}
	if slices.Contains(req.GetEmbed(), "apisummary") {
		return summarised(d), nil
	}
	return d.GetDeployment(), nil
}

// summarised is a deployment with what it makes callable.
func summarised(d *statev1.Deployment) *apigatewayv1.Deployment {
	out := proto.CloneOf(d.GetDeployment())
	out.ApiSummary = make(map[string]*apigatewayv1.MethodSnapshots)
	for _, r := range d.GetResources() {
		for verb, m := range r.GetResourceMethods() {
			summary := out.ApiSummary[r.GetPath()]
			if summary == nil {
				summary = &apigatewayv1.MethodSnapshots{Entries: make(map[string]*apigatewayv1.MethodSnapshot)}
				out.ApiSummary[r.GetPath()] = summary
			}
			summary.Entries[verb] = &apigatewayv1.MethodSnapshot{AuthorizationType: m.AuthorizationType, ApiKeyRequired: m.ApiKeyRequired}
		}
	}
	return out
}

func (s *apiGateway) GetDeployments(ctx context.Context, req *apigatewayv1.GetDeploymentsRequest) (*apigatewayv1.GetDeploymentsResponse, error) {
	a, err := s.readAPI(ctx, req.GetRestApiId())
	if err != nil {
		return nil, err
	}
	records, position, err := listPage(a.children(statev1.Type_TYPE_DEPLOYMENT), byCreation, req.Limit, req.Position)
	if err != nil {
		return nil, err
	}
	out := &apigatewayv1.GetDeploymentsResponse{Position: position}
	for _, r := range records {
		out.Item = append(out.Item, r.GetDeployment().GetDeployment())
	}
	return out, nil
}

func (s *apiGateway) DeleteDeployment(ctx context.Context, req *apigatewayv1.DeleteDeploymentRequest) (*apigatewayv1.Empty, error) {
	who := caller(ctx)
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		a, err := findAPIElse(v, who, req.GetRestApiId(), errNoDeployment())
		if err != nil {
			return nil, err
		}
		record := a.child(statev1.Type_TYPE_DEPLOYMENT, req.GetDeploymentId())
		if record == nil {
			return nil, errNoDeployment()
		}
		for _, r := range a.children(statev1.Type_TYPE_STAGE) {
			switch req.GetDeploymentId() {
			case r.GetStage().GetDeploymentId():
				return nil, apierr.BadRequest("Active stages pointing to this deployment must be moved or deleted")
			case r.GetStage().GetCanarySettings().GetDeploymentId():
				return nil, apierr.BadRequest("Active stages with canary settings pointing to this deployment must be moved or deleted")
			}
		}
		return a.remove(record), nil
	})
	if err != nil {
		return nil, err
	}
	return &apigatewayv1.Empty{}, nil
}

func (s *apiGateway) UpdateDeployment(ctx context.Context, req *apigatewayv1.UpdateDeploymentRequest) (*apigatewayv1.Deployment, error) {
	who := caller(ctx)
	var after *apigatewayv1.Deployment
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		a, err := findAPIElse(v, who, req.GetRestApiId(), errNoDeployment())
		if err != nil {
			return nil, err
		}
		before := a.child(statev1.Type_TYPE_DEPLOYMENT, req.GetDeploymentId()).GetDeployment()
		if before == nil {
			return nil, errNoDeployment()
		}
		if after, err = deploymentPatch.apply(before.GetDeployment(), req.GetPatchOperations()); err != nil {
			return nil, err
		}
		return a.change(deploymentRecord(who, a.GetId(), &statev1.Deployment{
			Deployment: after, RestApi: before.RestApi, Resources: before.Resources,
			Models: before.Models, RequestValidators: before.RequestValidators,
		})), nil
	})
	if err != nil {
		return nil, err
	}
	return after, nil
}

var deploymentPatch = &patchTable[*apigatewayv1.Deployment]{
	refuse: refuseClassic[*apigatewayv1.Deployment],
	rows: []patchRow[*apigatewayv1.Deployment]{
		{"/description", opsReplace, setString(func(d *apigatewayv1.Deployment) **string { return &d.Description })},
	},
}
