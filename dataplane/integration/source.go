package integration

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// side says which half of a call a mapping belongs to.
type side uint8

const (
	requestSide side = iota
	responseSide
)

// place is what a mapping sets.
type place uint8

const (
	toPath place = iota
	toQuery
	toHeader
)

// mapping sets one parameter from a source (data-plane.md §7.1).
type mapping struct {
	to   place
	name string
	from source
}

type sourceKind uint8

const (
	fromNothing sourceKind = iota
	fromText
	fromPath
	fromQuery
	fromQueryList
	fromHeader
	fromHeaderList
	fromBody
	fromBodyField
	fromContext
)

// source is where a value comes from.
type source struct {
	kind sourceKind
	name string
	path []string // of fromBodyField
}

// parseMappings reads a requestParameters or responseParameters map, in the
// order of its keys.
func parseMappings(entries, variables map[string]string, s side) ([]mapping, error) {
	list := make([]mapping, 0, len(entries))
	for key, expression := range entries {
		m := mapping{}
		var ok bool
		switch {
		case s == responseSide:
			m.to = toHeader
			m.name, ok = strings.CutPrefix(key, "method.response.header.")
		case strings.HasPrefix(key, "integration.request.path."):
			m.to = toPath
			m.name, ok = strings.CutPrefix(key, "integration.request.path.")
		case strings.HasPrefix(key, "integration.request.querystring."):
			m.to = toQuery
			m.name, ok = strings.CutPrefix(key, "integration.request.querystring.")
		default:
			m.to = toHeader
			m.name, ok = strings.CutPrefix(key, "integration.request.header.")
		}
		if !ok || m.name == "" {
			return nil, fmt.Errorf("parameter %q can't be mapped", key)
		}
		var err error
		if m.from, err = parseSource(expression, variables, s); err != nil {
			return nil, fmt.Errorf("parameter %q: %w", key, err)
		}
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b mapping) int {
		return cmp.Or(cmp.Compare(a.to, b.to), cmp.Compare(a.name, b.name))
	})
	return list, nil
}

func parseSource(expression string, variables map[string]string, s side) (source, error) {
	if n := len(expression); n >= 2 && expression[0] == '\'' && expression[n-1] == '\'' {
		return source{kind: fromText, name: expression[1 : n-1]}, nil
	}
	if name, ok := strings.CutPrefix(expression, "stageVariables."); ok {
		v, ok := variables[name]
		if !ok {
			return source{kind: fromNothing}, nil
		}
		return source{kind: fromText, name: v}, nil
	}
	if name, ok := strings.CutPrefix(expression, "context."); ok {
		return source{kind: fromContext, name: name}, nil
	}
	prefix := "method.request."
	if s == responseSide {
		prefix = "integration.response."
	}
	rest, ok := strings.CutPrefix(expression, prefix)
	if !ok {
		return source{}, fmt.Errorf("source %q is not known", expression)
	}
	if rest == "body" {
		return source{kind: fromBody}, nil
	}
	where, name, _ := strings.Cut(rest, ".")
	src := source{name: name}
	switch {
	case name == "":
	case where == "header":
		src.kind = fromHeader
	case where == "multivalueheader":
		src.kind = fromHeaderList
	case where == "body":
		path, err := parseFieldPath(name)
		if err != nil {
			return source{}, err
		}
		src.kind, src.path = fromBodyField, path
	case s == responseSide:
	case where == "path":
		src.kind = fromPath
	case where == "querystring":
		src.kind = fromQuery
	case where == "multivaluequerystring":
		src.kind = fromQueryList
	}
	if src.kind == fromNothing {
		return source{}, fmt.Errorf("source %q is not known", expression)
	}
	return src, nil
}

// needsBody reports whether some mapping reads the body.
func needsBody(list []mapping) bool {
	return slices.ContainsFunc(list, func(m mapping) bool { return m.from.kind == fromBody || m.from.kind == fromBodyField })
}

// inputs are what the sources of one side read from.
type inputs struct {
	call   *Call
	header http.Header
	host   string          // stands for the Host header
	hidden map[string]bool // headers that can't be read
	body   []byte
}

// values reads a source; nothing means that the parameter is left out. Of
// several values of a header or a query parameter the plain sources give the
// last, the multi-value ones all.
func (s *source) values(in *inputs) []string {
	switch s.kind {
	case fromText:
		return []string{s.name}
	case fromPath:
		if v, ok := in.call.Params.Value(s.name); ok {
			return []string{v}
		}
	case fromQuery:
		return last(in.call.queryValues().get(s.name))
	case fromQueryList:
		return in.call.queryValues().get(s.name)
	case fromHeader:
		return last(in.headerValues(s.name))
	case fromHeaderList:
		return in.headerValues(s.name)
	case fromBody:
		return []string{string(in.body)}
	case fromBodyField:
		if v, ok := field(in.body, s.path); ok {
			return []string{v}
		}
	case fromContext:
		if v, ok := in.call.Context.ContextValue(s.name); ok {
			return []string{v}
		}
	}
	return nil
}

func last(values []string) []string { return values[max(0, len(values)-1):] }

func (in *inputs) headerValues(name string) []string {
	name = textproto.CanonicalMIMEHeaderKey(name)
	switch {
	case in.hidden[name]:
		return nil
	case name == "Host" && in.host != "":
		return []string{in.host}
	}
	return in.header[name]
}

// parseFieldPath reads the part of JSONPath that names one field: names with
// dots between and [n] behind. API Gateway wants it without the leading "$.".
func parseFieldPath(text string) ([]string, error) {
	var path []string
	for _, part := range strings.Split(strings.TrimPrefix(text, "$."), ".") {
		name, index, found := strings.Cut(part, "[")
		if name == "" || strings.ContainsAny(name, "*?()@'\"]") {
			return nil, fmt.Errorf("path %q into the body is not available yet", text)
		}
		path = append(path, name)
		for found {
			var number string
			number, index, found = strings.Cut(index, "]")
			if _, err := strconv.ParseUint(number, 10, 31); err != nil || !found {
				return nil, fmt.Errorf("path %q into the body is not available yet", text)
			}
			path = append(path, "["+number)
			if index == "" {
				break
			}
			if index[0] != '[' {
				return nil, fmt.Errorf("path %q into the body is not available yet", text)
			}
			index, found = index[1:], true
		}
	}
	return path, nil
}

// field finds a value in a JSON body. Text is given as it is, anything else as JSON.
func field(body []byte, path []string) (string, bool) {
	raw := json.RawMessage(body)
	for _, step := range path {
		if number, ok := strings.CutPrefix(step, "["); ok {
			var list []json.RawMessage
			n, _ := strconv.Atoi(number)
			if json.Unmarshal(raw, &list) != nil || n >= len(list) {
				return "", false
			}
			raw = list[n]
			continue
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(raw, &object) != nil {
			return "", false
		}
		next, ok := object[step]
		if !ok {
			return "", false
		}
		raw = next
	}
	raw = bytes.TrimSpace(raw)
	var text string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &text) == nil {
		return text, true
	}
	return string(raw), len(raw) > 0
}
