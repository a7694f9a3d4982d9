package policy_test

import (
	"testing"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/policytest"
)

// BenchmarkWorkload is for whoever works on the engine; make bench-policy
// compares it with the limit and with other engines.
func BenchmarkWorkload(b *testing.B) {
	for _, name := range policytest.Names() {
		b.Run(name, func(b *testing.B) {
			w, err := policytest.NewWorkload(name)
			if err != nil {
				b.Fatal(err)
			}
			prog := compile(b, string(w.Document))
			requests, err := policytest.Requests(w.Queries)
			if err != nil {
				b.Fatal(err)
			}
			programs := make([]*policy.Program, len(requests))
			for i := range programs {
				programs[i] = prog
			}
			turns(b, "unbound", programs, requests)
			// Many endpoints: bind for some, and take their queries only.
			var bound []*policy.Program
			var theirs []*policy.Request
			for i, p := range policytest.Bind(prog, w.Queries, 2000) {
				if p != nil {
					bound, theirs = append(bound, p), append(theirs, requests[i])
				}
			}
			turns(b, "bound", bound, theirs)
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
