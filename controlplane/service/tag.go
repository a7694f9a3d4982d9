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

const (
	maxAPITags     = 50
	maxAPITagKey   = 128
	maxAPITagValue = 256
	reservedPrefix = "aws:"
)

func checkTags(tags map[string]string) error {
	if len(tags) > maxAPITags {
		return apierr.BadRequest("Maximum number of tags is %d", maxAPITags)
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		switch {
		case key == "" || len([]rune(key)) > maxAPITagKey:
			return apierr.BadRequest("Invalid tag key specified: it must have 1 to %d characters", maxAPITagKey)
		case strings.HasPrefix(strings.ToLower(key), reservedPrefix):
			return apierr.BadRequest("Invalid tag key specified: keys that start with %s are reserved", reservedPrefix)
		case len([]rune(tags[key])) > maxAPITagValue:
			return apierr.BadRequest("Invalid tag value specified: it must have at most %d characters", maxAPITagValue)
		}
	}
	return nil
}

// tagTarget is what an ARN of the tag operations names.
type tagTarget struct {
	api   *restAPI
	stage *apigatewayv1.Stage // nil: the API itself
}

// findTagTarget finds the API or stage of an ARN such as
// arn:aws:apigateway:us-west-2::/restapis/a1b2c3d4e5/stages/prod.
func findTagTarget(v *state.View, who Caller, arn string) (*tagTarget, error) {
	invalid := apierr.BadRequest("Invalid ARN specified in the request")
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" || parts[2] != "apigateway" || parts[3] != who.Region || parts[4] != "" {
		return nil, invalid
	}
	path := strings.Split(parts[5], "/")
	if len(path) < 3 || path[0] != "" || path[1] != "restapis" {
		return nil, invalid
	}
	a, err := findAPI(v, who, path[2])
	if err != nil {
		return nil, err
	}
	switch {
	case len(path) == 3:
		return &tagTarget{api: a}, nil
	case len(path) == 5 && path[3] == "stages":
		stage := a.child(statev1.Type_TYPE_STAGE, path[4]).GetStage()
		if stage == nil {
			return nil, errNoStage()
		}
		return &tagTarget{api: a, stage: stage}, nil
	}
	return nil, invalid
}

func (t *tagTarget) tags() map[string]string {
	if t.stage != nil {
		return t.stage.GetTags().GetEntries()
	}
	return t.api.GetTags().GetEntries()
}

// retag is the Txn that gives the thing other tags.
func (t *tagTarget) retag(tags map[string]string) *statev1.Txn {
	var stored *awsv1.StringMap
	if len(tags) > 0 {
		stored = &awsv1.StringMap{Entries: tags}
	}
	if t.stage != nil {
		stage := proto.CloneOf(t.stage)
		stage.Tags = stored
		return t.api.change(stageRecord(t.api.who, t.api.GetId(), stage))
	}
	a := *t.api
	a.RestApi = proto.CloneOf(t.api.RestApi)
	a.RestApi.Tags = stored
	return a.change()
}

func (s *apiGateway) GetTags(ctx context.Context, req *apigatewayv1.GetTagsRequest) (*apigatewayv1.GetTagsResponse, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	t, err := findTagTarget(v, caller(ctx), req.GetResourceArn())
	if err != nil {
		return nil, err
	}
	return &apigatewayv1.GetTagsResponse{Tags: &awsv1.StringMap{Entries: t.tags()}}, nil
}

func (s *apiGateway) TagResource(ctx context.Context, req *apigatewayv1.TagResourceRequest) (*apigatewayv1.Empty, error) {
	return s.retag(ctx, req.GetResourceArn(), func(tags map[string]string) {
		maps.Copy(tags, req.GetTags().GetEntries())
	})
}

func (s *apiGateway) UntagResource(ctx context.Context, req *apigatewayv1.UntagResourceRequest) (*apigatewayv1.Empty, error) {
	return s.retag(ctx, req.GetResourceArn(), func(tags map[string]string) {
		for _, key := range req.GetTagKeys() {
			delete(tags, key)
		}
	})
}

func (s *apiGateway) retag(ctx context.Context, arn string, change func(tags map[string]string)) (*apigatewayv1.Empty, error) {
	who := caller(ctx)
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		t, err := findTagTarget(v, who, arn)
		if err != nil {
			return nil, err
		}
		tags := make(map[string]string)
		maps.Copy(tags, t.tags())
		change(tags)
		if err := checkTags(tags); err != nil {
			return nil, err
		}
		return t.retag(tags), nil
	})
	if err != nil {
		return nil, err
	}
	return &apigatewayv1.Empty{}, nil
}
