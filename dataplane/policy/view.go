package policy

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Views show a Document to packages that reason about policies instead of
// deciding by them. They are copies: changing one changes no Document.

// StatementView is one statement.
type StatementView struct {
	Sid    string
	Effect Effect // Allow or ExplicitDeny
	// Principal is nil in policies that are attached to a caller.
	Principal  *PrincipalView
	Action     ElementView
	Resource   ElementView
	Conditions []ConditionView // one for each key of each operator
}

// PrincipalView is a Principal or NotPrincipal element, its entries sorted by
// the level at which they name a caller. Services, federated providers and
// deleted users are left out: they never call an API.
type PrincipalView struct {
	Negated  bool
	Anyone   bool
	Accounts []string // ids of whole accounts
	Exact    []string // ARNs of users, roles, sessions and federated users
	Roles    []string // ARNs of the roles in Exact, without their paths
}

// ElementView is an Action, NotAction, Resource or NotResource.
type ElementView struct {
	Negated bool
	Values  []string
}

// ConditionView is one operator on one key.
type ConditionView struct {
	// Operator is the positive operator without prefix and suffix, such as
	// StringLike for ForAnyValue:StringNotLikeIfExists.
	Operator         string
	Negated          bool
	IfExists         bool
	ForAll, ForAny   bool   // the set operators
	Key              string // lower case
	Name             string // Key as written
	Values           []string
	values           entries
	op               operator
	variablesAllowed bool
}

// View shows statement i.
func (d *Document) View(i int) StatementView {
	s := &d.statements[i]
	v := StatementView{Sid: d.Sid(i), Effect: Allow, Action: s.action.view(), Resource: s.resource.view()}
	if s.deny {
		v.Effect = ExplicitDeny
	}
	if p := s.principal; p != nil {
		v.Principal = &PrincipalView{
			Negated:  p.negated,
			Anyone:   p.compiled.anyone,
			Accounts: slices.Sorted(p.compiled.accounts.all()),
			Exact:    slices.Sorted(p.compiled.exact.all()),
			Roles:    slices.Sorted(p.compiled.roles.all()),
		}
	}
	for i := range s.conditions {
		b := &s.conditions[i]
		name := strings.TrimSuffix(b.name[strings.IndexByte(b.name, ':')+1:], "IfExists")
		for _, kv := range b.keys {
			v.Conditions = append(v.Conditions, ConditionView{
				Operator: strings.Replace(name, "Not", "", 1), Negated: b.op.negated, IfExists: b.op.ifExists,
				ForAll: b.op.set == forAllValues, ForAny: b.op.set == forAnyValue,
				Key: strings.ToLower(kv.name), Name: kv.name, Values: kv.values.texts(),
				values: kv.values, op: b.op, variablesAllowed: d.variables() && b.op.family.takesVariables(),
			})
		}
	}
	return v
}

// Text is the document as it was parsed.
func (d *Document) Text() []byte { return bytes.Clone(d.src.text) }

func (e *element) view() ElementView { return ElementView{e.negated, e.values.texts()} }

func (e entries) texts() []string {
	out := make([]string, len(e))
	for i := range e {
		out[i] = e[i].text
	}
	return out
}

// Matches says whether one value of a request matches any of the condition's
// values by its positive operator. Values with variables match nothing here.
func (c *ConditionView) Matches(value string) bool {
	const key = "posterntest:value" // an ordinary key: no value is special to it
	op := c.op
	op.negated, op.ifExists, op.set = false, false, noSet
	compiled := compileCondition(op, &keyValues{name: key, values: c.values}, false)
	r := Request{Extra: map[string][]string{key: {value}}}
	return compiled.holds(&r)
}

// Prefixes are the values of an IpAddress condition that are addresses or prefixes.
func (c *ConditionView) Prefixes() []netip.Prefix { return literals(c.Values, parseCIDR) }

// Instants are the values of a Date condition that are dates.
func (c *ConditionView) Instants() []time.Time {
	return literals(c.Values, func(s string) (time.Time, bool) {
		i, ok := parseInstant(s)
		return time.Unix(i.seconds, int64(i.nanos)).UTC(), ok
	})
}

