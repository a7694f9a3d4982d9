// Package gateway owns the HTTP front of the control plane: one handler that
// speaks every AWS protocol in scope and calls the services over gRPC.
//
//   - API Gateway (REST-JSON) and Route 53 (REST-XML) are routed by
//     grpc-gateway; bodies, statuses and errors are written here.
//   - EC2, IAM and STS (query in, XML out) have one codec for all their actions.
//
// Both are driven by the descriptors and the options of the .proto files: no
// operation has code of its own. The credential scope of the signature names
// service, account and region; what they are allowed to do, what a value means
// and how lists are paged is left to the services, and the words of an error
// to apierr.
//
// A Gateway is immutable after New and may serve any number of requests at a
// time. It starts no goroutines and listens on nothing.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/posternhq/postern/controlplane/apierr"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
	route53v1 "github.com/posternhq/postern/proto/postern/route53/v1"
	stsv1 "github.com/posternhq/postern/proto/postern/sts/v1"
)

// Bounds of a request. AWS takes imports of 6 MB; the rest is room for what
// JSON adds to them.
const (
	maxBody   = 7 << 20
	maxForm   = 1 << 20
	maxTarget = 64 << 10
)

// Authenticator says who signed a request.
type Authenticator interface {
	// AuthenticateHTTP returns a context that carries the caller, his account and
	// what he signed for, or the refusal in the words of a protocol.
	AuthenticateHTTP(ctx context.Context, r *http.Request, body []byte, protocol awsv1.Protocol_Kind) (as Signed, refused *apierr.Error)
}

// Signed is what a good signature says.
type Signed struct {
	Context                                      context.Context
	Account, AccessKeyID, Region, SigningService string
}

// Config is what a Gateway is made of.
type Config struct {
	// Conn reaches the services.
	Conn grpc.ClientConnInterface
	// Auth judges signatures; nil: every one is accepted, and a 12-digit access key
	// id is taken for the account.
	Auth   Authenticator
	Logger *slog.Logger // nil: discards
	// GRPC gets the requests of gRPC clients on the same listener; nil refuses
	// them.
	GRPC http.Handler
	// CA returns the certificate authority's certificate for GET /ca.pem; nil
	// for none.
	CA func() []byte
	// Extra are handlers by path prefix, such as "/console/".
	Extra map[string]http.Handler
}

// Gateway is the handler.
type Gateway struct {
	auth   Authenticator
	conn   grpc.ClientConnInterface
	logger *slog.Logger
	grpc   http.Handler
	ca     func() []byte
	extra  []extra
	origin *http.CrossOriginProtection

	apigateway, route53 *restService
	ec2, iam, sts       *queryService
}

type extra struct {
	prefix  string
	handler http.Handler
}

// New returns a Gateway.
func New(cfg Config) (*Gateway, error) {
	if cfg.Conn == nil {
		return nil, errors.New("gateway: no connection to the services")
	}
	g := &Gateway{conn: cfg.Conn, auth: cfg.Auth, logger: cfg.Logger, grpc: cfg.GRPC, ca: cfg.CA, origin: http.NewCrossOriginProtection()}
	if g.logger == nil {
		g.logger = slog.New(slog.DiscardHandler)
	}
	g.logger = g.logger.With("component", "gateway")
	for prefix, handler := range cfg.Extra {
		if !strings.HasPrefix(prefix, "/") || len(prefix) < 2 {
			return nil, fmt.Errorf("path prefix %q: must begin with a slash and be more than that", prefix)
		}
		g.extra = append(g.extra, extra{prefix, handler})
	}
	// The longest prefix wins.
	slices.SortFunc(g.extra, func(a, b extra) int { return len(b.prefix) - len(a.prefix) })
	if err := g.register(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return g, nil
}

func (g *Gateway) register() error {
	var err error
	if g.apigateway, err = newRESTService(g, service(apigatewayv1.File_postern_apigateway_v1_apigateway_proto),
		func(ctx context.Context, mux *runtime.ServeMux) error {
			return apigatewayv1.RegisterApiGatewayHandlerClient(ctx, mux, apigatewayv1.NewApiGatewayClient(g.conn))
		},
		newRequestLines(missingAPIGateway),
		apierr.New(apierr.KindAccessDenied, "", "Unable to determine service/operation name to be authorized"),
	); err != nil {
		return err
	}
	if g.route53, err = newRESTService(g, service(route53v1.File_postern_route53_v1_route53_proto),
		func(ctx context.Context, mux *runtime.ServeMux) error {
			return route53v1.RegisterRoute53HandlerClient(ctx, mux, route53v1.NewRoute53Client(g.conn))
		},
		newRequestLines(missingRoute53),
		apierr.New(apierr.KindNotFound, "UnknownOperationException", "The requested operation is not known"),
	); err != nil {
		return err
	}
	if g.ec2, err = newQueryService(g, service(ec2v1.File_postern_ec2_v1_ec2_proto), names(missingEC2)); err != nil {
		return err
	}
	if g.iam, err = newQueryService(g, service(iamv1.File_postern_iam_v1_iam_proto), names(missingIAM)); err != nil {
		return err
	}
	g.sts, err = newQueryService(g, service(stsv1.File_postern_sts_v1_sts_proto), names(missingSTS))
	return err
}

func service(file protoreflect.FileDescriptor) protoreflect.ServiceDescriptor {
	return file.Services().Get(0)
}

// ServeHTTP tells the protocols apart.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		if g.grpc == nil {
			http.Error(w, "gRPC is not served here", http.StatusUnsupportedMediaType)
			return
		}
		g.grpc.ServeHTTP(w, r)
		return
	}
	if r.URL.Path == "/ca.pem" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		g.serveCA(w, r)
		return
	}
	for _, e := range g.extra {
		if strings.HasPrefix(r.URL.Path, e.prefix) || r.URL.Path+"/" == e.prefix {
			e.handler.ServeHTTP(w, r)
			return
		}
	}
	g.serveAWS(w, r)
}

