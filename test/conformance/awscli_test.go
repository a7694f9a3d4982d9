package conformance

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"
	"github.com/google/go-cmp/cmp"
)

// The region and the literal ids of the seed document.
const (
	seedRegion = "us-west-2"
	seedFirst  = "vpce-0212a4ababd5b8c3e"
	seedSecond = "vpce-0393a628149c867ee"
	seedThird  = "vpce-01d622316a7df47f9"
)

// configurationOf is the endpointConfiguration that the CLI printed. Older
// releases do not know ipAddressType, which every private API has, and drop it.
func configurationOf(out map[string]any) any {
	c, ok := out["endpointConfiguration"].(map[string]any)
	if _, printed := c["ipAddressType"]; ok && !printed {
		c["ipAddressType"] = "dualstack"
	}
	return c
}

// endpointConfiguration is an output's part of that name.
func endpointConfiguration(ids ...string) map[string]any {
	out := map[string]any{"types": []any{"PRIVATE"}, "ipAddressType": "dualstack"}
	if len(ids) > 0 {
		list := make([]any, len(ids))
		for i, id := range ids {
			list[i] = id
		}
		out["vpcEndpointIds"] = list
	}
	return out
}

// isTime accepts what version 1 of the CLI shows (a number) and version 2 (ISO 8601).
func isTime(v any) bool {
	switch v := v.(type) {
	case float64:
		return v > 1e9
	case string:
		_, err := time.Parse(time.RFC3339, v)
		return err == nil
	}
	return false
}

// S39: the seed document's command, letter by letter.
func TestS39_CreateRestApiByCLI(t *testing.T) {
	t.Parallel()
	c := newCLI(t, cluster(t).API, account(), "us-east-1")
	out := c.run(`aws apigateway create-rest-api \
        --name 'Simple PetStore (AWS CLI, Private)' \
        --description 'Simple private PetStore API' \
        --region us-west-2 \
        --endpoint-configuration '{ "types": ["PRIVATE"] }'`)
	if id, _ := out["id"].(string); len(id) != 10 {
		t.Errorf("id %v: want 10 characters", out["id"])
	}
	if !isTime(out["createdDate"]) {
		t.Errorf("createdDate %v", out["createdDate"])
	}
	if out["name"] != "Simple PetStore (AWS CLI, Private)" || out["description"] != "Simple private PetStore API" {
		t.Errorf("output %v", out)
	}
	if diff := cmp.Diff(endpointConfiguration(), configurationOf(out)); diff != "" {
		t.Error(diff)
	}
}

// S44: the sample outputs show the type as a text and the date in ISO 8601; on
// the wire the one is a list and the other a number of seconds.
func TestS44_SampleOutputOnTheWire(t *testing.T) {
	c := newClients(cluster(t).API, account(), seedRegion)
	ctx, x := withExchange(t.Context())
	if _, err := c.apigateway.CreateRestApi(ctx, &apigateway.CreateRestApiInput{
		Name: aws.String("Simple PetStore (node.js SDK, private)"), Description: aws.String("Demo"),
		EndpointConfiguration: &types.EndpointConfiguration{Types: []types.EndpointType{types.EndpointTypePrivate}},
	}); err != nil {
		t.Fatal(err)
	}
	var body map[string]json.RawMessage
	if err := json.Unmarshal(x.body, &body); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"createdDate", "description", "endpointConfiguration", "id", "name"} {
		if _, ok := body[key]; !ok {
			t.Errorf("no %s in %s", key, x.body)
		}
	}
	if date := string(body["createdDate"]); len(date) != 10 || strings.Trim(date, "0123456789") != "" {
		t.Errorf("createdDate %s: want whole seconds since 1970", date)
	}
	var configuration map[string]json.RawMessage
	if err := json.Unmarshal(body["endpointConfiguration"], &configuration); err != nil {
		t.Fatal(err)
	}
	if got := string(configuration["types"]); got != `["PRIVATE"]` {
		t.Errorf("types %s", got)
	}
}

