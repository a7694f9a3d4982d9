package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/posternhq/postern/controlplane/apierr"
)

// readJSON reads a REST-JSON body into a message as AWS reads one: unknown
// members are ignored, null is absence, an empty body is an empty structure.
func readJSON(data []byte, into protoreflect.Message) *apierr.Error {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	if values := countValues(data); values > maxValues {
		return apierr.New(apierr.KindTooLarge, "", "The request body has more than %d values", maxValues)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	err := decoder.Decode(&value)
	if err == nil {
		// A second value, or rubbish, behind the first.
		if _, err = decoder.Token(); err == nil {
			err = errors.New("more than one value")
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		return serialization("Could not parse the request body as JSON: %v", err)
	}
	return readStructure(into, value)
}

// maxValues bounds what a body becomes in memory: a parsed value takes many
// times the two bytes it may have been sent as. AWS's own limits on lists and
// maps are far below.
const maxValues = 200_000

// countValues returns about the number of values in a JSON text.
func countValues(data []byte) int {
	n, quoted := 1, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == '[' || c == '{'):
			n++
		}
	}
	return n
}

func serialization(format string, args ...any) *apierr.Error {
	return apierr.New(apierr.KindSerialization, "", format, args...)
}

func readStructure(into protoreflect.Message, value any) *apierr.Error {
	s := shapeOf(into.Descriptor())
	if s.inner != nil {
		return readMember(into, s.inner, value)
	}
	if value == nil {
		return nil
	}
	object, err := object(value)
	if err != nil {
		return err
	}
	for _, m := range s.members {
		if err := readMember(into, m, object[m.json]); err != nil {
			return err
		}
	}
	return nil
}

func readMember(into protoreflect.Message, m *member, value any) *apierr.Error {
	if value == nil {
		return nil
	}
	switch {
	case m.desc.IsMap():
		return readMap(into.Mutable(m.desc).Map(), m.desc.MapValue(), value)
	case m.desc.IsList():
		return readList(into.Mutable(m.desc).List(), m.desc, value)
	case m.desc.Message() != nil:
		return readStructure(into.Mutable(m.desc).Message(), value)
	}
	v, err := readScalar(m.desc, value)
	if err != nil {
		return err
	}
	into.Set(m.desc, v)
	return nil
}

func readMap(into protoreflect.Map, desc protoreflect.FieldDescriptor, value any) *apierr.Error {
	object, err := object(value)
	if err != nil {
		return err
	}
	// In order, so that of two mistakes the same one is always reported.
	for _, key := range slices.Sorted(maps.Keys(object)) {
		v, err := readElement(into.NewValue, desc, object[key])
		if err != nil {
			return err
		}
		if v.IsValid() {
			into.Set(protoreflect.ValueOfString(key).MapKey(), v)
		}
	}
	return nil
}

func readList(into protoreflect.List, desc protoreflect.FieldDescriptor, value any) *apierr.Error {
	array, ok := value.([]any)
	if !ok {
		return wrongType(value)
	}
	for _, entry := range array {
		v, err := readElement(into.NewElement, desc, entry)
		if err != nil {
			return err
		}
		if v.IsValid() {
			into.Append(v)
		}
	}
	return nil
}

// readElement reads an entry of a list or map; a null one is left out (the
// Value is invalid) where the entry can't be null.
func readElement(fresh func() protoreflect.Value, desc protoreflect.FieldDescriptor, value any) (protoreflect.Value, *apierr.Error) {
	if desc.Message() == nil {
		if value == nil {
			return protoreflect.Value{}, nil
		}
		return readScalar(desc, value)
	}
	if value == nil && !shapeOf(desc.Message()).nullable() {
		return protoreflect.Value{}, nil
	}
	v := fresh()
	return v, readStructure(v.Message(), value)
}

func object(value any) (map[string]any, *apierr.Error) {
	if object, ok := value.(map[string]any); ok {
		return object, nil
	}
	return nil, wrongType(value)
}

// wrongType words what AWS says where another kind of value was expected.
func wrongType(value any) *apierr.Error {
	switch value.(type) {
	case map[string]any:
		return serialization("Start of structure or map found where not expected")
	case []any:
		return serialization("Start of list found where not expected")
	}
	return serialization("Unexpected field type")
}

// javaClass is the type that AWS names for a JSON value.
func javaClass(value any) string {
	switch value.(type) {
	case string:
		return "java.lang.String"
	case bool:
		return "java.lang.Boolean"
	}
	return "com.amazon.coral.value.json.numbers.TruncatingBigNumber"
}

// inconvertible is AWS's message; the article is wrong in the original.
func inconvertible(value any, to string) *apierr.Error {
	return serialization("class %s can not be converted to an %s", javaClass(value), to)
}

// readScalar converts one JSON value. Texts stand for numbers and booleans
// where they spell one, as AWS's readers allow; nothing stands for a text.
func readScalar(desc protoreflect.FieldDescriptor, value any) (protoreflect.Value, *apierr.Error) {
	switch value.(type) {
	case map[string]any, []any:
		return protoreflect.Value{}, wrongType(value)
	}
	switch desc.Kind() {
	case protoreflect.StringKind:
		if text, ok := value.(string); ok {
			return protoreflect.ValueOfString(text), nil
		}
		return protoreflect.Value{}, inconvertible(value, "String")
	case protoreflect.BoolKind:
		switch v := value.(type) {
		case bool:
			return protoreflect.ValueOfBool(v), nil
		case string:
			if b, ok := parseBool(v); ok {
				return protoreflect.ValueOfBool(b), nil
			}
		}
		return protoreflect.Value{}, inconvertible(value, "Boolean")
	case protoreflect.Int32Kind:
		if n, ok := wholeNumber(value); ok && n >= math.MinInt32 && n <= math.MaxInt32 {
			return protoreflect.ValueOfInt32(int32(n)), nil
		}
		return protoreflect.Value{}, inconvertible(value, "Integer")
	case protoreflect.Int64Kind:
		if n, ok := wholeNumber(value); ok {
			return protoreflect.ValueOfInt64(n), nil
		}
		return protoreflect.Value{}, inconvertible(value, "Long")
	case protoreflect.DoubleKind:
		if n, err := strconv.ParseFloat(numberText(value), 64); err == nil && !math.IsNaN(n) && !math.IsInf(n, 0) {
			return protoreflect.ValueOfFloat64(n), nil
		}
		return protoreflect.Value{}, inconvertible(value, "Double")
	case protoreflect.BytesKind:
		if text, ok := value.(string); ok {
			if data, err := base64.StdEncoding.DecodeString(text); err == nil {
				return protoreflect.ValueOfBytes(data), nil
			}
		}
		return protoreflect.Value{}, inconvertible(value, "ByteBuffer")
	}
	return protoreflect.Value{}, apierr.Internal("no reading of %s, a %v", desc.FullName(), desc.Kind())
}

func parseBool(text string) (value, ok bool) {
	switch {
	case strings.EqualFold(text, "true"):
		return true, true
	case strings.EqualFold(text, "false"):
		return false, true
	}
	return false, false
}

// numberText returns the digits of a number, or of a text; "" is no number.
func numberText(value any) string {
	switch v := value.(type) {
	case json.Number:
		return string(v)
	case string:
		return v
	}
	return ""
}

// wholeNumber drops a fraction, as AWS's reader does, but takes no number that
// does not fit.
func wholeNumber(value any) (int64, bool) {
	text := numberText(value)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || f < math.MinInt64 || f >= math.MaxInt64 {
		return 0, false
	}
	return int64(f), true
}
