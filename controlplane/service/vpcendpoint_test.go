package service

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/state"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	route53v1 "github.com/posternhq/postern/proto/postern/route53/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

func TestEndpointAsRecorded(t *testing.T) {
	l := newEC2Lab(t)
	vpc := l.dnsVPC("10.0.0.0/24")
	subnet := l.subnet(vpc, "10.0.0.0/24", "us-west-2a").GetSubnetId()
	e := l.describe(l.endpoint(vpc, subnet).GetVpcEndpointId())

	id := e.GetVpcEndpointId()
	name := e.GetDnsEntrys()[0].GetDnsName()
	suffix := regexp.MustCompile(`^` + id + `-([a-z0-9]{8})\.execute-api\.us-west-2\.vpce\.amazonaws\.com$`).FindStringSubmatch(name)
	if suffix == nil {
		t.Fatalf("first name %q", name)
	}
	var names []string
	for _, d := range e.GetDnsEntrys() {
		names = append(names, strings.ReplaceAll(d.GetDnsName(), id+"-"+suffix[1], "E-S"))
	}
	if want := []string{
		"E-S.execute-api.us-west-2.vpce.amazonaws.com", "E-S-us-west-2a.execute-api.us-west-2.vpce.amazonaws.com",
		"execute-api.us-west-2.amazonaws.com", "*.execute-api.us-west-2.amazonaws.com",
	}; !slices.Equal(names, want) {
		t.Errorf("names %q, want %q", names, want)
	}
	if a, b := e.GetDnsEntrys()[0].GetHostedZoneId(), e.GetDnsEntrys()[2].GetHostedZoneId(); a != "Z1YSA3EXCYUU9Z" || len(b) != 21 {
		t.Errorf("zones %s and %s", a, b)
	}
	var policy struct {
		Statement []map[string]string
	}
	if err := json.Unmarshal([]byte(e.GetPolicyDocument()), &policy); err != nil || len(policy.Statement) != 1 || policy.Statement[0]["Effect"] != "Allow" {
		t.Errorf("policy %s (%v)", e.GetPolicyDocument(), err)
	}
	got := proto.CloneOf(e)
	got.DnsEntrys, got.PolicyDocument = nil, nil
	want := &ec2v1.VpcEndpoint{
		VpcEndpointId: &id, VpcEndpointType: new("Interface"), VpcId: &vpc, ServiceName: new("com.amazonaws.us-west-2.execute-api"),
		State: new("available"), SubnetIds: []string{subnet}, IpAddressType: new("ipv4"), DnsOptions: &ec2v1.DnsOptions{DnsRecordIpType: new("ipv4")},
		Groups:            []*ec2v1.GroupIdentifier{{GroupId: e.GetGroups()[0].GroupId, GroupName: new("default")}},
		PrivateDnsEnabled: new(true), RequesterManaged: new(false), NetworkInterfaceIds: e.GetNetworkInterfaceIds(),
		CreationTimestamp: new("2026-03-01T12:00:00.000Z"), OwnerId: new(testAccount), ServiceRegion: new("us-west-2"),
	}
	if !proto.Equal(got, want) {
		t.Errorf("endpoint\n%v\nwant\n%v", got, want)
	}

	enis, err := l.DescribeNetworkInterfaces(l.ctx(), &ec2v1.DescribeNetworkInterfacesRequest{NetworkInterfaceIds: e.GetNetworkInterfaceIds()})
	eni := must(t, enis, err).GetNetworkInterfaces()[0]
	if eni.GetPrivateIpAddress() != "10.0.0.4" || !eni.GetRequesterManaged() || eni.GetInterfaceType() != "vpc_endpoint" || eni.GetStatus() != "in-use" ||
		eni.GetDescription() != "VPC Endpoint Interface "+id || eni.GetSubnetId() != subnet {
		t.Errorf("interface %v", eni)
	}
}

