package policy

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"
)

// Problem is one finding about a document, at the place where it was written.
type Problem struct {
	// Path names the element, such as Statement[0].Condition.IpAddress.aws:SourceIp[1].
	// It is empty for the document as a whole.
	Path string
	// Line and Column count from one; Column counts characters, not bytes.
	// Both are zero for the document as a whole.
	Line, Column int
	// Message says what is wrong and, where that is known, what to write instead.
	Message string
}

// String is the problem as one line for people: position, path, message. It is
// printable ASCII whatever the document holds, so that it fits a header.
func (p Problem) String() string {
	s := p.Message
	if p.Path != "" {
		s = p.Path + ": " + s
	}
	if p.Line > 0 {
		s = fmt.Sprintf("%d:%d: %s", p.Line, p.Column, s)
	}
	return printable(s)
}

// printable writes what is not printable ASCII as Go escapes.
func printable(s string) string {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		if r >= ' ' && r <= '~' {
			out = append(out, byte(r))
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		out = append(out, quoted[1:len(quoted)-1]...)
	}
	return string(out)
}

// Error is the problem that ended Parse or Compile.
type Error struct {
	Problem
}

func (e *Error) Error() string { return "policy document: " + e.Problem.String() }

// inside puts the name of the enclosing element before the path.
func (e *Error) inside(name string) *Error {
	switch {
	case e.Path == "":
		e.Path = name
	case e.Path[0] == '[':
		e.Path = name + e.Path
	default:
		e.Path = name + "." + e.Path
	}
	return e
}

// source lets the elements of a document keep a byte offset only; most
// documents are never complained about, so lines are counted when asked.
type source struct {
	text  []byte
	once  sync.Once
	marks []mark // in the order of the text, at most markEvery bytes apart
}

// mark is a place whose line and column are known.
type mark struct{ offset, line, column int }

// markEvery keeps a document of one long line with thousands of findings from
// being counted from its beginning for each.
const markEvery = 4096

// position turns a byte offset into a line and a column.
func (s *source) position(offset int) (line, column int) {
	s.once.Do(func() {
		at := mark{0, 1, 1}
		s.marks = append(s.marks, at)
		for i, c := range s.text {
			switch {
			case c == '\n':
				at = mark{i + 1, at.line + 1, 1}
			case i+1-at.offset >= markEvery && utf8.RuneStart(c):
				at = mark{i, at.line, at.column + utf8.RuneCount(s.text[at.offset:i])}
			default:
				continue
			}
			s.marks = append(s.marks, at)
		}
	})
	offset = min(offset, len(s.text))
	i, found := slices.BinarySearchFunc(s.marks, offset, func(m mark, offset int) int { return m.offset - offset })
	if !found {
		i--
	}
	m := s.marks[i]
	return m.line, m.column + utf8.RuneCount(s.text[m.offset:offset])
}

func (s *source) problem(path string, offset int, format string, args ...any) Problem {
	line, column := s.position(offset)
	return Problem{Path: path, Line: line, Column: column, Message: fmt.Sprintf(format, args...)}
}

func (s *source) errorf(path string, offset int, format string, args ...any) *Error {
	return &Error{s.problem(path, offset, format, args...)}
}
