package main

import (
	"strings"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
)

const casbinHead = `
[request_definition]
r = act, arn, vpce, addr, sub

[policy_definition]
p = sub, arn, vpce, addr, eft

[role_definition]
g = _, _

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = r.act == "execute-api:Invoke" && `

// newCasbin is the rows that each workload needs with the matcher that is fastest
// for them. Lists of a thousand exact values are roles, whose look-up is hashed.
// Its caching enforcer is no contender: it remembers decisions, and would be asked
// nothing twice but the one request that is repeated.
func newCasbin(f *field) (*contender, error) {
	var matcher string
	var rows, roles [][]string
	s := &f.statements[0]
	switch {
	case f.name == "W1":
		matcher = `keyMatch(r.arn, p.arn) && (p.vpce == "" || r.vpce != p.vpce)`
		rows = [][]string{{"", s.resources[0], "", "", "allow"}, {"", s.resources[0], f.statements[1].conditions[0].values[0], "", "deny"}}
	case f.name == "W2":
		return &contender{name: "casbin", peer: true, absent: "a row has one value a column: no lists, no negated lists of networks"}, nil
	case strings.HasPrefix(f.name, "W3-"):
		matcher = `r.vpce == p.vpce && keyMatch(r.arn, p.arn)`
		for _, s := range f.statements {
			rows = append(rows, []string{"", s.resources[0], s.conditions[0].values[0], "", "allow"})
		}
	case f.name == "W4":
		matcher = `keyMatch(r.arn, p.arn) && ipMatch(r.addr, p.addr)`
		for _, v := range s.conditions[0].values {
			rows = append(rows, []string{"", s.resources[0], "", v, "allow"})
		}
	case f.name == "W5":
		matcher = `keyMatch(r.arn, p.arn) && g(r.vpce, p.vpce)`
		rows = [][]string{{"", s.resources[0], "listed", "", "allow"}}
		for _, v := range s.conditions[0].values {
			roles = append(roles, []string{v, "listed"})
		}
	case f.name == "W6":
		matcher = `g(r.sub, p.sub) && regexMatch(r.arn, p.arn)`
		for _, r := range s.resources {
			rows = append(rows, []string{"listed", regexpOf(r), "", "", "allow"})
		}
		for _, v := range s.principals {
			roles = append(roles, []string{v, "listed"})
		}
	}
	head := casbinHead
	if !f.denies() { // spares it a look at the other rows once one allows
		head = strings.Replace(head, " && !some(where (p.eft == deny))", "", 1)
	}
	m, err := model.NewModelFromString(head + matcher + "\n")
	if err != nil {
		return nil, err
	}
	enforcer, err := casbin.NewEnforcer(m)
	if err != nil {
		return nil, err
	}
	enforcer.EnableLog(false)
	enforcer.EnableAutoSave(false)
	if _, err := enforcer.AddPolicies(rows); err != nil {
		return nil, err
	}
	if len(roles) > 0 {
		if _, err := enforcer.AddGroupingPolicies(roles); err != nil {
			return nil, err
		}
	}
	all, err := f.facts()
	if err != nil {
		return nil, err
	}
	requests := make([][]any, len(all))
	for i, q := range all {
		requests[i] = []any{q.Action, q.Resource, q.SourceVpce, q.addr().String(), q.Principal}
	}
	return &contender{name: "casbin", peer: true, decide: inTurn(requests, len(f.workload.Queries), func(r []any) bool {
		ok, err := enforcer.Enforce(r...)
		if err != nil {
			panic(err)
		}
		return ok
	})}, nil
}

func (f *field) denies() bool {
	for _, s := range f.statements {
		if s.deny {
			return true
		}
	}
	return false
}
