package rdata

import (
	"errors"
	"fmt"
	"strings"
)

// Name is the canonical form of a domain name: lower case, with a trailing dot,
// which may be missing in text. Labels are letters, digits, hyphens and
// underscores. The root is not among the names that records have here.
func Name(text string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(text, ".")) + "."
	if name == "." {
		return "", errors.New("domain name is empty")
	}
	if len(name) > 254 {
		return "", errors.New("domain name is longer than 255 bytes")
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		switch {
		case label == "":
			return "", errors.New("domain name contains an empty label")
		case len(label) > 63:
			return "", fmt.Errorf("label of %d bytes is longer than 63", len(label))
		}
		for _, b := range []byte(label) {
			if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' && b != '_' {
				return "", fmt.Errorf("domain name contains an illegal character: '%c'", rune(b))
			}
		}
	}
	return name, nil
}

// Owner is Name for the owner of records, whose first label may be the
// wildcard, spelt * or \052.
func Owner(text string) (string, error) {
	rest, wild := strings.CutPrefix(text, "*.")
	if !wild {
		rest, wild = strings.CutPrefix(text, `\052.`)
	}
	name, err := Name(rest)
	switch {
	case err != nil:
		return "", err
	case !wild:
		return name, nil
	case len(name) > 252:
		return "", errors.New("domain name is longer than 255 bytes")
	}
	return "*." + name, nil
}

// Within reports whether a canonical name is a zone's apex or below it.
func Within(name, apex string) bool {
	below, ok := strings.CutSuffix(name, apex)
	return ok && (below == "" || strings.HasSuffix(below, "."))
}
