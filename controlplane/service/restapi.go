package service

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dataplane/policy"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	typeEdge     = "EDGE"
	typeRegional = "REGIONAL"
	typePrivate  = "PRIVATE"

	ipv4      = "ipv4"
	dualstack = "dualstack"

	keySourceHeader     = "HEADER"
	keySourceAuthorizer = "AUTHORIZER"

	maxCompressionSize = 10485760
	maxAssociations    = 100
)

func (s *apiGateway) CreateRestApi(ctx context.Context, req *apigatewayv1.CreateRestApiRequest) (*apigatewayv1.RestApi, error) {
	who := caller(ctx)
	var warnings []string
	made, err := create(ctx, s.cfg, "CreateRestApi", req, func(v *state.View) (*statev1.Txn, *apigatewayv1.RestApi, error) {
		id := s.unusedAPIID(v, who.Region)
		a, err := newRestAPI(req, id)
		if err != nil {
			return nil, nil, err
		}
		if err := checkAssociations(v, who.Region, a, nil); err != nil {
			return nil, nil, err
		}
		if req.GetPolicy() != "" {
			var doc *policy.Document
			if doc, warnings, err = setPolicy(a, req.GetPolicy(), who); err != nil {
				return nil, nil, err
			}
			warnings = policyWarnings(a, doc)
		}
		if err := checkTags(a.Tags.GetEntries()); err != nil {
			return nil, nil, err
		}
		a.CreatedDate = epoch(s.cfg.Now())

		key := who.key(statev1.Type_TYPE_REST_API, id)
		txn := &statev1.Txn{Guards: []*statev1.Guard{absent(key)}}
		touchEndpoints(txn, v, nil, a, who.Region)
		if req.GetCloneFrom() != "" {
			source, err := findAPI(v, who, req.GetCloneFrom())
			if err != nil {
				return nil, nil, err
			}
			txn.Guards = append(txn.Guards, guard(source.record))
			s.clone(source, a, who, txn)
		} else {
			a.RootResourceId = new(s.cfg.alphanumeric(rootIDLength))
			root := &apigatewayv1.Resource{Id: a.RootResourceId, Path: new("/")}
			txn.Puts = append(txn.Puts, resourceRecord(who, id, root))
			for _, m := range s.defaultModels() {
				txn.Puts = append(txn.Puts, modelRecord(who, id, m))
			}
		}
		txn.Puts = append(txn.Puts, restAPIRecord(key, a))
		if change := apiDNS(s.cfg, v, nil, a, key); change != nil {
			txn.Puts = append(txn.Puts, change)
		}
		return txn, a, nil
	})
	warn(ctx, warnings...)
	if err != nil {
		return nil, err
	}
	return answerAPI(made, false), nil
}

// newRestAPI applies the rules of creation to what the request alone says.
func newRestAPI(req *apigatewayv1.CreateRestApiRequest, id string) (*apigatewayv1.RestApi, error) {
	if req.GetName() == "" {
		return nil, apierr.BadRequest("API name cannot be an empty string")
	}
	if req.Description != nil && req.GetDescription() == "" {
		return nil, errEmptyDescription()
	}
	if req.MinimumCompressionSize != nil && !validCompression(int64(req.GetMinimumCompressionSize())) {
		return nil, errCompression()
	}
	config, err := newEndpointConfiguration(req.GetEndpointConfiguration())
	if err != nil {
		return nil, err
	}
	a := &apigatewayv1.RestApi{
		Id:                        new(id),
		Name:                      req.Name,
		Description:               req.Description,
		Version:                   given(req.Version),
		BinaryMediaTypes:          distinct(req.GetBinaryMediaTypes().GetValues()),
		MinimumCompressionSize:    req.MinimumCompressionSize,
		ApiKeySource:              new(keySourceHeader),
		EndpointConfiguration:     config,
		DisableExecuteApiEndpoint: new(req.GetDisableExecuteApiEndpoint()),
	}
	if req.ApiKeySource != nil {
		a.ApiKeySource = req.ApiKeySource
	}
	if len(req.GetTags().GetEntries()) > 0 {
		a.Tags = proto.CloneOf(req.Tags)
	}
	return a, nil
}

