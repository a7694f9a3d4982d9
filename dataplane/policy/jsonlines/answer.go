package jsonlines

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/posternhq/postern/dataplane/policy"
)

// answerer answers lines, one at a time.
type answerer struct {
	policies *cache
	last     *compiled // the policy of the line before; few files change it often
	lastText []byte    // its text, nil if it is no object
}

func (a *answerer) chunk(c *chunk) {
	for _, l := range c.lines {
		text := bytes.TrimRight(c.text[l.start:l.end], " \t\r\n")
		if len(text) > 0 {
			c.answers = a.answer(c.answers, text, l.tooLong)
		}
	}
}

// answer appends the answer to one line.
func (a *answerer) answer(out, text []byte, tooLong bool) []byte {
	l, err := split(text, a.lastText)
	var d policy.Decision
	switch {
	case tooLong:
		err = fmt.Errorf("the line is longer than %d bytes", MaxLine)
	case err != nil:
	case l.id == nil:
		err = errors.New("id is missing")
	default:
		d, err = a.decide(l)
	}
	out = append(out, `{"id":`...)
	if l.id == nil {
		out = append(out, "null"...)
	} else {
		out = append(out, l.id...)
	}
	if err != nil {
		out = append(append(out, `,"error":`...), quote(err.Error())...)
		return append(out, "}\n"...)
	}
	out = append(append(out, `,"decision":"`...), Word(d.Effect)...)
	out = append(out, '"')
	if d.Statement >= 0 {
		out = strconv.AppendInt(append(out, `,"statement":`...), int64(d.Statement), 10)
	}
	return append(out, "}\n"...)
}

func (a *answerer) decide(l line) (policy.Decision, error) {
	switch {
	case l.policy == nil:
		return policy.Decision{}, errors.New("policy is missing")
	case l.request == nil:
		return policy.Decision{}, errors.New("request is missing")
	}
	if a.last == nil || !bytes.Equal(a.lastText, l.policy) {
		a.last, a.lastText = a.policies.find(l.policy), nil
		if l.policy[0] == '{' {
			a.lastText = []byte(a.last.text)
		}
	}
	program, err := a.last.get()
	if err != nil {
		return policy.Decision{}, err
	}
	q, err := policy.ParseQuery(l.request)
	if err != nil {
		return policy.Decision{}, err
	}
	r, err := q.Request()
	if err != nil {
		return policy.Decision{}, fmt.Errorf("request: %w", err)
	}
	return program.Eval(r), nil
}

// Word is an effect as the decision of a policy that stands alone, where
// silence denies: allow, explicit-deny, implicit-deny.
func Word(e policy.Effect) string {
	if e == policy.Silent {
		return "implicit-deny"
	}
	return e.String()
}

// quote is s as a JSON string that keeps <, > and &.
func quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // of a string
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}