func (g *Gateway) serveCA(w http.ResponseWriter, r *http.Request) {
	var pem []byte
	if g.ca != nil {
		pem = g.ca()
	}
	if len(pem) == 0 {
		http.NotFound(w, r)
		return
	}
	write(w, http.StatusOK, "application/x-pem-file", pem)
}

// serveAWS reads a request of an AWS client and hands it to its service.
func (g *Gateway) serveAWS(w http.ResponseWriter, r *http.Request) {
	query, badQuery := url.ParseQuery(r.URL.RawQuery)
	c, bad := newCall(r, query)
	setExact(w.Header(), "x-amzn-RequestId", c.requestID)

	protocol := g.protocol(c, r, query)
	if bad == nil {
		bad = g.refuse(r, badQuery)
	}
	var data []byte
	if bad == nil {
		data, bad = readBody(w, r, protocol)
	}
	if bad == nil && g.auth != nil {
		r, bad = g.authenticate(r, c, data, protocol)
	}
	if bad != nil {
		g.fail(w, r, c, protocol, bad)
		return
	}

	if r.URL.Path == "/_postern/reset" {
		g.reset(w, r, c)
		return
	}
	values := query
	if g.query(c.service) != nil || (c.service == "" && r.URL.Path == "/" && isForm(r)) {
		if values, bad = addForm(query, r, data); bad != nil {
			g.fail(w, r, c, protocol, bad)
			return
		}
	}
	g.dispatch(w, r, c, protocol, values, data)
}

// authenticate makes a call that of whoever signed it. What the head seemed to say
// before must be what was signed.
func (g *Gateway) authenticate(r *http.Request, c *call, data []byte, protocol *awsv1.Protocol) (*http.Request, *apierr.Error) {
	kind := protocol.GetKind()
	if kind == awsv1.Protocol_KIND_UNSPECIFIED {
		kind = awsv1.Protocol_KIND_REST_JSON
	}
	as, refused := g.auth.AuthenticateHTTP(r.Context(), r, data, kind)
	if refused != nil {
		return r, refused
	}
	if as.AccessKeyID != c.accessKey || as.Region != c.region || as.SigningService != c.service {
		return r, apierr.New(apierr.KindUnauthenticated, "", "The credential of the request is not the one that was signed with")
	}
	c.account = as.Account
	return r.WithContext(as.Context), nil
}

func (g *Gateway) dispatch(w http.ResponseWriter, r *http.Request, c *call, protocol *awsv1.Protocol, values url.Values, data []byte) {
	action := values.Get("Action")
	switch {
	case g.query(c.service) != nil:
		g.query(c.service).serve(w, r, c, values)
	case c.service == "apigateway":
		g.apigateway.serve(w, r, c, data)
	case c.service == "route53":
		g.route53.serve(w, r, c, data)
	case c.service != "":
		g.fail(w, r, c, protocol, apierr.Unsupported("Postern does not serve %q; it has apigateway, ec2, iam, sts and route53", c.service))
	case strings.HasPrefix(r.URL.Path, "/2013-04-01/"):
		g.route53.serve(w, r, c, data)
	case r.URL.Path != "/" || action == "":
		g.apigateway.serve(w, r, c, data)
	case g.sts.knows(action):
		g.sts.serve(w, r, c, values)
	case g.iam.knows(action):
		g.iam.serve(w, r, c, values)
	default:
		g.ec2.serve(w, r, c, values)
	}
}

// query returns the service of a query protocol that has the signing name.
func (g *Gateway) query(signingName string) *queryService {
	switch signingName {
	case "ec2":
		return g.ec2
	case "iam":
		return g.iam
	case "sts":
		return g.sts
	}
	return nil
}