func newEndpointConfiguration(given *apigatewayv1.EndpointConfiguration) (*apigatewayv1.EndpointConfiguration, error) {
	kind := typeEdge
	if given.GetTypes() != nil {
		switch types := given.Types.GetValues(); len(types) {
		case 0:
			return nil, apierr.BadRequest("REGIONAL Configuration and EDGE Configuration cannot be both DISABLED.")
		case 1:
			kind = types[0]
		default:
			return nil, apierr.BadRequest("Cannot create an api with multiple Endpoint Types.")
		}
	}
	ip := ipv4
	if kind == typePrivate {
		ip = dualstack
	}
	if given.GetIpAddressType() != "" {
		ip = given.GetIpAddressType()
	}
	if kind == typePrivate && ip == ipv4 {
		return nil, errPrivateIPv4()
	}
	return &apigatewayv1.EndpointConfiguration{
		Types:          &awsv1.StringList{Values: []string{kind}},
		IpAddressType:  new(ip),
		VpcEndpointIds: distinct(given.GetVpcEndpointIds()),
	}, nil
}

func errPrivateIPv4() error {
	return apierr.BadRequest("Only dualstack ipAddressType is supported for Private APIs.")
}

func errOnlyPrivate() error {
	return apierr.BadRequest("VPCEndpoints can only be specified with PRIVATE apis.")
}

func errCompression() error {
	return apierr.BadRequest("Invalid minimum compression size, must be between 0 and %d", maxCompressionSize)
}

func validCompression(size int64) bool { return size >= 0 && size <= maxCompressionSize }

// distinct returns the list without repetitions, each at its first position.
func distinct(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// isPrivate reports whether the API is served through VPC endpoints only.
func isPrivate(a *apigatewayv1.RestApi) bool {
	return slices.Contains(a.GetEndpointConfiguration().GetTypes().GetValues(), typePrivate)
}

var endpointIDPattern = regexp.MustCompile(`^vpce-[0-9a-f]{8,17}$`)

// checkAssociations checks the endpoint ids of an API that were not there
// before. The endpoint may belong to any account of the region.
func checkAssociations(v *state.View, region string, after, before *apigatewayv1.RestApi) error {
	ids := after.GetEndpointConfiguration().GetVpcEndpointIds()
	if len(ids) == 0 {
		return nil
	}
	if !isPrivate(after) {
		return errOnlyPrivate()
	}
	if len(ids) > maxAssociations {
		return apierr.Limit("Maximum number of VPC endpoints per API is %d", maxAssociations)
	}
	known := before.GetEndpointConfiguration().GetVpcEndpointIds()
	allow := v.Settings().GetUnknownEndpoints() == "allow"
	var wrong []string
	for _, id := range ids {
		if slices.Contains(known, id) || endpointExists(v, region, id) || allow && endpointIDPattern.MatchString(id) {
			continue
		}
		wrong = append(wrong, id)
	}
	if len(wrong) > 0 {
		return apierr.BadRequest("Invalid VPC endpoint identifier(s) specified: [%s]", strings.Join(wrong, ", "))
	}
	return nil
}

func endpointExists(v *state.View, region, id string) bool {
	e := v.Find(statev1.Type_TYPE_VPC_ENDPOINT, region, id).GetVpcEndpoint()
	return endpointLives(e) && strings.HasSuffix(e.GetEndpoint().GetServiceName(), ".execute-api")
}

// setPolicy checks a policy document as a client writes it and stores its
// normal form; an empty text clears the policy. It returns the document, nil
// for none; what is wrong with it is said in words beside the error.
func setPolicy(a *apigatewayv1.RestApi, text string, who Caller) (doc *policy.Document, wrong []string, err error) {
	if text == "" {
		a.Policy = nil
		return nil, nil, nil
	}
	invalid := apierr.BadRequest("Invalid policy document. Please check the policy syntax and ensure that Principals are valid.")
	plain, err := policy.Unwrap(text)
	if err != nil {
		return nil, []string{err.Error()}, invalid
	}
	doc, err = policy.Parse([]byte(plain))
	if err != nil {
		return nil, []string{err.Error()}, invalid
	}
	if doc.Size() > policy.MaxResourcePolicy {
		return nil, nil, apierr.BadRequest("Invalid policy document. Policy size exceeds the maximum limit of %d", policy.MaxResourcePolicy)
	}
	if problems, _ := doc.Validate(policyKind(a)); len(problems) > 0 {
		return nil, findings(problems), invalid
	}
	a.Policy = new(string(doc.Normalize(policy.Target{Region: who.Region, Account: who.Account, APIID: a.GetId()})))
	return doc, nil, nil
}

func policyKind(a *apigatewayv1.RestApi) policy.Kind {
	if isPrivate(a) {
		return policy.PrivateResourcePolicy
	}
	return policy.ResourcePolicy
}

// policyWarnings are what is allowed but unusual about the document on the API
// as it is to be stored: one request may change both.
func policyWarnings(a *apigatewayv1.RestApi, doc *policy.Document) []string {
	if doc == nil {
		return nil
	}
	_, unusual := doc.Validate(policyKind(a))
	return findings(unusual)
}

func findings(problems []policy.Problem) []string {
	var out []string
	for _, p := range problems {
		out = append(out, "policy document: "+p.String())
	}
	return out
}

func (s *apiGateway) GetRestApi(ctx context.Context, req *apigatewayv1.GetRestApiRequest) (*apigatewayv1.RestApi, error) {
	a, err := s.readAPI(ctx, req.GetRestApiId())
	if err != nil {
		return nil, err
	}
	return answerAPI(a.RestApi, true), nil
}

// GetRestApis lists by creation, like AWS.
func (s *apiGateway) GetRestApis(ctx context.Context, req *apigatewayv1.GetRestApisRequest) (*apigatewayv1.GetRestApisResponse, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	who := caller(ctx)
	records := slices.Collect(v.List(statev1.Type_TYPE_REST_API, who.Account, who.Region, ""))
	records, position, err := listPage(records, byCreation, req.Limit, req.Position)
	if err != nil {
		return nil, err
	}
	out := &apigatewayv1.GetRestApisResponse{Position: position}
	for _, r := range records {
		out.Item = append(out.Item, answerAPI(r.GetRestApi(), false))
	}
	return out, nil
}

func (s *apiGateway) DeleteRestApi(ctx context.Context, req *apigatewayv1.DeleteRestApiRequest) (*apigatewayv1.Empty, error) {
	who := caller(ctx)
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		a, err := findAPI(v, who, req.GetRestApiId())
		if err != nil {
			return nil, err
		}
		txn := &statev1.Txn{
			Guards:  []*statev1.Guard{guard(a.record)},
			Deletes: []*statev1.Key{a.record.Key},
		}
		for _, t := range apiChildren {
			for r := range v.List(t, who.Account, who.Region, a.GetId()+"/") {
				txn.Deletes = append(txn.Deletes, r.Key)
			}
		}
		if change := apiDNS(s.cfg, v, a.RestApi, nil, state.KeyOf(a.record.Key)); change != nil {
			txn.Puts = append(txn.Puts, change)
		}
		return txn, nil
	})
	if err != nil {
		return nil, err
	}
	return &apigatewayv1.Empty{}, nil
}

