package policy

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Limits of an Explanation, so that it costs little more than some evaluations
// and fits a log, whatever policy and request hold.
const (
	maxShownValues  = 8   // of one element or key; a count tells of the others
	maxShownLength  = 200 // of one value, in bytes
	maxShownKeys    = 64  // condition keys of the request
	maxNearMisses   = 8
	maxNearTries    = 128 // changed requests that are evaluated to find near misses
	maxNearPerPlace = 3   // near misses that change the same part of the request
)

// Explanation is the whole account of one decision. It is made by Explain, does
// not refer to the Request any more, and prints as text (String) and as JSON.
type Explanation struct {
	// Decision is what Eval says.
	Decision Decision
	// Principal is the ARN of the caller, empty for an anonymous one.
	Principal string
	Action    string
	// Resource is the ARN of what is called.
	Resource string
	// Context holds each condition key that the policy mentions, in conditions
	// and variables, in the order of the document; at most 64.
	Context []ContextValue
	// Statements are those of the policy, in its order.
	Statements []ExplainedStatement
	// NearMisses are single changes of the request each of which would turn the
	// decision to Allow: not all that there are, but each was evaluated. An
	// allowed request has none.
	NearMisses []NearMiss
}

// ContextValue is what a request holds for one condition key.
type ContextValue struct {
	Key string `json:"key"` // as the policy spells it
	// Values are empty if the key is absent.
	Values []string `json:"values,omitempty"`
	More   int      `json:"more,omitempty"` // how many values are not shown
	Absent bool     `json:"absent,omitempty"`
}

// ExplainedStatement says whether a statement applies, and why.
type ExplainedStatement struct {
	Index   int    `json:"index"`
	Sid     string `json:"sid,omitempty"`
	Effect  string `json:"effect"` // Allow or Deny
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Applies bool   `json:"applies"`
	// Failed is the first element, in the order of the document, that does not
	// fit the request; nil if the statement applies.
	Failed *ElementTest `json:"failed,omitempty"`
	// FailedToo is how many elements behind it do not fit either.
	FailedToo int `json:"failed_too,omitempty"`
	// Held are the elements of a statement that applies.
	Held []ElementTest `json:"held,omitempty"`
}

