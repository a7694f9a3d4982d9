package policy

// Program is a compiled policy. It is immutable and safe for any number of
// goroutines.
type Program struct {
	doc *Document
	// rules are the statements that can apply, Deny first, each group in the
	// order of the document; what decides below was made from them.
	rules []rule
	// settled: no request changes the decision.
	settled  bool
	decision Decision
	root     group
	// only is the one batch of a root that has nothing else, which most
	// policies are.
	only *batch
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
	for i := range d.statements {
		if s := &d.statements[i]; s.principal == nil {
			return nil, d.src.errorf(s.path, s.offset, missingPrincipal)
		}
	}
	return assemble(d, compileStatements(d)), nil
}

const missingPrincipal = `Principal is missing; write "Principal": "*" to mean everyone`

// CompileIdentity makes the Program of a policy that is attached to a caller:
// an identity policy, a permissions boundary, a session policy. It speaks for
// whoever carries it, so no statement may have a Principal or NotPrincipal.
func CompileIdentity(d *Document) (*Program, error) {
	for i := range d.statements {
		s := &d.statements[i]
		if p := s.principal; p != nil {
			return nil, d.src.errorf(s.path+"."+p.name, p.offset, needlessPrincipal, p.name)
		}
	}
	return assemble(d, compileStatements(d)), nil
}

const needlessPrincipal = `a policy that is attached to a caller has no %s: it speaks for whoever carries it`

// assemble arranges rules for deciding. They come in the order of Program.rules.
func assemble(d *Document, rules []rule) *Program {
	p := &Program{doc: d, rules: reachable(rules)}
	switch {
	case len(p.rules) == 0:
		p.settled, p.decision = true, Decision{Statement: -1}
	case p.rules[0].always():
		p.settled, p.decision = true, p.rules[0].decision(grantDirect)
	default:
		p.root = newGroup(p.rules)
		if p.root.index == nil && p.root.callers == nil && len(p.root.batches) == 1 {
			p.only = &p.root.batches[0]
		}
	}
	return p
}

// reachable drops the rules behind one that always applies: a Deny ends the
// search for everything after it, an Allow that for other Allows.
func reachable(rules []rule) []rule {
	for i := range rules {
		if rules[i].always() {
			return rules[:i+1]
		}
	}
	return rules
}

// Document is what the Program was compiled from.
func (p *Program) Document() *Document { return p.doc }

// Constant is the decision that the Program gives to every request, if there is
// such a one. A nil Program, no policy at all, is silent.
func (p *Program) Constant() (Decision, bool) {
	if p == nil {
		return Decision{Statement: -1}, true
	}
	return p.decision, p.settled
}

// Eval decides a request. It does not fail and does not allocate. A nil
// Program, no policy at all, is silent.
func (p *Program) Eval(r *Request) Decision {
	if p == nil {
		return Decision{Statement: -1}
	}
	if p.settled {
		return p.decision
	}
	return p.search(r)
}

func (p *Program) search(r *Request) Decision {
	e := evaluation{req: r, invoke: r.Action == DefaultAction, resource: view(r.Resource)}
	if p.only != nil {
		p.only.search(&e)
	} else {
		p.root.search(&e)
	}
	switch {
	case e.deny != nil:
		return e.deny.decision(grantDirect)
	case e.direct != nil:
		return e.direct.decision(grantDirect)
	case e.delegated != nil:
		return e.delegated.decision(grantDelegate)
	}
	return Decision{Statement: -1}
}

// evaluation is one Eval: what it works out once for all statements, and the
// statements that it has found to apply, the first of each kind.
type evaluation struct {
	req      *Request
	resource string
	invoke   bool   // the action is DefaultAction, whose matches are known beforehand
	action   string // lower case, once a pattern has asked for it

	// The head that was matched last. Most policies name one API, so that all of
	// their resources have the same.
	head     *arnHead
	headHeld bool

	deny, direct, delegated *rule
}

// beaten says that a rule could not change the decision any more.
func (e *evaluation) beaten(ru *rule) bool {
	switch {
	case e.deny != nil:
		return !ru.deny || ru.order > e.deny.order
	case ru.deny:
		return false
	}
	return e.direct != nil && ru.order > e.direct.order
}

// take notes that a rule applies.
func (e *evaluation) take(ru *rule, g grant) {
	slot := &e.direct
	switch {
	case ru.deny:
		slot = &e.deny
	case g == grantDelegate:
		slot = &e.delegated
	}
	if *slot == nil || ru.order < (*slot).order {
		*slot = ru
	}
}
