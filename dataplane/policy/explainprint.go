package policy

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxPrintedIdle is how many statements that do not apply the text form lists;
// JSON has all of them.
const maxPrintedIdle = 20

// MarshalJSON writes the same facts as String, one object with keys in
// snake_case. The decision is allow, explicit-deny or implicit-deny; statement
// and principal are left out if there is none.
func (x *Explanation) MarshalJSON() ([]byte, error) {
	out := struct {
		Decision   string               `json:"decision"`
		Statement  *int                 `json:"statement,omitempty"`
		Delegated  bool                 `json:"delegated,omitempty"`
		Principal  string               `json:"principal,omitempty"`
		Action     string               `json:"action"`
		Resource   string               `json:"resource"`
		Context    []ContextValue       `json:"context"`
		Statements []ExplainedStatement `json:"statements"`
		NearMisses []NearMiss           `json:"near_misses"`
	}{
		Decision: decisionWord(x.Decision.Effect), Delegated: x.Decision.Delegated,
		Principal: x.Principal, Action: x.Action, Resource: x.Resource,
		// Empty lists, not null.
		Context: append([]ContextValue{}, x.Context...), Statements: append([]ExplainedStatement{}, x.Statements...),
		NearMisses: append([]NearMiss{}, x.NearMisses...),
	}
	if x.Decision.Statement >= 0 {
		out.Statement = &x.Decision.Statement
	}
	return json.Marshal(out)
}

// decisionWord is the decision of a policy that stands alone, where silence denies.
func decisionWord(e Effect) string {
	if e == Silent {
		return "implicit-deny"
	}
	return e.String()
}

// String is the explanation for people, a line a fact. It is the same for the
// same policy and request, and safe on a terminal whatever these hold.
func (x *Explanation) String() string {
	var b strings.Builder
	x.verdict(&b)

	b.WriteString("\nrequest\n")
	who := "anonymous"
	if x.Principal != "" {
		who = plain(x.Principal)
	}
	rows := [][2]string{{"principal", who}, {"action", plain(x.Action)}, {"resource", plain(x.Resource)}}
	for _, v := range x.Context {
		rows = append(rows, [2]string{plain(v.Key), v.text()})
	}
	width := 0
	for _, row := range rows {
		width = max(width, utf8.RuneCountInString(row[0]))
	}
	for _, row := range rows {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, row[0], row[1])
	}

	if len(x.Statements) > 0 {
		b.WriteString("\nstatements\n")
	}
	x.statements(&b)

	for i, m := range x.NearMisses {
		if i == 0 {
			b.WriteString("\nwould be allowed\n")
		}
		fmt.Fprintf(&b, "  %s\n", m.Text)
	}
	return b.String()
}

func (x *Explanation) verdict(b *strings.Builder) {
	b.WriteString(decisionWord(x.Decision.Effect))
	switch i := x.Decision.Statement; {
	case i >= 0:
		fmt.Fprintf(b, " by statement %d", i)
		if sid := x.Statements[i].Sid; sid != "" {
			fmt.Fprintf(b, " (%s)", plain(sid))
		}
		if x.Decision.Delegated {
			b.WriteString(", if the caller's own policies allow as well")
		}
	case len(x.Statements) == 0:
		b.WriteString(": there is no policy")
	default:
		b.WriteString(": no statement applies")
	}
	b.WriteByte('\n')
}

func (v *ContextValue) text() string {
	list := make([]string, len(v.Values))
	for i := range list {
		list[i] = quote(v.Values[i])
	}
	switch {
	case v.Absent:
		return "absent"
	case len(list) == 1 && v.More == 0:
		return list[0]
	}
	return "[" + joined(list, len(list)+v.More) + "]"
}

func (x *Explanation) statements(b *strings.Builder) {
	index, sid, at := 1, 0, 0
	for i := range x.Statements {
		s := &x.Statements[i]
		index = max(index, len(fmt.Sprint(s.Index)))
		if s.Sid != "" {
			sid = max(sid, utf8.RuneCountInString(plain(s.Sid))+2)
		}
		at = max(at, len(fmt.Sprintf("%d:%d", s.Line, s.Column)))
	}
	idle := 0
	for i := range x.Statements {
		s := &x.Statements[i]
		if !s.Applies {
			if idle++; idle > maxPrintedIdle {
				continue
			}
		}
		label := ""
		if s.Sid != "" {
			label = plain(s.Sid)
		}
		fmt.Fprintf(b, "  %*d  %-5s  %-*s%-*s  %s\n", index, s.Index, s.Effect, sid, label, at, fmt.Sprintf("%d:%d", s.Line, s.Column), x.applies(s))
		for j := range s.Held {
			if t := &s.Held[j]; !t.plain {
				fmt.Fprintf(b, "  %*s  %s\n", index, "", t)
			}
		}
		if s.Failed != nil {
			fmt.Fprintf(b, "  %*s  %s\n", index, "", s.Failed)
		}
		switch {
		case s.FailedToo == 1:
			fmt.Fprintf(b, "  %*s  one more element does not fit\n", index, "")
		case s.FailedToo > 1:
			fmt.Fprintf(b, "  %*s  %d more elements do not fit\n", index, "", s.FailedToo)
		}
	}
	if more := idle - maxPrintedIdle; more > 0 {
		fmt.Fprintf(b, "  and %d more that do not apply\n", more)
	}
}

func (x *Explanation) applies(s *ExplainedStatement) string {
	switch {
	case !s.Applies:
		return "does not apply"
	case s.Index == x.Decision.Statement:
		return "applies, and decides"
	}
	return "applies"
}

// String is the element and what there is to say of it.
func (t *ElementTest) String() string {
	if t.Operator != "" {
		return plain(t.Operator) + " " + plain(t.Key) + ": " + t.Text
	}
	return t.Element + ": " + t.Text
}