func TestCreateVpcEndpointRefused(t *testing.T) {
	l := newEC2Lab(t)
	vpc := l.dnsVPC("10.1.0.0/16")
	a1, a2 := l.subnet(vpc, "10.1.0.0/24", "us-west-2a").GetSubnetId(), l.subnet(vpc, "10.1.1.0/24", "us-west-2a").GetSubnetId()
	elsewhere := l.subnet(l.vpc("10.2.0.0/16").GetVpcId(), "10.2.0.0/24", "us-west-2a").GetSubnetId()
	plain := l.vpc("10.3.0.0/16").GetVpcId()
	for _, c := range []struct {
		name          string
		change        func(*ec2v1.CreateVpcEndpointRequest)
		code, message string
	}{
		{"no VPC", func(r *ec2v1.CreateVpcEndpointRequest) { r.VpcId = nil }, "MissingParameter", "The request must contain the parameter vpcId"},
		{"unknown VPC", func(r *ec2v1.CreateVpcEndpointRequest) { r.VpcId = new("vpc-00000000") }, "InvalidVpcID.NotFound", "The vpc ID 'vpc-00000000' does not exist"},
		{"other region", func(r *ec2v1.CreateVpcEndpointRequest) { r.ServiceName = new("com.amazonaws.us-east-1.execute-api") }, "InvalidServiceName", "The Vpc Endpoint Service 'com.amazonaws.us-east-1.execute-api' does not exist"},
		{"other service", func(r *ec2v1.CreateVpcEndpointRequest) { r.ServiceName = new("com.amazonaws.us-west-2.s3") }, "InvalidServiceName", ""},
		{"default type", func(r *ec2v1.CreateVpcEndpointRequest) { r.VpcEndpointType = nil }, "InvalidParameter", "The endpoint type (Gateway) does not match available service types ([Interface])."},
		{"one zone twice", func(r *ec2v1.CreateVpcEndpointRequest) { r.SubnetIds = []string{a1, a2} }, "DuplicateSubnetsInSameZone",
			"Found another VPC endpoint subnet in the availability zone of " + a2 + ". VPC endpoint subnets should be in different availability zones supported by the VPC endpoint service."},
		{"subnet of another VPC", func(r *ec2v1.CreateVpcEndpointRequest) { r.SubnetIds = []string{elsewhere} }, "InvalidParameter", ""},
		{"unknown subnet", func(r *ec2v1.CreateVpcEndpointRequest) { r.SubnetIds = []string{"subnet-00000000"} }, "InvalidSubnetID.NotFound", ""},
		{"unknown group", func(r *ec2v1.CreateVpcEndpointRequest) { r.SecurityGroupIds = []string{"sg-00000000"} }, "InvalidGroup.NotFound", ""},
		{"bad policy", func(r *ec2v1.CreateVpcEndpointRequest) { r.PolicyDocument = new("{") }, "InvalidPolicyDocument", ""},
		{"long policy", func(r *ec2v1.CreateVpcEndpointRequest) {
			r.PolicyDocument = new(fullAccess + strings.Repeat(" ", 20480))
		}, "InvalidPolicyDocument", ""},
		{"IPv6", func(r *ec2v1.CreateVpcEndpointRequest) { r.IpAddressType = new("dualstack") }, "InvalidParameter", ""},
		{"private DNS without hostnames", func(r *ec2v1.CreateVpcEndpointRequest) { r.VpcId = &plain }, "InvalidParameter",
			"Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for " + plain},
		{"tags of another type", func(r *ec2v1.CreateVpcEndpointRequest) {
			r.TagSpecifications = []*ec2v1.TagSpecification{{ResourceType: new("vpc")}}
		}, "InvalidParameterValue", ""},
		{"dry run", func(r *ec2v1.CreateVpcEndpointRequest) { r.DryRun = new(true) }, "DryRunOperation", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := endpointRequest(vpc)
			c.change(req)
			_, err := l.CreateVpcEndpoint(l.ctx(), req)
			if c.message != "" {
				wantCode(t, err, c.code, c.message)
			}
			wantCode(t, err, c.code)
		})
	}
	for range l.view().All(statev1.Type_TYPE_VPC_ENDPOINT) {
		t.Fatal("a refused endpoint exists")
	}
	l.endpoint(vpc, a1)
	_, err := l.CreateVpcEndpoint(l.ctx(), endpointRequest(vpc, a2))
	wantCode(t, err, "InvalidParameter", "private-dns-enabled cannot be set because there is already a conflicting DNS domain for execute-api.us-west-2.amazonaws.com in the VPC "+vpc)
	second := endpointRequest(vpc, a2)
	second.PrivateDnsEnabled = new(false)
	answer, err := l.CreateVpcEndpoint(l.ctx(), second)
	if n := len(must(t, answer, err).GetVpcEndpoint().GetDnsEntrys()); n != 2 {
		t.Errorf("without private DNS there are %d names, want 2", n)
	}
}

// Not every zone has the service: here one of us-west-1.
func TestZoneWithoutService(t *testing.T) {
	l := newEC2Lab(t)
	ctx := as(t.Context(), testAccount, "us-west-1")
	subnets, err := l.DescribeSubnets(ctx, &ec2v1.DescribeSubnetsRequest{Filters: []*ec2v1.Filter{{Name: new("availability-zone-id"), Values: []string{"usw1-az2"}}}})
	s := must(t, subnets, err).GetSubnets()[0]
	req := endpointRequest(s.GetVpcId(), s.GetSubnetId())
	req.ServiceName = new(serviceName("us-west-1"))
	_, err = l.CreateVpcEndpoint(ctx, req)
	wantCode(t, err, "InvalidParameter", "The VPC endpoint service com.amazonaws.us-west-1.execute-api does not support the availability zone of the subnet: "+s.GetSubnetId()+".")
	services, err := l.DescribeVpcEndpointServices(ctx, &ec2v1.DescribeVpcEndpointServicesRequest{ServiceNames: []string{serviceName("us-west-1")}})
	if d := must(t, services, err).GetServiceDetails()[0]; slices.Contains(d.GetAvailabilityZones(), s.GetAvailabilityZone()) || d.GetServiceTypes()[0].GetServiceType() != "Interface" {
		t.Errorf("service %v", d)
	}
	_, err = l.DescribeVpcEndpointServices(ctx, &ec2v1.DescribeVpcEndpointServicesRequest{ServiceNames: []string{"com.amazonaws.us-west-1.sqs"}})
	wantCode(t, err, "InvalidServiceName")
}

