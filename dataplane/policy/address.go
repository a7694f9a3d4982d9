package policy

import (
	"net/netip"
	"strings"
)

// parseAddr reads an address without zone and unmaps it. It is netip.ParseAddr
// but for its error, which is allocated: here the text may be a header that a
// caller fills with what he likes, and evaluation allocates nothing.
func parseAddr(s string) (netip.Addr, bool) {
	if strings.IndexByte(s, ':') < 0 {
		b, ok := parseIPv4(s)
		if !ok {
			return netip.Addr{}, false
		}
		return netip.AddrFrom4(b), true
	}
	b, ok := parseIPv6(s)
	if !ok {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16(b).Unmap(), true
}

// parseIPv4 reads four decimal fields without leading zeros.
func parseIPv4(s string) (b [4]byte, ok bool) {
	for i := range b {
		field, rest, more := strings.Cut(s, ".")
		if more != (i < len(b)-1) || !digits(field) || len(field) > 3 || len(field) > 1 && field[0] == '0' {
			return b, false
		}
		v := 0
		for j := range len(field) {
			v = v*10 + int(field[j]-'0')
		}
		if v > 255 {
			return b, false
		}
		b[i] = byte(v)
		s = rest
	}
	return b, true
}

// parseIPv6 reads RFC 4291 §2.2: hexadecimal fields, one :: at most, and
// perhaps an IPv4 address in place of the last two fields.
func parseIPv6(s string) (b [16]byte, ok bool) {
	n, gap := 0, -1 // bytes read; where :: stood
	if strings.HasPrefix(s, "::") {
		gap, s = 0, s[2:]
	}
	for s != "" {
		if n == len(b) {
			return b, false
		}
		field := 0
		width := 0
		for width < len(s) && hexDigit(s[width]) >= 0 {
			field = field<<4 | hexDigit(s[width])
			if width++; width > 4 {
				return b, false
			}
		}
		if width < len(s) && s[width] == '.' {
			v4, ok := parseIPv4(s)
			if !ok || n > len(b)-len(v4) || gap < 0 && n != len(b)-len(v4) {
				return b, false
			}
			n += copy(b[n:], v4[:])
			break
		}
		if width == 0 {
			return b, false
		}
		b[n], b[n+1] = byte(field>>8), byte(field)
		n += 2
		s = s[width:]
		if s == "" {
			break
		}
		if s[0] != ':' || len(s) == 1 {
			return b, false
		}
		s = s[1:]
		if s[0] == ':' {
			if gap >= 0 {
				return b, false
			}
			gap, s = n, s[1:]
		}
	}
	if (gap < 0) != (n == len(b)) {
		return b, false // too short, or a :: that stands for nothing
	}
	if gap >= 0 {
		tail := n - gap
		copy(b[len(b)-tail:], b[gap:n])
		clear(b[gap : len(b)-tail])
	}
	return b, true
}

// hexDigit is the value of a hexadecimal digit, -1 for anything else.
func hexDigit(c byte) int {
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