// Numbers are the values of a Numeric condition that are decimal numbers.
func (c *ConditionView) Numbers() []string {
	return literals(c.Values, func(s string) (string, bool) {
		_, ok := parseDecimal(s)
		return s, ok
	})
}

// Bools are the values of a Bool or Null condition that are true or false.
func (c *ConditionView) Bools() []bool {
	return literals(c.Values, func(s string) (bool, bool) {
		b := parseBool(s)
		return b == 1, b >= 0
	})
}

// Binaries are the values of a Binary condition, decoded.
func (c *ConditionView) Binaries() []string { return literals(c.Values, parseBinary) }

func literals[T any](values []string, parse func(string) (T, bool)) []T {
	var out []T
	for _, v := range values {
		if x, ok := parse(v); ok {
			out = append(out, x)
		}
	}
	return out
}

// PieceKind says what a Piece of a pattern stands for.
type PieceKind uint8

const (
	PieceText     PieceKind = iota // its Text
	PieceAny                       // any text: *
	PieceOne                       // any one character: ?
	PieceVariable                  // the value of Key, or its default Text
)

// Piece is a part of a value, in the order in which they stand.
type Piece struct {
	Kind       PieceKind
	Text       string
	Key        string // lower case
	HasDefault bool
	// List: the key holds lists, so the variable never has a value.
	List bool
}

// Patterns are the values of a String, Arn or Bool condition in pieces.
// Wildcards are pieces only where the operator knows them.
func (c *ConditionView) Patterns() [][]Piece {
	wildcards := c.op.family == familyStringLike || c.op.family == familyARN
	out := make([][]Piece, len(c.Values))
	for i, v := range c.Values {
		out[i] = pieces(tokenize(v, wildcards, c.variablesAllowed))
	}
	return out
}

// ResourcePattern is a value of a Resource or NotResource element.
type ResourcePattern struct {
	// Everything is "*", Never a pattern that no ARN matches.
	Everything, Never bool
	// Short is the abbreviated form: Parts[0] is matched behind the API id of
	// whatever API the request is for. Otherwise Parts are those of the ARN; of
	// fewer than six the last ends in a wildcard that takes all parts after it.
	Short bool
	Parts [][]Piece
}

// ResourcePatterns are the values of statement i's Resource or NotResource.
func (d *Document) ResourcePatterns(i int) []ResourcePattern {
	list := d.statements[i].resource.values
	out := make([]ResourcePattern, len(list))
	for j, e := range list {
		out[j] = resourcePatternView(e.text, d.variables())
	}
	return out
}

func resourcePatternView(text string, variables bool) ResourcePattern {
	if text == "*" {
		return ResourcePattern{Everything: true}
	}
	if rest, ok := strings.CutPrefix(text, shortForm); ok {
		return ResourcePattern{Short: true, Parts: [][]Piece{pieces(tokenize(rest, true, variables))}}
	}
	parts, n := splitTokens(tokenize(text, true, variables))
	if last := parts[n-1]; n < arnParts && (len(last) == 0 || last[len(last)-1].kind != tokenAny) ||
		variables && variableBeforeResource(text) {
		return ResourcePattern{Never: true}
	}
	p := ResourcePattern{Parts: make([][]Piece, n)}
	for i := range n {
		p.Parts[i] = pieces(parts[i])
	}
	return p
}

// PatternParts cuts a pattern at the first five colons of its text, into the
// parts of an ARN.
func PatternParts(pattern []Piece) [][]Piece {
	tokens := make([]token, len(pattern))
	for i, p := range pattern {
		tokens[i] = token{kind: tokenKind(p.Kind), text: p.Text, hasDefault: p.HasDefault, key: keyRef{name: p.Key, list: p.List}}
	}
	parts, n := splitTokens(tokens)
	out := make([][]Piece, n)
	for i := range n {
		out[i] = pieces(parts[i])
	}
	return out
}

func pieces(tokens []token) []Piece {
	out := make([]Piece, len(tokens))
	for i, t := range tokens {
		out[i] = Piece{Kind: PieceKind(t.kind), Text: t.text, Key: t.key.name, HasDefault: t.hasDefault, List: t.key.list}
	}
	return out
}
