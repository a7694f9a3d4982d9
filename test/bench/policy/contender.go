package main

import (
	"fmt"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/policytest"
)

// contender is one evaluator with one workload's policy compiled and all of its
// requests in the form that it likes best.
type contender struct {
	name string
	peer bool // one of the engines that Postern is compared with
	// decide takes n requests in turn, the first at position from, and counts
	// those that were allowed. It belongs to one goroutine.
	decide func(from, n int) (allowed int)
	// covers lists the queries that decide takes, by position; nil: all.
	covers []int
	// absent says why there is no such contender for this workload.
	absent string
}

// field is a workload and all who take part.
type field struct {
	name       string
	workload   *policytest.Workload
	queries    []*policy.Query // the workload's, and behind them the probes
	statements []statement
	program    *policy.Program
	contenders []*contender
}

// maker makes a contender, or says by an absent one why it can't.
type maker func(*field) (*contender, error)

// Names of contenders in the report.
const (
	nameUnbound = "postern"
	nameBound   = "postern, bound"
	nameLimit   = "limit"
)

var makers = []maker{newPostern, newBound, newLimit, newCEL, newCELTable, newCedar, newOPA, newOPATopdown, newCasbin}

// newField prepares a workload for everyone.
func newField(name string, with []maker) (*field, error) {
	w, err := policytest.NewWorkload(name)
	if err != nil {
		return nil, err
	}
	f := &field{name: name, workload: w, queries: append(w.Queries[:len(w.Queries):len(w.Queries)], w.Probes...)}
	if f.statements, err = readStatements(w.Document); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if f.program, err = compile(w.Document); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, m := range with {
		c, err := m(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if c != nil {
			f.contenders = append(f.contenders, c)
		}
	}
	return f, nil
}

func (f *field) contender(name string) *contender {
	for _, c := range f.contenders {
		if c.name == name && c.absent == "" {
			return c
		}
	}
	return nil
}

// inTurn makes decide from prepared requests. Those behind wrap are probes, which
// are reached only if asked for.
func inTurn[T any](items []T, wrap int, allows func(T) bool) func(from, n int) int {
	return func(from, n int) (allowed int) {
		i := from
		for range n {
			if allows(items[i]) {
				allowed++
			}
			if i++; i == wrap {
				i = 0
			}
		}
		return allowed
	}
}

// facts are what all contenders but Postern are prepared from.
func (f *field) facts() ([]*facts, error) {
	c, out := make(configuration), make([]*facts, len(f.queries))
	for i, q := range f.queries {
		var err error
		if out[i], err = c.factsOf(q); err != nil {
			return nil, fmt.Errorf("query %d: %w", i, err)
		}
	}
	return out, nil
}

// disagreement compares everyone with Postern on the queries at the positions,
// and on all probes. It describes the first difference, if there is one.
func (f *field) disagreement(sample int) string {
	want := make(map[int]bool)
	judge := f.contender(nameUnbound)
	for _, c := range f.contenders {
		if c.absent != "" {
			continue
		}
		checked := 0
		check := func(at, query int) string {
			expected, ok := want[query]
			if !ok {
				expected = judge.decide(query, 1) == 1
				want[query] = expected
			}
			if got := c.decide(at, 1) == 1; got != expected {
				return fmt.Sprintf("%s: %s allows: %v, %s allows: %v\n%+v", f.name, c.name, got, judge.name, expected, *f.queries[query])
			}
			checked++
			return ""
		}
		limit := len(f.workload.Queries)
		if c.peer {
			limit = sample
		}
		for i := range min(limit, len(f.queries)) {
			query := i
			if c.covers != nil {
				if i >= len(c.covers) {
					break
				}
				query = c.covers[i]
			}
			if d := check(i, query); d != "" {
				return d
			}
		}
		if c.covers == nil {
			for i := len(f.workload.Queries); i < len(f.queries); i++ {
				if d := check(i, i); d != "" {
					return d
				}
			}
		}
	}
	return ""
}
