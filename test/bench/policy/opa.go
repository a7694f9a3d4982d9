package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// newOPA is OPA as it documents itself for speed: a prepared query, inputs that are
// parsed already, one read transaction for all. The policy is one rule a statement
// and resource; the compiler files rules under the values that their equalities
// name. Partial evaluation gains nothing: there is no data to evaluate it with.
func newOPA(f *field) (*contender, error) {
	ctx, module := context.Background(), f.rego()
	store := inmem.New()
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("opa: %w", err)
	}
	query, err := rego.New(rego.Query("data.bench.allow"), rego.Module("bench.rego", module), rego.Store(store), rego.Transaction(txn),
		rego.GenerateJSON(asIs)).PrepareForEval(ctx)
	if err != nil {
		return nil, fmt.Errorf("opa: %w", err)
	}
	inputs, err := f.opaInputs()
	if err != nil {
		return nil, err
	}
	return &contender{name: "opa", peer: true, decide: inTurn(inputs, len(f.workload.Queries), func(in *ast.Term) bool {
		results, err := query.Eval(ctx, rego.EvalParsedInput(in.Value), rego.EvalTransaction(txn))
		if err != nil {
			panic(err)
		}
		return len(results) > 0
	})}, nil
}

// asIs spares the conversion of the answer, of which only the presence counts.
func asIs(*ast.Term, *rego.EvalContext) (any, error) { return true, nil }

// newOPATopdown goes below what OPA documents, to the evaluator that a prepared
// query calls in the end. It is no peer, and shown to say what of the peer's time
// is evaluation.
func newOPATopdown(f *field) (*contender, error) {
	module, err := ast.ParseModule("bench.rego", f.rego())
	if err != nil {
		return nil, fmt.Errorf("opa: %w", err)
	}
	compiler := ast.NewCompiler()
	if compiler.Compile(map[string]*ast.Module{"bench.rego": module}); compiler.Failed() {
		return nil, fmt.Errorf("opa: %w", compiler.Errors)
	}
	query, err := compiler.QueryCompiler().Compile(ast.MustParseBody("data.bench.allow"))
	if err != nil {
		return nil, fmt.Errorf("opa: %w", err)
	}
	ctx, store := context.Background(), inmem.New()
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("opa: %w", err)
	}
	inputs, err := f.opaInputs()
	if err != nil {
		return nil, err
	}
	return &contender{name: "opa, evaluator alone", decide: inTurn(inputs, len(f.workload.Queries), func(in *ast.Term) (allowed bool) {
		q := topdown.NewQuery(query).WithCompiler(compiler).WithStore(store).WithTransaction(txn).WithInput(in)
		err := q.Iter(ctx, func(topdown.QueryResult) error {
			allowed = true
			return nil
		})
		if err != nil {
			panic(err)
		}
		return allowed
	})}, nil
}

// opaInputs: an absent value is the empty text, since a negated test of what is
// not defined would not be defined either.
func (f *field) opaInputs() ([]*ast.Term, error) {
	all, err := f.facts()
	if err != nil {
		return nil, err
	}
	inputs := make([]*ast.Term, len(all))
	for i, q := range all {
		object := ast.NewObject()
		for _, kv := range [...][2]string{{"action", q.Action}, {"arn", q.Resource}, {"vpce", q.SourceVpce}, {"vpc", q.SourceVpc}, {"transport", q.SecureTransport},
			{"principal", q.Principal}, {"account", q.PrincipalAccount}, {"addr", q.addr().String()}} {
			object.Insert(ast.StringTerm(kv[0]), ast.StringTerm(kv[1]))
		}
		inputs[i] = ast.NewTerm(object)
	}
	return inputs, nil
}

// rego is the policy as a module.
func (f *field) rego() string {
	var text strings.Builder
	text.WriteString("package bench\n\nallow if {\n")
	if f.denies() {
		text.WriteString("\tnot deny\n")
	}
	text.WriteString("\tpermit\n}\n\n")
	for i := range f.statements {
		f.statements[i].rego(&text)
	}
	return text.String()
}

// rego writes the statement, what is cheap and selective first.
func (s *statement) rego(text *strings.Builder) {
	name := "permit"
	if s.deny {
		name = "deny"
	}
	lines := []string{"input.action == " + strconv.Quote(onlyAction)}
	var last []string
	if len(s.principals) == 1 && isAccount(s.principals[0]) {
		lines = append(lines, "input.account == "+strconv.Quote(s.principals[0]))
	} else if len(s.principals) > 0 {
		lines = append(lines, regoIn("input.principal", s.principals))
	}
	for _, c := range s.conditions {
		switch c.operator {
		case "StringEquals", "Bool":
			lines = append(lines, regoIn("input."+celVariable[c.key], c.values))
		case "StringNotEquals":
			lines = append(lines, "not "+regoIn("input."+celVariable[c.key], c.values))
		case "IpAddress":
			last = append(last, "some network in "+regoList(c.values, "[", "]"), "net.cidr_contains(network, input.addr)")
		case "NotIpAddress":
			name := "networks" + strconv.Itoa(text.Len())
			fmt.Fprintf(text, "%s if {\n\tsome network in %s\n\tnet.cidr_contains(network, input.addr)\n}\n\n", name, regoList(c.values, "[", "]"))
			last = append(last, "not "+name)
		}
	}
	for _, r := range s.resources { // a rule for each: alternatives are rules
		fmt.Fprintf(text, "%s if {\n\t%s\n}\n\n", name, strings.Join(append(append(lines[:len(lines):len(lines)], regoResource(r)...), last...), "\n\t"))
	}
}

func regoIn(subject string, values []string) string {
	if len(values) == 1 {
		return subject + " == " + strconv.Quote(values[0])
	}
	return subject + " in " + regoList(values, "{", "}")
}

func regoList(values []string, open, end string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = strconv.Quote(v)
	}
	return open + strings.Join(quoted, ", ") + end
}

func regoResource(pattern string) []string {
	pieces := strings.Split(pattern, "*")
	first, last := pieces[0], pieces[len(pieces)-1]
	switch {
	case len(pieces) == 1:
		return []string{"input.arn == " + strconv.Quote(pattern)}
	case len(pieces) == 2 && last == "":
		return []string{"startswith(input.arn, " + strconv.Quote(first) + ")"}
	}
	lines := []string{"startswith(input.arn, " + strconv.Quote(first) + ")"}
	if last != "" {
		lines = append(lines, "endswith(input.arn, "+strconv.Quote(last)+")")
	}
	return append(lines, "regex.match("+strconv.Quote(regexpOf(pattern))+", input.arn)")
}
