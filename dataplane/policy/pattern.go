package policy

import (
	"strings"
	"unicode/utf8"
)

// A pattern goes through two forms: tokens, straight from the text, where
// variables and their literal escapes are told from wildcards, and pattern,
// arranged for matching.

type tokenKind uint8

const (
	tokenText tokenKind = iota // literal text
	tokenAny                   // *
	tokenOne                   // ?
	tokenVar                   // ${key} or ${key, 'default'}
)

type token struct {
	kind       tokenKind
	text       string // literal text, or the default of a variable
	key        keyRef
	hasDefault bool
}

// tokenize cuts a value into tokens. Without wildcards * and ? are text;
// without variables ${ is.
func tokenize(s string, wildcards, variables bool) []token {
	var out []token
	start := 0
	text := func(end int) {
		if end > start {
			out = appendText(out, s[start:end])
		}
	}
	for i := 0; i < len(s); {
		switch {
		case wildcards && s[i] == '*':
			text(i)
			// A run of stars is one star; matching must not try their partitions.
			if len(out) == 0 || out[len(out)-1].kind != tokenAny {
				out = append(out, token{kind: tokenAny})
			}
		case wildcards && s[i] == '?':
			text(i)
			out = append(out, token{kind: tokenOne})
		case variables && strings.HasPrefix(s[i:], "${"):
			text(i)
			t, size := variable(s[i:])
			if t.kind == tokenText {
				out = appendText(out, t.text)
			} else {
				out = append(out, t)
			}
			i += size
			start = i
			continue
		default:
			i++
			continue
		}
		i++
		start = i
	}
	text(len(s))
	return out
}

// appendText joins literal text to literal text before it, so that an escape
// such as ${*} costs nothing when matching.
func appendText(out []token, s string) []token {
	if n := len(out); n > 0 && out[n-1].kind == tokenText {
		out[n-1].text += s
		return out
	}
	return append(out, token{kind: tokenText, text: s})
}

// variable reads the ${...} at the start of s and says how long it is. An
// unclosed one takes the rest; Parse does not let such a document through.
func variable(s string) (token, int) {
	body := s[2:]
	end := strings.IndexByte(body, '}')
	// A quoted default may itself contain a closing brace.
	if comma := strings.IndexByte(body, ','); comma >= 0 && comma < end {
		quoted := strings.TrimLeft(body[comma+1:], " ")
		if strings.HasPrefix(quoted, "'") {
			if close := strings.Index(quoted[1:], "'}"); close >= 0 {
				size := len(s) - len(quoted) + 1 + close + 2
				key := strings.TrimRight(body[:comma], " ")
				return token{kind: tokenVar, key: refKey(key), text: quoted[1 : 1+close], hasDefault: true}, size
			}
		}
	}
	if end < 0 {
		return token{kind: tokenVar, key: refKey(body)}, len(s)
	}
	switch name := body[:end]; name {
	case "*", "?", "$":
		return token{kind: tokenText, text: name}, end + 3
	default:
		return token{kind: tokenVar, key: refKey(name)}, end + 3
	}
}

// variablesClosed says whether every ${ has its closing brace.
func variablesClosed(s string) bool {
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			return true
		}
		s = s[i:]
		if strings.IndexByte(s, '}') < 0 {
			return false
		}
		_, size := variable(s)
		s = s[size:]
	}
}

// splitTokens cuts tokens at the first five colons of their literal text, into
// the parts of an ARN. A colon inside ${...} separates nothing.
func splitTokens(tokens []token) (parts [arnParts][]token, n int) {
	for _, t := range tokens {
		if t.kind == tokenText {
			for n < arnColon {
				i := strings.IndexByte(t.text, ':')
				if i < 0 {
					break
				}
				if i > 0 {
					parts[n] = append(parts[n], token{kind: tokenText, text: t.text[:i]})
				}
				t.text = t.text[i+1:]
				n++
			}
			if t.text == "" {
				continue
			}
		}
		parts[n] = append(parts[n], t)
	}
	return parts, n + 1
}

// pattern is a value ready to be matched. Most have text and stars only and are
// matched as prefix, inner pieces in order, and suffix, each with the standard
// library's linear search. The others, with ? or variables, keep their tokens.
type pattern struct {
	prefix string
	suffix string
	inner  []string
	exact  bool // no star: prefix is the whole value
	open   bool // prefix and a star, nothing else
	last   byte // the last byte of every match, 0 if there is no such one
	piece  int  // in a resourceSet: which piece stands behind the first star, 0 if another thing does
	tokens []token
	vars   bool // tokens hold variables
}

