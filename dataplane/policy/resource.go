package policy

import "strings"

const (
	shortForm      = "execute-api:/" // this API, whatever its ARN
	invokeService  = "execute-api"
	defaultARNPart = "aws"
)

// resourceSet is a Resource or NotResource element.
type resourceSet struct {
	negated  bool
	patterns []resourcePattern
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
	return s
}

func (c *compiler) resourcePattern(text string) resourcePattern {
	var p resourcePattern
	if rest, ok := strings.CutPrefix(text, shortForm); ok {
		p.short = true
		p.path = newPattern(tokenize(rest, true, c.variables))
		return p
	}
	parts, n := splitTokens(tokenize(text, true, c.variables))
	if n < arnParts {
		last := parts[n-1]
		if len(last) == 0 || last[len(last)-1].kind != tokenAny {
			p.never = true
			return p
		}
	}
	if c.variables && variableBeforeResource(text) {
		p.never = true
		return p
	}
	p.path = pattern{} // of fewer than six parts: any
	if n == arnParts {
		p.path = newPattern(parts[arnColon])
	}
	name := headText(text)
	if have, ok := c.heads[name]; ok {
		p.head = have
		return p
	}
	h := &arnHead{}
	for i := range min(n, arnColon) {
		h.parts[i] = newPattern(parts[i])
	}
	h.settle()
	p.head = h
	if text == "*" {
		p.head = nil
	}
	c.heads[name] = p.head
	return p
}

// headText is what a pattern says before its fifth colon, all of it if it has fewer.
func headText(text string) string {
	end := 0
	for range arnColon {
		i := strings.IndexByte(text[end:], ':')
		if i < 0 {
			return text
		}
		end += i + 1
	}
	return text[:end]
}

// settle finds out whether the head can be matched by comparing four strings.
func (h *arnHead) settle() {
	h.exact = h.parts[0].match("arn", nil) // the first part of every request's ARN
	for i := 1; i < arnColon; i++ {
		h.exact = h.exact && h.parts[i].exact
	}
	h.partition, h.service, h.region, h.account = h.parts[1].prefix, h.parts[2].prefix, h.parts[3].prefix, h.parts[4].prefix
}

func (h *arnHead) match(r *Request) bool {
	if h.exact {
		return r.Account == h.account && r.Region == h.region &&
			orDefault(r.Service, invokeService) == h.service && orDefault(r.Partition, defaultARNPart) == h.partition
	}
	return h.parts[4].match(r.Account, nil) && h.parts[3].match(r.Region, nil) &&
		h.parts[2].match(orDefault(r.Service, invokeService), nil) &&
		h.parts[1].match(orDefault(r.Partition, defaultARNPart), nil) && h.parts[0].match("arn", nil)
}

// variableBeforeResource finds a ${ before the fifth colon, where the language
// has no variables.
func variableBeforeResource(text string) bool {
	if strings.HasPrefix(text, shortForm) {
		return false
	}
	for colons := 0; colons < arnColon; colons++ {
		i := strings.IndexAny(text, ":$")
		for i >= 0 && text[i] == '$' {
			if strings.HasPrefix(text[i:], "${") {
				return true
			}
			j := strings.IndexAny(text[i+1:], ":$")
			if j < 0 {
				return false
			}
			i += 1 + j
		}
		if i < 0 {
			return false
		}
		text = text[i+1:]
	}
	return false
}

func (s *resourceSet) match(e *evaluation) bool {
	for i := range s.patterns {
		if s.patterns[i].match(e) {
			return !s.negated
		}
	}
	return s.negated
}

func (p *resourcePattern) match(e *evaluation) bool {
	switch {
	case p.head != nil:
		if p.head != e.head {
			e.head, e.headHeld = p.head, p.head.match(e.req)
		}
		return e.headHeld && p.path.match(e.resource, e.req)
	case p.never:
		return false
	case p.short:
		slash := strings.IndexByte(e.resource, '/')
		return slash >= 0 && (e.req.Service == "" || e.req.Service == invokeService) &&
			p.path.match(e.resource[slash+1:], e.req)
	}
	return p.path.match(e.resource, e.req)
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