// ElementTest is one element of a statement, or one key under one operator of
// its Condition, put to a request.
type ElementTest struct {
	Element  string `json:"element"` // Principal, Action, Resource, their Not forms, or Condition
	Operator string `json:"operator,omitempty"`
	Key      string `json:"key,omitempty"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	// Wanted are values of the policy, More how many of them are not shown.
	Wanted []string `json:"wanted,omitempty"`
	More   int      `json:"more,omitempty"`
	// Text says in words what the request has and the policy wants.
	Text string `json:"text"`

	plain bool // the element leaves nobody out, and needs no mention
}

// Explain says why the policy decides a request as it does. It always starts
// from the whole document, so that it needs the whole request also of a bound
// Program. It is for people: slow, and it allocates. The Request is used as by
// Eval.
func (p *Program) Explain(r *Request) *Explanation {
	x := explainer{req: r}
	out := &Explanation{Action: shown(r.Action), Resource: shown(string(r.Resource))}
	if r.Principal != nil {
		out.Principal = shown(r.Principal.ARN)
	}
	if p == nil {
		out.Decision = p.Eval(r)
		return out
	}
	x.doc = p.doc
	x.full = assemble(p.doc, compileStatements(p.doc))
	x.compiler = compiler{variables: p.doc.variables(), heads: make(map[string]*arnHead)}
	x.places = places{text: p.doc.src.text, line: 1, column: 1}
	out.Decision = x.full.Eval(r)
	out.Context = x.context()
	x.tests = make([][]elementTest, len(p.doc.statements))
	for i := range p.doc.statements {
		x.tests[i] = x.put(&p.doc.statements[i])
		out.Statements = append(out.Statements, x.statement(i))
	}
	out.NearMisses = x.nearMisses(out.Decision)
	return out
}

// explainer is one Explain under way.
type explainer struct {
	req      *Request
	doc      *Document
	full     *Program // of the whole document, bound to nothing
	compiler compiler
	places   places
	tests    [][]elementTest // of each statement
}

// elementTest is an element that was put to the request.
type elementTest struct {
	offset    int
	holds     bool
	grant     grant       // of a principal
	principal *principals // one of these three is set
	element   *element    // action or resource
	condition *condition  // with the following two
	block     *block
	key       *keyValues
}

// place is the part of the request that the test looks at.
func (t *elementTest) place() place {
	switch {
	case t.principal != nil:
		return place{kind: placePrincipal}
	case t.condition != nil:
		return placeOfKey(&t.condition.key)
	case strings.HasSuffix(t.element.name, "Action"):
		return place{kind: placeAction}
	}
	return place{kind: placeResource}
}

// put tries all elements of a statement, in the order of the document.
func (x *explainer) put(s *statement) []elementTest {
	var out []elementTest
	if s.principal != nil {
		ru := rule{deny: s.deny, notPerson: s.principal.negated, principals: &s.principal.compiled}
		g := ru.speaksFor(x.req.Principal)
		out = append(out, elementTest{offset: s.principal.offset, holds: g != grantNone, grant: g, principal: s.principal})
	}
	actions, resources := compileActions(s.action), x.compiler.compileResources(s.resource)
	out = append(out,
		elementTest{offset: s.action.offset, holds: actions.matchLower(strings.ToLower(x.req.Action)), element: s.action},
		elementTest{offset: s.resource.offset, holds: resources.match(x.req), element: s.resource})
	for i := range s.conditions {
		b := &s.conditions[i]
		for j := range b.keys {
			c := compileCondition(b.op, &b.keys[j], x.compiler.variables)
			out = append(out, elementTest{offset: b.keys[j].offset, holds: c.holds(x.req), condition: &c, block: b, key: &b.keys[j]})
		}
	}
	sortByOffset(out)
	return out
}

func (x *explainer) statement(i int) ExplainedStatement {
	s := &x.doc.statements[i]
	out := ExplainedStatement{Index: i, Sid: shown(x.doc.Sid(i)), Effect: "Allow", Applies: true}
	if s.deny {
		out.Effect = "Deny"
	}
	out.Line, out.Column = x.places.find(s.offset)
	for j := range x.tests[i] {
		switch t := &x.tests[i][j]; {
		case t.holds:
			if out.Applies {
				out.Held = append(out.Held, x.explain(s, t))
			}
		case out.Applies:
			out.Applies = false
			failed := x.explain(s, t)
			out.Failed = &failed
		default:
			out.FailedToo++
		}
	}
	if !out.Applies {
		out.Held = nil
	}
	return out
}

// explain puts a test into words.
func (x *explainer) explain(s *statement, t *elementTest) ElementTest {
	var out ElementTest
	out.Line, out.Column = x.places.find(t.offset)
	switch {
	case t.principal != nil:
		p := t.principal
		out.Element, out.plain = p.name, p.compiled.anyone && !p.negated
		out.Wanted, out.More = shownEntries(p.entries())
		out.Text = principalText(s, t.grant, x.req.Principal)
	case t.condition != nil:
		out.Element, out.Operator, out.Key = "Condition", t.block.name, shown(t.key.name)
		out.Wanted, out.More = shownEntries(t.key.values)
		out.Text = x.conditionText(t)
	default:
		out.Element = t.element.name
		out.Wanted, out.More = shownEntries(t.element.values)
		if strings.HasSuffix(t.element.name, "Action") {
			out.plain = !t.element.negated
			out.Text = elementText(t.element, x.req.Action)
		} else {
			out.plain = wholeAPI(t.element)
			out.Text = elementText(t.element, string(x.req.Resource)) + x.resourceHint(t)
		}
	}
	return out
}

// context finds what the request holds for each key that the document mentions.
func (x *explainer) context() []ContextValue {
	var out []ContextValue
	seen := make(map[string]bool)
	add := func(k *keyRef, name string) {
		if seen[k.name] || len(out) == maxShownKeys {
			return
		}
		seen[k.name] = true
		f := x.req.lookup(k)
		v := ContextValue{Key: shown(name), Absent: f.n == 0}
		for i := range min(f.n, maxShownValues) {
			v.Values = append(v.Values, shown(f.at(i)))
		}
		v.More = f.n - len(v.Values)
		out = append(out, v)
	}
	variables := func(values entries) {
		if !x.doc.variables() {
			return
		}
		for _, v := range values {
			for _, t := range variablesOf(v.text) {
				add(&t.key, t.key.String())
			}
		}
	}
	for i := range x.doc.statements {
		s := &x.doc.statements[i]
		variables(s.resource.values)
		for j := range s.conditions {
			for k := range s.conditions[j].keys {
				kv := &s.conditions[j].keys[k]
				ref := refKey(kv.name)
				add(&ref, kv.name)
				if s.conditions[j].op.family.takesVariables() {
					variables(kv.values)
				}
			}
		}
	}
	return out
}

// variablesOf are the variables in a value.
func variablesOf(text string) []token {
	if !strings.Contains(text, "${") {
		return nil
	}
	var out []token
	for _, t := range tokenize(text, true, true) {
		if t.kind == tokenVar {
			out = append(out, t)
		}
	}
	return out
}

// String is the key as AWS writes it, in lower case if it is not a known one.
func (k *keyRef) String() string {
	switch {
	case k.key < numKeys:
		return k.key.String()
	case k.key == keyTag:
		return "aws:PrincipalTag/" + k.tag
	case k.key == keyOrgPaths:
		return "aws:PrincipalOrgPaths"
	}
	return k.name
}

// shown is a value as an Explanation keeps it: a copy, as the request's memory
// may be used again, and cut if it is long.
func shown(s string) string {
	if len(s) <= maxShownLength {
		return strings.Clone(s)
	}
	cut := maxShownLength
	for cut > 0 && !utf8.RuneStart(s[cut]) && cut > maxShownLength-utf8.UTFMax {
		cut--
	}
	return s[:cut] + "…"
}

func shownEntries(values entries) (list []string, more int) {
	for _, v := range values[:min(len(values), maxShownValues)] {
		list = append(list, shown(v.text))
	}
	return list, len(values) - len(list)
}

// entries are all that a Principal element lists, in its order.
func (p *principals) entries() entries {
	if p.anyone {
		return entries{{text: "*"}}
	}
	var out entries
	for _, t := range p.byType {
		out = append(out, t.values...)
	}
	return out
}

// places turns offsets into lines and columns. Asked in the order of the text
// it reads the text once.
type places struct {
	text         []byte
	at           int
	line, column int
}

func (p *places) find(offset int) (line, column int) {
	offset = min(offset, len(p.text))
	if offset < p.at {
		p.at, p.line, p.column = 0, 1, 1
	}
	passed := p.text[p.at:offset]
	if i := bytes.LastIndexByte(passed, '\n'); i >= 0 {
		p.line += bytes.Count(passed, []byte{'\n'})
		p.column, passed = 1, passed[i+1:]
	}
	p.column += utf8.RuneCount(passed)
	p.at = offset
	return p.line, p.column
}
