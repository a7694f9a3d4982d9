package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	endpointA = "vpce-0aaaaaaaaaaaaaaaa"
	endpointB = "vpce-0bbbbbbbbbbbbbbbb"
	endpointX = "vpce-0123456789abcdef0" // in no account
)

// putEndpoint stores an endpoint, past the rules of EC2. Its network interface
// has the address.
func putEndpoint(t *testing.T, c *fakeCluster, account, id, address string) {
	t.Helper()
	who := Caller{Account: account, Region: defaultRegion}
	eni := "eni-" + id[5:]
	c.put(t,
		&statev1.Record{
			Key: who.key(statev1.Type_TYPE_VPC_ENDPOINT, id).Proto(),
			Value: &statev1.Record_VpcEndpoint{VpcEndpoint: &statev1.VpcEndpoint{
				Endpoint: &ec2v1.VpcEndpoint{
					VpcEndpointId:       new(id),
					VpcId:               new("vpc-1"),
					ServiceName:         new("com.amazonaws." + defaultRegion + ".execute-api"),
					NetworkInterfaceIds: []string{eni},
				},
				DnsSuffix: "abcdefgh",
			}},
		},
		&statev1.Record{
			Key: who.key(statev1.Type_TYPE_NETWORK_INTERFACE, "vpc-1/"+eni).Proto(),
			Value: &statev1.Record_NetworkInterface{NetworkInterface: &ec2v1.NetworkInterface{
				NetworkInterfaceId: new(eni), PrivateIpAddress: new(address), AvailabilityZone: new(defaultRegion + "a"),
			}},
		})
}

// dnsRecords are the changes of names in the state, "name before > after", by name.
func dnsRecords(c *fakeCluster) []string {
	var out []string
	for r := range c.store.View().All(statev1.Type_TYPE_DNS_CHANGE) {
		for _, rc := range r.GetDnsChange().GetRecords() {
			out = append(out, fmt.Sprintf("%s %v > %v", rc.GetName(), rc.GetBefore().GetAddresses(), rc.GetAfter().GetAddresses()))
		}
	}
	slices.Sort(out)
	return out
}

func private(ids ...string) *apigatewayv1.EndpointConfiguration {
	return &apigatewayv1.EndpointConfiguration{Types: &awsv1.StringList{Values: []string{"PRIVATE"}}, VpcEndpointIds: ids}
}

func types(list ...string) *apigatewayv1.EndpointConfiguration {
	return &apigatewayv1.EndpointConfiguration{Types: &awsv1.StringList{Values: list}}
}

