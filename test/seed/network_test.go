package seed_test

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// network is a VPC with a subnet in each of some zones.
type network struct {
	id, cidr string
	subnets  []string
	blocks   []string // the subnets' ranges
}

// vpc makes a VPC, with both DNS attributes on, and a subnet in each of the
// zones ("a", "b", "c").
func (w *world) vpc(zones ...string) network {
	w.Helper()
	n := w.lab.networks.Add(1)
	v := network{cidr: fmt.Sprintf("10.%d.0.0/16", n)}
	made := must[*ec2.CreateVpcOutput](w, "create VPC")(w.ec2.CreateVpc(w.ctx, &ec2.CreateVpcInput{CidrBlock: &v.cidr}))
	v.id = aws.ToString(made.Vpc.VpcId)
	w.vpcAttribute(v.id, &ec2.ModifyVpcAttributeInput{EnableDnsHostnames: on(true)})
	for i, zone := range zones {
		block := fmt.Sprintf("10.%d.%d.0/24", n, i+1)
		v.subnets = append(v.subnets, w.subnet(v.id, block, w.region()+zone))
		v.blocks = append(v.blocks, block)
	}
	return v
}

func (w *world) region() string { return w.ec2.Options().Region }

func on(v bool) *ec2types.AttributeBooleanValue { return &ec2types.AttributeBooleanValue{Value: &v} }

func (w *world) vpcAttribute(vpc string, in *ec2.ModifyVpcAttributeInput) {
	w.Helper()
	in.VpcId = &vpc
	if _, err := w.ec2.ModifyVpcAttribute(w.ctx, in); err != nil {
		w.Fatalf("modify VPC attribute: %v", err)
	}
}

func (w *world) subnet(vpc, cidr, zone string) string {
	w.Helper()
	made := must[*ec2.CreateSubnetOutput](w, "create subnet")(w.ec2.CreateSubnet(w.ctx, &ec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: &cidr, AvailabilityZone: &zone}))
	return aws.ToString(made.Subnet.SubnetId)
}

// group makes a security group that admits the sources on port 443: ranges, or
// ids of other groups.
func (w *world) group(vpc, name string, sources ...string) string {
	w.Helper()
	made := must[*ec2.CreateSecurityGroupOutput](w, "create security group")(w.ec2.CreateSecurityGroup(w.ctx, &ec2.CreateSecurityGroupInput{
		GroupName: &name, Description: aws.String("HTTPS"), VpcId: &vpc,
	}))
	id := aws.ToString(made.GroupId)
	for _, source := range sources {
		rule := ec2types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443)}
		if strings.HasPrefix(source, "sg-") {
			rule.UserIdGroupPairs = []ec2types.UserIdGroupPair{{GroupId: &source}}
		} else {
			rule.IpRanges = []ec2types.IpRange{{CidrIp: &source}}
		}
		w.authorize(id, rule)
	}
	return id
}

func (w *world) authorize(group string, rule ec2types.IpPermission) {
	w.Helper()
	if _, err := w.ec2.AuthorizeSecurityGroupIngress(w.ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: []ec2types.IpPermission{rule}}); err != nil {
		w.Fatalf("authorize ingress: %v", err)
	}
}

// endpoint is an interface endpoint for execute-api.
type endpoint struct {
	id    string
	vpc   network
	names []string // public names: regional, then zonal
}

// host is its regional name.
func (e endpoint) host() string { return e.names[0] }

// endpointIn makes an endpoint in all subnets of a VPC, admitting the VPC's
// range and with private DNS, unless change says otherwise.
func (w *world) endpointIn(v network, change ...func(*ec2.CreateVpcEndpointInput)) endpoint {
	w.Helper()
	in := w.endpointInput(v)
	for _, c := range change {
		c(in)
	}
	if in.SecurityGroupIds == nil {
		in.SecurityGroupIds = []string{w.group(v.id, fmt.Sprintf("endpoint-%d", w.lab.groups.Add(1)), v.cidr)}
	}
	made := must[*ec2.CreateVpcEndpointOutput](w, "create VPC endpoint")(w.ec2.CreateVpcEndpoint(w.ctx, in))
	return endpointOf(v, made.VpcEndpoint)
}

func endpointOf(v network, made *ec2types.VpcEndpoint) endpoint {
	e := endpoint{id: aws.ToString(made.VpcEndpointId), vpc: v}
	for _, entry := range made.DnsEntries {
		if name := aws.ToString(entry.DnsName); strings.HasPrefix(name, "vpce-") {
			e.names = append(e.names, name)
		}
	}
	return e
}

// endpointInput is a valid request but for the security group, which is the
// VPC's default one.
func (w *world) endpointInput(v network) *ec2.CreateVpcEndpointInput {
	return &ec2.CreateVpcEndpointInput{
		VpcId: &v.id, ServiceName: aws.String("com.amazonaws." + w.region() + ".execute-api"),
		VpcEndpointType: ec2types.VpcEndpointTypeInterface, SubnetIds: v.subnets,
	}
}

func privateDNSOff(in *ec2.CreateVpcEndpointInput) { in.PrivateDnsEnabled = aws.Bool(false) }

func withGroups(ids ...string) func(*ec2.CreateVpcEndpointInput) {
	return func(in *ec2.CreateVpcEndpointInput) { in.SecurityGroupIds = ids }
}

func (w *world) describeEndpoint(id string) ec2types.VpcEndpoint {
	w.Helper()
	out := must[*ec2.DescribeVpcEndpointsOutput](w, "describe endpoint")(w.ec2.DescribeVpcEndpoints(w.ctx, &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{id}}))
	if len(out.VpcEndpoints) != 1 {
		w.Fatalf("describe %s: %d endpoints", id, len(out.VpcEndpoints))
	}
	return out.VpcEndpoints[0]
}

// interfaces are the network interfaces of an endpoint.
func (w *world) interfaces(e endpoint) []ec2types.NetworkInterface {
	w.Helper()
	ids := w.describeEndpoint(e.id).NetworkInterfaceIds
	if len(ids) == 0 {
		return nil
	}
	out := must[*ec2.DescribeNetworkInterfacesOutput](w, "describe interfaces")(w.ec2.DescribeNetworkInterfaces(w.ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: ids}))
	return out.NetworkInterfaces
}

// addresses are the private addresses of an endpoint's interfaces.
func (w *world) addresses(e endpoint) []string {
	w.Helper()
	var out []string
	for _, eni := range w.interfaces(e) {
		out = append(out, aws.ToString(eni.PrivateIpAddress))
	}
	return out
}