// protocol returns the protocol in which a request is answered that is refused
// before its service is known, or has none here.
func (g *Gateway) protocol(c *call, r *http.Request, query url.Values) *awsv1.Protocol {
	switch {
	case c.service == "apigateway":
		return g.apigateway.protocol
	case c.service == "route53":
		return g.route53.protocol
	case g.query(c.service) != nil:
		return g.query(c.service).protocol
	case c.service != "" && (query.Has("Action") || isForm(r)):
		return &awsv1.Protocol{Kind: awsv1.Protocol_KIND_QUERY}
	case c.service != "":
		return g.apigateway.protocol
	case strings.HasPrefix(r.URL.Path, "/2013-04-01/"):
		return g.route53.protocol
	case r.URL.Path == "/" && (query.Has("Action") || isForm(r)):
		return g.ec2.protocol
	}
	return g.apigateway.protocol
}

// refuse finds what is wrong with a request whatever its service.
func (g *Gateway) refuse(r *http.Request, badQuery error) *apierr.Error {
	switch {
	case len(r.URL.Path)+len(r.URL.RawQuery) > maxTarget:
		return apierr.New(apierr.KindTooLarge, "", "The request line is longer than %d bytes", maxTarget)
	case badQuery != nil || !utf8.ValidString(r.URL.Path) || !validQuery(r.URL.RawQuery):
		return apierr.New(apierr.KindInvalid, "", "The request line is malformed")
	}
	// A page of another site must not act with the user's browser on a listener
	// that asks for no proof. Query protocols act by GET too, so it counts as
	// unsafe here.
	probe := &http.Request{Method: http.MethodPost, Header: r.Header, Host: r.Host, URL: r.URL}
	if err := g.origin.Check(probe); err != nil {
		return apierr.New(apierr.KindAccessDenied, "", "Refused: %v", err)
	}
	if !ownName(r.Host) {
		return apierr.New(apierr.KindAccessDenied, "", "Refused: the host name %q is not one of this machine or of AWS", r.Host)
	}
	return nil
}

// ownName tells whether a Host header may lead here. A page of another site can
// have its own name resolve to loopback (DNS rebinding): to the browser this
// listener then is that site, and no header tells. Such a name is always a
// public one, so addresses pass, and names that public DNS never gives to
// strangers.
func ownName(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil || !strings.Contains(name, ".") {
		return true
	}
	return slices.ContainsFunc(ownSuffixes, func(suffix string) bool { return strings.HasSuffix(name, suffix) })
}

var ownSuffixes = []string{".localhost", ".local", ".internal", ".test", ".amazonaws.com", ".amazonaws.com.cn"}

func validQuery(raw string) bool {
	text, err := url.QueryUnescape(raw)
	return err == nil && utf8.ValidString(text)
}

func readBody(w http.ResponseWriter, r *http.Request, protocol *awsv1.Protocol) ([]byte, *apierr.Error) {
	limit := int64(maxBody)
	if kind := protocol.GetKind(); kind == awsv1.Protocol_KIND_EC2_QUERY || kind == awsv1.Protocol_KIND_QUERY {
		limit = maxForm
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, apierr.New(apierr.KindTooLarge, "", "Request size exceeded %d bytes", limit)
	}
	if err != nil {
		return nil, apierr.New(apierr.KindSerialization, "", "The request body could not be read: %v", err)
	}
	return data, nil
}

func isForm(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
}

// addForm joins the parameters in the body of a query request to those of its
// query. One that is in both has two values, which the codec refuses.
func addForm(query url.Values, r *http.Request, data []byte) (url.Values, *apierr.Error) {
	if r.Method != http.MethodPost || len(data) == 0 {
		return query, nil
	}
	form, err := url.ParseQuery(string(data))
	if err != nil {
		return nil, apierr.New(apierr.KindInvalid, "MalformedQueryString", "The parameters of the request are malformed: %v", err)
	}
	for name, values := range query {
		form[name] = append(form[name], values...)
	}
	return form, nil
}

// reset wipes all state. The service refuses it where signatures count.
func (g *Gateway) reset(w http.ResponseWriter, r *http.Request, c *call) {
	protocol := g.apigateway.protocol
	if r.Method != http.MethodPost {
		g.fail(w, r, c, protocol, g.apigateway.unknown)
		return
	}
	var md metadata.MD
	out := &adminv1.ResetResponse{}
	ctx := metadata.NewOutgoingContext(r.Context(), c.metadata())
	err := g.conn.Invoke(ctx, adminv1.Admin_Reset_FullMethodName, &adminv1.ResetRequest{}, out, grpc.Header(&md))
	setServerHeaders(w.Header(), md)
	if err != nil {
		g.fail(w, r, c, protocol, apierr.FromGRPC(err))
		return
	}
	write(w, http.StatusOK, contentJSON, appendJSON(nil, out.ProtoReflect()))
}
