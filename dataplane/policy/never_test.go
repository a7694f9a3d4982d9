package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/policytest"
	"github.com/posternhq/postern/dataplane/policy/reference"
)

// TestNeverIsNever: a statement that Validate says can never match because of
// its conditions applies to no generated request, by the reference evaluator.
func TestNeverIsNever(t *testing.T) {
	found := 0
	for seed := range uint64(4000) {
		g := policytest.New(seed)
		text := g.IdentityDocument()
		doc, err := policy.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		// Of identity policies nothing is said but what the language itself decides.
		_, warnings := doc.Validate(policy.IdentityPolicy)
		var never []string // paths of statements
		for _, w := range warnings {
			if path, _, ok := strings.Cut(w.Path, ".Condition."); ok && strings.HasPrefix(w.Message, "the statement can never match") {
				never = append(never, path)
			}
		}
		if len(never) == 0 {
			continue
		}
		found += len(never)
		ref, err := reference.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			q := g.AnyQuery()
			applies, err := ref.Applies(q)
			if err != nil {
				t.Fatal(err)
			}
			for i, a := range applies {
				if a && (slices.Contains(never, fmt.Sprintf("Statement[%d]", i)) || slices.Contains(never, "Statement")) {
					t.Fatalf("seed %d: statement %d can never match, says Validate, but applies to %+v\n%s", seed, i, q, text)
				}
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d statements can never match: the test would find little", found)
	}
}
