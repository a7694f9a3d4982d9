package diff

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// mode is a universe of requests to search, from what edges make to whatever
// can be stated.
type mode uint8

const (
	private mode = iota // through an endpoint
	public              // from the internet
	loose               // any request that can be stated
	numModes
)

// A dimension is a part of a request that varies by itself: the action, the
// resource, the caller with all that follows from him, the time, or a
// condition key. Its values fall into spaces.
type dimension struct {
	name    string
	spaces  []*space
	preds   []*predicate // all that atoms ask about its texts
	letters []rune       // made when first needed
	memo    map[string]*value
}

// space is one kind of value that a dimension can have: absent, a text, a list
// of texts. In a space without shapes every atom is constant.
type space struct {
	name string
	// in says in which modes the space exists.
	in [numModes]bool
	// list: the value is a list of one or more texts, except one empty text.
	list bool
	// fixed is the value of a space that has only one, nil for absence; it
	// matters if texts is false.
	fixed []string
	texts bool
	// edge and stated are the texts that edges make, and all.
	edge, stated *base
}

// base is a set of texts.
type base struct {
	languages []language
	test      func(string) bool // nil: true
	// all: it holds every text but the empty one.
	all bool
	// first are texts to try before searching.
	first []string
}

func (b *base) contains(text string) bool {
	for _, l := range b.languages {
		if !contains(l, text) {
			return false
		}
	}
	return (b.test == nil || b.test(text)) && utf8.ValidString(text)
}

func (s *space) base(m mode) *base {
	if m == loose || s.edge == nil {
		return s.stated
	}
	return s.edge
}

// lists says whether the dimension has values of several texts.
func (d *dimension) lists() bool {
	return slices.ContainsFunc(d.spaces, func(s *space) bool { return s.list || len(s.fixed) > 1 })
}

// predicate is a property of one text. It is a language, or is of a type whose
// values are partitioned by representatives.
type predicate struct {
	name     string
	language language
	typed    *typed
}

// typed is a property that texts of a type have or have not.
type typed struct {
	kind typeKind
	// holds decides a text; representatives are texts of the type, one at
	// least for each side of each bound.
	holds           func(string) bool
	representatives []string
}

type typeKind uint8

const (
	typeAddress typeKind = iota
	typeNumber
	typeDate
	typeOpaque // nothing is known but the truth for each text
	numTypes
)

func (p *predicate) holds(text string) bool {
	if p.language != nil {
		return contains(p.language, text)
	}
	return p.typed.holds(text)
}

// atom is a property of a dimension's value: that some text of it has the
// predicate, or lacks it if lacking is set.
type atom struct {
	name string
	id   int
	dim  int
	on   []property // by space
	// relaxed: the atom stands for a property that depends on other dimensions
	// as well. True implies on; false implies nothing.
	relaxed bool
}

type property struct {
	known, truth bool
	pred         *predicate
	lacking      bool
}

// value is a value of a dimension.
type value struct {
	space int
	texts []string
	truth map[*atom]bool // of what was asked
	// doubt: the texts do not have all that was asked of the value, although
	// each type of property alone could be had.
	doubt bool
}

func (v *value) has(a *atom) bool {
	if t, ok := v.truth[a]; ok {
		return t
	}
	t := a.of(v)
	v.truth[a] = t
	return t
}

func (a *atom) of(v *value) bool {
	on := &a.on[v.space]
	switch {
	case a.relaxed:
		return false // until it is asserted
	case on.known:
		return on.truth
	}
	return slices.ContainsFunc(v.texts, func(t string) bool { return on.pred.holds(t) != on.lacking })
}

// demand is an atom with the truth that it must have.
type demand struct {
	atom *atom
	want bool
}

// solve finds a value that meets the demands: an exact one if there is any,
// else one in doubt; nil if there can be none, or the budget is spent.
func (d *dimension) solve(m mode, demands []demand, b *budget) *value {
	key := demandKey(m, demands)
	if v, ok := d.memo[key]; ok {
		return v
	}
	var doubtful *value
	for i, s := range d.spaces {
		if !s.in[m] {
			continue
		}
		v := d.inSpace(m, i, demands, b)
		if v != nil && !v.doubt {
			d.memo[key] = v
			return v
		}
		if doubtful == nil {
			doubtful = v
		}
	}
	if !b.spent() {
		d.memo[key] = doubtful
	}
	return doubtful
}

func demandKey(m mode, demands []demand) string {
	ids := make([]int, len(demands))
	for i, w := range demands {
		ids[i] = w.atom.id << 1
		if w.want {
			ids[i]++
		}
	}
	slices.Sort(ids)
	var k strings.Builder
	fmt.Fprintf(&k, "%d", m)
	for _, id := range slices.Compact(ids) {
		fmt.Fprintf(&k, " %d", id)
	}
	return k.String()
}

