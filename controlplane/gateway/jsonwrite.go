package gateway

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// appendJSON appends a message as AWS writes one: a member is there if it has
// presence, a list or map if it has entries or its option says always; nothing is ever null but a
// message that stands for an optional scalar. The order is that of the field
// numbers, and of the keys in a map, so equal messages have equal bytes.
func appendJSON(b []byte, msg protoreflect.Message) []byte {
	s := shapeOf(msg.Descriptor())
	if s.inner != nil {
		fd := s.inner.desc
		if s.nullable() && !msg.Has(fd) {
			return append(b, "null"...)
		}
		return appendJSONField(b, fd, msg.Get(fd))
	}
	b = append(b, '{')
	first := true
	for _, m := range s.members {
		if !msg.Has(m.desc) && !m.always {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendJSONString(b, m.json)
		b = append(b, ':')
		b = appendJSONField(b, m.desc, msg.Get(m.desc))
	}
	return append(b, '}')
}

func appendJSONField(b []byte, desc protoreflect.FieldDescriptor, value protoreflect.Value) []byte {
	switch {
	case desc.IsMap():
		return appendJSONMap(b, desc, value.Map())
	case desc.IsList():
		list := value.List()
		b = append(b, '[')
		for i := range list.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSONValue(b, desc, list.Get(i))
		}
		return append(b, ']')
	}
	return appendJSONValue(b, desc, value)
}

func appendJSONMap(b []byte, desc protoreflect.FieldDescriptor, entries protoreflect.Map) []byte {
	keys := make([]protoreflect.MapKey, 0, entries.Len())
	for key := range entries.Range {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return strings.Compare(a.String(), b.String()) })
	b = append(b, '{')
	for i, key := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(b, key.String())
		b = append(b, ':')
		b = appendJSONValue(b, desc.MapValue(), entries.Get(key))
	}
	return append(b, '}')
}

func appendJSONValue(b []byte, desc protoreflect.FieldDescriptor, value protoreflect.Value) []byte {
	switch desc.Kind() {
	case protoreflect.MessageKind:
		return appendJSON(b, value.Message())
	case protoreflect.StringKind:
		return appendJSONString(b, value.String())
	case protoreflect.BytesKind:
		return appendJSONString(b, base64.StdEncoding.EncodeToString(value.Bytes()))
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return appendJSONNumber(b, value.Float())
	}
	// What is left prints as JSON has it: true, false and digits.
	return append(b, value.String()...)
}

// appendJSONNumber prints the shortest digits. An epoch second stays a plain
// integer, never 1.5e+09: some clients read it as one.
func appendJSONNumber(b []byte, n float64) []byte {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return append(b, '0')
	}
	format := byte('f')
	if abs := math.Abs(n); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, n, format, -1, 64)
}

// appendJSONString escapes what JSON must have escaped and nothing else:
// policies are long, and clients compare them.
func appendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			b = append(b, s[start:i]...)
			b = append(b, "\ufffd"...)
			start = i + size
		}
		i += size
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
