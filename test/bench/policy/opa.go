package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

// newOPA is one rule a statement. Its compiler files rules under the values that
// their equalities name. The query is prepared, and inputs are parsed terms.
func newOPA(f *field) (*contender, error) {
	var text strings.Builder
	denies := false
	for i := range f.statements {
		f.statements[i].rego(&text)
		denies = denies || f.statements[i].deny
	}
	head := "package bench\n\nallow if {\n\tpermit\n}\n\n"
	if denies {
		head = "package bench\n\nallow if {\n\tnot deny\n\tpermit\n}\n\n"
	}
	ctx := context.Background()
	query, err := rego.New(rego.Query("data.bench.allow"), rego.Module("bench.rego", head+text.String()), rego.GenerateJSON(asIs)).PrepareForEval(ctx)
	if err != nil {
		return nil, fmt.Errorf("opa: %w", err)
	}
	all, err := f.facts()
	if err != nil {
		return nil, err
	}
	inputs := make([]ast.Value, len(all))
	for i, q := range all {
		object := ast.NewObject()
		// An absent value is the empty text: a negated test of what is not defined
		// would not be defined either.
		for _, kv := range [...][2]string{{"action", q.Action}, {"arn", q.arn()}, {"vpce", q.SourceVpce}, {"vpc", q.SourceVpc}, {"transport", q.SecureTransport},
			{"principal", q.Principal}, {"account", q.PrincipalAccount}, {"addr", q.addr().String()}} {
			object.Insert(ast.StringTerm(kv[0]), ast.StringTerm(kv[1]))
		}
		inputs[i] = object
	}
	return &contender{name: "opa", peer: true, decide: inTurn(inputs, len(f.workload.Queries), func(in ast.Value) bool {
		results, err := query.Eval(ctx, rego.EvalParsedInput(in))
		if err != nil {
			panic(err)
		}
		return len(results) > 0
	})}, nil
}

// asIs spares the conversion of the answer, of which only the presence counts.
func asIs(*ast.Term, *rego.EvalContext) (any, error) { return true, nil }

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