func (s *apiGateway) UpdateRestApi(ctx context.Context, req *apigatewayv1.UpdateRestApiRequest) (*apigatewayv1.RestApi, error) {
	who := caller(ctx)
	var (
		after    *apigatewayv1.RestApi
		warnings []string
	)
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		before, err := findAPI(v, who, req.GetRestApiId())
		if err != nil {
			return nil, err
		}
		p := restAPIPatch{who: who}
		table := p.table()
		after, err = table.apply(before.RestApi, req.GetPatchOperations())
		warnings = p.wrong
		if err != nil {
			return nil, err
		}
		warnings = p.warnings(before.RestApi, after)
		if err := checkAssociations(v, who.Region, after, before.RestApi); err != nil {
			return nil, err
		}
		txn := &statev1.Txn{
			Guards: []*statev1.Guard{guard(before.record)},
			Puts:   []*statev1.Record{restAPIRecord(state.KeyOf(before.record.Key), after)},
		}
		touchEndpoints(txn, v, before.RestApi, after, who.Region)
		if change := apiDNS(s.cfg, v, before.RestApi, after, state.KeyOf(before.record.Key)); change != nil {
			txn.Puts = append(txn.Puts, change)
		}
		return txn, nil
	})
	warn(ctx, warnings...)
	if err != nil {
		return nil, err
	}
	return answerAPI(after, true), nil
}

// answerAPI is an API as AWS answers it: the policy escaped once more, and an
// empty map for no tags in some operations only.
func answerAPI(a *apigatewayv1.RestApi, emptyTags bool) *apigatewayv1.RestApi {
	out := proto.CloneOf(a)
	if out.Policy != nil {
		out.Policy = new(policy.Escape(out.GetPolicy()))
	}
	if emptyTags && out.Tags == nil {
		out.Tags = &awsv1.StringMap{}
	}
	return out
}
