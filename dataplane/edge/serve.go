package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/posternhq/postern/dataplane/integration"
	"github.com/posternhq/postern/dataplane/policy"
)

var requests = sync.Pool{New: func() any { return new(request) }}

// Header values that never change; net/http only reads them.
var (
	connectionClose = []string{"close"}
	connectionKeep  = []string{"keep-alive"}
	typeJSON        = []string{"application/json"}
)

// ServeHTTP answers a request. Requests that did not come through one of the
// edge's listeners have no arrival and are denied.
func (e *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := requests.Get().(*request)
	defer func() {
		e.metrics.request(q.out.status)
		q.reset()
		requests.Put(q)
	}()
	q.time = time.Now()
	q.arrival = arrivalOf(r.Context())
	q.requestID, q.extendedID = newRequestID(), newExtendedID()
	q.out = recorder{ResponseWriter: w, status: http.StatusOK}
	out := &q.out

	header := w.Header()
	ids := []string{q.requestID, q.extendedID} // one allocation for both
	header["x-amzn-RequestId"] = ids[0:1:1]
	header["x-amz-apigw-id"] = ids[1:2:2]
	if r.ProtoMajor == 1 {
		if e.draining.Load() {
			header["Connection"] = connectionClose
		} else if !r.Close {
			header["Connection"] = connectionKeep
		}
	}

	q.in = e.now.Load()
	v := limits(r)
	if v == allowed {
		v = e.timedDecide(q, r)
	}
	if e.cfg.Headers && q.in != nil && q.in.Table != nil {
		header["x-postern-version"] = q.in.version
	}
	if v == allowed {
		v = q.admit(r)
	}
	e.metrics.decision(v)
	if v != allowed {
		e.refuse(out, q, r, v)
		return
	}
	e.call(out, q, r)
}

// limits checks what net/http leaves unbounded or bounds loosely.
func limits(r *http.Request) verdict {
	if len(r.RequestURI) > maxURL {
		return urlTooLong
	}
	size := len("Host: \r\n") + len(r.Host)
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(": \r\n") + len(v)
		}
	}
	if size > maxHeader {
		return headersTooLong
	}
	return allowed
}

// evalSample is how many decisions there are for one that is timed.
const evalSample = 64

func (e *Edge) timedDecide(q *request, r *http.Request) verdict {
	if rand.Uint32()%evalSample != 0 {
		return e.decide(q, r)
	}
	begin := time.Now()
	v := e.decide(q, r)
	e.metrics.evaluation(time.Since(begin) - q.waited)
	return v
}

// admit is what comes between the policies and the backend: API key, throttle,
// size, validation.
func (q *request) admit(r *http.Request) verdict {
	p := q.prepared
	hideSignature(r)
	switch {
	case p.needKey:
		return noAPIKey // there are no keys yet, so none is valid
	case p.limiter != nil && !p.limiter.AllowN(q.time, 1):
		return throttled
	case r.ContentLength > integration.MaxBody:
		return bodyTooLong
	}
	if r.ContentLength != 0 {
		// It gets no ResponseWriter to warn: the body is read by the goroutine that
		// sends it on, maybe while this one writes the answer's header.
		r.Body = http.MaxBytesReader(nil, r.Body, integration.MaxBody)
	}
	if q.stage.MinimumCompressionSize >= 0 {
		decompress(r)
	}
	if len(p.required) > 0 {
		if q.missing = p.missing(q, r); len(q.missing) > 0 {
			return missingParameters
		}
	}
	if p.checkBody {
		// Models are a later matter, and a body that was not checked must not pass.
		q.reason = "the method's validator wants the body checked against a model, which is not available yet"
		return misconfigured
	}
	return allowed
}

// call lets the backend answer.
func (e *Edge) call(w *recorder, q *request, r *http.Request) {
	q.head = r
	q.call = integration.Call{Request: r, Params: &q.params, Context: q}
	if q.prepared.backend.Calls() {
		q.call.TraceID = traceID(r, q.time)
		if q.prepared.backend.Traced() {
			w.Header()["X-Amzn-Trace-Id"] = []string{q.call.TraceID}
		}
	}
	fault, err := q.serve(w)
	if fault == integration.None {
		return
	}
	if err != nil {
		q.reason = err.Error()
	}
	if fault == integration.Aborted || w.wrote {
		e.log.LogAttrs(r.Context(), slog.LevelDebug, "answer broken off", slog.String("api_id", q.api.ID),
			slog.String("stage", q.stage.Name), slog.String("request_id", q.requestID), slog.String("reason", q.reason))
		// A part of an answer must not look like a whole one.
		panic(http.ErrAbortHandler)
	}
	delete(w.Header(), "X-Amzn-Trace-Id")
	e.refuse(w, q, r, verdictOf(fault))
}

