package gateway

import (
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

// shape is what the codecs know of one message: its members under the names
// that each protocol gives them.
type shape struct {
	// inner is the only member of a message that stands for it, else nil.
	inner *member
	// members excludes what is internal, in the order of their numbers.
	members []*member
	query   map[string]*member
	headers []*member
	xmlRoot string
}

// xmlMember is the member of an element's name; nil if there is none.
func (s *shape) xmlMember(name string) *member {
	for _, m := range s.members {
		if m.xml == name {
			return m
		}
	}
	return nil
}

// member is one field of a message.
type member struct {
	desc  protoreflect.FieldDescriptor
	json  string
	query string
	xml   string
	item  string
	flat  bool
	// always: an empty list is written, too.
	always bool
	// sparse: an empty list is not written in XML.
	sparse bool
	// header: the member is this header of an answer, and in no body.
	header string
}

// shapes holds *shape by message descriptor. There are as many as there are
// messages, so nothing is ever dropped.
var shapes sync.Map

func shapeOf(desc protoreflect.MessageDescriptor) *shape {
	if s, ok := shapes.Load(desc); ok {
		return s.(*shape)
	}
	s, _ := shapes.LoadOrStore(desc, newShape(desc))
	return s.(*shape)
}

func newShape(desc protoreflect.MessageDescriptor) *shape {
	options, _ := proto.GetExtension(desc.Options(), awsv1.E_Shape).(*awsv1.Shape)
	// The older query services write names as they take them.
	older := ofQueryService(desc)
	fields := desc.Fields()
	s := &shape{query: make(map[string]*member, fields.Len()), xmlRoot: options.GetXmlRoot()}
	for i := range fields.Len() {
		fd := fields.Get(i)
		m, _ := proto.GetExtension(fd.Options(), awsv1.E_Member).(*awsv1.Member)
		if m.GetInternal() {
			continue
		}
		name, element, item := fd.JSONName(), fd.JSONName(), "item"
		if older {
			element, item = upperFirst(name), "member"
		}
		f := &member{
			desc:   fd,
			json:   name,
			query:  or(m.GetQuery(), upperFirst(name)),
			xml:    or(m.GetXml(), element),
			item:   or(m.GetItem(), item),
			flat:   m.GetFlat(),
			always: m.GetAlways(),
			sparse: older && !m.GetAlways(),
			header: m.GetHeader(),
		}
		if f.header != "" {
			s.headers = append(s.headers, f)
			continue
		}
		s.members = append(s.members, f)
		s.query[f.query] = f
	}
	if options.GetTransparent() && len(s.members) == 1 {
		s.inner = s.members[0]
	}
	return s
}

// ofQueryService reports whether a message is one of a service with the older
// query protocol, which stands in the same file.
func ofQueryService(desc protoreflect.MessageDescriptor) bool {
	services := desc.ParentFile().Services()
	return services.Len() > 0 && protocolOf(services.Get(0)).GetKind() == awsv1.Protocol_KIND_QUERY
}

// nullable reports whether a message has a value for null: it stands for an
// optional scalar.
func (s *shape) nullable() bool {
	return s.inner != nil && !s.inner.desc.IsList() && !s.inner.desc.IsMap()
}

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }
