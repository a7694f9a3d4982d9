package service

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// fakeCluster is a cluster of one that applies to a real store directly.
type fakeCluster struct {
	store *state.Store

	mu    sync.Mutex
	index uint64
	// before, if set, runs ahead of each Propose: a rival writer.
	before func()
}

func newFakeCluster() *fakeCluster { return &fakeCluster{store: state.New()} }

func (c *fakeCluster) ReadView(context.Context) (*state.View, error) { return c.store.View(), nil }
func (c *fakeCluster) StaleView() *state.View                        { return c.store.View() }

func (c *fakeCluster) WaitIndex(ctx context.Context, index uint64) (*state.View, error) {
	for {
		next := c.store.Watch()
		if v := c.store.View(); v.Index() >= index {
			return v, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *fakeCluster) Propose(_ context.Context, txn *statev1.Txn) (state.Result, error) {
	if c.before != nil {
		c.before()
	}
	if err := state.Check(txn); err != nil {
		return state.Result{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index++
	return c.store.Apply(c.index, []*statev1.Txn{txn})[0], nil
}

// put writes records past every rule.
func (c *fakeCluster) put(t *testing.T, records ...*statev1.Record) {
	t.Helper()
	if _, err := c.Propose(context.Background(), &statev1.Txn{Puts: records}); err != nil {
		t.Fatal(err)
	}
}

// as is the context of a request of that account and region.
func as(ctx context.Context, account, region string) context.Context {
	return metadata.NewIncomingContext(ctx, metadata.Pairs(metaAccount, account, metaRegion, region))
}

// testAPI is an API Gateway service on a fake cluster, and one API in it.
type testAPI struct {
	*testing.T
	ctx     context.Context
	cluster *fakeCluster
	apigatewayv1.ApiGatewayServer
	id, root string
}

func newTestAPI(t *testing.T) *testAPI {
	t.Helper()
	c := newFakeCluster()
	a := &testAPI{T: t, ctx: context.Background(), cluster: c, ApiGatewayServer: NewAPIGateway(Config{Cluster: c})}
	made, err := a.CreateRestApi(a.ctx, &apigatewayv1.CreateRestApiRequest{Name: new("test")})
	if err != nil {
		t.Fatal(err)
	}
	a.id, a.root = made.GetId(), made.GetRootResourceId()
	return a
}

// mock adds a method with a MOCK integration to a resource.
func (a *testAPI) mock(resource, verb string) {
	a.Helper()
	if _, err := a.PutMethod(a.ctx, &apigatewayv1.PutMethodRequest{
		RestApiId: a.id, ResourceId: resource, HttpMethod: verb, AuthorizationType: new("NONE"),
	}); err != nil {
		a.Fatal(err)
	}
	if _, err := a.PutIntegration(a.ctx, &apigatewayv1.PutIntegrationRequest{
		RestApiId: a.id, ResourceId: resource, ResourceMethod: verb, Type: new("MOCK"),
	}); err != nil {
		a.Fatal(err)
	}
}

// wantError checks an error's kind and message.
func wantError(t *testing.T, err error, kind apierr.Kind, message string) {
	t.Helper()
	var e *apierr.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want %s: %s", err, kind, message)
	}
	if e.Kind != kind || e.Message != message {
		t.Errorf("error %s: %s\nwant  %s: %s", e.Kind, e.Message, kind, message)
	}
}

// ops are patch operations written as "op path", "op path value" or
// "copy path from".
func ops(list ...string) []*awsv1.PatchOperation {
	var out []*awsv1.PatchOperation
	for _, text := range list {
		parts := strings.SplitN(text, " ", 3)
		op := &awsv1.PatchOperation{Op: new(parts[0]), Path: new(parts[1])}
		if len(parts) == 3 {
			if parts[0] == "copy" {
				op.From = new(parts[2])
			} else {
				op.Value = new(parts[2])
			}
		}
		out = append(out, op)
	}
	return out
}

// answerHeaders collects what a handler sends ahead of its answer.
type answerHeaders struct {
	metadata.MD
}

func (h *answerHeaders) Method() string                  { return "" }
func (h *answerHeaders) SetHeader(md metadata.MD) error  { h.MD = metadata.Join(h.MD, md); return nil }
func (h *answerHeaders) SendHeader(md metadata.MD) error { return h.SetHeader(md) }
func (h *answerHeaders) SetTrailer(metadata.MD) error    { return nil }

// withHeaders is a context whose answers' headers are collected.
func withHeaders(ctx context.Context) (context.Context, *answerHeaders) {
	h := &answerHeaders{}
	return grpc.NewContextWithServerTransportStream(ctx, h), h
}

// protoDiff is the difference of two messages, "" if there is none.
func protoDiff(want, have proto.Message) string {
	return cmp.Diff(want, have, protocmp.Transform())
}
