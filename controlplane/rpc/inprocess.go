package rpc

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Conn returns a connection that calls the services in this process, through
// the same chain as the network. It carries unary calls only.
func (s *Server) Conn() grpc.ClientConnInterface { return inProcess{s} }

type inProcess struct{ s *Server }

// Invoke implements grpc.ClientConnInterface.
func (c inProcess) Invoke(ctx context.Context, name string, args, reply any, opts ...grpc.CallOption) error {
	m := c.s.methods[name]
	if m == nil {
		return status.Errorf(codes.Unimplemented, "unknown method %s", name)
	}
	outgoing, _ := metadata.FromOutgoingContext(ctx)
	stream := &headers{method: name}
	ctx = metadata.NewIncomingContext(ctx, outgoing.Copy())
	ctx = grpc.NewContextWithServerTransportStream(ctx, stream)
	decode := func(into any) error {
		// Handlers may keep parts of a request; the caller's message stays its own.
		proto.Merge(into.(proto.Message), args.(proto.Message))
		return nil
	}
	resp, err := m.desc.Handler(m.service.impl, ctx, decode, c.s.chain)
	for _, opt := range opts {
		switch o := opt.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = stream.header
		case grpc.TrailerCallOption:
			*o.TrailerAddr = stream.trailer
		}
	}
	if err != nil {
		// As over the network: callers see a status, never a Go error chain.
		if st, ok := status.FromError(err); ok {
			return st.Err()
		}
		return status.FromContextError(err).Err()
	}
	proto.Merge(reply.(proto.Message), resp.(proto.Message))
	return nil
}

// NewStream implements grpc.ClientConnInterface.
func (c inProcess) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "the in-process connection carries unary calls only")
}

// headers collects what a handler sets with grpc.SetHeader. A call has one
// handler goroutine, so there is nothing to lock.
type headers struct {
	method          string
	header, trailer metadata.MD
}

func (h *headers) Method() string { return h.method }

func (h *headers) SetHeader(md metadata.MD) error {
	h.header = metadata.Join(h.header, md)
	return nil
}

func (h *headers) SendHeader(md metadata.MD) error { return h.SetHeader(md) }

func (h *headers) SetTrailer(md metadata.MD) error {
	h.trailer = metadata.Join(h.trailer, md)
	return nil
}
