package controlplane

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/posternhq/postern/internal/pki"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// restricted are the services that only certain roles may call. The others are
// open to whoever reaches the listener, which under auth "none" is loopback.
var restricted = map[string][]pki.Role{
	"/postern.cluster.v1.Peer/":  {pki.RoleServer},
	"/postern.sync.v1.EdgeSync/": {pki.RoleEdge, pki.RoleDNS},
}

func checkRole(ctx context.Context, method string) error {
	for prefix, roles := range restricted {
		if !strings.HasPrefix(method, prefix) {
			continue
		}
		role, _, ok := roleOf(ctx)
		for _, r := range roles {
			if ok && role == r {
				return nil
			}
		}
		return status.Errorf(codes.PermissionDenied, "%s needs a certificate of role %v", method, roles)
	}
	return nil
}

// roleOf returns the role in the caller's verified certificate.
func roleOf(ctx context.Context) (role pki.Role, id string, ok bool) {
	p, found := peer.FromContext(ctx)
	if !found {
		return "", "", false
	}
	info, found := p.AuthInfo.(credentials.TLSInfo)
	if !found {
		return "", "", false
	}
	return pki.RoleOf(info.State)
}

// authorizePlace lets a role subscribe to its own domain only, and only under
// the id in its certificate.
func authorizePlace(ctx context.Context, domain syncv1.Domain, carrier string) error {
	role, id, ok := roleOf(ctx)
	want := pki.RoleEdge
	if domain == syncv1.Domain_DOMAIN_DNS {
		want = pki.RoleDNS
	}
	if !ok || role != want || id != carrier {
		return status.Errorf(codes.PermissionDenied, "the certificate does not say %s %q", want, carrier)
	}
	return nil
}

func onlyRolesUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := checkRole(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

func onlyRolesStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := checkRole(stream.Context(), info.FullMethod); err != nil {
		return err
	}
	return handler(srv, stream)
}
