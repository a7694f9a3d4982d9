package reference

import (
	"regexp"
	"strings"
)

// character is one character of a pattern. What a variable put there is
// literal and never separates the parts of an ARN (§6.5).
type character struct {
	star, one bool
	inserted  bool
	text      string
}

// characters cuts text into its characters; a byte that is no UTF-8 is one too.
func characters(s string) []string { return strings.Split(s, "") }

// wildcards is text with the wildcards * and ?, and without variables.
func wildcards(s string) []character {
	var out []character
	for _, c := range characters(s) {
		out = append(out, character{star: c == "*", one: c == "?", text: c})
	}
	return out
}

func literal(s string, inserted bool) []character {
	var out []character
	for _, c := range characters(s) {
		out = append(out, character{text: c, inserted: inserted})
	}
	return out
}

// ${key} or ${key, 'default'}
var variable = regexp.MustCompile(`^\$\{([^},]*?)(?: *, *'(.*?)')?\}`)

// Keys that hold lists can't be variables (§6.5).
var lists = map[string]bool{
	"aws:principalorgpaths":              true,
	"aws:tagkeys":                        true,
	"aws:calledvia":                      true,
	"aws:principalservicenameslist":      true,
	"aws:sourceorgpaths":                 true,
	"aws:resourceorgpaths":               true,
	"cognito-identity.amazonaws.com:amr": true,
}

// pattern is a value with its variables replaced; false if one has no value.
func (e *evaluation) pattern(s string, wild bool) ([]character, bool) {
	if !e.variables {
		if wild {
			return wildcards(s), true
		}
		return literal(s, false), true
	}
	var out []character
	for s != "" {
		at := strings.Index(s, "${")
		plain := s
		if at >= 0 {
			plain = s[:at]
		}
		if wild {
			out = append(out, wildcards(plain)...)
		} else {
			out = append(out, literal(plain, false)...)
		}
		if s = s[len(plain):]; s == "" {
			break
		}
		m := variable.FindStringSubmatchIndex(s)
		if m == nil {
			return nil, false
		}
		name := strings.ToLower(s[m[2]:m[3]])
		switch {
		case name == "*" || name == "?" || name == "$":
			out = append(out, literal(name, true)...)
		case len(e.context[name]) == 1 && !lists[name]:
			out = append(out, literal(e.context[name][0], true)...)
		case m[4] >= 0:
			out = append(out, literal(s[m[4]:m[5]], true)...)
		default:
			return nil, false
		}
		s = s[m[1]:]
	}
	return out, true
}

// split cuts a pattern at its first five colons.
func split(p []character) [][]character {
	parts := [][]character{nil}
	for _, c := range p {
		if c.text == ":" && !c.inserted && len(parts) < 6 {
			parts = append(parts, nil)
			continue
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], c)
	}
	return parts
}

// glob keeps, for each pattern character in turn, which beginnings of the text
// are matched by the pattern up to there.
func glob(p []character, text string) bool {
	s := characters(text)
	matched := make([]bool, len(s)+1)
	matched[0] = true
	for _, c := range p {
		next := make([]bool, len(s)+1)
		for i := range next {
			switch {
			case c.star:
				next[i] = matched[i] || i > 0 && next[i-1]
			case i > 0 && (c.one || c.text == s[i-1]):
				next[i] = matched[i-1]
			}
		}
		matched = next
	}
	return matched[len(s)]
}

// text is a pattern without wildcards as the string that it stands for.
func text(p []character) string {
	var b strings.Builder
	for _, c := range p {
		b.WriteString(c.text)
	}
	return b.String()
}
