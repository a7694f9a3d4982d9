package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args string
		want error
		says string
	}{
		{"-help", flag.ErrHelp, "-workloads"},
		{"-workloads W9", errUsage, "not one of W1, W2"},
		{"-o xml", errUsage, "-o format"},
		{"-seconds 0", errUsage, "-seconds"},
		{"more", errUsage, "-seconds"},
	} {
		var stderr bytes.Buffer
		if err := run(strings.Fields(tt.args), &bytes.Buffer{}, &stderr); !errors.Is(err, tt.want) || !strings.Contains(stderr.String(), tt.says) {
			t.Errorf("%s: %v, %s", tt.args, err, stderr.String())
		}
	}
}

// TestReport measures for a moment: enough for every figure to be there.
func TestReport(t *testing.T) {
	var stdout bytes.Buffer
	if err := run([]string{"-workloads", "W1,W2", "-seconds", "0.2", "-o", "json"}, &stdout, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Workloads) != 2 || len(r.Compiling) != 1 || len(r.Verdicts) < 10 {
		t.Fatalf("%s", stdout.Bytes())
	}
	for _, w := range r.Workloads {
		for _, f := range w.Figures {
			if f.Absent == "" && (f.Repeated <= 0 || f.Shuffled <= 0 || f.RepeatedOfLimit <= 0 || f.ShuffledOfLimit <= 0) {
				t.Errorf("%s: %+v", w.Name, f)
			}
		}
		if p := w.figure(nameUnbound); p.Allocs > 0.001 {
			t.Errorf("%s: %v allocations a decision", w.Name, p.Allocs)
		}
		if p := w.bestPeer(); p == nil || p.Name == nameLimit || p.Name == nameUnbound {
			t.Errorf("%s: best peer %+v", w.Name, p)
		}
	}
	var text bytes.Buffer
	if err := r.print(&text); err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{"postern, bound", "cel-go", "cedar-go", "opa", "casbin", "W2 has no casbin: ", "W2 compiles from "} {
		if !strings.Contains(text.String(), says) {
			t.Errorf("the report does not say %q:\n%s", says, text.String())
		}
	}
}

func TestJudge(t *testing.T) {
	w := measured{Name: "W1", Scaling: ratio(math.NaN()), Figures: []figure{
		{Name: nameUnbound, Repeated: 20, Shuffled: 70, RepeatedOfLimit: 2.5},
		{Name: nameBound, Repeated: 5, Shuffled: 5, RepeatedOfLimit: 0.6, Allocs: 1},
		{Name: nameLimit, Repeated: 8},
		{Name: "slow", Peer: true, RepeatedOfPostern: 45},
		{Name: "fast", Peer: true, RepeatedOfPostern: 9},
		{Name: "missing", Peer: true, Absent: "because"},
	}}
	got := map[string]bool{}
	for _, v := range judge(&report{Workloads: []measured{w}}) {
		got[v.What] = v.Met
	}
	want := map[string]bool{
		"W1: times the limit":                     false,
		"W1: times as fast as the best peer":      true, // 9
		"W1: bound, times the limit":              true,
		"W1: allocations":                         false,
		"W1: 10,000 shuffled, times one repeated": false, // 3.5
	}
	for what, met := range want {
		if m, ok := got[what]; !ok || m != met {
			t.Errorf("%s: met %v, judged at all %v", what, m, ok)
		}
	}
	if len(got) != len(want) {
		t.Errorf("judged %v", got)
	}
}

func TestMedianRatio(t *testing.T) {
	nan := math.NaN()
	if got := medianRatio([]float64{nan, 4, nan, 9, 8}, []float64{1, 2, 1, 3, 1}); got != 3 {
		t.Errorf("%v", got)
	}
}

func TestSignificant(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.004: "0.004", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234567: "1,234,567"} {
		if got := significant(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

// TestRunnerTakesAllInTurn: shuffled means all of the requests, whatever fits a slice.
func TestRunnerTakesAllInTurn(t *testing.T) {
	seen := map[int]int{}
	items := make([]int, 100)
	for i := range items {
		items[i] = i
	}
	r := newRunner(&contender{name: "x", decide: inTurn(items, len(items), func(i int) bool {
		seen[i]++
		return false
	})}, len(items))
	clear(seen)
	r.n = 7
	for range 100 {
		r.turn(r.n)
	}
	for i := range items {
		if seen[i] != 7 {
			t.Fatalf("request %d was decided %d times", i, seen[i])
		}
	}
}
