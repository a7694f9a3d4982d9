package service

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

func TestMatchPath(t *testing.T) {
	for _, c := range []struct {
		row, path string
		want      string // arguments joined by a blank; "-": no match
	}{
		{"/name", "/name", ""},
		{"/name", "/names", "-"},
		{"/name", "name", "-"},
		{"/name", "/name/", "-"},
		{"/name", "", "-"},
		{"/binaryMediaTypes/{}", "/binaryMediaTypes/image~1png", "image~1png"},
		{"/binaryMediaTypes/{}", "/binaryMediaTypes", "-"},
		{"/binaryMediaTypes/{}", "/binaryMediaTypes/", "-"},
		{"/binaryMediaTypes/{}", "/binaryMediaTypes/image/png", "-"},
		{"/{...}/{}/throttling/burstLimit", "/*/*/throttling/burstLimit", "* *"},
		{"/{...}/{}/throttling/burstLimit", "/a/b/c/GET/throttling/burstLimit", "a/b/c GET"},
		{"/{...}/{}/throttling/burstLimit", "/GET/throttling/burstLimit", "-"},
		{"/{...}/{}/throttling/burstLimit", "//GET/throttling/burstLimit", "-"},
		{"/{...}/{}/throttling/burstLimit", "/a//throttling/burstLimit", "-"},
		{"/{...}/{}/throttling/burstLimit", "/a/GET/throttling/rateLimit", "-"},
		{"/{...}/{}", "/a", "-"},
		{"/{...}/{}", "/a/GET", "a GET"},
		{"/{...}", "/a/b", "a/b"},
	} {
		args, ok := matchPath(c.row, strings.Split(c.path, "/"))
		got := strings.Join(args, " ")
		if !ok {
			got = "-"
		}
		if got != c.want {
			t.Errorf("row %s, path %q: %q, want %q", c.row, c.path, got, c.want)
		}
	}
}

// A PATCH is applied whole or not at all, whatever fails and however late.
func TestPatchIsAtomic(t *testing.T) {
	before := fuzzAPI()
	p := restAPIPatch{}
	_, err := p.table().apply(before, ops(
		"replace /name other",
		"add /binaryMediaTypes/image~1gif",
		"replace /endpointConfiguration/types/0 PRIVATE",
		"add /endpointConfiguration/vpcEndpointIds vpce-0123456789abcdef0",
		"replace /nothing x",
	))
	wantError(t, err, apierr.KindInvalid, "Invalid patch path /nothing")
	if diff := protoDiff(fuzzAPI(), before); diff != "" {
		t.Errorf("a part was applied:\n%s", diff)
	}
}

func TestPatchCount(t *testing.T) {
	var list []*awsv1.PatchOperation
	for range maxPatchOperations + 1 {
		list = append(list, ops("replace /name x")...)
	}
	p := restAPIPatch{}
	_, err := p.table().apply(fuzzAPI(), list)
	wantError(t, err, apierr.KindInvalid, "Too many patch operations: 1001, at most 1000 are allowed")
}

func TestPatchWithoutPathOrOp(t *testing.T) {
	p := restAPIPatch{}
	_, err := p.table().apply(fuzzAPI(), []*awsv1.PatchOperation{{Op: new("replace"), Value: new("x")}})
	wantError(t, err, apierr.KindInvalid, "Invalid patch path null")
	_, err = p.table().apply(fuzzAPI(), []*awsv1.PatchOperation{{Path: new("/name"), Value: new("x")}})
	wantError(t, err, apierr.KindInvalid, "Invalid patch operation specified. Must be one of: [replace]")
	_, err = modelPatch.apply(&apigatewayv1.Model{}, []*awsv1.PatchOperation{{}})
	wantError(t, err, apierr.KindInvalid, "Invalid patch path  'null' specified for op 'null'. Please choose supported operations")
}

func fuzzAPI() *apigatewayv1.RestApi {
	a, err := newRestAPI(&apigatewayv1.CreateRestApiRequest{
		Name:             new("fuzzed"),
		Description:      new("an API"),
		BinaryMediaTypes: &awsv1.StringList{Values: []string{"image/png", "a~b/c"}},
	}, "abcde12345")
	if err != nil {
		panic(err)
	}
	return a
}

func fuzzMethod() *apigatewayv1.Method {
	return &apigatewayv1.Method{
		HttpMethod: new("GET"), AuthorizationType: new("NONE"),
		RequestParameters: &awsv1.BoolMap{Entries: map[string]bool{"method.request.querystring.q": true}},
		RequestModels:     &awsv1.StringMap{Entries: map[string]string{"application/json": "Empty"}},
		MethodIntegration: &apigatewayv1.Integration{
			Type:             new("HTTP"),
			Uri:              new("http://example.com/"),
			RequestTemplates: &awsv1.NullableStringMap{Entries: map[string]*awsv1.NullableString{"application/json": {}}},
		},
	}
}