func TestClientToken(t *testing.T) {
	l := newEC2Lab(t)
	vpc := l.dnsVPC("10.1.0.0/16")
	req := endpointRequest(vpc)
	req.ClientToken = new("once")
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Add(1)
		go func() {
			defer wg.Done()
			answer, err := l.CreateVpcEndpoint(l.ctx(), req)
			if err != nil || answer.GetClientToken() != "once" {
				t.Errorf("answer %v, %v", answer, err)
			}
			ids[i] = answer.GetVpcEndpoint().GetVpcEndpointId()
		}()
	}
	wg.Wait()
	if slices.Sort(ids); ids[0] != ids[len(ids)-1] || ids[0] == "" {
		t.Errorf("one token, endpoints %v", ids)
	}
	other := proto.CloneOf(req)
	other.PrivateDnsEnabled = new(false)
	_, err := l.CreateVpcEndpoint(l.ctx(), other)
	wantCode(t, err, "IdempotentParameterMismatch")
	other.ClientToken = new(strings.Repeat("x", 65))
	_, err = l.CreateVpcEndpoint(l.ctx(), other)
	wantCode(t, err, "InvalidParameterValue")
	other.ClientToken = req.ClientToken
	l.now = l.now.Add(25 * time.Hour)
	answer, err := l.CreateVpcEndpoint(l.ctx(), other)
	if must(t, answer, err).GetVpcEndpoint().GetVpcEndpointId() == ids[0] {
		t.Error("the token outlived its day")
	}
}

// Creates without a ClientToken of their own take one from the metadata.
func TestIdempotencyKeyOfEC2(t *testing.T) {
	l := newEC2Lab(t)
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(metaIdempotency, "once"))
	var first, again [3]string
	for _, ids := range []*[3]string{&first, &again} {
		vpc, err := l.CreateVpc(ctx, &ec2v1.CreateVpcRequest{CidrBlock: new("10.1.0.0/16")})
		id := must(t, vpc, err).GetVpc().VpcId
		subnet, err := l.CreateSubnet(ctx, &ec2v1.CreateSubnetRequest{VpcId: id, CidrBlock: new("10.1.0.0/24")})
		must(t, subnet, err)
		group, err := l.CreateSecurityGroup(ctx, &ec2v1.CreateSecurityGroupRequest{VpcId: id, GroupName: new("web"), GroupDescription: new("web")})
		must(t, group, err)
		*ids = [3]string{*id, subnet.GetSubnet().GetSubnetId(), group.GetGroupId()}
	}
	if first != again {
		t.Errorf("first %v, again %v", first, again)
	}
	_, err := l.CreateVpc(ctx, &ec2v1.CreateVpcRequest{CidrBlock: new("10.2.0.0/16")})
	wantCode(t, err, "IdempotentParameterMismatch")
}

