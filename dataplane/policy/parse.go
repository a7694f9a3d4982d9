package policy

import (
	"bytes"
	"fmt"
	"strings"
)

// Parse reads a policy document. It returns an *Error for the first thing that
// is not in the language: text that is not JSON, duplicate keys, unknown or
// missing elements, unknown operators, malformed principals and actions,
// unclosed variables. What is well formed but should not be saved, such as a
// CIDR that is none, is left to Validate, because evaluation gives it a meaning:
// such a value never matches.
func Parse(doc []byte) (*Document, error) {
	d, err := parse(doc)
	if err != nil {
		return nil, err // not a typed nil
	}
	return d, nil
}

// ParseTrust reads the policy of a role that says who may assume it. Such a
// policy is for this one resource, so no statement has a Resource, each has a
// Principal, and its actions are those of STS. Compile makes its Program.
func ParseTrust(doc []byte) (*Document, error) {
	d, err := parseAs(doc, true)
	if err != nil {
		return nil, err // not a typed nil
	}
	return d, nil
}

func parse(text []byte) (*Document, *Error) { return parseAs(text, false) }

func parseAs(text []byte, trust bool) (*Document, *Error) {
	src := &source{text: bytes.Clone(text)}
	root, err := readJSON(src)
	if err != nil {
		return nil, err
	}
	p := parser{src: src, doc: &Document{src: src}, trust: trust}
	if err := p.document(root); err != nil {
		return nil, err
	}
	return p.doc, nil
}

type parser struct {
	src   *source
	doc   *Document
	trust bool // of a role
}

func (p *parser) document(root node) *Error {
	if root.kind != jsonObject {
		return p.src.errorf("", root.offset, "a policy is a JSON object, this is %s", root.kind)
	}
	var statements *node
	for i := range root.members {
		m := &root.members[i]
		var err *Error
		switch m.name {
		case "Version":
			p.doc.version, err = p.str(m.name, m.value)
			if err == nil && p.doc.version.text != version2012 && p.doc.version.text != version2008 {
				err = p.src.errorf(m.name, m.value.offset, "Version must be %q or %q", version2012, version2008)
			}
		case "Id":
			p.doc.id, err = p.str(m.name, m.value)
		case "Statement":
			statements = &m.value
		default:
			err = p.src.errorf(m.name, m.offset, "unknown element %q; a policy has Version, Id and Statement", m.name)
		}
		if err != nil {
			return err
		}
	}
	if statements == nil {
		return p.src.errorf("", root.offset, "Statement is missing")
	}
	// Statements come last because Version, which may be written after them,
	// decides whether ${ begins a variable.
	return p.statements(*statements)
}

func (p *parser) statements(n node) *Error {
	switch n.kind {
	case jsonObject:
		p.doc.single = true
		s, err := p.statement("Statement", n)
		p.doc.statements = []statement{s}
		return err
	case jsonArray:
		if len(n.elems) == 0 {
			return p.src.errorf("Statement", n.offset, "Statement must not be empty")
		}
		p.doc.statements = make([]statement, len(n.elems))
		for i, e := range n.elems {
			var err *Error
			if p.doc.statements[i], err = p.statement(fmt.Sprintf("Statement[%d]", i), e); err != nil {
				return err
			}
		}
		return nil
	}
	return p.src.errorf("Statement", n.offset, "Statement must be an object or a list of objects, this is %s", n.kind)
}

func (p *parser) statement(path string, n node) (statement, *Error) {
	s := statement{path: path, offset: n.offset}
	if n.kind != jsonObject {
		return s, p.src.errorf(path, n.offset, "a statement must be an object, this is %s", n.kind)
	}
	effect := false
	for i := range n.members {
		m := &n.members[i]
		at := path + "." + m.name
		var err *Error
		switch m.name {
		case "Sid":
			s.sid, err = p.str(at, m.value)
		case "Effect":
			effect = true
			s.deny, err = p.effect(at, m.value)
		case "Principal", "NotPrincipal":
			if s.principal != nil {
				err = p.exclusive(path, m, "Principal")
				break
			}
			s.principal, err = p.principals(at, m)
		case "Action", "NotAction":
			if s.action != nil {
				err = p.exclusive(path, m, "Action")
				break
			}
			if s.action, err = p.element(at, m); err == nil {
				err = p.actions(at, s.action)
			}
		case "Resource", "NotResource":
			if s.resource != nil {
				err = p.exclusive(path, m, "Resource")
				break
			}
			if s.resource, err = p.element(at, m); err == nil {
				err = p.variables(at, s.resource.values)
			}
		case "Condition":
			s.hasCondition = true
			s.conditions, err = p.condition(at, m.value)
		default:
			err = p.src.errorf(at, m.offset, "unknown element %q", m.name)
		}
		if err != nil {
			return s, err
		}
	}
	if p.trust {
		return s, p.trusting(&s, effect)
	}
	switch {
	case !effect:
		return s, p.src.errorf(path, n.offset, missingEffect)
	case s.action == nil:
		return s, p.src.errorf(path, n.offset, `Action or NotAction is missing; write "Action": "execute-api:Invoke"`)
	case s.resource == nil:
		return s, p.src.errorf(path, n.offset, `Resource or NotResource is missing; write "Resource": "execute-api:/*"`)
	}
	return s, nil
}

const missingEffect = `Effect is missing; write "Effect": "Allow" or "Effect": "Deny"`

