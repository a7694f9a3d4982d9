package policy

import (
	"bytes"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// The reader is our own because a policy needs three things that encoding/json
// does not give together: duplicate keys are errors, every element knows where
// it stands, and the order of members survives.

const (
	maxText  = 16 << 20 // bytes; far above what may be saved, below what hurts
	maxDepth = 32       // the language itself nests six deep
)

type jsonKind uint8

const (
	jsonNull jsonKind = iota
	jsonBool
	jsonNumber
	jsonString
	jsonArray
	jsonObject
)

func (k jsonKind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "a list", "an object"}[k]
}

// node is one JSON value. text is the decoded string, or a number or boolean
// exactly as written.
type node struct {
	kind    jsonKind
	offset  int
	text    string
	elems   []node
	members []member
}

type member struct {
	name   string
	offset int
	value  node
}

type jsonReader struct {
	src *source
	pos int
	// Lists are collected on these stacks, whose tops belong to the innermost
	// object and list, and copied once their lengths are known.
	members []member
	elems   []node
	// names holds member names, of which a policy has few.
	names map[string]string
}

// readJSON reads a whole document: one value, nothing after it.
func readJSON(src *source) (node, *Error) {
	if len(src.text) > maxText {
		return node{}, src.errorf("", 0, "document is longer than %d bytes", maxText)
	}
	r := jsonReader{src: src, names: make(map[string]string)}
	n, err := r.value(0)
	if err != nil {
		return node{}, err
	}
	r.space()
	if r.pos < len(src.text) {
		return node{}, r.fail("unexpected text after the end of the document")
	}
	return n, nil
}

func (r *jsonReader) fail(format string, args ...any) *Error {
	return r.src.errorf("", r.pos, format, args...)
}

func (r *jsonReader) space() {
	for r.pos < len(r.src.text) {
		switch r.src.text[r.pos] {
		case ' ', '\t', '\r', '\n':
			r.pos++
		default:
			return
		}
	}
}

// peek returns the next byte after white space, 0 at the end of the text.
func (r *jsonReader) peek() byte {
	r.space()
	if r.pos == len(r.src.text) {
		return 0
	}
	return r.src.text[r.pos]
}

func (r *jsonReader) value(depth int) (node, *Error) {
	if depth > maxDepth {
		return node{}, r.fail("nested deeper than %d levels", maxDepth)
	}
	c := r.peek()
	n := node{offset: r.pos}
	var err *Error
	switch {
	case c == '{':
		n.kind = jsonObject
		n.members, err = r.object(depth)
	case c == '[':
		n.kind = jsonArray
		n.elems, err = r.array(depth)
	case c == '"':
		n.kind = jsonString
		n.text, err = r.str()
	case c == '-' || c >= '0' && c <= '9':
		n.kind = jsonNumber
		n.text, err = r.number()
	case r.word("true"), r.word("false"):
		n.kind = jsonBool
		n.text = string(r.src.text[n.offset:r.pos])
	case r.word("null"):
	case c == 0 && r.pos == len(r.src.text):
		err = r.fail("document ends too early")
	default:
		err = r.fail("not JSON: a value is expected here")
	}
	return n, err
}

func (r *jsonReader) word(w string) bool {
	if len(r.src.text)-r.pos < len(w) || string(r.src.text[r.pos:r.pos+len(w)]) != w {
		return false
	}
	r.pos += len(w)
	return true
}

func (r *jsonReader) object(depth int) ([]member, *Error) {
	r.pos++
	if r.peek() == '}' {
		r.pos++
		return nil, nil
	}
	base := len(r.members)
	defer func() { r.members = r.members[:base] }()
	var seen map[string]bool // of a large object
	for {
		if r.peek() != '"' {
			return nil, r.fail("not JSON: a member name in double quotes is expected here")
		}
		m := member{offset: r.pos}
		var err *Error
		if m.name, err = r.name(); err != nil {
			return nil, err
		}
		if r.repeats(base, m.name, &seen) {
			return nil, r.src.errorf(m.name, m.offset, "duplicate key %q; write each key once", m.name)
		}
		if r.peek() != ':' {
			return nil, r.fail("not JSON: a colon is expected here")
		}
		r.pos++
		if m.value, err = r.value(depth + 1); err != nil {
			return nil, err.inside(m.name)
		}
		r.members = append(r.members, m)
		switch r.peek() {
		case ',':
			r.pos++
		case '}':
			r.pos++
			return slices.Clone(r.members[base:]), nil
		default:
			return nil, r.fail("not JSON: a comma or a closing brace is expected here")
		}
	}
}

// fewMembers is how many names are compared one by one.
const fewMembers = 12

// repeats says whether the object whose members begin at base has the name already.
func (r *jsonReader) repeats(base int, name string, seen *map[string]bool) bool {
	have := r.members[base:]
	if len(have) <= fewMembers {
		return slices.ContainsFunc(have, func(m member) bool { return m.name == name })
	}
	if *seen == nil {
		*seen = make(map[string]bool)
		for _, m := range have {
			(*seen)[m.name] = true
		}
	}
	before := (*seen)[name]
	(*seen)[name] = true
	return before
}

