package service

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

const (
	integrationMock     = "MOCK"
	integrationHTTP     = "HTTP"
	integrationProxy    = "HTTP_PROXY"
	integrationAWS      = "AWS"
	integrationAWSProxy = "AWS_PROXY"

	minTimeout = 50
	maxTimeout = 29000
)

var passthroughBehaviors = []string{"WHEN_NO_MATCH", "WHEN_NO_TEMPLATES", "NEVER"}

func errNoIntegration() error { return apierr.NotFound("Invalid Integration identifier specified") }

var uriVariable = regexp.MustCompile(`\$?\{[^{}]*\}`)

func isHTTP(kind string) bool { return kind == integrationHTTP || kind == integrationProxy }

func (s *apiGateway) PutIntegration(ctx context.Context, req *apigatewayv1.PutIntegrationRequest) (*apigatewayv1.Integration, error) {
	var made *apigatewayv1.Integration
	err := s.changeMethod(ctx, req.GetRestApiId(), req.GetResourceId(), req.GetResourceMethod(), errNoMethod(), func(_ *restAPI, m *apigatewayv1.Method) error {
		in := &apigatewayv1.Integration{
			Type:                new(req.GetType()),
			HttpMethod:          given(req.HttpMethod),
			Uri:                 given(req.Uri),
			ConnectionType:      given(req.ConnectionType),
			ConnectionId:        given(req.ConnectionId),
			Credentials:         given(req.Credentials),
			RequestParameters:   proto.CloneOf(req.RequestParameters),
			RequestTemplates:    storedTemplates(req.RequestTemplates),
			PassthroughBehavior: new("WHEN_NO_MATCH"),
			ContentHandling:     given(req.ContentHandling),
			TimeoutInMillis:     new(int32(maxTimeout)),
			CacheNamespace:      new(req.GetResourceId()),
			CacheKeyParameters:  &awsv1.StringList{Values: slices.Clone(req.GetCacheKeyParameters().GetValues())},
			TlsConfig:           proto.CloneOf(req.TlsConfig),
		}
		if req.GetPassthroughBehavior() != "" {
			in.PassthroughBehavior = req.PassthroughBehavior
		}
		if req.GetCacheNamespace() != "" {
			in.CacheNamespace = req.CacheNamespace
		}
		if req.TimeoutInMillis != nil {
			in.TimeoutInMillis = req.TimeoutInMillis
		}
		switch {
		case in.GetType() == integrationMock:
			in.Uri = nil
		case isHTTP(in.GetType()) && in.ConnectionType == nil:
			in.ConnectionType = new("INTERNET")
		}
		if err := checkIntegration(m, in); err != nil {
			return err
		}
		m.MethodIntegration = in
		made = in
		return nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// checkIntegration checks an integration that is about to be stored as a whole.
func checkIntegration(m *apigatewayv1.Method, in *apigatewayv1.Integration) error {
	if in.GetType() != integrationMock {
		if in.HttpMethod == nil {
			return apierr.BadRequest("Enumeration value for HttpMethod must be non-empty")
		}
		if err := checkVerb(in.GetHttpMethod()); err != nil {
			return err
		}
	}
	if err := checkURI(in); err != nil {
		return err
	}
	if !slices.Contains(passthroughBehaviors, in.GetPassthroughBehavior()) {
		return apierr.BadRequest("Invalid passthroughBehavior specified. Valid options are %s", strings.Join(passthroughBehaviors, ","))
	}
	if t := in.GetTimeoutInMillis(); t < minTimeout || t > maxTimeout {
		return errTimeout()
	}
	if in.GetConnectionType() == "VPC_LINK" && in.ConnectionId == nil {
		return apierr.BadRequest("ConnectionId must be specified for connection type VPC_LINK")
	}
	if err := checkTemplates(in.GetRequestTemplates().GetEntries()); err != nil {
		return err
	}
	return checkMappings(in.GetRequestParameters().GetEntries(), func(destination, source string) string {
		return checkRequestMapping(m, destination, source)
	})
}

func errTimeout() error {
	return apierr.BadRequest("Timeout should be between %d ms and %d ms", minTimeout, maxTimeout)
}

// checkURI checks where an integration leads to.
func checkURI(in *apigatewayv1.Integration) error {
	switch in.GetType() {
	case integrationHTTP, integrationProxy:
		if !isHTTPEndpoint(in.GetUri()) {
			return apierr.BadRequest("Invalid HTTP endpoint specified for URI")
		}
	case integrationAWS, integrationAWSProxy:
		// arn:aws:apigateway:{region}:{service}:{path|action}/{...}
		parts := strings.SplitN(in.GetUri(), ":", 6)
		if len(parts) < 6 || parts[0] != "arn" {
			return apierr.BadRequest("Invalid ARN specified in the request")
		}
		if !strings.HasPrefix(parts[5], "path/") && !strings.HasPrefix(parts[5], "action/") {
			return apierr.BadRequest("AWS ARN for integration must contain path or action")
		}
		service := parts[4]
		if in.GetType() == integrationAWSProxy && service != "lambda" && service != "firehose" {
			return apierr.BadRequest("Integrations of type 'AWS_PROXY' currently only supports Lambda function and Firehose stream invocations.")
		}
		if service != "lambda" && in.Credentials == nil {
			return apierr.BadRequest("Role ARN must be specified for AWS integrations")
		}
	}
	return nil
}

// isHTTPEndpoint reports whether the text is the URL of a backend. Its host and
// path may hold stage variables and path parameters in braces.
func isHTTPEndpoint(uri string) bool {
	u, err := url.Parse(uriVariable.ReplaceAllString(uri, "1")) // 1 may stand in a host, a port or a path
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	return u.Host != "" && u.User == nil
}

func (s *apiGateway) GetIntegration(ctx context.Context, req *apigatewayv1.GetIntegrationRequest) (*apigatewayv1.Integration, error) {
	m, err := s.readMethod(ctx, req.GetRestApiId(), req.GetResourceId(), req.GetHttpMethod())
	if err != nil {
		return nil, err
	}
	if m.MethodIntegration == nil {
		return nil, errNoIntegration()
	}
	return m.MethodIntegration, nil
}

func (s *apiGateway) DeleteIntegration(ctx context.Context, req *apigatewayv1.DeleteIntegrationRequest) (*apigatewayv1.Empty, error) {
	err := s.changeMethod(ctx, req.GetRestApiId(), req.GetResourceId(), req.GetHttpMethod(), errNoIntegration(), func(_ *restAPI, m *apigatewayv1.Method) error {
		if m.MethodIntegration == nil {
			return errNoIntegration()
		}
		m.MethodIntegration = nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &apigatewayv1.Empty{}, nil
}

func (s *apiGateway) UpdateIntegration(ctx context.Context, req *apigatewayv1.UpdateIntegrationRequest) (*apigatewayv1.Integration, error) {
	var after *apigatewayv1.Integration
	err := s.changeMethod(ctx, req.GetRestApiId(), req.GetResourceId(), req.GetHttpMethod(), errNoIntegration(), func(_ *restAPI, m *apigatewayv1.Method) (err error) {
		if m.MethodIntegration == nil {
			return errNoIntegration()
		}
		table := integrationPatch(m)
		if after, err = table.apply(m.MethodIntegration, req.GetPatchOperations()); err != nil {
			return err
		}
		if err := checkIntegration(m, after); err != nil {
			return err
		}
		m.MethodIntegration = after
		return nil
	})
	if err != nil {
		return nil, err
	}
	return after, nil
}

func integrationPatch(m *apigatewayv1.Method) *patchTable[*apigatewayv1.Integration] {
	type integration = *apigatewayv1.Integration
	parameters := stringEntries(func(in integration) **awsv1.StringMap { return &in.RequestParameters })
	parameters.upsert = true
	templates := templateEntries(func(in integration) **awsv1.NullableStringMap { return &in.RequestTemplates })
	return &patchTable[integration]{
		refuse: refuseClassic[integration],
		rows: []patchRow[integration]{
			{"/type", opsReplace, func(in integration, p *patch) error {
				kinds := []string{integrationHTTP, integrationMock, integrationAWSProxy, integrationProxy, integrationAWS}
				if !slices.Contains(kinds, p.value) {
					return apierr.BadRequest("Invalid integration type specified. Valid options are %s", strings.Join(kinds, ","))
				}
				in.Type = new(p.value)
				if p.value == integrationMock {
					in.Uri = nil
				}
				return nil
			}},
			{"/uri", opsReplace, setString(func(in integration) **string { return &in.Uri })},
			{"/httpMethod", opsReplace, setString(func(in integration) **string { return &in.HttpMethod })},
			{"/credentials", opsReplaceRemove, setString(func(in integration) **string { return &in.Credentials })},
			{"/passthroughBehavior", opsReplace, setString(func(in integration) **string { return &in.PassthroughBehavior })},
			{"/cacheNamespace", opsReplace, setString(func(in integration) **string { return &in.CacheNamespace })},
			{"/connectionId", opsReplace, setString(func(in integration) **string { return &in.ConnectionId })},
			{"/connectionType", opsReplace, func(in integration, p *patch) error {
				if p.value != "INTERNET" && p.value != "VPC_LINK" {
					return apierr.BadRequest("Invalid connectionType specified. Valid options are INTERNET,VPC_LINK")
				}
				in.ConnectionType = new(p.value)
				if p.value == "INTERNET" {
					in.ConnectionId = nil
				}
				return nil
			}},
			{"/timeoutInMillis", opsReplace, setInt(func(in integration) **int32 { return &in.TimeoutInMillis }, minTimeout, maxTimeout, errTimeout)},
			{"/contentHandling", opsReplaceRemove, patchContentHandling(func(in integration) **string { return &in.ContentHandling })},
			{"/requestParameters/{}", opsEdit, parameters.apply},
			{"/requestTemplates/{}", opsEdit, templates.apply},
			{"/cacheKeyParameters/{}", opsEdit, patchCacheKeys},
			{"/tlsConfig/insecureSkipVerification", opsReplace, func(in integration, p *patch) error {
				in.TlsConfig = &apigatewayv1.TlsConfig{InsecureSkipVerification: new(isTrue(p.value))}
				return nil
			}},
		},
	}
}

// patchContentHandling is a row's function for how a payload is converted.
func patchContentHandling[M proto.Message](member func(M) **string) func(M, *patch) error {
	return func(m M, p *patch) error {
		if p.op == "replace" && p.value != "" && p.value != "CONVERT_TO_BINARY" && p.value != "CONVERT_TO_TEXT" {
			return apierr.BadRequest("Invalid contentHandling specified. Valid options are CONVERT_TO_BINARY,CONVERT_TO_TEXT")
		}
		return setString(member)(m, p)
	}
}

// patchCacheKeys finds the parameter in the path, as patchMediaTypes does.
func patchCacheKeys(in *apigatewayv1.Integration, p *patch) error {
	name := p.args[0]
	keys := slices.DeleteFunc(slices.Clone(in.GetCacheKeyParameters().GetValues()), func(k string) bool { return k == name })
	switch {
	case p.op == "add", p.op == "replace" && p.value == "":
		keys = append(keys, name)
	case p.op == "replace":
		keys = append(keys, p.value)
	}
	in.CacheKeyParameters = &awsv1.StringList{Values: keys}
	return nil
}
