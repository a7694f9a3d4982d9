package main

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/posternhq/postern/dnsprop/simulate"
	"github.com/posternhq/postern/internal/chart"
)

// Places in the chart of `dns simulate`.
const (
	simWidth  = 840
	simLeft   = 64
	simRight  = 24
	simTop    = 64
	simPlot   = 280 // height
	simBottom = simTop + simPlot
	simLegend = simBottom + 70 // the first line of it
	simLine   = 20
)

// curve is one distribution in the chart.
type curve struct {
	title string
	style chart.Style
	times *simulate.Histogram
	note  *timeJSON
}

// simulationChart draws which share of places sees the change for good after which
// time: of one setting name servers, resolvers and clients; of several the clients.
func simulationChart(c *dnsSimulateCmd, a *simulateJSON, all []played) string {
	var curves []curve
	if len(all) == 1 {
		s := &a.Settings[0]
		curves = []curve{
			{"name servers", chart.Series(2), &all[0].Authority, s.time("authority")},
			{"resolvers, for good", chart.Series(0), &all[0].ResolverGood, s.time("resolver_good")},
			{"clients, first answer", chart.Series(1) + " " + chart.Dashed, &all[0].ClientFirst, s.time("client_first")},
			{"clients, for good", chart.Series(1), &all[0].ClientGood, s.time("client_good")},
		}
	} else {
		if !strings.HasPrefix(c.Sweep, "profile=") {
			curves = append(curves, curve{"name servers", chart.Series(7) + " " + chart.Dashed, &all[0].Authority, a.Settings[0].time("authority")})
		}
		for i := range all {
			curves = append(curves, curve{"clients, " + all[i].name, chart.Series(i), &all[i].ClientGood, a.Settings[i].time("client_good")})
		}
	}
	d := chart.New(simWidth, simLegend+simLine*len(curves), a.heading())
	d.Text(simLeft, 26, chart.Start, 15, a.heading())
	d.Text(simLeft, 46, chart.Start, 12, c.chartSubtitle())
	drawShares(d, curves, time.Duration(a.Duration*float64(time.Millisecond)))
	for i, c := range curves {
		y := float64(simLegend + simLine*i)
		d.Line(simLeft, y-4, simLeft+28, y-4, c.style+" "+chart.Key)
		d.Text(simLeft+36, y, chart.Start, 12, c.title)
		d.Text(simLeft+250, y, chart.Start, 12, "p50 "+lasting(c.note.P50))
		d.Text(simLeft+360, y, chart.Start, 12, "p99 "+lasting(c.note.P99))
		d.Text(simLeft+470, y, chart.Start, 12, "max "+lasting(c.note.Max))
		if c.note.Never > 0 {
			d.Text(simLeft+580, y, chart.Start, 12, "never "+percent(c.note.Never, c.note.Count))
		}
	}
	return d.String()
}

// chartSubtitle says how clients ask, and what else was set.
func (c *dnsSimulateCmd) chartSubtitle() string {
	var parts []string
	add := func(said bool, name, value, after string) {
		if said {
			parts = append(parts, name+value+after)
		}
	}
	swept, _, _ := strings.Cut(c.Sweep, "=")
	add(swept != "queries", "each asks ", c.Queries, "")
	add(c.Before != 0, "from ", whole(c.Before), " before the change on")
	add(c.Wait != 0, "from ", whole(c.Wait), " after the change on")
	add(c.ClientCache != "none" && swept != "client-cache", "client caches ", c.ClientCache, "")
	add(c.ResolverCache != "", "resolver caches ", c.ResolverCache, "")
	for _, f := range c.Fault {
		add(true, "fault ", f, "")
	}
	for _, d := range c.Deploy {
		add(true, "deployed after ", whole(d), "")
	}
	return strings.Join(parts, " · ")
}

// whole is a duration without what is zero of it: 5m, not 5m0s.
func whole(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// drawShares draws the axes and curves, as far to the right as something changes.
func drawShares(d *chart.Drawing, curves []curve, duration time.Duration) {
	high := time.Duration(0)
	for _, c := range curves {
		high = max(high, c.times.Max())
	}
	if high = min(high+high/20, duration); high <= 0 {
		high = duration
	}
	const width = simWidth - simLeft - simRight
	x := func(t time.Duration) float64 { return simLeft + width*float64(t)/float64(high) }
	y := func(share float64) float64 { return simBottom - simPlot*share }
	for percent := 0; percent <= 100; percent += 25 {
		at := y(float64(percent) / 100)
		d.Line(simLeft, at, simLeft+width, at, chart.Grid)
		d.Text(simLeft-8, at+4, chart.End, 11, strconv.Itoa(percent)+" %")
	}
	ticks, unit, name := chart.TimeTicks(high)
	for _, t := range ticks {
		d.Line(x(t), simTop, x(t), simBottom, chart.Grid)
		d.Line(x(t), simBottom, x(t), simBottom+4, chart.Ink)
		d.Text(x(t), simBottom+17, chart.Middle, 11, strconv.FormatFloat(float64(t)/float64(unit), 'g', 4, 64))
	}
	d.Text(simLeft+width/2, simBottom+36, chart.Middle, 12, name+" after the change was committed")
	d.Upward(16, simTop+simPlot/2, 12, "share that sees the change")
	const steps = 2 * width
	times := make([]time.Duration, steps+1)
	for i := range times {
		times[i] = time.Duration(math.Round(float64(high) / steps * float64(i)))
	}
	for _, c := range curves {
		if c.times.Count() == 0 {
			continue
		}
		var points []chart.Point
		for i, share := range c.times.Shares(times) {
			points = append(points, chart.Point{X: x(times[i]), Y: y(share)})
		}
		d.Curve(points, c.style)
	}
	d.Line(simLeft, simBottom, simLeft+width, simBottom, chart.Ink)
	d.Line(simLeft, simTop, simLeft, simBottom, chart.Ink)
}
