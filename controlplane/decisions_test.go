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
	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

// finding is a node whose edges answer as it says.
type finding struct {
	clusterv1.UnimplementedPeerServer
	find finder
}

func (f finding) FindDecision(ctx context.Context, req *clusterv1.FindDecisionRequest) (*clusterv1.FindDecisionResponse, error) {
	return f.find(ctx, req.GetId())
}

// A decision is found on whichever node its edge is connected to, also while
// another node says nothing; without it all that was learned comes back.
func TestFindDecisionAcrossNodes(t *testing.T) {
	holds := func(id, edge string) finder {
		return func(_ context.Context, asked string) (*clusterv1.FindDecisionResponse, error) {
			if asked == id {
				return &clusterv1.FindDecisionResponse{Decision: &edgev1.Decision{Id: id, Edge: edge}}, nil
			}
			return &clusterv1.FindDecisionResponse{Searches: []*edgev1.DecisionSearch{{Edge: edge}}}, nil
		}
	}
	hangs := make(chan struct{}, 10)
	finders := map[string]finder{
		"n1": holds("aaaaaaaaaa", "edge1"),
		"n2": holds("bbbbbbbbbb", "edge2"),
		"n3": func(context.Context, string) (*clusterv1.FindDecisionResponse, error) {
			return nil, status.Error(codes.Unavailable, "stopping")
		},
		"n4": func(ctx context.Context, _ string) (*clusterv1.FindDecisionResponse, error) {
			hangs <- struct{}{}
			<-ctx.Done()
			return nil, status.FromContextError(ctx.Err()).Err()
		},
	}
	d := decisions{self: "n1", own: finders["n1"]}
	d.dial = func(address string) (grpc.ClientConnInterface, error) {
		return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	var members []cluster.Peer
	d.peers = func(context.Context) ([]cluster.Peer, error) { return members, nil }
	for id, f := range finders {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		clusterv1.RegisterPeerServer(server, finding{find: f})
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(server.Stop)
		members = append(members, cluster.Peer{ID: id, Address: listener.Addr().String()})
	}
	for id, edge := range map[string]string{"aaaaaaaaaa": "edge1", "bbbbbbbbbb": "edge2"} {
		if f, err := d.FindDecision(t.Context(), id); err != nil || f.Decision.GetEdge() != edge {
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
	f, err := d.FindDecision(ctx, "cccccccccc")
	if err != nil || f.Decision != nil || f.Silent["n4"] != "context canceled" {
		t.Errorf("%v, %v", f, err)
	}
	d.peers = func(context.Context) ([]cluster.Peer, error) { return nil, errors.New("no group yet") }
	if _, err := d.FindDecision(t.Context(), "aaaaaaaaaa"); status.Code(err) != codes.Unavailable {
		t.Errorf("without a group: %v", err)
	}
}
