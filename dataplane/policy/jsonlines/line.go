package jsonlines

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// line is one question, in spans of its text; a nil span is absent.
type line struct {
	id      []byte
	policy  []byte
	request []byte
}

// split finds the members of a line. Policy and request are only delimited;
// whoever reads them finds what is wrong inside. Beside an error the members
// that come before it are there, so that an answer can name its question.
// Likely, if not nil, is the text of an object that the policy probably is: it
// need not be searched for its end again.
func split(text, likely []byte) (l line, err error) {
	s := splitter{text: text}
	if !s.eat('{') {
		return l, errors.New("a line is a JSON object with id, policy and request")
	}
	if s.eat('}') {
		return l, s.end()
	}
	for {
		name, err := s.name()
		if err != nil {
			return l, err
		}
		if !s.eat(':') {
			return l, fmt.Errorf("not JSON: a colon is expected after %q", name)
		}
		s.space()
		var value []byte
		if name == "policy" && likely != nil && bytes.HasPrefix(s.text[s.pos:], likely) {
			value = s.text[s.pos : s.pos+len(likely)]
			s.pos += len(likely)
		} else {
			value, err = s.value()
		}
		if err != nil {
			return l, err
		}
		if err := l.set(name, value); err != nil {
			return l, err
		}
		if s.eat('}') {
			return l, s.end()
		}
		if !s.eat(',') {
			return l, fmt.Errorf("not JSON: a comma or a closing brace is expected after the value of %q", name)
		}
	}
}

func (l *line) set(name string, value []byte) error {
	var span *[]byte
	switch name {
	case "id":
		if !number(value) {
			return fmt.Errorf("id must be a number, this is %.40q", value)
		}
		span = &l.id
	case "policy":
		span = &l.policy
	case "request":
		span = &l.request
	default: // a note of the asker's own
		if !json.Valid(value) {
			return fmt.Errorf("not JSON: the value of %q", name)
		}
		return nil
	}
	if *span != nil {
		return fmt.Errorf("duplicate key %q", name)
	}
	*span = value
	return nil
}

// number is JSON's grammar of numbers.
func number(b []byte) bool {
	return len(b) > 0 && (b[0] == '-' || b[0] >= '0' && b[0] <= '9') && json.Valid(b)
}

type splitter struct {
	text []byte
	pos  int
}

func (s *splitter) space() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

// eat takes c, after white space, if it comes next.
func (s *splitter) eat(c byte) bool {
	s.space()
	if s.pos < len(s.text) && s.text[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *splitter) end() error {
	if s.space(); s.pos < len(s.text) {
		return errors.New("unexpected text after the end of the object")
	}
	return nil
}

var errUnfinished = errors.New("not JSON: the line ends too early")

// name is a member's name.
func (s *splitter) name() (string, error) {
	s.space()
	start := s.pos
	if start == len(s.text) {
		return "", errUnfinished
	}
	if s.text[start] != '"' {
		return "", errors.New("not JSON: a member name in double quotes is expected")
	}
	if err := s.str(); err != nil {
		return "", err
	}
	quoted := s.text[start:s.pos]
	plain := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(plain, '\\') < 0 {
		return string(plain), nil
	}
	var name string
	if err := json.Unmarshal(quoted, &name); err != nil {
		return "", fmt.Errorf("not JSON: the name %s", quoted)
	}
	return name, nil
}

// str skips a string.
func (s *splitter) str() error {
	for s.pos++; ; s.pos++ {
		i := bytes.IndexByte(s.text[s.pos:], '"')
		if i < 0 {
			return errUnfinished
		}
		s.pos += i
		// A quote after an odd number of backslashes belongs to the string.
		before := s.pos
		for s.text[before-1] == '\\' {
			before--
		}
		if (s.pos-before)%2 == 0 {
			s.pos++
			return nil
		}
	}
}

// value delimits a value, and no more: brackets are counted, not matched.
func (s *splitter) value() ([]byte, error) {
	start, depth := s.pos, 0
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case '"':
			if err := s.str(); err != nil {
				return nil, err
			}
			s.pos--
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return s.word(start)
			}
			if depth--; depth == 0 {
				s.pos++
				return s.text[start:s.pos], nil
			}
		case ',':
			if depth == 0 {
				return s.word(start)
			}
		}
		s.pos++
	}
	return nil, errUnfinished
}

// word is a value without brackets of its own.
func (s *splitter) word(start int) ([]byte, error) {
	w := bytes.TrimRight(s.text[start:s.pos], " \t\r\n")
	if len(w) == 0 {
		return nil, errors.New("not JSON: a value is expected")
	}
	return w, nil
}