func TestEndpointStates(t *testing.T) {
	l := newEC2Lab(t)
	l.profile("aws")
	vpc := l.dnsVPC("10.1.0.0/16")
	e := l.endpoint(vpc, l.subnet(vpc, "10.1.0.0/24", "us-west-2a").GetSubnetId())
	id := e.GetVpcEndpointId()
	if e.GetState() != "pending" {
		t.Errorf("created as %s", e.GetState())
	}
	l.now = l.now.Add(59 * time.Second)
	if s := l.describe(id).GetState(); s != "pending" {
		t.Errorf("after 59 s: %s", s)
	}
	l.now = l.now.Add(time.Second)
	if s := l.describe(id).GetState(); s != "available" {
		t.Errorf("after 60 s: %s", s)
	}
	for _, state := range []string{"available", "Available"} {
		answer, err := l.DescribeVpcEndpoints(l.ctx(), &ec2v1.DescribeVpcEndpointsRequest{Filters: []*ec2v1.Filter{{Name: new("vpc-endpoint-state"), Values: []string{state}}}})
		if n := len(must(t, answer, err).GetVpcEndpoints()); n != 1 {
			t.Errorf("state %s has %d endpoints", state, n)
		}
	}
	// A modification shows as pending and takes nothing away meanwhile.
	available := func() int64 {
		return l.view().Find(statev1.Type_TYPE_VPC_ENDPOINT, testRegion, id).GetVpcEndpoint().GetAvailableAt()
	}
	since := available()
	_, err := l.ModifyVpcEndpoint(l.ctx(), &ec2v1.ModifyVpcEndpointRequest{
		VpcEndpointId: &id, AddSubnetIds: []string{l.subnet(vpc, "10.1.1.0/24", "us-west-2b").GetSubnetId()},
	})
	must(t, 0, err)
	if s := l.describe(id).GetState(); s != "pending" || available() != since {
		t.Errorf("just modified: %s, and serving since %d, was %d", s, available(), since)
	}
	l.now = l.now.Add(time.Minute)
	if s := l.describe(id).GetState(); s != "available" {
		t.Errorf("a minute after: %s", s)
	}
	l.deleteEndpoint(id)
	shown := l.describe(id)
	if shown.GetState() != "deleting" || len(shown.GetNetworkInterfaceIds()) != 0 {
		t.Errorf("after its deletion: %v", shown)
	}
	enis, err := l.DescribeNetworkInterfaces(l.ctx(), &ec2v1.DescribeNetworkInterfacesRequest{})
	if n := len(must(t, enis, err).GetNetworkInterfaces()); n != 0 {
		t.Errorf("%d interfaces are left", n)
	}
	_, err = l.ModifyVpcEndpoint(l.ctx(), &ec2v1.ModifyVpcEndpointRequest{VpcEndpointId: &id, ResetPolicy: new(true)})
	wantCode(t, err, "IncorrectState")
	if answer := l.deleteEndpoint(id); len(answer.GetUnsuccessfuls()) != 0 {
		t.Errorf("a repeated delete answers %v", answer)
	}
	l.now = l.now.Add(time.Minute)
	_, err = l.DescribeVpcEndpoints(l.ctx(), &ec2v1.DescribeVpcEndpointsRequest{VpcEndpointIds: []string{id}})
	wantCode(t, err, "InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '"+id+"' does not exist")
	if l.view().Find(statev1.Type_TYPE_VPC_ENDPOINT, testRegion, id) == nil {
		t.Error("a read removed the record")
	}
	l.group(vpc, "any write in the VPC")
	if l.view().Find(statev1.Type_TYPE_VPC_ENDPOINT, testRegion, id) != nil {
		t.Error("the record is still there after a write in the VPC")
	}
}

func TestDeleteVpcEndpoints(t *testing.T) {
	l := newEC2Lab(t)
	id := l.endpoint(l.dnsVPC("10.1.0.0/16")).GetVpcEndpointId()
	answer, err := l.DeleteVpcEndpoints(l.ctx(), &ec2v1.DeleteVpcEndpointsRequest{VpcEndpointIds: []string{"vpce-00000000000000000", id}})
	want := &ec2v1.DeleteVpcEndpointsResponse{Unsuccessfuls: []*ec2v1.UnsuccessfulItem{{
		ResourceId: new("vpce-00000000000000000"),
		Error:      &ec2v1.UnsuccessfulItemError{Code: new("InvalidVpcEndpoint.NotFound"), Message: new("The Vpc Endpoint Id 'vpce-00000000000000000' does not exist")},
	}}}
	if !proto.Equal(must(t, answer, err), want) {
		t.Errorf("answer %v, want %v", answer, want)
	}
	_, err = l.DescribeVpcEndpoints(l.ctx(), &ec2v1.DescribeVpcEndpointsRequest{VpcEndpointIds: []string{id}})
	wantCode(t, err, "InvalidVpcEndpointId.NotFound") // profile instant
	_, err = l.DeleteVpcEndpoints(l.ctx(), &ec2v1.DeleteVpcEndpointsRequest{VpcEndpointIds: []string{"x"}})
	wantCode(t, err, "InvalidVpcEndpointId.Malformed", `Invalid Id: "x" (expecting "vpce-...")`)
	_, err = l.DescribeVpcEndpoints(as(t.Context(), "222222222222", testRegion), &ec2v1.DescribeVpcEndpointsRequest{VpcEndpointIds: []string{id}})
	wantCode(t, err, "InvalidVpcEndpointId.NotFound")
}

