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
	everything bool // "*"
	never      bool
	short      bool // execute-api:/…: rest is matched behind the request's own API id
	// parts[:n] are matched one to one. A pattern of fewer than six parts ends
	// in a star, which also takes all parts after its own.
	n     int
	parts [arnParts]pattern
}

func compileResources(e *element, variables bool) resourceSet {
	s := resourceSet{negated: e.negated, patterns: make([]resourcePattern, len(e.values))}
	for i, v := range e.values {
		s.patterns[i] = newResourcePattern(v.text, variables)
	}
	return s
}

func newResourcePattern(text string, variables bool) resourcePattern {
	var p resourcePattern
	if text == "*" {
		p.everything = true
		return p
	}
	if rest, ok := strings.CutPrefix(text, shortForm); ok {
		p.short = true
		p.parts[arnColon] = newPattern(tokenize(rest, true, variables))
		return p
	}
	parts, n := splitTokens(tokenize(text, true, variables))
	if n < arnParts {
		last := parts[n-1]
		if len(last) == 0 || last[len(last)-1].kind != tokenAny {
			p.never = true
			return p
		}
	}
	if variables && variableBeforeResource(text) {
		p.never = true
		return p
	}
	p.n = n
	for i := range n {
		p.parts[i] = newPattern(parts[i])
	}
	return p
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
	case p.everything:
		return true
	case p.never:
		return false
	case p.short:
		slash := strings.IndexByte(e.resource, '/')
		return slash >= 0 && (e.req.Service == "" || e.req.Service == invokeService) &&
			p.parts[arnColon].match(e.resource[slash+1:], e.req)
	}
	for i := p.n - 1; i >= 0; i-- { // the last parts tell requests apart, the first seldom do
		var part string
		switch i {
		case 0:
			part = "arn"
		case 1:
			part = orDefault(e.req.Partition, defaultARNPart)
		case 2:
			part = orDefault(e.req.Service, invokeService)
		case 3:
			part = e.req.Region
		case 4:
			part = e.req.Account
		case 5:
			part = e.resource
		}
		if !p.parts[i].match(part, e.req) {
			return false
		}
	}
	return true
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
