package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/jsonlines"
)

type policyBenchCmd struct {
	Policy     string        `env:"-" required:"" help:"File of the policy; - is standard input." placeholder:"FILE"`
	Requests   string        `env:"-" required:"" help:"File of requests, one JSON object a line; - is standard input." placeholder:"FILE"`
	Bind       []string      `env:"-" sep:"none" help:"Bind the policy to what all requests have in common: action, resource (how its ARN begins) or a condition key, with its value; a key alone is absent, and anonymous alone means anonymous callers. May be repeated." placeholder:"KEY[=VALUE]"`
	Duration   time.Duration `env:"-" default:"2s" help:"How long to measure with each number of processors."`
	Processors []int         `env:"-" help:"Numbers of processors to measure with; 1 to all of them by default." placeholder:"N"`
	SVG        string        `env:"-" name:"svg" help:"Draw the figures to this file, too." placeholder:"FILE"`
}

// Help is shown by `postern policy bench --help`.
func (policyBenchCmd) Help() string {
	return `Decides the requests over and over, in an order without pattern, and prints one line for each number of processors.
A decision takes less time than reading a clock, so what is timed is batches of some hundred decisions. Percentiles are of
the mean of each batch, to two per cent, with the time of reading the clock taken off. Reading files, compiling and building
requests are not in the figures; allocations are those of everything that ran meanwhile.

Examples:
  postern policy bench --policy policy.json --requests requests.jsonl
  postern policy bench --policy policy.json --requests requests.jsonl --bind resource=arn:aws:execute-api:us-west-2:123456789012:abcde12345/prod/ --bind anonymous --svg bench.svg`
}

type benchJSON struct {
	Statements int            `json:"statements"`
	Size       int            `json:"size"`
	Requests   int            `json:"requests"`
	Decisions  map[string]int `json:"decisions"`
	Bound      bool           `json:"bound"`
	Constant   bool           `json:"constant"` // bound until nothing is left to decide
	ClockNS    float64        `json:"clock_ns"`
	Runs       []benchRun     `json:"runs"`
}

func (c *policyBenchCmd) Run(ctx context.Context, g *globals) error {
	if c.Duration <= 0 {
		return usageError{fmt.Errorf("--duration %v: want more than 0", c.Duration)}
	}
	if err := once(c.Policy, c.Requests); err != nil {
		return err
	}
	processors, err := c.processors()
	if err != nil {
		return err
	}
	known, err := parseBind(c.Bind)
	if err != nil {
		return err
	}
	program, err := g.loadPolicy(c.Policy)
	if err != nil {
		return err
	}
	queries, err := g.loadQueries(c.Requests)
	if err != nil {
		return err
	}
	b := bench{program: program, queries: queries, clock: clockCost()}
	if known != nil {
		b.program = program.Bind(known)
	}
	answer := benchJSON{
		Statements: program.Document().Statements(), Size: program.Document().Size(), Requests: len(queries),
		Bound: known != nil, ClockNS: float64(b.clock.Nanoseconds()),
	}
	_, answer.Constant = b.program.Constant()
	if answer.Decisions, err = c.decisions(program, b.program, queries); err != nil {
		return err
	}
	var first histogram
	for i, p := range processors {
		progress := g.benchProgress(c.Duration, i, len(processors))
		run, h, err := b.run(ctx, p, c.Duration, progress)
		if err != nil {
			return err
		}
		if i == 0 {
			first = h
		}
		answer.Runs = append(answer.Runs, run)
	}
	if c.SVG != "" {
		if err := os.WriteFile(c.SVG, []byte(benchChart(&answer, &first)), 0o644); err != nil {
			return err
		}
	}
	if g.Output == "json" {
		writeJSON(g.stdout, answer)
	} else {
		answer.print(g)
	}
	return nil
}

