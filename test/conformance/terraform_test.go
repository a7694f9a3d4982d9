package conformance

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// terraform plays the calls of Terraform's AWS provider, one by one.
type terraform struct {
	t *testing.T
	clients
}

// call makes a call that must succeed.
func (tf terraform) call(service, operation string, params map[string]any) map[string]any {
	tf.t.Helper()
	out, err := tf.invoke(tf.t.Context(), service, operation, params)
	if err != nil {
		tf.t.Fatalf("%s: %v", operation, err)
	}
	if out["Error"] != nil {
		tf.t.Fatalf("%s: %v", operation, out["Error"])
	}
	return out
}

func (tf terraform) ec2(operation string, params map[string]any) map[string]any {
	tf.t.Helper()
	return tf.call("ec2", operation, params)
}

func (tf terraform) api(operation string, params map[string]any) map[string]any {
	tf.t.Helper()
	return tf.call("apigateway", operation, params)
}

// refused makes a call that must fail and returns the error's code.
func (tf terraform) refused(service, operation string, params map[string]any) string {
	tf.t.Helper()
	out, err := tf.invoke(tf.t.Context(), service, operation, params)
	if err != nil {
		tf.t.Fatalf("%s: %v", operation, err)
	}
	if out["Error"] == nil {
		tf.t.Fatalf("%s should fail, answers %v", operation, out)
	}
	return text(tf.t, out, "Error", "Code")
}

// one returns the only element of a list: the provider fails on none and on two.
func (tf terraform) one(answer map[string]any, list string) map[string]any {
	tf.t.Helper()
	elements, _ := answer[list].([]any)
	if len(elements) != 1 {
		tf.t.Fatalf("%d %s, want one: %v", len(elements), list, answer)
	}
	element, _ := elements[0].(map[string]any)
	return element
}

type params = map[string]any

func filters(namesAndValues ...string) []any {
	var out []any
	for i := 0; i < len(namesAndValues); i += 2 {
		out = append(out, params{"Name": namesAndValues[i], "Values": []any{namesAndValues[i+1]}})
	}
	return out
}

