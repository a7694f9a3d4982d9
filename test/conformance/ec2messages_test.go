package conformance

import (
	"fmt"
	"strings"
	"testing"
)

// TestEC2Messages asks EC2 for what it refuses, through the SDK, and compares
// status, code and text.
func TestEC2Messages(t *testing.T) {
	who := account()
	f := &fixture{t: t, clients: newClients(cluster(t).API, who, region), ids: map[string]string{"account": who}}
	tf := terraform{t, f.clients}
	id := func(name, operation string, p params, path ...any) {
		t.Helper()
		f.ids[name] = text(t, tf.ec2(operation, f.fill(p).(map[string]any)), path...)
	}
	id("vpc", "CreateVpc", params{"CidrBlock": "10.0.0.0/16"}, "Vpc", "VpcId")
	id("a", "CreateSubnet", params{"VpcId": "{vpc}", "CidrBlock": "10.0.1.0/24", "AvailabilityZone": "us-east-1a"}, "Subnet", "SubnetId")
	id("a2", "CreateSubnet", params{"VpcId": "{vpc}", "CidrBlock": "10.0.2.0/24", "AvailabilityZone": "us-east-1a"}, "Subnet", "SubnetId")
	id("b", "CreateSubnet", params{"VpcId": "{vpc}", "CidrBlock": "10.0.3.0/24", "AvailabilityZone": "us-east-1b"}, "Subnet", "SubnetId")
	id("group", "CreateSecurityGroup", params{"VpcId": "{vpc}", "GroupName": "web", "Description": "d"}, "GroupId")
	f.ids["default"] = text(t, tf.one(tf.ec2("DescribeSecurityGroups", params{"Filters": filters("vpc-id", f.ids["vpc"], "group-name", "default")}), "SecurityGroups"), "GroupId")

	https := []any{params{"IpProtocol": "tcp", "FromPort": 443.0, "ToPort": 443.0, "IpRanges": []any{params{"CidrIp": "10.0.0.0/16"}}}}
	endpoint := func(more params) params {
		out := params{
			"VpcId": "{vpc}", "VpcEndpointType": "Interface", "ServiceName": "com.amazonaws.us-east-1.execute-api",
			"PrivateDnsEnabled": false, "SubnetIds": []any{"{a}"},
		}
		for k, v := range more {
			out[k] = v
		}
		return out
	}
	tf.ec2("AuthorizeSecurityGroupIngress", params{"GroupId": f.ids["group"], "IpPermissions": https})
	const absent = "0123456789abcdef0"
	for _, tc := range []struct {
		operation string
		params    params
		want      string
	}{
		{"DescribeVpcs", params{"VpcIds": []any{"vpc-" + absent}}, "400 InvalidVpcID.NotFound The vpc ID 'vpc-" + absent + "' does not exist"},
		{"DescribeVpcs", params{"VpcIds": []any{"x"}}, `400 InvalidVpcID.Malformed Invalid id: "x"`},
		{"DescribeVpcs", params{"Filters": filters("nonsense", "x")}, "400 InvalidParameterValue The filter 'nonsense' is invalid"},
		{"DescribeVpcs", params{"VpcIds": []any{"{vpc}"}, "MaxResults": 5.0}, "400 InvalidParameterCombination "},
		{"CreateVpc", params{"CidrBlock": "10.0.0.0/8"}, "400 InvalidVpc.Range The CIDR '10.0.0.0/8' is invalid."},
		{"CreateVpc", params{"CidrBlock": "ten"}, "400 InvalidParameterValue Value (ten) for parameter cidrBlock is invalid. This is not a valid CIDR block."},
		{"CreateVpc", params{"CidrBlock": "10.9.0.0/16", "DryRun": true}, "412 DryRunOperation Request would have succeeded, but DryRun flag is set."},
		{"DeleteVpc", params{"VpcId": "{vpc}"}, "400 DependencyViolation The vpc '{vpc}' has dependencies and cannot be deleted."},
		{"DescribeSubnets", params{"SubnetIds": []any{"subnet-" + absent}}, "400 InvalidSubnetID.NotFound The subnet ID 'subnet-" + absent + "' does not exist"},
		{"CreateSubnet", params{"VpcId": "{vpc}", "CidrBlock": "10.9.0.0/24"}, "400 InvalidSubnet.Range The CIDR '10.9.0.0/24' is invalid."},
		{"CreateSubnet", params{"VpcId": "{vpc}", "CidrBlock": "10.0.1.0/25"}, "400 InvalidSubnet.Conflict The CIDR '10.0.1.0/25' conflicts with another subnet"},
		{"CreateSubnet", params{"VpcId": "{vpc}", "CidrBlock": "10.0.9.0/24", "AvailabilityZone": "us-zz-1a"}, "400 InvalidParameterValue Value (us-zz-1a) for parameter availabilityZone is invalid. Subnets can currently only be created in the following availability zones: "},
		{"DescribeSecurityGroups", params{"GroupIds": []any{"sg-" + absent}}, "400 InvalidGroup.NotFound The security group 'sg-" + absent + "' does not exist"},
		{"DescribeSecurityGroups", params{"GroupIds": []any{"x"}}, `400 InvalidGroupId.Malformed Invalid id: "x" (expecting "sg-...")`},
		{"CreateSecurityGroup", params{"VpcId": "{vpc}", "GroupName": "web", "Description": "d"}, "400 InvalidGroup.Duplicate The security group 'web' already exists for VPC '{vpc}'"},
		{"DeleteSecurityGroup", params{"GroupId": "{default}"}, `400 CannotDelete the specified group: "{default}" name: "default" cannot be deleted by a user`},
		{"AuthorizeSecurityGroupIngress", params{"GroupId": "{group}", "IpPermissions": https}, `400 InvalidPermission.Duplicate the specified rule "peer: 10.0.0.0/16, TCP, from port: 443, to port: 443, ALLOW" already exists`},
		{"RevokeSecurityGroupIngress", params{"GroupId": "{default}", "IpPermissions": https}, "400 InvalidPermission.NotFound The specified rule does not exist in this security group."},
		{"DescribeVpcEndpoints", params{"VpcEndpointIds": []any{"vpce-" + absent}}, "400 InvalidVpcEndpointId.NotFound The Vpc Endpoint Id 'vpce-" + absent + "' does not exist"},
		{"DescribeVpcEndpoints", params{"VpcEndpointIds": []any{"x"}}, `400 InvalidVpcEndpointId.Malformed Invalid Id: "x" (expecting "vpce-...")`},
		{"CreateVpcEndpoint", endpoint(params{"VpcEndpointType": "Gateway"}), "400 InvalidParameter The endpoint type (Gateway) does not match available service types ([Interface])."},
		{"CreateVpcEndpoint", endpoint(params{"ServiceName": "com.amazonaws.us-west-2.execute-api"}), "400 InvalidServiceName The Vpc Endpoint Service 'com.amazonaws.us-west-2.execute-api' does not exist"},
		{"CreateVpcEndpoint", endpoint(params{"SubnetIds": []any{"{a}", "{a2}"}}), "400 DuplicateSubnetsInSameZone Found another VPC endpoint subnet in the availability zone of {a2}. VPC endpoint subnets should be in different availability zones supported by the VPC endpoint service."},
		{"CreateVpcEndpoint", endpoint(params{"PrivateDnsEnabled": true}), "400 InvalidParameter Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for {vpc}"},
		{"CreateVpcEndpoint", endpoint(params{"PolicyDocument": "{"}), "400 InvalidPolicyDocument "},
		{"CreateVpcEndpoint", endpoint(params{"VpcId": "vpc-" + absent}), "400 InvalidVpcID.NotFound The vpc ID 'vpc-" + absent + "' does not exist"},
		{"CreateVpcEndpoint", endpoint(params{"DryRun": true}), "412 DryRunOperation Request would have succeeded, but DryRun flag is set."},
		{"CreateVpcEndpoint", endpoint(params{"TagSpecifications": []any{params{"ResourceType": "vpc", "Tags": []any{params{"Key": "k", "Value": "v"}}}}}), "400 InvalidParameterValue "},
		{"DescribeInstances", params{}, "501 "},
	} {
		answer, err := f.clients.invoke(t.Context(), "ec2", tc.operation, f.fill(tc.params).(map[string]any))
		if err != nil {
			t.Errorf("%s %v: %v", tc.operation, tc.params, err)
			continue
		}
		want := f.fill(tc.want).(string)
		got := fmt.Sprintf("%v ", at(t, answer, "ResponseMetadata", "HTTPStatusCode"))
		if answer["Error"] != nil {
			got += fmt.Sprintf("%s %s", text(t, answer, "Error", "Code"), text(t, answer, "Error", "Message"))
		}
		// A row that ends in a space tells the beginning only.
		if got != want && (!strings.HasSuffix(want, " ") || !strings.HasPrefix(got, want)) {
			t.Errorf("%s %v\n  want %s\n  got  %s", tc.operation, tc.params, want, got)
		}
	}

	// DeleteVpcEndpoints is a batch: it tells of each failure and succeeds.
	answer := tf.ec2("DeleteVpcEndpoints", params{"VpcEndpointIds": []any{"vpce-" + absent}})
	failure := tf.one(answer, "Unsuccessful")
	if failure["ResourceId"] != "vpce-"+absent || text(t, failure, "Error", "Code") != "InvalidVpcEndpoint.NotFound" ||
		text(t, failure, "Error", "Message") != "The Vpc Endpoint Id 'vpce-"+absent+"' does not exist" {
		t.Errorf("unsuccessful: %v", failure)
	}
}
