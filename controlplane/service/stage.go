package service

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	maxStages    = 10
	maxVariables = 100
)

var cacheSizes = []string{"0.5", "1.6", "6.1", "13.5", "28.4", "58.2", "118", "237"}

var (
	stageName     = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,128}$`)
	variableName  = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}$`)
	variableValue = regexp.MustCompile(`^[A-Za-z0-9\-._~:/?#&=,]{1,512}$`)
)

func errNoStage() error { return apierr.NotFound("Invalid stage identifier specified") }

func (s *apiGateway) CreateStage(ctx context.Context, req *apigatewayv1.CreateStageRequest) (*apigatewayv1.Stage, error) {
	who := caller(ctx)
	return create(ctx, s.cfg, "CreateStage", req, func(v *state.View) (*statev1.Txn, *apigatewayv1.Stage, error) {
		a, err := findAPI(v, who, req.GetRestApiId())
		if err != nil {
			return nil, nil, err
		}
		if a.child(statev1.Type_TYPE_STAGE, req.GetStageName()) != nil {
			return nil, nil, apierr.Conflict("Stage already exists")
		}
		if a.child(statev1.Type_TYPE_DEPLOYMENT, req.GetDeploymentId()) == nil {
			return nil, nil, errUnknownDeployment()
		}
		if c := req.CanarySettings; c != nil && c.DeploymentId != nil && a.child(statev1.Type_TYPE_DEPLOYMENT, c.GetDeploymentId()) == nil {
			return nil, nil, errUnknownDeployment()
		}
		made, err := s.newStage(a, req)
		if err != nil {
			return nil, nil, err
		}
		return a.change(stageRecord(who, a.GetId(), made)), made, nil
	})
}

func errUnknownDeployment() error { return apierr.BadRequest("Deployment id does not exist") }

// newStage makes a stage that points at a deployment.
func (s *apiGateway) newStage(a *restAPI, req *apigatewayv1.CreateStageRequest) (*apigatewayv1.Stage, error) {
	if !stageName.MatchString(req.GetStageName()) {
		return nil, apierr.BadRequest("Stage name only allows a-zA-Z0-9_-")
	}
	if len(a.children(statev1.Type_TYPE_STAGE)) >= maxStages {
		return nil, apierr.Limit("Maximum number of stages for this API has been reached. Please contact AWS if you need additional stages.")
	}
	now := epoch(s.cfg.Now())
	stage := &apigatewayv1.Stage{
		DeploymentId:         req.DeploymentId,
		StageName:            req.StageName,
		Description:          given(req.Description),
		MethodSettings:       &apigatewayv1.MethodSettings{},
		DocumentationVersion: given(req.DocumentationVersion),
		TracingEnabled:       new(req.GetTracingEnabled()),
		CreatedDate:          now,
		LastUpdatedDate:      now,
	}
	if len(req.GetVariables().GetEntries()) > 0 {
		stage.Variables = proto.CloneOf(req.Variables)
	}
	if len(req.GetTags().GetEntries()) > 0 {
		stage.Tags = proto.CloneOf(req.Tags)
	}
	setCache(stage, req.GetCacheClusterEnabled(), req.GetCacheClusterSize())
	if c := req.CanarySettings; c != nil {
		stage.CanarySettings = newCanary(stage)
		if c.DeploymentId != nil {
			stage.CanarySettings.DeploymentId = c.DeploymentId
		}
		stage.CanarySettings.PercentTraffic = new(c.GetPercentTraffic())
		stage.CanarySettings.UseStageCache = new(c.GetUseStageCache())
		if len(c.GetStageVariableOverrides().GetEntries()) > 0 {
			stage.CanarySettings.StageVariableOverrides = proto.CloneOf(c.StageVariableOverrides)
		}
	}
	return stage, checkStage(stage)
}

// newCanary is the canary of a stage of which nothing is said yet.
func newCanary(stage *apigatewayv1.Stage) *apigatewayv1.CanarySettings {
	return &apigatewayv1.CanarySettings{
		PercentTraffic: new(0.0),
		DeploymentId:   stage.DeploymentId,
		UseStageCache:  new(false),
	}
}

// setCache switches the stage's cache cluster, which takes no time here.
func setCache(stage *apigatewayv1.Stage, enabled bool, size string) {
	stage.CacheClusterEnabled = new(enabled)
	stage.CacheClusterStatus = new("NOT_AVAILABLE")
	if size != "" {
		stage.CacheClusterSize = new(size)
	}
	if enabled {
		stage.CacheClusterStatus = new("AVAILABLE")
		if stage.CacheClusterSize == nil {
			stage.CacheClusterSize = new(cacheSizes[0])
		}
	}
}

