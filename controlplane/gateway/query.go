package gateway

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/posternhq/postern/controlplane/apierr"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

// queryService serves one service of a query protocol: form in, XML out. It is
// made of the service's descriptor; no operation has code of its own.
type queryService struct {
	g        *Gateway
	protocol *awsv1.Protocol
	actions  map[string]*action
	// missing are actions that AWS has and Postern lacks, as far as listed.
	missing map[string]bool
}

// action is one RPC.
type action struct {
	name    string
	method  string // full gRPC name
	in, out protoreflect.MessageType
}

func newQueryService(g *Gateway, desc protoreflect.ServiceDescriptor, missing map[string]bool) (*queryService, error) {
	s := &queryService{g: g, protocol: protocolOf(desc), actions: map[string]*action{}, missing: missing}
	methods := desc.Methods()
	for i := range methods.Len() {
		m := methods.Get(i)
		in, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
		if err != nil {
			return nil, fmt.Errorf("request of %s: %w", m.FullName(), err)
		}
		out, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
		if err != nil {
			return nil, fmt.Errorf("answer of %s: %w", m.FullName(), err)
		}
		name := string(m.Name())
		s.actions[name] = &action{name: name, method: fullMethod(m), in: in, out: out}
	}
	return s, nil
}

func protocolOf(desc protoreflect.ServiceDescriptor) *awsv1.Protocol {
	protocol, _ := proto.GetExtension(desc.Options(), awsv1.E_Protocol).(*awsv1.Protocol)
	return protocol
}

func fullMethod(m protoreflect.MethodDescriptor) string {
	return "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
}

// knows reports whether the action is one of this service's.
func (s *queryService) knows(name string) bool { return s.actions[name] != nil || s.missing[name] }

func (s *queryService) serve(w http.ResponseWriter, r *http.Request, c *call, values url.Values) {
	body, err := s.answer(w.Header(), r, c, values)
	if err != nil {
		s.g.fail(w, r, c, s.protocol, err)
		return
	}
	write(w, http.StatusOK, contentXML, body)
}

func (s *queryService) answer(header http.Header, r *http.Request, c *call, values url.Values) ([]byte, *apierr.Error) {
	name := values.Get("Action")
	a := s.actions[name]
	switch {
	case name == "":
		return nil, apierr.New(apierr.KindInvalid, "MissingAction", "The request must contain the parameter Action")
	case a == nil && s.missing[name]:
		return nil, lacking(name)
	case a == nil:
		return nil, apierr.New(apierr.KindInvalid, "InvalidAction", "The action %s is not valid for this web service.", name)
	}
	tree, bad := newForm(values)
	if bad != nil {
		return nil, bad
	}
	in, out := a.in.New(), a.out.New()
	if bad := tree.read(in, ""); bad != nil {
		return nil, bad
	}
	var md metadata.MD
	ctx := metadata.NewOutgoingContext(r.Context(), c.metadata())
	err := s.g.conn.Invoke(ctx, a.method, in.Interface(), out.Interface(), grpc.Header(&md))
	setServerHeaders(header, md)
	if err != nil {
		return nil, apierr.FromGRPC(err)
	}
	return s.document(a, c, out), nil
}

// document writes the answer: EC2 puts the members right below the root, after
// the request id; the older query protocol wraps them and puts the id last.
func (s *queryService) document(a *action, c *call, out protoreflect.Message) []byte {
	var b bytes.Buffer
	root := or(shapeOf(out.Descriptor()).xmlRoot, a.name+"Response")
	b.WriteString(xmlHeader)
	b.WriteString("<" + root + namespace(s.protocol) + ">")
	if s.protocol.GetKind() == awsv1.Protocol_KIND_EC2_QUERY {
		writeXMLTextElement(&b, "requestId", c.requestID)
		writeXML(&b, out)
	} else {
		if out.Descriptor().Fields().Len() > 0 {
			b.WriteString("<" + a.name + "Result>")
			writeXML(&b, out)
			b.WriteString("</" + a.name + "Result>")
		}
		b.WriteString("<ResponseMetadata>")
		writeXMLTextElement(&b, "RequestId", c.requestID)
		b.WriteString("</ResponseMetadata>")
	}
	b.WriteString("</" + root + ">")
	return b.Bytes()
}

// lacking is the answer to an operation that AWS has and Postern lacks.
func lacking(operation string) *apierr.Error {
	return apierr.Unsupported("Postern does not implement %s", operation)
}
