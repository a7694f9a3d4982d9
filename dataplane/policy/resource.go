package policy

import (
	"slices"
	"strings"
)

const (
	shortForm        = "execute-api:/" // this API, whatever its ARN
	invokeService    = "execute-api"
	defaultPartition = "aws"
)

// resourceSet is a Resource or NotResource element.
type resourceSet struct {
	negated  bool
	patterns []resourcePattern
	// alike: all patterns are ARNs with the same head, so that matching one is
	// matching head and then some path. Nearly all policies name one API.
	alike bool
	head  *arnHead
	// paths are tried behind lead, the text with which all of them begin.
	lead  string
	paths []pattern
	// usual: alike, with a usual head and one path, which is a prefix and a star.
	// It has a match of its own, in one go, as most policies consist of it.
	usual  bool
	prefix string
}

// resourcePattern matches an ARN part by part, so that no wildcard can reach
// from one part into another: matched as a whole string, a caller's path such
// as /:111122223333:abc/ could stand in for the account and API of a pattern.
type resourcePattern struct {
	never bool
	short bool     // execute-api:/…: path is matched behind the request's own API id
	head  *arnHead // the parts before the path; nil: any
	path  pattern  // the sixth part
}

// arnHead is what a pattern says of the five parts before an execute-api path.
// Patterns with the same head share it, so that an evaluation tries it once.
type arnHead struct {
	exact                               bool // no wildcards: only the four fields below are compared
	usual                               bool // and the first two are those of nearly all requests
	partition, service, region, account string
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
	return !p.never && !p.short && p.head == nil && p.path.any()
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
		if p.never || p.short || p.head != s.head {
			s.head, s.paths = nil, nil
			return
		}
		s.paths = append(s.paths, p.path)
	}
	s.alike = true
	s.takeLead()
	s.usual = len(s.paths) == 1 && s.paths[0].open && s.head != nil && s.head.usual
	s.prefix = s.lead + s.paths[0].prefix
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
	h := &arnHead{parts: [arnColon]pattern{anything, anything, anything, anything, anything}}
	i := 0
	for part := range strings.SplitSeq(text, ":") {
		h.parts[i] = parsePattern(part, true, false)
		i++
	}
	h.settle()
	return h
}

// settle finds out how much of the head is compared with what it says.
func (h *arnHead) settle() {
	h.exact = h.parts[0].match("arn", nil) // the first part of every request's ARN
	for i := 1; i < arnColon; i++ {
		h.exact = h.exact && h.parts[i].exact
	}
	h.partition, h.service, h.region, h.account = h.parts[1].prefix, h.parts[2].prefix, h.parts[3].prefix, h.parts[4].prefix
	h.usual = h.exact && h.partition == defaultPartition && h.service == invokeService
}

// matchUsual is match of a usual head.
func (h *arnHead) matchUsual(r *Request) bool {
	return r.Account == h.account && r.Region == h.region &&
		(r.Service == invokeService || r.Service == "") && (r.Partition == defaultPartition || r.Partition == "")
}

func (h *arnHead) match(r *Request) bool {
	switch {
	case h.usual:
		return h.matchUsual(r)
	case h.exact:
		return r.Account == h.account && r.Region == h.region &&
			orDefault(r.Service, invokeService) == h.service && orDefault(r.Partition, defaultPartition) == h.partition
	}
	return h.parts[4].match(r.Account, nil) && h.parts[3].match(r.Region, nil) &&
		h.parts[2].match(orDefault(r.Service, invokeService), nil) &&
		h.parts[1].match(orDefault(r.Partition, defaultPartition), nil) && h.parts[0].match("arn", nil)
}

// variableBeforeResource finds a ${ before the fifth colon, where the language
// has no variables.
func variableBeforeResource(text string) bool {
	head, _, _ := cutHead(text)
	return !strings.HasPrefix(text, shortForm) && strings.Contains(head, "${")
}

func (s *resourceSet) match(r *Request) bool {
	if s.usual {
		return (s.head.matchUsual(r) && strings.HasPrefix(view(r.Resource), s.prefix)) != s.negated
	}
	if s.alike {
		return ((s.head == nil || s.head.match(r)) && s.anyPath(r)) != s.negated
	}
	for i := range s.patterns {
		if s.patterns[i].match(r) {
			return !s.negated
		}
	}
	return s.negated
}

// anyPath says whether the sixth part of the request's ARN matches one of the
// patterns of a set that is alike.
func (s *resourceSet) anyPath(r *Request) bool {
	resource, ok := strings.CutPrefix(view(r.Resource), s.lead)
	if !ok {
		return false
	}
	for i := range s.paths {
		switch p := &s.paths[i]; {
		case p.open:
			if strings.HasPrefix(resource, p.prefix) {
				return true
			}
		case p.last != 0 && (resource == "" || resource[len(resource)-1] != p.last):
		case p.match(resource, r):
			return true
		}
	}
	return false
}

func (p *resourcePattern) match(r *Request) bool {
	resource := view(r.Resource)
	switch {
	case p.never:
		return false
	case p.short:
		slash := strings.IndexByte(resource, '/')
		return slash >= 0 && (r.Service == "" || r.Service == invokeService) && p.path.match(resource[slash+1:], r)
	}
	return (p.head == nil || p.head.match(r)) && p.path.match(resource, r)
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
