package diff_test

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/diff"
	"github.com/posternhq/postern/dataplane/policy/reference"
)

// world is a small world: policies of few words, and all requests in which
// such words occur.
type world struct {
	*rand.Rand
	requests []*policy.Query
}

func (w *world) one(list ...string) string { return list[w.IntN(len(list))] }

func newWorld(seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 1))}
	lists := map[string][]policy.Values{
		"aws:SourceVpce": {nil, {"vpce-1"}, {"vpce-2"}, {"x"}},
		"custom:Words":   {nil, {"a"}, {"b"}, {"a", "b"}, {"a", "c"}, {""}, {"", "a"}},
		"aws:SourceIp":   {nil, {"10.0.0.1"}, {"10.1.0.1"}, {"::1"}, {"none"}},
		"custom:Number":  {nil, {"0.5"}, {"1"}, {"1.2"}, {"1.5"}, {"1.7"}, {"2"}, {"3"}, {"none"}},
	}
	// Requests have two of the keys, so that all requests can be tried.
	keys := []string{"aws:SourceVpce", "custom:Words", "aws:SourceIp", "custom:Number"}
	w.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	for _, principal := range []string{"", "arn:aws:iam::111122223333:user/bob", "arn:aws:sts::111122223333:assumed-role/dev/bob", "arn:aws:iam::444455556666:root"} {
		for _, path := range []string{"prod/GET/a", "prod/GET/bob", "dev/POST/"} {
			for _, first := range lists[keys[0]] {
				for _, second := range lists[keys[1]] {
					q := &policy.Query{Principal: principal, Resource: "arn:aws:execute-api:us-east-1:111122223333:abcde12345/" + path, Context: map[string]policy.Values{}}
					if first != nil {
						q.Context[keys[0]] = first
					}
					if second != nil {
						q.Context[keys[1]] = second
					}
					w.requests = append(w.requests, q)
				}
			}
		}
	}
	return w
}

func (w *world) condition() map[string]any {
	not := w.one("", "Not")
	var op, key string
	var values []string
	switch w.IntN(5) {
	case 0:
		op, key, values = "String"+not+"Equals", "aws:SourceVpce", []string{w.one("vpce-1", "vpce-2"), w.one("vpce-2", "${aws:username}")}
	case 1:
		op, key, values = "String"+not+"Like", w.one("aws:SourceVpce", "custom:Words"), []string{w.one("*", "vpce-*", "a*", "?", "*2")}
	case 2:
		op, key, values = "String"+not+"Equals", "custom:Words", []string{w.one("a", "b"), w.one("a", "c")}
	case 3:
		op, key, values = not+"IpAddress", "aws:SourceIp", []string{w.one("10.0.0.0/8", "10.0.0.0/16", "0.0.0.0/0", "::/0")}
	default:
		op = "Numeric" + w.one("Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals")
		key, values = "custom:Number", []string{w.one("1", "1.5", "2")}
	}
	if w.IntN(3) == 0 {
		op = w.one("ForAllValues:", "ForAnyValue:") + op
	}
	if w.IntN(4) == 0 {
		op += "IfExists"
	}
	if w.IntN(6) == 0 {
		op, values = "Null", []string{w.one("true", "false")}
	}
	return map[string]any{op: map[string]any{key: values}}
}

func (w *world) statement() map[string]any {
	s := map[string]any{
		"Effect": w.one("Allow", "Allow", "Deny"), "Action": "execute-api:Invoke",
		"Resource": "arn:aws:execute-api:*:*:*/" + w.one("*", "prod/*", "*/GET/*", "prod/GET/a", "prod/GET/${aws:username}", "dev/*"),
	}
	s[w.one("Principal", "Principal", "Principal", "NotPrincipal")] = [...]any{"*", "*",
		map[string]any{"AWS": []string{"111122223333", "arn:aws:iam::111122223333:user/bob"}},
		map[string]any{"AWS": "arn:aws:iam::111122223333:role/dev"},
	}[w.IntN(4)]
	if w.IntN(4) > 0 {
		s["Condition"] = w.condition()
	}
	return s
}

// pair is a policy and another in which, as a rule, little is different.
func (w *world) pair() (old, new []byte) {
	var list []any
	for range 1 + w.IntN(3) {
		list = append(list, w.statement())
	}
	document := func() []byte {
		text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": list})
		if err != nil {
			panic(err)
		}
		return text
	}
	old = document()
	i := w.IntN(len(list))
	changed := maps.Clone(list[i].(map[string]any))
	switch w.IntN(4) {
	case 0:
		list[i] = w.statement()
	case 1:
		changed["Condition"] = w.condition()
		list[i] = changed
	case 2:
		changed["Resource"] = w.statement()["Resource"]
		list[i] = changed
	case 3:
		list = append(list, w.statement())
	}
	return old, document()
}

// TestBruteForce tries all requests of small worlds: what they tell apart must
// not be called equal, and what is called different must have a witness.
func TestBruteForce(t *testing.T) {
	counts := map[string]int{}
	for seed := range *pairs {
		w := newWorld(*firstPair + seed)
		old, new := w.pair()
		r := compare(t, old, new, diff.Options{})
		checkWitnesses(t, old, new, r)
		counts[string(r.Verdict)]++
		readOld, err := reference.Read(old)
		if err != nil {
			t.Fatal(err)
		}
		readNew, err := reference.Read(new)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range w.requests {
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
				t.Fatalf("seed %d\n%s\n%s\n%s\n%+v", *firstPair+seed, old, new, r, q)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d\n%s\n%s\n%s", *firstPair+seed, old, new, r)
		}
		if r.Verdict == diff.Unknown {
			t.Logf("seed %d: %s\n%s\n%s", *firstPair+seed, r.Reason, old, new)
		}
	}
	t.Logf("verdicts: %v", counts)
	if n := int(*pairs); counts["unknown"] > n/20 || counts["equal"] < n/10 || counts["different"] < n/10 {
		t.Errorf("verdicts %v: too few of a kind, or too many unknown", counts)
	}
}
