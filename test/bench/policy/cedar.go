package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// newCedar is one Cedar policy a statement. Callers are entities, accounts their
// parents; all that follows from a request's origin is context.
func newCedar(f *field) (*contender, error) {
	var text strings.Builder
	for i := range f.statements {
		f.statements[i].cedar(&text)
	}
	set, err := cedar.NewPolicySetFromBytes("policy.cedar", []byte(text.String()))
	if err != nil {
		return nil, fmt.Errorf("cedar: %w", err)
	}
	all, err := f.facts()
	if err != nil {
		return nil, err
	}
	entities := make(types.EntityMap)
	requests := make([]*cedar.Request, len(all))
	for i, q := range all {
		who := types.NewEntityUID("Caller", types.String(q.Principal))
		entity := types.Entity{UID: who}
		if q.PrincipalAccount != "" {
			entity.Parents = types.NewEntityUIDSet(types.NewEntityUID("Account", types.String(q.PrincipalAccount)))
		}
		entities[who] = entity
		addr := q.addr()
		requests[i] = &cedar.Request{
			Principal: who, Action: types.NewEntityUID("Action", types.String(q.Action)), Resource: types.NewEntityUID("Resource", types.String(q.Resource)),
			Context: types.NewRecord(types.RecordMap{
				"arn": types.String(q.Resource), "vpce": types.String(q.SourceVpce), "vpc": types.String(q.SourceVpc),
				"transport": types.String(q.SecureTransport), "addr": types.IPAddr(netip.PrefixFrom(addr, addr.BitLen())),
			}),
		}
	}
	return &contender{name: "cedar-go", peer: true, decide: inTurn(requests, len(f.workload.Queries), func(r *cedar.Request) bool {
		decision, diagnostic := cedar.Authorize(set, entities, *r)
		if len(diagnostic.Errors) > 0 {
			panic(diagnostic.Errors[0])
		}
		return bool(decision)
	})}, nil
}

// cedar writes the statement, what is cheap and selective first.
func (s *statement) cedar(text *strings.Builder) {
	effect := "permit"
	if s.deny {
		effect = "forbid"
	}
	var all, last []string
	if len(s.principals) > 0 {
		var persons, either []string
		for _, p := range s.principals {
			if isAccount(p) {
				either = append(either, "principal in Account::"+strconv.Quote(p))
			} else {
				persons = append(persons, "Caller::"+strconv.Quote(p))
			}
		}
		if len(persons) > 0 {
			either = append(either, "["+strings.Join(persons, ", ")+"].contains(principal)")
		}
		all = append(all, celAny(either))
	}
	for _, c := range s.conditions {
		switch c.operator {
		case "StringEquals", "Bool":
			all = append(all, cedarIn(c))
		case "StringNotEquals":
			all = append(all, "!("+cedarIn(c)+")")
		case "IpAddress", "NotIpAddress":
			either := make([]string, len(c.values))
			for i, v := range c.values {
				either[i] = "context.addr.isInRange(ip(" + strconv.Quote(v) + "))"
			}
			t := balanced(either)
			if c.operator == "NotIpAddress" {
				t = "!" + t
			}
			last = append(last, t)
		}
	}
	either := make([]string, len(s.resources))
	for i, r := range s.resources {
		either[i] = "context.arn like " + strconv.Quote(r)
		if !strings.Contains(r, "*") {
			either[i] = "context.arn == " + strconv.Quote(r)
		}
	}
	all = append(append(all, celAny(either)), last...)
	fmt.Fprintf(text, "%s (principal, action == Action::%q, resource) when { %s };\n", effect, onlyAction, strings.Join(all, " && "))
}

func cedarIn(c condition) string {
	subject := map[string]string{"aws:SourceVpce": "context.vpce", "aws:SourceVpc": "context.vpc", "aws:SecureTransport": "context.transport", "aws:PrincipalArn": "principal"}[c.key]
	quoted := make([]string, len(c.values))
	for i, v := range c.values {
		quoted[i] = strconv.Quote(v)
		if subject == "principal" {
			quoted[i] = "Caller::" + quoted[i]
		}
	}
	if len(quoted) == 1 {
		return subject + " == " + quoted[0]
	}
	return "[" + strings.Join(quoted, ", ") + "].contains(" + subject + ")"
}

// balanced is a || b || …, nested no deeper than it must be.
func balanced(list []string) string {
	if len(list) == 1 {
		return list[0]
	}
	return "(" + balanced(list[:len(list)/2]) + " || " + balanced(list[len(list)/2:]) + ")"
}
