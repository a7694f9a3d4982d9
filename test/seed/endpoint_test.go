package seed_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// The VPC and its interface endpoint.

func TestS19_AVPCCanBeConfigured(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	group := w.group(v.id, "web", v.cidr)
	vpcs := must[*ec2.DescribeVpcsOutput](w, "describe VPC")(w.ec2.DescribeVpcs(w.ctx, &ec2.DescribeVpcsInput{VpcIds: []string{v.id}}))
	equal(w, "state of the VPC", vpcs.Vpcs[0].State, ec2types.VpcStateAvailable)
	equal(w, "its range", aws.ToString(vpcs.Vpcs[0].CidrBlock), v.cidr)
	subnets := must[*ec2.DescribeSubnetsOutput](w, "describe subnet")(w.ec2.DescribeSubnets(w.ctx, &ec2.DescribeSubnetsInput{SubnetIds: v.subnets}))
	equal(w, "VPC of the subnet", aws.ToString(subnets.Subnets[0].VpcId), v.id)
	equal(w, "its free addresses", aws.ToInt32(subnets.Subnets[0].AvailableIpAddressCount), 251)
	groups := must[*ec2.DescribeSecurityGroupsOutput](w, "describe group")(w.ec2.DescribeSecurityGroups(w.ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{group}}))
	equal(w, "rules of the group", len(groups.SecurityGroups[0].IpPermissions), 1)
	// And it is good for what the seed needs it for.
	e := w.endpointIn(v, withGroups(group))
	equal(w, "group of the endpoint", aws.ToString(w.describeEndpoint(e.id).Groups[0].GroupId), group)
}

func TestS28_InterfaceEndpointLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a", "a")
	_, err := w.ec2.CreateVpcEndpoint(w.ctx, w.endpointInput(v))
	w.refused("two subnets of one zone", err, "DuplicateSubnetsInSameZone", "Found another VPC endpoint subnet in the availability zone of "+v.subnets[1])
	elsewhere := w.endpointInput(v)
	elsewhere.SubnetIds, elsewhere.ServiceName = v.subnets[:1], aws.String("com.amazonaws.us-east-1.execute-api")
	_, err = w.ec2.CreateVpcEndpoint(w.ctx, elsewhere)
	w.refused("another region's service", err, "InvalidServiceName", "The Vpc Endpoint Service 'com.amazonaws.us-east-1.execute-api' does not exist")
}

func TestS30_ServiceIsListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := "com.amazonaws." + region + ".execute-api"
	out := must[*ec2.DescribeVpcEndpointServicesOutput](w, "describe services")(w.ec2.DescribeVpcEndpointServices(w.ctx, &ec2.DescribeVpcEndpointServicesInput{}))
	if !slices.Contains(out.ServiceNames, name) {
		t.Errorf("service names are %v, want %s among them", out.ServiceNames, name)
	}
	i := slices.IndexFunc(out.ServiceDetails, func(d ec2types.ServiceDetail) bool { return aws.ToString(d.ServiceName) == name })
	if i < 0 || len(out.ServiceDetails[i].ServiceType) != 1 || out.ServiceDetails[i].ServiceType[0].ServiceType != ec2types.ServiceTypeInterface {
		t.Errorf("details of %s: %+v, want type Interface", name, out.ServiceDetails)
	}
}

func TestS31_ServiceName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, r := range []string{"us-east-1", region} {
		w := w.lab.world(t, ownAccount, r)
		v := w.vpc("a")
		e := w.endpointIn(v)
		equal(w, "service of the endpoint", aws.ToString(w.describeEndpoint(e.id).ServiceName), "com.amazonaws."+r+".execute-api")
		for _, wrong := range []string{"execute-api", "com.amazonaws." + r + ".Execute-API", "com.amazonaws." + r + ".execute-api ", "com.amazonaws.eu-west-1.execute-api"} {
			in := w.endpointInput(v)
			in.ServiceName = &wrong
			_, err := w.ec2.CreateVpcEndpoint(w.ctx, in)
			w.refused("service "+wrong, err, "InvalidServiceName", "does not exist")
		}
	}
}

