package gateway

import (
	"bytes"
	"net/http"
	"strconv"

	"google.golang.org/grpc/metadata"

	"github.com/posternhq/postern/controlplane/apierr"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

const (
	contentJSON = "application/json"
	contentXML  = "text/xml;charset=UTF-8"
)

// write sends a whole answer. What it says is decided before, so an answer has
// its length and never breaks off for a reason of ours.
func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	header := w.Header()
	if len(body) > 0 {
		header.Set("Content-Type", contentType)
	}
	if status != http.StatusNoContent {
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}

// setServerHeaders turns header metadata of an RPC into HTTP headers.
func setServerHeaders(header http.Header, md metadata.MD) {
	for _, key := range []string{metaVersion, metaWarning} {
		for _, value := range md.Get(key) {
			header.Add(key, value)
		}
	}
}

// fail answers an error in the form of a protocol. The message of an internal
// error stays here: it goes to the log, under the request's id.
func (g *Gateway) fail(w http.ResponseWriter, r *http.Request, c *call, protocol *awsv1.Protocol, e *apierr.Error) {
	status, code := e.Answer(protocol.GetKind())
	message := e.Message
	if e.Kind == apierr.KindInternal {
		g.logger.ErrorContext(r.Context(), "request failed inside", "request_id", c.requestID, "code", code, "error", e.Message,
			"method", r.Method, "path", r.URL.Path)
		message = "An internal error has occurred; the log has it under request id " + c.requestID
	}
	if e.Kind == apierr.KindTooMany || e.Kind == apierr.KindUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if protocol.GetKind() == awsv1.Protocol_KIND_REST_JSON {
		setExact(w.Header(), "x-amzn-ErrorType", code)
		body := append([]byte(`{"message":`), appendJSONString(nil, message)...)
		write(w, status, contentJSON, append(body, '}'))
		return
	}
	var b bytes.Buffer
	b.WriteString(xmlHeader)
	if protocol.GetKind() == awsv1.Protocol_KIND_EC2_QUERY {
		b.WriteString("<Response><Errors><Error>")
		writeXMLTextElement(&b, "Code", code)
		writeXMLTextElement(&b, "Message", message)
		b.WriteString("</Error></Errors>")
		writeXMLTextElement(&b, "RequestID", c.requestID)
		b.WriteString("</Response>")
	} else {
		party := "Sender"
		if status >= http.StatusInternalServerError {
			party = "Receiver"
		}
		b.WriteString("<ErrorResponse" + namespace(protocol) + "><Error>")
		writeXMLTextElement(&b, "Type", party)
		writeXMLTextElement(&b, "Code", code)
		writeXMLTextElement(&b, "Message", message)
		b.WriteString("</Error>")
		writeXMLTextElement(&b, "RequestId", c.requestID)
		b.WriteString("</ErrorResponse>")
	}
	write(w, status, contentXML, b.Bytes())
}

func namespace(protocol *awsv1.Protocol) string {
	if ns := protocol.GetXmlNamespace(); ns != "" {
		return ` xmlns="` + ns + `"`
	}
	return ""
}

// setExact sets a header in AWS's own capitals, which net/http would change:
// names don't differ by case, but people grep for them.
func setExact(header http.Header, name, value string) { header[name] = []string{value} }

// buffered is a ResponseWriter that keeps an answer until it is whole.
type buffered struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (b *buffered) Header() http.Header { return b.header }

// WriteHeader keeps the last status: an answer may still turn into an error
// while it is being written.
func (b *buffered) WriteHeader(status int) { b.status = status }

func (b *buffered) Write(data []byte) (int, error) { return b.body.Write(data) }