func (c *policyBenchCmd) processors() ([]int, error) {
	all := runtime.GOMAXPROCS(0)
	if len(c.Processors) == 0 {
		out := make([]int, all)
		for i := range out {
			out[i] = i + 1
		}
		return out, nil
	}
	for _, p := range c.Processors {
		if p < 1 || p > all {
			return nil, usageError{fmt.Errorf("--processors %d: want 1 to %d", p, all)}
		}
	}
	return c.Processors, nil
}

// decisions counts them, and finds requests that don't agree with what is bound.
func (c *policyBenchCmd) decisions(program, bound *policy.Program, queries []*policy.Query) (map[string]int, error) {
	count := map[string]int{}
	for i, q := range queries {
		r, err := q.Request()
		if err != nil {
			return nil, inFile(c.Requests, i, err)
		}
		d := program.Eval(r)
		if b := bound.Eval(r); b != d {
			return nil, fmt.Errorf("%s: request %d does not agree with what is bound: %s becomes %s", c.Requests, i, jsonlines.Word(d.Effect), jsonlines.Word(b.Effect))
		}
		count[jsonlines.Word(d.Effect)]++
	}
	return count, nil
}

// parseBind reads what is bound; nil if nothing is.
func parseBind(list []string) (*policy.Known, error) {
	if len(list) == 0 {
		return nil, nil
	}
	known := &policy.Known{}
	for _, kv := range list {
		name, value, given := strings.Cut(kv, "=")
		fields := map[string]*string{"action": &known.Action, "resource": &known.Resource}
		field, isField := fields[name]
		key, isKey := policy.LookupKey(name)
		switch {
		case isField && given && value != "":
			*field = value
		case isField:
			return nil, usageError{fmt.Errorf("--bind %s: a value must be given", kv)}
		case name == "anonymous" && !given:
			known.Anonymous = true
		case isKey && given:
			known.Set(key, value)
		case isKey:
			known.SetAbsent(key)
		default:
			return nil, usageError{fmt.Errorf("--bind %s: want action, resource (how its ARN begins), anonymous or a condition key of the data plane", kv)}
		}
	}
	return known, nil
}

// benchProgress draws a bar for a person who waits.
func (g *globals) benchProgress(duration time.Duration, run, runs int) func(elapsed time.Duration) {
	if !isTerminal(g.stderr) || g.Output != "text" {
		return nil
	}
	return func(elapsed time.Duration) {
		done := time.Duration(run)*duration + min(elapsed, duration)
		fmt.Fprintf(g.stderr, "\r\033[K%s %d of %d", bar(int(done), int(duration)*runs, 30), run+1, runs)
		if elapsed >= duration && run == runs-1 {
			fmt.Fprint(g.stderr, "\r\033[K")
		}
	}
}

func (a *benchJSON) print(g *globals) {
	var decided []string
	for _, d := range []string{"allow", "explicit-deny", "implicit-deny"} {
		if n := a.Decisions[d]; n > 0 {
			decided = append(decided, fmt.Sprintf("%d %s", n, d))
		}
	}
	fmt.Fprintf(g.stdout, "%s, %d characters; %s: %s\n", counted(a.Statements, "statement"), a.Size, counted(a.Requests, "request"), strings.Join(decided, ", "))
	switch {
	case a.Constant:
		fmt.Fprintln(g.stdout, "bound: nothing is left to decide")
	case a.Bound:
		fmt.Fprintln(g.stdout, "bound")
	}
	rows := [][]string{{"processors", "decisions/s", "ns", "p50", "p90", "p99", "p99.9", "bytes", "allocations"}}
	for _, r := range a.Runs {
		rows = append(rows, []string{strconv.Itoa(r.Processors), thousands(r.PerSecond), short(r.NS), short(r.P50), short(r.P90), short(r.P99), short(r.P999), short(r.Bytes), short(r.Allocations)})
	}
	table(g.stdout, rows)
	fmt.Fprintf(g.stdout, "ns, bytes and allocations are those of one decision; percentiles are of the means of batches of %d\n", a.Runs[0].Batch)
}

// thousands writes a large number in groups of three digits.
func thousands(v float64) string {
	s := strconv.FormatInt(int64(v), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// short writes a small number with as many digits as mean something.
func short(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}
