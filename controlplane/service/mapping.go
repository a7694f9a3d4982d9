package service

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/posternhq/postern/controlplane/apierr"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

// Parameter mappings: which part of a request or answer becomes which part of
// another. A destination and a source are both dotted expressions.

// parameterName is what may follow header., querystring. or path.
var parameterName = regexp.MustCompile(`^[a-zA-Z0-9._$:\[\]~!#%^&*+|'@-]+$`)

// cutParameter splits an expression such as method.request.header.Accept after
// the prefix. locations are those that the expression may name.
func cutParameter(expression, prefix string, locations ...string) (location, name string, ok bool) {
	rest, ok := strings.CutPrefix(expression, prefix)
	if !ok {
		return "", "", false
	}
	location, name, ok = strings.Cut(rest, ".")
	return location, name, ok && slices.Contains(locations, location) && parameterName.MatchString(name)
}

// isRequestParameter reports whether the name may be declared by a method.
func isRequestParameter(name string) bool {
	_, _, ok := cutParameter(name, "method.request.", "header", "querystring", "path")
	return ok
}

// isGeneralSource reports whether an expression is a source that neither
// request nor answer must offer: a literal in single quotes, a context or a
// stage variable.
func isGeneralSource(expression string) bool {
	if len(expression) >= 2 && strings.HasPrefix(expression, "'") && strings.HasSuffix(expression, "'") {
		return true
	}
	for _, prefix := range []string{"context.", "stageVariables."} {
		if name, ok := strings.CutPrefix(expression, prefix); ok && name != "" {
			return true
		}
	}
	return false
}

// isBody reports whether an expression is a body or a JSON path into one.
func isBody(expression, body string) bool {
	rest, ok := strings.CutPrefix(expression, body)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// checkRequestMapping checks one request mapping of an integration; what the
// source names must be declared by the method. It returns what is wrong.
func checkRequestMapping(m *apigatewayv1.Method, destination, source string) (fault string) {
	if _, _, ok := cutParameter(destination, "integration.request.", "header", "querystring", "path"); !ok {
		return "Invalid mapping expression specified: " + destination
	}
	if isGeneralSource(source) || isBody(source, "method.request.body") {
		return ""
	}
	location, _, ok := cutParameter(source, "method.request.", "header", "querystring", "path", "multivalueheader", "multivaluequerystring")
	if !ok {
		return "Invalid mapping expression specified: " + source
	}
	if _, declared := m.GetRequestParameters().GetEntries()[source]; !declared && !strings.HasPrefix(location, "multivalue") {
		return "Invalid mapping expression parameter specified: " + source
	}
	return ""
}

// checkResponseMapping is checkRequestMapping for an integration response; its
// destination must be declared by the method response of that status.
func checkResponseMapping(m *apigatewayv1.Method, status, destination, source string) (fault string) {
	if _, _, ok := cutParameter(destination, "method.response.", "header"); !ok {
		return "Invalid mapping expression specified: " + destination
	}
	if _, declared := m.GetMethodResponses()[status].GetResponseParameters().GetEntries()[destination]; !declared {
		return "Invalid mapping expression parameter specified: " + destination
	}
	if isGeneralSource(source) || isBody(source, "integration.response.body") {
		return ""
	}
	if _, _, ok := cutParameter(source, "integration.response.", "header", "multivalueheader"); !ok {
		return "Invalid mapping expression specified: " + source
	}
	return ""
}

// checkMappings checks all mappings and reports their faults together.
func checkMappings(mappings map[string]string, check func(destination, source string) string) error {
	var faults []string
	for _, destination := range slices.Sorted(maps.Keys(mappings)) {
		if fault := check(destination, mappings[destination]); fault != "" {
			faults = append(faults, fault)
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return apierr.BadRequest("Invalid mapping expression specified: Validation Result: warnings : [], errors : [%s]", strings.Join(faults, ", "))
}

var mediaType = regexp.MustCompile(`^[a-zA-Z0-9!#$&^_.+*-]+/[a-zA-Z0-9!#$&^_.+*-]+( *;.*)?$`)

// maxTemplate is AWS's limit on the size of a mapping template.
const maxTemplate = 300 << 10

// checkTemplates checks the content types of a template map, and the sizes.
func checkTemplates(templates map[string]*awsv1.NullableString) error {
	var faults []string
	for _, contentType := range slices.Sorted(maps.Keys(templates)) {
		if len(templates[contentType].GetValue()) > maxTemplate {
			return apierr.BadRequest("The mapping template for %s exceeds the maximum size of 300 KB", contentType)
		}
		if contentType != "$default" && !mediaType.MatchString(contentType) {
			faults = append(faults, "Invalid content type specified: "+contentType)
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return apierr.BadRequest("Validation Result: warnings : [], errors : [%s]", strings.Join(faults, ", "))
}

// storedTemplates is a template map as it is stored: an empty template reads
// back as null.
func storedTemplates(given *awsv1.NullableStringMap) *awsv1.NullableStringMap {
	if given == nil {
		return nil
	}
	out := &awsv1.NullableStringMap{Entries: make(map[string]*awsv1.NullableString)}
	for contentType, t := range given.GetEntries() {
		out.Entries[contentType] = &awsv1.NullableString{}
		if t.GetValue() != "" {
			out.Entries[contentType].Value = new(t.GetValue())
		}
	}
	return out
}
