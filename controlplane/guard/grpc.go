package guard

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/internal/sigv4"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

// A gRPC call is signed as the request POST https://postern/METHOD of the
// service "postern", without its message: authorization, x-amz-date and, for a
// session, x-amz-security-token are metadata. The same holds for both ends.
const (
	// SigningName is the service in the scope of a signed gRPC call.
	SigningName = "postern"
	signedHost  = "postern"
)

// SignedRequest is the HTTP request that stands for a gRPC call when it is signed
// and when its signature is verified. md has lower-case keys.
func SignedRequest(fullMethod string, md map[string][]string) *http.Request {
	r := &http.Request{
		Method: http.MethodPost, Host: signedHost,
		URL:    &url.URL{Scheme: "https", Host: signedHost, Path: fullMethod},
		Header: http.Header{"X-Amz-Content-Sha256": {sigv4.Unsigned}},
	}
	for _, key := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token"} {
		if values := md[strings.ToLower(key)]; len(values) > 0 {
			r.Header[key] = values
		}
	}
	return r
}

// unguarded are services that tell nothing.
var unguarded = []string{"/grpc.health.v1.Health/", "/grpc.reflection."}

// authenticate returns a context with the caller of a gRPC call.
func (g *Guard) authenticate(ctx context.Context, fullMethod string) (context.Context, error) {
	for _, prefix := range unguarded {
		if strings.HasPrefix(fullMethod, prefix) {
			return ctx, nil
		}
	}
	md, _ := metadata.FromIncomingContext(ctx)
	c, _, refused := g.Authenticate(ctx, Request{
		Request: SignedRequest(fullMethod, md), Protocol: awsv1.Protocol_KIND_REST_JSON, Service: SigningName,
	})
	if refused != nil {
		if refused.Code == "MissingAuthenticationTokenException" {
			refused.Message = "the call is not signed: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must hold an access key of the cluster"
		}
		return nil, refused
	}
	return With(ctx, c), nil
}

// FrontUnary authenticates calls that come in over the network without a
// certificate of the cluster; exempt says of which calls that has been done otherwise.
func (g *Guard) FrontUnary(exempt func(context.Context) bool) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if exempt(ctx) {
			return handler(ctx, req)
		}
		ctx, err := g.authenticate(ctx, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return handler(ctx, req)
	}
}

// FrontStream is FrontUnary for streams. Since their first message is yet to
// come, they are authorized here, too, as about no resource.
func (g *Guard) FrontStream(exempt func(context.Context) bool) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx := stream.Context()
		if exempt(ctx) {
			return handler(srv, stream)
		}
		ctx, err := g.authenticate(ctx, info.FullMethod)
		if err != nil {
			return err
		}
		if c := CallerOf(ctx); c != nil {
			m := methodOf(info.FullMethod)
			if m == nil {
				return apierr.Unsupported("unknown method %s", info.FullMethod)
			}
			kind, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
			if err != nil {
				return apierr.Internal("request of %s: %v", info.FullMethod, err)
			}
			if refused := c.Authorize(m, kind.New().Interface(), g.circumstances(ctx)); refused != nil {
				return refused
			}
		}
		return handler(srv, carrying{stream, ctx})
	}
}

// carrying is a stream with another context.
type carrying struct {
	grpc.ServerStream
	ctx context.Context
}

func (c carrying) Context() context.Context { return c.ctx }

// Names of the metadata that a guarded call is made with (package service).
const (
	metaAccount   = "x-postern-account"
	metaRegion    = "x-postern-region"
	metaAccessKey = "x-postern-access-key"
	metaSource    = "x-postern-source"
	metaUserAgent = "x-postern-user-agent"
)

// Authorize is the link in the chain of calls that judges what an authenticated
// caller wants, and binds the call to his account. Without a caller it is the
// cluster's own.
func (g *Guard) Authorize(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	c := CallerOf(ctx)
	if c == nil {
		return handler(ctx, req)
	}
	m := methodOf(info.FullMethod)
	message, ok := req.(proto.Message)
	if m == nil || !ok {
		return nil, apierr.Unsupported("unknown method %s", info.FullMethod)
	}
	if refused := c.Authorize(m, message, g.circumstances(ctx)); refused != nil {
		return nil, refused
	}
	md, _ := metadata.FromIncomingContext(ctx)
	md = md.Copy()
	md.Set(metaAccount, c.Account)
	md.Set(metaAccessKey, c.KeyID) // by which the node says who he is
	return handler(metadata.NewIncomingContext(ctx, md), req)
}

// circumstances are those of a call, as they were noted where it came in.
func (g *Guard) circumstances(ctx context.Context) Circumstances {
	md, _ := metadata.FromIncomingContext(ctx)
	about := Circumstances{Region: last(md.Get(metaRegion)), UserAgent: last(md.Get(metaUserAgent)), Time: g.now()}
	if from, err := netip.ParseAddrPort(last(md.Get(metaSource))); err == nil {
		about.Source = from.Addr().Unmap()
	}
	if p, ok := peer.FromContext(ctx); ok {
		_, about.Secure = p.AuthInfo.(credentials.TLSInfo)
	}
	return about
}

func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

var methods sync.Map // full method → protoreflect.MethodDescriptor

// methodOf finds an operation by its name on the wire, /package.Service/Method;
// nil if there is none.
func methodOf(fullMethod string) protoreflect.MethodDescriptor {
	if m, ok := methods.Load(fullMethod); ok {
		return m.(protoreflect.MethodDescriptor)
	}
	service, name, _ := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil
	}
	s, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil
	}
	m := s.Methods().ByName(protoreflect.Name(name))
	if m != nil {
		methods.Store(fullMethod, m)
	}
	return m
}
