package diff_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/diff"
	"github.com/posternhq/postern/dataplane/policy/policytest"
)

// wild is a policy of many overlapping wildcards on one key: what comparing
// finds hardest.
func wild(n int, last string) []byte {
	var list []any
	for i := range n {
		var patterns []string
		for j := range 4 {
			patterns = append(patterns, fmt.Sprintf("*%c*%c*%c*", 'a'+(i+j)%26, 'a'+(3*i+j)%26, 'a'+(7*i+2*j)%26))
		}
		list = append(list, map[string]any{
			"Effect": []string{"Allow", "Deny"}[i%2], "Principal": "*", "Action": "*",
			"Resource":  fmt.Sprintf("arn:aws:execute-api:*:*:*/*/%c*/*%c*", 'a'+i%26, 'a'+2*i%26),
			"Condition": map[string]any{"StringLike": map[string]any{"aws:UserAgent": patterns}},
		})
	}
	list = append(list, map[string]any{"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*",
		"Condition": map[string]any{"StringLike": map[string]any{"aws:UserAgent": last}}})
	out, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": list})
	if err != nil {
		panic(err)
	}
	return out
}

// TestBudget: a comparison that can't be finished says so, and soon.
func TestBudget(t *testing.T) {
	for _, budget := range []int{1, 1000, 100_000, 2_000_000} {
		old, new := wild(40, "*zz*z*"), wild(40, "*z*zz*")
		began := time.Now()
		r := compare(t, old, new, diff.Options{Budget: budget})
		checkWitnesses(t, old, new, r)
		t.Logf("budget %d: %s in %v", budget, r.Verdict, time.Since(began))
		if r.Verdict == diff.Equal {
			t.Errorf("budget %d: %s", budget, r)
		}
	}
}

// TestBudgetVariables: nor do variables make it long.
func TestBudgetVariables(t *testing.T) {
	g := policytest.New(3)
	for range 3 {
		old, new := g.LargeDocument(30), g.LargeDocument(30)
		began := time.Now()
		r := compare(t, old, new, diff.Options{Budget: 2_000_000})
		checkWitnesses(t, old, new, r)
		t.Logf("%d bytes: %s %v in %v", len(old), r.Verdict, r.Undecided, time.Since(began))
	}
}

func BenchmarkCompare(b *testing.B) {
	old := parse(b, wild(8, "*zz*"))
	for _, c := range []struct {
		name string
		new  *policy.Document
	}{
		{"near", parse(b, wild(8, "*z*"))},
		{"none", nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := diff.Compare(old, c.new, diff.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
