package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/posternhq/postern/dnsprop/simulate"
)

// simulateJSON is the answer of `dns simulate`: what was played, and figures by
// setting.
type simulateJSON struct {
	Profile   string          `json:"profile"`
	Seed      uint64          `json:"seed"`
	Operation string          `json:"operation"`
	Changes   int             `json:"changes"`
	Resolvers int             `json:"resolvers"`
	Clients   int             `json:"clients"`
	Begin     float64         `json:"begin_ms"`
	Duration  float64         `json:"duration_ms"`
	Settings  []simulatedJSON `json:"settings"`
}

type simulatedJSON struct {
	Setting          string     `json:"setting,omitempty"`
	Times            []timeJSON `json:"times"`
	WrongShare       float64    `json:"wrong_share"`
	WrongAfterInsync float64    `json:"wrong_after_insync_share"`
	ServfailShare    float64    `json:"servfail_share"`
	Queries          uint64     `json:"queries"`
	ResolverQueries  uint64     `json:"resolver_queries"`
	AuthorityQueries uint64     `json:"authority_queries"`
}

// timeJSON is a distribution of times. A percentile that never came is absent.
type timeJSON struct {
	Of    string   `json:"of"`
	Count uint64   `json:"count"`
	P50   *float64 `json:"p50_ms,omitempty"`
	P90   *float64 `json:"p90_ms,omitempty"`
	P99   *float64 `json:"p99_ms,omitempty"`
	P999  *float64 `json:"p999_ms,omitempty"`
	Max   *float64 `json:"max_ms,omitempty"`
	Never uint64   `json:"never"`
}

// distribution is one of a Result, by the name that scripts know and that people read.
type distribution struct {
	id, title string
	times     *simulate.Histogram
}

// distributions are those of a Result in the order in which they are shown.
func distributions(r *simulate.Result, operation string) []distribution {
	return []distribution{
		{"authority", "name servers, each", &r.Authority},
		{"insync", "INSYNC", &r.Insync},
		{"resolver_first", "resolvers, first", &r.ResolverFirst},
		{"resolver_good", "resolvers, for good", &r.ResolverGood},
		{"client_first", "clients, first", &r.ClientFirst},
		{"client_good", "clients, for good", &r.ClientGood},
		{"wrong", wrongAnswer(operation), &r.Wrong},
		{"wrong_after_insync", wrongAnswer(operation) + " after INSYNC", &r.Late},
	}
}

// wrongAnswer is what clients are told that don't see the change.
func wrongAnswer(operation string) string {
	if operation == string(simulate.Disassociate) {
		return "old address"
	}
	return "NXDOMAIN"
}

func answerOf(c *dnsSimulateCmd, cfg *simulate.Config, all []played) simulateJSON {
	a := simulateJSON{
		Profile: cfg.Profile, Seed: cfg.Seed, Operation: string(cfg.Operation), Changes: cfg.Changes, Resolvers: cfg.Resolvers, Clients: cfg.Clients,
		Begin: milliseconds(cfg.Begin), Duration: milliseconds(cfg.Duration),
	}
	if strings.HasPrefix(c.Sweep, "profile=") {
		a.Profile = ""
	}
	for _, p := range all {
		clients := p.ClientGood.Count()
		s := simulatedJSON{
			Setting: p.name, WrongShare: share(p.Wrong.Count(), clients), WrongAfterInsync: share(p.Late.Count(), clients), ServfailShare: share(p.Failed, clients),
			Queries: p.Queries, ResolverQueries: p.ResolverQueries, AuthorityQueries: p.AuthorityQueries,
		}
		for _, d := range distributions(p.Result, a.Operation) {
			t := timeJSON{Of: d.id, Count: d.times.Count(), Never: d.times.Never()}
			for q, into := range map[float64]**float64{0.5: &t.P50, 0.9: &t.P90, 0.99: &t.P99, 0.999: &t.P999} {
				if at, ok := d.times.Quantile(q); ok {
					ms := milliseconds(at)
					*into = &ms
				}
			}
			if t.Count > t.Never {
				ms := milliseconds(d.times.Max())
				t.Max = &ms
			}
			s.Times = append(s.Times, t)
		}
		a.Settings = append(a.Settings, s)
	}
	return a
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond)) / float64(time.Millisecond)
}

