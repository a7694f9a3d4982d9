package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/posternhq/postern/controlplane/apierr"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

// restService serves one service whose operations are told by method and path.
// Routing and path parameters are grpc-gateway's; bodies, statuses and errors
// are ours.
type restService struct {
	g        *Gateway
	protocol *awsv1.Protocol
	mux      *runtime.ServeMux
	ops      map[string]*operation // by full gRPC name
	missing  requestLines
	// unknown is the answer to a request line that AWS does not know either.
	unknown *apierr.Error
}

// operation is how one RPC answers.
type operation struct {
	status int
	empty  bool
	root   string // of an XML document
}

// register is the generated registration function of a service.
type register func(ctx context.Context, mux *runtime.ServeMux) error

func newRESTService(g *Gateway, desc protoreflect.ServiceDescriptor, add register, missing requestLines, unknown *apierr.Error) (*restService, error) {
	s := &restService{g: g, protocol: protocolOf(desc), ops: map[string]*operation{}, missing: missing, unknown: unknown}
	methods := desc.Methods()
	for i := range methods.Len() {
		m := methods.Get(i)
		options, _ := proto.GetExtension(m.Options(), awsv1.E_Operation).(*awsv1.Operation)
		op := &operation{
			status: int(options.GetStatus()),
			empty:  options.GetEmpty(),
			root:   or(shapeOf(m.Output()).xmlRoot, string(m.Name())+"Response"),
		}
		if op.status == 0 {
			op.status = http.StatusOK
		}
		s.ops[fullMethod(m)] = op
	}
	s.mux = runtime.NewServeMux(
		// A body is parsed whatever the client calls its type.
		runtime.WithMarshalerOption(runtime.MIMEWildcard, marshaler{s}),
		runtime.WithUnescapingMode(runtime.UnescapingModeAllCharacters),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithErrorHandler(s.failed),
		runtime.WithRoutingErrorHandler(s.unrouted),
		runtime.WithForwardResponseOption(s.succeeded),
		runtime.WithForwardResponseRewriter(s.rewrite),
		runtime.WithMetadata(func(ctx context.Context, _ *http.Request) metadata.MD { return callOf(ctx).metadata() }),
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithOutgoingHeaderMatcher(func(key string) (string, bool) { return key, key == metaVersion || key == metaWarning }),
		runtime.WithOutgoingTrailerMatcher(func(string) (string, bool) { return "", false }),
	)
	if err := add(context.Background(), s.mux); err != nil {
		return nil, fmt.Errorf("register %s: %w", desc.FullName(), err)
	}
	return s, nil
}

func (s *restService) serve(w http.ResponseWriter, r *http.Request, c *call, data []byte) {
	if s.protocol.GetKind() == awsv1.Protocol_KIND_REST_JSON {
		setExact(w.Header(), "x-amz-apigw-id", newAPIGatewayID())
	}
	// An operation that hides behind another one's request line.
	if name := s.missing.behindQuery(r); name != "" {
		s.g.fail(w, r, c, s.protocol, lacking(name))
		return
	}
	inner := r.WithContext(withCall(r.Context(), c))
	if s.protocol.GetKind() == awsv1.Protocol_KIND_REST_XML {
		// Clients differ in whether they send the last slash of a path.
		u := *r.URL
		u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/"), strings.TrimSuffix(u.RawPath, "/")
		inner.URL = &u
	}
	if !routable(inner.URL.EscapedPath()) {
		s.g.fail(w, r, c, s.protocol, s.notThere(r))
		return
	}
	// grpc-gateway looks at no header of the client: not at its types, time-outs,
	// forwarding or trailers.
	inner.Header = http.Header{}
	inner.Body = &body{Reader: bytes.NewReader(data), data: data}
	b := &buffered{header: w.Header(), status: http.StatusOK}
	s.mux.ServeHTTP(b, inner)
	write(w, b.status, contentType(s.protocol), b.body.Bytes())
}

// routable refuses paths that grpc-gateway would read as another path: it takes
// an encoded slash for a separator, which is right only in the ARN of a tags
// request, and an empty segment for a parameter.
func routable(path string) bool {
	if strings.HasPrefix(path, "/tags/") {
		return true
	}
	return !strings.Contains(strings.ToLower(path), "%2f") && !strings.Contains(path, "//") && !strings.HasSuffix(path, "/")
}

func contentType(protocol *awsv1.Protocol) string {
	if protocol.GetKind() == awsv1.Protocol_KIND_REST_JSON {
		return contentJSON
	}
	return contentXML
}

