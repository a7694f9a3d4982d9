package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
)

// report is all of one run.
type report struct {
	Machine   string      `json:"machine"`
	Workloads []measured  `json:"workloads"`
	Growth    *float64    `json:"w3_10000_of_w3_100,omitempty"`
	Compiling []compiling `json:"compiling"`
	Verdicts  []verdict   `json:"verdicts"`
}

// measured is one workload's figures.
type measured struct {
	Name       string   `json:"name"`
	Statements int      `json:"statements"`
	Document   int      `json:"document_bytes"`
	Scaling    ratio    `json:"two_processors"`
	Figures    []figure `json:"figures"`
}

// ratio is null in JSON where it could not be measured.
type ratio float64

func (r ratio) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(r)) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(r))
}

func machine() string {
	return fmt.Sprintf("%s/%s, %s, %d processors", runtime.GOOS, runtime.GOARCH, runtime.Version(), runtime.GOMAXPROCS(0))
}

func (m *measured) figure(name string) *figure {
	for i := range m.Figures {
		if m.Figures[i].Name == name {
			return &m.Figures[i]
		}
	}
	return &figure{}
}

// bestPeer is the fastest of the other engines on repeated requests.
func (m *measured) bestPeer() *figure {
	var best *figure
	for i := range m.Figures {
		if f := &m.Figures[i]; f.Peer && f.Absent == "" && (best == nil || f.RepeatedOfPostern < best.RepeatedOfPostern) {
			best = f
		}
	}
	return best
}

// print writes the table for people. The column "of postern" says how many times
// Postern's time (unbound) a contender takes.
func (r *report) print(to io.Writer) error {
	fmt.Fprintf(to, "%s; ns a decision\n\n", r.Machine)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "workload\tevaluator\trepeated\tof limit\tof postern\tshuffled\tof limit\tof postern\tB\tallocs\t")
	for i := range r.Workloads {
		m := &r.Workloads[i]
		for _, f := range m.Figures {
			if f.Absent != "" {
				fmt.Fprintf(w, "%s\t%s\t–\t–\t–\t–\t–\t–\t–\t–\t\n", m.Name, f.Name)
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", m.Name, f.Name,
				significant(f.Repeated), significant(f.RepeatedOfLimit), significant(f.RepeatedOfPostern),
				significant(f.Shuffled), significant(f.ShuffledOfLimit), significant(f.ShuffledOfPostern), whole(f.Bytes), whole(f.Allocs))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(to)
	for _, m := range r.Workloads {
		for _, f := range m.Figures {
			if f.Absent != "" {
				fmt.Fprintf(to, "%s has no %s: %s\n", m.Name, f.Name, f.Absent)
			}
		}
	}
	for _, c := range r.Compiling {
		fmt.Fprintf(to, "%s compiles from %d bytes of JSON in %s ms and allocates %s MB\n", c.Workload, c.Document, significant(c.MS), significant(c.Allocated))
	}
	fmt.Fprintln(to)
	w = tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, v := range r.Verdicts {
		fmt.Fprintln(w, v)
	}
	return w.Flush()
}

func whole(v float64) string { return grouped(strconv.FormatFloat(math.Floor(v+0.01), 'f', 0, 64)) }

// significant prints three digits, and all of those before the point.
func significant(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case v == 0 || v >= 100:
		return grouped(strconv.FormatFloat(v, 'f', 0, 64))
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v < 0.01:
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// grouped puts commas between thousands.
func grouped(digits string) string {
	var parts []string
	for len(digits) > 3 {
		parts = append([]string{digits[len(digits)-3:]}, parts...)
		digits = digits[:len(digits)-3]
	}
	return strings.Join(append([]string{digits}, parts...), ",")
}
