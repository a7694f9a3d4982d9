package gateway

import (
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/posternhq/postern/controlplane/apierr"
)

// Bounds of a query request. EC2's longest documented lists have 1,000 entries.
const (
	maxParameters = 4000
	maxListLength = 1000
	maxDepth      = 12
)

// form is the parameters of a query request as a tree: `Filter.1.Value.2=x` is
// the value x below Filter, 1, Value and 2.
type form struct {
	value    string
	set      bool
	children map[string]*form
}

// protocolParameters belong to the protocol or to the signature, not to the
// operation.
var protocolParameters = map[string]bool{
	"Action": true, "Version": true, "AWSAccessKeyId": true, "Signature": true, "SignatureMethod": true,
	"SignatureVersion": true, "Timestamp": true, "Expires": true, "SecurityToken": true,
}

// newForm arranges the parameters of an operation.
func newForm(values url.Values) (*form, *apierr.Error) {
	if len(values) > maxParameters {
		return nil, apierr.New(apierr.KindInvalid, "InvalidParameterCombination", "The request has more than %d parameters", maxParameters)
	}
	root := &form{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if protocolParameters[name] || strings.HasPrefix(strings.ToLower(name), "x-amz-") {
			continue
		}
		all := values[name]
		if len(all) > 1 {
			return nil, apierr.New(apierr.KindInvalid, "InvalidParameterCombination", "The parameter %s may only be specified once", name)
		}
		if !utf8.ValidString(name) || !utf8.ValidString(all[0]) {
			return nil, apierr.New(apierr.KindInvalid, "MalformedQueryString", "The parameters of the request are not UTF-8")
		}
		parts := strings.Split(name, ".")
		if len(parts) > maxDepth {
			return nil, unknownParameter(name)
		}
		at := root
		for _, part := range parts {
			if at.children == nil {
				at.children = map[string]*form{}
			}
			next := at.children[part]
			if next == nil {
				next = &form{}
				at.children[part] = next
			}
			at = next
		}
		at.value, at.set = all[0], true
	}
	return root, nil
}

func unknownParameter(name string) *apierr.Error {
	return apierr.New(apierr.KindInvalid, "UnknownParameter", "The parameter %s is not recognized", name)
}

// read fills a message. prefix is the path of f, with a dot at its end.
func (f *form) read(into protoreflect.Message, prefix string) *apierr.Error {
	s := shapeOf(into.Descriptor())
	for _, name := range slices.Sorted(maps.Keys(f.children)) {
		m := s.query[name]
		if m == nil {
			return unknownParameter(prefix + name)
		}
		if err := f.children[name].readMember(into, m, prefix+name); err != nil {
			return err
		}
	}
	return nil
}

func (f *form) readMember(into protoreflect.Message, m *member, path string) *apierr.Error {
	switch {
	case m.desc.IsMap():
		return unknownParameter(path)
	case m.desc.IsList():
		return f.readList(into.Mutable(m.desc).List(), m.desc, path)
	case m.desc.Message() != nil:
		if inner := shapeOf(m.desc.Message()).inner; inner != nil {
			return f.readMember(into.Mutable(m.desc).Message(), inner, path)
		}
		if f.set {
			return unknownParameter(path)
		}
		return f.read(into.Mutable(m.desc).Message(), path+".")
	}
	value, err := f.scalar(m.desc, path)
	if err != nil {
		return err
	}
	into.Set(m.desc, value)
	return nil
}

// readList reads Name.1, Name.2 and so on, or Name.member.1 as the older query
// services spell it. Gaps in the numbers are closed; only their order counts.
func (f *form) readList(into protoreflect.List, desc protoreflect.FieldDescriptor, path string) *apierr.Error {
	if f.set {
		// An empty list is sent as the bare name.
		if f.value == "" && len(f.children) == 0 {
			return nil
		}
		return unknownParameter(path)
	}
	if wrapped := f.children["member"]; wrapped != nil && len(f.children) == 1 && !wrapped.set {
		f, path = wrapped, path+".member"
	}
	if len(f.children) > maxListLength {
		return invalidParameter(path, strconv.Itoa(len(f.children))+" entries", "The list is longer than "+strconv.Itoa(maxListLength)+".")
	}
	indices := make([]int, 0, len(f.children))
	for _, name := range slices.Sorted(maps.Keys(f.children)) {
		index, err := strconv.Atoi(name)
		if err != nil || index < 1 || strconv.Itoa(index) != name {
			return unknownParameter(path + "." + name)
		}
		indices = append(indices, index)
	}
	slices.Sort(indices)
	for _, index := range indices {
		name := strconv.Itoa(index)
		entry, at := f.children[name], path+"."+name
		if desc.Message() == nil {
			value, err := entry.scalar(desc, at)
			if err != nil {
				return err
			}
			into.Append(value)
			continue
		}
		if entry.set {
			return unknownParameter(at)
		}
		element := into.NewElement()
		if err := entry.read(element.Message(), at+"."); err != nil {
			return err
		}
		into.Append(element)
	}
	return nil
}

func (f *form) scalar(desc protoreflect.FieldDescriptor, path string) (protoreflect.Value, *apierr.Error) {
	none := protoreflect.Value{}
	if len(f.children) > 0 {
		return none, unknownParameter(path + "." + slices.Sorted(maps.Keys(f.children))[0])
	}
	switch desc.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(f.value), nil
	case protoreflect.BoolKind:
		if b, ok := parseBool(f.value); ok {
			return protoreflect.ValueOfBool(b), nil
		}
		return none, invalidParameter(path, f.value, "Must be true or false.")
	case protoreflect.Int32Kind:
		if n, err := strconv.ParseInt(f.value, 10, 32); err == nil {
			return protoreflect.ValueOfInt32(int32(n)), nil
		}
		return none, invalidParameter(path, f.value, "Must be an integer.")
	case protoreflect.Int64Kind:
		if n, err := strconv.ParseInt(f.value, 10, 64); err == nil {
			return protoreflect.ValueOfInt64(n), nil
		}
		return none, invalidParameter(path, f.value, "Must be an integer.")
	case protoreflect.DoubleKind:
		if n, err := strconv.ParseFloat(f.value, 64); err == nil {
			return protoreflect.ValueOfFloat64(n), nil
		}
		return none, invalidParameter(path, f.value, "Must be a number.")
	case protoreflect.BytesKind:
		if data, err := base64.StdEncoding.DecodeString(f.value); err == nil {
			return protoreflect.ValueOfBytes(data), nil
		}
		return none, invalidParameter(path, f.value, "Must be base64.")
	}
	return none, apierr.Internal("no reading of %s, a %v", desc.FullName(), desc.Kind())
}

func invalidParameter(path, value, why string) *apierr.Error {
	return apierr.New(apierr.KindInvalid, "InvalidParameterValue", "Value (%s) for parameter %s is invalid. %s", value, lowerFirst(path), why)
}
