package diff

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/posternhq/postern/dataplane/policy"
)

// problem is two policies as formulas over the atoms of their dimensions.
type problem struct {
	given     *given
	variables map[string]*string // values taken for variables; nil value: absent
	relaxed   bool               // variables are left open

	dims   []*dimension
	byName map[string]int
	names  map[string]string // of condition keys, as written
	preds  map[string]*predicate
	atoms  map[string]*atom

	old, new ruling
	// links hold for all requests, edgeLinks for those that edges make.
	links, edgeLinks []*formula
}

// ruling is one policy: its statements by effect.
type ruling struct {
	allow, deny []*formula
}

func (r ruling) allows() *formula { return all(some(r.allow...), not(some(r.deny...))) }
func (r ruling) denies() *formula { return some(r.deny...) }
func (r ruling) silent() *formula { return not(some(slices.Concat(r.allow, r.deny)...)) }

const (
	dimAction = iota
	dimResource
	dimCaller
)

// newProblem reads two policies, of which either may be nil. Without relaxed,
// variables must say what each variable of the policies stands for.
func newProblem(old, new *policy.Document, g *given, variables map[string]*string, relaxed bool) *problem {
	p := &problem{given: g, variables: variables, relaxed: relaxed,
		byName: map[string]int{}, names: map[string]string{}, preds: map[string]*predicate{}, atoms: map[string]*atom{}}
	_, given := g.fixed("aws:userid")
	p.dims = []*dimension{dimAction: g.actions(), dimResource: g.resources(), dimCaller: g.callers(!given && mentions("aws:userid", old, new))}
	p.old, p.new = p.ruling(old), p.ruling(new)
	for _, key := range slices.Sorted(maps.Keys(variables)) {
		v := variables[key]
		if _, known := g.fixed(key); known {
			continue
		}
		if v == nil {
			p.links = append(p.links, holds(p.absent(key)))
		} else {
			m := p.globMeaning([][]item{exactly(*v)})
			p.links = append(p.links, holds(p.exists(key, m, false, false)), p.single(key, *v))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.byName)) {
		if shapeOf(name).authenticated {
			p.edgeLinks = append(p.edgeLinks, some(holds(p.absent(name)), not(holds(p.anonymous()))))
		}
	}
	return p
}

func mentions(key string, docs ...*policy.Document) bool {
	found := false
	for _, d := range docs {
		eachKey(d, func(k string, _ bool) { found = found || k == key })
	}
	return found
}

// eachKey calls f with the keys that a policy mentions, in conditions and as
// variables; those of variables without a value of their own are not lists.
func eachKey(d *policy.Document, f func(key string, variable bool)) {
	if d == nil {
		return
	}
	pieces := func(list []policy.Piece) {
		for _, p := range list {
			if p.Kind == policy.PieceVariable && !p.List {
				f(p.Key, true)
			}
		}
	}
	for i := range d.Statements() {
		for _, r := range d.ResourcePatterns(i) {
			for _, part := range r.Parts {
				pieces(part)
			}
		}
		v := d.View(i)
		for j := range v.Conditions {
			f(v.Conditions[j].Key, false)
			for _, p := range v.Conditions[j].Patterns() {
				pieces(p)
			}
		}
	}
}

func (p *problem) ruling(d *policy.Document) ruling {
	var r ruling
	if d == nil {
		return r
	}
	for i := range d.Statements() {
		v := d.View(i)
		parts := []*formula{p.principal(v.Principal, v.Effect == policy.ExplicitDeny), p.action(v.Action), p.resource(v.Resource, d.ResourcePatterns(i))}
		for j := range v.Conditions {
			if c := &v.Conditions[j]; p.names[c.Key] == "" {
				p.names[c.Key] = c.Name
			}
			parts = append(parts, p.condition(&v.Conditions[j]))
		}
		if f := all(parts...); v.Effect == policy.Allow {
			r.allow = append(r.allow, f)
		} else {
			r.deny = append(r.deny, f)
		}
	}
	return r
}

// atom interns an atom of a dimension; property says what it is in each space.
func (p *problem) atom(dim int, name string, property func(space int) property) *atom {
	name = fmt.Sprintf("%d %s", dim, name)
	if a, ok := p.atoms[name]; ok {
		return a
	}
	a := &atom{name: name, id: len(p.atoms), dim: dim}
	for i := range p.dims[dim].spaces {
		a.on = append(a.on, property(i))
	}
	p.atoms[name] = a
	return a
}

// predicate interns a predicate of a dimension's texts.
func (p *problem) predicate(dim int, name string, made func() predicate) *predicate {
	name = fmt.Sprintf("%d %s", dim, name)
	if have, ok := p.preds[name]; ok {
		return have
	}
	pred := made()
	pred.name = name
	p.preds[name] = &pred
	p.dims[dim].preds = append(p.dims[dim].preds, &pred)
	return &pred
}

