package conformance

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"
	"github.com/google/go-cmp/cmp"
)

const endpointsPath = "/endpointConfiguration/vpcEndpointIds"

// patch is one patch operation.
func patch(op types.Op, path, value string) types.PatchOperation {
	return types.PatchOperation{Op: op, Path: &path, Value: &value}
}

// S58: an association is an update of the API, whoever sends it.
func TestS58_AssociateByEveryClient(t *testing.T) {
	who := account()
	api := cluster(t).API
	sdk := newClients(api, who, seedRegion)
	endpoints := makeEndpoints(t, sdk, 2)
	first, second := endpoints[0], endpoints[1]
	create := func(t *testing.T, associated ...string) string {
		t.Helper()
		out, err := sdk.apigateway.CreateRestApi(t.Context(), &apigateway.CreateRestApiInput{
			Name: aws.String("associated"), EndpointConfiguration: &types.EndpointConfiguration{
				Types: []types.EndpointType{types.EndpointTypePrivate}, VpcEndpointIds: associated,
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return *out.Id
	}
	update := func(t *testing.T, id string, operations ...types.PatchOperation) []string {
		t.Helper()
		out, err := sdk.apigateway.UpdateRestApi(t.Context(), &apigateway.UpdateRestApiInput{RestApiId: &id, PatchOperations: operations})
		if err != nil {
			t.Fatal(err)
		}
		return out.EndpointConfiguration.VpcEndpointIds
	}

	t.Run("CLI", func(t *testing.T) {
		t.Parallel()
		c := newCLI(t, api, who, seedRegion)
		id := create(t, first)
		for _, tc := range []struct {
			op, value string
			want      []string
		}{{"add", second, []string{first, second}}, {"remove", first, []string{second}}} {
			out := c.run(fmt.Sprintf(`aws apigateway update-rest-api --rest-api-id %s --patch-operations "op='%s',path='%s',value='%s'"`, id, tc.op, endpointsPath, tc.value))
			if diff := cmp.Diff(endpointConfiguration(tc.want...), configurationOf(out)); diff != "" {
				t.Errorf("%s: %s", tc.op, diff)
			}
		}
	})
	t.Run("Go", func(t *testing.T) {
		t.Parallel()
		id := create(t, first)
		if diff := cmp.Diff([]string{first, second}, update(t, id, patch(types.OpAdd, endpointsPath, second))); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{second}, update(t, id, patch(types.OpRemove, endpointsPath, first))); diff != "" {
			t.Error(diff)
		}
	})
	for _, generation := range javascripts {
		t.Run("JavaScript "+generation, func(t *testing.T) {
			t.Parallel()
			var facts struct {
				ID             string
				Added, Removed []string
				Tags           map[string]string
			}
			node(t, generation, api, who, &facts, "associate", first, second)
			if diff := cmp.Diff([]string{first, second}, facts.Added); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{second}, facts.Removed); diff != "" {
				t.Error(diff)
			}
			if facts.Tags == nil || len(facts.Tags) != 0 {
				t.Errorf("tags %v, want an empty object", facts.Tags)
			}
		})
	}
	// Terraform replaces types by index and compares sets, so it may add and
	// remove in one request.
	t.Run("Terraform", func(t *testing.T) {
		t.Parallel()
		out, err := sdk.apigateway.CreateRestApi(t.Context(), &apigateway.CreateRestApiInput{
			Name: aws.String("terraform"), EndpointConfiguration: &types.EndpointConfiguration{Types: []types.EndpointType{types.EndpointTypeRegional}},
		})
		if err != nil {
			t.Fatal(err)
		}
		toPrivate := patch(types.OpReplace, "/endpointConfiguration/types/0", "PRIVATE")
		if diff := cmp.Diff([]string{first}, update(t, *out.Id, toPrivate, patch(types.OpAdd, endpointsPath, first))); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{second}, update(t, *out.Id, patch(types.OpRemove, endpointsPath, first), patch(types.OpAdd, endpointsPath, second))); diff != "" {
			t.Error(diff)
		}
		if got := update(t, *out.Id, patch(types.OpRemove, endpointsPath, second), patch(types.OpReplace, "/endpointConfiguration/types/0", "REGIONAL")); len(got) != 0 {
			t.Errorf("a REGIONAL API is associated with %v", got)
		}
	})
}
