package integration

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"sync"

	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
)

// response is a prepared integration response.
type response struct {
	status    int
	pattern   *regexp.Regexp // nil: the default
	params    []mapping
	templates responseTemplates
	wantsBody bool
	binary    binaryTypes
	handling  string
}

// prepareResponses reads the integration responses, those with a pattern first,
// each group by status code: AWS does not say which of two that match wins.
func prepareResponses(in *apigatewayv1.Integration, variables map[string]string, binary binaryTypes, patterns *patternCache) ([]response, error) {
	list := make([]response, 0, len(in.GetIntegrationResponses()))
	for _, code := range slices.Sorted(maps.Keys(in.GetIntegrationResponses())) {
		ir := in.GetIntegrationResponses()[code]
		status, err := strconv.Atoi(cmp.Or(ir.GetStatusCode(), code))
		if err != nil || status < 100 || status > 599 {
			return nil, fmt.Errorf("integration response %q: status code is not 100 to 599", code)
		}
		r := response{status: status, templates: prepareResponseTemplates(ir.GetResponseTemplates()),
			binary: binary, handling: ir.GetContentHandling()}
		if p := ir.GetSelectionPattern(); p != "" {
			if r.pattern, err = patterns.compile(p); err != nil {
				return nil, fmt.Errorf("integration response %s: selection pattern: %w", code, err)
			}
		}
		if r.params, err = parseMappings(ir.GetResponseParameters().GetEntries(), variables, responseSide); err != nil {
			return nil, fmt.Errorf("integration response %s: %w", code, err)
		}
		r.wantsBody = needsBody(r.params)
		list = append(list, r)
	}
	slices.SortStableFunc(list, func(a, b response) int {
		return cmp.Compare(boolRank(a.pattern == nil), boolRank(b.pattern == nil))
	})
	return list, nil
}

// patternCache shares compiled patterns: a table has thousands of methods, most
// with the same few, and a compiled one takes kilobytes.
type patternCache struct {
	mu       sync.Mutex
	compiled map[string]*regexp.Regexp
}

// maxPatterns bounds what is kept of patterns that nobody may use any more.
const maxPatterns = 1024

// compile compiles a selection pattern. The whole status must match, as with
// Java's matches.
func (c *patternCache) compile(p string) (*regexp.Regexp, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if re := c.compiled[p]; re != nil {
		return re, nil
	}
	re, err := regexp.Compile(`\A(?:` + p + `)\z`)
	if err != nil {
		return nil, err
	}
	if c.compiled == nil || len(c.compiled) >= maxPatterns {
		c.compiled = make(map[string]*regexp.Regexp)
	}
	c.compiled[p] = re
	return re, nil
}

func boolRank(b bool) int {
	if b {
		return 1
	}
	return 0
}

// selectResponse finds the integration response for a backend's status.
func (b *Backend) selectResponse(status int) *response {
	text := strconv.Itoa(status)
	for i := range b.responses {
		if r := &b.responses[i]; r.pattern == nil || r.pattern.MatchString(text) {
			return r
		}
	}
	return nil
}
