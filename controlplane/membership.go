package controlplane

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/posternhq/postern/controlplane/cluster"
	"github.com/posternhq/postern/controlplane/publish"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// membership is the group as the admin service sees it.
type membership struct {
	*cluster.Node
	peer func(address string) (grpc.ClientConnInterface, error)
}

// progressPatience bounds how long a node may take to say how far it is.
const progressPatience = 500 * time.Millisecond

// Peers lists the members, each with how far it has applied the log by its own word.
func (m membership) Peers(ctx context.Context) ([]*adminv1.Node, error) {
	peers, err := m.Node.Peers(ctx)
	if err != nil {
		return nil, travelling(err)
	}
	nodes := make([]*adminv1.Node, len(peers))
	var asked sync.WaitGroup
	for i, p := range peers {
		node := &adminv1.Node{Id: p.ID, Address: p.Address, Role: "follower", Applied: p.Applied, Reachable: p.Reachable}
		nodes[i] = node
		switch {
		case p.Leader:
			node.Role = "leader"
		case !p.Voter:
			node.Role = "nonvoter"
		}
		if p.Applied == 0 && (p.Reachable || !p.Known) {
			asked.Go(func() { m.progress(ctx, node) })
		}
	}
	asked.Wait()
	slices.SortFunc(nodes, func(a, b *adminv1.Node) int { return cmp.Compare(a.GetId(), b.GetId()) })
	return nodes, nil
}

func (m membership) progress(ctx context.Context, node *adminv1.Node) {
	ctx, cancel := context.WithTimeout(ctx, progressPatience)
	defer cancel()
	conn, err := m.peer(node.GetAddress())
	if err != nil {
		return
	}
	answer, err := clusterv1.NewPeerClient(conn).Progress(ctx, &clusterv1.ProgressRequest{})
	node.Reachable = err == nil
	node.Applied = answer.GetApplied()
}

func (m membership) AddPeer(ctx context.Context, id, address string, nonvoter bool) error {
	return travelling(m.Node.AddPeer(ctx, id, address, nonvoter))
}

func (m membership) RemovePeer(ctx context.Context, id string) error {
	return travelling(m.Node.RemovePeer(ctx, id))
}

func (m membership) TransferLeader(ctx context.Context, id string) error {
	return travelling(m.Node.TransferLeader(ctx, id))
}

// peerServer is what nodes say to each other: consensus is the cluster node's
// part, places are the publisher's.
type peerServer struct {
	*cluster.PeerServer
	node      *cluster.Node
	barrier   *publish.Barrier
	publisher *publish.Publisher
}

func (p peerServer) ReportPlaces(stream grpc.BidiStreamingServer[clusterv1.ReportPlacesRequest, clusterv1.ReportPlacesResponse]) error {
	return p.barrier.ReportPlaces(stream)
}

func (p peerServer) Progress(context.Context, *clusterv1.ProgressRequest) (*clusterv1.ProgressResponse, error) {
	return &clusterv1.ProgressResponse{Applied: p.node.StaleView().Index()}, nil
}

func (p peerServer) Ask(ctx context.Context, req *clusterv1.AskRequest) (*clusterv1.AskResponse, error) {
	return &clusterv1.AskResponse{Replies: p.publisher.Ask(ctx, req.GetDomain(), req.GetQuery())}, nil
}

var _ syncv1.EdgeSyncServer = (*publish.Publisher)(nil)

// join asks running nodes, until one does, to add this node. A node that is a
// member already, because it is only starting again, is left alone.
func (s *Server) join(ctx context.Context) error {
	for {
		// One of them leads, as a rule: all are asked before the next pause.
		for _, i := range rand.Perm(len(s.cfg.Join)) {
			if s.node.Ready() == nil {
				return nil
			}
			address := s.cfg.Join[i]
			err := s.tryJoin(ctx, address)
			if err == nil || ctx.Err() != nil {
				return nil
			}
			if Permanent(err) {
				return fmt.Errorf("join by %s: %w", address, err)
			}
			s.cfg.Logger.Info("not joined yet", "component", "cluster", "node", s.cfg.ID, "by", address, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (s *Server) tryJoin(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := s.peers.Conn(address)
	if err != nil {
		return err
	}
	_, err = clusterv1.NewPeerClient(conn).Join(ctx, &clusterv1.JoinRequest{Id: s.cfg.ID, Address: s.cfg.Advertise, Voter: true, Instance: s.node.Instance()})
	return err
}
