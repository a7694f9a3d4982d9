package diff

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/posternhq/postern/dataplane/policy"
)

// Options narrow a comparison; the zero value compares all requests.
type Options struct {
	// Given fixes parts of all requests: each member that is not empty, and
	// each key of its Context, where an empty list means that the key is absent.
	Given *policy.Query
	// Under is how the ARN of each resource begins, for policies of one API or
	// stage: arn:aws:execute-api:us-west-2:123456789012:abcde12345/prod/.
	Under string
	// Anonymous leaves only callers whom nobody has authenticated.
	Anonymous bool
	// Budget bounds the work, in steps of about ten nanoseconds; 0 means
	// DefaultBudget. A comparison that exceeds it is unknown.
	Budget int
}

// DefaultBudget takes some seconds to spend; few comparisons need a hundredth.
const DefaultBudget = 300_000_000

// Compare finds what a change of policies changes: requests that new allows
// and old does not, and the reverse. A nil document is no policy at all, which
// allows nothing. Both documents are attached to a resource, or both to a
// caller. An error says which part of the options has no meaning.
func Compare(old, new *policy.Document, o Options) (Result, error) {
	g, err := newGiven(&o)
	if err != nil {
		return Result{}, err
	}
	if o.Budget == 0 {
		o.Budget = DefaultBudget
	}
	if text(old) != nil && bytes.Equal(text(old), text(new)) {
		return Result{Verdict: Equal}, nil
	}
	c := &comparison{old: old, new: new, given: g, budget: &budget{left: o.Budget}, total: o.Budget}
	if c.judge, err = newJudge(old, new); err != nil {
		return Result{}, err
	}
	c.variables = c.variableKeys()
	var r Result
	for _, d := range directions {
		w, reason := c.find(&d)
		if w != nil {
			*d.slot(&r) = w
		} else if reason != "" {
			r.Undecided = append(r.Undecided, d.name)
			if r.Reason == "" {
				r.Reason = reason
			}
		}
	}
	switch {
	case r.NewlyAllowed != nil || r.NewlyDenied != nil:
		r.Verdict = Different
	case slices.Contains(r.Undecided, newlyAllowed) || slices.Contains(r.Undecided, newlyDenied):
		r.Verdict = Unknown
	default:
		r.Verdict = Equal
	}
	if len(r.Undecided) == 0 {
		r.Reason = ""
	}
	return r, nil
}

func text(d *policy.Document) []byte {
	if d == nil {
		return nil
	}
	return d.Text()
}

// direction is one way in which two decisions may differ.
type direction struct {
	name string
	slot func(*Result) **Witness
	// goals are what such a request meets, and shows whether effects do.
	goals func(old, new ruling) []*formula
	shows func(old, new policy.Effect) bool
}

const (
	newlyAllowed = "newly_allowed"
	newlyDenied  = "newly_denied"
)

var directions = []direction{
	{newlyAllowed, func(r *Result) **Witness { return &r.NewlyAllowed },
		func(old, new ruling) []*formula { return []*formula{new.allows(), not(old.allows())} },
		func(old, new policy.Effect) bool { return new == policy.Allow && old != policy.Allow }},
	{newlyDenied, func(r *Result) **Witness { return &r.NewlyDenied },
		func(old, new ruling) []*formula { return []*formula{old.allows(), not(new.allows())} },
		func(old, new policy.Effect) bool { return old == policy.Allow && new != policy.Allow }},
	{"newly_explicit", func(r *Result) **Witness { return &r.NewlyExplicit },
		func(old, new ruling) []*formula { return []*formula{new.denies(), old.silent()} },
		func(old, new policy.Effect) bool { return old == policy.Silent && new == policy.ExplicitDeny }},
	{"newly_silent", func(r *Result) **Witness { return &r.NewlySilent },
		func(old, new ruling) []*formula { return []*formula{old.denies(), new.silent()} },
		func(old, new policy.Effect) bool { return old == policy.ExplicitDeny && new == policy.Silent }},
}

type comparison struct {
	old, new  *policy.Document
	given     *given
	judge     *judge
	budget    *budget
	total     int
	variables []string
	exact     *problem // without variables
	relaxed   *problem // with variables left open
}

// variableKeys are the keys whose values the policies use as variables and
// that are not given.
func (c *comparison) variableKeys() []string {
	keys := map[string]bool{}
	for _, d := range []*policy.Document{c.old, c.new} {
		eachKey(d, func(key string, variable bool) {
			if _, fixed := c.given.fixed(key); variable && !fixed {
				keys[key] = true
			}
		})
	}
	return slices.Sorted(maps.Keys(keys))
}

// The reasons for not knowing.
const (
	reasonBudget    = "the policies are too large to compare within the budget"
	reasonVariables = "no difference was found, but policy variables tie conditions together in a way that can't be decided"
	reasonTypes     = "no difference was found, but a condition key is compared as text and as an address, number or date at once"
)

// errReplay is a fault of this package: what it takes for a witness is none.
var errReplay = errors.New("a witness did not pass its replay")

