package diff

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/dataplane/policy"
)

// condition is one operator on one key as a formula: what §6.2 and §6.3 say of
// absence, negation, IfExists and the set operators.
func (p *problem) condition(c *policy.ConditionView) *formula {
	absent := holds(p.absent(c.Key))
	if c.Operator == "Null" {
		bools := c.Bools()
		return some(all(truth(slices.Contains(bools, true)), absent), all(truth(slices.Contains(bools, false)), not(absent)))
	}
	closed, open := p.meanings(c)
	set := c.ForAll || c.ForAny
	var f *formula
	switch {
	case !set:
		f = some(append(open(), holds(p.exists(c.Key, closed, false, false)))...)
		if c.Negated {
			f = not(f)
		}
	case c.ForAny == c.Negated: // some value lacks, or not all values have
		f = p.lacking(c, closed, open)
		if c.ForAll {
			f = not(f)
		}
	default: // some value has, or all values lack
		f = some(append(open(), holds(p.exists(c.Key, closed, false, true)))...)
		if c.ForAll {
			f = not(f)
		}
	}
	if c.IfExists {
		f = some(f, absent)
	}
	return f
}

// lacking is that some value of the key matches nothing of the condition.
func (p *problem) lacking(c *policy.ConditionView, closed meaning, open func() []*formula) *formula {
	list := open()
	if len(list) == 0 {
		return holds(p.exists(c.Key, closed, true, true))
	}
	if !p.dims[p.dim(c.Key)].lists() {
		// Of one value this is that it is there and does not match.
		return all(not(some(append(list, holds(p.exists(c.Key, closed, false, true)))...)), holds(p.exists(c.Key, p.globMeaning(nil), true, true)))
	}
	a := p.atom(p.dim(c.Key), fmt.Sprintf("lacks %s %q", c.Operator, c.Values), func(i int) property {
		return property{known: len(p.dims[p.dim(c.Key)].spaces[i].fixed) == 0 && i != spaceText}
	})
	a.relaxed = true
	return holds(a)
}

// meanings are a condition's values without open variables, and a function
// that makes an atom for each of the others.
func (p *problem) meanings(c *policy.ConditionView) (closed meaning, open func() []*formula) {
	var list [][]item
	var opened []variantGlob
	switch {
	case strings.HasPrefix(c.Operator, "String"), strings.HasPrefix(c.Operator, "Arn"), c.Operator == "Bool":
		for _, pattern := range c.Patterns() {
			parts := [][]policy.Piece{pattern}
			if strings.HasPrefix(c.Operator, "Arn") {
				if parts = policy.PatternParts(pattern); len(parts) != 6 {
					continue
				}
			}
			for _, v := range p.variants(parts) {
				g := &glob{problem: p}
				if len(parts) == 6 {
					g.arn(v.parts)
				} else {
					g.add(v.parts[0], anyClass)
				}
				switch {
				case strings.HasSuffix(c.Operator, "IgnoreCase"):
					g.ignoreCase()
				case c.Operator == "Bool":
					g.boolean()
				}
				switch {
				case g.never:
				case g.open || v.when != always:
					opened = append(opened, variantGlob{g, v.when})
				default:
					list = append(list, g.items)
				}
			}
		}
	case c.Operator == "BinaryEquals":
		for _, b := range c.Binaries() {
			list = append(list, exactly(b))
		}
	}
	closed = p.meaningOf(c, list)
	return closed, func() []*formula {
		var out []*formula
		for _, v := range opened {
			g := v.glob
			if !g.open {
				out = append(out, all(v.when, holds(p.exists(c.Key, p.globMeaning([][]item{g.items}), false, c.ForAll || c.ForAny))))
				continue
			}
			out = append(out, p.open(g, func(m meaning) *atom {
				a := *p.exists(c.Key, m, false, false)
				name := "open " + strings.Replace(c.Operator, "ArnEquals", "ArnLike", 1) + " " + c.Key + " " + g.name.String()
				return p.atom(a.dim, name, func(i int) property { return a.on[i] })
			}))
		}
		return out
	}
}

type variantGlob struct {
	glob *glob
	when *formula
}

func (g *glob) ignoreCase() {
	for i := range g.items {
		if g.items[i].kind == itemRune {
			g.items[i].kind = itemFold
		}
	}
}

