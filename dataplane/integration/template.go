package integration

import (
	"maps"
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/posternhq/postern/internal/vtl"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

// template is a mapping template: literal text, or null, which transforms
// nothing, or one that needs the template language.
type template struct {
	null    bool
	dynamic bool
	body    []byte // the text, never changed

	// As an answer: the values of its headers. The type is that of the template's
	// key; JSON if the key is none, such as $default.
	contentType []string
	length      []string

	// As the request of a MOCK: the status that it names.
	status    int
	hasStatus bool
}

var typeJSON = []string{"application/json"}

func prepareTemplates(m *awsv1.NullableStringMap) map[string]*template {
	if len(m.GetEntries()) == 0 {
		return nil
	}
	list := make(map[string]*template, len(m.GetEntries()))
	for key, v := range m.GetEntries() {
		t := &template{contentType: typeJSON}
		if key != typeJSON[0] {
			if _, _, err := mime.ParseMediaType(key); err == nil && strings.Contains(key, "/") {
				t.contentType = []string{key}
			}
		}
		if text := v.GetValue(); text == "" {
			t.null = true
		} else {
			t.dynamic = !vtl.Literal(text)
			t.body = []byte(text)
			t.length = []string{strconv.Itoa(len(text))}
			t.status, t.hasStatus = mockStatus(text)
		}
		list[strings.ToLower(key)] = t
	}
	return list
}

// mediaType is the type of a Content-Type or Accept value without its
// parameters, lower case; application/json if there is none.
func mediaType(value string) string {
	value, _, _ = strings.Cut(value, ";")
	value = strings.ToLower(strings.TrimSpace(value))
	if value == "" {
		return "application/json"
	}
	return value
}

// requestTemplates choose how a request's body is transformed (data-plane.md §7.2).
type requestTemplates struct {
	byType   map[string]*template
	behavior string
}

func prepareRequestTemplates(in *apigatewayv1.Integration) requestTemplates {
	return requestTemplates{byType: prepareTemplates(in.GetRequestTemplates()), behavior: in.GetPassthroughBehavior()}
}

// pick finds the template for a content type. Without one the body either passes
// through (nil, true) or is refused (nil, false).
func (r *requestTemplates) pick(contentType string) (*template, bool) {
	if t := r.byType[mediaType(contentType)]; t != nil {
		return t, true
	}
	if t := r.byType["$default"]; t != nil {
		return t, true
	}
	switch r.behavior {
	case "NEVER":
		return nil, false
	case "WHEN_NO_TEMPLATES":
		return nil, len(r.byType) == 0
	}
	return nil, true
}

// responseTemplates choose how a response's body is transformed: by the first
// media type of Accept, else as JSON, else by the first template.
type responseTemplates struct {
	byType map[string]*template
	first  *template
}

func prepareResponseTemplates(m *awsv1.NullableStringMap) responseTemplates {
	r := responseTemplates{byType: prepareTemplates(m)}
	if len(r.byType) > 0 {
		r.first = r.byType[slices.Min(slices.Collect(maps.Keys(r.byType)))]
	}
	return r
}

func (r *responseTemplates) pick(accept []string) *template {
	if len(r.byType) == 0 {
		return nil
	}
	if len(accept) > 0 {
		first, _, _ := strings.Cut(accept[0], ",")
		if t := r.byType[mediaType(first)]; t != nil {
			return t
		}
	}
	if t := r.byType["application/json"]; t != nil {
		return t
	}
	return r.first
}