// What the provider sends for a VPC with its subnet, security group and
// endpoint: each create is read back through several calls, and what Postern
// does not simulate must still be there to be read.
func TestTerraformNetwork(t *testing.T) {
	tf := terraform{t, newClients(cluster(t).API, account(), seedRegion)}
	identity := tf.call("sts", "GetCallerIdentity", nil)
	if len(text(t, identity, "Account")) != 12 {
		t.Errorf("identity %v", identity)
	}

	vpc := text(t, tf.ec2("CreateVpc", params{
		"CidrBlock": "10.7.0.0/16", "InstanceTenancy": "default", "AmazonProvidedIpv6CidrBlock": false,
		"TagSpecifications": []any{params{"ResourceType": "vpc", "Tags": []any{params{"Key": "Name", "Value": "private"}}}},
	}), "Vpc", "VpcId")
	tf.eventually("VPC available", func() bool {
		return tf.one(tf.ec2("DescribeVpcs", params{"VpcIds": []any{vpc}}), "Vpcs")["State"] == "available"
	})
	tf.ec2("ModifyVpcAttribute", params{"VpcId": vpc, "EnableDnsHostnames": params{"Value": true}})
	for attribute, want := range map[string]bool{"enableDnsHostnames": true, "enableDnsSupport": true, "enableNetworkAddressUsageMetrics": false} {
		out := tf.ec2("DescribeVpcAttribute", params{"VpcId": vpc, "Attribute": attribute})
		member := strings.ToUpper(attribute[:1]) + attribute[1:]
		if got := at(t, out, member, "Value"); got != want {
			t.Errorf("%s is %v, want %v", attribute, got, want)
		}
	}
	acl := tf.one(tf.ec2("DescribeNetworkAcls", params{"Filters": filters("default", "true", "vpc-id", vpc)}), "NetworkAcls")
	table := tf.one(tf.ec2("DescribeRouteTables", params{"Filters": filters("association.main", "true", "vpc-id", vpc)}), "RouteTables")
	group := tf.one(tf.ec2("DescribeSecurityGroups", params{"Filters": filters("group-name", "default", "vpc-id", vpc)}), "SecurityGroups")
	for _, id := range []string{text(t, acl, "NetworkAclId"), text(t, table, "RouteTableId"), text(t, group, "GroupId")} {
		if !strings.Contains(id, "-") {
			t.Errorf("id %q", id)
		}
	}

	subnet := text(t, tf.ec2("CreateSubnet", params{"VpcId": vpc, "CidrBlock": "10.7.1.0/24", "AvailabilityZone": "us-west-2b"}), "Subnet", "SubnetId")
	read := tf.one(tf.ec2("DescribeSubnets", params{"SubnetIds": []any{subnet}}), "Subnets")
	if read["State"] != "available" || read["AvailabilityZone"] != "us-west-2b" || read["MapPublicIpOnLaunch"] != false || text(t, read, "SubnetArn") == "" {
		t.Errorf("subnet %v", read)
	}

	https := tf.ec2("CreateSecurityGroup", params{"GroupName": "terraform-20261122", "Description": "Managed by Terraform", "VpcId": vpc})["GroupId"]
	everything := params{"IpProtocol": "-1", "IpRanges": []any{params{"CidrIp": "0.0.0.0/0"}}}
	tf.ec2("RevokeSecurityGroupEgress", params{"GroupId": https, "IpPermissions": []any{everything}})
	tf.ec2("AuthorizeSecurityGroupIngress", params{"GroupId": https, "IpPermissions": []any{
		params{"IpProtocol": "tcp", "FromPort": 443.0, "ToPort": 443.0, "IpRanges": []any{params{"CidrIp": "10.7.0.0/16"}}},
	}})
	read = tf.one(tf.ec2("DescribeSecurityGroups", params{"GroupIds": []any{https}}), "SecurityGroups")
	want := []any{map[string]any{
		"IpProtocol": "tcp", "FromPort": 443.0, "ToPort": 443.0, "IpRanges": []any{map[string]any{"CidrIp": "10.7.0.0/16"}},
		"Ipv6Ranges": []any{}, "PrefixListIds": []any{}, "UserIdGroupPairs": []any{},
	}}
	if diff := cmp.Diff(any(want), read["IpPermissions"]); diff != "" {
		t.Errorf("ingress (-want +got):\n%s", diff)
	}
	if egress, _ := read["IpPermissionsEgress"].([]any); len(egress) != 0 {
		t.Errorf("egress %v", egress)
	}

	endpoint := text(t, tf.ec2("CreateVpcEndpoint", params{
		"ClientToken": "terraform-1", "VpcId": vpc, "VpcEndpointType": "Interface", "ServiceName": "com.amazonaws.us-west-2.execute-api",
		"PrivateDnsEnabled": false, "SubnetIds": []any{subnet}, "SecurityGroupIds": []any{https},
	}), "VpcEndpoint", "VpcEndpointId")
	available := func() bool {
		read = tf.one(tf.ec2("DescribeVpcEndpoints", params{"VpcEndpointIds": []any{endpoint}}), "VpcEndpoints")
		return strings.EqualFold(text(t, read, "State"), "available")
	}
	tf.eventually("endpoint available", available)
	if lists, _ := tf.ec2("DescribePrefixLists", params{"Filters": filters("prefix-list-name", "com.amazonaws.us-west-2.execute-api")})["PrefixLists"].([]any); len(lists) != 0 {
		t.Errorf("prefix lists %v", lists)
	}
	interfaces := tf.ec2("DescribeNetworkInterfaces", params{"NetworkInterfaceIds": read["NetworkInterfaceIds"]})
	if eni := tf.one(interfaces, "NetworkInterfaces"); eni["SubnetId"] != subnet || eni["RequesterManaged"] != true {
		t.Errorf("interface %v", eni)
	}
	tf.ec2("ModifyVpcEndpoint", params{"VpcEndpointId": endpoint, "PrivateDnsEnabled": true})
	tf.eventually("endpoint available again", available)
	if read["PrivateDnsEnabled"] != true {
		t.Errorf("endpoint %v", read)
	}

	tf.ec2("DeleteVpcEndpoints", params{"VpcEndpointIds": []any{endpoint}})
	tf.eventually("endpoint gone", func() bool {
		out, err := tf.invoke(t.Context(), "ec2", "DescribeVpcEndpoints", params{"VpcEndpointIds": []any{endpoint}})
		if err != nil {
			t.Fatal(err)
		}
		if failure, ok := out["Error"].(map[string]any); ok {
			return failure["Code"] == "InvalidVpcEndpointId.NotFound"
		}
		return text(t, out, "VpcEndpoints", 0, "State") == "deleted"
	})
	tf.ec2("DeleteSecurityGroup", params{"GroupId": https})
	tf.ec2("DeleteSubnet", params{"SubnetId": subnet})
	tf.ec2("DeleteVpc", params{"VpcId": vpc})
	if code := tf.refused("ec2", "DescribeVpcs", params{"VpcIds": []any{vpc}}); code != "InvalidVpcID.NotFound" {
		t.Errorf("a deleted VPC: %s", code)
	}
}

func (tf terraform) eventually(what string, holds func() bool) {
	tf.t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(deadline) {
			tf.t.Fatalf("not yet after a minute: %s", what)
		}
	}
}

