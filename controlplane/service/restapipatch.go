package service

import (
	"slices"
	"strconv"
	"strings"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/dataplane/policy"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

// restAPIPatch is one PATCH of an API.
type restAPIPatch struct {
	who   Caller
	doc   *policy.Document // that the request brings
	wrong []string         // with it, in words
}

type restAPITable = patchTable[*apigatewayv1.RestApi]

func (c *restAPIPatch) table() *restAPITable {
	type api = *apigatewayv1.RestApi
	return &restAPITable{
		refuse: refuseRestAPI,
		rows: []patchRow[api]{
			{"/name", opsReplace, func(a api, p *patch) error {
				if p.value == "" {
					return apierr.BadRequest("API name cannot be an empty string")
				}
				a.Name = new(p.value)
				return nil
			}},
			{"/description", opsReplaceRemove, setDescription(func(a api) **string { return &a.Description })},
			{"/policy", opsEdit, c.policy},
			{"/apiKeySource", opsReplace, patchKeySource},
			{"/binaryMediaTypes/{}", opsEdit, patchMediaTypes},
			{"/minimumCompressionSize", opsReplace, patchCompression},
			{"/disableExecuteApiEndpoint", opsReplace, setBool(func(a api) **bool { return &a.DisableExecuteApiEndpoint })},
			{"/endpointConfiguration/types/{}", opsReplace, patchType},
			{"/endpointConfiguration/ipAddressType", opsReplace, patchIPAddressType},
			{"/endpointConfiguration/vpcEndpointIds", opsAddRemove, patchAssociations},
			{"/endpointConfiguration/vpcEndpointIds/{}", opsAddRemove, patchAssociations},
		},
	}
}

// refuseRestAPI knows the two paths with a wording of their own.
func refuseRestAPI(t *restAPITable, p *patch, ops []string) error {
	switch {
	case len(ops) == 0:
	case strings.HasPrefix(p.path, "/endpointConfiguration/types"):
		return apierr.BadRequest("Invalid patch operation specified. Must be 'add'|'remove'|'replace'")
	case strings.HasPrefix(p.path, "/endpointConfiguration/vpcEndpointIds"):
		return apierr.BadRequest("Invalid patch operation specified. Must be 'add'|'remove'")
	}
	return refuseClassic(t, p, ops)
}

func (c *restAPIPatch) policy(a *apigatewayv1.RestApi, p *patch) error {
	text := p.value
	if p.op == "remove" {
		text = ""
	}
	var err error
	c.doc, c.wrong, err = setPolicy(a, text, c.who)
	return err
}

// warnings are those on a policy that the request brings, or that means
// something else now because the request makes the API private or public.
func (c *restAPIPatch) warnings(before, after *apigatewayv1.RestApi) []string {
	doc := c.doc
	if doc == nil && after.Policy != nil && isPrivate(before) != isPrivate(after) {
		// Stored documents parse; were there one that does not, it would be no
		// news about this request.
		doc, _ = policy.Parse([]byte(after.GetPolicy()))
	}
	return policyWarnings(after, doc)
}

func patchKeySource(a *apigatewayv1.RestApi, p *patch) error {
	if p.value != keySourceHeader && p.value != keySourceAuthorizer {
		return apierr.BadRequest("Invalid API key source specified. Valid options are %s,%s", keySourceHeader, keySourceAuthorizer)
	}
	a.ApiKeySource = new(p.value)
	return nil
}

// patchMediaTypes finds the media type in the path. A replaced one moves to the end.
func patchMediaTypes(a *apigatewayv1.RestApi, p *patch) error {
	media := p.args[0]
	add := media
	if p.op != "add" {
		a.BinaryMediaTypes = slices.DeleteFunc(a.BinaryMediaTypes, func(t string) bool { return t == media })
		if p.op == "remove" {
			return nil
		}
		add = p.value
	}
	if add != "" && !slices.Contains(a.BinaryMediaTypes, add) {
		a.BinaryMediaTypes = append(a.BinaryMediaTypes, add)
	}
	return nil
}

func patchCompression(a *apigatewayv1.RestApi, p *patch) error {
	if p.value == "" {
		a.MinimumCompressionSize = nil
		return nil
	}
	size, err := strconv.ParseInt(p.value, 10, 64)
	if err != nil || !validCompression(size) {
		return errCompression()
	}
	a.MinimumCompressionSize = new(int32(size))
	return nil
}

// patchType moves the API to another endpoint type. The path ends in a type or
// in an index; there is only ever one, so either names it.
func patchType(a *apigatewayv1.RestApi, p *patch) error {
	valid := []string{typeRegional, typeEdge, typePrivate}
	if _, err := strconv.ParseUint(p.args[0], 10, 8); err != nil && !slices.Contains(valid, p.args[0]) {
		return apierr.BadRequest("Invalid patch path %s", p.path)
	}
	if !slices.Contains(valid, p.value) {
		return apierr.BadRequest("Invalid EndpointTypes specified. Valid options are %s", strings.Join(valid, ","))
	}
	config := a.EndpointConfiguration
	switch private := isPrivate(a); {
	case private && p.value == typeEdge:
		return apierr.BadRequest("Cannot update endpoint from PRIVATE to EDGE")
	case private && p.value != typePrivate && len(config.GetVpcEndpointIds()) > 0:
		return errOnlyPrivate()
	}
	config.Types = &awsv1.StringList{Values: []string{p.value}}
	if p.value == typePrivate {
		config.IpAddressType = new(dualstack)
	}
	return nil
}

func patchIPAddressType(a *apigatewayv1.RestApi, p *patch) error {
	switch {
	case p.value != ipv4 && p.value != dualstack:
		return apierr.BadRequest("ipAddressType must be either ipv4 or dualstack.")
	case p.value == ipv4 && isPrivate(a):
		return errPrivateIPv4()
	}
	a.EndpointConfiguration.IpAddressType = new(p.value)
	return nil
}

// patchAssociations takes the endpoint id from the value, as AWS clients send
// it, or else from the path. Whether it names an endpoint is checked at the end
// of the PATCH; that the API is private, here, on the running state.
func patchAssociations(a *apigatewayv1.RestApi, p *patch) error {
	id := p.value
	if len(p.args) > 0 {
		id = p.args[0]
	}
	config := a.EndpointConfiguration
	if p.op == "remove" {
		config.VpcEndpointIds = slices.DeleteFunc(config.VpcEndpointIds, func(known string) bool { return known == id })
		return nil
	}
	if !isPrivate(a) {
		return errOnlyPrivate()
	}
	if !slices.Contains(config.VpcEndpointIds, id) {
		config.VpcEndpointIds = append(config.VpcEndpointIds, id)
	}
	return nil
}
