package policy

import (
	"math/bits"
	"strings"
)

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
	// only is the one batch of a root that has nothing else, plain is only if it
	// is plain.
	only, plain *batch
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
		p.settled, p.decision = true, finding{ru: &p.rules[0]}.decision()
	default:
		p.root = newGroup(p.rules)
		if len(p.rules) <= batchSize {
			p.only = &p.root.batches[0]
			if p.only.plain {
				p.plain = p.only
			}
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
	invoke := isInvoke(r.Action)
	b := p.plain
	switch {
	case b != nil:
	case p.only != nil:
		return p.only.search(r, invoke, finding{rank: unfound}).decision()
	default:
		return p.root.search(r, invoke, finding{rank: unfound}).decision()
	}
	// The rules that masks leave over all apply, if the resource is theirs.
	var alive uint64
	if b.lone != nil && invoke {
		alive = b.invoke & b.lone.satisfied(r)
	} else {
		alive = b.acting(r, invoke)
		if r.Principal == nil {
			alive &= b.anonymous
		} else if b.callers != nil {
			speaking, delegated := b.callers.find(r.Principal, b.rules)
			if delegated != 0 {
				return b.search(r, invoke, finding{rank: unfound}).decision()
			}
			alive &= speaking
		}
		alive = b.satisfied(r, alive)
	}
	if alive == 0 || !strings.HasPrefix(view(r.Resource), b.text) || b.resources != nil && !b.resources.match(r) {
		return Decision{Statement: -1}
	}
	ru := &b.rules[bits.TrailingZeros64(alive)]
	return Decision{Effect: ru.effect, Statement: int(ru.statement)}
}

// finding is the best of the rules that were found to apply, and how good it
// is: the lower its rank, the better. A Deny or an Allow that names the caller
// ranks by its order; Allows that only name his account come after all of them.
type finding struct {
	ru   *rule
	rank uint32
}

const (
	delegatedRank uint32 = 1 << 31
	unfound       uint32 = 1<<32 - 1
)

// better is the better of two findings.
func (f finding) better(ru *rule, g grant) finding {
	rank := ru.order
	if g == grantDelegate && !ru.deny {
		rank += delegatedRank
	}
	if rank < f.rank {
		return finding{ru, rank}
	}
	return f
}

func (f finding) decision() Decision {
	if f.ru == nil {
		return Decision{Statement: -1}
	}
	return Decision{Effect: f.ru.effect, Statement: int(f.ru.statement), Delegated: f.rank >= delegatedRank}
}
