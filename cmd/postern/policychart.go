package main

import (
	"fmt"
	"math"
	"strconv"

	"github.com/posternhq/postern/internal/chart"
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
	what := counted(a.Statements, "statement") + ", " + counted(a.Requests, "request")
	if a.Bound {
		what += ", bound"
	}
	title := "postern policy bench: " + what
	d := chart.New(chartWidth, chartHeight, title)
	d.Text(leftPlot, 26, chart.Start, 15, title)
	drawLatencies(d, a.Runs[0], latencies)
	drawThroughput(d, a.Runs)
	return d.String()
}

// drawLatencies draws how many batches took how long, but for the slowest, on a
// logarithmic axis.
func drawLatencies(d *chart.Drawing, run benchRun, h *histogram) {
	d.Text(leftPlot, plotTop-16, chart.Start, 12, fmt.Sprintf("time of a decision in ns (means of %d, %s)", run.Batch, counted(run.Processors, "processor")))
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
			d.Bar(x(float64(i)), plotBottom-height, math.Max(step*0.9, 0.5), height, chart.Series(0))
		}
	}
	d.Line(leftPlot, plotBottom, leftPlot+plotWidth, plotBottom, chart.Ink)
	position := func(ns float64) float64 { return x((math.Log2(ns) - leastDoubling) * stepsPerDoubling) }
	low, high := h.at(first), h.at(last)
	right := math.Inf(-1)
	for _, tick := range chart.LogTicks(low, high) {
		at := position(tick)
		if at < right { // no room for its number
			continue
		}
		d.Line(at, plotBottom, at, plotBottom+4, chart.Ink)
		d.Text(at, plotBottom+17, chart.Middle, 11, strconv.FormatFloat(tick, 'g', 4, 64))
		right = at + 36
	}
	for i, p := range []struct {
		name string
		ns   float64
	}{{"p50", run.P50}, {"p99", run.P99}} {
		at := position(p.ns)
		d.Line(at, plotTop, at, plotBottom, chart.Series(1))
		d.Text(at+3, plotTop+9+12*float64(i), chart.Start, 10, p.name+" "+short(p.ns))
	}
}

// drawThroughput draws a bar for each number of processors.
func drawThroughput(d *chart.Drawing, runs []benchRun) {
	d.Text(rightPlot, plotTop-16, chart.Start, 12, "million decisions/s by number of processors")
	most := 0.0
	for _, r := range runs {
		most = max(most, r.PerSecond)
	}
	step := plotWidth / float64(len(runs))
	width := math.Min(step*0.7, 60)
	for i, r := range runs {
		at := rightPlot + step*(float64(i)+0.5)
		height := plotHeight * 0.94 * r.PerSecond / most
		d.Bar(at-width/2, plotBottom-height, width, height, chart.Series(2))
		if step >= 26 || i == len(runs)-1 {
			d.Text(at, plotBottom-height-4, chart.Middle, 10, short(r.PerSecond/1e6))
		}
		if step >= 14 || i == 0 || i == len(runs)-1 {
			d.Text(at, plotBottom+17, chart.Middle, 11, fmt.Sprint(r.Processors))
		}
	}
	d.Line(rightPlot, plotBottom, rightPlot+plotWidth, plotBottom, chart.Ink)
}
