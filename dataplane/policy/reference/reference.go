// Package reference decides policies a second time, slowly and obviously: each
// function is a paragraph of the language's description, written for a reader
// who holds the page beside it. Package policy decides for speed; its tests
// compare the two over millions of generated policies and requests, and what
// is to be believed without a test, such as the witnesses of a policy
// difference, is replayed here first.
//
// It shares no code with package policy, only types of questions and answers:
// JSON is read by encoding/json, numbers are big.Rat, wildcards are matched by
// a table of all prefixes. It knows nothing of speed, of positions in the
// text, or of what may be saved, and expects documents that policy.Parse
// accepts. Section numbers (§) are those of the language's description.
//
// All functions are safe for concurrent use.
package reference

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/posternhq/postern/dataplane/policy"
)

// Document is a policy as encoding/json reads it.
type Document struct {
	version    string
	statements []statement
}

type statement struct {
	Effect                  string
	Principal, NotPrincipal any
	Action, NotAction       any
	Resource, NotResource   any
	Condition               map[string]map[string]any
}

// Read reads a document. It reports what is not JSON of the right shape, and
// leaves all other checks to policy.Parse.
func Read(document []byte) (*Document, error) {
	var root struct {
		Version   string
		Statement json.RawMessage
	}
	if err := decode(document, &root); err != nil {
		return nil, err
	}
	d := &Document{version: root.Version}
	if bytes.HasPrefix(bytes.TrimSpace(root.Statement), []byte("{")) {
		d.statements = make([]statement, 1)
		return d, decode(root.Statement, &d.statements[0])
	}
	return d, decode(root.Statement, &d.statements)
}

func decode(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber() // a number stands for its text, 1.50 for "1.50"
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("read policy: %w", err)
	}
	return nil
}

// Eval decides what a document that policy.Parse accepts, attached to a
// resource, says about a query. A query that has no meaning is an error.
func Eval(document []byte, q *policy.Query) (policy.Decision, error) {
	d, err := Read(document)
	if err != nil {
		return policy.Decision{}, err
	}
	return d.Eval(q)
}

// EvalIdentity is Eval for a policy that is attached to the caller: it has no
// principal elements and speaks for whoever carries it.
func EvalIdentity(document []byte, q *policy.Query) (policy.Decision, error) {
	d, err := Read(document)
	if err != nil {
		return policy.Decision{}, err
	}
	return d.EvalIdentity(q)
}

// Eval is the function Eval of a document that was read before.
func (d *Document) Eval(q *policy.Query) (policy.Decision, error) {
	return d.decide(q, (*evaluation).principal)
}

// EvalIdentity is the function EvalIdentity of a document that was read before.
func (d *Document) EvalIdentity(q *policy.Query) (policy.Decision, error) {
	return d.decide(q, func(*evaluation, statement) string { return direct })
}

// Applies says of each statement whether it applies to the query. Statements
// without a principal element speak for everyone.
func (d *Document) Applies(q *policy.Query) ([]bool, error) {
	e, err := d.ask(q)
	if err != nil {
		return nil, err
	}
	out := make([]bool, len(d.statements))
	for i, s := range d.statements {
		identity := s.Principal == nil && s.NotPrincipal == nil
		out[i] = e.matches(s) && (identity || e.principal(s) != "")
	}
	return out, nil
}

// decide is §1: any applying Deny, else any applying Allow, else silence. Of
// the Allows, one that names the caller is preferred to one that names only
// his account; of equals the first is reported.
func (d *Document) decide(q *policy.Query, speaks func(*evaluation, statement) string) (policy.Decision, error) {
	e, err := d.ask(q)
	if err != nil {
		return policy.Decision{}, err
	}
	first := func(effect, how string) int {
		return slices.IndexFunc(d.statements, func(s statement) bool {
			by := ""
			if s.Effect == effect && e.matches(s) {
				by = speaks(e, s)
			}
			return by == how || how == anyhow && by != ""
		})
	}
	if i := first("Deny", anyhow); i >= 0 {
		return policy.Decision{Effect: policy.ExplicitDeny, Statement: i}, nil
	}
	if i := first("Allow", direct); i >= 0 {
		return policy.Decision{Effect: policy.Allow, Statement: i}, nil
	}
	if i := first("Allow", delegated); i >= 0 {
		return policy.Decision{Effect: policy.Allow, Statement: i, Delegated: true}, nil
	}
	return policy.Decision{Statement: -1}, nil
}

