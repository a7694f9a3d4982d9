package integration

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/posternhq/postern/dataplane/route"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

// MaxBody is the largest body of a request or a response.
const MaxBody = 10 << 20

// Fault says how a call failed; the edge has the answer for each.
type Fault uint8

const (
	// None: the call was answered, whatever the backend's status.
	None Fault = iota
	// Timeout: the backend did not answer in time.
	Timeout
	// Network: the backend could not be reached, or broke off.
	Network
	// Misconfigured: the integration can't be carried out as it is configured.
	Misconfigured
	// MediaType: no template fits the request's content type.
	MediaType
	// RequestTooLarge: the request's body exceeds MaxBody.
	RequestTooLarge
	// BadBody: the request's body could not be read for ErrBadBody.
	BadBody
	// ResponseTooLarge: the response's body exceeds MaxBody.
	ResponseTooLarge
	// Aborted: the answer had begun, or the client is gone; nothing can be answered.
	Aborted
)

// ErrBadBody is in the errors of a request's body that the client got wrong, such
// as one that is not compressed as it says.
var ErrBadBody = errors.New("request body is malformed")

// Call is one request on its way to a backend.
type Call struct {
	Request *http.Request
	// Params are the path parameters.
	Params *route.Params
	// Context gives the values of $context.
	Context Context
	// TraceID is for the backend if the client brought none.
	TraceID string

	query  queryValues
	parsed bool
	body   []byte // whole, once something needed it
	upload *upload
}

// Context is what a call knows as $context.
type Context interface {
	// ContextValue finds a value by its name without "$context."; not ok if there
	// is none.
	ContextValue(name string) (string, bool)
}

// Backend is a prepared integration.
type Backend struct {
	kind    string
	apiID   string
	method  string // ANY or empty: the request's own
	broken  error  // why no call can be made
	request requestTemplates
	params  []mapping
	uri     uri
	timeout time.Duration
	way     http.RoundTripper

	responses []response // with a pattern, by status; then those without

	binary   binaryTypes
	handling string // of the request's body
}

// Prepare reads the integration of a route. It never fails: what it can't carry
// out fails call by call, so that one method does not hold back a deployment.
func (p *Pool) Prepare(stage *edgev1.Stage, rt *edgev1.Route) *Backend {
	in := rt.GetMethod().GetMethodIntegration()
	b := &Backend{
		kind:    in.GetType(),
		apiID:   stage.GetApiId(),
		method:  in.GetHttpMethod(),
		timeout: maxTimeout,

		binary:   stage.GetBinaryMediaTypes(),
		handling: in.GetContentHandling(),
	}
	if err := b.prepare(p, stage, rt, in); err != nil {
		b.broken = err
	}
	return b
}

func (b *Backend) prepare(p *Pool, stage *edgev1.Stage, rt *edgev1.Route, in *apigatewayv1.Integration) (err error) {
	if in == nil {
		return fmt.Errorf("method has no integration")
	}
	variables := stage.GetVariables().GetEntries()
	if ms := in.TimeoutInMillis; ms != nil {
		b.timeout = min(max(time.Duration(*ms)*time.Millisecond, minTimeout), maxTimeout)
	}
	switch b.kind {
	case "MOCK":
		b.request = prepareRequestTemplates(in)
	case "HTTP", "HTTP_PROXY":
		if t := in.GetConnectionType(); t != "" && t != "INTERNET" {
			return fmt.Errorf("connection type %s is not available yet", t)
		}
		if b.params, err = parseMappings(in.GetRequestParameters().GetEntries(), variables, requestSide); err != nil {
			return err
		}
		if b.uri, err = parseURI(in.GetUri(), variables); err != nil {
			return err
		}
		if b.kind == "HTTP" {
			b.request = prepareRequestTemplates(in)
		}
		b.way = p.roundTripper(stage.GetApiId()+"/"+rt.GetResourceId()+"/"+rt.GetHttpMethod(), in.GetTlsConfig().GetInsecureSkipVerification())
	default:
		return fmt.Errorf("integration type %q is not available yet", b.kind)
	}
	if b.kind == "HTTP_PROXY" {
		return nil
	}
	if b.responses, err = prepareResponses(in, variables, b.binary, &p.patterns); err != nil {
		return err
	}
	return nil
}

// Calls reports whether there is a backend that gets a trace id.
func (b *Backend) Calls() bool { return b.kind != "MOCK" }

// Traced reports whether answers carry X-Amzn-Trace-Id (private-apis.md §6).
func (b *Backend) Traced() bool { return b.kind != "MOCK" && b.kind != "HTTP_PROXY" }

// Serve makes the call and writes the answer. With a Fault other than None and
// Aborted nothing has been written; the error then says why, for the log.
func (b *Backend) Serve(w http.ResponseWriter, c *Call) (Fault, error) {
	switch {
	case b.broken != nil:
		return Misconfigured, b.broken
	case b.kind == "MOCK":
		return b.serveMock(w, c)
	}
	return b.serveHTTP(w, c)
}
