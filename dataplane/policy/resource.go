package policy

import (
	"cmp"
	"slices"
	"strings"
)

const (
	shortForm     = "execute-api:/" // this API, whatever its ARN
	invokeService = "execute-api"
)

// resourceSet is a Resource or NotResource element.
type resourceSet struct {
	negated  bool
	patterns []resourcePattern
	// alike: all patterns have the same head, so that matching one is matching
	// head and then some path. Nearly all policies name one API.
	alike bool
	head  *arnHead
	// paths are tried behind lead, the text with which all of them begin.
	lead  string
	paths []pattern
	// text is how all ARNs begin that match: the text of an exact head, and lead.
	// usual: there is nothing but that to be compared, since the one path is a
	// prefix and a star. Most policies consist of this.
	text  string
	usual bool
}

// resourcePattern matches an ARN part by part, so that no wildcard can reach
// from one part into another: matched as a whole string, a caller's path such
// as /:111122223333:abc/ could stand in for the account and API of a pattern.
type resourcePattern struct {
	never bool
	short bool     // execute-api:/…: path is matched behind the request's own API id
	head  *arnHead // the parts before the path; nil: the pattern is *, and matches what is no ARN too
	path  pattern  // the sixth part
}

// arnHead is what a pattern says of the five parts before the path. Patterns
// with the same head share it, so that it is tried once for all of them.
type arnHead struct {
	// exact: there are no wildcards, so that an ARN has these parts if it begins
	// with text, which has five colons. held: it is known to begin so.
	exact, held bool
	text        string
	// parts are matched one to one. Those behind a star that ends a pattern of
	// fewer than six parts match anything.
	parts [arnColon]pattern
}

// everything says that no resource is left out.
func (s *resourceSet) everything() bool {
	for i := range s.patterns {
		if s.patterns[i].everything() {
			return !s.negated
		}
	}
	return false
}

func (p *resourcePattern) everything() bool {
	return !p.never && !p.short && (p.head == nil || p.head.held) && p.path.any()
}

// numberPieces puts patterns side by side that begin with a star and then look
// for the same piece, and gives each such piece a number.
func (s *resourceSet) numberPieces() {
	first := func(p *pattern) string {
		if p.tokens != nil || p.prefix != "" || len(p.inner) == 0 {
			return ""
		}
		return p.inner[0]
	}
	slices.SortStableFunc(s.paths, func(a, b pattern) int {
		if a.last == 0 != (b.last == 0) { // a last byte spares most searches, so these come first
			return cmp.Compare(b.last, a.last)
		}
		return strings.Compare(first(&a), first(&b))
	})
	last, n := "", 0
	for i := range s.paths {
		if piece := first(&s.paths[i]); piece != "" {
			if piece != last {
				last, n = piece, n+1
			}
			s.paths[i].piece = n
		}
	}
}

func (c *compiler) compileResources(e *element) resourceSet {
	s := resourceSet{negated: e.negated, patterns: make([]resourcePattern, len(e.values))}
	for i, v := range e.values {
		s.patterns[i] = c.resourcePattern(v.text)
	}
	s.arrange()
	return s
}

// arrange looks for a head that all patterns share.
func (s *resourceSet) arrange() {
	s.head = s.patterns[0].head
	for i := range s.patterns {
		p := &s.patterns[i]
		if p.head == nil || p.head != s.head {
			s.head, s.paths = nil, nil
			return
		}
		s.paths = append(s.paths, p.path)
	}
	s.alike = true
	s.takeLead()
	s.numberPieces()
	if s.head.exact && !s.head.held {
		s.text = s.head.text + s.lead
	}
	if s.usual = len(s.paths) == 1 && s.paths[0].open && s.head.exact; s.usual {
		s.text = s.head.text + s.paths[0].prefix
	}
}

// takeLead takes what all paths begin with out of them, to compare it once.
func (s *resourceSet) takeLead() {
	if len(s.paths) == 1 || slices.ContainsFunc(s.paths, func(p pattern) bool { return p.tokens != nil }) {
		return
	}
	lead := s.paths[0].prefix
	for i := range s.paths {
		n := 0
		for p := s.paths[i].prefix; n < min(len(lead), len(p)) && lead[n] == p[n]; n++ {
		}
		lead = lead[:n]
	}
	s.lead = lead
	for i := range s.paths {
		s.paths[i].prefix = s.paths[i].prefix[len(lead):]
	}
}

