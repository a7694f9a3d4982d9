package integration

import (
	"net/url"
	"strings"
)

// queryValues are the parameters of a query, decoded, in their order.
type queryValues []queryValue

type queryValue struct{ name, value string }

// parseQuery reads a query as API Gateway does: `;` separates as well as `&`,
// names may repeat, and what can't be decoded stays as it is.
func parseQuery(raw string) queryValues {
	var list queryValues
	for raw != "" {
		part := raw
		if i := strings.IndexAny(raw, "&;"); i >= 0 {
			part, raw = raw[:i], raw[i+1:]
		} else {
			raw = ""
		}
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		list = append(list, queryValue{unescapeQuery(name), unescapeQuery(value)})
	}
	return list
}

func unescapeQuery(s string) string {
	if v, err := url.QueryUnescape(s); err == nil {
		return v
	}
	return s
}

func (q queryValues) get(name string) (values []string) {
	for _, v := range q {
		if v.name == name {
			values = append(values, v.value)
		}
	}
	return values
}

// set replaces the values of a parameter; its place is that of the first.
func (q queryValues) set(name string, values []string) queryValues {
	out := make(queryValues, 0, len(q)+len(values))
	placed := false
	place := func() {
		for _, v := range values {
			out = append(out, queryValue{name, v})
		}
		placed = true
	}
	for _, v := range q {
		switch {
		case v.name != name:
			out = append(out, v)
		case !placed:
			place()
		}
	}
	if !placed {
		place()
	}
	return out
}

func (q queryValues) encode() string {
	var b strings.Builder
	for i, v := range q {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(v.name))
		b.WriteByte('=')
		b.WriteString(url.QueryEscape(v.value))
	}
	return b.String()
}

// queryValues parses the request's query once.
func (c *Call) queryValues() queryValues {
	if !c.parsed {
		c.query, c.parsed = parseQuery(c.Request.URL.RawQuery), true
	}
	return c.query
}

// HasQuery reports whether a query holds a parameter, read as mappings read it.
func HasQuery(raw, name string) bool {
	return len(parseQuery(raw).get(name)) > 0
}
