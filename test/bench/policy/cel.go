package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
	"github.com/google/cel-go/interpreter"
)

// celInput is a request as cel-go resolves it fastest: a struct of values that are
// converted already, without a map.
type celInput struct {
	action, arn, vpce, vpc, transport, principal, account, addr ref.Val
}

func (in *celInput) ResolveName(name string) (any, bool) {
	switch name {
	case "arn":
		return in.arn, true
	case "vpce":
		return in.vpce, true
	case "vpc":
		return in.vpc, true
	case "addr":
		return in.addr, true
	case "action":
		return in.action, true
	case "principal":
		return in.principal, true
	case "account":
		return in.account, true
	case "transport":
		return in.transport, true
	}
	return nil, false
}

func (in *celInput) Parent() interpreter.Activation { return nil }

func celEnv(options ...cel.EnvOption) (*cel.Env, error) {
	return cel.NewEnv(append(options, ext.Network(), cel.ParserExpressionSizeLimit(64<<20),
		cel.Variable("action", cel.StringType), cel.Variable("arn", cel.StringType), cel.Variable("vpce", cel.StringType),
		cel.Variable("vpc", cel.StringType), cel.Variable("transport", cel.StringType), cel.Variable("principal", cel.StringType),
		cel.Variable("account", cel.StringType), cel.Variable("addr", ext.IPType))...)
}

func celProgram(env *cel.Env, expression string) (cel.Program, error) {
	ast, issues := env.Compile(expression)
	if err := issues.Err(); err != nil {
		return nil, fmt.Errorf("cel: %w", err)
	}
	// Optimised, that is: constants folded, regular expressions compiled, lists of
	// constants behind "in" made sets.
	return env.Program(ast, cel.EvalOptions(cel.OptOptimize))
}

func (f *field) celInputs(env *cel.Env) ([]*celInput, error) {
	all, err := f.facts()
	if err != nil {
		return nil, err
	}
	adapt := env.CELTypeAdapter().NativeToValue
	out := make([]*celInput, len(all))
	for i, q := range all {
		addr := q.addr()
		out[i] = &celInput{action: adapt(q.Action), arn: adapt(q.Resource), vpce: adapt(q.SourceVpce), vpc: adapt(q.SourceVpc), transport: adapt(q.SecureTransport),
			principal: adapt(q.Principal), account: adapt(q.PrincipalAccount), addr: adapt(addr)}
	}
	return out, nil
}

// celChunk is how many statements become one expression. cel-go balances long
// chains of || and &&, but checks them in more than linear time.
const celChunk = 500

// newCEL is the policy as one expression, statement by statement; of very many
// statements as some expressions, tried in turn. An absent value is the empty text.
func newCEL(f *field) (*contender, error) {
	env, err := celEnv()
	if err != nil {
		return nil, err
	}
	var denies, allows []string
	for _, s := range f.statements {
		if s.deny {
			denies = append(denies, s.cel())
		} else {
			allows = append(allows, s.cel())
		}
	}
	if len(denies) > celChunk {
		return nil, fmt.Errorf("cel: %d denies", len(denies))
	}
	var programs []cel.Program
	for len(allows) > 0 {
		n := min(len(allows), celChunk)
		expression := "action == " + strconv.Quote(onlyAction) + " && (" + strings.Join(allows[:n], " || ") + ")"
		if len(denies) > 0 {
			expression += " && !(" + strings.Join(denies, " || ") + ")"
		}
		p, err := celProgram(env, expression)
		if err != nil {
			return nil, err
		}
		programs, allows = append(programs, p), allows[n:]
	}
	inputs, err := f.celInputs(env)
	if err != nil {
		return nil, err
	}
	return &contender{name: "cel-go", peer: true, decide: inTurn(inputs, len(f.workload.Queries), func(in *celInput) bool {
		for _, p := range programs {
			out, _, err := p.Eval(in)
			if err != nil {
				panic(err)
			}
			if out.Value().(bool) {
				return true
			}
		}
		return false
	})}, nil
}

