package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"
)

// report is what a run measured.
type report struct {
	Platform string    `json:"platform"`
	Names    int       `json:"names"`
	Rounds   int       `json:"rounds"`
	TurnMS   int64     `json:"turn_ms"`
	Rows     []row     `json:"rows"`
	Promises []promise `json:"promises"`
	Missing  []string  `json:"missing,omitempty"`
}

// row is one server by one way; its figures are the medians of its turns.
type row struct {
	Server  string `json:"server"`
	Network string `json:"network"`
	turn
	Turns []turn `json:"turns"`
}

// summarize sets what the turns say together.
func (r *row) summarize() {
	r.PerSecond, r.Micros, r.Lost = median(r.each(rate)), median(r.each(micros)), 0
	for _, t := range r.Turns {
		r.Lost += t.Lost
	}
}

func (r *row) each(figure func(turn) float64) []float64 {
	out := make([]float64, len(r.Turns))
	for i, t := range r.Turns {
		out[i] = figure(t)
	}
	return out
}

func rate(t turn) float64   { return t.PerSecond }
func micros(t turn) float64 { return t.Micros }

// promise is a ratio that was said, and what became of it: the median over the
// rounds, in each of which both had their turns beside each other.
type promise struct {
	What  string  `json:"what"`
	Ratio float64 `json:"ratio"`
	Least float64 `json:"at_least"`
	Met   bool    `json:"met"`
}

func (l *lab) measure(ctx context.Context, only []string, rounds int, length time.Duration) (report, error) {
	r := report{
		Platform: fmt.Sprintf("%s/%s, %s, %d processors", runtime.GOOS, runtime.GOARCH, runtime.Version(), runtime.NumCPU()),
		Names:    len(l.records), Rounds: rounds, TurnMS: length.Milliseconds(), Missing: l.missing,
	}
	for _, network := range []string{"udp", "tcp"} {
		for _, s := range l.servers {
			if only == nil || slices.Contains(only, s.name) {
				r.Rows = append(r.Rows, row{Server: s.name, Network: network})
			}
		}
	}
	for round := range rounds {
		for i := range r.Rows {
			row := &r.Rows[i]
			fmt.Fprintf(l.stderr, "round %d of %d: %s by %s\n", round+1, rounds, row.Server, row.Network)
			at := slices.IndexFunc(l.servers, func(s server) bool { return s.name == row.Server })
			t, err := l.load(ctx, l.servers[at], row.Network, length)
			if err != nil {
				return r, fmt.Errorf("%s by %s: %w", row.Server, row.Network, err)
			}
			row.Turns = append(row.Turns, t)
		}
	}
	for i := range r.Rows {
		r.Rows[i].summarize()
	}
	r.promise("UDP answers, times CoreDNS file", "udp", "CoreDNS file", 2)
	r.promise("TCP answers, times Knot DNS", "tcp", "Knot DNS", 1)
	return r, nil
}

func (r *report) promise(what, network, peer string, least float64) {
	if ratio := r.ratio(network, "postern", peer); ratio > 0 {
		r.Promises = append(r.Promises, promise{what, ratio, least, ratio >= least})
	}
}

// ratio is the median over the rounds of one server's rate by another's; 0 if
// one of them took no part.
func (r *report) ratio(network, server, peer string) float64 {
	find := func(name string) *row {
		for i := range r.Rows {
			if r.Rows[i].Server == name && r.Rows[i].Network == network {
				return &r.Rows[i]
			}
		}
		return nil
	}
	a, b := find(server), find(peer)
	if a == nil || b == nil {
		return 0
	}
	var ratios []float64
	for i := range a.Turns {
		ratios = append(ratios, a.Turns[i].PerSecond/b.Turns[i].PerSecond)
	}
	return median(ratios)
}

func (r *report) met() bool {
	return !slices.ContainsFunc(r.Promises, func(p promise) bool { return !p.Met })
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func (r *report) print(w io.Writer) error {
	fmt.Fprintf(w, "%s; %d names, %d turns of %d s each, medians\n\n", r.Platform, r.Names, r.Rounds, r.TurnMS/1000)
	fmt.Fprintf(w, "%18s  %7s  %10s  %10s  %10s  %10s  %9s  %5s\n", "server", "network", "answers/s", "least", "most", "of CoreDNS", "µs/answer", "lost")
	for _, row := range r.Rows {
		of := "–"
		if ratio := r.ratio(row.Network, row.Server, "CoreDNS file"); ratio > 0 {
			of = fmt.Sprintf("%.2f", ratio)
		}
		rates := row.each(rate)
		fmt.Fprintf(w, "%18s  %7s  %10.0f  %10.0f  %10.0f  %10s  %9.2f  %5d\n",
			row.Server, row.Network, row.PerSecond, slices.Min(rates), slices.Max(rates), of, row.Micros, row.Lost)
	}
	fmt.Fprintln(w)
	for _, p := range r.Promises {
		verdict := "met   "
		if !p.Met {
			verdict = "MISSED"
		}
		fmt.Fprintf(w, "%s  %-32s  %5.2f  at least %.2f\n", verdict, p.What, p.Ratio, p.Least)
	}
	for _, m := range r.Missing {
		fmt.Fprintf(w, "missing: %s\n", m)
	}
	return nil
}
