package policy

import (
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Target is the API that a resource policy is saved on.
type Target struct {
	Partition string // empty: that of Region
	Region    string
	Account   string
	APIID     string
}

// Normalize prints the document as API Gateway stores it (resource-policies.md
// §2): compact, elements in a fixed order, one-element lists as plain strings,
// execute-api:/ resources as ARNs of the target. Parsing the result gives an
// equal document, and normalising that changes nothing.
func (d *Document) Normalize(t Target) []byte {
	if t.Partition == "" {
		t.Partition = PartitionOf(t.Region)
	}
	prefix := "arn:" + t.Partition + ":" + invokeService + ":" + t.Region + ":" + t.Account + ":" + t.APIID + "/"
	return d.print(func(resource string) string {
		if rest, ok := strings.CutPrefix(resource, shortForm); ok {
			return prefix + rest
		}
		return resource
	})
}

// MarshalJSON prints the document as Normalize does, but leaves execute-api:/
// resources as they are. It never fails.
func (d *Document) MarshalJSON() ([]byte, error) { return d.print(nil), nil }

// print writes the normal form; resource, if not nil, rewrites each resource.
func (d *Document) print(resource func(string) string) []byte {
	w := writer{out: make([]byte, 0, len(d.src.text))}
	w.open('{')
	if d.version != nil {
		w.member("Version", d.version.text)
	}
	if d.id != nil {
		w.member("Id", d.id.text)
	}
	w.name("Statement")
	if d.single {
		w.statement(&d.statements[0], resource)
	} else {
		w.open('[')
		for i := range d.statements {
			w.comma()
			w.statement(&d.statements[i], resource)
		}
		w.close(']')
	}
	w.close('}')
	return w.out
}

type writer struct {
	out []byte
}

func (w *writer) open(c byte)  { w.out = append(w.out, c) }
func (w *writer) close(c byte) { w.out = append(w.out, c) }

// comma separates from what stands before, unless that is an opening.
func (w *writer) comma() {
	switch w.out[len(w.out)-1] {
	case '{', '[':
	default:
		w.out = append(w.out, ',')
	}
}

func (w *writer) name(s string) {
	w.comma()
	w.out = append(appendJSON(w.out, s), ':')
}

func (w *writer) member(name, value string) {
	w.name(name)
	w.out = appendJSON(w.out, value)
}

func (w *writer) values(name string, list entries, rewrite func(string) string) {
	w.name(name)
	if len(list) > 1 {
		w.open('[')
	}
	for i, e := range list {
		if i > 0 {
			w.comma()
		}
		text := e.text
		if rewrite != nil {
			text = rewrite(text)
		}
		w.out = appendJSON(w.out, text)
	}
	if len(list) > 1 {
		w.close(']')
	}
}

func (w *writer) statement(s *statement, resource func(string) string) {
	w.open('{')
	if s.sid != nil {
		w.member("Sid", s.sid.text)
	}
	if s.deny {
		w.member("Effect", "Deny")
	} else {
		w.member("Effect", "Allow")
	}
	if p := s.principal; p != nil && p.anyone {
		w.member(p.name, "*")
	} else if p != nil {
		w.name(p.name)
		w.open('{')
		for _, t := range p.byType {
			w.values(t.name, t.values, nil)
		}
		w.close('}')
	}
	w.values(s.action.name, s.action.values, nil)
	w.values(s.resource.name, s.resource.values, resource)
	if s.hasCondition {
		w.name("Condition")
		w.open('{')
		for i := range s.conditions {
			b := &s.conditions[i]
			w.name(b.name)
			w.open('{')
			for j := range b.keys {
				w.values(b.keys[j].name, b.keys[j].values, nil)
			}
			w.close('}')
		}
		w.close('}')
	}
	w.close('}')
}

// Escape is the form in which API Gateway answers with a policy: the content of
// a JSON string literal, slashes escaped too, as the text of a field. Clients
// wrap it in quotes and decode once more.
func Escape(doc string) string {
	quoted := appendJSON(make([]byte, 0, len(doc)+len(doc)/4+2), doc)
	return strings.ReplaceAll(string(quoted[1:len(quoted)-1]), "/", `\/`)
}

var errNotDocument = errors.New("policy is neither a JSON document nor a quoted or escaped one")

// Unwrap finds the document in the text of a client, who may have quoted it
// once too often, as the AWS documentation's own example does, or send back the
// escaped form that he was answered with. It looks at the JSON only; Parse
// decides whether it is a policy.
func Unwrap(s string) (string, error) {
	const layers = 3 // quoted and escaped at once, and once to spare
	text := strings.TrimSpace(s)
	for range layers {
		n, err := readJSON(&source{text: []byte(text)})
		switch {
		case err == nil && n.kind == jsonString:
			text = strings.TrimSpace(n.text)
		case err == nil:
			return text, nil
		case strings.HasPrefix(text, "{") && isObject(text):
			return text, nil // broken as JSON is, such as by a duplicate key: for Parse to explain
		default:
			plain, ok := unescape(text)
			if !ok {
				return "", errNotDocument
			}
			text = strings.TrimSpace(plain)
		}
	}
	return "", errNotDocument
}

// isObject guesses that text is a plain, if faulty, object: a member name or
// the end follows the brace, where an escaped document has a backslash.
func isObject(text string) bool {
	rest := strings.TrimLeft(text[1:], " \t\r\n")
	return rest == "" || rest[0] == '"' || rest[0] == '}'
}

// unescape removes one layer of JSON string escapes from text without quotes,
// raw line breaks allowed. It reports false if there was none.
func unescape(s string) (string, bool) {
	text := []byte(s)
	out := make([]byte, 0, len(text))
	found := false
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			out = append(out, text[i])
			continue
		}
		found = true
		if r, ok := hex4(text, i); ok {
			i += 5
			if second, ok := hex4(text, i+1); ok && utf16.IsSurrogate(r) {
				r = utf16.DecodeRune(r, second)
				i += 6
			}
			out = utf8.AppendRune(out, r)
			continue
		}
		c, ok := unescaped(text[i+1])
		if !ok {
			out = append(out, text[i])
			continue
		}
		out = append(out, c)
		i++
	}
	return string(out), found
}