// parsePattern is newPattern of the tokens of s, without making them for text
// that has nothing but stars in it.
func parsePattern(s string, wildcards, variables bool) pattern {
	if wildcards && strings.IndexByte(s, '?') >= 0 || variables && strings.Contains(s, "${") {
		return newPattern(tokenize(s, wildcards, variables))
	}
	star := -1
	if wildcards {
		star = strings.IndexByte(s, '*')
	}
	if star < 0 {
		return pattern{exact: true, prefix: s, last: lastByte(s)}
	}
	p := pattern{prefix: s[:star]}
	for s = s[star+1:]; s != ""; s = s[star+1:] {
		if star = strings.IndexByte(s, '*'); star < 0 {
			p.suffix = s
			break
		}
		if star > 0 {
			p.inner = append(p.inner, s[:star])
		}
	}
	p.finish()
	return p
}

// finish works out what is told from the parts of a pattern with stars.
func (p *pattern) finish() {
	p.last = lastByte(p.suffix)
	p.open = p.suffix == "" && len(p.inner) == 0
}

// anything is the pattern of a lone star.
var anything = pattern{open: true}

func newPattern(tokens []token) pattern {
	var p pattern
	for _, t := range tokens {
		switch t.kind {
		case tokenOne:
			p.tokens = tokens
		case tokenVar:
			p.tokens, p.vars = tokens, true
		}
	}
	if p.tokens != nil {
		return p
	}
	// Now tokens alternate between text and star.
	switch {
	case len(tokens) == 0:
		p.exact = true
		return p
	case len(tokens) == 1 && tokens[0].kind == tokenText:
		p.exact, p.prefix, p.last = true, tokens[0].text, lastByte(tokens[0].text)
		return p
	}
	if first := tokens[0]; first.kind == tokenText {
		p.prefix = first.text
		tokens = tokens[1:]
	}
	if last := tokens[len(tokens)-1]; last.kind == tokenText {
		p.suffix = last.text
		tokens = tokens[:len(tokens)-1]
	}
	for _, t := range tokens {
		if t.kind == tokenText {
			p.inner = append(p.inner, t.text)
		}
	}
	p.finish()
	return p
}

// any says that every text matches.
func (p *pattern) any() bool {
	return p.open && p.prefix == ""
}

// leading is the literal text with which every match begins.
func (p *pattern) leading() string {
	if p.tokens != nil && p.tokens[0].kind == tokenText {
		return p.tokens[0].text
	}
	return p.prefix
}

// match says whether the whole of s matches. Values of variables come from r
// and are always literal; one without a value lets the pattern match nothing.
func (p *pattern) match(s string, r *Request) bool {
	switch {
	case p.tokens != nil:
		if p.vars && !resolvable(p.tokens, r) {
			return false
		}
		return matchTokens(p.tokens, s, r)
	case p.exact:
		return s == p.prefix
	case len(s) < len(p.prefix)+len(p.suffix) || !strings.HasPrefix(s, p.prefix) || !strings.HasSuffix(s, p.suffix):
		return false
	}
	return containsInOrder(s[len(p.prefix):len(s)-len(p.suffix)], p.inner)
}

// containsInOrder says whether pieces stand in s one behind the other.
func containsInOrder(s string, pieces []string) bool {
	for _, piece := range pieces {
		i := strings.Index(s, piece)
		if i < 0 {
			return false
		}
		s = s[i+len(piece):]
	}
	return true
}

// resolve is the text of a variable in a request.
func (t *token) resolve(r *Request) (string, bool) {
	if !t.key.list {
		if f := r.lookup(&t.key); f.n == 1 {
			return f.at(0), true
		}
	}
	return t.text, t.hasDefault
}

func resolvable(tokens []token, r *Request) bool {
	for i := range tokens {
		if tokens[i].kind == tokenVar {
			if _, ok := tokens[i].resolve(r); !ok {
				return false
			}
		}
	}
	return true
}

// matchTokens is the greedy two-pointer match: after a mismatch only the last
// star is widened, by one character, so the cost is at most the product of the
// lengths. All variables must be resolvable.
func matchTokens(tokens []token, s string, r *Request) bool {
	at, pos := 0, 0
	star, starPos := -1, 0
	for at < len(tokens) || pos < len(s) {
		if at < len(tokens) {
			t := &tokens[at]
			if t.kind == tokenAny {
				star, starPos = at, pos
				at++
				continue
			}
			if size, ok := t.eat(s[pos:], r); ok {
				at++
				pos += size
				continue
			}
		}
		if star < 0 || starPos >= len(s) {
			return false
		}
		_, size := utf8.DecodeRuneInString(s[starPos:])
		starPos += size
		at, pos = star+1, starPos
	}
	return true
}

// eat says whether s starts with the token and how much of it that takes. A ?
// is one character: a UTF-8 sequence, or one byte of what is none.
func (t *token) eat(s string, r *Request) (int, bool) {
	switch t.kind {
	case tokenOne:
		_, size := utf8.DecodeRuneInString(s)
		return size, size > 0
	case tokenVar:
		v, _ := t.resolve(r)
		return len(v), strings.HasPrefix(s, v)
	}
	return len(t.text), strings.HasPrefix(s, t.text)
}
