package policy_test

import (
	"testing"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/policytest"
)

// workload is one ready to be decided: with the program that knows nothing, and
// with those of some ways to the API.
type workload struct {
	requests       []*policy.Request
	programs       []*policy.Program
	bound          []*policy.Program
	requestsOfSome []*policy.Request
}

// boundPrograms is how many ways have programs of their own.
const boundPrograms = 100

func prepare(t testing.TB, name string) workload {
	t.Helper()
	made, err := policytest.NewWorkload(name)
	if err != nil {
		t.Fatal(err)
	}
	prog := compile(t, string(made.Document))
	var w workload
	if w.requests, err = policytest.Requests(made.Queries); err != nil {
		t.Fatal(err)
	}
	for i, p := range policytest.Bind(prog, made.Queries, boundPrograms) {
		w.programs = append(w.programs, prog)
		if p != nil {
			w.bound, w.requestsOfSome = append(w.bound, p), append(w.requestsOfSome, w.requests[i])
		}
	}
	return w
}

func TestWorkloadsAllocateNothing(t *testing.T) {
	for _, name := range policytest.Names() {
		w := prepare(t, name)
		if n := testing.AllocsPerRun(2, func() {
			for i, r := range w.requests {
				w.programs[i].Eval(r)
			}
			for i, r := range w.requestsOfSome {
				w.bound[i].Eval(r)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations for %d requests", name, n, len(w.requests)+len(w.requestsOfSome))
		}
	}
}

// BenchmarkWorkload is for whoever works on the engine; make bench-policy
// compares it with the limit and with other engines.
func BenchmarkWorkload(b *testing.B) {
	for _, name := range policytest.Names() {
		b.Run(name, func(b *testing.B) {
			w := prepare(b, name)
			turns(b, "unbound", w.programs, w.requests)
			turns(b, "bound", w.bound, w.requestsOfSome)
		})
	}
}

// turns measures one allowed request, again and again, and then all in turn.
func turns(b *testing.B, form string, programs []*policy.Program, requests []*policy.Request) {
	b.Run(form+"/repeated", func(b *testing.B) {
		at := 0
		for programs[at].Eval(requests[at]).Effect != policy.Allow {
			at++
		}
		prog, r := programs[at], requests[at]
		b.ReportAllocs()
		for b.Loop() {
			prog.Eval(r)
		}
	})
	b.Run(form+"/shuffled", func(b *testing.B) {
		b.ReportAllocs()
		at := 0
		for b.Loop() {
			programs[at].Eval(requests[at])
			if at++; at == len(requests) {
				at = 0
			}
		}
	})
}
