package main

import (
	"fmt"
	"math"
	"strings"
)

// verdict is one promise and what came of it.
type verdict struct {
	What     string  `json:"what"`
	Measured float64 `json:"measured"`
	Target   float64 `json:"target"`
	AtLeast  bool    `json:"at_least"` // otherwise at most
	Met      bool    `json:"met"`
	Note     string  `json:"note,omitempty"`
}

func atMost(what string, measured, target float64, note string) verdict {
	return verdict{what, measured, target, false, measured <= target, note}
}

func atLeast(what string, measured, target float64, note string) verdict {
	return verdict{what, measured, target, true, measured >= target, note}
}

// promises are the targets of each kind of workload.
var promises = map[string]struct{ ofLimit, ofPeer, bound float64 }{
	"W1": {2, 8, 1.5}, "W2": {3, 25, 1.5}, "W3": {2.5, 200, 0}, "W4": {2, 200, 0}, "W5": {2, 4, 1.5}, "W6": {5, 20, 0},
}

const (
	shuffledAtMost = 3.0
	growthAtMost   = 1.5
	scalingAtLeast = 1.8
)

// judge compares what was measured with what was promised.
func judge(r *report) []verdict {
	var out []verdict
	for i := range r.Workloads {
		w := &r.Workloads[i]
		kind, _, _ := strings.Cut(w.Name, "-")
		p := promises[kind]
		postern, bound := w.figure(nameUnbound), w.figure(nameBound)
		out = append(out, atMost(w.Name+": times the limit", postern.RepeatedOfLimit, p.ofLimit, ""))
		if peer := w.bestPeer(); peer != nil {
			out = append(out, atLeast(w.Name+": times as fast as the best peer", peer.RepeatedOfPostern, p.ofPeer, peer.Name))
		}
		if p.bound > 0 {
			out = append(out, atMost(w.Name+": bound, times the limit", bound.RepeatedOfLimit, p.bound, ""))
		}
		out = append(out,
			atMost(w.Name+": allocations", math.Max(postern.Allocs, bound.Allocs), 0.001, "0, but for the runtime's own"),
			atMost(w.Name+": 10,000 shuffled, times one repeated", postern.Shuffled/postern.Repeated, shuffledAtMost, ""))
		if !math.IsNaN(float64(w.Scaling)) {
			out = append(out, atLeast(w.Name+": two processors, times one", float64(w.Scaling), scalingAtLeast, ""))
		}
	}
	if r.Growth != nil {
		out = append(out, atMost("W3-10000 times W3-100", *r.Growth, growthAtMost, "in turns"))
	}
	for _, c := range r.Compiling {
		switch c.Workload {
		case "W2":
			out = append(out, atMost("W2: compiles, ms", c.MS, 2, ""))
		case "W3-10000":
			out = append(out, atMost("W3-10000: compiles, ms", c.MS, 300, ""), atMost("W3-10000: allocates meanwhile, MB", c.Allocated, 60, ""))
		}
	}
	return out
}

func (v verdict) String() string {
	word, sign := "MISSED", "at most"
	if v.Met {
		word = "met"
	}
	if v.AtLeast {
		sign = "at least"
	}
	note := v.Note
	if note != "" {
		note = " (" + note + ")"
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s %s%s", word, v.What, significant(v.Measured), sign, significant(v.Target), note)
}
