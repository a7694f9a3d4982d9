package seed_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"
	"github.com/aws/smithy-go/transport/http"
)

// Deployments and stages.

func (w *world) stages(a restAPI) []types.Stage {
	w.Helper()
	return must[*apigateway.GetStagesOutput](w, "get stages")(w.api.GetStages(w.ctx, &apigateway.GetStagesInput{RestApiId: &a.id})).Item
}

// TestS50_Deploy is the seed's "Deploy API": S50 to S54, one deployment after
// another on one API.
func TestS50_Deploy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	e := w.endpointIn(v)
	a := w.createAPI(types.EndpointTypePrivate, onlyEndpoints(e.id))
	w.echo(a)
	equal(w, "stages of an API that was never deployed", len(w.stages(a)), 0)

	var first string
	t.Run("S50", func(t *testing.T) {
		w := w.lab.world(t, ownAccount, region)
		out := must[*apigateway.CreateDeploymentOutput](w, "deploy")(w.api.CreateDeployment(w.ctx, &apigateway.CreateDeploymentInput{RestApiId: &a.id, StageName: aws.String("test")}))
		raw, ok := middleware.GetRawResponse(out.ResultMetadata).(*http.Response)
		if !ok || raw.StatusCode != 201 {
			t.Errorf("answer of create-deployment: %+v, want 201", raw)
		}
		if first = aws.ToString(out.Id); first == "" || out.CreatedDate == nil {
			t.Errorf("deployment: %+v, want an id and a date", out)
		}
	})
	t.Run("S51", func(t *testing.T) {
		w := w.lab.world(t, ownAccount, region)
		stages := w.stages(a)
		if len(stages) != 1 || aws.ToString(stages[0].StageName) != "test" {
			t.Fatalf("stages after the first deployment: %+v, want test", stages)
		}
		// The stage that is there is deployed to again, not made again.
		w.deploy(a)
		stages = w.stages(a)
		equal(w, "stages after the second deployment", len(stages), 1)
		if aws.ToString(stages[0].DeploymentId) == first {
			t.Error("the stage kept its first deployment")
		}
	})
	t.Run("S52", func(t *testing.T) {
		w := w.lab.world(t, ownAccount, region)
		for _, name := range []string{"test", "prod", "dev"} {
			if err := w.tryDeploy(a, name); err != nil {
				t.Errorf("stage %q: %v", name, err)
			}
		}
		for _, name := range []string{"te st", "te/st", "tést", "test.v1", "$default"} {
			w.refused("stage "+name, w.tryDeploy(a, name), "BadRequestException", "Stage name only allows a-zA-Z0-9_")
		}
		equal(w, "stages", len(w.stages(a)), 3)
	})
	t.Run("S53", func(t *testing.T) {
		w := w.lab.world(t, ownAccount, region)
		out := must[*apigateway.CreateDeploymentOutput](w, "deploy")(w.api.CreateDeployment(w.ctx, &apigateway.CreateDeploymentInput{
			RestApiId: &a.id, StageName: aws.String("described"), StageDescription: aws.String("where it is tried"), Description: aws.String("the third try"),
		}))
		stage := must[*apigateway.GetStageOutput](w, "get stage")(w.api.GetStage(w.ctx, &apigateway.GetStageInput{RestApiId: &a.id, StageName: aws.String("described")}))
		equal(w, "description of the stage", aws.ToString(stage.Description), "where it is tried")
		deployment := must[*apigateway.GetDeploymentOutput](w, "get deployment")(w.api.GetDeployment(w.ctx, &apigateway.GetDeploymentInput{RestApiId: &a.id, DeploymentId: out.Id}))
		equal(w, "description of the deployment", aws.ToString(deployment.Description), "the third try")
	})
	t.Run("S54", func(t *testing.T) {
		w := w.lab.world(t, ownAccount, region)
		answers := func(body string) {
			w.Helper()
			if _, err := w.api.PutIntegrationResponse(w.ctx, &apigateway.PutIntegrationResponseInput{
				RestApiId: &a.id, ResourceId: &a.root, HttpMethod: aws.String("GET"), StatusCode: aws.String("200"),
				ResponseTemplates: map[string]string{"application/json": body},
			}); err != nil {
				t.Fatalf("put integration response: %v", err)
			}
		}
		answers(`{"version":1}`)
		out := must[*apigateway.CreateDeploymentOutput](w, "deploy")(w.api.CreateDeployment(w.ctx, &apigateway.CreateDeploymentInput{RestApiId: &a.id, StageName: aws.String("test")}))
		answers(`{"version":2}`) // after the snapshot was taken
		for _, s := range w.stages(a) {
			if aws.ToString(s.StageName) == "test" {
				equal(w, "deployment of the stage", aws.ToString(s.DeploymentId), aws.ToString(out.Id))
			}
		}
		w.settle()
		w.want("the snapshot", w.call(v.id, a.url()), 200, `{"version":1}`)
		w.deploy(a)
		w.settle()
		w.want("the next snapshot", w.call(v.id, a.url()), 200, `{"version":2}`)
		w.forbidden("a stage that there is not", w.call(v.id, "https://"+a.host()+"/staging"))
	})
}
