package controlplane

import (
	"context"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/posternhq/postern/controlplane/identity"
)

// identify tells the services whose the access key of a request is: his account
// is the caller's, whatever else the request says. A key that nobody has, and a
// name in its place, leave the request to the account that it names.
//
// Under auth "none" this is all: nothing is verified, so a key that is inactive
// or has ended is its owner's, too.
func (s *Server) identify(ctx context.Context) (context.Context, error) {
	incoming, _ := metadata.FromIncomingContext(ctx)
	given := incoming.Get(metaAccessKey)
	if len(given) == 0 || !identity.IsAccessKeyID(given[0]) {
		return ctx, nil
	}
	// What was committed a moment ago at another node may not be here yet.
	h, _ := identity.Find(s.node.Store().View(), given[0], time.Now())
	if h == nil {
		// Without a leader stale reads still work, for the account of the request.
		if v, err := s.node.ReadView(ctx); err == nil {
			h, _ = identity.Find(v, given[0], time.Now())
		}
	}
	if h == nil {
		return ctx, nil
	}
	md := incoming.Copy()
	md.Set(metaAccount, h.Account)
	md.Set(metaPrincipal, h.ARN())
	md.Set(metaUserID, h.UserID())
	return metadata.NewIncomingContext(ctx, md), nil
}