// boolean leaves true and false, in any case, and nothing else.
func (g *glob) boolean() {
	var text strings.Builder
	for _, it := range g.items {
		if it.kind == itemRune {
			text.WriteRune(it.r)
		}
	}
	if s := text.String(); !g.open && !strings.EqualFold(s, "true") && !strings.EqualFold(s, "false") {
		g.never = true
	}
	g.ignoreCase()
}

// dim is the dimension whose values decide a key.
func (p *problem) dim(key string) int {
	name := key
	if values, fixed := p.given.fixed(key); fixed {
		if i, ok := p.byName[key]; ok {
			return i
		}
		return p.add(key, newFixedKey(key, values))
	}
	switch {
	case slices.Contains(callerKeys, key):
		return dimCaller
	case key == epochTime || key == currentTime:
		name = currentTime
	}
	if i, ok := p.byName[name]; ok {
		return i
	}
	if name == currentTime {
		return p.add(name, newTime(p.given.shape))
	}
	return p.add(name, newKey(key, p.given.shape))
}

func (p *problem) add(name string, d *dimension) int {
	p.byName[name] = len(p.dims)
	p.dims = append(p.dims, d)
	return len(p.dims) - 1
}

// absent is that a key has no value.
func (p *problem) absent(key string) *atom {
	dim := p.dim(key)
	return p.atom(dim, "absent "+key, func(i int) property {
		s := p.dims[dim].spaces[i]
		switch {
		case dim == dimCaller && i > 0:
			k := &callerKinds[i-1]
			return property{known: true, truth: k.facts[key] == "" && k.fixed[key] == ""}
		case dim == dimCaller:
			return property{known: true, truth: true}
		}
		return property{known: true, truth: !s.texts && len(s.fixed) == 0}
	})
}

// exists is that some value of a key has the meaning, or lacks it. To a set
// operator one empty text is no value.
func (p *problem) exists(key string, m meaning, lacking, set bool) *atom {
	dim := p.dim(key)
	d := p.dims[dim]
	if dim == dimCaller {
		return p.callerAtom(key, m, lacking)
	}
	isTime := d.name == currentTime && len(d.spaces) == 2
	return p.atom(dim, fmt.Sprintf("%s %v %v %s", key, lacking, set, m.name), func(i int) property {
		s := d.spaces[i]
		switch {
		case !s.texts && len(s.fixed) == 0:
			return property{known: true}
		case !s.texts && len(s.fixed) == 1 && s.fixed[0] == "" && set:
			return property{known: true}
		case !s.texts:
			return property{known: true, truth: slices.ContainsFunc(s.fixed, func(t string) bool { return m.holds(t) != lacking })}
		case isTime:
			return p.timeProperty(key, m, lacking)
		}
		return property{lacking: lacking, pred: p.predicate(dim, m.name, func() predicate {
			if m.language != nil {
				return predicate{language: m.language()}
			}
			return predicate{typed: m.typed}
		})}
	})
}

// timeProperty is a meaning of a time key, as a property of the time in the
// form of aws:CurrentTime.
func (p *problem) timeProperty(key string, m meaning, lacking bool) property {
	text := isoText
	if key == epochTime {
		text = epochText
	}
	switch {
	case m.date:
		return property{lacking: lacking, pred: p.predicate(p.dim(key), key+" "+m.name, func() predicate {
			return predicate{language: timeRanges(&m, text)}
		})}
	case m.language == nil: // of a type that no time is of
		return property{known: true, truth: lacking}
	case key == epochTime:
		return property{lacking: lacking, pred: p.predicate(p.dim(key), key+" "+m.name, func() predicate {
			return predicate{typed: &typed{kind: typeOpaque, holds: func(t string) bool {
				at, err := time.Parse(timeLayout, t)
				return err == nil && m.holds(epochText(at.Unix()))
			}}}
		})}
	}
	return property{lacking: lacking, pred: p.predicate(p.dim(key), m.name, func() predicate { return predicate{language: m.language()} })}
}

// single is that a key has exactly the one value, given that it has it.
func (p *problem) single(key, v string) *formula {
	return not(holds(p.exists(key, p.globMeaning([][]item{exactly(v)}), true, false)))
}
