package policy

import (
	"strings"
)

// Program is a compiled policy. It is immutable and safe for any number of
// goroutines.
type Program struct {
	doc   *Document
	rules []rule // Deny first, each group in the order of the document
}

// rule is one statement in the form that decides. Its tests are tried cheapest
// first; since all must hold, their order changes no decision.
type rule struct {
	statement  int
	deny       bool
	notPerson  bool
	principals *principalSet
	actions    actionSet
	resources  resourceSet
	conditions []condition // cheapest first
}

// Effect is the decision of one policy.
type Effect uint8

const (
	// Silent: no statement applies. Alone it denies; beside another policy's
	// Allow it may not.
	Silent Effect = iota
	Allow
	ExplicitDeny
)

// String is the effect in words: silent, allow, explicit-deny.
func (e Effect) String() string {
	return [...]string{"silent", "allow", "explicit-deny"}[e]
}

// Decision is what a policy says about a request.
type Decision struct {
	Effect Effect
	// Statement is the index of the deciding statement, -1 if none applies. Of
	// several it is the first in the document that gives this Effect and
	// Delegated.
	Statement int
	// Delegated: the Allow comes from a principal that names the caller's
	// account, not the caller. In the account itself that is not enough: the
	// caller's own policies must allow as well, unless he is the root user.
	Delegated bool
}

// Compile makes the Program of a policy that is attached to a resource, so each
// statement must have a Principal or NotPrincipal. It refuses nothing else:
// literals and resources that can't match don't, and Validate names them.
func Compile(d *Document) (*Program, error) {
	p := &Program{doc: d, rules: make([]rule, 0, len(d.statements))}
	for _, deny := range [...]bool{true, false} {
		for i := range d.statements {
			s := &d.statements[i]
			if s.principal == nil {
				return nil, d.src.errorf(s.path, s.offset, missingPrincipal)
			}
			if s.deny == deny {
				p.rules = append(p.rules, compileStatement(d, i))
			}
		}
	}
	return p, nil
}

const missingPrincipal = `Principal is missing; write "Principal": "*" to mean everyone`

func compileStatement(d *Document, i int) rule {
	s := &d.statements[i]
	ru := rule{
		statement:  i,
		deny:       s.deny,
		notPerson:  s.principal.negated,
		principals: &s.principal.compiled,
		actions:    compileActions(s.action),
		resources:  compileResources(s.resource, d.variables()),
	}
	for j := range s.conditions {
		b := &s.conditions[j]
		for k := range b.keys {
			ru.conditions = append(ru.conditions, compileCondition(b.op, &b.keys[k], d.variables()))
		}
	}
	sortByCost(ru.conditions)
	return ru
}

// Document is what the Program was compiled from.
func (p *Program) Document() *Document { return p.doc }

// Eval decides a request. It does not fail and does not allocate. A nil
// Program, no policy at all, is silent.
func (p *Program) Eval(r *Request) Decision {
	if p == nil {
		return Decision{Statement: -1}
	}
	e := evaluation{
		req:      r,
		action:   lower(r.Action, r.action[:]),
		resource: view(r.Resource),
	}
	best := Decision{Statement: -1}
	for i := range p.rules {
		ru := &p.rules[i]
		g := ru.applies(&e)
		switch {
		case g == grantNone:
		case ru.deny:
			return Decision{Effect: ExplicitDeny, Statement: ru.statement}
		case g == grantDirect:
			return Decision{Effect: Allow, Statement: ru.statement}
		case best.Effect == Silent:
			// Keep looking: a later statement may name the caller himself.
			best = Decision{Effect: Allow, Statement: ru.statement, Delegated: true}
		}
	}
	return best
}

// evaluation is what one Eval works out once for all statements.
type evaluation struct {
	req      *Request
	action   string // lower case
	resource string
}

func (ru *rule) applies(e *evaluation) grant {
	g := ru.speaksFor(e.req.Principal)
	if g == grantNone || !ru.actions.match(e.action) {
		return grantNone
	}
	tested := 0
	for tested < len(ru.conditions) && ru.conditions[tested].cheap() {
		if !ru.conditions[tested].holds(e.req) {
			return grantNone
		}
		tested++
	}
	if !ru.resources.match(e) {
		return grantNone
	}
	for ; tested < len(ru.conditions); tested++ {
		if !ru.conditions[tested].holds(e.req) {
			return grantNone
		}
	}
	return g
}

// speaksFor is the Principal or NotPrincipal test.
func (ru *rule) speaksFor(p *Principal) grant {
	switch {
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

// actionSet is an Action or NotAction element.
type actionSet struct {
	negated  bool
	patterns []pattern // lower case
}

func compileActions(e *element) actionSet {
	s := actionSet{negated: e.negated, patterns: make([]pattern, len(e.values))}
	for i, v := range e.values {
		s.patterns[i] = newPattern(tokenize(strings.ToLower(v.text), true, false))
	}
	return s
}

func (s *actionSet) match(action string) bool {
	for i := range s.patterns {
		if s.patterns[i].match(action, nil) {
			return !s.negated
		}
	}
	return s.negated
}
