package controlplane

import (
	"context"
	"errors"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/posternhq/postern/controlplane/cluster"
	"github.com/posternhq/postern/controlplane/service"
	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// asking is a node whose edges answer as it says.
type asking struct {
	clusterv1.UnimplementedPeerServer
	ask asker
}

func (a asking) Ask(ctx context.Context, req *clusterv1.AskRequest) (*clusterv1.AskResponse, error) {
	return a.ask(ctx, req)
}

// A decision is found on whichever node its edge is connected to, also while
// another node says nothing; without it all that was learned comes back.
func TestAskAcrossNodes(t *testing.T) {
	holds := func(id, edge string) asker {
		return func(_ context.Context, req *clusterv1.AskRequest) (*clusterv1.AskResponse, error) {
			r := &clusterv1.Reply{Carrier: edge, Answer: &syncv1.Answer{Message: &syncv1.Answer_Search{Search: &edgev1.DecisionSearch{}}}}
			if req.GetDomain() == syncv1.Domain_DOMAIN_EDGE && req.GetQuery().GetDecision() == id {
				r.Answer = &syncv1.Answer{Message: &syncv1.Answer_Decision{Decision: &edgev1.Decision{Id: id}}}
			}
			return &clusterv1.AskResponse{Replies: []*clusterv1.Reply{r}}, nil
		}
	}
	hangs := make(chan struct{}, 10)
	askers := map[string]asker{
		"n1": holds("aaaaaaaaaa", "edge1"),
		"n2": holds("bbbbbbbbbb", "edge2"),
		"n3": func(context.Context, *clusterv1.AskRequest) (*clusterv1.AskResponse, error) {
			return nil, status.Error(codes.Unavailable, "stopping")
		},
		"n4": func(ctx context.Context, _ *clusterv1.AskRequest) (*clusterv1.AskResponse, error) {
			hangs <- struct{}{}
			<-ctx.Done()
			return nil, status.FromContextError(ctx.Err()).Err()
		},
	}
	d := questions{self: "n1", own: askers["n1"]}
	d.dial = func(address string) (grpc.ClientConnInterface, error) {
		return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	var members []cluster.Peer
	d.peers = func(context.Context) ([]cluster.Peer, error) { return members, nil }
	for id, f := range askers {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		clusterv1.RegisterPeerServer(server, asking{ask: f})
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(server.Stop)
		members = append(members, cluster.Peer{ID: id, Address: listener.Addr().String()})
	}
	ask := func(ctx context.Context, id string) (*service.Asked, error) {
		return d.Ask(ctx, syncv1.Domain_DOMAIN_EDGE, &syncv1.Query{Question: &syncv1.Query_Decision{Decision: id}})
	}
	for id, edge := range map[string]string{"aaaaaaaaaa": "edge1", "bbbbbbbbbb": "edge2"} {
		if f, err := ask(t.Context(), id); err != nil || len(f.Replies) != 1 || f.Replies[0].GetCarrier() != edge || f.Replies[0].GetAnswer().GetDecision() == nil {
			t.Errorf("%s: %v, %v", id, f, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for len(hangs) > 0 {
		<-hangs
	}
	go func() {
		<-hangs
		cancel()
	}()
	f, err := ask(ctx, "cccccccccc")
	if err != nil || len(f.Replies) > 2 || f.Silent["n4"] != "context canceled" {
		t.Errorf("%v, %v", f, err)
	}
	d.peers = func(context.Context) ([]cluster.Peer, error) { return nil, errors.New("no group yet") }
	if _, err := ask(t.Context(), "aaaaaaaaaa"); status.Code(err) != codes.Unavailable {
		t.Errorf("without a group: %v", err)
	}
}
