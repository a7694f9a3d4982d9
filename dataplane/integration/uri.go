package integration

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/posternhq/postern/dataplane/route"
)

// uri is a backend's address with its {placeholders}. Stage variables are
// already filled in.
type uri struct {
	fixed *url.URL // without placeholders
	parts []uriPart
}

// uriPart is literal text, or the name of a placeholder. Placeholders before
// the path may only become plain host names, so that a client's value can't
// choose another host than the configuration allows for.
type uriPart struct {
	text        string
	placeholder bool
	authority   bool
	query       bool
}

var errURL = errors.New("uri is not an http or https URL")

func parseURI(text string, variables map[string]string) (uri, error) {
	text, err := fillVariables(text, variables)
	if err != nil {
		return uri{}, err
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return uri{}, errURL
	}
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		rest = rest[:i] + escapeOdd(rest[i:])
	}
	if !strings.Contains(rest, "{") {
		u, err := parseURL(scheme + "://" + rest)
		return uri{fixed: u}, err
	}
	u := uri{parts: []uriPart{{text: scheme + "://"}}}
	authority, query := true, false
	for rest != "" {
		before, after, found := strings.Cut(rest, "{")
		if strings.ContainsAny(before, "/?") {
			authority = false
		}
		query = query || strings.Contains(before, "?")
		if before != "" {
			u.parts = append(u.parts, uriPart{text: before})
		}
		if !found {
			break
		}
		name, tail, closed := strings.Cut(after, "}")
		name = strings.TrimSuffix(name, "+")
		if !closed || name == "" {
			return uri{}, fmt.Errorf("uri has an open brace at %q", "{"+after)
		}
		u.parts = append(u.parts, uriPart{text: name, placeholder: true, authority: authority, query: query})
		rest = tail
	}
	return u, nil
}

// escapeOdd escapes the characters that no URL has; braces stay, for they hold
// placeholders. Hazard: net/url takes a path with a single such character for
// one that is not encoded, and encodes it anew from what it decodes to. A
// client's %2F in the same path would become a slash that no policy saw.
func escapeOdd(text string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`|", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// fillVariables replaces ${stageVariables.NAME}.
func fillVariables(text string, variables map[string]string) (string, error) {
	const open = "${stageVariables."
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, open)
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed {
			return "", fmt.Errorf("uri has an open brace at %q", open+after)
		}
		v, ok := variables[name]
		if !ok {
			return "", fmt.Errorf("uri needs stage variable %q, which is not set", name)
		}
		b.WriteString(v)
		text = tail
	}
}

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parse uri: %w", err)
	}
	if u.Host == "" || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errURL
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// expand gives the address of one call, which the caller may change. Values come
// from the path mappings; an HTTP_PROXY integration falls back on the request's
// own path parameters. A path parameter keeps the very text that the policy and
// the router saw; other values are escaped.
func (u *uri) expand(c *Call, paths []mapping, in *inputs, proxy bool) (*url.URL, error) {
	if u.fixed != nil {
		copied := *u.fixed
		return &copied, nil
	}
	var b strings.Builder
	for i := range u.parts {
		p := &u.parts[i]
		if !p.placeholder {
			b.WriteString(p.text)
			continue
		}
		value, ok := pathValue(p.text, c.Params, paths, in, proxy)
		if !ok {
			return nil, fmt.Errorf("uri needs path parameter %q, which has no value", p.text)
		}
		if p.authority && !plainHost(value) {
			return nil, fmt.Errorf("path parameter %q is no host name", p.text)
		}
		if p.query {
			value = url.QueryEscape(route.Unescape(value))
		}
		b.WriteString(value)
	}
	return parseURL(b.String())
}

// pathValue is a placeholder's value, escaped.
func pathValue(name string, params *route.Params, paths []mapping, in *inputs, proxy bool) (string, bool) {
	for i := range paths {
		m := &paths[i]
		if m.to != toPath || m.name != name {
			continue
		}
		if m.from.kind == fromPath {
			return params.Raw(m.from.name)
		}
		if v := m.from.values(in); len(v) > 0 {
			return url.PathEscape(v[0]), true
		}
		return "", false
	}
	if proxy {
		return params.Raw(name)
	}
	return "", false
}

func plainHost(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return s != ""
}
