package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

// TestHistogram: percentiles are those of what was recorded, to two per cent.
func TestHistogram(t *testing.T) {
	var h histogram
	if h.percentile(50) != 0 {
		t.Error("an empty histogram has percentiles")
	}
	for i := range 1000 {
		h.record(float64(i + 1))
	}
	h.record(0)
	h.record(math.MaxFloat64)
	for p, want := range map[float64]float64{50: 500, 90: 900, 99: 990} {
		if got := h.percentile(p); math.Abs(got-want) > want*0.025 {
			t.Errorf("percentile %v is %v, want about %v", p, got, want)
		}
	}
	var sum histogram
	sum.add(&h)
	sum.add(&h)
	if sum.total != 2*h.total || sum.percentile(90) != h.percentile(90) {
		t.Errorf("twice the same: %d values, %v", sum.total, sum.percentile(90))
	}
}

// TestBenchChart: the drawing is XML, inside its frame, whatever the figures.
func TestBenchChart(t *testing.T) {
	var wide, empty histogram
	for i := range 200 {
		wide.record(math.Exp2(float64(i%30) - 4))
	}
	run := func(p int, h *histogram) benchRun {
		return benchRun{Processors: p, PerSecond: float64(p) * 1e7, NS: 100, P50: h.percentile(50), P90: h.percentile(90), P99: h.percentile(99), P999: h.percentile(99.9), Batch: 64}
	}
	for name, h := range map[string]*histogram{"wide": &wide, "empty": &empty} {
		for _, processors := range []int{1, 64} {
			a := benchJSON{Statements: 1, Requests: 2, Bound: true}
			for p := range processors {
				a.Runs = append(a.Runs, run(p+1, h))
			}
			text := benchChart(&a, h)
			if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
				t.Errorf("%s, %d processors: a figure is no number", name, processors)
			}
			for dec := xml.NewDecoder(strings.NewReader(text)); ; {
				if _, err := dec.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%s, %d processors: %v", name, processors, err)
				}
			}
		}
	}
}
