package policy

import (
	"strconv"
	"strings"
)

// rule is one statement in the form that decides. Its tests must all hold; one
// that holds for every request is left out, and the field is nil.
type rule struct {
	order      uint32 // place among the rules: the first that applies wins
	statement  int32
	effect     Effect
	deny       bool
	notPerson  bool
	usual      bool // resources is usual and not negated, and text is all of it
	simple     bool // for DefaultAction there is nothing to test but text; known of rules that are filed
	text       string
	principals *principalSet
	actions    *actionSet
	resources  *resourceSet
	conditions []condition // cheapest first
}

// always says that the rule applies to every request.
func (ru *rule) always() bool {
	return ru.principals == nil && ru.actions == nil && ru.resources == nil && len(ru.conditions) == 0
}

// compileStatements makes the rules of a document in the order of Program.rules.
// Elements that say the same share one set.
func compileStatements(d *Document) []rule {
	c := compiler{
		variables: d.variables(),
		actions:   make(map[string]*actionSet),
		heads:     make(map[string]*arnHead),
		resources: make(map[string]*resourceSet),
	}
	rules := make([]rule, 0, len(d.statements))
	for _, deny := range [...]bool{true, false} {
		for i := range d.statements {
			if d.statements[i].deny == deny {
				ru := c.rule(&d.statements[i])
				ru.order, ru.statement = uint32(len(rules)), int32(i)
				rules = append(rules, ru)
			}
		}
	}
	return rules
}

type compiler struct {
	variables bool
	scratch   []byte
	actions   map[string]*actionSet
	heads     map[string]*arnHead
	resources map[string]*resourceSet
}

func (c *compiler) rule(s *statement) rule {
	ru := rule{effect: Allow, deny: s.deny}
	if s.deny {
		ru.effect = ExplicitDeny
	}
	if p := s.principal; p != nil && (p.negated || !p.compiled.anyone) {
		ru.notPerson, ru.principals = p.negated, &p.compiled
	}
	if a := shared(c, c.actions, s.action, compileActions); !a.everything() {
		ru.actions = a
	}
	if r := shared(c, c.resources, s.resource, c.compileResources); !r.everything() {
		ru.setResources(r)
	}
	n := 0
	for i := range s.conditions {
		n += len(s.conditions[i].keys)
	}
	if n > 0 {
		ru.conditions = make([]condition, 0, n)
	}
	for i := range s.conditions {
		b := &s.conditions[i]
		for j := range b.keys {
			ru.conditions = append(ru.conditions, compileCondition(b.op, &b.keys[j], c.variables))
		}
	}
	sortByCost(ru.conditions)
	return ru
}

// setResources gives a rule its resources; nil is all of them.
func (ru *rule) setResources(s *resourceSet) {
	ru.resources = s
	if ru.usual = s != nil && s.usual && !s.negated; ru.usual {
		ru.text = s.text
	}
}

// shared compiles an element once for all statements that spell it alike.
func shared[T any](c *compiler, made map[string]*T, e *element, compile func(*element) T) *T {
	key := append(c.scratch[:0], e.name...)
	for _, v := range e.values {
		key = append(strconv.AppendInt(append(key, ' '), int64(len(v.text)), 10), ':')
		key = append(key, v.text...)
	}
	c.scratch = key
	if have, ok := made[string(key)]; ok {
		return have
	}
	set := compile(e)
	made[string(key)] = &set
	return &set
}

// applies tries all tests of a rule, cheap ones first. invoke says that the
// request's action is DefaultAction.
func (ru *rule) applies(r *Request, invoke bool) grant {
	g := ru.speaksFor(r.Principal)
	if g == grantNone || ru.actions != nil && !ru.actions.match(r, invoke) {
		return grantNone
	}
	tested := 0
	for tested < len(ru.conditions) && ru.conditions[tested].cheap() {
		if !ru.conditions[tested].holds(r) {
			return grantNone
		}
		tested++
	}
	switch {
	case ru.usual:
		if !strings.HasPrefix(view(r.Resource), ru.text) {
			return grantNone
		}
	case ru.resources != nil && !ru.resources.match(r):
		return grantNone
	}
	for ; tested < len(ru.conditions); tested++ {
		if !ru.conditions[tested].holds(r) {
			return grantNone
		}
	}
	return g
}

// speaksFor is the Principal or NotPrincipal test.
func (ru *rule) speaksFor(p *Principal) grant {
	switch {
	case ru.principals == nil:
		return grantDirect
	case !ru.notPerson:
		return ru.principals.match(p)
	case ru.deny && ru.principals.exempts(p):
		return grantNone
	case !ru.deny && ru.principals.match(p) != grantNone:
		// An Allow must not reach whom it excepts, at whatever level he is listed.
		return grantNone
	}
	return grantDirect
}

// actionSet is an Action or NotAction element.
type actionSet struct {
	negated  bool
	patterns []pattern // lower case
	invoke   bool      // what it says of DefaultAction, which nearly every request asks for
}

func compileActions(e *element) actionSet {
	s := actionSet{negated: e.negated, patterns: make([]pattern, len(e.values))}
	for i, v := range e.values {
		s.patterns[i] = parsePattern(strings.ToLower(v.text), true, false)
	}
	s.invoke = s.matchLower(strings.ToLower(DefaultAction))
	return s
}

// everything says that no action is left out.
func (s *actionSet) everything() bool {
	for i := range s.patterns {
		if s.patterns[i].any() {
			return !s.negated
		}
	}
	return false
}

func (s *actionSet) match(r *Request, invoke bool) bool {
	if invoke {
		return s.invoke
	}
	return s.matchLower(lower(r.Action, r.action[:]))
}

func (s *actionSet) matchLower(action string) bool {
	for i := range s.patterns {
		if s.patterns[i].match(action, nil) {
			return !s.negated
		}
	}
	return s.negated
}

// lower lower-cases ASCII, into scratch if it has to and that is long enough.
func lower(s string, scratch []byte) string {
	upper := -1
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'Z' {
			upper = i
			break
		}
	}
	if upper < 0 {
		return s
	}
	if len(s) > len(scratch) {
		return strings.ToLower(s)
	}
	b := scratch[:copy(scratch, s)]
	for i := upper; i < len(b); i++ {
		if b[i] >= 'A' && b[i] <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return view(b)
}