// cel is the statement as an expression, what is cheap and selective first.
func (s *statement) cel() string {
	var all []string
	if len(s.principals) > 0 {
		var persons, accounts []string
		for _, p := range s.principals {
			if isAccount(p) {
				accounts = append(accounts, p)
			} else {
				persons = append(persons, p)
			}
		}
		var either []string
		if len(persons) > 0 {
			either = append(either, celIn("principal", persons))
		}
		if len(accounts) > 0 {
			either = append(either, celIn("account", accounts))
		}
		all = append(all, celAny(either))
	}
	var last []string
	for _, c := range s.conditions {
		switch c.operator {
		case "StringEquals":
			all = append(all, celIn(celVariable[c.key], c.values))
		case "StringNotEquals":
			all = append(all, "!("+celIn(celVariable[c.key], c.values)+")")
		case "Bool":
			all = append(all, celIn(celVariable[c.key], c.values))
		case "IpAddress", "NotIpAddress":
			var either []string
			for _, v := range c.values {
				either = append(either, "cidr("+strconv.Quote(v)+").containsIP(addr)")
			}
			text := celAny(either)
			if c.operator == "NotIpAddress" {
				text = "!" + text
			}
			last = append(last, text)
		}
	}
	var either []string
	for _, r := range s.resources {
		either = append(either, celResource(r))
	}
	return "(" + strings.Join(append(append(all, celAny(either)), last...), " && ") + ")"
}

var celVariable = map[string]string{"aws:SourceVpce": "vpce", "aws:SourceVpc": "vpc", "aws:PrincipalArn": "principal", "aws:SecureTransport": "transport"}

func celIn(variable string, values []string) string {
	if len(values) == 1 {
		return variable + " == " + strconv.Quote(values[0])
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = strconv.Quote(v)
	}
	return variable + " in [" + strings.Join(quoted, ", ") + "]"
}

func celAny(list []string) string { return "(" + strings.Join(list, " || ") + ")" }

// celResource matches a pattern by the fastest functions that do. Inner wildcards
// need a regular expression, which is asked last.
func celResource(pattern string) string {
	pieces := strings.Split(pattern, "*")
	first, last := pieces[0], pieces[len(pieces)-1]
	switch {
	case len(pieces) == 1:
		return "arn == " + strconv.Quote(pattern)
	case len(pieces) == 2 && last == "":
		return "arn.startsWith(" + strconv.Quote(first) + ")"
	}
	text := "arn.startsWith(" + strconv.Quote(first) + ")"
	if last != "" {
		text += " && arn.endsWith(" + strconv.Quote(last) + ")"
	}
	return "(" + text + " && arn.matches(" + strconv.Quote(regexpOf(pattern)) + "))"
}

func regexpOf(pattern string) string {
	pieces := strings.Split(pattern, "*")
	for i, p := range pieces {
		pieces[i] = regexp.QuoteMeta(p)
	}
	return "^" + strings.Join(pieces, ".*") + "$"
}

// newCELTable is W3 as one would write it for cel-go by hand: not the statements,
// but a table of what they have in common. It is no peer, since no policy arrives
// in this form; it shows what a peer could do if it took policies apart as Postern
// does.
func newCELTable(f *field) (*contender, error) {
	if !strings.HasPrefix(f.name, "W3-") {
		return nil, nil
	}
	table := make(map[string]string)
	for _, s := range f.statements {
		table[s.conditions[0].values[0]] = strings.TrimSuffix(s.resources[0], "*")
	}
	env, err := celEnv(cel.Variable("table", cel.MapType(cel.StringType, cel.StringType)))
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile("action == " + strconv.Quote(onlyAction) + " && vpce in table && arn.startsWith(table[vpce])")
	if err := issues.Err(); err != nil {
		return nil, err
	}
	p, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.Globals(map[string]any{"table": table}))
	if err != nil {
		return nil, err
	}
	inputs, err := f.celInputs(env)
	if err != nil {
		return nil, err
	}
	return &contender{name: "cel-go, table by hand", decide: inTurn(inputs, len(f.workload.Queries), func(in *celInput) bool {
		out, _, err := p.Eval(in)
		if err != nil {
			panic(err)
		}
		return out.Value().(bool)
	})}, nil
}
