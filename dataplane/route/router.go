package route

import (
	"fmt"
	"strings"
)

// Route is one method of one resource.
type Route[T any] struct {
	// Path is the resource's path: segments that are literal, {name}, or, at
	// the end only, {name+}.
	Path string
	// Method is an upper-case verb or ANY. Empty declares the resource without
	// a method: it exists, so it hides less specific ones.
	Method string
	Value  T
}

// Router matches paths below a stage to methods (data-plane.md §3). Every
// prefix of a path is a resource too, as it is in API Gateway.
type Router[T any] struct {
	root node[T]
}

// node is a resource. Children are tried in the order literal, {param},
// {greedy+}; as the tree gives each node one depth, a match visits each node at
// most once however it backtracks. What a parameter is called is no part of the
// tree: paths of one shape are one resource.
type node[T any] struct {
	literal map[string]*node[T]
	param   *node[T]
	greedy  *node[T]
	methods []method[T]
}

type method[T any] struct {
	verb  string
	names []string // of the path's parameters, in order
	value T
}

// anyVerb is the method that stands for the verbs of coveredByAny.
const anyVerb = "ANY"

func coveredByAny(verb string) bool {
	switch verb {
	case "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT":
		return true
	}
	return false
}

// NewRouter builds a Router. It refuses paths that are not well formed and the
// same method given twice.
func NewRouter[T any](routes []Route[T]) (*Router[T], error) {
	r := &Router[T]{}
	for _, rt := range routes {
		n, names, err := r.resource(rt.Path)
		if err != nil {
			return nil, fmt.Errorf("route %s %s: %w", rt.Method, rt.Path, err)
		}
		if rt.Method == "" {
			continue
		}
		for _, m := range n.methods {
			if m.verb == rt.Method {
				return nil, fmt.Errorf("route %s %s: given twice", rt.Method, rt.Path)
			}
		}
		n.methods = append(n.methods, method[T]{rt.Method, names, rt.Value})
	}
	return r, nil
}

// resource finds or makes the node of a path and names its parameters.
func (r *Router[T]) resource(path string) (n *node[T], names []string, err error) {
	n = &r.root
	if path == "/" {
		return n, nil, nil
	}
	if path == "" || path[0] != '/' {
		return nil, nil, fmt.Errorf("path must begin with a slash")
	}
	for rest := path; rest != ""; {
		var part string
		part, rest = cutSegment(rest)
		inner, braces := strings.CutPrefix(part, "{")
		inner, closed := strings.CutSuffix(inner, "}")
		switch {
		case part == "":
			return nil, nil, fmt.Errorf("empty path part")
		case braces != closed || strings.ContainsAny(inner, "{}"):
			return nil, nil, fmt.Errorf("path part %q: braces must enclose all of it", part)
		case !braces:
			n = n.child(part)
			continue
		}
		name, greedy := strings.CutSuffix(inner, "+")
		switch {
		case name == "":
			return nil, nil, fmt.Errorf("path part %q has no name", part)
		case greedy && rest != "":
			return nil, nil, fmt.Errorf("path part %q must be the last one", part)
		case len(names) == MaxParams:
			return nil, nil, fmt.Errorf("more than %d path parameters", MaxParams)
		}
		names = append(names, name)
		next := &n.param
		if greedy {
			next = &n.greedy
		}
		if *next == nil {
			*next = &node[T]{}
		}
		n = *next
	}
	return n, names, nil
}

func (n *node[T]) child(part string) *node[T] {
	c := n.literal[part]
	if c == nil {
		if n.literal == nil {
			n.literal = make(map[string]*node[T])
		}
		c = &node[T]{}
		n.literal[part] = c
	}
	return c
}

// cutSegment takes /part off the front of a path.
func cutSegment(path string) (part, rest string) {
	path = path[1:]
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, ""
}

// Match finds the method for a raw path below the stage. The resource is
// chosen by path alone; if it lacks the verb, only the greedy resources above
// it, nearest first, can still take the request. One trailing slash is ignored.
func (r *Router[T]) Match(rawPath, verb string, params *Params) (T, bool) {
	if rawPath == "" || rawPath[0] == '/' {
		params.n = 0
		if m, outcome := r.root.find(strings.TrimSuffix(rawPath, "/"), verb, params); outcome == matched {
			params.names = m.names
			return m.value, true
		}
	}
	params.n = 0
	var none T
	return none, false
}

type outcome uint8

const (
	noResource outcome = iota
	noMethod           // the path is a resource, which lacks the verb
	matched
)

// find matches the rest of a path below n. Once a child knows the path, other
// children are out: from then on only this node's greedy child is left to try.
func (n *node[T]) find(path, verb string, params *Params) (*method[T], outcome) {
	if path == "" {
		return n.method(verb)
	}
	part, rest := cutSegment(path)
	before := params.n
	result := noResource
	if c := n.literal[part]; c != nil {
		var m *method[T]
		if m, result = c.find(rest, verb, params); result == matched {
			return m, matched
		}
		params.n = before
	}
	if n.param != nil && part != "" && result == noResource {
		params.push(part)
		var m *method[T]
		if m, result = n.param.find(rest, verb, params); result == matched {
			return m, matched
		}
		params.n = before
	}
	if value := path[1:]; n.greedy != nil && value != "" {
		var m *method[T]
		if m, result = n.greedy.method(verb); result == matched {
			params.push(value)
			return m, matched
		}
	}
	return nil, result
}

// method is the node's method for a verb: its own, or ANY.
func (n *node[T]) method(verb string) (*method[T], outcome) {
	fallback := -1
	for i := range n.methods {
		switch n.methods[i].verb {
		case verb:
			if verb != anyVerb {
				return &n.methods[i], matched
			}
		case anyVerb:
			fallback = i
		}
	}
	if fallback >= 0 && coveredByAny(verb) {
		return &n.methods[fallback], matched
	}
	return nil, noMethod
}