// What the provider sends for a REST API: types by index, endpoints by value,
// a policy that it unescapes by itself and clears by an empty text.
func TestTerraformRestAPI(t *testing.T) {
	who := account()
	tf := terraform{t, newClients(cluster(t).API, who, seedRegion)}
	endpoints := makeEndpoints(t, tf.clients, 2)
	made := tf.api("CreateRestApi", params{
		"name": "petstore", "apiKeySource": "HEADER", "endpointConfiguration": params{"types": []any{"EDGE"}}, "tags": params{"team": "a"},
	})
	id := text(t, made, "id")
	read := tf.api("GetRestApi", params{"restApiId": id})
	if at(t, read, "tags", "team") != "a" || text(t, read, "rootResourceId") == "" {
		t.Errorf("API %v", read)
	}
	root := ""
	for _, r := range tf.api("GetResources", params{"restApiId": id})["items"].([]any) {
		if text(t, r, "path") == "/" {
			root = text(t, r, "id")
		}
	}
	if root != made["rootResourceId"] {
		t.Errorf("root %s of %v", root, made)
	}

	update := func(operations ...any) map[string]any {
		t.Helper()
		return tf.api("UpdateRestApi", params{"restApiId": id, "patchOperations": operations})
	}
	op := func(op, path, value string) any { return params{"op": op, "path": path, "value": value} }
	for _, tc := range []struct {
		name       string
		operations []any
		want       map[string]any
	}{
		{"to REGIONAL", []any{op("replace", "/endpointConfiguration/types/0", "REGIONAL")}, map[string]any{"types": []any{"REGIONAL"}, "ipAddressType": "ipv4"}},
		{"to PRIVATE", []any{op("replace", "/endpointConfiguration/types/0", "PRIVATE")}, endpointConfiguration()},
		{"add", []any{op("add", endpointsPath, endpoints[0])}, endpointConfiguration(endpoints[0])},
		{"remove and add", []any{op("remove", endpointsPath, endpoints[0]), op("add", endpointsPath, endpoints[1])}, endpointConfiguration(endpoints[1])},
		{"the rest of an update", []any{
			op("replace", "/name", "petstore2"), op("replace", "/description", "new"), op("replace", "/disableExecuteApiEndpoint", "false"),
			op("replace", "/minimumCompressionSize", "1024"), op("add", "/binaryMediaTypes/image~1png", "image/png"),
		}, endpointConfiguration(endpoints[1])},
	} {
		read = update(tc.operations...)
		if diff := cmp.Diff(any(tc.want), read["endpointConfiguration"]); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
	if read["name"] != "petstore2" || read["minimumCompressionSize"] != 1024.0 {
		t.Errorf("updated %v", read)
	}

	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/*"}]}`
	update(op("replace", "/policy", policy))
	// The provider puts quotes around what it reads and parses that as a JSON text.
	quoted := `"` + text(t, tf.api("GetRestApi", params{"restApiId": id}), "policy") + `"`
	var document string
	if err := json.Unmarshal([]byte(quoted), &document); err != nil {
		t.Fatalf("the policy is not escaped as the provider expects: %v in %s", err, quoted)
	}
	var parsed struct{ Statement []struct{ Resource string } }
	if err := json.Unmarshal([]byte(document), &parsed); err != nil || parsed.Statement[0].Resource != "arn:aws:execute-api:us-west-2:"+who+":"+id+"/*" {
		t.Errorf("policy %s: %v", document, err)
	}

	mockMethod(t, tf.clients, id, root)
	deployment := text(t, tf.api("CreateDeployment", params{"restApiId": id, "description": "by Terraform"}), "id")
	tf.api("GetDeployment", params{"restApiId": id, "deploymentId": deployment})
	tf.api("CreateStage", params{"restApiId": id, "deploymentId": deployment, "stageName": "prod", "cacheClusterEnabled": false, "tracingEnabled": false})
	tf.api("UpdateStage", params{"restApiId": id, "stageName": "prod", "patchOperations": []any{op("replace", "/variables/lb", "10.0.0.1"), op("replace", "/description", "d")}})
	if stage := tf.api("GetStage", params{"restApiId": id, "stageName": "prod"}); at(t, stage, "variables", "lb") != "10.0.0.1" {
		t.Errorf("stage %v", stage)
	}
	arn := "arn:aws:apigateway:us-west-2::/restapis/" + id
	tf.api("TagResource", params{"resourceArn": arn, "tags": params{"team": "b"}})
	tf.api("UntagResource", params{"resourceArn": arn, "tagKeys": []any{"team"}})
	if tags := tf.api("GetRestApi", params{"restApiId": id})["tags"]; !cmp.Equal(tags, any(map[string]any{})) {
		t.Errorf("tags %v", tags)
	}

	if got := update(op("replace", "/policy", "")); got["policy"] != nil {
		t.Errorf("a cleared policy reads %v", got["policy"])
	}
	tf.api("DeleteStage", params{"restApiId": id, "stageName": "prod"})
	tf.api("DeleteDeployment", params{"restApiId": id, "deploymentId": deployment})
	tf.api("DeleteRestApi", params{"restApiId": id})
	for _, operation := range []string{"GetRestApi", "DeleteRestApi"} {
		if code := tf.refused("apigateway", operation, params{"restApiId": id}); code != "NotFoundException" {
			t.Errorf("%s of a deleted API: %s", operation, code)
		}
	}
}
