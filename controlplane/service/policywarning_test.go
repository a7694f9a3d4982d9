package service

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"

	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
)

// openToAll is a policy that is unusual on a private API: it tells no endpoint
// from another.
const openToAll = `{"Statement":{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/*"}}`

// wantWarnings runs a call and compares the warnings of its answer: as many as
// there are words, each with its word in it.
func wantWarnings(t *testing.T, ctx context.Context, call func(context.Context) error, words ...string) {
	t.Helper()
	headers := &answerHeaders{}
	if err := call(grpc.NewContextWithServerTransportStream(ctx, headers)); err != nil {
		t.Error(err)
		return
	}
	got := headers.Get(metaWarning)
	if len(got) != len(words) {
		t.Errorf("%d warnings, want %d: %q", len(got), len(words), got)
		return
	}
	for i, word := range words {
		if !strings.HasPrefix(got[i], "policy document: ") || !strings.Contains(got[i], word) {
			t.Errorf("warning %q, want one on %s", got[i], word)
		}
	}
}

func TestCreateRestApiWarns(t *testing.T) {
	a := newTestAPI(t)
	create := func(req *apigatewayv1.CreateRestApiRequest) func(context.Context) error {
		req.Name = new("warned")
		return func(ctx context.Context) error {
			_, err := a.CreateRestApi(ctx, req)
			return err
		}
	}
	wantWarnings(t, a.ctx, create(&apigatewayv1.CreateRestApiRequest{Policy: new(openToAll), EndpointConfiguration: private()}), "aws:SourceVpce")
	wantWarnings(t, a.ctx, create(&apigatewayv1.CreateRestApiRequest{Policy: new(openToAll)}))
	wantWarnings(t, a.ctx, create(&apigatewayv1.CreateRestApiRequest{
		Policy: new(strings.Replace(openToAll, `"Resource"`, `"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},"StringEquals":{"aws:SourceVpc":"vpce-1"}},"Resource"`, 1)), EndpointConfiguration: private(),
	}), "aws:SourceIp is absent", "is an endpoint id")
}

// TestUpdateRestApiWarns: on the API as it is after the request, whatever the
// order of its operations.
func TestUpdateRestApiWarns(t *testing.T) {
	a := newTestAPI(t)
	update := func(operations ...string) func(context.Context) error {
		req := &apigatewayv1.UpdateRestApiRequest{RestApiId: a.id}
		for _, o := range operations {
			path, value, _ := strings.Cut(o, " ")
			req.PatchOperations = append(req.PatchOperations, &awsv1.PatchOperation{Op: new("replace"), Path: &path, Value: &value})
		}
		return func(ctx context.Context) error {
			_, err := a.UpdateRestApi(ctx, req)
			return err
		}
	}
	const toPrivate, toPublic = "/endpointConfiguration/types/0 PRIVATE", "/endpointConfiguration/types/0 REGIONAL"
	fromEndpoint := "/policy " + strings.Replace(openToAll, `"Resource"`, `"Condition":{"StringEquals":{"aws:SourceVpce":"vpce-1"}},"Resource"`, 1)
	wantWarnings(t, a.ctx, update("/policy "+openToAll))
	wantWarnings(t, a.ctx, update(toPrivate), "aws:SourceVpce")
	wantWarnings(t, a.ctx, update("/description an API with an unusual policy"))
	wantWarnings(t, a.ctx, update(fromEndpoint))
	wantWarnings(t, a.ctx, update(toPublic), "absent in calls to a public API", "can never match")
	wantWarnings(t, a.ctx, update(fromEndpoint, toPrivate))
	wantWarnings(t, a.ctx, update("/policy "+openToAll, toPublic))
}

func TestVpcEndpointWarns(t *testing.T) {
	l := newEC2Lab(t)
	vpc := l.vpc("10.1.0.0/16").GetVpcId()
	subnet := l.subnet(vpc, "10.1.0.0/24", "us-west-2a").GetSubnetId()
	foreign := strings.Replace(openToAll, "execute-api:Invoke", "s3:GetObject", 1)
	var id string
	create := func(document string) func(context.Context) error {
		return func(ctx context.Context) error {
			req := endpointRequest(vpc, subnet)
			req.PolicyDocument, req.PrivateDnsEnabled = &document, new(false)
			answer, err := l.CreateVpcEndpoint(ctx, req)
			id = answer.GetVpcEndpoint().GetVpcEndpointId()
			return err
		}
	}
	modify := func(req *ec2v1.ModifyVpcEndpointRequest) func(context.Context) error {
		return func(ctx context.Context) error {
			req.VpcEndpointId = &id
			_, err := l.ModifyVpcEndpoint(ctx, req)
			return err
		}
	}
	wantWarnings(t, l.ctx(), create(openToAll))
	wantWarnings(t, l.ctx(), create(foreign), "can never match")
	wantWarnings(t, l.ctx(), modify(&ec2v1.ModifyVpcEndpointRequest{PolicyDocument: new(openToAll)}))
	wantWarnings(t, l.ctx(), modify(&ec2v1.ModifyVpcEndpointRequest{PolicyDocument: &foreign}), "can never match")
	wantWarnings(t, l.ctx(), modify(&ec2v1.ModifyVpcEndpointRequest{ResetPolicy: new(true)}))
}
