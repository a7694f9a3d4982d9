package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// smallBody is held in memory, so that a request can be sent again when an idle
// connection turns out to be closed, and always has a Content-Length.
const smallBody = 16 << 10

var errTemplate = errors.New("template needs the mapping language, which is not available yet")

func (b *Backend) serveHTTP(w http.ResponseWriter, c *Call) (Fault, error) {
	fault, err := b.exchange(w, c)
	if fault == Network && c.upload != nil {
		// A body that fails under way ends the connection; what is seen of that may
		// be the broken answer alone.
		var tooLarge *http.MaxBytesError
		switch cause := c.upload.failure(); {
		case errors.As(cause, &tooLarge):
			return RequestTooLarge, nil
		case errors.Is(cause, ErrBadBody):
			return BadBody, cause
		}
	}
	return fault, err
}

// upload is a body that is streamed to the backend and remembers how it failed.
type upload struct {
	io.ReadCloser
	err atomic.Pointer[error]
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		u.err.Store(&err)
	}
	return n, err
}

func (u *upload) failure() error {
	if err := u.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (b *Backend) exchange(w http.ResponseWriter, c *Call) (Fault, error) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), b.timeout)
	defer cancel()
	out, fault, err := b.outgoing(ctx, c)
	if fault != None {
		return fault, err
	}
	res, err := b.way.RoundTrip(out)
	if err != nil {
		return failure(c.Request.Context(), ctx, err)
	}
	defer res.Body.Close()
	if res.StatusCode < 200 {
		return Network, fmt.Errorf("backend answered %d", res.StatusCode)
	}
	if res.ContentLength > MaxBody {
		return ResponseTooLarge, fmt.Errorf("backend's response has %d bytes", res.ContentLength)
	}
	if b.kind == "HTTP_PROXY" {
		return b.passBack(ctx, w, c, res)
	}
	return b.mapBack(ctx, w, c, res)
}

// outgoing builds the request to the backend.
func (b *Backend) outgoing(ctx context.Context, c *Call) (*http.Request, Fault, error) {
	in, proxy := c.Request, b.kind == "HTTP_PROXY"
	change := b.binary.ofRequest(b.handling, in.Header.Get("Content-Type"))
	body, length, fault, err := requestBody(c, change != keep || needsBody(b.params))
	if fault != None {
		return nil, fault, err
	}
	if change != keep {
		if body, err = change.convert(body); err != nil {
			return nil, Misconfigured, err
		}
		length = int64(len(body))
	}
	from := &inputs{call: c, header: in.Header, host: in.Host, hidden: hiddenFromMappings, body: c.body}
	header := make(http.Header, len(b.params)+8)
	if proxy {
		header = proxyRequestHeader(in.Header)
	} else {
		t, ok := b.request.pick(in.Header.Get("Content-Type"))
		switch {
		case !ok:
			return nil, MediaType, nil
		case t != nil && t.dynamic:
			return nil, Misconfigured, errTemplate
		case t != nil && !t.null:
			body, length = t.body, int64(len(t.body))
			header.Set("Content-Type", mediaType(in.Header.Get("Content-Type")))
		case in.Header.Get("Content-Type") != "" && in.Method != http.MethodGet && in.Method != http.MethodHead && in.Method != http.MethodOptions:
			header.Set("Content-Type", in.Header.Get("Content-Type"))
		}
	}
	to, err := b.uri.expand(c, b.params, from, proxy)
	if err != nil {
		return nil, Misconfigured, err
	}
	rawQuery := to.RawQuery
	if proxy && in.URL.RawQuery != "" {
		if rawQuery != "" {
			rawQuery += "&"
		}
		rawQuery += in.URL.RawQuery
	}
	var query queryValues
	host := to.Host
	for i := range b.params {
		m := &b.params[i]
		if m.to == toPath {
			continue
		}
		values := m.from.values(from)
		if len(values) == 0 {
			continue
		}
		if m.to == toQuery {
			if query == nil {
				query = parseQuery(rawQuery)
			}
			query = query.set(m.name, values)
			continue
		}
		name := http.CanonicalHeaderKey(m.name)
		if i := slices.IndexFunc(values, brokenValue); i >= 0 {
			return nil, Misconfigured, fmt.Errorf("value of header %s has a line break", name)
		}
		switch {
		case mappedDropped[name]:
		case mappedRefused[name]:
			return nil, Misconfigured, fmt.Errorf("header %s can't be mapped", name)
		case name == "Host":
			host = values[0]
		case name == "Trailer":
			// API Gateway sends it on; net/http would hold it back under its own name.
			header["trailer"] = []string{strings.Join(values, ",")}
		default:
			header[name] = []string{strings.Join(values, ",")}
		}
	}
	if query != nil {
		rawQuery = query.encode()
	}
	to.RawQuery = rawQuery

	setDefault(header, "User-Agent", "AmazonAPIGateway_"+b.apiID)
	setDefault(header, "Accept", "application/json")
	setDefault(header, "X-Amzn-Trace-Id", c.TraceID)
	header["X-Amzn-Apigateway-Api-Id"] = []string{b.apiID}

	method := b.method
	if method == "" || method == "ANY" {
		method = in.Method
	}
	out := &http.Request{
		Method: method, URL: to, Host: host, Header: header, ContentLength: length,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	switch {
	case length == 0:
		out.Body = http.NoBody
	case body != nil:
		out.Body = io.NopCloser(bytes.NewReader(body))
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	default:
		c.upload = &upload{ReadCloser: in.Body}
		out.Body = c.upload
	}
	return out.WithContext(ctx), None, nil
}

// brokenValue reports a value that would end its header and begin another.
func brokenValue(v string) bool { return strings.ContainsAny(v, "\r\n\x00") }

func setDefault(h http.Header, name, value string) {
	if len(h[name]) == 0 {
		h[name] = []string{value}
	}
}

// requestBody reads a small body, or any that a mapping needs, into memory; a
// large one is left to be streamed, with a nil slice.
func requestBody(c *Call, whole bool) (body []byte, length int64, fault Fault, err error) {
	in := c.Request
	length = in.ContentLength
	switch {
	case length == 0:
		return nil, 0, None, nil
	case length > MaxBody:
		return nil, 0, RequestTooLarge, nil
	case length > smallBody && !whole:
		return nil, length, None, nil
	}
	limit := int64(smallBody)
	if whole {
		limit = MaxBody
	}
	body, err = io.ReadAll(io.LimitReader(in.Body, limit+1))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, 0, RequestTooLarge, nil
	case errors.Is(err, ErrBadBody):
		return nil, 0, BadBody, err
	case err != nil:
		return nil, 0, Aborted, fmt.Errorf("read request: %w", err)
	case int64(len(body)) <= limit:
		if whole {
			c.body = body
		}
		return body, int64(len(body)), None, nil
	case whole:
		return nil, 0, RequestTooLarge, nil
	}
	// Of unknown length and not small: what was read goes first.
	in.Body = &rejoined{Reader: io.MultiReader(bytes.NewReader(body), in.Body), Closer: in.Body}
	return nil, -1, None, nil
}

