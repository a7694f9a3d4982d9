// Package route finds what a request is for: the API from the names in it, the
// stage from the first path segment, and the method of a resource from the rest
// of the path.
//
// It works on the text of a request alone and decides nothing about access: an
// endpoint id in a host name, for one, says nothing about the endpoint that a
// request arrived on. Paths are matched raw, as they were received; whoever
// decoded one first would route by another path than the policy sees.
//
// All functions are pure. A Router is immutable and safe for any number of
// goroutines; a Params belongs to one request. Nothing here allocates while a
// request with a lower-case host is resolved.
package route

import "strings"

// HostKind classifies the Host header or :authority of a request.
type HostKind uint8

const (
	// HostOther is any name that is not one of API Gateway's, addresses included.
	HostOther HostKind = iota
	// HostAPI is A.execute-api.R.amazonaws.com.
	HostAPI
	// HostAlias is A-vpce-E.execute-api.R.amazonaws.com.
	HostAlias
	// HostEndpoint is vpce-E-S[-az].execute-api.R.vpce.amazonaws.com: it names
	// no API.
	HostEndpoint
)

// Host is a host name understood. Its fields are lower case and empty where the
// kind has no such part.
type Host struct {
	Kind   HostKind
	API    string
	Region string
	// Endpoint is the id in the name, for logs only: a client writes what he likes.
	Endpoint string
}

const (
	domain      = ".amazonaws.com"
	domainChina = ".amazonaws.com.cn"
	service     = ".execute-api."
	vpce        = "vpce-"
)

// ParseHost classifies a Host header, with or without port, in any case.
func ParseHost(host string) Host {
	name := lower(withoutPort(host))
	name = strings.TrimSuffix(name, ".")
	rest, ok := strings.CutSuffix(name, domain)
	if !ok {
		if rest, ok = strings.CutSuffix(name, domainChina); !ok {
			return Host{}
		}
	}
	label, region, ok := strings.Cut(rest, service)
	if !ok || label == "" || strings.IndexByte(label, '.') >= 0 {
		return Host{}
	}
	if r, ok := strings.CutSuffix(region, ".vpce"); ok {
		if id := endpointID(label); id != "" && isLabel(r) {
			return Host{Kind: HostEndpoint, Region: r, Endpoint: id}
		}
		return Host{}
	}
	if !isLabel(region) {
		return Host{}
	}
	if api, id := splitAlias(label); api != "" {
		return Host{Kind: HostAlias, API: api, Region: region, Endpoint: id}
	}
	return Host{Kind: HostAPI, API: label, Region: region}
}

// ResolveAPI says which API a request names. The x-apigw-api-id header counts
// only if the host does not name an API itself (private-apis.md R8). Region is
// empty if no name holds one: then it is the region of the listener.
func ResolveAPI(h Host, header string) (apiID, region string, ok bool) {
	switch {
	case h.Kind == HostAPI || h.Kind == HostAlias:
		return h.API, h.Region, true
	case header != "":
		return header, h.Region, true
	}
	return "", "", false
}

func withoutPort(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host, ':') == i {
		return host[:i]
	}
	return host // no port, or an IPv6 address, which is none of ours anyway
}

// lower allocates only if there is an upper-case letter.
func lower(s string) string {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}

// isLabel says whether s is one plain DNS label.
func isLabel(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != ""
}

// splitAlias cuts ^([a-z0-9]{10})-(vpce-[0-9a-f]{8,17})$.
func splitAlias(label string) (api, endpoint string) {
	const apiLength = 10
	if len(label) <= apiLength || label[apiLength] != '-' || strings.IndexByte(label[:apiLength], '-') >= 0 || !isLabel(label[:apiLength]) {
		return "", ""
	}
	rest := label[apiLength+1:]
	if id := endpointID(rest); id == "" || id != rest {
		return "", ""
	}
	return label[:apiLength], rest
}

// endpointID is the id at the start of s, which ends there or before a hyphen.
func endpointID(s string) string {
	if !strings.HasPrefix(s, vpce) {
		return ""
	}
	n := len(vpce)
	for n < len(s) && (s[n] >= '0' && s[n] <= '9' || s[n] >= 'a' && s[n] <= 'f') {
		n++
	}
	if hex := n - len(vpce); hex < 8 || hex > 17 || n < len(s) && s[n] != '-' {
		return ""
	}
	return s[:n]
}

// SplitStage cuts /{stage}/rest. The rest begins with a slash and is "/" if the
// path ends with the stage. Stage is empty if the path names none.
func SplitStage(rawPath string) (stage, rest string) {
	if rawPath == "" || rawPath[0] != '/' {
		return "", ""
	}
	stage = rawPath[1:]
	if i := strings.IndexByte(stage, '/'); i >= 0 {
		return stage[:i], stage[i:]
	}
	return stage, "/"
}
