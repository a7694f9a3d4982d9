package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Places of the two charts in a drawing of benchmark figures.
const (
	chartWidth  = 760
	chartHeight = 310
	plotTop     = 70
	plotHeight  = 200
	leftPlot    = 60  // latency
	rightPlot   = 450 // throughput
	plotWidth   = 270
	plotBottom  = plotTop + plotHeight
)

// benchChart draws the latencies of the first run and the throughput of all.
func benchChart(a *benchJSON, latencies *histogram) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11" fill="#333">`+"\n", chartWidth, chartHeight, chartWidth, chartHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", chartWidth, chartHeight)
	what := counted(a.Statements, "statement") + ", " + counted(a.Requests, "request")
	if a.Bound {
		what += ", bound"
	}
	label(&b, leftPlot, 26, "start", "15", "postern policy bench: "+what)
	drawLatencies(&b, a.Runs[0], latencies)
	drawThroughput(&b, a.Runs)
	b.WriteString("</svg>\n")
	return b.String()
}

// label writes text, which holds no markup.
func label(b *strings.Builder, x, y float64, anchor, size, text string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%s">%s</text>`+"\n", x, y, anchor, size, text)
}

func line(b *strings.Builder, x1, y1, x2, y2 float64, color string) {
	fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", x1, y1, x2, y2, color)
}

// drawLatencies draws how many batches took how long, but for the slowest, on a
// logarithmic axis.
func drawLatencies(b *strings.Builder, run benchRun, h *histogram) {
	label(b, leftPlot, plotTop-16, "start", "12", fmt.Sprintf("time of a decision in ns (means of %d, %s)", run.Batch, counted(run.Processors, "processor")))
	first, last := -1, 0
	beyond := min(run.P999*1.1, run.P99*4) // a long tail would leave no room for the rest
	most := uint64(1)
	for i, n := range h.counts {
		if n > 0 && h.at(i) <= beyond {
			if first < 0 {
				first = i
			}
			last = i
			most = max(most, n)
		}
	}
	if first < 0 { // stopped before the first batch
		return
	}
	first, last = max(first-2, 0), last+2
	step := float64(plotWidth) / float64(last-first+1)
	x := func(i float64) float64 { return leftPlot + (i-float64(first))*step }
	for i := first; i <= last && i < len(h.counts); i++ {
		if n := h.counts[i]; n > 0 {
			height := plotHeight * float64(n) / float64(most)
			fmt.Fprintf(b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="#3b7dd8"/>`+"\n", x(float64(i)), plotBottom-height, math.Max(step*0.9, 0.5), height)
		}
	}
	line(b, leftPlot, plotBottom, leftPlot+plotWidth, plotBottom, "#333")
	position := func(ns float64) float64 { return x((math.Log2(ns) - leastDoubling) * stepsPerDoubling) }
	low, high := h.at(first), h.at(last)
	right := math.Inf(-1)
	for _, tick := range ticks(low, high) {
		at := position(tick)
		if at < right { // no room for its number
			continue
		}
		line(b, at, plotBottom, at, plotBottom+4, "#333")
		label(b, at, plotBottom+17, "middle", "11", strconv.FormatFloat(tick, 'g', 4, 64))
		right = at + 36
	}
	for i, p := range []struct {
		name string
		ns   float64
	}{{"p50", run.P50}, {"p99", run.P99}} {
		at := position(p.ns)
		line(b, at, plotTop, at, plotBottom, "#d8573b")
		label(b, at+3, plotTop+9+12*float64(i), "start", "10", p.name+" "+short(p.ns))
	}
}

// ticks are round numbers from low to high, dense enough for a range of any width.
func ticks(low, high float64) []float64 {
	var out []float64
	for decade := math.Pow(10, math.Floor(math.Log10(low))); decade <= high; decade *= 10 {
		steps := []float64{1, 2, 5}
		if high/low < 4 {
			steps = []float64{1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9}
		}
		for _, s := range steps {
			if v := decade * s; v >= low && v <= high {
				out = append(out, v)
			}
		}
	}
	return out
}

// drawThroughput draws a bar for each number of processors.
func drawThroughput(b *strings.Builder, runs []benchRun) {
	label(b, rightPlot, plotTop-16, "start", "12", "million decisions/s by number of processors")
	most := 0.0
	for _, r := range runs {
		most = max(most, r.PerSecond)
	}
	step := plotWidth / float64(len(runs))
	width := math.Min(step*0.7, 60)
	for i, r := range runs {
		at := rightPlot + step*(float64(i)+0.5)
		height := plotHeight * 0.94 * r.PerSecond / most
		fmt.Fprintf(b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="#4a9d6e"/>`+"\n", at-width/2, plotBottom-height, width, height)
		if step >= 26 || i == len(runs)-1 {
			label(b, at, plotBottom-height-4, "middle", "10", short(r.PerSecond/1e6))
		}
		if step >= 14 || i == 0 || i == len(runs)-1 {
			label(b, at, plotBottom+17, "middle", "11", fmt.Sprint(r.Processors))
		}
	}
	line(b, rightPlot, plotBottom, rightPlot+plotWidth, plotBottom, "#333")
}
