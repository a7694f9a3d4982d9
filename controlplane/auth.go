package controlplane

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/gateway"
	"github.com/posternhq/postern/controlplane/guard"
	"github.com/posternhq/postern/internal/pki"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// firstAccount is the account that a new cluster has, the one that requests
// belong to which name none.
const firstAccount = "123456789012"

// newGuard judges callers by the access keys of this node's Views, each of which
// holds what was acknowledged before.
func (s *Server) newGuard(keyring *pki.Keyring) *guard.Guard {
	return guard.New(&guard.StoredKeys{View: proposer{s.node}.ReadView, Keyring: keyring, Now: time.Now}, time.Now)
}

// interceptors are those of calls over the network, before and behind the
// chain of the services.
func (s *Server) interceptors() []grpc.ServerOption {
	before := []grpc.UnaryServerInterceptor{origin}
	streams := []grpc.StreamServerInterceptor{onlyRolesStream}
	if s.guard != nil {
		before = append(before, s.guard.FrontUnary(certified), ownCallsUnary)
		streams = append(streams, s.guard.FrontStream(certified), ownCallsStream)
	}
	options := append([]grpc.ServerOption{grpc.ChainUnaryInterceptor(before...)}, s.rpc.ServerOptions()...)
	return append(options, grpc.ChainUnaryInterceptor(onlyRolesUnary), grpc.ChainStreamInterceptor(streams...))
}

// certified: a caller is known by the cluster's own certificates.
func certified(ctx context.Context) bool {
	_, _, ok := roleOf(ctx)
	return ok
}

// ownCallsUnary lets edges and DNS servers call, by their certificates, only what
// is theirs: the stream, and the end of their own places. Nodes may call everything:
// what they send on was judged where it came in.
func ownCallsUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	role, id, ok := roleOf(ctx)
	if !ok || role == pki.RoleServer || ownService(info.FullMethod) {
		return handler(ctx, req)
	}
	if r, is := req.(*adminv1.RemovePlaceRequest); is && (r.GetId() == id || strings.HasPrefix(r.GetId(), id+"-")) {
		return handler(ctx, req)
	}
	return nil, status.Errorf(codes.PermissionDenied, "a certificate of role %s is not for %s", role, info.FullMethod)
}

func ownCallsStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	role, _, ok := roleOf(stream.Context())
	if !ok || role == pki.RoleServer || ownService(info.FullMethod) {
		return handler(srv, stream)
	}
	return status.Errorf(codes.PermissionDenied, "a certificate of role %s is not for %s", role, info.FullMethod)
}

func ownService(method string) bool {
	return strings.HasPrefix(method, "/postern.sync.v1.EdgeSync/") || strings.HasPrefix(method, "/grpc.health.v1.Health/")
}

// httpAuth judges requests over HTTP.
type httpAuth struct{ guard *guard.Guard }

func (a httpAuth) AuthenticateHTTP(ctx context.Context, r *http.Request, body []byte, protocol awsv1.Protocol_Kind) (gateway.Signed, *apierr.Error) {
	c, scope, refused := a.guard.Authenticate(ctx, guard.Request{Request: r, Body: body, Protocol: protocol})
	if refused != nil {
		return gateway.Signed{}, refused
	}
	return gateway.Signed{
		Context: guard.With(ctx, c), Account: c.Account, AccessKeyID: scope.KeyID, Region: scope.Region, SigningService: scope.Service,
	}, nil
}

// found makes the first account of a new cluster with its root key, which is told
// once. Of several nodes that start together one does it.
func (s *Server) found(ctx context.Context) error {
	if s.guard == nil || s.cfg.RootKey == nil || len(s.cfg.Bootstrap) == 0 {
		return nil
	}
	client := adminv1.NewAdminClient(s.rpc.Conn())
	for {
		v, err := proposer{s.node}.ReadView(ctx)
		if err == nil {
			for range v.All(statev1.Type_TYPE_IAM_ACCOUNT) {
				return nil
			}
			var made *adminv1.CreateAccountResponse
			made, err = client.CreateAccount(s.as(ctx), &adminv1.CreateAccountRequest{Id: firstAccount})
			switch {
			case err == nil:
				s.cfg.RootKey(firstAccount, made.GetAccessKeyId(), made.GetSecretAccessKey())
				return nil
			case status.Code(err) == codes.AlreadyExists:
				return nil
			case Permanent(err):
				return errors.Join(errors.New("make the first account"), err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}
