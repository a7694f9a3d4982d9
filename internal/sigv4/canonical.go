package sigv4

import (
	"bytes"
	"net/http"
	"sort"
	"strings"
)

// canonical appends the canonical request up to its payload hash.
func (v *Verifier) canonical(b []byte, r *http.Request, f form) ([]byte, error) {
	b = append(b, r.Method...)
	b = append(b, '\n')
	b = appendPath(b, sentPath(r), f.normal)
	b = append(b, '\n')
	b = v.params(b, r.URL.RawQuery, f.bare)
	b = append(b, '\n')
	return v.headers(b, r)
}

// form is one of the ways in which SDKs see a request.
type form struct {
	normal bool // path without dot segments and empty ones
	bare   bool // the token was added to the query after signing
}

// appendPath appends a path escaped once more.
func appendPath(b []byte, path string, normal bool) []byte {
	if !normal {
		return escape(b, path, true)
	}
	start := len(b)
	for rest := path; ; {
		segment, next, more := strings.Cut(rest, "/")
		switch segment {
		case "", ".":
		case "..":
			if at := bytes.LastIndexByte(b[start:], '/'); at >= 0 {
				b = b[:start+at]
			}
		default:
			b = escape(append(b, '/'), segment, true)
		}
		if !more {
			break
		}
		rest = next
	}
	if len(b) == start || path[len(path)-1] == '/' {
		b = append(b, '/')
	}
	return b
}

// sentPath is the path as it was on the wire: what a URL makes of it may be
// escaped otherwise.
func sentPath(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if path == "" || path[0] != '/' {
		path = r.URL.EscapedPath()
	}
	if path == "" {
		return "/"
	}
	return path
}

// ordinary: leaving out dot segments and empty ones would not change the path.
func ordinary(path string) bool {
	return !strings.Contains(path, "//") && !strings.Contains(path, "/.")
}

// param is where a query parameter is, escaped, in Verifier.arena.
type param struct{ start, equals, end int }

// params appends the query: names and values decoded, escaped, and sorted.
func (v *Verifier) params(b []byte, raw string, bare bool) []byte {
	v.arena, v.sorted = v.arena[:0], v.sorted[:0]
	presigned := v.claim.Presigned
	for raw != "" {
		var part string
		part, raw, _ = strings.Cut(raw, "&")
		name, value, _ := strings.Cut(part, "=")
		if part == "" || presigned && (name == "X-Amz-Signature" || bare && name == "X-Amz-Security-Token") {
			continue
		}
		p := param{start: len(v.arena)}
		v.arena = reescape(v.arena, name)
		p.equals = len(v.arena)
		v.arena = reescape(append(v.arena, '='), value)
		p.end = len(v.arena)
		v.sorted = append(v.sorted, p)
	}
	sort.Stable((*byName)(v))
	for i, p := range v.sorted {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, v.arena[p.start:p.end]...)
	}
	return b
}

// byName sorts the parameters of a Verifier by name, then by value.
type byName Verifier

func (s *byName) Len() int      { return len(s.sorted) }
func (s *byName) Swap(i, j int) { s.sorted[i], s.sorted[j] = s.sorted[j], s.sorted[i] }
func (s *byName) Less(i, j int) bool {
	a, b := s.sorted[i], s.sorted[j]
	if c := bytes.Compare(s.arena[a.start:a.equals], s.arena[b.start:b.equals]); c != 0 {
		return c < 0
	}
	return bytes.Compare(s.arena[a.equals:a.end], s.arena[b.equals:b.end]) < 0
}

// headers appends the signed headers and their names. Names are lower case and
// sorted, as whoever signs has to write them.
func (v *Verifier) headers(b []byte, r *http.Request) ([]byte, error) {
	var last []byte
	host, count := false, 0
	for rest, more := v.claim.signed, true; more; {
		var name []byte
		name, rest, more = bytes.Cut(rest, []byte{';'})
		if count++; len(name) == 0 || bytes.Compare(last, name) >= 0 || count > maxHeaders {
			return b, mismatch()
		}
		last = name
		b = append(append(b, name...), ':')
		var ok bool
		switch string(name) {
		case "host":
			host, ok = true, true
			b = append(b, r.Host...)
		default:
			b, ok = v.value(b, name, r.Header)
		}
		if !ok {
			return b, mismatch()
		}
		b = append(b, '\n')
	}
	if !host {
		return b, invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	b = append(b, '\n')
	b = append(b, v.claim.signed...)
	return append(b, '\n'), nil
}

// value appends the values of a header, each without the spaces around it and
// with single ones inside; false if it is not there.
func (v *Verifier) value(b, name []byte, h http.Header) ([]byte, bool) {
	v.name = v.name[:0]
	upper := true
	for _, c := range name {
		switch {
		case 'A' <= c && c <= 'Z':
			return b, false
		case upper && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		}
		v.name = append(v.name, c)
		upper = c == '-'
	}
	values := h[string(v.name)]
	for i, value := range values {
		if i > 0 {
			b = append(b, ',')
		}
		value = strings.Trim(value, " \t")
		for j := range len(value) {
			if value[j] == ' ' && value[j-1] == ' ' {
				continue
			}
			b = append(b, value[j])
		}
	}
	return b, len(values) > 0
}

const upperHex = "0123456789ABCDEF"

// escape appends a text with all but RFC 3986's unreserved characters escaped.
func escape(b []byte, s string, slashes bool) []byte {
	for i := range len(s) {
		b = escapeByte(b, s[i], slashes)
	}
	return b
}

func escapeByte(b []byte, c byte, slashes bool) []byte {
	if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~' || slashes && c == '/' {
		return append(b, c)
	}
	return append(b, '%', upperHex[c>>4], upperHex[c&15])
}

// reescape escapes what a text stands for.
func reescape(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if d, ok := escaped(s[i:]); ok {
			c, i = d, i+2
		}
		b = escapeByte(b, c, false)
	}
	return b
}

// unescape appends what a text stands for.
func unescape(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if d, ok := escaped(s[i:]); ok {
			c, i = d, i+2
		}
		b = append(b, c)
	}
	return b
}

// escaped is the byte that a text's first three characters stand for.
func escaped(s string) (byte, bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	high, low := lowerHex(s[1]|0x20), lowerHex(s[2]|0x20)
	if s[1] < '0' || s[2] < '0' || high > 15 || low > 15 {
		return 0, false
	}
	return high<<4 | low, true
}
