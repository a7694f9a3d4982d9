package integration

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// maxMockBody bounds what is read of a body that passes through to a MOCK.
const maxMockBody = 64 << 10

var errNoStatus = errors.New("mock integration: the request template gives no integer statusCode")

func (b *Backend) serveMock(w http.ResponseWriter, c *Call) (Fault, error) {
	t, ok := b.request.pick(c.Request.Header.Get("Content-Type"))
	if !ok {
		return MediaType, nil
	}
	var status int
	switch {
	case t != nil && t.dynamic:
		return Misconfigured, errTemplate
	case t != nil && !t.null:
		status, ok = t.status, t.hasStatus
	default:
		body, err := io.ReadAll(io.LimitReader(c.Request.Body, maxMockBody))
		if errors.Is(err, ErrBadBody) {
			return BadBody, err
		}
		if err != nil {
			return Aborted, fmt.Errorf("read request: %w", err)
		}
		status, ok = mockStatus(string(body))
	}
	if !ok {
		return Misconfigured, errNoStatus
	}
	r := b.selectResponse(status)
	if r == nil {
		return Misconfigured, fmt.Errorf("no integration response for status %d", status)
	}
	return r.write(w, c, &inputs{call: c}, nil, 0)
}

// mockStatus finds the statusCode of what a MOCK's template gives. That is JSON,
// but API Gateway also takes names without quotes or with single ones.
func mockStatus(text string) (status int, ok bool) {
	s := scanner{text: text}
	if !s.skip('{') {
		return 0, false
	}
	for !s.skip('}') {
		name, ok := s.scalar()
		if !ok || !s.skip(':') {
			return 0, false
		}
		start := s.at
		if !s.value(0) {
			return 0, false
		}
		if name == "statusCode" {
			n, err := strconv.Atoi(strings.TrimSpace(s.text[start:s.at]))
			return n, err == nil
		}
		s.skip(',')
	}
	return 0, false
}

// scanner reads lenient JSON.
type scanner struct {
	text string
	at   int
}

func (s *scanner) space() {
	for s.at < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.at]) >= 0 {
		s.at++
	}
}

func (s *scanner) skip(c byte) bool {
	s.space()
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

// scalar reads a string in either quotes, or what stands bare.
func (s *scanner) scalar() (string, bool) {
	s.space()
	if s.at == len(s.text) {
		return "", false
	}
	start := s.at
	if q := s.text[s.at]; q == '"' || q == '\'' {
		for s.at++; s.at < len(s.text); s.at++ {
			switch s.text[s.at] {
			case '\\':
				s.at++
			case q:
				s.at++
				return s.text[start+1 : s.at-1], true
			}
		}
		s.at = len(s.text) // a backslash may have led past the end
		return "", false
	}
	for s.at < len(s.text) && strings.IndexByte(" \t\r\n,:{}[]\"'", s.text[s.at]) < 0 {
		s.at++
	}
	return s.text[start:s.at], s.at > start
}

const maxMockDepth = 64

// value skips one value.
func (s *scanner) value(depth int) bool {
	if depth > maxMockDepth {
		return false
	}
	switch {
	case s.skip('{'):
		for !s.skip('}') {
			if _, ok := s.scalar(); !ok || !s.skip(':') || !s.value(depth+1) {
				return false
			}
			s.skip(',')
		}
		return true
	case s.skip('['):
		for !s.skip(']') {
			if !s.value(depth + 1) {
				return false
			}
			s.skip(',')
		}
		return true
	}
	_, ok := s.scalar()
	return ok
}
