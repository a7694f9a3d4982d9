package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"

	"google.golang.org/protobuf/reflect/protoreflect"
)

const xmlHeader = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// writeXML writes the members of a message as elements. A scalar or structure
// is there if it has presence; a list always is, an empty one as an empty
// element, because EC2's clients tell "none" from "not asked". Services with
// sparse lists leave empty ones out.
func writeXML(b *bytes.Buffer, msg protoreflect.Message) {
	s := shapeOf(msg.Descriptor())
	for _, m := range s.members {
		switch {
		case m.desc.IsMap():
			// No operation in scope answers a map in XML.
		case m.desc.IsList():
			writeXMLList(b, m, msg.Get(m.desc).List())
		case msg.Has(m.desc):
			writeXMLElement(b, m.xml, m.desc, msg.Get(m.desc))
		}
	}
}

func writeXMLList(b *bytes.Buffer, m *member, list protoreflect.List) {
	if m.flat {
		for i := range list.Len() {
			writeXMLElement(b, m.xml, m.desc, list.Get(i))
		}
		return
	}
	if list.Len() == 0 {
		if !m.sparse {
			b.WriteString("<" + m.xml + "/>")
		}
		return
	}
	b.WriteString("<" + m.xml + ">")
	for i := range list.Len() {
		writeXMLElement(b, m.item, m.desc, list.Get(i))
	}
	b.WriteString("</" + m.xml + ">")
}

func writeXMLElement(b *bytes.Buffer, name string, desc protoreflect.FieldDescriptor, value protoreflect.Value) {
	b.WriteString("<" + name + ">")
	switch desc.Kind() {
	case protoreflect.MessageKind:
		writeXML(b, value.Message())
	case protoreflect.BytesKind:
		b.WriteString(base64.StdEncoding.EncodeToString(value.Bytes()))
	case protoreflect.StringKind:
		writeXMLText(b, value.String())
	default:
		b.WriteString(value.String())
	}
	b.WriteString("</" + name + ">")
}

// writeXMLText escapes a text; what XML can't carry becomes U+FFFD. Writing to
// a buffer can't fail.
func writeXMLText(b *bytes.Buffer, text string) { _ = xml.EscapeText(b, []byte(text)) }

func writeXMLTextElement(b *bytes.Buffer, name, text string) {
	b.WriteString("<" + name + ">")
	writeXMLText(b, text)
	b.WriteString("</" + name + ">")
}
