// Package constraint owns the checks that AWS makes on the shape of a request
// before any business rule: required members, enumerations and patterns, as the
// `member` options of the .proto files declare them.
//
// Violations are collected over the whole request and reported in the words of
// the service's protocol: API Gateway, IAM and STS name all of them in one
// answer, EC2 names the first missing parameter. What a value
// means is left to the services.
//
// The package is pure: no I/O, no clock. Validate may be called from any
// goroutine; what it learns about a method is computed once and kept.
package constraint

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/posternhq/postern/controlplane/apierr"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

// Validate checks a request against the constraints of its method, given by
// its full gRPC name ("/package.Service/Method"). A method of no AWS service,
// or one that is not registered, has no constraints. The error is an
// *apierr.Error.
func Validate(method string, request proto.Message) error {
	m := methodOf(method)
	if m == nil || request == nil {
		return nil
	}
	msg := request.ProtoReflect()
	if msg.Descriptor() != m.input.desc {
		return nil
	}
	if m.protocol != awsv1.Protocol_KIND_REST_JSON && m.protocol != awsv1.Protocol_KIND_QUERY {
		return missingParameter(m, msg)
	}
	// Constraints of the body come before those of the URI when both fail.
	var inBody, inURI []string
	for i := range m.input.fields {
		f := &m.input.fields[i]
		if m.uri[f.desc.Name()] || m.protocol == awsv1.Protocol_KIND_QUERY {
			inURI = f.check(inURI, msg, f.desc.JSONName())
		} else {
			inBody = f.check(inBody, msg, m.name+"Input."+f.desc.JSONName())
		}
	}
	violations := append(inBody, inURI...)
	switch len(violations) {
	case 0:
		return nil
	case 1:
		return apierr.Validation("1 validation error detected: %s", violations[0])
	}
	return apierr.Validation("%d validation errors detected: %s", len(violations), strings.Join(violations, "; "))
}

// missingParameter is the check of EC2, and of Route 53.
func missingParameter(m *method, msg protoreflect.Message) error {
	for i := range m.input.fields {
		f := &m.input.fields[i]
		if !f.required || msg.Has(f.desc) {
			continue
		}
		name := f.query
		if name == "" {
			name = f.desc.JSONName()
		}
		return apierr.New(apierr.KindInvalid, "MissingParameter", "The request must contain the parameter %s", lowerFirst(name))
	}
	return nil
}

// method is what Validate knows of one RPC.
type method struct {
	name     string // lowerCamel, as constraint paths begin
	protocol awsv1.Protocol_Kind
	uri      map[protoreflect.Name]bool // members that travel in path or query
	input    *shape
}

// shape is the constraints of one message.
type shape struct {
	desc   protoreflect.MessageDescriptor
	fields []field // by number, the order in which AWS reports
	inner  bool    // some field of it, or below it, is constrained
}

type field struct {
	desc     protoreflect.FieldDescriptor
	query    string
	required bool
	values   []string
	pattern  *regexp.Regexp
	text     string // the pattern as written
	min, max *int64 // of the length of a text or list, or of a number's value
	message  *shape // of a message, or of a list's entries
	list     protoreflect.FieldDescriptor
}

// check appends the violations of one member.
func (f *field) check(to []string, msg protoreflect.Message, path string) []string {
	if !msg.Has(f.desc) {
		if f.required {
			to = append(to, fmt.Sprintf("Value null at '%s' failed to satisfy constraint: Member must not be null", path))
		}
		return to
	}
	value := msg.Get(f.desc)
	switch {
	case f.list != nil: // a list inside a message that gives it presence
		return f.checkList(to, value.Message().Get(f.list).List(), path)
	case f.desc.IsMap():
		return to
	case f.desc.IsList() && f.message != nil:
		list := value.List()
		for _, broken := range f.outside(int64(list.Len()), "length") {
			to = append(to, fmt.Sprintf("Value at '%s' failed to satisfy constraint: %s", path, broken))
		}
		for i := range list.Len() {
			to = f.message.check(to, list.Get(i).Message(), fmt.Sprintf("%s.%d.member", path, i+1))
		}
		return to
	case f.desc.IsList():
		return f.checkList(to, value.List(), path)
	case f.message != nil:
		return f.message.check(to, value.Message(), path)
	case f.desc.Kind() == protoreflect.StringKind:
		text := value.String()
		for _, broken := range f.broken(text) {
			to = append(to, fmt.Sprintf("Value '%s' at '%s' failed to satisfy constraint: %s", shortened(text), path, broken))
		}
	case f.desc.Kind() == protoreflect.Int32Kind:
		for _, broken := range f.outside(value.Int(), "value") {
			to = append(to, fmt.Sprintf("Value '%d' at '%s' failed to satisfy constraint: %s", value.Int(), path, broken))
		}
	}
	return to
}

// maxShown is how much of a value is repeated, in bytes: it may be a whole
// policy, and errors travel in headers.
const maxShown = 1000

func shortened(text string) string {
	if len(text) <= maxShown {
		return text
	}
	return strings.ToValidUTF8(text[:maxShown], "") + "..."
}

// outside returns the bounds that a number is not within.
func (f *field) outside(n int64, of string) []string {
	switch {
	case f.min != nil && n < *f.min:
		return []string{fmt.Sprintf("Member must have %s greater than or equal to %d", of, *f.min)}
	case f.max != nil && n > *f.max:
		return []string{fmt.Sprintf("Member must have %s less than or equal to %d", of, *f.max)}
	}
	return nil
}

