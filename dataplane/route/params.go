package route

import "strings"

// MaxParams is how many path parameters one resource may have.
const MaxParams = 16

// Params are the path parameters of one matched request, in the order of the
// path. The zero value is ready; Match starts it anew.
type Params struct {
	n     int
	names []string // the router's; never changed
	raw   [MaxParams]string
}

// Len is the number of parameters.
func (p *Params) Len() int { return p.n }

// At is parameter i: its name and its value as it stood in the path.
func (p *Params) At(i int) (name, raw string) { return p.names[i], p.raw[i] }

// Raw is the value of a parameter as it stood in the path.
func (p *Params) Raw(name string) (string, bool) {
	for i := range p.n {
		if p.names[i] == name {
			return p.raw[i], true
		}
	}
	return "", false
}

// Value is the value of a parameter, URL-decoded once: %252F gives %2F.
func (p *Params) Value(name string) (string, bool) {
	raw, ok := p.Raw(name)
	return Unescape(raw), ok
}

func (p *Params) push(raw string) {
	p.raw[p.n] = raw
	p.n++
}

// Unescape decodes %XX once. What is no escape stays as it is, and so does a
// plus sign, which means a space in queries only.
func Unescape(raw string) string {
	if strings.IndexByte(raw, '%') < 0 {
		return raw
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] == '%' && i+2 < len(raw) {
			high, low := unhex(raw[i+1]), unhex(raw[i+2])
			if high >= 0 && low >= 0 {
				out = append(out, byte(high<<4|low))
				i += 2
				continue
			}
		}
		out = append(out, raw[i])
	}
	return string(out)
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
