package controlplane

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/posternhq/postern/internal/pki"
)

// Metadata that says for the audit where a request came from. The gateway
// writes it for requests over HTTP, this file for all others.
const (
	metaRole      = "x-postern-role"
	metaSource    = "x-postern-source"
	metaUserAgent = "x-postern-user-agent"
	metaAccessKey = "x-postern-access-key"
	metaForwarded = "x-postern-forwarded"
)

// Metadata that says whose the access key of a request is; Identify writes it.
const (
	metaAccount   = "x-postern-account"
	metaPrincipal = "x-postern-principal"
	metaUserID    = "x-postern-user-id"
)

// origin notes where a gRPC call came from. What a node sends on was noted where
// it came in; nobody else may say it himself.
func origin(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	role, id, known := roleOf(ctx)
	md, _ := metadata.FromIncomingContext(ctx)
	if known && role == pki.RoleServer && len(md.Get(metaForwarded)) > 0 {
		return handler(ctx, req)
	}
	md = md.Copy()
	for _, key := range []string{metaRole, metaSource, metaUserAgent, metaAccessKey, metaPrincipal, metaUserID, metaForwarded} {
		md.Delete(key)
	}
	if known {
		md.Set(metaRole, roleName(role, id))
	}
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		md.Set(metaSource, p.Addr.String())
	}
	if agent := md.Get("user-agent"); len(agent) > 0 {
		md.Set(metaUserAgent, agent[0])
	}
	return handler(metadata.NewIncomingContext(ctx, md), req)
}

// as is a context for calls of the services in this process by a role of the
// cluster: by whoever holds the stream of ctx, or else by this node.
func (s *Server) as(ctx context.Context) context.Context {
	name := roleName(pki.RoleServer, s.cfg.ID)
	if role, id, ok := roleOf(ctx); ok {
		name = roleName(role, id)
	}
	return metadata.AppendToOutgoingContext(ctx, metaRole, name)
}

// roleName is the name in the holder's certificate (package pki).
func roleName(role pki.Role, id string) string {
	return strings.Join([]string{"spiffe://postern", string(role), id}, "/")
}
