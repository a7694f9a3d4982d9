// Package rpc carries calls to the services of a control-plane node: over the
// network and within the process, through one chain of interceptors.
//
// It owns the chain (recovery, metrics, who calls, constraint checks, forwarding of writes
// to the leader), the in-process connection that the HTTP gateway uses, and the
// connections to other nodes. It does not know what any service does: what it
// needs to know of an operation stands in the operation's proto options.
//
// A Server is set up by one goroutine (Register) and then safe for any number.
package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

// Leadership is what forwarding needs of a cluster node.
type Leadership interface {
	// IsLeader says whether this node leads.
	IsLeader() bool
	// Leader returns the id and gRPC address of the leader, empty if unknown.
	Leader() (id, address string)
	// LeadershipChanged is closed at the next change of either. Take it before asking.
	LeadershipChanged() <-chan struct{}
}

// Config of a Server.
type Config struct {
	Leadership Leadership
	// Peer returns a connection to another node; it is cached by the callee.
	Peer func(address string) (grpc.ClientConnInterface, error)
	// Identify says whose a request is, before anything else is made of it and
	// where it comes in only: the metadata of its context is what handlers, and
	// the leader, are told. Nil: the metadata stay as they are.
	Identify func(ctx context.Context) (context.Context, error)
	// Authorize refuses what a caller may not do; nil: everybody may do everything.
	Authorize grpc.UnaryServerInterceptor
	// Validate checks a request's constraints before its handler runs.
	Validate   func(method string, request proto.Message) error
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Server holds the registered services and calls them.
type Server struct {
	cfg      Config
	services map[string]*service
	methods  map[string]*method
	chain    grpc.UnaryServerInterceptor
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

type service struct {
	desc *grpc.ServiceDesc
	impl any
}

type method struct {
	service *service
	desc    *grpc.MethodDesc
	write   bool
	// reply makes an empty answer message.
	reply protoreflect.MessageType
}

// New returns a Server without services.
func New(cfg Config) *Server {
	s := &Server{
		cfg:      cfg,
		services: map[string]*service{},
		methods:  map[string]*method{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_rpc_requests_total", Help: "Calls of the control plane's operations, by operation and gRPC code.",
		}, []string{"method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "postern_rpc_request_seconds", Help: "Time to answer a call, forwarding included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"method"}),
	}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(s.requests, s.seconds)
	}
	links := []grpc.UnaryServerInterceptor{s.recover, s.observe, s.identify, s.validate, s.forward}
	if cfg.Authorize != nil {
		links = slices.Insert(links, 2, cfg.Authorize)
	}
	s.chain = chain(links...)
	return s
}

// RegisterService implements grpc.ServiceRegistrar. It is called before the
// Server is used and panics on a service that the registry does not describe:
// that is a mistake of the program, not of a caller.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	svc := &service{desc: desc, impl: impl}
	s.services[desc.ServiceName] = svc
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(desc.ServiceName))
	if err != nil {
		panic(fmt.Sprintf("rpc: service %s has no descriptor: %v", desc.ServiceName, err))
	}
	methods := found.(protoreflect.ServiceDescriptor).Methods()
	for i := range desc.Methods {
		md := methods.ByName(protoreflect.Name(desc.Methods[i].MethodName))
		op, _ := proto.GetExtension(md.Options(), awsv1.E_Operation).(*awsv1.Operation)
		reply, err := protoregistry.GlobalTypes.FindMessageByName(md.Output().FullName())
		if err != nil {
			panic(fmt.Sprintf("rpc: answer of %s: %v", md.FullName(), err))
		}
		name := "/" + desc.ServiceName + "/" + desc.Methods[i].MethodName
		s.methods[name] = &method{service: svc, desc: &desc.Methods[i], write: op.GetWrite(), reply: reply}
	}
}

// AttachTo registers every service with a network server, which must have been
// made with ServerOptions so that calls go through the same chain.
func (s *Server) AttachTo(g *grpc.Server) {
	for _, svc := range s.services {
		g.RegisterService(svc.desc, svc.impl)
	}
}

// ServerOptions are the options of a network server that AttachTo is called with.
func (s *Server) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(s.chain)}
}

func chain(links ...grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		next := handler
		for i := len(links) - 1; i >= 0; i-- {
			link, inner := links[i], next
			next = func(ctx context.Context, req any) (any, error) { return link(ctx, req, info, inner) }
		}
		return next(ctx, req)
	}
}

// recover turns a handler's panic into an internal error: one bad request must
// not take the node, and with it a vote, away.
func (s *Server) recover(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.cfg.Logger.Error("handler panicked", "component", "rpc", "method", info.FullMethod, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = status.Error(codes.Internal, "internal error")
		}
	}()
	return handler(ctx, req)
}

func (s *Server) observe(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	start := time.Now()
	resp, err := handler(ctx, req)
	s.requests.WithLabelValues(info.FullMethod, status.Code(err).String()).Inc()
	s.seconds.WithLabelValues(info.FullMethod).Observe(time.Since(start).Seconds())
	return resp, err
}

func (s *Server) identify(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if s.cfg.Identify != nil {
		if incoming, _ := metadata.FromIncomingContext(ctx); len(incoming.Get(forwardedKey)) == 0 {
			var err error
			if ctx, err = s.cfg.Identify(ctx); err != nil {
				return nil, err
			}
		}
	}
	return handler(ctx, req)
}

func (s *Server) validate(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if s.cfg.Validate != nil {
		if msg, ok := req.(proto.Message); ok {
			if err := s.cfg.Validate(info.FullMethod, msg); err != nil {
				return nil, err
			}
		}
	}
	return handler(ctx, req)
}

// reasonNotLeader marks the one error after which a write may be tried again
// elsewhere: nothing was appended to any log.
const reasonNotLeader = "NOT_LEADER"

// ErrNotLeader says that the node does not lead and that the write was not
// started. It travels between nodes.
var ErrNotLeader = func() error {
	st, err := status.New(codes.Unavailable, "this node is not the leader").WithDetails(&errdetails.ErrorInfo{Reason: reasonNotLeader, Domain: "postern"})
	if err != nil {
		panic(err)
	}
	return st.Err()
}()

func isNotLeader(err error) bool {
	st, ok := status.FromError(err)
	if !ok || st.Code() != codes.Unavailable {
		return false
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetReason() == reasonNotLeader {
			return true
		}
	}
	return false
}