func TestS32_TypeMustBeInterface(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	in := w.endpointInput(v)
	in.VpcEndpointType = ""
	_, err := w.ec2.CreateVpcEndpoint(w.ctx, in)
	w.refused("no type", err, "InvalidParameter", "The endpoint type (Gateway) does not match available service types ([Interface]).")
}

func TestS33_ChooseTheVPC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	e := w.endpointIn(v)
	equal(w, "VPC of the endpoint", aws.ToString(w.describeEndpoint(e.id).VpcId), v.id)
	in := w.endpointInput(v)
	in.VpcId = aws.String("vpc-0123456789abcdef0")
	_, err := w.ec2.CreateVpcEndpoint(w.ctx, in)
	w.refused("unknown VPC", err, "InvalidVpcID.NotFound", "vpc-0123456789abcdef0")
}

func TestS34_ChooseSubnets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a", "b", "c")
	e := w.endpointIn(v)
	equal(w, "interfaces", len(w.describeEndpoint(e.id).NetworkInterfaceIds), 3)
	one := w.endpointIn(v, privateDNSOff, func(in *ec2.CreateVpcEndpointInput) { in.SubnetIds = v.subnets[:1] })
	equal(w, "interfaces in one subnet", len(w.describeEndpoint(one.id).NetworkInterfaceIds), 1)

	// One zone of us-west-1 is without the service; DescribeVpcEndpointServices
	// tells which ones have it.
	west := w.lab.world(t, ownAccount, "us-west-1")
	out := must[*ec2.DescribeVpcEndpointServicesOutput](west, "describe services")(west.ec2.DescribeVpcEndpointServices(w.ctx, &ec2.DescribeVpcEndpointServicesInput{}))
	served := out.ServiceDetails[0].AvailabilityZones
	var with, without []string
	for _, z := range []string{"a", "b", "c"} {
		if slices.Contains(served, "us-west-1"+z) {
			with = append(with, z)
		} else {
			without = append(without, z)
		}
	}
	if len(with) == 0 || len(without) == 0 {
		t.Fatalf("zones with the service in us-west-1: %v, want some but not all", served)
	}
	west.endpointIn(west.vpc(with...))
	_, err := west.ec2.CreateVpcEndpoint(w.ctx, west.endpointInput(west.vpc(without...)))
	west.refused("subnet in a zone without the service", err, "InvalidParameter", "does not support the availability zone of the subnet")
}

func TestS35_PrivateDNSByDefault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	in := w.endpointInput(v)
	if in.PrivateDnsEnabled != nil {
		t.Fatal("the request says something of private DNS")
	}
	made := must[*ec2.CreateVpcEndpointOutput](w, "create endpoint")(w.ec2.CreateVpcEndpoint(w.ctx, in))
	equal(w, "private DNS in the answer", aws.ToBool(made.VpcEndpoint.PrivateDnsEnabled), true)
	equal(w, "private DNS when described", aws.ToBool(w.describeEndpoint(aws.ToString(made.VpcEndpoint.VpcEndpointId)).PrivateDnsEnabled), true)
}

func TestS38b_PrivateDNSNeedsBothAttributes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	for _, c := range []struct {
		what     string
		off, set *ec2.ModifyVpcAttributeInput
	}{
		{"enableDnsHostnames", &ec2.ModifyVpcAttributeInput{EnableDnsHostnames: on(false)}, &ec2.ModifyVpcAttributeInput{EnableDnsHostnames: on(true)}},
		{"enableDnsSupport", &ec2.ModifyVpcAttributeInput{EnableDnsSupport: on(false)}, &ec2.ModifyVpcAttributeInput{EnableDnsSupport: on(true)}},
	} {
		w.vpcAttribute(v.id, c.off)
		_, err := w.ec2.CreateVpcEndpoint(w.ctx, w.endpointInput(v))
		w.refused(c.what+" off", err, "InvalidParameter", "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for "+v.id)
		w.vpcAttribute(v.id, c.set)
	}
	w.endpointIn(v)
}

