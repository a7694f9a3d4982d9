package integration

import (
	"net/http"
	"net/textproto"
	"strings"
)

// The rules for headers, as observed (data-plane.md §7.6). Keys are canonical.

// names makes a set.
func names(list ...string) map[string]bool {
	m := make(map[string]bool, len(list))
	for _, n := range list {
		m[textproto.CanonicalMIMEHeaderKey(n)] = true
	}
	return m
}

var (
	// hiddenFromMappings can't be read by a mapping of the request.
	hiddenFromMappings = names("Connection", "Content-Length", "Content-MD5", "Expect", "Max-Forwards",
		"Proxy-Authenticate", "Server", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "WWW-Authenticate")

	// notProxied are not passed to an HTTP_PROXY backend. Besides the observed ones
	// these are what speaks of the connection, and what only the gateway may say.
	notProxied = names("Connection", "Content-Encoding", "Content-Length", "Content-MD5", "Expect", "Host",
		"Max-Forwards", "Proxy-Authenticate", "Server", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Via",
		"WWW-Authenticate", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization",
		"X-Amzn-Apigateway-Api-Id", "X-Amzn-Vpc-Id", "X-Amzn-Vpce-Id", "X-Amzn-Vpce-Config",
		"X-Amzn-Cipher-Suite", "X-Amzn-Tls-Version", "X-Amzn-Vpce-Policy-Url")

	// mappedDropped and mappedRefused are targets of a request mapping that are
	// left out, and that make the call fail.
	mappedDropped = names("Connection", "Expect", "Proxy-Authenticate", "TE", "Via")
	mappedRefused = names("Content-Length", "Transfer-Encoding", "X-Amzn-Trace-Id", "X-Amzn-Apigateway-Api-Id")

	// remapped are renamed on the way back: x-amzn-Remapped-NAME.
	remapped = names("Authorization", "Connection", "Content-Length", "Content-MD5", "Date", "Expect", "Host",
		"Max-Forwards", "Proxy-Authenticate", "Server", "Trailer", "Upgrade", "User-Agent", "WWW-Authenticate",
		"X-Amzn-Requestid", "X-Amz-Apigw-Id")

	// notReturned are dropped on the way back.
	notReturned = names("Transfer-Encoding", "Keep-Alive", "Proxy-Connection")
)

// ownPrefix begins the headers that only Postern writes.
const ownPrefix = "X-Postern-"

// proxyRequestHeader is what an HTTP_PROXY backend gets of a client's header.
// Several values become one, joined with commas.
func proxyRequestHeader(in http.Header) http.Header {
	out := make(http.Header, len(in)+4)
	for name, values := range in {
		if notProxied[name] || len(values) == 0 {
			continue
		}
		if len(values) == 1 {
			out[name] = values[:1:1]
		} else {
			out[name] = []string{strings.Join(values, ",")}
		}
	}
	// What Connection names ends at this hop (RFC 9110 §7.6.1).
	for _, v := range in["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			delete(out, textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)))
		}
	}
	return out
}

// returnHeader adds a header to the answer under the name that it may have there.
func returnHeader(out http.Header, name string, values []string) {
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	switch {
	case notReturned[canonical], strings.HasPrefix(canonical, ownPrefix):
	case remapped[canonical]:
		out["x-amzn-Remapped-"+name] = values
	default:
		out[canonical] = values
	}
}
