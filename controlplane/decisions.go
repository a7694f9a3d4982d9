package controlplane

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/posternhq/postern/controlplane/cluster"
	"github.com/posternhq/postern/controlplane/service"
	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
)

// finderPatience bounds how long a node may take to ask its edges.
const finderPatience = 3 * time.Second

// finder asks the edges of one node.
type finder func(ctx context.Context, id string) (*clusterv1.FindDecisionResponse, error)

// decisions finds refusals at the edges, whichever nodes these are connected to.
type decisions struct {
	self  string
	own   finder
	peers func(ctx context.Context) ([]cluster.Peer, error)
	dial  func(address string) (grpc.ClientConnInterface, error)
}

func (s *Server) decisions() decisions {
	own := func(ctx context.Context, id string) (*clusterv1.FindDecisionResponse, error) {
		d, searches := s.publisher.FindDecision(ctx, id)
		return &clusterv1.FindDecisionResponse{Decision: d, Searches: searches}, nil
	}
	return decisions{self: s.cfg.ID, own: own, peers: s.node.Peers, dial: s.peers.Conn}
}

// FindDecision implements service.Decisions. All nodes are asked at once; the
// first edge that holds the decision counts.
func (d decisions) FindDecision(ctx context.Context, id string) (*service.DecisionFinding, error) {
	ctx, cancel := context.WithTimeout(ctx, finderPatience)
	defer cancel()
	peers, err := d.peers(ctx)
	if err != nil {
		return nil, travelling(err)
	}
	type reply struct {
		node   string
		answer *clusterv1.FindDecisionResponse
		err    error
	}
	replies := make(chan reply, len(peers)+1)
	var asked sync.WaitGroup
	ask := func(node string, find finder) {
		asked.Go(func() {
			answer, err := find(ctx, id)
			replies <- reply{node, answer, err}
		})
	}
	ask(d.self, d.own)
	for _, p := range peers {
		if p.ID != d.self {
			ask(p.ID, d.peer(p.Address))
		}
	}
	go func() { asked.Wait(); close(replies) }()
	found := &service.DecisionFinding{Silent: map[string]string{}}
	for r := range replies {
		switch {
		case r.err != nil:
			found.Silent[r.node] = status.Convert(r.err).Message()
		case r.answer.GetDecision() != nil:
			found.Decision = r.answer.GetDecision()
			return found, nil
		default:
			found.Searches = append(found.Searches, r.answer.GetSearches()...)
		}
	}
	return found, nil
}

func (d decisions) peer(address string) finder {
	return func(ctx context.Context, id string) (*clusterv1.FindDecisionResponse, error) {
		conn, err := d.dial(address)
		if err != nil {
			return nil, err
		}
		return clusterv1.NewPeerClient(conn).FindDecision(ctx, &clusterv1.FindDecisionRequest{Id: id})
	}
}
