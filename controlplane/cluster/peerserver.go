package cluster

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
)

// PeerServer serves a node's part of clusterv1.Peer. ReportPlaces is not its
// part: who assembles the service adds it.
type PeerServer struct {
	clusterv1.UnimplementedPeerServer
	node *Node
}

// PeerServer returns the node's part of clusterv1.Peer.
func (n *Node) PeerServer() *PeerServer { return &PeerServer{node: n} }

// ReadIndex answers on the leader; a follower refuses instead of asking on,
// since two nodes that each believe in the other would ask forever.
func (s *PeerServer) ReadIndex(ctx context.Context, _ *clusterv1.ReadIndexRequest) (*clusterv1.ReadIndexResponse, error) {
	if !s.node.IsLeader() {
		return nil, notLeaderStatus()
	}
	index, err := s.node.readIndex(ctx)
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return &clusterv1.ReadIndexResponse{Index: index}, nil
}

// Join adds a node that has no data yet. Leader only; any other answers
// UNAVAILABLE, for the caller to ask elsewhere or again.
func (s *PeerServer) Join(ctx context.Context, req *clusterv1.JoinRequest) (*clusterv1.JoinResponse, error) {
	if !s.node.IsLeader() {
		return nil, status.Error(codes.Unavailable, ErrNotLeader.Error())
	}
	if err := s.meet(req.GetId(), req.GetInstance()); err != nil {
		return nil, err
	}
	if err := s.node.AddPeer(ctx, req.GetId(), req.GetAddress(), !req.GetVoter()); err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return &clusterv1.JoinResponse{}, nil
}

// Introduce notes the caller's instance and answers with this node's own.
func (s *PeerServer) Introduce(_ context.Context, req *clusterv1.IntroduceRequest) (*clusterv1.IntroduceResponse, error) {
	if err := s.meet(req.GetId(), req.GetInstance()); err != nil {
		return nil, err
	}
	if req.GetAddress() != "" {
		s.node.addresses.set(req.GetId(), req.GetAddress())
	}
	return &clusterv1.IntroduceResponse{Id: s.node.cfg.ID, Instance: s.node.identity.instance(), Address: s.node.cfg.Address}, nil
}

func (s *PeerServer) meet(id, instance string) error {
	if id == "" || instance == "" {
		return status.Error(codes.InvalidArgument, "a node introduces itself by its id and instance")
	}
	if id == s.node.cfg.ID && instance != s.node.identity.instance() {
		return status.Errorf(codes.FailedPrecondition, "id %s is this node's own", id)
	}
	switch known, err := s.node.meet(id, instance); {
	case errors.Is(err, ErrStopped):
		return status.Error(codes.Unavailable, err.Error())
	case err != nil:
		return status.Error(codes.Internal, err.Error())
	case known != instance:
		return status.Errorf(codes.FailedPrecondition, "node %s is a member with another data folder (instance %s): remove it from the cluster first", id, known)
	}
	return nil
}