func TestS38c_VPCAttributes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	for _, want := range []bool{false, true} {
		w.vpcAttribute(v.id, &ec2.ModifyVpcAttributeInput{EnableDnsHostnames: on(want)})
		out := must[*ec2.DescribeVpcAttributeOutput](w, "describe attribute")(w.ec2.DescribeVpcAttribute(w.ctx, &ec2.DescribeVpcAttributeInput{
			VpcId: &v.id, Attribute: ec2types.VpcAttributeNameEnableDnsHostnames,
		}))
		if out.EnableDnsHostnames == nil || aws.ToBool(out.EnableDnsHostnames.Value) != want {
			t.Errorf("enableDnsHostnames: %v, want %v", out.EnableDnsHostnames, want)
		}
		equal(w, "VPC of the answer", aws.ToString(out.VpcId), v.id)
	}
}

func TestS38d_SecurityGroupOfTheInterfaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	group := w.group(v.id, "mine", v.cidr)
	e := w.endpointIn(v, withGroups(group))
	groups := w.describeEndpoint(e.id).Groups
	if len(groups) != 1 || aws.ToString(groups[0].GroupId) != group || aws.ToString(groups[0].GroupName) != "mine" {
		t.Errorf("groups of the endpoint: %+v, want mine, %s", groups, group)
	}
	for _, eni := range w.interfaces(e) {
		equal(w, "groups of an interface", len(eni.Groups), 1)
		equal(w, "group of an interface", aws.ToString(eni.Groups[0].GroupId), group)
	}
}

func TestS38e_GroupAdmitsARange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	group := w.group(v.id, "closed")
	e := w.endpointIn(v, withGroups(group))
	a := w.privateAPI(onlyEndpoints(e.id))
	w.settle()
	w.timeout("no rule", v.id, a.host(), a.host())
	w.authorize(group, ec2types.IpPermission{
		IpProtocol: aws.String("tcp"), FromPort: aws.Int32(80), ToPort: aws.Int32(442), IpRanges: []ec2types.IpRange{{CidrIp: &v.cidr}},
	})
	w.settle()
	w.timeout("a rule for ports beside 443", v.id, a.host(), a.host())
	w.authorize(group, ec2types.IpPermission{
		IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), IpRanges: []ec2types.IpRange{{CidrIp: &v.cidr}},
	})
	w.settle()
	w.served("a rule for 443 from the VPC's range", w.call(v.id, a.url()), a)
}

func TestS38f_GroupAdmitsAGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.vpc("a")
	clients := w.group(v.id, "clients")
	e := w.endpointIn(v, withGroups(w.group(v.id, "endpoint", clients)))
	a := w.privateAPI(onlyEndpoints(e.id))
	w.settle()
	w.served("a client with the group", w.call(v.id+"/"+v.subnets[0]+"/"+clients, a.url()), a)
	w.timeout("a client without it", v.id, a.host(), a.host())
}

// TestS38g_CreationCompletes watches an endpoint become available on a frozen
// DNS clock: only the advance can have done it.
func TestS38g_CreationCompletes(t *testing.T) {
	t.Parallel()
	w := frozenLab(t, "aws").world(t, ownAccount, region)
	v := w.vpc("a", "b")
	made := must[*ec2.CreateVpcEndpointOutput](w, "create endpoint")(w.ec2.CreateVpcEndpoint(w.ctx, w.endpointInput(v)))
	equal(w, "state at creation", made.VpcEndpoint.State, "pending")
	id := aws.ToString(made.VpcEndpoint.VpcEndpointId)
	equal(w, "state a moment later", w.describeEndpoint(id).State, "pending")
	w.advance(minute)
	e := w.describeEndpoint(id)
	equal(w, "state a minute of DNS time later", e.State, "available")
	equal(w, "interfaces", len(e.NetworkInterfaceIds), 2)
	var names []string
	for _, entry := range e.DnsEntries {
		names = append(names, strings.Replace(aws.ToString(entry.DnsName), id, "ID", 1))
	}
	// Regional, two zonal, two private.
	equal(w, "names", len(names), 5)
	equal(w, "private names", strings.Join(names[3:], " "), "execute-api.us-west-2.amazonaws.com *.execute-api.us-west-2.amazonaws.com")
	if !strings.HasPrefix(names[0], "ID-") || !strings.Contains(names[1], "-us-west-2a.") || !strings.Contains(names[2], "-us-west-2b.") {
		t.Errorf("public names are %v, want the regional one, then one for each zone", names[:3])
	}
}