func TestModifyVpcEndpoint(t *testing.T) {
	l := newEC2Lab(t)
	vpc := l.dnsVPC("10.1.0.0/16")
	a, b := l.subnet(vpc, "10.1.0.0/24", "us-west-2a").GetSubnetId(), l.subnet(vpc, "10.1.1.0/24", "us-west-2b").GetSubnetId()
	a2 := l.subnet(vpc, "10.1.2.0/24", "us-west-2a").GetSubnetId()
	web := l.group(vpc, "web")
	e := l.endpoint(vpc, a)
	id, def := e.GetVpcEndpointId(), e.GetGroups()[0].GetGroupId()
	modify := func(change func(*ec2v1.ModifyVpcEndpointRequest)) error {
		req := &ec2v1.ModifyVpcEndpointRequest{VpcEndpointId: &id}
		change(req)
		_, err := l.ModifyVpcEndpoint(l.ctx(), req)
		return err
	}
	addresses := func() []string {
		answer, err := l.DescribeNetworkInterfaces(l.ctx(), &ec2v1.DescribeNetworkInterfacesRequest{Filters: []*ec2v1.Filter{{Name: new("description"), Values: []string{"VPC Endpoint Interface " + id}}}})
		var out []string
		for _, eni := range must(t, answer, err).GetNetworkInterfaces() {
			out = append(out, eni.GetPrivateIpAddress()+" "+eni.GetGroups()[0].GetGroupName())
		}
		slices.Sort(out)
		return out
	}

	must(t, 0, modify(func(r *ec2v1.ModifyVpcEndpointRequest) { r.AddSubnetIds = []string{b} }))
	if got := addresses(); !slices.Equal(got, []string{"10.1.0.4 default", "10.1.1.4 default"}) {
		t.Errorf("interfaces %v", got)
	}
	wantCode(t, modify(func(r *ec2v1.ModifyVpcEndpointRequest) { r.AddSubnetIds = []string{a2} }), "DuplicateSubnetsInSameZone")
	must(t, 0, modify(func(r *ec2v1.ModifyVpcEndpointRequest) { // groups and subnets at once
		r.RemoveSubnetIds, r.AddSubnetIds = []string{a}, []string{a2}
		r.AddSecurityGroupIds, r.RemoveSecurityGroupIds = []string{web}, []string{def}
	}))
	if got := addresses(); !slices.Equal(got, []string{"10.1.1.4 web", "10.1.2.4 web"}) {
		t.Errorf("interfaces %v", got)
	}
	shown := l.describe(id)
	if !slices.Equal(shown.GetSubnetIds(), []string{b, a2}) || len(shown.GetNetworkInterfaceIds()) != 2 || shown.GetGroups()[0].GetGroupId() != web {
		t.Errorf("endpoint %v", shown)
	}
	wantCode(t, modify(func(r *ec2v1.ModifyVpcEndpointRequest) { r.RemoveSecurityGroupIds = []string{web} }), "InvalidParameter")
	wantCode(t, modify(func(r *ec2v1.ModifyVpcEndpointRequest) { r.RemoveSubnetIds = []string{a} }), "InvalidParameter")
	_, err := l.DeleteSecurityGroup(l.ctx(), &ec2v1.DeleteSecurityGroupRequest{GroupId: &web})
	wantCode(t, err, "DependencyViolation")

	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"*"}]}`
	must(t, 0, modify(func(r *ec2v1.ModifyVpcEndpointRequest) { r.PolicyDocument = &document }))
	if got := l.describe(id).GetPolicyDocument(); got != document {
		t.Errorf("policy %s", got)
	}
	wantCode(t, modify(func(r *ec2v1.ModifyVpcEndpointRequest) { r.PolicyDocument, r.ResetPolicy = &document, new(true) }), "InvalidParameterCombination")
	wantCode(t, modify(func(r *ec2v1.ModifyVpcEndpointRequest) { r.PolicyDocument = new(`{"Statement":7}`) }), "InvalidPolicyDocument")
	must(t, 0, modify(func(r *ec2v1.ModifyVpcEndpointRequest) { r.ResetPolicy = new(true) }))
	if got := l.describe(id).GetPolicyDocument(); got != fullAccess {
		t.Errorf("policy %s", got)
	}

	zone := func() string { return l.view().Find(statev1.Type_TYPE_VPC, "", vpc).GetVpc().GetPrivateZoneId() }
	before := zone()
	must(t, 0, modify(func(r *ec2v1.ModifyVpcEndpointRequest) { r.PrivateDnsEnabled = new(false) }))
	if n := len(l.describe(id).GetDnsEntrys()); n != 3 {
		t.Errorf("%d names without private DNS, want 3", n)
	}
	must(t, 0, modify(func(r *ec2v1.ModifyVpcEndpointRequest) { r.PrivateDnsEnabled = new(true) }))
	if n := len(l.describe(id).GetDnsEntrys()); n != 5 || zone() != before {
		t.Errorf("%d names with private DNS, want 5; zone %s, was %s", n, zone(), before)
	}
	id = "vpce-00000000000000000"
	wantCode(t, modify(func(r *ec2v1.ModifyVpcEndpointRequest) { r.ResetPolicy = new(true) }), "InvalidVpcEndpointId.NotFound")
}

func TestChosenAddresses(t *testing.T) {
	l := newEC2Lab(t)
	vpc := l.dnsVPC("10.1.0.0/16")
	subnet := l.subnet(vpc, "10.1.0.0/28", "us-west-2a").GetSubnetId()
	create := func(address string) (string, error) {
		req := endpointRequest(vpc)
		req.PrivateDnsEnabled = new(false)
		req.SubnetConfigurations = []*ec2v1.SubnetConfiguration{{SubnetId: &subnet}}
		if address != "" {
			req.SubnetConfigurations[0].Ipv4 = &address
		}
		answer, err := l.CreateVpcEndpoint(l.ctx(), req)
		if err != nil {
			return "", err
		}
		enis, err := l.DescribeNetworkInterfaces(l.ctx(), &ec2v1.DescribeNetworkInterfacesRequest{NetworkInterfaceIds: answer.GetVpcEndpoint().GetNetworkInterfaceIds()})
		return must(t, enis, err).GetNetworkInterfaces()[0].GetPrivateIpAddress(), nil
	}
	for _, c := range [][2]string{{"10.1.0.5", "10.1.0.5"}, {"", "10.1.0.4"}, {"", "10.1.0.6"}, {"10.1.0.14", "10.1.0.14"}} {
		got, err := create(c[0])
		if must(t, got, err) != c[1] {
			t.Errorf("asked for %q, got %s, want %s", c[0], got, c[1])
		}
	}
	for address, code := range map[string]string{
		"10.1.0.3": "InvalidParameterValue", "10.1.0.15": "InvalidParameterValue", "10.1.9.9": "InvalidParameterValue",
		"x": "InvalidParameterValue", "10.1.0.5": "InvalidIPAddress.InUse",
	} {
		_, err := create(address)
		wantCode(t, err, code)
	}
	for range 7 {
		_, err := create("")
		must(t, 0, err)
	}
	_, err := create("")
	wantCode(t, err, "InsufficientFreeAddressesInSubnet")
}

// namedAPI is an API's record as the API Gateway service writes it.
func namedAPI(id, kind string, endpoints ...string) *apigatewayv1.RestApi {
	return &apigatewayv1.RestApi{Id: &id, EndpointConfiguration: &apigatewayv1.EndpointConfiguration{
		Types: &awsv1.StringList{Values: []string{kind}}, VpcEndpointIds: endpoints,
	}}
}

// save commits an API with the change of names that its write causes.
func (l *ec2Lab) save(before, after *apigatewayv1.RestApi) *statev1.DnsChange {
	l.Helper()
	id := before.GetId() + after.GetId()
	if before != nil && after != nil {
		id = after.GetId()
	}
	key := state.Key{Type: statev1.Type_TYPE_REST_API, Account: testAccount, Region: testRegion, ID: id}
	txn := &statev1.Txn{Deletes: []*statev1.Key{key.Proto()}}
	if after != nil {
		txn.Puts = append(txn.Puts, &statev1.Record{Key: key.Proto(), Value: &statev1.Record_RestApi{RestApi: after}})
	}
	change := apiDNS(l.cfg, l.view(), before, after, key)
	if change != nil {
		txn.Puts = append(txn.Puts, change)
	}
	if _, err := l.cluster.Propose(l.Context(), txn); err != nil {
		l.Fatal(err)
	}
	return change.GetDnsChange()
}

func TestNamesOfAPIsAndEndpoints(t *testing.T) {
	l := newEC2Lab(t)
	vpc := l.dnsVPC("10.1.0.0/16")
	a, b := l.subnet(vpc, "10.1.0.0/24", "us-west-2a").GetSubnetId(), l.subnet(vpc, "10.1.1.0/24", "us-west-2b").GetSubnetId()
	e := l.endpoint(vpc, a, b)
	id := e.GetVpcEndpointId()
	regional, zoneB := e.GetDnsEntrys()[0].GetDnsName()+".", e.GetDnsEntrys()[2].GetDnsName()+"."
	l.wantResolve(regional, "10.1.0.4", "10.1.1.4")
	l.wantResolve(zoneB, "10.1.1.4")

	public := "abcde12345.execute-api.us-west-2.amazonaws.com."
	alias := "abcde12345-" + id + ".execute-api.us-west-2.amazonaws.com."
	api := namedAPI("abcde12345", "REGIONAL")
	l.save(nil, api)
	l.wantResolve(public, "127.0.0.1")
	private := namedAPI("abcde12345", "PRIVATE", "vpce-00000000000000000", id, id)
	l.save(api, private)
	l.wantResolve(public)
	l.wantResolve(alias, "10.1.0.4", "10.1.1.4")
	renamed := proto.CloneOf(private)
	renamed.Name = new("other")
	if c := l.save(private, renamed); c != nil {
		t.Errorf("a new description of the API changes names: %v", c)
	}

	// The alias follows the endpoint, and goes with it.
	modify := &ec2v1.ModifyVpcEndpointRequest{VpcEndpointId: &id, RemoveSubnetIds: []string{a}}
	_, err := l.ModifyVpcEndpoint(l.ctx(), modify)
	must(t, 0, err)
	l.wantResolve(alias, "10.1.1.4")
	l.wantResolve(regional, "10.1.1.4")
	l.deleteEndpoint(id)
	l.wantResolve(alias)
	l.wantResolve(regional)
	l.wantResolve(zoneB)
	// What is dangling has no name to lose.
	if c := l.save(renamed, namedAPI("abcde12345", "PRIVATE")); c != nil {
		t.Errorf("removing a dangling association changes names: %v", c)
	}
}

func TestChangeRecord(t *testing.T) {
	l := newEC2Lab(t)
	l.profile("aws")
	c := l.save(nil, namedAPI("abcde12345", "EDGE"))
	want := &statev1.DnsChange{
		Id: c.GetId(), Profile: "aws", Seed: 1, Comment: "Names of abcde12345", Subject: "abcde12345", Account: testAccount, Region: testRegion,
		Attempts: []int64{l.now.UnixNano()}, SubmittedAt: l.now.UnixNano(),
		Records: []*statev1.RecordChange{{
			Name: "abcde12345.execute-api.us-west-2.amazonaws.com.", Type: "A", After: &statev1.RRset{Ttl: 60, Addresses: []string{"127.0.0.1"}},
		}},
	}
	if !proto.Equal(c, want) || !regexp.MustCompile(`^C[A-Z0-9]{20}$`).MatchString(c.GetId()) {
		t.Errorf("change %v\nwant %v", c, want)
	}
	// A clock that goes back does not take commit times with it, also for a
	// service that was not there before.
	first := c.GetAttempts()[0]
	l.now = l.now.Add(-time.Hour)
	l.cfg.changes = &changeLedger{}
	if c := l.save(nil, namedAPI("fghij12345", "EDGE")); c.GetAttempts()[0] != first {
		t.Errorf("commit time %d after %d", c.GetAttempts()[0], first)
	}
}

func TestGetChangeAndKick(t *testing.T) {
	l := newEC2Lab(t)
	l.profile("aws")
	route53 := NewRoute53(l.cfg)
	status := func(id string) string {
		answer, err := route53.GetChange(l.ctx(), &route53v1.GetChangeRequest{Id: id})
		return must(t, answer, err).GetChangeInfo().GetStatus()
	}
	key := state.Key{Type: statev1.Type_TYPE_REST_API, Account: testAccount, Region: testRegion, ID: "abcde12345"}
	change := l.save(nil, namedAPI(key.ID, "EDGE"))
	other := l.save(nil, namedAPI("fghij12345", "EDGE"))
	id := change.GetId()
	if s := status(id); s != "PENDING" {
		t.Errorf("at once: %s", s)
	}
	// A lost change stays PENDING until it is driven again.
	lost := proto.CloneOf(change)
	lost.Lost = true
	l.commit(&statev1.Record{Key: state.Key{Type: statev1.Type_TYPE_DNS_CHANGE, ID: id}.Proto(), Value: &statev1.Record_DnsChange{DnsChange: lost}})
	l.now = l.now.Add(time.Hour)
	if s := status(id); s != "PENDING" {
		t.Errorf("lost, after an hour: %s", s)
	}
	if s := status("/change/" + other.GetId()); s != "INSYNC" {
		t.Errorf("not lost, after an hour: %s", s)
	}
	kicked := kickDNS(l.cfg, l.view(), key)
	if len(kicked) != 1 || len(kicked[0].GetDnsChange().GetAttempts()) != 2 {
		t.Fatalf("kicked %v", kicked)
	}
	l.commit(kicked...)
	l.now = l.now.Add(10 * time.Minute)
	if s := status(id); s != "INSYNC" {
		t.Errorf("driven again, after ten minutes: %s", s)
	}
	if again := kickDNS(l.cfg, l.view(), key); len(again) != 0 {
		t.Errorf("a change in sync is kicked: %v", again)
	}
	if n := len(l.cfg.changes.pending); n != 0 {
		t.Errorf("the ledger still holds %d changes", n)
	}
	_, err := route53.GetChange(l.ctx(), &route53v1.GetChangeRequest{Id: "CNOTHING"})
	wantCode(t, err, "NoSuchChange")
	_, err = route53.GetChange(as(t.Context(), "222222222222", testRegion), &route53v1.GetChangeRequest{Id: id})
	wantCode(t, err, "NoSuchChange")
}

// Deployments while the DNS clock stands still must not grow a record for ever.
func TestKicksAreBounded(t *testing.T) {
	l := newEC2Lab(t)
	l.profile("aws")
	key := state.Key{Type: statev1.Type_TYPE_REST_API, Account: testAccount, Region: testRegion, ID: "abcde12345"}
	change := l.save(nil, namedAPI(key.ID, "EDGE"))
	for range maxAttemptsOfChange + 10 {
		l.commit(kickDNS(l.cfg, l.view(), key)...)
	}
	r := l.view().Get(state.Key{Type: statev1.Type_TYPE_DNS_CHANGE, ID: change.GetId()})
	if n := len(r.GetDnsChange().GetAttempts()); n != maxAttemptsOfChange {
		t.Errorf("%d attempts, want %d", n, maxAttemptsOfChange)
	}
}

// The change of an endpoint is kicked by the APIs whose alias it carries.
func TestKickOfAnAlias(t *testing.T) {
	l := newEC2Lab(t)
	l.profile("aws")
	vpc := l.dnsVPC("10.1.0.0/16")
	subnet := l.subnet(vpc, "10.1.0.0/24", "us-west-2a").GetSubnetId()
	id := l.endpoint(vpc, subnet).GetVpcEndpointId()
	l.save(nil, namedAPI("abcde12345", "PRIVATE", id))
	l.now = l.now.Add(time.Hour)
	l.deleteEndpoint(id)
	for api, want := range map[string]int{"abcde12345": 1, "fghij12345": 0} {
		if n := len(kickDNS(l.cfg, l.view(), state.Key{Type: statev1.Type_TYPE_REST_API, Account: testAccount, Region: testRegion, ID: api})); n != want {
			t.Errorf("a deployment of %s kicks %d changes, want %d", api, n, want)
		}
	}
}

func TestEnsureClientInterface(t *testing.T) {
	l := newEC2Lab(t)
	vpc := l.dnsVPC("10.1.0.0/16")
	c := Caller{Account: testAccount, Region: testRegion}
	_, _, err := ensureClientInterface(l.cfg, l.view(), c, vpc, "", nil)
	wantCode(t, err, "InvalidSubnetID.NotFound")
	second := l.subnet(vpc, "10.1.1.0/24", "us-west-2b").GetSubnetId()
	first := l.subnet(vpc, "10.1.0.0/24", "us-west-2a").GetSubnetId()
	web := l.group(vpc, "web")
	ensure := func(subnet string, groups ...string) *ec2v1.NetworkInterface {
		t.Helper()
		eni, txn, err := ensureClientInterface(l.cfg, l.view(), c, vpc, subnet, groups)
		must(t, 0, err)
		if txn != nil {
			_, err := l.cluster.Propose(t.Context(), txn)
			must(t, 0, err)
		}
		return eni
	}
	eni := ensure("")
	if eni.GetSubnetId() != first || eni.GetPrivateIpAddress() != "10.1.0.4" || eni.GetGroups()[0].GetGroupName() != "default" || !isClient(eni) {
		t.Errorf("client %v", eni)
	}
	if again := ensure(""); again.GetNetworkInterfaceId() != eni.GetNetworkInterfaceId() {
		t.Error("a second client was made")
	}
	byName, byID := ensure(second, "web"), ensure(second, web)
	if byName.GetNetworkInterfaceId() != byID.GetNetworkInterfaceId() || byName.GetPrivateIpAddress() != "10.1.1.4" {
		t.Errorf("clients %v and %v", byName, byID)
	}
	// Nobody could delete a client, so it holds up neither its group nor its subnet.
	_, err = l.DeleteSecurityGroup(l.ctx(), &ec2v1.DeleteSecurityGroupRequest{GroupId: &web})
	must(t, 0, err)
	_, err = l.DeleteSubnet(l.ctx(), &ec2v1.DeleteSubnetRequest{SubnetId: &first})
	must(t, 0, err)
	for r := range l.view().All(statev1.Type_TYPE_NETWORK_INTERFACE) {
		t.Errorf("left behind: %v", r)
	}
}

// Writers of one VPC don't get one address twice, whatever they race for.
func TestEndpointRace(t *testing.T) {
	l := newEC2Lab(t)
	vpc := l.dnsVPC("10.1.0.0/16")
	subnet := l.subnet(vpc, "10.1.0.0/24", "us-west-2a").GetSubnetId()
	var wg sync.WaitGroup
	for range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			req := endpointRequest(vpc, subnet)
			req.PrivateDnsEnabled = new(false)
			if _, err := l.CreateVpcEndpoint(l.ctx(), req); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	seen := map[string]bool{}
	for r := range l.view().All(statev1.Type_TYPE_NETWORK_INTERFACE) {
		seen[r.GetNetworkInterface().GetPrivateIpAddress()] = true
	}
	for i := range 16 {
		if a := fmt.Sprintf("10.1.0.%d", i+4); !seen[a] {
			t.Errorf("nobody has %s", a)
		}
	}
}
