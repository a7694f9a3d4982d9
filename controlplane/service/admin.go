package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dnsprop/propagation"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Membership is what the admin service needs of the consensus group.
type Membership interface {
	Peers(ctx context.Context) ([]*adminv1.Node, error)
	AddPeer(ctx context.Context, id, address string, nonvoter bool) error
	RemovePeer(ctx context.Context, id string) error
	// TransferLeader hands leadership to the node, or to the most up-to-date one if id is empty.
	TransferLeader(ctx context.Context, id string) error
	// IsLeader says whether this node leads; Leader names the leader, empty if unknown.
	IsLeader() bool
	Leader() (id, address string)
}

// Places is what the admin service needs of the publisher. Only the leader's
// knows what every place has acknowledged.
type Places interface {
	// Places returns the registered places of the View with what is known of them.
	Places(v *state.View) []*adminv1.Place
	// Wait blocks until every registered place of the kinds shows the index, a
	// place rejects it, or ctx ends. progress is called at each change, and once
	// more by the caller with the result.
	Wait(ctx context.Context, index uint64, kinds []string, progress func(*adminv1.WaitResponse)) (*adminv1.WaitResponse, error)
}

// AdminConfig is what the admin service is made of.
type AdminConfig struct {
	Config
	Membership Membership
	Places     Places
	Questions  Questions
	// Peer returns a connection to another node.
	Peer func(address string) (grpc.ClientConnInterface, error)
	// AllowReset is set under --auth=none only.
	AllowReset bool
}

type admin struct {
	adminv1.UnimplementedAdminServer
	cfg AdminConfig
}

// NewAdmin returns the admin service.
func NewAdmin(cfg AdminConfig) adminv1.AdminServer {
	cfg.Config = cfg.Config.withDefaults()
	return &admin{cfg: cfg}
}

// leader returns a client of the leader, or nil when this node leads.
func (a *admin) leader() (adminv1.AdminClient, error) {
	if a.cfg.Membership.IsLeader() {
		return nil, nil
	}
	_, address := a.cfg.Membership.Leader()
	if address == "" {
		return nil, status.Error(codes.Unavailable, "no leader: a majority of the control-plane nodes must be up")
	}
	conn, err := a.cfg.Peer(address)
	if err != nil {
		return nil, err
	}
	return adminv1.NewAdminClient(conn), nil
}

// statusPatience bounds how long a follower asks the leader before it answers
// with what it knows itself: status must work when little else does.
const statusPatience = 2 * time.Second

// Status answers what the leader knows. Without one it answers this node's own
// view of the group, and every place as "unreachable": nobody can say more.
func (a *admin) Status(ctx context.Context, req *adminv1.StatusRequest) (*adminv1.StatusResponse, error) {
	client, err := a.leader()
	if err == nil && client != nil {
		asked, cancel := context.WithTimeout(ctx, statusPatience)
		defer cancel()
		if answer, err := client.Status(asked, req); err == nil {
			return answer, nil
		}
	}
	v := a.cfg.Cluster.StaleView()
	nodes, err := a.cfg.Membership.Peers(ctx)
	if err != nil {
		return nil, fmt.Errorf("list peers: %w", err)
	}
	clock := propagation.ClockOf(v.Settings().GetDnsClock())
	id, _ := a.cfg.Membership.Leader()
	return &adminv1.StatusResponse{
		Index:  v.Index(),
		Leader: id,
		Nodes:  nodes,
		Places: a.cfg.Places.Places(v),
		Dns: &adminv1.DnsStatus{
			Profile:     v.Settings().GetDnsProfile(),
			Speed:       clock.Speed,
			NowUnixNano: clock.Now(a.cfg.Now()).UnixNano(),
			Frozen:      clock.Speed == 0,
			Faults:      faultsInForce(v, clock.Now(a.cfg.Now())),
		},
	}, nil
}

// electionPatience bounds how long a wait looks for the node that leads.
const electionPatience = 10 * time.Second

