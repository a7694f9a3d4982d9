package diff_test

import (
	"encoding/json"
	"flag"
	"testing"
	"time"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/diff"
	"github.com/posternhq/postern/dataplane/policy/policytest"
	"github.com/posternhq/postern/dataplane/policy/reference"
)

var (
	pairs     = flag.Uint64("pairs", 40, "how many generated pairs of policies to compare")
	firstPair = flag.Uint64("pair", 0, "seed of the first of them")
)

func parse(t testing.TB, text []byte) *policy.Document {
	t.Helper()
	d, err := policy.Parse(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return d
}

func compare(t testing.TB, old, new []byte, o diff.Options) diff.Result {
	t.Helper()
	r, err := diff.Compare(parse(t, old), parse(t, new), o)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, old, new)
	}
	return r
}

// TestGenerated compares generated policies with others and with mutants of
// themselves. Whatever is said to be equal must decide generated requests alike.
func TestGenerated(t *testing.T) {
	verdicts := map[string]int{}
	var slowest time.Duration
	for i := range *pairs {
		began := time.Now()
		seed := *firstPair + i
		kind, r := comparePair(t, seed)
		verdicts[kind+" "+string(r.Verdict)]++
		if r.Verdict == diff.Unknown || testing.Verbose() && len(r.Undecided) > 0 {
			t.Logf("seed %d: %s: %s %v", seed, kind, r.Reason, r.Undecided)
		}
		if took := time.Since(began); took > slowest {
			slowest = took
			t.Logf("seed %d took %v", seed, took)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("verdicts: %v", verdicts)
}

func comparePair(t testing.TB, seed uint64) (string, diff.Result) {
	t.Helper()
	g := policytest.New(seed)
	old := g.Document()
	new := g.Document()
	kind := "stranger"
	if seed%4 != 0 {
		kind = "mutant"
		new = mutate(t, g, old)
	}
	r := compare(t, old, new, diff.Options{})
	checkWitnesses(t, old, new, r)
	if t.Failed() {
		t.Fatalf("seed %d\n%s\n%s\n%s", seed, old, new, r)
	}
	readOld, _ := reference.Read(old)
	readNew, _ := reference.Read(new)
	for range 300 {
		q := g.Query()
		a, err := readOld.Eval(q)
		if err != nil {
			t.Fatal(err)
		}
		b, err := readNew.Eval(q)
		if err != nil {
			t.Fatal(err)
		}
		checkDecisions(t, r, a.Effect, b.Effect)
		if t.Failed() {
			t.Fatalf("seed %d\n%s\n%s\n%s%+v", seed, old, new, r, q)
		}
	}
	return kind, r
}

func undecided(r diff.Result, name string) bool {
	for _, u := range r.Undecided {
		if u == name {
			return true
		}
	}
	return false
}

// checkDecisions fails if two effects contradict a result.
func checkDecisions(t testing.TB, r diff.Result, old, new policy.Effect) {
	t.Helper()
	for _, c := range []struct {
		name   string
		found  *diff.Witness
		differ bool
	}{
		{"newly_allowed", r.NewlyAllowed, new == policy.Allow && old != policy.Allow},
		{"newly_denied", r.NewlyDenied, old == policy.Allow && new != policy.Allow},
		{"newly_explicit", r.NewlyExplicit, old == policy.Silent && new == policy.ExplicitDeny},
		{"newly_silent", r.NewlySilent, old == policy.ExplicitDeny && new == policy.Silent},
	} {
		if c.differ && c.found == nil && !undecided(r, c.name) {
			t.Errorf("said to be not %s, but a request is", c.name)
		}
	}
}

// checkWitnesses replays the witnesses by both evaluators.
func checkWitnesses(t testing.TB, old, new []byte, r diff.Result) {
	t.Helper()
	for name, w := range map[string]*diff.Witness{"allowed": r.NewlyAllowed, "denied": r.NewlyDenied, "explicit": r.NewlyExplicit, "silent": r.NewlySilent} {
		if w == nil {
			continue
		}
		for i, doc := range [][]byte{old, new} {
			said := []diff.Outcome{w.Old, w.New}[i].Decision
			want, err := reference.Eval(doc, &w.Request)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			prog, err := policy.Compile(parse(t, doc))
			if err != nil {
				t.Fatal(err)
			}
			req, err := w.Request.Request()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got := prog.Eval(req); got != want || said != want {
				t.Errorf("%s: Eval gives %+v, the reference %+v, the witness says %+v", name, got, want, said)
			}
		}
	}
}

// mutate changes one thing in a policy.
func mutate(t testing.TB, g *policytest.Generator, doc []byte) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(doc, &m); err != nil {
		t.Fatal(err)
	}
	list, ok := m["Statement"].([]any)
	if !ok {
		list = []any{m["Statement"]}
	}
	var other map[string]any
	if err := json.Unmarshal(g.Document(), &other); err != nil {
		t.Fatal(err)
	}
	others, ok := other["Statement"].([]any)
	if !ok {
		others = []any{other["Statement"]}
	}
	donor := others[0].(map[string]any)
	i := g.IntN(len(list))
	s := list[i].(map[string]any)
	swap := func(name string) {
		for _, n := range []string{name, "Not" + name} {
			delete(s, n)
			if v, ok := donor[n]; ok {
				s[n] = v
			}
		}
	}
	switch g.IntN(8) {
	case 0:
		swap("Principal")
	case 1:
		swap("Action")
	case 2:
		swap("Resource")
	case 3:
		delete(s, "Condition")
		if c, ok := donor["Condition"]; ok {
			s["Condition"] = c
		}
	case 4:
		delete(s, "Condition")
	case 5:
		list = append(list, donor)
	case 6: // nothing but the order
		g.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	case 7: // each statement twice
		list = append(list, list...)
	}
	m["Statement"] = list
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
