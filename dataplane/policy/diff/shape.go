package diff

import (
	"strings"
)

// Classes of shapes, by the letter that names them between braces.
var classes = map[byte]class{
	'*': anyClass,
	'd': func(r rune) bool { return r >= '0' && r <= '9' },
	'1': func(r rune) bool { return r >= '1' && r <= '9' },
	'2': func(r rune) bool { return r >= '2' && r <= '9' },
	'h': func(r rune) bool { return r >= '0' && r <= '9' || r >= 'a' && r <= 'f' || r == '.' || r == ':' },
	'5': func(r rune) bool { return r >= '0' && r <= '5' },
	'k': func(r rune) bool { return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' },
	'U': func(r rune) bool { return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' },
	'r': func(r rune) bool { return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r == '-' },
	's': func(r rune) bool { return alphanumeric(r) || r == '-' || r == '_' },
	'w': func(r rune) bool { return alphanumeric(r) || strings.ContainsRune("_+=,.@-", r) },
	'W': func(r rune) bool { return alphanumeric(r) || strings.ContainsRune("_+=,.@-/", r) },
	// What a path may hold undecoded (RFC 3986 §3.3).
	'p': func(r rune) bool { return alphanumeric(r) || strings.ContainsRune("-._~!$&'()*+,;=:@%/", r) },
	'n': func(r rune) bool { return r != ':' && r != separator },
	'N': func(r rune) bool { return r != '/' && r != separator },
	't': func(r rune) bool { return r != separator },
	// The same in names of callers, which hold no wildcards.
	'o': func(r rune) bool { return r != ':' && r != separator && r != '*' && r != '?' },
	'O': func(r rune) bool { return r != '/' && r != separator && r != '*' && r != '?' },
	'u': func(r rune) bool { return r != separator && r != '*' && r != '?' },
	'l': func(r rune) bool { return strings.ToLower(string(r)) == string(r) },
	// In no number, date or address.
	'q': func(r rune) bool { return r != separator && !strings.ContainsRune("0123456789abcdefABCDEF.:+-TZ", r) },
	'v': func(r rune) bool { return r > ' ' && r < 0x7f }, // visible
}

func alphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// shape is the language of the given forms: text, and {c} for one character of
// class c, {c*} for any number, {c+} for at least one, {c12} for twelve.
// A bar stands for the separator of pieces.
func shape(forms ...string) language {
	list := make([][]item, len(forms))
	for i, f := range forms {
		list[i] = shapeItems(f)
	}
	return newGlobs(list)
}

func shapeItems(form string) []item {
	var out []item
	for form != "" {
		text, rest, braced := strings.Cut(form, "{")
		out = append(out, exactly(strings.ReplaceAll(text, "|", string(separator)))...)
		if !braced {
			break
		}
		body, after, _ := strings.Cut(rest, "}")
		form = after
		one := item{kind: itemOne, class: classes[body[0]], any: body[0] == '*'}
		star := one
		star.kind = itemStar
		switch count := body[1:]; count {
		case "":
			out = append(out, one)
		case "*":
			out = append(out, star)
		case "+":
			out = append(out, one, star)
		default:
			n := 0
			for i := range len(count) {
				n = 10*n + int(count[i]-'0')
			}
			for range n {
				out = append(out, one)
			}
		}
	}
	return out
}
