package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Query is a request as text: the form in which files, command lines and other
// programs state one. In JSON:
//
//	{"principal": "arn:aws:iam::111122223333:user/ada", "action": "execute-api:Invoke",
//	 "resource": "arn:aws:execute-api:us-west-2:123456789012:abcde12345/prod/GET/pets",
//	 "context": {"aws:SourceVpce": "vpce-01d622316a7df47f9"}}
type Query struct {
	// Principal is the ARN of the caller; empty means the anonymous caller.
	Principal string `json:"principal,omitempty"`
	// Action is service:Name; empty means execute-api:Invoke.
	Action string `json:"action,omitempty"`
	// Resource is the ARN of what is called.
	Resource string `json:"resource"`
	// Account owns the resource; it matters only if Resource does not name one.
	Account string `json:"account,omitempty"`
	// Context holds condition keys by name, in any case. What follows from
	// Principal need not be given; what is given overrides it.
	Context map[string]Values `json:"context,omitempty"`
}

// ParseQuery reads a Query from JSON, strictly: what is not JSON, a member that
// there is none of, a duplicate one, or a value of the wrong type is an error
// that says where. A request that is misread is a decision about another one.
func ParseQuery(text []byte) (*Query, error) { return parseQuery(text, false) }

// ParsePartialQuery reads what some requests have in common: as ParseQuery
// does, but resource may be missing, too.
func ParsePartialQuery(text []byte) (*Query, error) { return parseQuery(text, true) }

func parseQuery(text []byte, partial bool) (*Query, error) {
	q, err := readQuery(text, partial)
	if err != nil {
		return nil, fmt.Errorf("request: %s", err.Problem.String())
	}
	return q, nil
}

func readQuery(text []byte, partial bool) (*Query, *Error) {
	p := parser{src: &source{text: text}}
	root, err := readJSON(p.src)
	if err != nil {
		return nil, err
	}
	if root.kind != jsonObject {
		return nil, p.src.errorf("", root.offset, "a request is a JSON object, this is %s", root.kind)
	}
	q := &Query{}
	resource := false
	for i := range root.members {
		m := &root.members[i]
		var into *string
		switch m.name {
		case "principal":
			into = &q.Principal
		case "action":
			into = &q.Action
		case "resource":
			into, resource = &q.Resource, true
		case "account":
			into = &q.Account
		case "context":
			if q.Context, err = p.context(m.name, m.value); err != nil {
				return nil, err
			}
			continue
		default:
			return nil, p.src.errorf(m.name, m.offset, "unknown member %q; a request has principal, action, resource, account and context", m.name)
		}
		e, err := p.str(m.name, m.value)
		if err != nil {
			return nil, err
		}
		*into = e.text
	}
	if !resource && !partial {
		return nil, p.src.errorf("", root.offset, "resource is missing")
	}
	return q, nil
}

func (p *parser) context(path string, n node) (map[string]Values, *Error) {
	if n.kind != jsonObject {
		return nil, p.src.errorf(path, n.offset, "must be an object from condition keys to values, this is %s", n.kind)
	}
	context := make(map[string]Values, len(n.members))
	for i := range n.members {
		m := &n.members[i]
		values := Values{}
		if m.value.kind != jsonArray || len(m.value.elems) > 0 { // an empty list is an absent key
			list, err := p.list("", m.value, true)
			if err != nil {
				return nil, err.inside(m.name).inside(path)
			}
			values = make(Values, len(list))
			for i, e := range list {
				values[i] = e.text
			}
		}
		context[m.name] = values
	}
	return context, nil
}

// DefaultAction is what every call of an API asks for.
const DefaultAction = invokePrefix + invokeName

const (
	invokePrefix = invokeService + ":"
	invokeName   = "Invoke"
)

// isInvoke is action == DefaultAction, in two comparisons short enough to be
// made without a call.
func isInvoke(action string) bool {
	const n = len(invokePrefix)
	return len(action) == len(DefaultAction) && action[:n] == invokePrefix && action[n:] == invokeName
}

// Request is the query in the form that is evaluated. A caller or a resource
// that can't be read is an error that names the member.
func (q *Query) Request() (*Request, error) {
	r := &Request{Action: q.Action}
	if r.Action == "" {
		r.Action = DefaultAction
	}
	if !r.SetResource(q.Resource) {
		return nil, fmt.Errorf("resource %q: not an ARN; write arn:aws:execute-api:region:account:api/stage/METHOD/path", q.Resource)
	}
	if parts, _ := splitARN(q.Resource); parts[accountPart] == "" && q.Account != "" {
		parts[accountPart] = q.Account
		r.Resource = []byte(strings.Join(parts[:], ":"))
	}
	if q.Principal != "" {
		p, err := ParsePrincipal(q.Principal)
		if err != nil {
			return nil, err
		}
		r.SetPrincipal(p)
	}
	var given uint64 // bit k: key k was set by the context
	for name, values := range q.Context {
		lower := strings.ToLower(name)
		k, known := keysByName[lower]
		_, again := r.Extra[lower]
		if again || known && given&(1<<k) != 0 {
			return nil, fmt.Errorf("context: the key %q is given twice, in different case", name)
		}
		if known {
			given |= 1 << k
		}
		if known && k == KeyCurrentTime && len(values) == 1 {
			// As at an edge: a time, from which both time keys follow.
			if at, err := time.Parse(time.RFC3339, values[0]); err == nil && at.Nanosecond() == 0 {
				r.Time = at
				continue
			}
		}
		r.setContext(lower, k, known, values)
	}
	return r, nil
}

// Values are the values of one condition key. In JSON they are a string or a
// list of strings; numbers and booleans stand for their text.
type Values []string

// MarshalJSON writes one value as a string, any other number as a list.
func (v Values) MarshalJSON() ([]byte, error) {
	switch len(v) {
	case 0:
		return []byte("[]"), nil // of a nil list too
	case 1:
		return json.Marshal(v[0])
	}
	return json.Marshal([]string(v))
}

// UnmarshalJSON reads one value or a list.
func (v *Values) UnmarshalJSON(b []byte) error {
	items := []json.RawMessage{b}
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '[' {
		if err := json.Unmarshal(b, &items); err != nil {
			return err
		}
	}
	out := make(Values, 0, len(items))
	for _, item := range items {
		switch item = bytes.TrimSpace(item); {
		case len(item) > 0 && item[0] == '"':
			var s string
			if err := json.Unmarshal(item, &s); err != nil {
				return err
			}
			out = append(out, s)
		case len(item) > 0 && (item[0] == '{' || item[0] == '[' || item[0] == 'n'):
			return fmt.Errorf("a context value is a string, a number, a boolean or a list of those, not %s", item)
		default:
			out = append(out, string(item))
		}
	}
	*v = out
	return nil
}