func TestCreateRestApi(t *testing.T) {
	for _, c := range []struct {
		name string
		req  *apigatewayv1.CreateRestApiRequest
		err  string
		want string // "type ip [ids]"
	}{
		{"default", &apigatewayv1.CreateRestApiRequest{}, "", "EDGE ipv4 []"},
		{"empty configuration", &apigatewayv1.CreateRestApiRequest{EndpointConfiguration: &apigatewayv1.EndpointConfiguration{}}, "", "EDGE ipv4 []"},
		{"regional", &apigatewayv1.CreateRestApiRequest{EndpointConfiguration: types("REGIONAL")}, "", "REGIONAL ipv4 []"},
		{"private", &apigatewayv1.CreateRestApiRequest{EndpointConfiguration: private()}, "", "PRIVATE dualstack []"},
		{"associated, another account's endpoint too, once each", &apigatewayv1.CreateRestApiRequest{EndpointConfiguration: private(endpointB, endpointA, endpointB)}, "", "PRIVATE dualstack [" + endpointB + " " + endpointA + "]"},
		{"no name", &apigatewayv1.CreateRestApiRequest{Name: new("")}, "API name cannot be an empty string", ""},
		{"empty description", &apigatewayv1.CreateRestApiRequest{Description: new("")}, "Description cannot be an empty string", ""},
		{"compression", &apigatewayv1.CreateRestApiRequest{MinimumCompressionSize: new(int32(10485761))}, "Invalid minimum compression size, must be between 0 and 10485760", ""},
		{"no type", &apigatewayv1.CreateRestApiRequest{EndpointConfiguration: types()}, "REGIONAL Configuration and EDGE Configuration cannot be both DISABLED.", ""},
		{"two types", &apigatewayv1.CreateRestApiRequest{EndpointConfiguration: types("EDGE", "PRIVATE")}, "Cannot create an api with multiple Endpoint Types.", ""},
		{"endpoint of a public API", &apigatewayv1.CreateRestApiRequest{EndpointConfiguration: &apigatewayv1.EndpointConfiguration{VpcEndpointIds: []string{endpointA}}}, "VPCEndpoints can only be specified with PRIVATE apis.", ""},
		{"unknown endpoint", &apigatewayv1.CreateRestApiRequest{EndpointConfiguration: private(endpointA, endpointX)}, "Invalid VPC endpoint identifier(s) specified: [" + endpointX + "]", ""},
		{"malformed policy", &apigatewayv1.CreateRestApiRequest{Policy: new(`{"Statement":[{"Effect":"Allow"}]}`)}, "Invalid policy document. Please check the policy syntax and ensure that Principals are valid.", ""},
		{"no policy at all", &apigatewayv1.CreateRestApiRequest{Policy: new("hello")}, "Invalid policy document. Please check the policy syntax and ensure that Principals are valid.", ""},
		{"huge policy", &apigatewayv1.CreateRestApiRequest{Policy: new(hugePolicy())}, "Invalid policy document. Policy size exceeds the maximum limit of 8192", ""},
		{"reserved tag", &apigatewayv1.CreateRestApiRequest{Tags: &awsv1.StringMap{Entries: map[string]string{"AWS:x": "y"}}}, "Invalid tag key specified: keys that start with aws: are reserved", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newTestAPI(t)
			putEndpoint(t, a.cluster, defaultAccount, endpointA, "10.0.0.5")
			putEndpoint(t, a.cluster, "999999999999", endpointB, "10.1.0.5")
			if c.req.Name == nil {
				c.req.Name = new("made")
			}
			made, err := a.CreateRestApi(a.ctx, c.req)
			if c.err != "" {
				wantError(t, err, apierr.KindInvalid, c.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			config := made.GetEndpointConfiguration()
			if got := fmt.Sprintf("%s %s %v", config.GetTypes().GetValues()[0], config.GetIpAddressType(), config.GetVpcEndpointIds()); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func hugePolicy() string {
	return `{"Statement":{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/` + strings.Repeat("x", 8192) + `"}}`
}

func TestUnknownEndpointsAllowed(t *testing.T) {
	a := newTestAPI(t)
	a.cluster.put(t, &statev1.Record{
		Key:   state.SettingsKey().Proto(),
		Value: &statev1.Record_Settings{Settings: &statev1.Settings{UnknownEndpoints: "allow"}},
	})
	if _, err := a.CreateRestApi(a.ctx, &apigatewayv1.CreateRestApiRequest{Name: new("x"), EndpointConfiguration: private("vpce-01d622316a7df47f9")}); err != nil {
		t.Error(err)
	}
	_, err := a.CreateRestApi(a.ctx, &apigatewayv1.CreateRestApiRequest{Name: new("x"), EndpointConfiguration: private("vpce-zzz")})
	wantError(t, err, apierr.KindInvalid, "Invalid VPC endpoint identifier(s) specified: [vpce-zzz]")
}

func TestTooManyAssociations(t *testing.T) {
	a := newTestAPI(t)
	var ids []string
	for i := range maxAssociations + 1 {
		ids = append(ids, fmt.Sprintf("vpce-%08x", i))
	}
	_, err := a.CreateRestApi(a.ctx, &apigatewayv1.CreateRestApiRequest{Name: new("x"), EndpointConfiguration: private(ids...)})
	wantError(t, err, apierr.KindLimit, "Maximum number of VPC endpoints per API is 100")
}

// The table of conversions and associations: private-apis.md §2 and §3.
func TestUpdateEndpointConfiguration(t *testing.T) {
	const replaced = "replace /endpointConfiguration/types/"
	const ids = "/endpointConfiguration/vpcEndpointIds"
	for _, c := range []struct {
		name  string
		from  *apigatewayv1.EndpointConfiguration
		patch []string
		err   string
		want  string
	}{
		{"EDGE to REGIONAL", types("EDGE"), []string{replaced + "EDGE REGIONAL"}, "", "REGIONAL ipv4 []"},
		{"EDGE to PRIVATE", types("EDGE"), []string{replaced + "EDGE PRIVATE"}, "", "PRIVATE dualstack []"},
		{"REGIONAL to EDGE", types("REGIONAL"), []string{replaced + "0 EDGE"}, "", "EDGE ipv4 []"},
		{"REGIONAL to PRIVATE", types("REGIONAL"), []string{replaced + "0 PRIVATE"}, "", "PRIVATE dualstack []"},
		{"PRIVATE to REGIONAL", private(), []string{replaced + "PRIVATE REGIONAL"}, "", "REGIONAL dualstack []"},
		{"PRIVATE to itself", private(endpointA), []string{replaced + "PRIVATE PRIVATE"}, "", "PRIVATE dualstack [" + endpointA + "]"},
		{"PRIVATE to EDGE", private(), []string{replaced + "PRIVATE EDGE"}, "Cannot update endpoint from PRIVATE to EDGE", ""},
		{"PRIVATE to REGIONAL to EDGE", private(), []string{replaced + "0 REGIONAL", replaced + "0 EDGE"}, "", "EDGE dualstack []"},
		{"leaving with endpoints", private(endpointA), []string{replaced + "PRIVATE REGIONAL"}, "VPCEndpoints can only be specified with PRIVATE apis.", ""},
		{"leaving after disassociation", private(endpointA), []string{"remove " + ids + " " + endpointA, replaced + "PRIVATE REGIONAL"}, "", "REGIONAL dualstack []"},
		{"wrong type", types("EDGE"), []string{replaced + "0 private"}, "Invalid EndpointTypes specified. Valid options are REGIONAL,EDGE,PRIVATE", ""},
		{"type removed", types("EDGE"), []string{"remove /endpointConfiguration/types/0"}, "Invalid patch operation specified. Must be 'add'|'remove'|'replace'", ""},
		{"type added", types("EDGE"), []string{"add /endpointConfiguration/types/0 PRIVATE"}, "Invalid patch operation specified. Must be 'add'|'remove'|'replace'", ""},
		{"strange type path", types("EDGE"), []string{replaced + "x PRIVATE"}, "Invalid patch path /endpointConfiguration/types/x", ""},
		{"type list", types("EDGE"), []string{"replace /endpointConfiguration/types PRIVATE"}, "Invalid patch path /endpointConfiguration/types", ""},
		{"private and associated at once", types("EDGE"), []string{replaced + "EDGE PRIVATE", "add " + ids + " " + endpointA}, "", "PRIVATE dualstack [" + endpointA + "]"},
		{"associated before private", types("EDGE"), []string{"add " + ids + " " + endpointA, replaced + "EDGE PRIVATE"}, "VPCEndpoints can only be specified with PRIVATE apis.", ""},
		{"associated", private(endpointB), []string{"add " + ids + " " + endpointA}, "", "PRIVATE dualstack [" + endpointB + " " + endpointA + "]"},
		{"associated by path", private(), []string{"add " + ids + "/" + endpointA}, "", "PRIVATE dualstack [" + endpointA + "]"},
		{"associated twice", private(endpointA), []string{"add " + ids + " " + endpointA}, "", "PRIVATE dualstack [" + endpointA + "]"},
		{"association of nothing", private(), []string{"add " + ids + " " + endpointX}, "Invalid VPC endpoint identifier(s) specified: [" + endpointX + "]", ""},
		{"disassociated", private(endpointA, endpointB), []string{"remove " + ids + " " + endpointA}, "", "PRIVATE dualstack [" + endpointB + "]"},
		{"disassociation of nothing", private(endpointA), []string{"remove " + ids + " " + endpointX}, "", "PRIVATE dualstack [" + endpointA + "]"},
		{"association replaced", private(endpointA), []string{"replace " + ids + " " + endpointB}, "Invalid patch operation specified. Must be 'add'|'remove'", ""},
		{"dualstack", types("REGIONAL"), []string{"replace /endpointConfiguration/ipAddressType dualstack"}, "", "REGIONAL dualstack []"},
		{"private over ipv4", private(), []string{"replace /endpointConfiguration/ipAddressType ipv4"}, "Only dualstack ipAddressType is supported for Private APIs.", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newTestAPI(t)
			putEndpoint(t, a.cluster, defaultAccount, endpointA, "10.0.0.5")
			putEndpoint(t, a.cluster, "999999999999", endpointB, "10.1.0.5")
			made, err := a.CreateRestApi(a.ctx, &apigatewayv1.CreateRestApiRequest{Name: new("x"), EndpointConfiguration: c.from})
			if err != nil {
				t.Fatal(err)
			}
			answer, err := a.UpdateRestApi(a.ctx, &apigatewayv1.UpdateRestApiRequest{RestApiId: made.GetId(), PatchOperations: ops(c.patch...)})
			stored, readErr := a.GetRestApi(a.ctx, &apigatewayv1.GetRestApiRequest{RestApiId: made.GetId()})
			if readErr != nil {
				t.Fatal(readErr)
			}
			if c.err != "" {
				wantError(t, err, apierr.KindInvalid, c.err)
				made.Tags = stored.Tags // reads answer an empty map
				if diff := protoDiff(made, stored); diff != "" {
					t.Errorf("a refused PATCH changed the API:\n%s", diff)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			config := answer.GetEndpointConfiguration()
			if got := fmt.Sprintf("%s %s %v", config.GetTypes().GetValues()[0], config.GetIpAddressType(), config.GetVpcEndpointIds()); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if diff := protoDiff(answer, stored); diff != "" {
				t.Errorf("answered and read differ:\n%s", diff)
			}
		})
	}
}

func TestUpdateRestApi(t *testing.T) {
	for _, c := range []struct {
		name  string
		patch []string
		err   string
		check func(*apigatewayv1.RestApi) bool
	}{
		{"name", []string{"replace /name new"}, "", func(a *apigatewayv1.RestApi) bool { return a.GetName() == "new" }},
		{"empty name", []string{"replace /name"}, "API name cannot be an empty string", nil},
		{"description removed", []string{"replace /description x", "remove /description"}, "", func(a *apigatewayv1.RestApi) bool { return a.Description == nil }},
		{"empty description", []string{"replace /description"}, "Description cannot be an empty string", nil},
		{"key source", []string{"replace /apiKeySource AUTHORIZER"}, "", func(a *apigatewayv1.RestApi) bool { return a.GetApiKeySource() == "AUTHORIZER" }},
		{"wrong key source", []string{"replace /apiKeySource BODY"}, "Invalid API key source specified. Valid options are HEADER,AUTHORIZER", nil},
		{"compression", []string{"replace /minimumCompressionSize 0"}, "", func(a *apigatewayv1.RestApi) bool { return a.MinimumCompressionSize != nil }},
		{"compression off", []string{"replace /minimumCompressionSize 10", "replace /minimumCompressionSize"}, "", func(a *apigatewayv1.RestApi) bool { return a.MinimumCompressionSize == nil }},
		{"compression in words", []string{"replace /minimumCompressionSize ten"}, "Invalid minimum compression size, must be between 0 and 10485760", nil},
		{"compression added", []string{"add /minimumCompressionSize 10"}, "Invalid patch operation specified. Must be one of: [replace]", nil},
		{"default endpoint off", []string{"replace /disableExecuteApiEndpoint True"}, "", func(a *apigatewayv1.RestApi) bool { return a.GetDisableExecuteApiEndpoint() }},
		{"media types without element", []string{"add /binaryMediaTypes image/gif"}, "Invalid patch path /binaryMediaTypes", nil},
		{"replaced media type moves to the end", []string{"add /binaryMediaTypes/a~1b", "add /binaryMediaTypes/c~1d", "replace /binaryMediaTypes/a~1b e/f"}, "", func(a *apigatewayv1.RestApi) bool {
			return slices.Equal(a.GetBinaryMediaTypes(), []string{"c/d", "e/f"})
		}},
		{"unknown path", []string{"replace /version 2"}, "Invalid patch path /version", nil},
		{"no tags give an empty map", []string{"replace /name new"}, "", func(a *apigatewayv1.RestApi) bool { return a.Tags != nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newTestAPI(t)
			answer, err := a.UpdateRestApi(a.ctx, &apigatewayv1.UpdateRestApiRequest{RestApiId: a.id, PatchOperations: ops(c.patch...)})
			if c.err != "" {
				wantError(t, err, apierr.KindInvalid, c.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !c.check(answer) {
				t.Errorf("answer %v", answer)
			}
		})
	}
}

func TestPolicy(t *testing.T) {
	a := newTestAPI(t)
	ctx, headers := withHeaders(a.ctx)
	update := func(value string) (*apigatewayv1.RestApi, error) {
		return a.UpdateRestApi(ctx, &apigatewayv1.UpdateRestApiRequest{
			RestApiId: a.id, PatchOperations: []*awsv1.PatchOperation{{Op: new("replace"), Path: new("/policy"), Value: &value}},
		})
	}
	const document = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": ["execute-api:Invoke"], "Resource": ["execute-api:/*"]}]}`
	normal := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"arn:aws:execute-api:us-west-2:123456789012:` + a.id + `/*"}]}`
	answer, err := update(document)
	if err != nil {
		t.Fatal(err)
	}
	escaped := strings.NewReplacer(`"`, `\"`, `/`, `\/`).Replace(normal)
	if answer.GetPolicy() != escaped {
		t.Errorf("answered %s\nwant     %s", answer.GetPolicy(), escaped)
	}
	stored := a.cluster.store.View().Get(Caller{Account: defaultAccount, Region: defaultRegion}.key(statev1.Type_TYPE_REST_API, a.id)).GetRestApi()
	if stored.GetPolicy() != normal {
		t.Errorf("stored %s\nwant   %s", stored.GetPolicy(), normal)
	}
	// What was answered may be sent back, and so may the quoting of AWS's own example.
	for _, text := range []string{answer.GetPolicy(), `"` + strings.ReplaceAll(document, `"`, `\"`) + `"`} {
		again, err := update(text)
		if err != nil || again.GetPolicy() != escaped {
			t.Errorf("%s\ngave %v, error %v", text, again.GetPolicy(), err)
		}
	}
	// What is wrong is said in words, and changes nothing.
	_, err = update(strings.Replace(document, "Allow", "Permit", 1))
	wantError(t, err, apierr.KindInvalid, "Invalid policy document. Please check the policy syntax and ensure that Principals are valid.")
	if w := headers.Get(metaWarning); len(w) == 0 || !strings.Contains(w[len(w)-1], "Effect") {
		t.Errorf("warnings %q", w)
	}
	if cleared, err := update(""); err != nil || cleared.Policy != nil {
		t.Errorf("cleared: %v, error %v", cleared, err)
	}
}

// Names follow the API in the Txn that changes it.
func TestRestApiNames(t *testing.T) {
	a := newTestAPI(t)
	putEndpoint(t, a.cluster, defaultAccount, endpointA, "10.0.0.5")
	public := a.id + ".execute-api.us-west-2.amazonaws.com."
	alias := a.id + "-" + endpointA + ".execute-api.us-west-2.amazonaws.com."
	if got, want := dnsRecords(a.cluster), []string{public + " [] > [127.0.0.1]"}; !slices.Equal(got, want) {
		t.Errorf("after the create: %q", got)
	}
	before := a.cluster.store.View().Index()
	if _, err := a.UpdateRestApi(a.ctx, &apigatewayv1.UpdateRestApiRequest{RestApiId: a.id, PatchOperations: ops(
		"replace /endpointConfiguration/types/0 PRIVATE", "add /endpointConfiguration/vpcEndpointIds "+endpointA)}); err != nil {
		t.Fatal(err)
	}
	if after := a.cluster.store.View().Index(); after != before+1 {
		t.Errorf("%d commits for one PATCH", after-before)
	}
	if _, err := a.DeleteRestApi(a.ctx, &apigatewayv1.DeleteRestApiRequest{RestApiId: a.id}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		alias + " [10.0.0.5] > []", alias + " [] > [10.0.0.5]",
		public + " [127.0.0.1] > []", public + " [] > [127.0.0.1]",
	}
	if got := dnsRecords(a.cluster); !slices.Equal(got, want) {
		t.Errorf("in the end: %q", got)
	}
}

func TestDeleteRestApiTakesItsChildren(t *testing.T) {
	a := newTestAPI(t)
	a.mock(a.root, "GET")
	if _, err := a.CreateDeployment(a.ctx, &apigatewayv1.CreateDeploymentRequest{RestApiId: a.id, StageName: new("prod")}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.CreateRequestValidator(a.ctx, &apigatewayv1.CreateRequestValidatorRequest{RestApiId: a.id, Name: new("v")}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.DeleteRestApi(a.ctx, &apigatewayv1.DeleteRestApiRequest{RestApiId: a.id}); err != nil {
		t.Fatal(err)
	}
	for r := range a.cluster.store.View().Records() {
		if kept := r.GetKey().GetType(); kept != statev1.Type_TYPE_DNS_CHANGE && kept != statev1.Type_TYPE_AUDIT_EVENT {
			t.Errorf("left: %v", state.KeyOf(r.GetKey()))
		}
	}
	_, err := a.DeleteRestApi(a.ctx, &apigatewayv1.DeleteRestApiRequest{RestApiId: a.id})
	wantError(t, err, apierr.KindNotFound, "Invalid API identifier specified 123456789012:"+a.id)
}

// Accounts and regions see their own APIs only.
func TestAccountsAndRegions(t *testing.T) {
	a := newTestAPI(t)
	for _, ctx := range []context.Context{as(a.ctx, "111122223333", defaultRegion), as(a.ctx, defaultAccount, "eu-west-1")} {
		if _, err := a.GetRestApi(ctx, &apigatewayv1.GetRestApiRequest{RestApiId: a.id}); asAPIError(err).Kind != apierr.KindNotFound {
			t.Errorf("error %v", err)
		}
		list, err := a.GetRestApis(ctx, &apigatewayv1.GetRestApisRequest{})
		if err != nil || len(list.GetItem()) != 0 {
			t.Errorf("list %v, error %v", list, err)
		}
	}
	_, err := a.GetRestApi(a.ctx, &apigatewayv1.GetRestApiRequest{RestApiId: strings.ToUpper(a.id)})
	wantError(t, err, apierr.KindNotFound, "Invalid API identifier specified 123456789012:"+strings.ToUpper(a.id))
}

func TestIdempotencyKey(t *testing.T) {
	a := newTestAPI(t)
	ctx := metadata.NewIncomingContext(a.ctx, metadata.Pairs(metaIdempotency, "once"))
	req := &apigatewayv1.CreateRestApiRequest{Name: new("once"), Policy: new(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`)}
	first, err := a.CreateRestApi(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	second, err := a.CreateRestApi(ctx, proto.CloneOf(req))
	if err != nil {
		t.Fatal(err)
	}
	if diff := protoDiff(first, second); diff != "" {
		t.Errorf("the answers differ:\n%s", diff)
	}
	if n := len(slices.Collect(a.cluster.store.View().All(statev1.Type_TYPE_REST_API))); n != 2 { // and that of newTestAPI
		t.Errorf("%d APIs", n)
	}
	// A method has no id of its own, yet its second put is refused without a key.
	put := &apigatewayv1.PutMethodRequest{RestApiId: a.id, ResourceId: a.root, HttpMethod: "GET", AuthorizationType: new("NONE")}
	for range 2 {
		if m, err := a.PutMethod(ctx, put); err != nil || m.GetHttpMethod() != "GET" {
			t.Errorf("method %v, error %v", m, err)
		}
	}
	req.Name = new("other")
	if _, err := a.CreateRestApi(ctx, req); asAPIError(err).Kind != apierr.KindConflict {
		t.Errorf("other parameters: error %v", err)
	}
}

func TestCloneFrom(t *testing.T) {
	a := newTestAPI(t)
	pets, err := a.CreateResource(a.ctx, &apigatewayv1.CreateResourceRequest{RestApiId: a.id, ParentId: a.root, PathPart: new("pets")})
	if err != nil {
		t.Fatal(err)
	}
	validator, err := a.CreateRequestValidator(a.ctx, &apigatewayv1.CreateRequestValidatorRequest{RestApiId: a.id, Name: new("v")})
	if err != nil {
		t.Fatal(err)
	}
	a.mock(pets.GetId(), "GET")
	if _, err := a.UpdateMethod(a.ctx, &apigatewayv1.UpdateMethodRequest{
		RestApiId: a.id, ResourceId: pets.GetId(), HttpMethod: "GET", PatchOperations: ops("replace /requestValidatorId " + validator.GetId()),
	}); err != nil {
		t.Fatal(err)
	}
	clone, err := a.CreateRestApi(a.ctx, &apigatewayv1.CreateRestApiRequest{Name: new("clone"), CloneFrom: new(a.id)})
	if err != nil {
		t.Fatal(err)
	}
	list, err := a.GetResources(a.ctx, &apigatewayv1.GetResourcesRequest{RestApiId: clone.GetId(), Embed: []string{"methods"}})
	if err != nil {
		t.Fatal(err)
	}
	items := list.GetItem()
	if len(items) != 2 || items[0].GetId() != clone.GetRootResourceId() || items[1].GetParentId() != items[0].GetId() || items[1].GetPath() != "/pets" {
		t.Fatalf("resources %v", items)
	}
	if items[0].GetId() == a.root || items[1].GetId() == pets.GetId() {
		t.Error("ids were kept")
	}
	m := items[1].GetResourceMethods()["GET"]
	if m.GetMethodIntegration().GetCacheNamespace() != items[1].GetId() {
		t.Errorf("cache namespace %s", m.GetMethodIntegration().GetCacheNamespace())
	}
	if _, err := a.GetRequestValidator(a.ctx, &apigatewayv1.GetRequestValidatorRequest{RestApiId: clone.GetId(), RequestValidatorId: m.GetRequestValidatorId()}); err != nil {
		t.Errorf("the method's validator: %v", err)
	}
	models, err := a.GetModels(a.ctx, &apigatewayv1.GetModelsRequest{RestApiId: clone.GetId()})
	if err != nil || len(models.GetItem()) != 2 {
		t.Errorf("models %v, error %v", models, err)
	}
	_, err = a.CreateRestApi(a.ctx, &apigatewayv1.CreateRestApiRequest{Name: new("x"), CloneFrom: new("nothing")})
	wantError(t, err, apierr.KindNotFound, "Invalid API identifier specified 123456789012:nothing")
}

func TestGetRestApisPages(t *testing.T) {
	a := newTestAPI(t)
	want := []string{a.id}
	for range 29 {
		made, err := a.CreateRestApi(a.ctx, &apigatewayv1.CreateRestApiRequest{Name: new("x")})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, made.GetId())
	}
	var got []string
	req := &apigatewayv1.GetRestApisRequest{}
	for {
		page, err := a.GetRestApis(a.ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.GetItem() {
			if item.Tags != nil {
				t.Error("a list answers no tags")
			}
			got = append(got, item.GetId())
		}
		if req.Position = page.Position; page.Position == nil {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v\nwant   %v", got, want)
	}
}
