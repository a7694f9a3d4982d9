package policy

import "strings"

// Known is what is settled about all requests that a Program will be asked
// about, such as those that one listener accepts for one stage. What is left
// empty, or was not set, is not known. A Known is not changed by Bind and may
// be used for several Programs.
type Known struct {
	// Action is as in Request.
	Action string
	// Resource is how Request.Resource begins, for example
	// arn:aws:execute-api:us-west-2:123456789012:abcde12345/prod/GET/.
	Resource string
	// Anonymous: there is no Principal, and no condition key that follows from
	// one: those that SetPrincipal sets, tags and organisation paths are absent.
	Anonymous bool

	request Request // holds the keys with a value
	keys    uint64  // bit k: key k is known, to be absent if request has no value
}

// Set says that every request has this value for a key, set as by Request.Set.
func (k *Known) Set(key Key, value string) {
	k.keys |= 1 << key
	k.request.Set(key, value)
}

// SetAbsent says that no request has a value for a key.
func (k *Known) SetAbsent(key Key) {
	k.keys |= 1 << key
	k.request.Unset(key)
}

// truth is the value of a test of which only a part is known.
type truth uint8

const (
	unknown truth = iota
	no
	yes
)

// not turns no and yes around if negated.
func (t truth) not(negated bool) truth {
	switch {
	case !negated || t == unknown:
		return t
	case t == yes:
		return no
	}
	return yes
}

// Bind returns a Program that gives the same decision to every request that
// agrees with k, with less to do: tests that hold are gone, and so are
// statements with one that does not. Often nothing is left to decide, and
// Constant says so. What the Program says of other requests means nothing.
func (p *Program) Bind(k *Known) *Program {
	if p == nil || p.settled {
		return p
	}
	b := binder{
		Known:     *k, // a copy: looking up a key writes to the request's scratch
		heads:     make(map[*arnHead]boundHead),
		resources: make(map[*resourceSet]boundSet),
	}
	b.splitResource()
	rules := make([]rule, 0, len(p.rules))
	for i := range p.rules {
		if ru := p.rules[i]; b.bind(&ru) {
			rules = append(rules, ru)
		}
	}
	return assemble(p.doc, rules)
}

type binder struct {
	Known
	// What rules share they go on sharing.
	heads     map[*arnHead]boundHead
	resources map[*resourceSet]boundSet

	parts [arnParts]string // of Known.Resource, as far as they are whole; the last is how the path begins
	whole int              // how many of them are known to the end
	held  *arnHead         // of a resource whose head is known: what no pattern need be compared with
}

type boundHead struct {
	head  *arnHead
	truth truth
}

type boundSet struct {
	set   *resourceSet
	truth truth
}

// splitResource finds out which parts of the resource are known.
func (b *binder) splitResource() {
	parts, n := splitARN(b.Resource)
	b.parts, b.whole = parts, n-1
	if n == arnParts {
		text := b.Resource[:len(b.Resource)-len(parts[arnColon])]
		b.held = &arnHead{exact: true, held: true, text: text, parts: [arnColon]pattern{anything, anything, anything, anything, anything}}
	}
}

// bind takes the tests that hold out of a rule. It reports false if one fails.
func (b *binder) bind(ru *rule) bool {
	if b.Anonymous && ru.principals != nil {
		if ru.speaksFor(nil) == grantNone {
			return false
		}
		ru.principals = nil
	}
	if b.Action != "" && ru.actions != nil {
		if !ru.actions.matchLower(strings.ToLower(b.Action)) {
			return false
		}
		ru.actions = nil
	}
	if ru.resources != nil {
		bound, ok := b.resources[ru.resources]
		if !ok {
			bound = b.bindResources(ru.resources)
			b.resources[ru.resources] = bound
		}
		if bound.truth == no {
			return false
		}
		ru.setResources(bound.set)
	}
	var left []condition
	for i := range ru.conditions {
		c := &ru.conditions[i]
		switch {
		case !b.settles(c):
			left = append(left, *c)
		case !c.holds(&b.request):
			return false
		}
	}
	ru.conditions = left
	return true
}

// settles says that a condition asks for nothing but what is known.
func (b *binder) settles(c *condition) bool {
	if !b.knows(&c.key) {
		return false
	}
	for i := range c.patterns {
		if !b.knowsVariables(&c.patterns[i]) {
			return false
		}
	}
	for i := range c.arns {
		for j := range c.arns[i] {
			if !b.knowsVariables(&c.arns[i][j]) {
				return false
			}
		}
	}
	return true
}

func (b *binder) knows(k *keyRef) bool {
	switch {
	case k.key < numKeys && b.keys&(1<<k.key) != 0:
		return true
	case !b.Anonymous:
		return false
	}
	switch k.key {
	case KeyPrincipalARN, KeyPrincipalAccount, KeyPrincipalOrgID, KeyPrincipalType, KeyUserID, KeyUsername, keyTag, keyOrgPaths:
		return true
	}
	return false
}

func (b *binder) knowsVariables(p *pattern) bool {
	for i := range p.tokens {
		if t := &p.tokens[i]; t.kind == tokenVar && !b.knows(&t.key) {
			return false
		}
	}
	return true
}

// bindResources makes a set of what is left to be matched: nil if the set holds
// whatever the rest of the request is.
func (b *binder) bindResources(s *resourceSet) boundSet {
	left := &resourceSet{negated: s.negated}
	for i := range s.patterns {
		p := s.patterns[i]
		switch t := b.bindResource(&p); t {
		case yes:
			return boundSet{nil, t.not(s.negated)}
		case unknown:
			left.patterns = append(left.patterns, p)
		}
	}
	if len(left.patterns) == 0 {
		return boundSet{nil, no.not(s.negated)}
	}
	left.arrange()
	return boundSet{left, unknown}
}

// bindResource says what is known of a pattern, and drops the parts that match.
func (b *binder) bindResource(p *resourcePattern) truth {
	switch {
	case p.never:
		return no
	case p.short:
		if b.whole > servicePart && b.parts[servicePart] != invokeService {
			return no
		}
		if _, rest, slash := strings.Cut(b.parts[arnColon], "/"); slash {
			return b.path(&p.path, rest)
		}
		return unknown
	case p.head == nil:
		return yes
	}
	bound, ok := b.heads[p.head]
	if !ok {
		bound = b.bindHead(p.head)
		b.heads[p.head] = bound
	}
	p.head = bound.head
	switch bound.truth {
	case yes:
		return b.path(&p.path, b.parts[arnColon])
	case no:
		return no
	}
	return unknown
}

// bindHead puts held in place of a head that is known to match.
func (b *binder) bindHead(h *arnHead) boundHead {
	for i := range min(b.whole, arnColon) {
		if !h.parts[i].match(b.parts[i], nil) {
			return boundHead{h, no}
		}
	}
	if b.held != nil {
		return boundHead{b.held, yes}
	}
	return boundHead{h, unknown}
}

// path says whether a text that begins with known matches a pattern.
func (b *binder) path(p *pattern, known string) truth {
	lead := p.leading()
	n := min(len(lead), len(known))
	switch {
	case p.any():
		return yes
	case lead[:n] != known[:n], p.exact && len(lead) < len(known):
		return no
	case p.open && len(lead) <= len(known):
		return yes
	}
	return unknown
}
