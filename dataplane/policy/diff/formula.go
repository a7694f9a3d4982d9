package diff

import "slices"

type formulaKind uint8

const (
	isTrue formulaKind = iota
	isFalse
	isDemand
	isAll // of parts
	isAny
)

// formula is a condition on requests without negation but at its atoms.
type formula struct {
	kind  formulaKind
	is    demand
	parts []*formula
}

var (
	always = &formula{kind: isTrue}
	never  = &formula{kind: isFalse}
)

func truth(b bool) *formula {
	if b {
		return always
	}
	return never
}

func holds(a *atom) *formula { return &formula{kind: isDemand, is: demand{a, true}} }

func all(parts ...*formula) *formula  { return join(isAll, isTrue, isFalse, parts) }
func some(parts ...*formula) *formula { return join(isAny, isFalse, isTrue, parts) }

// join makes an isAll or isAny, flat and without constants.
func join(kind, neutral, decisive formulaKind, parts []*formula) *formula {
	var out []*formula
	for _, p := range parts {
		switch p.kind {
		case decisive:
			return p
		case neutral:
		case kind:
			out = append(out, p.parts...)
		default:
			out = append(out, p)
		}
	}
	switch len(out) {
	case 0:
		return &formula{kind: neutral}
	case 1:
		return out[0]
	}
	return &formula{kind: kind, parts: out}
}

func not(f *formula) *formula {
	switch f.kind {
	case isTrue:
		return never
	case isFalse:
		return always
	case isDemand:
		return &formula{kind: isDemand, is: demand{f.is.atom, !f.is.want}}
	}
	parts := make([]*formula, len(f.parts))
	for i, p := range f.parts {
		parts[i] = not(p)
	}
	if f.kind == isAll {
		return some(parts...)
	}
	return all(parts...)
}

// search looks for a request for which all goals hold.
type search struct {
	dims   []*dimension
	mode   mode
	budget *budget
	// doubt: some request was passed over because it was in doubt, so a miss
	// proves nothing.
	doubt bool
}

// position is what a branch of the search has settled: for each dimension its
// demands and a value that meets them.
type position struct {
	demands [][]demand
	values  []*value
}

func (p *position) clone() *position {
	return &position{slices.Clone(p.demands), slices.Clone(p.values)}
}

func (p *position) asserted(d demand) (known, truth bool) {
	for _, have := range p.demands[d.atom.dim] {
		if have.atom == d.atom {
			return true, have.want == d.want
		}
	}
	return false, false
}

// met says whether the formula holds for the position's values.
func (p *position) met(f *formula) bool {
	switch f.kind {
	case isTrue:
		return true
	case isFalse:
		return false
	case isDemand:
		return p.values[f.is.atom.dim].has(f.is.atom) == f.is.want
	case isAll:
		for _, part := range f.parts {
			if !p.met(part) {
				return false
			}
		}
		return true
	}
	return slices.ContainsFunc(f.parts, p.met)
}

// refuted says that what is settled leaves the formula no way to hold.
func (p *position) refuted(f *formula) bool {
	switch f.kind {
	case isFalse:
		return true
	case isDemand:
		known, truth := p.asserted(f.is)
		return known && !truth
	case isAll:
		return slices.ContainsFunc(f.parts, p.refuted)
	case isAny:
		for _, part := range f.parts {
			if !p.refuted(part) {
				return false
			}
		}
		return true
	}
	return false
}

// run finds values for all dimensions for which the goals hold; nil if there
// are none, or, with the budget spent or doubt set, if none was found.
func (s *search) run(goals []*formula) []*value {
	p := &position{demands: make([][]demand, len(s.dims)), values: make([]*value, len(s.dims))}
	for i, d := range s.dims {
		if p.values[i] = d.solve(s.mode, nil, s.budget); p.values[i] == nil {
			return nil
		}
	}
	return s.extend(goals, p)
}

// extend settles one unmet goal after the other, so that it holds whatever else
// will be settled. It changes p and goals as it likes.
func (s *search) extend(goals []*formula, p *position) []*value {
	for {
		if !s.budget.spend(10 + len(goals)) {
			return nil
		}
		at, best := -1, 0
		for i, g := range goals {
			if p.met(g) {
				continue
			}
			// Fewest ways first: what must be is settled before what may be chosen.
			ways := 1
			if g.kind == isAny {
				ways = 0
				for _, part := range g.parts {
					if !p.refuted(part) {
						ways++
					}
				}
			} else if p.refuted(g) {
				ways = 0
			}
			if ways == 0 {
				return nil
			}
			if at < 0 || ways < best {
				at, best = i, ways
			}
		}
		if at < 0 {
			if slices.ContainsFunc(p.values, func(v *value) bool { return v.doubt }) {
				s.doubt = true
				return nil
			}
			return p.values
		}
		g := goals[at]
		switch g.kind {
		case isDemand:
			if !s.settle(g.is, p) {
				return nil
			}
		case isAll:
			goals = slices.Concat(goals[:at], g.parts, goals[at+1:])
		default:
			var before []*formula // ways that were tried: from then on they must not hold
			for _, part := range g.parts {
				if p.refuted(part) {
					continue
				}
				next := slices.Concat(goals[:at], goals[at+1:], before, []*formula{part})
				if found := s.extend(next, p.clone()); found != nil {
					return found
				}
				if s.budget.spent() {
					return nil
				}
				before = append(before, not(part))
			}
			return nil
		}
	}
}

func (s *search) settle(d demand, p *position) bool {
	i := d.atom.dim
	demands := append(slices.Clip(p.demands[i]), d)
	v := s.dims[i].solve(s.mode, demands, s.budget)
	if v == nil {
		return false
	}
	p.demands[i], p.values[i] = demands, v
	return true
}