// trusting checks a statement of a trust policy and gives it the resource that
// it is for without saying so.
func (p *parser) trusting(s *statement, effect bool) *Error {
	switch {
	case !effect:
		return p.src.errorf(s.path, s.offset, missingEffect)
	case s.resource != nil:
		return p.src.errorf(s.path+"."+s.resource.name, s.resource.offset, "a trust policy is for its role; leave %s out", s.resource.name)
	case s.principal == nil || s.principal.negated:
		return p.src.errorf(s.path, s.offset, `Principal is missing; write "Principal": {"AWS": "111122223333"} to trust an account`)
	case s.action == nil || s.action.negated:
		return p.src.errorf(s.path, s.offset, `Action is missing; write "Action": "sts:AssumeRole"`)
	}
	for i, e := range s.action.values {
		if !strings.HasPrefix(strings.ToLower(e.text), "sts:") {
			return p.src.errorf(indexed(s.path+"."+s.action.name, s.action.values, i), e.offset, "%q: a trust policy is about actions of STS only", e.text)
		}
	}
	s.resource = &element{name: "Resource", offset: s.offset, values: entries{{text: "*", offset: s.offset}}}
	return nil
}

func (p *parser) exclusive(path string, m *member, name string) *Error {
	return p.src.errorf(path+"."+m.name, m.offset, "a statement has either %s or Not%s, not both", name, name)
}

func (p *parser) str(path string, n node) (*entry, *Error) {
	if n.kind != jsonString {
		return nil, p.src.errorf(path, n.offset, "must be a string, this is %s", n.kind)
	}
	return &entry{n.text, n.offset}, nil
}

func (p *parser) effect(path string, n node) (deny bool, err *Error) {
	e, err := p.str(path, n)
	if err != nil {
		return false, err
	}
	switch e.text {
	case "Allow":
		return false, nil
	case "Deny":
		return true, nil
	}
	return false, p.src.errorf(path, n.offset, `Effect must be "Allow" or "Deny", in exactly this case`)
}

// list reads one string or a non-empty list of strings. With literals set it
// also takes numbers and booleans, as their text.
func (p *parser) list(path string, n node, literals bool) (entries, *Error) {
	if n.kind != jsonArray {
		e, ok := literal(n, literals)
		if !ok {
			return nil, p.notString(path, n)
		}
		return entries{e}, nil
	}
	if len(n.elems) == 0 {
		return nil, p.src.errorf(path, n.offset, "a list must not be empty")
	}
	list := make(entries, len(n.elems))
	for i, elem := range n.elems {
		var ok bool
		if list[i], ok = literal(elem, literals); !ok {
			return nil, p.notString(fmt.Sprintf("%s[%d]", path, i), elem)
		}
	}
	return list, nil
}

func literal(n node, literals bool) (entry, bool) {
	ok := n.kind == jsonString || literals && (n.kind == jsonNumber || n.kind == jsonBool)
	return entry{n.text, n.offset}, ok
}

func (p *parser) notString(path string, n node) *Error {
	return p.src.errorf(path, n.offset, "must be a string or a list of strings, this is %s", n.kind)
}

func (p *parser) element(path string, m *member) (*element, *Error) {
	list, err := p.list(path, m.value, false)
	if err != nil {
		return nil, err
	}
	return &element{
		name:    m.name,
		negated: strings.HasPrefix(m.name, "Not"),
		offset:  m.offset,
		values:  list,
	}, nil
}

func (p *parser) actions(path string, e *element) *Error {
	for i, v := range e.values {
		if v.text == "*" {
			continue
		}
		service, name, ok := strings.Cut(v.text, ":")
		if !ok || service == "" || name == "" {
			return p.src.errorf(indexed(path, e.values, i), v.offset,
				`%q is not an action; write service:Name, such as "execute-api:Invoke", or "*"`, v.text)
		}
	}
	return nil
}

func (p *parser) condition(path string, n node) ([]block, *Error) {
	if n.kind != jsonObject {
		return nil, p.src.errorf(path, n.offset, "Condition must be an object, this is %s", n.kind)
	}
	blocks := make([]block, 0, len(n.members))
	for i := range n.members {
		m := &n.members[i]
		at := path + "." + m.name
		op, ok := parseOperator(m.name)
		if !ok {
			hint := ""
			if s := suggestOperator(m.name); s != "" {
				hint = fmt.Sprintf("; did you mean %q?", s)
			}
			return nil, p.src.errorf(at, m.offset, "unknown condition operator %q%s", m.name, hint)
		}
		b := block{name: m.name, op: op, offset: m.offset}
		if m.value.kind != jsonObject {
			return nil, p.src.errorf(at, m.value.offset, "must be an object from condition keys to values, this is %s", m.value.kind)
		}
		for j := range m.value.members {
			km := &m.value.members[j]
			keyPath := at + "." + km.name
			if km.name == "" {
				return nil, p.src.errorf(keyPath, km.offset, "a condition key must not be empty")
			}
			values, err := p.list(keyPath, km.value, true)
			if err == nil && op.family.takesVariables() {
				err = p.variables(keyPath, values)
			}
			if err != nil {
				return nil, err
			}
			b.keys = append(b.keys, keyValues{name: km.name, offset: km.offset, values: values})
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// variables refuses a ${ that is never closed.
func (p *parser) variables(path string, list entries) *Error {
	if !p.doc.variables() {
		return nil
	}
	for i, v := range list {
		if !variablesClosed(v.text) {
			return p.src.errorf(indexed(path, list, i), v.offset, "${ without a closing brace; write ${$}{ for the literal text")
		}
	}
	return nil
}

// indexed is the path of one value: a lone value has no index, since it may
// have been written without a list.
func indexed(path string, list entries, i int) string {
	if len(list) == 1 {
		return path
	}
	return fmt.Sprintf("%s[%d]", path, i)
}
