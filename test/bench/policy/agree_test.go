package main

import (
	"testing"

	"github.com/posternhq/postern/dataplane/policy/policytest"
)

// TestAllDecideAlike: what follows would compare the speed of different answers.
func TestAllDecideAlike(t *testing.T) {
	for _, name := range policytest.Names() {
		if name == "W3-10000" && testing.Short() {
			continue // some seconds of compiling; W3-1000 has the same shape
		}
		t.Run(name, func(t *testing.T) {
			f, err := newField(name, makers)
			if err != nil {
				t.Fatal(err)
			}
			if d := f.disagreement(sampleOf(name)); d != "" {
				t.Error(d)
			}
		})
	}
}