// How a statement speaks for the caller: not at all is the empty string.
const (
	direct    = "direct"    // it names him, or everyone
	delegated = "delegated" // it names his account only
	anyhow    = "direct or delegated"
)

// evaluation is one question to one document.
type evaluation struct {
	variables bool // ${…} means something (§2)
	action    string
	arn       []string // the six parts of the resource
	caller    caller
	context   map[string][]string // by lower-cased key (§1)
}

func (d *Document) ask(q *policy.Query) (*evaluation, error) {
	e := &evaluation{variables: d.version == "2012-10-17", action: q.Action, arn: strings.SplitN(q.Resource, ":", 6)}
	if e.action == "" {
		e.action = "execute-api:Invoke"
	}
	if len(e.arn) != 6 || e.arn[0] != "arn" {
		return nil, errors.New("the resource of the query is not an ARN")
	}
	if e.arn[4] == "" {
		e.arn[4] = q.Account
	}
	var err error
	if e.caller, err = readCaller(q.Principal); err != nil {
		return nil, err
	}
	e.context, err = readContext(e.caller, q.Context)
	return e, err
}

// matches is all of a statement but its principal (§1).
func (e *evaluation) matches(s statement) bool {
	if !e.actionMatches(s) || !e.resourceMatches(s) {
		return false
	}
	for operator, keys := range s.Condition {
		for key, values := range keys {
			if !e.condition(operator, strings.ToLower(key), texts(values)) {
				return false
			}
		}
	}
	return true
}

// texts makes a list of a string, a number or a boolean, or of a list of them (§2).
func texts(value any) []string {
	list, ok := value.([]any)
	if !ok {
		return []string{fmt.Sprint(value)}
	}
	var out []string
	for _, one := range list {
		out = append(out, fmt.Sprint(one))
	}
	return out
}

// actionMatches is §4.
func (e *evaluation) actionMatches(s statement) bool {
	list, negated := s.Action, false
	if s.NotAction != nil {
		list, negated = s.NotAction, true
	}
	matched := slices.ContainsFunc(texts(list), func(p string) bool {
		return glob(wildcards(strings.ToLower(p)), strings.ToLower(e.action))
	})
	return matched != negated
}

// resourceMatches is §5.
func (e *evaluation) resourceMatches(s statement) bool {
	list, negated := s.Resource, false
	if s.NotResource != nil {
		list, negated = s.NotResource, true
	}
	return slices.ContainsFunc(texts(list), e.resource) != negated
}

func (e *evaluation) resource(text string) bool {
	if text == "*" {
		return true
	}
	// The abbreviated form: this API, whichever it is.
	if rest, ok := strings.CutPrefix(text, "execute-api:/"); ok {
		_, path, slash := strings.Cut(e.arn[5], "/")
		pattern, ok := e.pattern(rest, true)
		return ok && slash && e.arn[2] == "execute-api" && glob(pattern, path)
	}
	if e.variables && variableInFirstParts(text) {
		return false
	}
	pattern, ok := e.pattern(text, true)
	if !ok {
		return false
	}
	parts := split(pattern)
	if last := parts[len(parts)-1]; len(parts) < 6 && (len(last) == 0 || !last[len(last)-1].star) {
		return false
	}
	for i, part := range parts {
		// The star that ends a pattern of fewer than six parts swallows all
		// parts after its own; they need no test.
		if !glob(part, e.arn[i]) {
			return false
		}
	}
	return true
}

// variableInFirstParts says whether a ${ stands before the fifth colon, where
// variables are not allowed.
func variableInFirstParts(text string) bool {
	colons := 0
	for i, r := range text {
		if r == ':' {
			colons++
		}
		if colons < 5 && strings.HasPrefix(text[i:], "${") {
			return true
		}
	}
	return false
}
