package controlplane

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/posternhq/postern/controlplane/cluster"
	"github.com/posternhq/postern/controlplane/rpc"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/internal/pki"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// proposer is a cluster node as the services see it: its errors travel.
type proposer struct{ *cluster.Node }

func (p proposer) Propose(ctx context.Context, txn *statev1.Txn) (state.Result, error) {
	result, err := p.Node.Propose(ctx, txn)
	return result, travelling(err)
}

func (p proposer) ReadView(ctx context.Context) (*state.View, error) {
	v, err := p.Node.ReadView(ctx)
	return v, travelling(err)
}

func (p proposer) WaitIndex(ctx context.Context, index uint64) (*state.View, error) {
	v, err := p.Node.WaitIndex(ctx, index)
	return v, travelling(err)
}

// travelling gives the errors of a node the form in which other nodes and
// clients act on them. Not being the leader is the one after which a write is
// tried again elsewhere; all others leave its outcome open.
func travelling(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, cluster.ErrNotLeader):
		return rpc.ErrNotLeader
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.Unavailable, err.Error())
}

// Permanent says that trying a call again can't help: its arguments are wrong.
func Permanent(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.PermissionDenied, codes.Unimplemented, codes.NotFound:
		return true
	}
	return false
}

// stream is raft's transport: mutual TLS between servers, on the connections
// that the node's listener set apart for it.
type stream struct {
	net.Listener
	advertise address
	client    *tls.Config
}

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

func newStream(ln net.Listener, advertise string, identity *pki.Identity) *stream {
	return &stream{Listener: onlyServers{ln}, advertise: address(advertise), client: identity.ClientTLS([]pki.Role{pki.RoleServer}, alpnRaft)}
}

func (s *stream) Addr() net.Addr { return s.advertise }

// Dial implements raft.StreamLayer.
func (s *stream) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	d := &tls.Dialer{Config: s.client}
	return d.DialContext(ctx, "tcp", string(to))
}

// onlyServers drops connections whose certificate is not that of a server:
// whoever could send raft messages could rewrite the log.
type onlyServers struct{ net.Listener }

func (o onlyServers) Accept() (net.Conn, error) {
	for {
		conn, err := o.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c, ok := conn.(*tls.Conn); ok {
			if role, _, ok := pki.RoleOf(c.ConnectionState()); ok && role == pki.RoleServer {
				return conn, nil
			}
		}
		conn.Close()
	}
}
