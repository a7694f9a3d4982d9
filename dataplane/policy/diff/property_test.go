package diff_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/diff"
	"github.com/posternhq/postern/dataplane/policy/policytest"
)

// rewrite is a policy's JSON after f has changed its statements in a way that
// must not matter.
func rewrite(t testing.TB, doc []byte, f func(list []any) []any) []byte {
	t.Helper()
	var m map[string]any
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber() // 1e3 is no number of the language, 1000 is one
	if err := dec.Decode(&m); err != nil {
		t.Fatal(err)
	}
	list, ok := m["Statement"].([]any)
	if !ok {
		list = []any{m["Statement"]}
	}
	m["Statement"] = f(list)
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// split makes of each statement with a list of resources or actions one for
// each of them. Not so for NotResource and NotAction, which mean none of them.
func split(list []any) []any {
	var out []any
	for _, s := range list {
		parts := []map[string]any{s.(map[string]any)}
		for _, name := range []string{"Resource", "Action"} {
			var next []map[string]any
			for _, s := range parts {
				values, ok := s[name].([]any)
				if !ok {
					next = append(next, s)
				}
				for _, v := range values {
					one := map[string]any{}
					for k, old := range s {
						one[k] = old
					}
					one[name] = v
					next = append(next, one)
				}
			}
			parts = next
		}
		for _, s := range parts {
			out = append(out, s)
		}
	}
	return out
}

// TestEqual compares generated policies with other ways of writing them.
func TestEqual(t *testing.T) {
	target := policy.Target{Region: "us-east-1", Account: "111122223333", APIID: "abcde12345"}
	for seed := range *pairs {
		g := policytest.New(*firstPair + seed)
		doc := g.Document()
		// A budget that was never spent on policies of this size.
		o := diff.Options{Under: apiARN + "/"}
		for name, other := range map[string][]byte{
			"itself, with spaces": append([]byte(" "), doc...),
			"normal form":         parse(t, doc).Normalize(target),
			"split":               rewrite(t, doc, split),
			"reversed": rewrite(t, doc, func(list []any) []any {
				var out []any
				for _, s := range list {
					out = append([]any{s}, out...)
				}
				return out
			}),
			"doubled": rewrite(t, doc, func(list []any) []any { return append(list, list...) }),
		} {
			if r := compare(t, doc, other, o); r.Verdict != diff.Equal || len(r.Undecided) > 0 || r.NewlyExplicit != nil || r.NewlySilent != nil {
				t.Fatalf("seed %d: %s: %s%v\n%s\n%s", *firstPair+seed, name, r, r.Undecided, doc, other)
			}
		}
	}
}

// TestLarge compares large policies within the default budget.
func TestLarge(t *testing.T) {
	g := policytest.New(1)
	doc := g.LargeDocument(120)
	other := rewrite(t, doc, func(list []any) []any { return append(split(list[60:]), list[:60]...) })
	if r := compare(t, doc, other, diff.Options{}); r.Verdict != diff.Equal {
		t.Errorf("another order of 120 statements: %s", r)
	}
}

// FuzzCompare takes seeds of generated pairs, as TestGenerated does.
func FuzzCompare(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { comparePair(t, seed) })
}

// FuzzCompareText takes any two documents; it holds that comparing ends and
// that witnesses are true.
func FuzzCompareText(f *testing.F) {
	g := policytest.New(7)
	for range 20 {
		f.Add(g.Document(), g.Document())
	}
	f.Fuzz(func(t *testing.T, old, new []byte) {
		a, err := policy.Parse(old)
		if err != nil {
			return
		}
		b, err := policy.Parse(new)
		if err != nil {
			return
		}
		for _, d := range []*policy.Document{a, b} {
			if _, err := policy.Compile(d); err != nil {
				return
			}
		}
		r, err := diff.Compare(a, b, diff.Options{Budget: 2_000_000})
		if err != nil {
			t.Fatal(err)
		}
		checkWitnesses(t, old, new, r)
	})
}