// checkStage checks a stage that is about to be stored as a whole.
func checkStage(stage *apigatewayv1.Stage) error {
	if size := stage.CacheClusterSize; size != nil && !slices.Contains(cacheSizes, *size) {
		return apierr.BadRequest("Invalid cache cluster size specified. Valid options are %s", strings.Join(cacheSizes, ","))
	}
	if err := checkVariables(stage.GetVariables().GetEntries()); err != nil {
		return err
	}
	if err := checkTags(stage.GetTags().GetEntries()); err != nil {
		return err
	}
	if c := stage.CanarySettings; c != nil {
		if err := checkPercent(c.GetPercentTraffic()); err != nil {
			return err
		}
		return checkVariables(c.GetStageVariableOverrides().GetEntries())
	}
	return nil
}

func checkPercent(percent float64) error {
	if !(percent >= 0 && percent <= 100) {
		return apierr.BadRequest("Invalid percentTraffic specified. It must be between 0.0 and 100.0")
	}
	return nil
}

func checkVariables(variables map[string]string) error {
	if len(variables) > maxVariables {
		return apierr.BadRequest("Maximum number of stage variables is %d", maxVariables)
	}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		if !variableName.MatchString(name) {
			return apierr.BadRequest("Invalid stage variable name: %s. Please use names with alphanumeric characters and the symbol '_', at most 64 characters.", name)
		}
		if !variableValue.MatchString(variables[name]) {
			return apierr.BadRequest("Invalid stage variable value: %s. Please use values with alphanumeric and the symbols '-', '.', '_', '~', ':', '/', '?', '#', '&', '=', and ','.", variables[name])
		}
	}
	return nil
}

func (s *apiGateway) GetStage(ctx context.Context, req *apigatewayv1.GetStageRequest) (*apigatewayv1.Stage, error) {
	a, err := s.readAPIElse(ctx, req.GetRestApiId(), errNoStage())
	if err != nil {
		return nil, err
	}
	stage := a.child(statev1.Type_TYPE_STAGE, req.GetStageName()).GetStage()
	if stage == nil {
		return nil, errNoStage()
	}
	return stage, nil
}

func (s *apiGateway) GetStages(ctx context.Context, req *apigatewayv1.GetStagesRequest) (*apigatewayv1.GetStagesResponse, error) {
	a, err := s.readAPI(ctx, req.GetRestApiId())
	if err != nil {
		return nil, err
	}
	out := &apigatewayv1.GetStagesResponse{}
	for _, r := range a.children(statev1.Type_TYPE_STAGE) {
		if req.GetDeploymentId() == "" || r.GetStage().GetDeploymentId() == req.GetDeploymentId() {
			out.Item = append(out.Item, r.GetStage())
		}
	}
	return out, nil
}

func (s *apiGateway) DeleteStage(ctx context.Context, req *apigatewayv1.DeleteStageRequest) (*apigatewayv1.Empty, error) {
	who := caller(ctx)
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		a, err := findAPIElse(v, who, req.GetRestApiId(), errNoStage())
		if err != nil {
			return nil, err
		}
		record := a.child(statev1.Type_TYPE_STAGE, req.GetStageName())
		if record == nil {
			return nil, errNoStage()
		}
		return a.remove(record), nil
	})
	if err != nil {
		return nil, err
	}
	return &apigatewayv1.Empty{}, nil
}

func (s *apiGateway) UpdateStage(ctx context.Context, req *apigatewayv1.UpdateStageRequest) (*apigatewayv1.Stage, error) {
	who := caller(ctx)
	var after *apigatewayv1.Stage
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		a, err := findAPIElse(v, who, req.GetRestApiId(), errNoStage())
		if err != nil {
			return nil, err
		}
		before := a.child(statev1.Type_TYPE_STAGE, req.GetStageName()).GetStage()
		if before == nil {
			return nil, errNoStage()
		}
		deploymentExists := func(id string) bool { return a.child(statev1.Type_TYPE_DEPLOYMENT, id) != nil }
		table := stagePatch(deploymentExists)
		if after, err = table.apply(before, req.GetPatchOperations()); err != nil {
			return nil, err
		}
		if err := checkStage(after); err != nil {
			return nil, err
		}
		after.LastUpdatedDate = epoch(s.cfg.Now())
		return a.change(stageRecord(who, a.GetId(), after)), nil
	})
	if err != nil {
		return nil, err
	}
	return after, nil
}
