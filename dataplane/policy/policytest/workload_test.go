package policytest

import (
	"fmt"
	"testing"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/reference"
)

// prepared is a workload ready to be decided.
func prepared(t *testing.T, name string) (*Workload, *policy.Program, []*policy.Request) {
	t.Helper()
	w, err := NewWorkload(name)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := policy.Parse(w.Document)
	if err != nil {
		t.Fatal(err)
	}
	prog, err := policy.Compile(doc)
	if err != nil {
		t.Fatal(err)
	}
	requests, err := Requests(w.Queries)
	if err != nil {
		t.Fatal(err)
	}
	return w, prog, requests
}

// TestWorkloadsAreWhatTheySay: many distinct queries, of which about half are
// allowed, by every statement there is.
func TestWorkloadsAreWhatTheySay(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			w, prog, requests := prepared(t, name)
			doc := prog.Document()
			if name == "W1" || name == "W2" { // the others are longer than an API's policy may be
				if problems, warnings := doc.Validate(policy.PrivateResourcePolicy); len(problems)+len(warnings) > 0 {
					t.Errorf("a policy that nobody would save: %v %v", problems, warnings)
				}
			}
			distinct, effects := map[string]bool{}, map[policy.Effect]int{}
			decides := make([]bool, doc.Statements())
			for i, r := range requests {
				q := w.Queries[i]
				distinct[fmt.Sprint(q.Principal, q.Resource, one(q, policy.KeySourceVpce), one(q, policy.KeyVpcSourceIP), one(q, policy.KeySecureTransport))] = true
				d := prog.Eval(r)
				effects[d.Effect]++
				if d.Statement >= 0 {
					decides[d.Statement] = true
				}
			}
			if len(distinct) != queriesPerWorkload {
				t.Errorf("%d distinct queries", len(distinct))
			}
			if share := effects[policy.Allow] * 100 / queriesPerWorkload; share < 40 || share > 60 {
				t.Errorf("%d %% are allowed: %v", share, effects)
			}
			silent := 0
			for _, hit := range decides {
				if !hit {
					silent++
				}
			}
			// Of 10,000 statements 5,000 allowed queries can't hit all.
			if limit := max(0, len(decides)-queriesPerWorkload/4); silent > limit {
				t.Errorf("%d of %d statements decide nothing", silent, len(decides))
			}
		})
	}
}

// TestWorkloadsAgainstReference compares a sample and all probes, unbound and
// bound. W3-10000 is left to W3-1000: the reference takes seconds for a query.
func TestWorkloadsAgainstReference(t *testing.T) {
	for _, name := range []string{"W1", "W2", "W3-100", "W3-1000", "W4", "W5", "W6"} {
		t.Run(name, func(t *testing.T) {
			w, prog, _ := prepared(t, name)
			slow, err := reference.Read(w.Document)
			if err != nil {
				t.Fatal(err)
			}
			sample := w.Queries[:max(10, min(500, 10_000/prog.Document().Statements()))]
			sample = append(sample[:len(sample):len(sample)], w.Probes...)
			requests, err := Requests(sample)
			if err != nil {
				t.Fatal(err)
			}
			bound := Bind(prog, sample, 50)
			allowedProbes := 0
			for i, r := range requests {
				want, err := slow.Eval(sample[i])
				if err != nil {
					t.Fatal(err)
				}
				if got := prog.Eval(r); got != want {
					t.Errorf("%+v: Eval gives %+v, the reference %+v", sample[i], got, want)
				}
				if b := bound[i]; b != nil && b.Eval(r) != want {
					t.Errorf("%+v: the bound program gives %+v, the reference %+v", sample[i], b.Eval(r), want)
				}
				if i >= len(sample)-len(w.Probes) && want.Effect == policy.Allow {
					allowedProbes++
				}
			}
			if allowedProbes == 0 || allowedProbes == len(w.Probes) {
				t.Errorf("%d of %d probes are allowed", allowedProbes, len(w.Probes))
			}
		})
	}
}

func TestNewWorkloadKnowsItsNames(t *testing.T) {
	if _, err := NewWorkload("W7"); err == nil {
		t.Error("W7 was made")
	}
}

// TestWorkloadsAreRepeatable: figures of different runs are of the same queries.
func TestWorkloadsAreRepeatable(t *testing.T) {
	a, _, _ := prepared(t, "W2")
	b, _, _ := prepared(t, "W2")
	for i := range a.Queries {
		if x, y := fmt.Sprint(*a.Queries[i]), fmt.Sprint(*b.Queries[i]); x != y {
			t.Fatalf("query %d: %s, then %s", i, x, y)
		}
	}
}