// succeeded writes the status of the operation, and the members that are headers.
func (s *restService) succeeded(ctx context.Context, w http.ResponseWriter, msg proto.Message) error {
	w.Header().Del("Content-Type") // written again with the body, if there is one
	answer := msg.ProtoReflect()
	for _, m := range shapeOf(answer.Descriptor()).headers {
		if answer.Has(m.desc) {
			w.Header().Set(m.header, answer.Get(m.desc).String())
		}
	}
	w.WriteHeader(s.operation(ctx).status)
	return nil
}

func (s *restService) operation(ctx context.Context) *operation {
	name, _ := runtime.RPCMethod(ctx)
	if op := s.ops[name]; op != nil {
		return op
	}
	return &operation{status: http.StatusOK}
}

// document is what the marshaler writes: a message and the operation whose
// answer it is.
type document struct {
	op  *operation
	msg proto.Message
}

func (s *restService) rewrite(ctx context.Context, msg proto.Message) (any, error) {
	return document{s.operation(ctx), msg}, nil
}

// misread is how grpc-gateway begins to say which query parameter it could not
// read; the rest of it is about Go.
var misread = regexp.MustCompile(`^parsing field "(\w+)": `)

// failed answers an error of reading the request or of the service.
func (s *restService) failed(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	if md, ok := runtime.ServerMetadataFromContext(ctx); ok {
		setServerHeaders(w.Header(), md.HeaderMD)
	}
	var e *apierr.Error
	if b, ok := r.Body.(*body); ok && b.err != nil {
		// grpc-gateway flattens what the marshaler returns to a text.
		e = b.err
	} else if httpError, ok := errors.AsType[*runtime.HTTPStatusError](err); ok {
		e = apierr.BadRequest("%v", httpError.Err)
	} else if m := misread.FindStringSubmatch(status.Convert(err).Message()); m != nil {
		e = apierr.BadRequest("Invalid value for parameter %s", m[1])
	} else {
		e = apierr.FromGRPC(err)
	}
	s.g.fail(w, r, callOf(r.Context()), s.protocol, e)
}

// unrouted answers a request line that no RPC has.
func (s *restService) unrouted(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, _ int) {
	s.g.fail(w, r, callOf(r.Context()), s.protocol, s.notThere(r))
}

func (s *restService) notThere(r *http.Request) *apierr.Error {
	if name := s.missing.lookup(r); name != "" {
		return lacking(name)
	}
	return s.unknown
}

// body is a request's body, and what was found wrong with it.
type body struct {
	*bytes.Reader
	data []byte
	err  *apierr.Error
}

func (*body) Close() error { return nil }

// marshaler adapts our codecs to grpc-gateway.
type marshaler struct{ s *restService }

// Marshal implements runtime.Marshaler.
func (m marshaler) Marshal(v any) ([]byte, error) {
	doc, ok := v.(document)
	if !ok {
		return nil, fmt.Errorf("no writing of %T", v)
	}
	if doc.op.empty {
		return nil, nil
	}
	if m.s.protocol.GetKind() == awsv1.Protocol_KIND_REST_JSON {
		return appendJSON(nil, doc.msg.ProtoReflect()), nil
	}
	var b bytes.Buffer
	b.WriteString(xmlHeader + "<" + doc.op.root + namespace(m.s.protocol) + ">")
	writeXML(&b, doc.msg.ProtoReflect())
	b.WriteString("</" + doc.op.root + ">")
	return b.Bytes(), nil
}

// Unmarshal implements runtime.Marshaler.
func (m marshaler) Unmarshal(data []byte, v any) error {
	msg, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("no reading of %T", v)
	}
	var err *apierr.Error
	if m.s.protocol.GetKind() == awsv1.Protocol_KIND_REST_JSON {
		err = readJSON(data, msg.ProtoReflect())
	} else {
		err = readXML(data, m.s.protocol.GetXmlNamespace(), msg.ProtoReflect())
	}
	if err != nil {
		return err
	}
	return nil
}

// NewDecoder implements runtime.Marshaler.
func (m marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		b, ok := r.(*body)
		if !ok {
			return fmt.Errorf("no reading from %T", r)
		}
		err := m.Unmarshal(b.data, v)
		if e, ok := errors.AsType[*apierr.Error](err); ok {
			b.err = e
		}
		return err
	})
}

// NewEncoder implements runtime.Marshaler.
func (m marshaler) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		data, err := m.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
}

// ContentType implements runtime.Marshaler.
func (m marshaler) ContentType(any) string { return contentType(m.s.protocol) }
