package diff

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/posternhq/postern/dataplane/policy"
)

// Verdict is the answer in one word.
type Verdict string

const (
	// Equal: both policies allow the same requests.
	Equal Verdict = "equal"
	// Different: there is a witness.
	Different Verdict = "different"
	// Unknown: no witness was found and equality was not proven.
	Unknown Verdict = "unknown"
)

// Result is what a comparison found.
type Result struct {
	Verdict Verdict `json:"verdict"`
	// Reason says why something is undecided.
	Reason string `json:"reason,omitempty"`
	// Undecided names the directions, by their names here, in which there may
	// or may not be a witness. A Different result may have such a direction.
	Undecided    []string `json:"undecided,omitempty"`
	NewlyAllowed *Witness `json:"newly_allowed,omitempty"`
	NewlyDenied  *Witness `json:"newly_denied,omitempty"`
	// NewlyExplicit is denied by both policies, by the new one in words, by the
	// old one only in that it allows nothing; NewlySilent is the reverse. This
	// matters where another policy allows the request (tables A and B), and
	// leaves the Verdict alone.
	NewlyExplicit *Witness `json:"newly_explicit,omitempty"`
	NewlySilent   *Witness `json:"newly_silent,omitempty"`
}

// Witness is a request that shows a difference, as small as it could be made.
type Witness struct {
	Request policy.Query `json:"request"`
	Old     Outcome      `json:"old"`
	New     Outcome      `json:"new"`
	// Hypothetical: no request that shows the difference was found among those
	// that edges make, so it may be of no account there.
	Hypothetical bool `json:"hypothetical,omitempty"`
}

// Summary is the witness on one line, for logs.
func (w *Witness) Summary() string {
	var b strings.Builder
	b.WriteString(w.principal() + " " + w.Request.Action + " " + w.Request.Resource)
	for _, key := range slices.Sorted(maps.Keys(w.Request.Context)) {
		fmt.Fprintf(&b, " %s=%s", key, strings.Join(w.texts(key), ","))
	}
	fmt.Fprintf(&b, ": old %s, new %s%s", w.Old, w.New, hypothetical(w))
	return b.String()
}

func (w *Witness) principal() string {
	if w.Request.Principal == "" {
		return "anonymous"
	}
	return w.Request.Principal
}

// texts are the values of a key, quoted where they could be misread.
func (w *Witness) texts(key string) []string {
	out := slices.Clone(w.Request.Context[key])
	for i, v := range out {
		if v == "" || strings.ContainsAny(v, " ,\"") {
			out[i] = strconv.Quote(v)
		}
	}
	return out
}

// Outcome is what one policy decides about a witness.
type Outcome struct {
	policy.Decision
	Sid string // of the deciding statement
}

// MarshalJSON writes the effect as allow, explicit-deny or implicit-deny.
func (o Outcome) MarshalJSON() ([]byte, error) {
	out := struct {
		Decision  string `json:"decision"`
		Statement *int   `json:"statement,omitempty"`
		Sid       string `json:"sid,omitempty"`
		Delegated bool   `json:"delegated,omitempty"`
	}{Decision: effectWords[o.Effect], Sid: o.Sid, Delegated: o.Delegated}
	if o.Statement >= 0 {
		out.Statement = &o.Statement
	}
	return json.Marshal(out)
}

var effectWords = map[policy.Effect]string{policy.Allow: "allow", policy.ExplicitDeny: "explicit-deny", policy.Silent: "implicit-deny"}

// String is such as: allow by statement 0 (Endpoints).
func (o Outcome) String() string {
	s := effectWords[o.Effect]
	if o.Statement >= 0 {
		s += fmt.Sprintf(" by statement %d", o.Statement)
	}
	if o.Sid != "" {
		s += " (" + o.Sid + ")"
	}
	if o.Delegated {
		s += ", to the account only"
	}
	return s
}

// String is the result for people, several lines, ending in a line break.
func (r Result) String() string {
	var b strings.Builder
	b.WriteString(string(r.Verdict))
	switch {
	case r.Verdict == Equal && (r.NewlyExplicit != nil || r.NewlySilent != nil):
		b.WriteString(": both policies allow the same requests, but deny some in another way\n")
	case r.Verdict == Equal:
		b.WriteString(": both policies allow the same requests\n")
	case r.Verdict == Unknown:
		b.WriteString(": " + r.Reason + "\n")
	default:
		b.WriteByte('\n')
	}
	for _, d := range directions {
		title := strings.ReplaceAll(d.name, "_", " ")
		switch w := *d.slot(&r); {
		case w != nil:
			fmt.Fprintf(&b, "\n%s:%s\n", title, hypothetical(w))
			w.write(&b)
		case r.Verdict == Different && slices.Contains(r.Undecided, d.name):
			fmt.Fprintf(&b, "\n%s: unknown: %s\n", title, r.Reason)
		}
	}
	return b.String()
}

func hypothetical(w *Witness) string {
	if w.Hypothetical {
		return " (no edge makes such requests)"
	}
	return ""
}

func (w *Witness) write(b *strings.Builder) {
	q := &w.Request
	line := func(name, value string) { fmt.Fprintf(b, "  %-10s %s\n", name, value) }
	line("principal", w.principal())
	line("action", q.Action)
	line("resource", q.Resource)
	if q.Account != "" {
		line("account", q.Account)
	}
	for _, key := range slices.Sorted(maps.Keys(q.Context)) {
		if len(q.Context[key]) == 0 {
			fmt.Fprintf(b, "  %s absent\n", key)
			continue
		}
		fmt.Fprintf(b, "  %s = %s\n", key, strings.Join(w.texts(key), ", "))
	}
	line("old", w.Old.String())
	line("new", w.New.String())
}
