package controlplane

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/posternhq/postern/controlplane/cluster"
	"github.com/posternhq/postern/controlplane/publish"
	"github.com/posternhq/postern/controlplane/service"
	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// askerPatience bounds how long a node may take to ask its edges and DNS servers.
const askerPatience = 3 * time.Second

// asker asks those that are connected to one node.
type asker func(context.Context, *clusterv1.AskRequest) (*clusterv1.AskResponse, error)

// questions are put to edges and DNS servers, whichever nodes these are connected to.
type questions struct {
	self  string
	own   asker
	peers func(ctx context.Context) ([]cluster.Peer, error)
	dial  func(address string) (grpc.ClientConnInterface, error)
}

func (s *Server) questions() questions {
	own := func(ctx context.Context, req *clusterv1.AskRequest) (*clusterv1.AskResponse, error) {
		return &clusterv1.AskResponse{Replies: s.publisher.Ask(ctx, req.GetDomain(), req.GetQuery())}, nil
	}
	return questions{self: s.cfg.ID, own: own, peers: s.node.Peers, dial: s.peers.Conn}
}

// Ask implements service.Questions. All nodes are asked at once; an answer that
// leaves nothing to ask ends it.
func (q questions) Ask(ctx context.Context, domain syncv1.Domain, query *syncv1.Query) (*service.Asked, error) {
	ctx, cancel := context.WithTimeout(ctx, askerPatience)
	defer cancel()
	peers, err := q.peers(ctx)
	if err != nil {
		return nil, travelling(err)
	}
	type reply struct {
		node   string
		answer *clusterv1.AskResponse
		err    error
	}
	replies := make(chan reply, len(peers)+1)
	var asking sync.WaitGroup
	ask := func(node string, asker asker) {
		asking.Go(func() {
			answer, err := asker(ctx, &clusterv1.AskRequest{Domain: domain, Query: query})
			replies <- reply{node, answer, err}
		})
	}
	ask(q.self, q.own)
	for _, p := range peers {
		if p.ID != q.self {
			ask(p.ID, q.peer(p.Address))
		}
	}
	go func() { asking.Wait(); close(replies) }()
	asked := &service.Asked{Silent: map[string]string{}}
	for r := range replies {
		if r.err != nil {
			asked.Silent[r.node] = status.Convert(r.err).Message()
			continue
		}
		for _, one := range r.answer.GetReplies() {
			if publish.Conclusive(one.GetAnswer()) {
				return &service.Asked{Replies: []*clusterv1.Reply{one}}, nil
			}
		}
		asked.Replies = append(asked.Replies, r.answer.GetReplies()...)
	}
	return asked, nil
}

func (q questions) peer(address string) asker {
	return func(ctx context.Context, req *clusterv1.AskRequest) (*clusterv1.AskResponse, error) {
		conn, err := q.dial(address)
		if err != nil {
			return nil, err
		}
		return clusterv1.NewPeerClient(conn).Ask(ctx, req)
	}
}