func (d *dimension) inSpace(m mode, i int, demands []demand, b *budget) *value {
	s := d.spaces[i]
	var some, none []filter // properties that one text must have, and that all must
	for _, w := range demands {
		on := &w.atom.on[i]
		switch {
		case w.atom.relaxed && !w.want:
		case on.known && on.truth != w.want:
			return nil
		case on.known:
		case on.pred == nil: // relaxed, and nothing is known of it
		case w.want:
			some = append(some, filter{on.pred, !on.lacking})
		default:
			none = append(none, filter{on.pred, on.lacking})
		}
	}
	v := &value{space: i, truth: make(map[*atom]bool, len(demands))}
	for _, w := range demands {
		v.truth[w.atom] = w.want
	}
	if !s.texts {
		v.texts = s.fixed
		for _, f := range some {
			if !slices.ContainsFunc(v.texts, f.passes) {
				return nil
			}
		}
		for _, f := range none {
			if slices.ContainsFunc(v.texts, func(t string) bool { return !f.passes(t) }) {
				return nil
			}
		}
		return v
	}
	base := s.base(m)
	if !s.list {
		text, verdict := d.text(base, slices.Concat(some, none), b)
		v.texts, v.doubt = []string{text}, verdict == maybe
		if verdict == no {
			return nil
		}
		return v
	}
	if len(some) == 0 {
		some = []filter{{pred: nil}}
	}
	for _, f := range some {
		filters := none
		if f.pred != nil {
			if slices.ContainsFunc(v.texts, f.passes) {
				continue // a text that is there already has it
			}
			filters = append([]filter{f}, none...)
		}
		text, verdict := d.text(base, filters, b)
		if verdict == no {
			return nil
		}
		v.doubt = v.doubt || verdict == maybe
		v.texts = append(v.texts, text)
	}
	if len(v.texts) == 1 && v.texts[0] == "" {
		v.texts = []string{"", ""} // one empty text alone is a space of its own
	}
	return v
}

// filter is a predicate that a text must have, or must not.
type filter struct {
	pred *predicate
	want bool
}

func (f filter) passes(text string) bool { return f.pred.holds(text) == f.want }

type answer uint8

const (
	no answer = iota
	maybe
	yes
)

// text finds a text of the base that passes the filters. Languages alone, or a
// single type alone, are decided exactly. A mixture is decided by each type for
// itself: if one of them can't be had there is no text; if all can, there may be.
func (d *dimension) text(base *base, filters []filter, b *budget) (string, answer) {
	passes := func(t string) bool {
		return base.contains(t) && !slices.ContainsFunc(filters, func(f filter) bool { return !f.passes(t) })
	}
	for _, t := range base.first {
		if passes(t) {
			return t, yes
		}
	}
	in := slices.Clone(base.languages)
	var out []language
	var typedFilters [numTypes][]filter
	types, regular := 0, 0
	for _, f := range filters {
		switch {
		case f.pred.typed != nil:
			k := f.pred.typed.kind
			if typedFilters[k] == nil {
				types++
			}
			typedFilters[k] = append(typedFilters[k], f)
		case f.want:
			in = append(in, f.pred.language)
			regular++
		default:
			out = append(out, f.pred.language)
			regular++
		}
	}
	// Whether each type alone can be had, by its representatives.
	for k := range typedFilters {
		if typedFilters[k] == nil {
			continue
		}
		feasible := typeKind(k) == typeOpaque
		for _, t := range d.representatives(typeKind(k)) {
			if passes(t) {
				return t, yes
			}
			feasible = feasible || !slices.ContainsFunc(typedFilters[k], func(f filter) bool { return !f.passes(t) })
		}
		if !feasible {
			return "", no
		}
	}
	if types == 1 && regular == 0 && base.all && typedFilters[typeOpaque] == nil {
		return "", no // the representatives are complete
	}
	if d.letters == nil {
		d.letters = d.alphabet()
	}
	accept := passes
	if types == 0 && base.test == nil {
		accept = nil
	}
	text, ok, refused := shortest(d.letters, in, out, accept, b)
	switch {
	case ok:
		return text, yes
	case !refused:
		return "", no
	}
	// The shortest texts are not of the types wanted; longer ones may be.
	for k := range typedFilters {
		if typedFilters[k] == nil {
			continue
		}
		for _, l := range typeShapes[k] {
			if text, ok, _ := shortest(d.letters, append(slices.Clip(in), shape(l)), out, accept, b); ok {
				return text, yes
			}
		}
	}
	text, _, _ = shortest(d.letters, in, out, nil, b)
	return text, maybe
}

// typeShapes are forms of texts to try where a type meets other properties:
// first what is not of the type.
var typeShapes = [numTypes][]string{
	typeAddress: {"{*}{q}{*}", "{1}.{1}.{1}.{1}", "{1}{d}.{1}.{1}.{1}", "{1}{d}.{d}.{d}.{1}{d}{d}"},
	typeNumber:  {"{*}{q}{*}", "{d+}", "-{d+}", "{d+}.{d+}"},
	typeDate:    {"{*}{q}{*}", "{d4}", "{d+}", "20{d2}-0{1}-0{1}T0{d}:0{d}:0{d}Z"},
	typeOpaque:  {"20{d2}-0{1}-0{1}T0{d}:0{d}:0{d}Z"},
}

// representatives of all properties of a type in this dimension.
func (d *dimension) representatives(k typeKind) []string {
	var out []string
	for _, p := range d.preds {
		if p.typed != nil && p.typed.kind == k {
			out = append(out, p.typed.representatives...)
		}
	}
	if k == typeNumber {
		// Of numbers each property knows only those around its own bounds; here
		// the bounds of all meet, and there is always one more between two.
		out = numbersAround(out)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (d *dimension) alphabet() []rune {
	var all []language
	for _, p := range d.preds {
		if p.language != nil {
			all = append(all, p.language)
		}
	}
	for _, s := range d.spaces {
		for _, b := range []*base{s.edge, s.stated} {
			if b != nil {
				all = append(all, b.languages...)
			}
		}
	}
	return alphabet(all)
}
