package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

// step is how far one place is with one change.
type step struct {
	change *adminv1.DnsChangeStatus
	place  string
	kind   string
	state  string
	// When the state ends by itself; zero: never.
	until, untilWall time.Time
	now              time.Time // on the DNS clock
}

type stepJSON struct {
	Time      string `json:"time"`
	Change    string `json:"change"`
	Place     string `json:"place"`
	Kind      string `json:"kind"`
	State     string `json:"state"`
	Until     string `json:"until,omitempty"`
	UntilWall string `json:"until_wall_time,omitempty"`
}

const (
	stateDone = "done"
	stateLost = "lost"
	// maxBars is how many rows of bars a terminal is trusted to have room for.
	maxBars = 32
)

// steps are those of all places that were reached, by change and place.
func steps(answer *adminv1.FollowDnsChangesResponse) []step {
	changes := map[string]*adminv1.DnsChangeStatus{}
	for _, change := range answer.GetChanges() {
		changes[change.GetId()] = change
	}
	var out []step
	for _, server := range answer.GetServers() {
		p := server.GetProgress()
		for _, progress := range p.GetChanges() {
			change := changes[progress.GetChange()]
			if len(progress.GetPlaces()) == 0 {
				out = append(out, step{change: change, place: server.GetId(), kind: "server", state: "not there yet", now: time.Unix(0, p.GetNow())})
			}
			for _, place := range progress.GetPlaces() {
				state := strings.ToLower(strings.TrimPrefix(place.GetState().String(), "PROGRESS_STATE_"))
				out = append(out, step{change, place.GetPlace(), place.GetKind(), state, instant(place.GetUntil()), instant(place.GetUntilWall()), time.Unix(0, p.GetNow())})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b step) int { return int(a.change.GetIndex()) - int(b.change.GetIndex()) })
	return out
}

// instant is a time of a message, in which 0 is none.
func instant(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos)
}

// watch shows how places move on until none is left to.
func (c *dnsTraceCmd) watch(ctx context.Context, g *globals, client adminv1.AdminClient) error {
	interactive := isTerminal(g.stderr) && g.Output == "text"
	bars := screen{w: g.stderr}
	told := map[string]string{}
	for {
		answer, err := client.FollowDnsChanges(ctx, &adminv1.FollowDnsChangesRequest{Subject: c.Subject})
		if err != nil {
			bars.clear()
			return err
		}
		all := steps(answer)
		if len(answer.GetServers()) == 0 && len(answer.GetChanges()) > 0 {
			bars.clear()
			return errors.New("no DNS server answers: " + listedPairs(answer.GetUnreached()))
		}
		if interactive {
			bars.draw(barRows(all, answer.GetUnreached()))
		} else {
			tell(g, all, told)
		}
		if !slices.ContainsFunc(all, func(s step) bool { return s.state != stateDone }) {
			bars.clear()
			if g.Output == "json" {
				return nil
			}
			return printChanges(g, answer.GetChanges())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(c.Every):
		}
	}
}

// tell writes a line for each place whose state is not what was told of it.
func tell(g *globals, all []step, told map[string]string) {
	for _, s := range all {
		key := s.change.GetId() + " " + s.place
		if told[key] == s.state || told[key] == "" && s.state == stateDone {
			continue
		}
		told[key] = s.state
		if g.Output == "json" {
			j := stepJSON{Time: rfc3339(s.now), Change: "/change/" + s.change.GetId(), Place: s.place, Kind: s.kind, State: strings.ReplaceAll(s.state, " ", "_")}
			if !s.until.IsZero() {
				j.Until = rfc3339(s.until)
			}
			if !s.untilWall.IsZero() {
				j.UntilWall = rfc3339(s.untilWall)
			}
			writeJSON(g.stdout, j)
			continue
		}
		fmt.Fprintf(g.stdout, "%s  %s  %s  %s\n", s.now.UTC().Format(time.RFC3339), s.change.GetId(), s.place, s.words())
	}
}

// words are the state for people.
func (s step) words() string {
	var text string
	switch s.state {
	case stateDone:
		if s.kind == "authority" {
			return "visible"
		}
		return "nothing older is answered"
	case "waiting":
		if text = "not visible"; s.kind == "resolver" {
			text = "may hear the older answer"
		}
	case "stale":
		text = "a cache holds an older answer"
	case stateLost:
		return "lost: a new deployment, or the same change again, repairs it"
	case "overtaken":
		text = "overtaken: an older change took effect after it"
	default:
		return s.state
	}
	switch {
	case s.until.IsZero():
		return text
	case s.untilWall.IsZero():
		return text + ", frozen"
	}
	return text + ", " + stillFor(time.Until(s.untilWall))
}

// stillFor is how long a state lasts.
func stillFor(d time.Duration) string {
	if d = max(d, 0); d >= time.Minute {
		return "for " + d.Round(time.Second).String()
	}
	return fmt.Sprintf("for %.1fs", d.Seconds())
}

// barRows are the steps as bars, those of places that are through first full.
func barRows(all []step, unreached map[string]string) []string {
	width := 0
	for _, s := range all {
		width = max(width, len(s.place))
	}
	var rows []string
	change := ""
	for i, s := range all {
		if len(rows) >= maxBars {
			rows = append(rows, fmt.Sprintf("… and %d more", len(all)-i))
			break
		}
		if id := s.change.GetId(); id != change {
			change = id
			rows = append(rows, fmt.Sprintf("%s, version %d: %s", id, s.change.GetIndex(), strings.Join(s.change.GetNames(), ", ")))
		}
		rows = append(rows, fmt.Sprintf("  %-*s  %s  %s", width, s.place, s.bar(24), s.words()))
	}
	for _, id := range slices.Sorted(maps.Keys(unreached)) {
		rows = append(rows, fmt.Sprintf("  %-*s  not reached: %s", width, id, unreached[id]))
	}
	return rows
}

// bar fills from the commit of the change to the instant at which the state ends.
func (s step) bar(width int) string {
	if s.state == stateDone {
		return bar(1, 1, width)
	}
	committed := time.Unix(0, s.change.GetSubmittedAtUnixNano())
	if !s.untilWall.After(committed) {
		return bar(0, 1, width) // it never ends, or the clock is frozen
	}
	return bar(int(time.Since(committed).Milliseconds()), int(s.untilWall.Sub(committed).Milliseconds()), width)
}

// screen is rows at the bottom of a terminal that are drawn over each other.
type screen struct {
	w     io.Writer
	drawn int // rows
}

func (s *screen) clear() {
	if s.drawn > 0 {
		fmt.Fprintf(s.w, "\033[%dA\033[J", s.drawn)
	}
	s.drawn = 0
}

func (s *screen) draw(rows []string) {
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\033[%dA", s.drawn)
	}
	for _, row := range rows {
		// A row that the terminal would break counts as one all the same.
		b.WriteString("\033[?7l" + row + "\033[K\033[?7h\n")
	}
	b.WriteString("\033[J")
	fmt.Fprint(s.w, b.String())
	s.drawn = len(rows)
}

func listedPairs(m map[string]string) string {
	var items []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		items = append(items, key+" ("+m[key]+")")
	}
	if len(items) == 0 {
		return "there is none"
	}
	return strings.Join(items, ", ")
}
