package gateway

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/posternhq/postern/controlplane/apierr"
)

const (
	// maxElements bounds what a body becomes in memory, and maxXMLDepth the stack.
	// A batch of Route 53 has at most a thousand records, of some ten elements each.
	maxElements = 50_000
	maxXMLDepth = 16
)

// readXML reads a REST-XML body into a message. The document is held to its
// schema as AWS holds it: a root named for the message, members that are known,
// each once. Order is free, which AWS's is not.
func readXML(data []byte, namespace string, into protoreflect.Message) *apierr.Error {
	r := &xmlReader{decoder: xml.NewDecoder(bytes.NewReader(data)), namespace: namespace}
	err := r.document(into)
	if e, ok := errors.AsType[*apierr.Error](err); ok {
		return e
	}
	if err != nil {
		return serialization("Could not parse the request body as XML: %v", err)
	}
	return nil
}

type xmlReader struct {
	decoder   *xml.Decoder
	namespace string
	elements  int
}

func (r *xmlReader) document(into protoreflect.Message) error {
	var root *xml.StartElement
	for {
		token, err := r.decoder.Token()
		switch {
		case errors.Is(err, io.EOF) && root != nil:
			return nil
		case errors.Is(err, io.EOF):
			return errors.New("there is no element")
		case err != nil:
			return err
		}
		switch t := token.(type) {
		case xml.StartElement:
			if root != nil {
				return errors.New("there is more than one root element")
			}
			root = &t
			if want := string(into.Descriptor().Name()); t.Name.Local != want {
				return invalidXML("Cannot find the declaration of element '%s', where '%s' is expected", t.Name.Local, want)
			}
			if err := r.structure(t, into, 1); err != nil {
				return err
			}
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return errors.New("there is text outside of the root element")
			}
		case xml.Directive:
			return errors.New("document types are not read")
		}
	}
}

func invalidXML(format string, args ...any) *apierr.Error {
	e := apierr.New(apierr.KindInvalid, "InvalidInput", format, args...)
	e.Message = "Invalid XML ; " + e.Message
	return e
}

// enter is called for each element.
func (r *xmlReader) enter(t xml.StartElement, depth int) error {
	if r.elements++; r.elements > maxElements {
		return apierr.New(apierr.KindTooLarge, "", "The request body has more than %d elements", maxElements)
	}
	if depth > maxXMLDepth {
		return invalidXML("Elements are nested deeper than %d", maxXMLDepth)
	}
	if t.Name.Space != "" && t.Name.Space != r.namespace {
		return invalidXML("Element '%s' is of another namespace: '%s'", t.Name.Local, t.Name.Space)
	}
	return nil
}

// structure reads up to the end of an element that holds members.
func (r *xmlReader) structure(start xml.StartElement, into protoreflect.Message, depth int) error {
	if err := r.enter(start, depth); err != nil {
		return err
	}
	s := shapeOf(into.Descriptor())
	seen := map[*member]bool{}
	return r.children(start.Name.Local, func(t xml.StartElement) error {
		m := s.xmlMember(t.Name.Local)
		if m == nil {
			return invalidXML("Invalid content was found starting with element '%s' in '%s'", t.Name.Local, start.Name.Local)
		}
		if seen[m] && !m.flat {
			return invalidXML("Element '%s' is there more than once in '%s'", t.Name.Local, start.Name.Local)
		}
		seen[m] = true
		switch {
		case m.desc.IsList() && m.flat:
			return r.entry(t, into.Mutable(m.desc).List(), m.desc, depth+1)
		case m.desc.IsList():
			return r.list(t, into.Mutable(m.desc).List(), m, depth+1)
		case m.desc.Message() != nil:
			return r.structure(t, into.Mutable(m.desc).Message(), depth+1)
		}
		v, err := r.scalar(t, m.desc, depth+1)
		if err == nil {
			into.Set(m.desc, v)
		}
		return err
	})
}

// list reads the entries inside a list's own element.
func (r *xmlReader) list(start xml.StartElement, into protoreflect.List, m *member, depth int) error {
	if err := r.enter(start, depth); err != nil {
		return err
	}
	return r.children(start.Name.Local, func(t xml.StartElement) error {
		if t.Name.Local != m.item {
			return invalidXML("Invalid content was found starting with element '%s' in '%s'", t.Name.Local, start.Name.Local)
		}
		return r.entry(t, into, m.desc, depth+1)
	})
}

func (r *xmlReader) entry(t xml.StartElement, into protoreflect.List, desc protoreflect.FieldDescriptor, depth int) error {
	if desc.Message() != nil {
		return r.structure(t, into.AppendMutable().Message(), depth)
	}
	v, err := r.scalar(t, desc, depth)
	if err == nil {
		into.Append(v)
	}
	return err
}

// children hands each element inside the current one to read, which must
// consume it whole.
func (r *xmlReader) children(parent string, read func(xml.StartElement) error) error {
	for {
		token, err := r.decoder.Token()
		if err != nil {
			return unexpectedEOF(err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if err := read(t); err != nil {
				return err
			}
		case xml.EndElement:
			return nil
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return invalidXML("Element '%s' cannot have text, because it has elements", parent)
			}
		}
	}
}

func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// scalar reads an element that holds a text.
func (r *xmlReader) scalar(start xml.StartElement, desc protoreflect.FieldDescriptor, depth int) (protoreflect.Value, error) {
	if err := r.enter(start, depth); err != nil {
		return protoreflect.Value{}, err
	}
	var text strings.Builder
	for {
		token, err := r.decoder.Token()
		if err != nil {
			return protoreflect.Value{}, unexpectedEOF(err)
		}
		switch t := token.(type) {
		case xml.CharData:
			text.Write(t)
		case xml.StartElement:
			return protoreflect.Value{}, invalidXML("Element '%s' cannot have element '%s' in it", start.Name.Local, t.Name.Local)
		case xml.EndElement:
			return xmlScalar(start.Name.Local, desc, text.String())
		}
	}
}

func xmlScalar(name string, desc protoreflect.FieldDescriptor, text string) (protoreflect.Value, error) {
	switch trimmed := strings.TrimSpace(text); desc.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text), nil
	case protoreflect.BoolKind:
		switch trimmed {
		case "true", "1":
			return protoreflect.ValueOfBool(true), nil
		case "false", "0":
			return protoreflect.ValueOfBool(false), nil
		}
		return protoreflect.Value{}, invalidXML("'%s' is not a valid value of element '%s': not true or false", trimmed, name)
	case protoreflect.Int64Kind:
		n, err := strconv.ParseInt(trimmed, 10, 64)
		if err != nil {
			return protoreflect.Value{}, invalidXML("'%s' is not a valid value of element '%s': not an integer", trimmed, name)
		}
		return protoreflect.ValueOfInt64(n), nil
	}
	return protoreflect.Value{}, apierr.Internal("no reading of %s, a %v", desc.FullName(), desc.Kind())
}