func fuzzStage() *apigatewayv1.Stage {
	return &apigatewayv1.Stage{
		StageName: new("prod"), DeploymentId: new("abc123"),
		Variables: &awsv1.StringMap{Entries: map[string]string{"a": "b"}},
	}
}

// FuzzPatch gives arbitrary operations to every table. None may panic, change
// what it was given, or leave something that can't be stored; what it refuses,
// it refuses with an error of its own.
func FuzzPatch(f *testing.F) {
	for _, seed := range []string{
		"replace\n/name\nx\n",
		"add\n/binaryMediaTypes/image~1gif\n\n",
		"replace\n/endpointConfiguration/types/EDGE\nPRIVATE\n\nadd\n/endpointConfiguration/vpcEndpointIds\nvpce-0123456789abcdef0\n",
		"replace\n/policy\n{\"Statement\":[]}\n",
		"add\n/requestModels/application~1json\nEmpty\n",
		"remove\n/requestParameters/method.request.querystring.q\n\n",
		"replace\n/timeoutInMillis\n99999999999999999999\n",
		"replace\n/canarySettings/percentTraffic\nNaN\n\ncopy\n/variables\n\n/canarySettings/stageVariableOverrides",
		"replace\n/~1a~1~0/GET/throttling/rateLimit\n1e400\n",
		"add\n/variables/~01\n/\n",
		"\n\n\n",
		"remove\n///\n\n",
	} {
		f.Add(seed)
	}
	c := newFakeCluster()
	server := NewAPIGateway(Config{Cluster: c})
	made, err := server.CreateRestApi(f.Context(), &apigatewayv1.CreateRestApiRequest{Name: new("fuzzed")})
	if err != nil {
		f.Fatal(err)
	}
	record := c.store.View().Get(Caller{Account: defaultAccount, Region: defaultRegion}.key(statev1.Type_TYPE_REST_API, made.GetId()))
	api := &restAPI{RestApi: record.GetRestApi(), record: record, view: c.store.View(), who: Caller{Account: defaultAccount, Region: defaultRegion}}

	f.Fuzz(func(t *testing.T, text string) {
		// Four lines an operation: op, path, value, from. An empty line is an absent member.
		var list []*awsv1.PatchOperation
		for lines := range slices.Chunk(strings.Split(text, "\n"), 4) {
			op := &awsv1.PatchOperation{}
			for i, member := range []**string{&op.Op, &op.Path, &op.Value, &op.From} {
				if i < len(lines) && lines[i] != "" {
					*member = &lines[i]
				}
			}
			list = append(list, op)
		}
		p := restAPIPatch{who: api.who}
		fuzzTable(t, p.table(), fuzzAPI(), list)
		fuzzTable(t, methodPatch(api), fuzzMethod(), list)
		fuzzTable(t, methodResponsePatch(api), &apigatewayv1.MethodResponse{StatusCode: new("200")}, list)
		fuzzTable(t, integrationPatch(fuzzMethod()), fuzzMethod().GetMethodIntegration(), list)
		fuzzTable(t, integrationResponsePatch, &apigatewayv1.IntegrationResponse{StatusCode: new("200")}, list)
		fuzzTable(t, stagePatch(func(string) bool { return true }), fuzzStage(), list)
		fuzzTable(t, api.tree().patchTable(), api.child(statev1.Type_TYPE_RESOURCE, made.GetRootResourceId()).GetResource(), list)
		fuzzTable(t, modelPatch, &apigatewayv1.Model{Name: new("m")}, list)
		fuzzTable(t, validatorPatch, &apigatewayv1.RequestValidator{Name: new("v")}, list)
		fuzzTable(t, deploymentPatch, &apigatewayv1.Deployment{Id: new("abc123")}, list)
		fuzzTable(t, accountPatch, &apigatewayv1.Account{Features: []string{"UsagePlans"}}, list)
	})
}

func fuzzTable[M proto.Message](t *testing.T, table *patchTable[M], m M, list []*awsv1.PatchOperation) {
	t.Helper()
	before := proto.CloneOf(m)
	after, err := table.apply(m, list)
	if !proto.Equal(before, m) {
		t.Errorf("%T was changed in place", m)
	}
	if err != nil {
		if asAPIError(err).Kind == apierr.KindInternal {
			t.Errorf("%T: %v", m, err)
		}
		return
	}
	if _, err := proto.Marshal(after); err != nil && validUTF8(list) {
		t.Errorf("%T can't be stored: %v", m, err)
	}
}

// validUTF8: a request that isn't never gets here, grpc and JSON refuse it.
func validUTF8(list []*awsv1.PatchOperation) bool {
	_, err := proto.Marshal(&apigatewayv1.UpdateRestApiRequest{PatchOperations: list})
	return err == nil
}
