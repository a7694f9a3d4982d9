// Package vtl knows the mapping-template language of API Gateway (Apache
// Velocity) as far as telling whether a template uses it at all. The control
// plane warns of templates that do, the edges refuse to render them.
//
// The package is pure, and its functions may be called from any goroutine.
package vtl

import "strings"

// Literal reports whether rendering the template gives the template itself,
// whatever the request. That is so if it contains no `$`, which begins a
// reference, and no `#` followed by a letter, `{`, `@`, `#`, `*` or `[`, which
// begin a directive, a macro call, a comment or a quoted block. A lone `#`,
// such as in "#1", is text. The test errs on one side only: `$5` is text to
// Velocity too, but not literal here.
func Literal(template string) bool {
	if strings.IndexByte(template, '$') >= 0 {
		return false
	}
	for i := range len(template) {
		if template[i] == '#' && i+1 < len(template) && opens(template[i+1]) {
			return false
		}
	}
	return true
}

// opens reports whether a `#` before that character is more than text.
func opens(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_':
		return true
	}
	return strings.IndexByte("{@#*[", c) >= 0
}