func (c *compiler) resourcePattern(text string) resourcePattern {
	if rest, ok := strings.CutPrefix(text, shortForm); ok {
		return resourcePattern{short: true, path: parsePattern(rest, true, c.variables)}
	}
	head, path, whole := cutHead(text)
	if c.variables && strings.Contains(head, "${") || !whole && !strings.HasSuffix(head, "*") {
		return resourcePattern{never: true}
	}
	p := resourcePattern{path: anything}
	if whole {
		p.path = parsePattern(path, true, c.variables)
	}
	if text == "*" {
		return p
	}
	var ok bool
	if p.head, ok = c.heads[head]; !ok {
		p.head = newHead(head)
		c.heads[head] = p.head
	}
	return p
}

// cutHead cuts a pattern at its fifth colon. The language has no variables
// before it, so that none of these colons belongs to one. A pattern with fewer
// is not whole, and all head.
func cutHead(text string) (head, path string, whole bool) {
	end := 0
	for range arnColon {
		i := strings.IndexByte(text[end:], ':')
		if i < 0 {
			return text, "", false
		}
		end += i + 1
	}
	return text[:end-1], text[end:], true
}

func newHead(text string) *arnHead {
	h := &arnHead{text: text + ":", parts: [arnColon]pattern{anything, anything, anything, anything, anything}}
	n := 0
	for part := range strings.SplitSeq(text, ":") {
		h.parts[n] = parsePattern(part, true, false)
		n++
	}
	h.exact = !strings.ContainsAny(text, "*?")
	return h
}

// cut says whether an ARN has the head, and what stands behind it.
func (h *arnHead) cut(arn string) (path string, ok bool) {
	if h.exact {
		if h.held {
			return arn[min(len(h.text), len(arn)):], true
		}
		return strings.CutPrefix(arn, h.text)
	}
	parts, n := splitARN(arn)
	if n != arnParts {
		return "", false
	}
	for i := arnColon - 1; i >= 0; i-- { // the first parts tell requests apart least
		if !h.parts[i].match(parts[i], nil) {
			return "", false
		}
	}
	return parts[arnColon], true
}

// variableBeforeResource finds a ${ before the fifth colon, where the language
// has no variables.
func variableBeforeResource(text string) bool {
	head, _, _ := cutHead(text)
	return !strings.HasPrefix(text, shortForm) && strings.Contains(head, "${")
}

func (s *resourceSet) match(r *Request) bool {
	arn := view(r.Resource)
	switch {
	case s.usual:
		return strings.HasPrefix(arn, s.text) != s.negated
	case s.alike && s.text != "":
		path, ok := strings.CutPrefix(arn, s.text)
		return (ok && s.anyBehindLead(path, r)) != s.negated
	case s.alike:
		path, ok := s.head.cut(arn)
		return (ok && s.anyPath(path, r)) != s.negated
	}
	for i := range s.patterns {
		if s.patterns[i].match(arn, r) {
			return !s.negated
		}
	}
	return s.negated
}

// anyPath says whether a path, the sixth part of an ARN, matches one of the
// patterns of a set that is alike.
func (s *resourceSet) anyPath(path string, r *Request) bool {
	if s.lead != "" {
		var ok bool
		if path, ok = strings.CutPrefix(path, s.lead); !ok {
			return false
		}
	}
	return s.anyBehindLead(path, r)
}

func (s *resourceSet) anyBehindLead(path string, r *Request) bool {
	// Patterns that begin with a star often look for the same piece first: where
	// the last one that was searched for ends, or -1.
	searched, behind := 0, -1
	end := lastByte(path)
	for i := range s.paths {
		p := &s.paths[i]
		if p.last != 0 && p.last != end {
			continue
		}
		switch {
		case p.open:
			if strings.HasPrefix(path, p.prefix) {
				return true
			}
		case p.exact:
			if path == p.prefix {
				return true
			}
		case p.piece > 0:
			if !strings.HasSuffix(path, p.suffix) {
				continue
			}
			if p.piece != searched {
				searched, behind = p.piece, -1
				if i := strings.Index(path, p.inner[0]); i >= 0 {
					behind = i + len(p.inner[0])
				}
			}
			if until := len(path) - len(p.suffix); behind >= 0 && behind <= until && containsInOrder(path[behind:until], p.inner[1:]) {
				return true
			}
		case p.match(path, r):
			return true
		}
	}
	return false
}

func (p *resourcePattern) match(arn string, r *Request) bool {
	switch {
	case p.never:
		return false
	case p.short:
		parts, _ := splitARN(arn)
		slash := strings.IndexByte(parts[arnColon], '/')
		return slash >= 0 && parts[servicePart] == invokeService && p.path.match(parts[arnColon][slash+1:], r)
	case p.head == nil:
		return true
	}
	path, ok := p.head.cut(arn)
	return ok && p.path.match(path, r)
}
