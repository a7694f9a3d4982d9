package main

import (
	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/policytest"
)

func compile(document []byte) (*policy.Program, error) {
	doc, err := policy.Parse(document)
	if err != nil {
		return nil, err
	}
	return policy.Compile(doc)
}

// question is a request with the program that an edge would ask.
type question struct {
	program *policy.Program
	request *policy.Request
}

func ask(questions []question, wrap int) func(from, n int) int {
	return func(from, n int) (allowed int) {
		i := from
		for range n {
			if questions[i].program.Eval(questions[i].request).Effect == policy.Allow {
				allowed++
			}
			if i++; i == wrap {
				i = 0
			}
		}
		return allowed
	}
}

// newPostern is the compiled policy, which knows nothing of listener or route.
func newPostern(f *field) (*contender, error) {
	requests, err := policytest.Requests(f.queries)
	if err != nil {
		return nil, err
	}
	questions := make([]question, len(requests))
	for i, r := range requests {
		questions[i] = question{f.program, r}
	}
	return &contender{name: nameUnbound, decide: ask(questions, len(f.workload.Queries))}, nil
}

// boundPrograms is how many programs an edge is supposed to hold of one policy:
// one for each stage and way to it that occurs. For the policies with
// very many endpoints only the queries of some take part.
var boundPrograms = map[string]int{"W3-1000": 200, "W3-10000": 100, "W4": 200}

// newBound gives each request the program that was bound to its way: endpoint, VPC, API and stage.
func newBound(f *field) (*contender, error) {
	limit, ok := boundPrograms[f.name]
	if !ok {
		limit = len(f.workload.Queries)
	}
	requests, err := policytest.Requests(f.workload.Queries)
	if err != nil {
		return nil, err
	}
	c := &contender{name: nameBound}
	var questions []question
	for i, p := range policytest.Bind(f.program, f.workload.Queries, limit) {
		if p != nil {
			questions = append(questions, question{p, requests[i]})
			c.covers = append(c.covers, i)
		}
	}
	c.decide = ask(questions, len(questions))
	return c, nil
}