// serve calls the backend, and compresses its answer if the API does that.
func (q *request) serve(w *recorder) (integration.Fault, error) {
	minimum := q.stage.MinimumCompressionSize
	coding := identity
	if minimum >= 0 && q.head.Method != http.MethodHead {
		coding = accepted(q.head.Header["Accept-Encoding"])
	}
	if coding == identity {
		return q.prepared.backend.Serve(w, &q.call)
	}
	plain := w.ResponseWriter
	c := &compressor{ResponseWriter: plain, encoding: coding, minimum: minimum}
	w.ResponseWriter = c
	defer func() { w.ResponseWriter = plain }()
	fault, err := q.prepared.backend.Serve(w, &q.call)
	if fault != integration.None {
		return fault, err
	}
	if err := c.close(); err != nil {
		return integration.Aborted, fmt.Errorf("compress response: %w", err)
	}
	return integration.None, nil
}

func verdictOf(f integration.Fault) verdict {
	switch f {
	case integration.Timeout:
		return backendTimeout
	case integration.Network:
		return backendNetwork
	case integration.MediaType:
		return mediaType
	case integration.RequestTooLarge:
		return bodyTooLong
	case integration.BadBody:
		return bodyInvalid
	case integration.ResponseTooLarge:
		return responseTooLong
	}
	return misconfigured
}

// refuse answers in the backend's stead.
func (e *Edge) refuse(w *recorder, q *request, r *http.Request, v verdict) {
	a := &answers[v]
	header := w.Header()
	header["Content-Type"] = typeJSON
	if a.errorType != "" {
		header["x-amzn-ErrorType"] = []string{a.errorType}
	}
	decision := ""
	if v < firstFault {
		decision = newDecisionID()
		if e.cfg.Headers {
			header["x-postern-decision"] = []string{decision}
		}
		// Before the answer leaves: whoever reads it may ask at once.
		e.denials.add(newDenial(decision, q, r, v))
	}
	body := a.body
	if body == "" {
		body = q.message(v)
	}
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(a.status)
	w.Write([]byte(body)) // the client may be gone; there is nobody else to tell
	e.logRefusal(r.Context(), q, r, v, decision)
}

// message is the body of an answer that depends on the request.
func (q *request) message(v verdict) string {
	switch v {
	case badAuthorization, badSignature:
		return `{"message":` + quote(q.complaint) + `}`
	case missingParameters:
		return `{"message": ` + quote("Missing required request parameters: ["+strings.Join(q.missing, ", ")+"]") + `}`
	}
	b := []byte("User: ")
	if q.caller != nil && (q.prepared.auth == authIAM || q.outcome.Source == policy.SourceEndpoint) {
		b = append(b, q.caller.Principal.ARN...)
	} else {
		b = append(b, "anonymous"...)
	}
	b = append(b, " is not authorized to perform: execute-api:Invoke on resource: "...)
	b = q.appendARN(b)
	switch {
	case !q.in.classic:
		b = append(b, q.outcome.Suffix()...)
	case q.outcome.Effect == policy.ExplicitDeny:
		b = append(b, " with an explicit deny"...)
	}
	return `{"Message":` + quote(string(b)) + `}`
}

// quote writes a JSON string; unlike encoding/json's default it leaves <, > and
// & as they are.
func quote(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(s) != nil {
		return `""` // strings always encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// logRefusal writes what an operator needs to explain a refusal. What only a
// change of the configuration can mend is a level higher, but not each time.
func (e *Edge) logRefusal(ctx context.Context, q *request, r *http.Request, v verdict, decision string) {
	level, message := slog.LevelDebug, "request refused"
	if v >= firstFault {
		message = "request failed" // let pass, and not answered by the backend
	}
	if (v == misconfigured || v == authorizerBroken) && q.prepared != nil && q.prepared.tell(q.time) {
		level = slog.LevelWarn // whoever wrote the API can mend it
	}
	if !e.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("result", answers[v].result),
		slog.String("why", reasons[v]),
		slog.String("request_id", q.requestID),
		slog.String("decision", decision),
		slog.String("policy", kinds[q.outcome.Source]),
		slog.Int("statement", q.outcome.Statement),
		slog.String("sid", q.sid()),
		slog.String("host", r.Host),
		slog.String("method", r.Method),
	}
	if q.in != nil {
		attrs = append(attrs, slog.Uint64("version", q.in.Index()))
	}
	if a := q.arrival; a != nil {
		attrs = append(attrs, slog.String("endpoint", a.Endpoint), slog.String("vpc", a.VPC), slog.String("source", a.Source.String()))
	}
	if q.claimed != nil {
		attrs = append(attrs, slog.String("access_key_id", q.claimed.AccessKeyID))
	}
	if q.caller != nil {
		attrs = append(attrs, slog.String("principal", q.caller.Principal.ARN))
	}
	if q.api != nil {
		attrs = append(attrs, slog.String("api_id", q.api.ID), slog.String("path", q.path))
	}
	if detail := q.detail(); detail != "" {
		attrs = append(attrs, slog.String("reason", detail))
	}
	e.log.LogAttrs(ctx, level, message, attrs...)
}

// recorder remembers the status of an answer and whether it has begun.
type recorder struct {
	http.ResponseWriter
	status int
	wrote  bool
}

func (w *recorder) WriteHeader(status int) {
	if !w.wrote {
		w.status, w.wrote = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(p)
}

// Unwrap serves http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