// rejoined is a body whose beginning was read already.
type rejoined struct {
	io.Reader
	io.Closer
}

// failure sorts the ways in which a backend was not reached (data-plane.md §7.7).
func failure(client, call context.Context, err error) (Fault, error) {
	err = fmt.Errorf("call backend: %w", err)
	var dns *net.DNSError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return RequestTooLarge, nil
	case errors.Is(err, ErrBadBody):
		return BadBody, err
	case client.Err() != nil:
		return Aborted, err
	case call.Err() != nil:
		return Timeout, err
	case errors.As(err, &dns):
		return Misconfigured, err
	}
	return Network, err
}

// passBack answers with the backend's response.
func (b *Backend) passBack(ctx context.Context, w http.ResponseWriter, c *Call, res *http.Response) (Fault, error) {
	var head []byte
	var err error
	length := res.ContentLength
	if change := b.binary.ofResponse("", res.Header.Get("Content-Type"), c.Request.Header["Accept"]); change != keep {
		var fault Fault
		if head, fault, err = wholeBody(ctx, c, res, change); fault != None {
			return fault, err
		}
		length = int64(len(head))
		res.Body = http.NoBody
	} else if head, err = firstBytes(ctx, c, res); err != nil {
		return failure(c.Request.Context(), ctx, err)
	}
	out := w.Header()
	for name, values := range res.Header {
		returnHeader(out, name, values)
	}
	if length >= 0 && bodyAllowed(res.StatusCode) {
		out["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	if len(out["Content-Type"]) == 0 {
		out["Content-Type"] = nil // else net/http would guess one
	}
	w.WriteHeader(res.StatusCode)
	return stream(w, head, res.Body)
}

// wholeBody reads a response that is to be converted.
func wholeBody(ctx context.Context, c *Call, res *http.Response, change conversion) ([]byte, Fault, error) {
	body, ok, err := readAll(res.Body)
	switch {
	case err != nil:
		fault, err := failure(c.Request.Context(), ctx, err)
		return nil, fault, err
	case !ok:
		return nil, ResponseTooLarge, errors.New("backend's response is too large")
	}
	if body, err = change.convert(body); err != nil {
		return nil, Misconfigured, fmt.Errorf("convert response: %w", err)
	}
	return body, None, nil
}

// firstBytes reads the beginning of a response: a backend that breaks off at
// once can still be answered for. It is empty for a body that has ended.
func firstBytes(ctx context.Context, c *Call, res *http.Response) ([]byte, error) {
	if res.ContentLength == 0 || c.Request.Method == http.MethodHead {
		return nil, nil
	}
	buf := make([]byte, 512)
	n, err := io.ReadFull(res.Body, buf)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	if err == io.ErrUnexpectedEOF && res.ContentLength > int64(n) {
		return nil, err
	}
	return buf[:n], nil
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// stream copies a body whose answer has begun: what goes wrong now can only
// break it off.
func stream(w http.ResponseWriter, head []byte, body io.Reader) (Fault, error) {
	if len(head) > 0 {
		if _, err := w.Write(head); err != nil {
			return Aborted, fmt.Errorf("write response: %w", err)
		}
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	// The struct hides other methods of the writer, so that the buffer is used.
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, io.LimitReader(body, MaxBody-int64(len(head))+1), *buf)
	switch {
	case err != nil:
		return Aborted, fmt.Errorf("pass response on: %w", err)
	case n+int64(len(head)) > MaxBody:
		return Aborted, fmt.Errorf("backend's response has more than %d bytes", MaxBody)
	}
	return None, nil
}

// mapBack answers by the integration response that the backend's status selects.
func (b *Backend) mapBack(ctx context.Context, w http.ResponseWriter, c *Call, res *http.Response) (Fault, error) {
	r := b.selectResponse(res.StatusCode)
	if r == nil {
		return Misconfigured, fmt.Errorf("no integration response for status %d", res.StatusCode)
	}
	from := &inputs{call: c, header: res.Header}
	body, length := io.Reader(res.Body), res.ContentLength
	change := r.binary.ofResponse(r.handling, res.Header.Get("Content-Type"), c.Request.Header["Accept"])
	if r.wantsBody || change != keep {
		whole, fault, err := wholeBody(ctx, c, res, keep)
		if fault != None {
			return fault, err
		}
		from.body = whole
		if whole, err = change.convert(whole); err != nil {
			return Misconfigured, fmt.Errorf("convert response: %w", err)
		}
		body, length = bytes.NewReader(whole), int64(len(whole))
	} else if length != 0 {
		head, err := firstBytes(ctx, c, res)
		if err != nil {
			return failure(c.Request.Context(), ctx, err)
		}
		body = io.MultiReader(bytes.NewReader(head), res.Body)
	}
	return r.write(w, c, from, body, length)
}

// write gives the answer of an integration response. Body and length are the
// backend's; a template replaces them.
func (r *response) write(w http.ResponseWriter, c *Call, from *inputs, body io.Reader, length int64) (Fault, error) {
	t := r.templates.pick(c.Request.Header["Accept"])
	if t != nil && t.dynamic {
		return Misconfigured, errTemplate
	}
	literal := t != nil && !t.null
	text := []byte(nil)
	if literal {
		// What a template gives is text; a client of a binary type gets it decoded.
		text = t.body
		if change := r.binary.ofResponse(r.handling, "text/plain", c.Request.Header["Accept"]); change == decode {
			var err error
			if text, err = change.convert(text); err != nil {
				return Misconfigured, fmt.Errorf("convert response: %w", err)
			}
		}
	}
	out := w.Header()
	out["Content-Type"] = typeJSON
	if literal {
		out["Content-Type"] = t.contentType
	}
	for i := range r.params {
		m := &r.params[i]
		if values := m.from.values(from); len(values) > 0 {
			returnHeader(out, m.name, []string{strings.Join(values, ",")})
		}
	}
	hasBody := bodyAllowed(r.status)
	switch {
	case !hasBody:
	case literal && len(text) == len(t.body):
		out["Content-Length"] = t.length
	case literal:
		out["Content-Length"] = []string{strconv.Itoa(len(text))}
	case length >= 0:
		out["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	w.WriteHeader(r.status)
	switch {
	case !hasBody || c.Request.Method == http.MethodHead:
		return None, nil
	case literal:
		if _, err := w.Write(text); err != nil {
			return Aborted, fmt.Errorf("write response: %w", err)
		}
		return None, nil
	case body == nil || length == 0:
		return None, nil
	}
	return stream(w, nil, body)
}

// bodyAllowed reports whether a response of this status can have a body (RFC 9110 §6.4.1).
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