func (p *problem) action(e policy.ElementView) *formula {
	var list [][]item
	for _, v := range e.Values {
		list = append(list, wildcards(strings.ToLower(v)))
	}
	f := p.text(dimAction, p.globMeaning(list))
	if e.Negated {
		return not(f)
	}
	return f
}

// wildcards is the glob of a text with * and ?.
func wildcards(s string) []item {
	var out []item
	for _, r := range s {
		switch r {
		case '*':
			out = append(out, item{kind: itemStar, class: anyClass, any: true})
		case '?':
			out = append(out, item{kind: itemOne, class: anyClass, any: true})
		default:
			out = append(out, item{kind: itemRune, r: r})
		}
	}
	return out
}

// text is a property of a dimension that is always one text.
func (p *problem) text(dim int, m meaning) *formula {
	pred := p.predicate(dim, m.name, func() predicate { return predicate{language: m.language()} })
	return holds(p.atom(dim, m.name, func(int) property { return property{pred: pred} }))
}

func (p *problem) resource(e policy.ElementView, patterns []policy.ResourcePattern) *formula {
	var list [][]item
	var open []*formula
	everything := false
	for _, pattern := range patterns {
		if everything = everything || pattern.Everything; pattern.Everything || pattern.Never {
			continue
		}
		if prefix, ok := p.given.api(); ok && pattern.Short {
			pattern = policy.ResourcePattern{Parts: longForm(prefix, pattern.Parts[0])}
		}
		for _, v := range p.variants(pattern.Parts) {
			g := glob{problem: p}
			if pattern.Short {
				g.name.WriteString("short ")
				g.items = append(g.items, shapeItems("arn:{n*}:execute-api:{n*}:{n*}:{N*}/")...)
				g.add(v.parts[0], anyClass)
			} else {
				g.arn(v.parts)
			}
			switch {
			case g.never:
			case g.open:
				open = append(open, p.open(&g, func(m meaning) *atom {
					pred := p.predicate(dimResource, m.name, func() predicate { return predicate{language: m.language()} })
					return p.atom(dimResource, g.name.String(), func(int) property { return property{pred: pred} })
				}))
			case v.when != always:
				open = append(open, all(v.when, p.text(dimResource, p.globMeaning([][]item{g.items}))))
			default:
				list = append(list, g.items)
			}
		}
	}
	f := some(append(open, truth(everything), p.text(dimResource, p.globMeaning(list)))...)
	if e.Negated {
		return not(f)
	}
	return f
}

// longForm is an abbreviated resource of a known API, as it would be read if it
// were written in full.
func longForm(prefix string, rest []policy.Piece) [][]policy.Piece {
	texts := strings.SplitN(prefix, ":", 6)
	parts := make([][]policy.Piece, len(texts))
	for i, t := range texts {
		if t != "" {
			parts[i] = []policy.Piece{{Kind: policy.PieceText, Text: t}}
		}
	}
	last := &parts[len(parts)-1]
	if len(rest) > 0 && rest[0].Kind == policy.PieceText {
		(*last)[0].Text += rest[0].Text
		rest = rest[1:]
	}
	*last = append(*last, rest...)
	return parts
}

// open is a property that depends on variables which are left open: its atom
// is true only where the pattern with * for each variable matches, and where
// the variables have values.
func (p *problem) open(g *glob, made func(meaning) *atom) *formula {
	a := made(p.globMeaning([][]item{g.items}))
	a.relaxed = true
	f := holds(a)
	for _, key := range g.needs {
		p.links = append(p.links, some(not(f), not(holds(p.absent(key)))))
	}
	return f
}

// glob is a pattern being made of pieces.
type glob struct {
	problem *problem
	items   []item
	never   bool            // a variable without a value
	open    bool            // variables are left open
	name    strings.Builder // of an open pattern, with its variables
	needs   []string        // variables that must have a value
}

func (g *glob) add(pieces []policy.Piece, c class) {
	everything := c(':') && c('/')
	literal := func(s string) {
		for _, r := range s {
			g.never = g.never || !c(r) // a colon that separates nothing can't be in this part
			g.items = append(g.items, item{kind: itemRune, r: r})
		}
	}
	fmt.Fprintf(&g.name, "%v%#v", everything, pieces)
	for _, piece := range pieces {
		switch piece.Kind {
		case policy.PieceText:
			literal(piece.Text)
		case policy.PieceAny:
			g.items = append(g.items, item{kind: itemStar, class: c, any: everything})
		case policy.PieceOne:
			g.items = append(g.items, item{kind: itemOne, class: c, any: everything})
		case policy.PieceVariable:
			value, known, open := g.problem.variable(&piece)
			switch {
			case open:
				g.open = true
				g.items = append(g.items, item{kind: itemStar, class: c, any: everything})
				if !piece.HasDefault {
					g.needs = append(g.needs, piece.Key)
				}
			case known:
				literal(value)
			default:
				g.never = true
			}
		}
	}
}