// S65: endpoints are associated at creation and kept in the order given. Their
// ids are the seed document's, so the cluster takes endpoints it doesn't know.
func TestS65_AssociateAtCreation(t *testing.T) {
	t.Parallel()
	who := account()
	c := newCLI(t, permissive.addresses(t).API, who, "us-east-1")
	out := c.run(`aws apigateway create-rest-api \
    --name Petstore \
    --endpoint-configuration '{ "types": ["PRIVATE"], "vpcEndpointIds" : ["vpce-0212a4ababd5b8c3e", "vpce-0393a628149c867ee"] }' \
    --region us-west-2`)
	id, _ := out["id"].(string)
	if len(id) != 10 || out["name"] != "Petstore" || out["apiKeySource"] != "HEADER" || !isTime(out["createdDate"]) {
		t.Errorf("output %v", out)
	}
	if diff := cmp.Diff(endpointConfiguration(seedFirst, seedSecond), configurationOf(out)); diff != "" {
		t.Error(diff)
	}
	// What the CLI prints of a date depends on its version: the number is the wire's.
	ctx, x := withExchange(t.Context())
	if _, err := newClients(permissive.addresses(t).API, who, seedRegion).apigateway.GetRestApi(ctx, &apigateway.GetRestApiInput{RestApiId: &id}); err != nil {
		t.Fatal(err)
	}
	var wire struct{ CreatedDate float64 }
	if err := json.Unmarshal(x.body, &wire); err != nil || wire.CreatedDate < 1e9 {
		t.Errorf("createdDate on the wire: %v in %s", err, x.body)
	}
}

// petstore makes the API that the seed document's updates start from.
func petstore(t *testing.T, who string, endpoints ...string) string {
	t.Helper()
	out, err := newClients(permissive.addresses(t).API, who, seedRegion).apigateway.CreateRestApi(t.Context(), &apigateway.CreateRestApiInput{
		Name: aws.String("Petstore"),
		EndpointConfiguration: &types.EndpointConfiguration{
			Types: []types.EndpointType{types.EndpointTypePrivate}, VpcEndpointIds: endpoints,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return *out.Id
}

// updatePetstore runs one of the seed document's updates. Only the id of the
// API can't be its own.
func updatePetstore(t *testing.T, who, id, command string) map[string]any {
	t.Helper()
	c := newCLI(t, permissive.addresses(t).API, who, "us-east-1")
	return c.run(strings.Replace(command, "u67n3ov968", id, 1))
}

const (
	seedAssociate = `aws apigateway update-rest-api \
    --rest-api-id u67n3ov968 \
    --patch-operations "op='add',path='/endpointConfiguration/vpcEndpointIds',value='vpce-01d622316a7df47f9'" \
    --region us-west-2`
	seedDisassociate = `aws apigateway update-rest-api \
    --rest-api-id u67n3ov968 \
    --patch-operations "op='remove',path='/endpointConfiguration/vpcEndpointIds',value='vpce-0393a628149c867ee'" \
    --region us-west-2`
)

// S66: the shorthand's quotes are handled, the new id is the last.
func TestS66_AssociateByCLI(t *testing.T) {
	t.Parallel()
	who := account()
	out := updatePetstore(t, who, petstore(t, who, seedFirst, seedSecond), seedAssociate)
	if diff := cmp.Diff(endpointConfiguration(seedFirst, seedSecond, seedThird), configurationOf(out)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(any(map[string]any{}), out["tags"]); diff != "" {
		t.Errorf("tags: %s", diff)
	}
}

// S67: the id is the operation's value; the others keep their order.
func TestS67_DisassociateByCLI(t *testing.T) {
	t.Parallel()
	who := account()
	out := updatePetstore(t, who, petstore(t, who, seedFirst, seedSecond, seedThird), seedDisassociate)
	if diff := cmp.Diff(endpointConfiguration(seedFirst, seedThird), configurationOf(out)); diff != "" {
		t.Error(diff)
	}
}

// S68: the fields of an update's output. The document's number for
// apiKeySource is a slip: it is HEADER.
func TestS68_UpdateOutput(t *testing.T) {
	t.Parallel()
	who := account()
	id := petstore(t, who, seedFirst, seedSecond)
	out := updatePetstore(t, who, id, seedAssociate)
	for _, key := range []string{"name", "apiKeySource", "tags", "createdDate", "endpointConfiguration", "id"} {
		if _, ok := out[key]; !ok {
			t.Errorf("no %s in %v", key, slices.Sorted(maps.Keys(out)))
		}
	}
	if out["apiKeySource"] != "HEADER" || out["id"] != id || out["name"] != "Petstore" || !isTime(out["createdDate"]) {
		t.Errorf("output %v", out)
	}
}

// Without that setting an endpoint must exist.
func TestUnknownEndpointIsRefused(t *testing.T) {
	t.Parallel()
	c := newCLI(t, cluster(t).API, account(), seedRegion)
	said := c.fails(`aws apigateway create-rest-api --name Petstore \
    --endpoint-configuration '{ "types": ["PRIVATE"], "vpcEndpointIds" : ["vpce-0212a4ababd5b8c3e"] }'`)
	if !strings.Contains(said, "BadRequestException") || !strings.Contains(said, seedFirst) {
		t.Errorf("the CLI says %q", said)
	}
}
