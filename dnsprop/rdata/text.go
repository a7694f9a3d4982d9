package rdata

import (
	"errors"
	"fmt"
	"strings"
)

// characterStrings reads the value of a TXT record: strings of up to 255 bytes
// in quotation marks, with spaces between. A backslash takes three octal
// digits, or makes the next byte mean itself. The strings come in the
// library's own escapes, which are decimal.
func characterStrings(value string) ([]string, error) {
	var all []string
	for rest := strings.Trim(value, " \t"); rest != ""; rest = strings.TrimLeft(rest, " \t") {
		if rest[0] != '"' {
			return nil, errors.New("value should be enclosed in quotation marks")
		}
		text, after, err := quoted(rest[1:])
		if err != nil {
			return nil, err
		}
		all, rest = append(all, text), after
		if rest != "" && rest[0] != ' ' && rest[0] != '\t' {
			return nil, errors.New("strings should have a space between them")
		}
	}
	if len(all) == 0 {
		return nil, errors.New("value should be enclosed in quotation marks")
	}
	return all, nil
}

// quoted reads up to the closing mark, and returns what is behind it.
func quoted(s string) (text, rest string, err error) {
	var b strings.Builder
	size := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"':
			return b.String(), s[i+1:], nil
		case c == '\\':
			var ok bool
			if c, i, ok = escaped(s, i); !ok {
				return "", "", errors.New(`a \ stands before three octal digits up to 377, or before a byte that is no digit`)
			}
		case c < ' ' || c > '~':
			return "", "", fmt.Errorf("byte %#x should be written as \\%03o", c, c)
		}
		if size++; size > 255 {
			return "", "", errors.New("string is longer than 255 bytes")
		}
		if c == '"' || c == '\\' || c < ' ' || c > '~' {
			fmt.Fprintf(&b, `\%03d`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return "", "", errors.New("closing quotation mark is missing")
}

// escaped is the byte that the backslash at i stands for, and where it ends.
func escaped(s string, i int) (c byte, end int, ok bool) {
	if i+1 >= len(s) {
		return 0, i, false
	}
	if c = s[i+1]; c < '0' || c > '9' {
		return c, i + 1, c >= ' ' && c <= '~'
	}
	if i+3 >= len(s) || c > '3' {
		return 0, i, false
	}
	n := 0
	for _, d := range []byte(s[i+1 : i+4]) {
		if d < '0' || d > '7' {
			return 0, i, false
		}
		n = n*8 + int(d-'0')
	}
	return byte(n), i + 3, true
}