// arn adds the parts of an ARN pattern. Of fewer than six the last ends in a
// star, which swallows all later parts.
func (g *glob) arn(parts [][]policy.Piece) {
	for i, part := range parts {
		if i > 0 {
			g.items = append(g.items, item{kind: itemRune, r: ':'})
		}
		if i < 5 {
			g.add(part, notColon)
		} else {
			g.add(part, anyClass)
		}
	}
	if len(parts) < 6 && len(g.items) > 0 {
		g.items[len(g.items)-1] = item{kind: itemStar, class: anyClass, any: true}
	}
}

// variant is a pattern under a condition on its variables.
type variant struct {
	parts [][]policy.Piece
	when  *formula
}

// variants tells, where variables are left open, whether each variable with a
// default has a value: without one the default is literal, with one the
// pattern is the same as that without the default.
func (p *problem) variants(parts [][]policy.Piece) []variant {
	const most = 8
	list := []variant{{parts, always}}
	for i := range parts {
		for j, piece := range parts[i] {
			if piece.Kind != policy.PieceVariable || !piece.HasDefault || len(list) >= most {
				continue
			}
			if _, _, open := p.variable(&piece); !open || p.dims[p.dim(piece.Key)].lists() {
				continue
			}
			with := func(v variant, to policy.Piece, when *formula) variant {
				v.parts = slices.Clone(v.parts)
				v.parts[i] = slices.Clone(v.parts[i])
				v.parts[i][j] = to
				return variant{v.parts, all(v.when, when)}
			}
			absent := holds(p.absent(piece.Key))
			var next []variant
			for _, v := range list {
				next = append(next, with(v, policy.Piece{Kind: policy.PieceText, Text: piece.Text}, absent),
					with(v, policy.Piece{Kind: policy.PieceVariable, Key: piece.Key}, not(absent)))
			}
			list = next
		}
	}
	return list
}

// variable is what a variable stands for; open says that this is left open.
func (p *problem) variable(v *policy.Piece) (value string, known, open bool) {
	if !v.List {
		if values, fixed := p.given.fixed(v.Key); fixed {
			if len(values) == 1 {
				return values[0], true, false
			}
		} else if taken, ok := p.variables[v.Key]; ok {
			if taken != nil {
				return *taken, true, false
			}
		} else if p.relaxed {
			return "", false, true
		}
	}
	return v.Text, v.HasDefault, false
}

func (p *problem) principal(v *policy.PrincipalView, deny bool) *formula {
	switch {
	case v == nil:
		return always // a policy of the caller's own
	case v.Anyone:
		return truth(!v.Negated)
	}
	account := p.fact("aws:principalaccount", v.Accounts)
	self, role := p.fact("arn", v.Exact), p.fact("role", v.Roles)
	switch {
	case !v.Negated:
		return some(account, self, role)
	case !deny:
		return not(some(account, self, role))
	}
	// A Deny spares those who are listed at every level (§3).
	return not(all(account, some(p.kind("root"), all(self, some(role, not(some(p.kind("session"), p.kind("session with id"))))))))
}

// kind is being a caller of a kind.
func (p *problem) kind(name string) *formula {
	spaces := p.dims[dimCaller].spaces
	return holds(p.atom(dimCaller, "is "+name, func(i int) property { return property{known: true, truth: spaces[i].name == name} }))
}

func (p *problem) anonymous() *atom {
	return p.atom(dimCaller, "is anonymous", func(i int) property { return property{known: true, truth: i == 0} })
}

// fact is that a fact about the caller is one of the texts.
func (p *problem) fact(fact string, texts []string) *formula {
	if len(texts) == 0 {
		return never
	}
	list := make([][]item, len(texts))
	for i, t := range texts {
		list[i] = exactly(t)
	}
	return holds(p.callerAtom(fact, p.globMeaning(list), false))
}

// callerAtom is that a fact about the caller has a meaning, or lacks it.
func (p *problem) callerAtom(fact string, m meaning, lacking bool) *atom {
	return p.atom(dimCaller, fmt.Sprintf("%s %v %s", fact, lacking, m.name), func(i int) property {
		if i == 0 {
			return property{known: true} // nothing is known of the anonymous caller
		}
		k := &callerKinds[i-1]
		if text, ok := k.fixed[fact]; ok {
			return property{known: true, truth: m.holds(text) != lacking}
		}
		if _, ok := k.facts[fact]; !ok {
			return property{known: true}
		}
		return property{lacking: lacking, pred: p.predicate(dimCaller, fmt.Sprintf("%d %s %s", i, fact, m.name), func() predicate {
			if m.language != nil {
				return predicate{language: k.project(fact, m.language())}
			}
			return predicate{typed: &typed{kind: typeOpaque, holds: func(t string) bool { return m.holds(k.text(fact, t)) }}}
		})}
	})
}