// name reads a member name, and gives equal ones the same string.
func (r *jsonReader) name() (string, *Error) {
	t := r.src.text[r.pos+1:]
	if end := bytes.IndexByte(t[:min(len(t), maxName)], '"'); end >= 0 {
		if known, ok := r.names[string(t[:end])]; ok {
			r.pos += end + 2
			return known, nil
		}
	}
	s, err := r.str()
	if err == nil && len(s) < maxName && len(s) < len(t) && string(t[:len(s)]) == s && t[len(s)] == '"' { // nothing was escaped
		r.names[s] = s
	}
	return s, err
}

const maxName = 64

func (r *jsonReader) array(depth int) ([]node, *Error) {
	r.pos++
	if r.peek() == ']' {
		r.pos++
		return nil, nil
	}
	base := len(r.elems)
	defer func() { r.elems = r.elems[:base] }()
	for {
		n, err := r.value(depth + 1)
		if err != nil {
			return nil, err.inside("[" + strconv.Itoa(len(r.elems)-base) + "]")
		}
		r.elems = append(r.elems, n)
		switch r.peek() {
		case ',':
			r.pos++
		case ']':
			r.pos++
			return slices.Clone(r.elems[base:]), nil
		default:
			return nil, r.fail("not JSON: a comma or a closing bracket is expected here")
		}
	}
}

// number checks the JSON grammar and keeps the spelling: a condition value is
// the text that the author wrote.
func (r *jsonReader) number() (string, *Error) {
	start := r.pos
	t := r.src.text
	digits := func() bool {
		from := r.pos
		for r.pos < len(t) && t[r.pos] >= '0' && t[r.pos] <= '9' {
			r.pos++
		}
		return r.pos > from
	}
	at := func(set string) bool {
		for i := range len(set) {
			if r.pos < len(t) && t[r.pos] == set[i] {
				r.pos++
				return true
			}
		}
		return false
	}
	at("-")
	if !at("0") && !digits() {
		return "", r.fail("not JSON: a digit is expected here")
	}
	if at(".") && !digits() {
		return "", r.fail("not JSON: a digit is expected here")
	}
	if at("eE") {
		at("+-")
		if !digits() {
			return "", r.fail("not JSON: a digit is expected here")
		}
	}
	return string(t[start:r.pos]), nil
}

// str reads a string literal. Invalid UTF-8 and lone surrogates are refused
// rather than replaced: a policy must say exactly what it was meant to say.
func (r *jsonReader) str() (string, *Error) {
	r.pos++
	t := r.src.text
	start := r.pos
	for r.pos < len(t) && t[r.pos] != '"' && t[r.pos] != '\\' && t[r.pos] >= ' ' && t[r.pos] < utf8.RuneSelf {
		r.pos++
	}
	if r.pos < len(t) && t[r.pos] == '"' { // the common case: nothing to decode
		r.pos++
		return string(t[start : r.pos-1]), nil
	}
	out := append(make([]byte, 0, r.pos-start+16), t[start:r.pos]...)
	for r.pos < len(t) {
		switch c := t[r.pos]; {
		case c == '"':
			r.pos++
			return string(out), nil
		case c == '\\':
			var err *Error
			if out, err = r.escape(out); err != nil {
				return "", err
			}
		case c < ' ':
			return "", r.fail("not JSON: a control character inside a string must be escaped")
		case c < utf8.RuneSelf:
			out = append(out, c)
			r.pos++
		default:
			_, size := utf8.DecodeRune(t[r.pos:])
			if size == 1 {
				return "", r.fail("text is not valid UTF-8")
			}
			out = append(out, t[r.pos:r.pos+size]...)
			r.pos += size
		}
	}
	return "", r.fail("document ends inside a string")
}

func (r *jsonReader) escape(out []byte) ([]byte, *Error) {
	t := r.src.text
	if r.pos+1 >= len(t) {
		return nil, r.fail("document ends inside a string")
	}
	c := t[r.pos+1]
	if c != 'u' {
		plain, ok := unescaped(c)
		if !ok {
			return nil, r.fail("not JSON: unknown escape \\%c", c)
		}
		r.pos += 2
		return append(out, plain), nil
	}
	first, ok := hex4(t, r.pos)
	if !ok {
		return nil, r.fail("not JSON: \\u needs four hexadecimal digits")
	}
	if !utf16.IsSurrogate(first) {
		r.pos += 6
		return utf8.AppendRune(out, first), nil
	}
	second, ok := hex4(t, r.pos+6)
	if both := utf16.DecodeRune(first, second); ok && both != utf8.RuneError {
		r.pos += 12
		return utf8.AppendRune(out, both), nil
	}
	return nil, r.fail("half of a surrogate pair")
}

// unescaped is the character that a one-letter JSON escape stands for.
func unescaped(c byte) (byte, bool) {
	switch c {
	case '"', '\\', '/':
		return c, true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	}
	return 0, false
}

// hex4 decodes \uXXXX at offset i.
func hex4(t []byte, i int) (rune, bool) {
	if i+6 > len(t) || t[i] != '\\' || t[i+1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(t[i+2:i+6]), 16, 16)
	return rune(v), err == nil
}

// appendJSON quotes s as a JSON string with the fewest escapes.
func appendJSON(out []byte, s string) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c == '\n':
			out = append(out, `\n`...)
		case c == '\r':
			out = append(out, `\r`...)
		case c == '\t':
			out = append(out, `\t`...)
		case c < ' ':
			out = append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}
