package rpc

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// forwardedKey marks a request that another node sent on. Such a request is
// decided here or refused, never sent on again: two nodes that each believe the
// other leads would play ping-pong with it.
const forwardedKey = "x-postern-forwarded"

// leaderPatience bounds how long a write waits for a leader to appear. It is a
// few election timeouts; after that the client learns that there is none.
const leaderPatience = 10 * time.Second

// supersededGrace is how long a node that was asked as leader may still answer
// after another one has taken over. One that is alive needs a fraction of it.
const supersededGrace = 500 * time.Millisecond

// errSuperseded: the node that was asked does not lead any more, and is silent.
var errSuperseded = errors.New("another node took over the leadership before the leader answered: the outcome is unknown")

// forward runs writes on the leader. The request is what travels, not its
// outcome: the leader's service checks it on the leader's own View, so writers
// of one root record queue there instead of colliding at their guards.
//
// A read is answered here, but for the one that finds that it has to write
// first: an account's first EC2 call in a region makes its default VPC.
//
// A write is tried again only when the answer says that nothing was started
// (ErrNotLeader). A connection that broke after the request was sent leaves the
// outcome unknown; the client is told (UNAVAILABLE) and may use a token.
func (s *Server) forward(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	m := s.methods[info.FullMethod]
	if m == nil || s.cfg.Leadership == nil {
		return handler(ctx, req)
	}
	incoming, _ := metadata.FromIncomingContext(ctx)
	forwarded := len(incoming.Get(forwardedKey)) > 0
	if !m.write {
		resp, err := handler(ctx, req)
		if forwarded || !isNotLeader(err) {
			return resp, err
		}
	}
	if forwarded {
		if !s.cfg.Leadership.IsLeader() {
			return nil, ErrNotLeader
		}
		return handler(ctx, req)
	}
	deadline := time.Now().Add(leaderPatience)
	pause := 5 * time.Millisecond
	for {
		resp, err := s.once(ctx, m, incoming, req, info, handler)
		if err == nil || !isNotLeader(err) {
			return resp, err
		}
		if time.Now().After(deadline) {
			return nil, status.Error(codes.Unavailable, "no leader: a majority of the control-plane nodes must be up; see `postern status`")
		}
		select {
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, 100*time.Millisecond)
	}
}

func (s *Server) once(ctx context.Context, m *method, incoming metadata.MD, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if s.cfg.Leadership.IsLeader() {
		return handler(ctx, req)
	}
	_, address := s.cfg.Leadership.Leader()
	if address == "" {
		return nil, ErrNotLeader
	}
	conn, err := s.cfg.Peer(address)
	if err != nil {
		return nil, ErrNotLeader
	}
	if c, ok := conn.(interface{ reachable(context.Context) bool }); ok && !c.reachable(ctx) {
		return nil, ErrNotLeader // nothing was sent; another one may lead soon
	}
	out := incoming.Copy()
	// Names that HTTP/2 or gRPC own do not travel on.
	for key := range out {
		if key[0] == ':' || key == "content-type" || key == "user-agent" || key == "grpc-timeout" {
			delete(out, key)
		}
	}
	out.Set(forwardedKey, "1")
	var header metadata.MD
	reply := m.reply.New().Interface()
	asking, answered := s.whileLeading(ctx, address)
	defer answered()
	err = conn.Invoke(metadata.NewOutgoingContext(asking, out), info.FullMethod, req, reply, grpc.Header(&header))
	delete(header, "content-type")
	if len(header) > 0 {
		// Only fails when headers were sent already, which no unary handler does.
		_ = grpc.SetHeader(ctx, header)
	}
	if err != nil && errors.Is(context.Cause(asking), errSuperseded) {
		return nil, status.Error(codes.Unavailable, errSuperseded.Error())
	}
	if err != nil {
		return nil, broken(err)
	}
	return reply, nil
}

// broken says in our words that a connection ended under a call. Errors that
// the leader's services gave carry their kind and pass as they are.
func broken(err error) error {
	st, ok := status.FromError(err)
	if !ok || st.Code() != codes.Unavailable || len(st.Details()) > 0 {
		return err
	}
	return status.Error(codes.Unavailable, "the node that leads went away: whether the write was applied is not known; read it back, or repeat it with a client token")
}

// whileLeading returns a context that ends a moment after another node than the
// one at address is known to lead: a leader that hangs, or was cut off, would
// otherwise hold its callers for as long as they can wait.
func (s *Server) whileLeading(ctx context.Context, address string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for {
			changed := s.cfg.Leadership.LeadershipChanged()
			if _, now := s.cfg.Leadership.Leader(); now != "" && now != address {
				changed = nil
				time.AfterFunc(supersededGrace, func() { cancel(errSuperseded) })
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}