// find looks for a witness of a direction. Without one, reason says why there
// may be one all the same; empty: there is none.
func (c *comparison) find(d *direction) (w *Witness, reason string) {
	if len(c.variables) == 0 {
		if c.exact == nil {
			c.exact = newProblem(c.old, c.new, c.given, nil, false)
		}
		w, reason = c.findIn(c.exact, d)
		return w, reason
	}
	if c.relaxed == nil {
		c.relaxed = newProblem(c.old, c.new, c.given, nil, true)
	}
	model, s := c.search(c.relaxed, loose, d)
	switch {
	case model == nil && s.budget.spent():
		return nil, reasonBudget
	case model == nil && !s.doubt:
		return nil, "" // none even with variables that stand for anything
	}
	// There may be one: take values for the variables and look.
	var hypothetical *Witness
	words := c.words(model)
	tried := 0
	for values := range assignments(c.variables, words) {
		if tried++; tried > maxAssignments || c.budget.spent() {
			break
		}
		c.budget.spend(readingSteps * (len(text(c.old)) + len(text(c.new))))
		w, _ := c.findIn(newProblem(c.old, c.new, c.given, values, false), d)
		switch {
		case w == nil:
		case !w.Hypothetical:
			return w, ""
		case hypothetical == nil:
			hypothetical = w
			tried = max(tried, maxAssignments-12) // a few more, for one that edges make
		}
	}
	if hypothetical != nil {
		return hypothetical, ""
	}
	return nil, reasonVariables
}

const (
	maxAssignments = 150
	// readingSteps is what reading one byte of the policies costs.
	readingSteps = 50
)

// findIn looks for a witness where variables have their values.
func (c *comparison) findIn(p *problem, d *direction) (*Witness, string) {
	model, s := c.search(p, loose, d)
	if model == nil {
		switch {
		case s.budget.spent():
			return nil, reasonBudget
		case s.doubt:
			return nil, reasonTypes
		}
		return nil, ""
	}
	for _, m := range []mode{private, public} {
		if model, _ := c.search(p, m, d); model != nil {
			if w := c.witness(p, m, model, d); w != nil {
				return w, ""
			}
		}
	}
	if w := c.witness(p, loose, model, d); w != nil {
		return w, ""
	}
	return nil, errReplay.Error()
}

func (c *comparison) search(p *problem, m mode, d *direction) ([]*value, *search) {
	share := min(c.budget.left, c.total/8)
	s := &search{dims: p.dims, mode: m, budget: &budget{left: share}}
	var goals []*formula
	for _, f := range append(d.goals(p.old, p.new), p.links...) {
		goals = appendGoal(goals, f)
	}
	if m != loose {
		for _, f := range p.edgeLinks {
			goals = appendGoal(goals, f)
		}
	}
	found := s.run(goals)
	c.budget.spend(share - s.budget.left)
	return found, s
}

func appendGoal(goals []*formula, f *formula) []*formula {
	if f.kind == isAll {
		return append(goals, f.parts...)
	}
	return append(goals, f)
}

// words are candidates for the values of variables: the words of the policies
// and of a request that was found with variables left open.
func (c *comparison) words(model []*value) []string {
	var out []string
	add := func(text string) {
		for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("/:*?$", r) }) {
			if !strings.ContainsAny(word, "{}") {
				out = append(out, word)
			}
		}
	}
	for _, v := range model {
		for _, t := range v.texts {
			add(strings.ReplaceAll(t, string(separator), "/"))
		}
	}
	literal := func(pieces []policy.Piece) {
		for _, p := range pieces {
			if p.Kind == policy.PieceText || p.HasDefault {
				add(p.Text)
				if !strings.ContainsAny(p.Text, "/:") {
					out = append(out, p.Text)
				}
			}
		}
	}
	for _, d := range []*policy.Document{c.old, c.new} {
		if d == nil {
			continue
		}
		for i := range d.Statements() {
			for _, r := range d.ResourcePatterns(i) {
				if n := len(r.Parts); n == 6 || r.Short {
					literal(r.Parts[n-1])
				}
			}
			v := d.View(i)
			for j := range v.Conditions {
				for _, pattern := range v.Conditions[j].Patterns() {
					literal(pattern)
				}
				if len(v.Conditions[j].Values[0]) < 64 {
					out = append(out, v.Conditions[j].Values[0])
				}
			}
		}
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(out, func(w string) bool {
		drop := w == "" || seen[w] || strings.Contains(w, "${")
		seen[w] = true
		return drop
	})
}

// assignments yields values for variables, the likely ones first: all absent,
// all alike, then each with every word while the others are absent or a fresh word.
func assignments(keys, words []string) func(func(map[string]*string) bool) {
	const freshWord = "x"
	return func(yield func(map[string]*string) bool) {
		with := func(otherwise *string, key string, v *string) map[string]*string {
			m := make(map[string]*string, len(keys))
			for _, k := range keys {
				m[k] = otherwise
			}
			if key != "" {
				m[key] = v
			}
			return m
		}
		unknown := freshWord
		if !yield(with(nil, "", nil)) || !yield(with(&unknown, "", nil)) {
			return
		}
		others := []*string{nil, &unknown}
		if len(keys) == 1 {
			others = others[:1]
		}
		empty := ""
		for _, otherwise := range others {
			for _, key := range keys {
				if !yield(with(otherwise, key, &unknown)) || !yield(with(otherwise, key, nil)) || !yield(with(otherwise, key, &empty)) {
					return
				}
			}
		}
		for _, word := range words {
			for _, otherwise := range others {
				for _, key := range keys {
					if !yield(with(otherwise, key, &word)) {
						return
					}
				}
			}
			if len(keys) > 1 && !yield(with(&word, "", nil)) {
				return
			}
		}
	}
}