func share(n, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// percent writes a share, so that only none and all are 0% and 100%.
func percent(n, of uint64) string {
	switch {
	case n == 0 || of == 0:
		return "0%"
	case n == of:
		return "100%"
	}
	return strconv.FormatFloat(min(max(100*share(n, of), 0.1), 99.9), 'f', 1, 64) + "%"
}

// lasting writes a time as people say it.
func lasting(ms *float64) string {
	if ms == nil {
		return "never"
	}
	d := time.Duration(*ms * float64(time.Millisecond))
	if d < 100*time.Second {
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	}
	return d.Round(time.Second).String()
}

// heading says what was played.
func (a *simulateJSON) heading() string {
	what := map[string]string{"associate": "appears", "disassociate": "disappears", "reassociate": "is removed and added again"}[a.Operation]
	subject := "a name " + what
	if a.Changes > 1 {
		subject = fmt.Sprintf("%s names, each %s", thousands(float64(a.Changes)), what)
	}
	if a.Profile != "" {
		subject += ", profile " + a.Profile
	}
	return fmt.Sprintf("%s: %s resolvers, %s clients, seed %d", subject, thousands(float64(a.Resolvers)), thousands(float64(a.Clients)), a.Seed)
}

var timeHeader = []string{"p50", "p90", "p99", "p99.9", "max", "never"}

func (t *timeJSON) cells() []string {
	return []string{lasting(t.P50), lasting(t.P90), lasting(t.P99), lasting(t.P999), lasting(t.Max), percent(t.Never, t.Count)}
}

func (a *simulateJSON) print(g *globals) {
	fmt.Fprintln(g.stdout, a.heading())
	fmt.Fprintln(g.stdout)
	if len(a.Settings) > 1 {
		a.printComparison(g)
		return
	}
	s := &a.Settings[0]
	rows := [][]string{append([]string{"TIME TO VISIBLE"}, timeHeader...)}
	titles := distributions(&simulate.Result{}, a.Operation)
	for i := range s.Times {
		t := &s.Times[i]
		if strings.HasPrefix(t.Of, "wrong") {
			continue
		}
		rows = append(rows, append([]string{titles[i].title}, t.cells()...))
	}
	table(g.stdout, rows)
	fmt.Fprintln(g.stdout)
	clients := s.time("client_good").Count
	rows = [][]string{append([]string{"CLIENTS THAT WERE TOLD", "share"}, append([]string{"for p50"}, timeHeader[1:]...)...)}
	for i := range s.Times {
		if t := &s.Times[i]; strings.HasPrefix(t.Of, "wrong") {
			row := []string{titles[i].title, percent(t.Count, clients)}
			if t.Count > 0 {
				row = append(row, t.cells()...)
			}
			rows = append(rows, row)
		}
	}
	table(g.stdout, append(rows, []string{"SERVFAIL", percent(uint64(s.ServfailShare*float64(clients)+0.5), clients)}))
	fmt.Fprintf(g.stdout, "\n%s queries, of which %s came to resolvers; these asked authorities %s times\n",
		thousands(float64(s.Queries)), thousands(float64(s.ResolverQueries)), thousands(float64(s.AuthorityQueries)))
}

// printComparison has a line for each setting: when clients see the change for good.
func (a *simulateJSON) printComparison(g *globals) {
	wrong := wrongAnswer(a.Operation)
	rows := [][]string{append(append([]string{"CLIENTS, FOR GOOD"}, timeHeader...), wrong, "after INSYNC", "SERVFAIL", "to authorities")}
	for i := range a.Settings {
		s := &a.Settings[i]
		good := s.time("client_good")
		rows = append(rows, append(append([]string{s.Setting}, good.cells()...),
			percent(s.time("wrong").Count, good.Count), percent(s.time("wrong_after_insync").Count, good.Count),
			percent(uint64(s.ServfailShare*float64(good.Count)+0.5), good.Count), thousands(float64(s.AuthorityQueries))))
	}
	table(g.stdout, rows)
}

// time is the distribution of a name, which there is.
func (s *simulatedJSON) time(of string) *timeJSON {
	for i := range s.Times {
		if s.Times[i].Of == of {
			return &s.Times[i]
		}
	}
	panic("no times of " + of)
}

// simulationCSV is the distributions: for each setting, the share that a time is enough
// for, in steps of a thousandth of the whole, where it changes.
func simulationCSV(cfg *simulate.Config, all []played) string {
	const steps = 1000
	times := make([]time.Duration, steps+1)
	for i := range times {
		times[i] = cfg.Duration * time.Duration(i) / steps
	}
	var b strings.Builder
	b.WriteString("setting,of,seconds,share\n")
	for _, p := range all {
		for _, d := range distributions(p.Result, string(cfg.Operation)) {
			if d.times.Count() == 0 {
				continue
			}
			before := -1.0
			for i, share := range d.times.Shares(times) {
				if share != before {
					fmt.Fprintf(&b, "%s,%s,%.3f,%.6f\n", p.name, d.id, times[i].Seconds(), share)
					before = share
				}
			}
		}
	}
	return b.String()
}