// Wait runs on the leader; another node passes the stream on. While the
// leadership changes it asks again: a barrier that fails because of an election
// would fail when it is needed most.
func (a *admin) Wait(req *adminv1.WaitRequest, stream grpc.ServerStreamingServer[adminv1.WaitResponse]) error {
	ctx := stream.Context()
	began := time.Now()
	left := proto.CloneOf(req)
	for {
		err := a.waitOnce(left, stream)
		if status.Code(err) != codes.Unavailable {
			return err
		}
		lost := time.Now()
		for !a.leaderKnown() {
			if time.Since(lost) > electionPatience {
				return err
			}
			select {
			case <-ctx.Done():
				return status.FromContextError(ctx.Err()).Err()
			case <-time.After(50 * time.Millisecond):
			}
		}
		if ms := req.GetTimeoutMs(); ms > 0 {
			left.TimeoutMs = max(1, ms-time.Since(began).Milliseconds())
		}
		select { // a leader that can't be reached yet is asked again, not in a loop
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (a *admin) leaderKnown() bool {
	id, _ := a.cfg.Membership.Leader()
	return id != "" || a.cfg.Membership.IsLeader()
}

func (a *admin) waitOnce(req *adminv1.WaitRequest, stream grpc.ServerStreamingServer[adminv1.WaitResponse]) error {
	ctx := stream.Context()
	client, err := a.leader()
	if err != nil {
		return err
	}
	if client != nil {
		return passOn(ctx, client, req, stream)
	}
	kinds := req.GetKinds()
	for _, kind := range kinds {
		if kind != "edges" && kind != "dns" {
			return apierr.BadRequest("Invalid kind %q: places are \"edges\" or \"dns\"", kind)
		}
	}
	if len(kinds) == 0 {
		kinds = []string{"edges", "dns"}
	}
	index := req.GetIndex()
	if index == 0 {
		v, err := a.cfg.Cluster.ReadView(ctx)
		if err != nil {
			return err
		}
		index = v.Index()
	}
	if ms := req.GetTimeoutMs(); ms > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		defer cancel()
	}
	result, err := a.cfg.Places.Wait(ctx, index, kinds, func(progress *adminv1.WaitResponse) {
		// A client that went away ends ctx, which ends the wait.
		_ = stream.Send(progress)
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded) && result != nil && stream.Context().Err() == nil:
		// The time that the caller gave is up: what was found so far is the answer.
	case err != nil:
		return err
	}
	result.Done = true
	return stream.Send(result)
}

func passOn(ctx context.Context, client adminv1.AdminClient, req *adminv1.WaitRequest, stream grpc.ServerStreamingServer[adminv1.WaitResponse]) error {
	upstream, err := client.Wait(ctx, req)
	if err != nil {
		return err
	}
	for {
		message, err := upstream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(message); err != nil {
			return err
		}
	}
}

func (a *admin) ListPeers(ctx context.Context, req *adminv1.ListPeersRequest) (*adminv1.ListPeersResponse, error) {
	client, err := a.leader()
	if err != nil {
		return nil, err
	}
	if client != nil {
		return client.ListPeers(ctx, req)
	}
	nodes, err := a.cfg.Membership.Peers(ctx)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListPeersResponse{Nodes: nodes}, nil
}

func (a *admin) AddPeer(ctx context.Context, req *adminv1.AddPeerRequest) (*adminv1.AddPeerResponse, error) {
	if req.GetId() == "" || req.GetAddress() == "" {
		return nil, apierr.BadRequest("id and address of the node must be given")
	}
	if err := a.cfg.Membership.AddPeer(ctx, req.GetId(), req.GetAddress(), req.GetNonvoter()); err != nil {
		return nil, err
	}
	a.note(ctx)
	return &adminv1.AddPeerResponse{}, nil
}

func (a *admin) RemovePeer(ctx context.Context, req *adminv1.RemovePeerRequest) (*adminv1.RemovePeerResponse, error) {
	if req.GetId() == "" {
		return nil, apierr.BadRequest("id of the node must be given")
	}
	if err := a.cfg.Membership.RemovePeer(ctx, req.GetId()); err != nil {
		return nil, err
	}
	a.note(ctx)
	return &adminv1.RemovePeerResponse{}, nil
}

func (a *admin) TransferLeader(ctx context.Context, req *adminv1.TransferLeaderRequest) (*adminv1.TransferLeaderResponse, error) {
	return &adminv1.TransferLeaderResponse{}, a.cfg.Membership.TransferLeader(ctx, req.GetId())
}

// Reset wipes a laboratory. The index goes on and the places stay: they are
// processes, which the reset does not end.
func (a *admin) Reset(ctx context.Context, _ *adminv1.ResetRequest) (*adminv1.ResetResponse, error) {
	if !a.cfg.AllowReset {
		return nil, apierr.New(apierr.KindAccessDenied, "", "reset is available under --auth=none only")
	}
	index, err := update(ctx, a.cfg.Config, func(*state.View) (*statev1.Txn, error) {
		return &statev1.Txn{Wipe: true, WipeKeeps: []statev1.Type{statev1.Type_TYPE_SETTINGS, statev1.Type_TYPE_PLACE}}, nil
	})
	return &adminv1.ResetResponse{Index: index}, err
}
