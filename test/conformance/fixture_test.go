package conformance

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// makeEndpoints makes a VPC with a subnet and n execute-api endpoints, and
// waits until they are available. Only the first has private DNS: one may.
func makeEndpoints(t *testing.T, c clients, n int) []string {
	t.Helper()
	ctx := t.Context()
	vpc, err := c.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ec2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{
		VpcId: vpc.Vpc.VpcId, EnableDnsHostnames: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)},
	}); err != nil {
		t.Fatal(err)
	}
	subnet, err := c.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: vpc.Vpc.VpcId, CidrBlock: aws.String("10.0.1.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i := range n {
		made, err := c.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
			VpcId: vpc.Vpc.VpcId, SubnetIds: []string{*subnet.Subnet.SubnetId}, PrivateDnsEnabled: aws.Bool(i == 0),
			ServiceName: aws.String(fmt.Sprintf("com.amazonaws.%s.execute-api", c.ec2.Options().Region)), VpcEndpointType: ec2types.VpcEndpointTypeInterface,
		})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, *made.VpcEndpoint.VpcEndpointId)
	}
	deadline := time.Now().Add(time.Minute)
	for pending := ids; len(pending) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("endpoints %v are not available after a minute", pending)
		}
		answer, err := c.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: pending})
		if err != nil {
			t.Fatal(err)
		}
		pending = nil
		for _, e := range answer.VpcEndpoints {
			if e.State != "available" {
				pending = append(pending, *e.VpcEndpointId)
			}
		}
	}
	return ids
}