func (s *shape) check(to []string, msg protoreflect.Message, path string) []string {
	for i := range s.fields {
		to = s.fields[i].check(to, msg, path+"."+s.fields[i].desc.JSONName())
	}
	return to
}

// checkList reports a list once, however many of its entries are wrong, and
// prints it whole.
func (f *field) checkList(to []string, list protoreflect.List, path string) []string {
	if f.values == nil && f.pattern == nil {
		return to
	}
	var texts, broken []string
	for i := range list.Len() {
		text := list.Get(i).String()
		texts = append(texts, text)
		if broken == nil {
			broken = f.broken(text)
		}
	}
	if broken == nil {
		return to
	}
	return append(to, fmt.Sprintf("Value '[%s]' at '%s' failed to satisfy constraint: Member must satisfy constraint: [%s]",
		strings.Join(texts, ", "), path, strings.Join(broken, ", ")))
}

// broken returns the constraints that a text breaks, as AWS words them.
func (f *field) broken(text string) []string {
	var out []string
	if f.values != nil && !contains(f.values, text) {
		out = append(out, "Member must satisfy enum value set: ["+strings.Join(f.values, ", ")+"]")
	}
	out = append(out, f.outside(int64(utf8.RuneCountInString(text)), "length")...)
	if f.pattern != nil && !f.pattern.MatchString(text) {
		out = append(out, "Member must satisfy regular expression pattern: "+f.text)
	}
	return out
}

func contains(values []string, text string) bool {
	for _, v := range values {
		if v == text {
			return true
		}
	}
	return false
}

// methods holds *method by full name; a nil one has nothing to check.
var methods sync.Map

func methodOf(full string) *method {
	if m, ok := methods.Load(full); ok {
		return m.(*method)
	}
	desc := describe(full)
	if desc == nil {
		// Not kept: names come from callers, and there is no end of them.
		return nil
	}
	m, _ := methods.LoadOrStore(full, newMethod(desc))
	return m.(*method)
}

func describe(full string) protoreflect.MethodDescriptor {
	service, name, ok := strings.Cut(strings.TrimPrefix(full, "/"), "/")
	if !ok {
		return nil
	}
	desc, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil
	}
	sd, ok := desc.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil
	}
	return sd.Methods().ByName(protoreflect.Name(name))
}

func newMethod(desc protoreflect.MethodDescriptor) *method {
	protocol, _ := proto.GetExtension(desc.Parent().Options(), awsv1.E_Protocol).(*awsv1.Protocol)
	if protocol.GetKind() == awsv1.Protocol_KIND_UNSPECIFIED {
		return (*method)(nil)
	}
	m := &method{
		name:     lowerFirst(string(desc.Name())),
		protocol: protocol.GetKind(),
		uri:      uriMembers(desc),
		input:    newShape(desc.Input(), map[protoreflect.FullName]*shape{}),
	}
	if !m.input.inner {
		return (*method)(nil)
	}
	return m
}

// uriMembers are the members that the method's google.api.http rule takes from
// the path, and, without a body, from the query.
func uriMembers(desc protoreflect.MethodDescriptor) map[protoreflect.Name]bool {
	rule, _ := proto.GetExtension(desc.Options(), annotations.E_Http).(*annotations.HttpRule)
	members := map[protoreflect.Name]bool{}
	if rule == nil {
		return members
	}
	template := rule.GetGet() + rule.GetPut() + rule.GetPost() + rule.GetDelete() + rule.GetPatch()
	fields := desc.Input().Fields()
	for i := range fields.Len() {
		name := fields.Get(i).Name()
		if rule.GetBody() == "" || strings.Contains(template, "{"+string(name)+"}") || strings.Contains(template, "{"+string(name)+"=") {
			members[name] = true
		}
	}
	return members
}

func newShape(desc protoreflect.MessageDescriptor, seen map[protoreflect.FullName]*shape) *shape {
	if s := seen[desc.FullName()]; s != nil {
		return s
	}
	s := &shape{desc: desc}
	seen[desc.FullName()] = s
	all := desc.Fields()
	for i := range all.Len() {
		fd := all.Get(i)
		member, _ := proto.GetExtension(fd.Options(), awsv1.E_Member).(*awsv1.Member)
		f := field{desc: fd, query: member.GetQuery(), required: member.GetRequired(), values: member.GetValues(), text: member.GetPattern()}
		if member != nil {
			f.min, f.max = member.Min, member.Max
		}
		if f.text != "" {
			f.pattern = regexp.MustCompile(`^(?:` + f.text + `)$`)
		}
		if fd.Message() != nil && !fd.IsMap() {
			below := newShape(fd.Message(), seen)
			// Constraints on a transparent list are those of its entries.
			if inner := transparentList(fd.Message()); inner != nil {
				f.list = inner
			} else if below.inner {
				f.message = below
			}
		}
		if f.required || f.values != nil || f.pattern != nil || f.min != nil || f.max != nil || f.message != nil {
			s.fields = append(s.fields, f)
			s.inner = true
		}
	}
	return s
}

func transparentList(desc protoreflect.MessageDescriptor) protoreflect.FieldDescriptor {
	shape, _ := proto.GetExtension(desc.Options(), awsv1.E_Shape).(*awsv1.Shape)
	if !shape.GetTransparent() || desc.Fields().Len() != 1 || !desc.Fields().Get(0).IsList() {
		return nil
	}
	return desc.Fields().Get(0)
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
