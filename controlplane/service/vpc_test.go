package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

func TestDefaultVPC(t *testing.T) {
	l := newEC2Lab(t)
	answer, err := l.DescribeVpcs(l.ctx(), &ec2v1.DescribeVpcsRequest{})
	vpcs := must(t, answer, err).GetVpcs()
	if len(vpcs) != 1 || !vpcs[0].GetIsDefault() || vpcs[0].GetCidrBlock() != "172.31.0.0/16" {
		t.Fatalf("the first call finds %v", vpcs)
	}
	subnets, err := l.DescribeSubnets(l.ctx(), &ec2v1.DescribeSubnetsRequest{})
	var got []string
	for _, s := range must(t, subnets, err).GetSubnets() {
		got = append(got, s.GetCidrBlock()+" "+s.GetAvailabilityZone()+" "+fmt.Sprint(s.GetDefaultForAz(), s.GetAvailableIpAddressCount()))
	}
	slices.Sort(got)
	want := []string{"172.31.0.0/20 us-west-2a true 4091", "172.31.16.0/20 us-west-2b true 4091", "172.31.32.0/20 us-west-2c true 4091"}
	if !slices.Equal(got, want) {
		t.Errorf("default subnets %v, want %v", got, want)
	}
	groups, err := l.DescribeSecurityGroups(l.ctx(), &ec2v1.DescribeSecurityGroupsRequest{GroupNames: []string{"default"}})
	group := must(t, groups, err).GetSecurityGroups()[0]
	if p := group.GetIpPermissions(); len(p) != 1 || p[0].GetIpProtocol() != "-1" || p[0].GetUserIdGroupPairs()[0].GetGroupId() != group.GetGroupId() {
		t.Errorf("default group lets in %v", p)
	}
	if p := group.GetIpPermissionsEgress(); len(p) != 1 || p[0].GetIpRanges()[0].GetCidrIp() != "0.0.0.0/0" {
		t.Errorf("default group lets out %v", p)
	}
	for _, attribute := range []string{"enableDnsSupport", "enableDnsHostnames"} {
		a, err := l.DescribeVpcAttribute(l.ctx(), &ec2v1.DescribeVpcAttributeRequest{VpcId: vpcs[0].VpcId, Attribute: &attribute})
		if must(t, a, err); !a.GetEnableDnsSupport().GetValue() && !a.GetEnableDnsHostnames().GetValue() {
			t.Errorf("%s is off in the default VPC", attribute)
		}
	}
	index := l.view().Index()
	if _, err := l.DescribeVpcs(l.ctx(), &ec2v1.DescribeVpcsRequest{}); err != nil || l.view().Index() != index {
		t.Errorf("a second read wrote (%v)", err)
	}
	// Another region and another account have their own.
	for _, ctx := range []context.Context{as(t.Context(), testAccount, "eu-west-1"), as(t.Context(), "222222222222", testRegion)} {
		other, err := l.DescribeVpcs(ctx, &ec2v1.DescribeVpcsRequest{})
		if vs := must(t, other, err).GetVpcs(); len(vs) != 1 || vs[0].GetVpcId() == vpcs[0].GetVpcId() {
			t.Errorf("elsewhere: %v", vs)
		}
	}
}

func TestDefaultVPCDoesNotComeBack(t *testing.T) {
	l := newEC2Lab(t)
	list := func() []*ec2v1.Vpc {
		answer, err := l.DescribeVpcs(l.ctx(), &ec2v1.DescribeVpcsRequest{})
		return must(t, answer, err).GetVpcs()
	}
	id := list()[0].VpcId
	_, err := l.DeleteVpc(l.ctx(), &ec2v1.DeleteVpcRequest{VpcId: id})
	wantCode(t, err, "DependencyViolation", "The vpc '"+*id+"' has dependencies and cannot be deleted.")
	subnets, _ := l.DescribeSubnets(l.ctx(), &ec2v1.DescribeSubnetsRequest{})
	for _, s := range subnets.GetSubnets() {
		_, err := l.DeleteSubnet(l.ctx(), &ec2v1.DeleteSubnetRequest{SubnetId: s.SubnetId})
		must(t, 0, err)
	}
	if _, err := l.DeleteVpc(l.ctx(), &ec2v1.DeleteVpcRequest{VpcId: id}); err != nil {
		t.Fatal(err)
	}
	if got := list(); len(got) != 0 {
		t.Fatalf("it came back: %v", got)
	}
	_, err = l.CreateSecurityGroup(l.ctx(), &ec2v1.CreateSecurityGroupRequest{GroupName: new("web"), GroupDescription: new("web")})
	wantCode(t, err, "VPCIdNotSpecified", "No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC.")
}

func TestCreateVpc(t *testing.T) {
	l := newEC2Lab(t)
	answer, err := l.CreateVpc(l.ctx(), &ec2v1.CreateVpcRequest{
		CidrBlock: new("10.7.3.4/16"),
		TagSpecifications: []*ec2v1.TagSpecification{{ResourceType: new("vpc"), Tags: []*ec2v1.Tag{
			{Key: new("Name"), Value: new("main")},
		}}},
	})
	vpc := must(t, answer, err).GetVpc()
	if vpc.GetState() != "pending" || vpc.GetCidrBlock() != "10.7.0.0/16" || vpc.GetIsDefault() || vpc.GetTags()[0].GetValue() != "main" ||
		vpc.GetCidrBlockAssociations()[0].GetCidrBlockState().GetState() != "associated" || vpc.GetInstanceTenancy() != "default" {
		t.Errorf("created %v", vpc)
	}
	shown, err := l.DescribeVpcs(l.ctx(), &ec2v1.DescribeVpcsRequest{VpcIds: []string{vpc.GetVpcId()}})
	if must(t, shown, err).GetVpcs()[0].GetState() != "available" {
		t.Errorf("described %v", shown.GetVpcs()[0])
	}
	for cidr, code := range map[string]string{
		"":              "MissingParameter",
		"banana":        "InvalidParameterValue",
		"10.0.0.0":      "InvalidParameterValue",
		"fd00::/16":     "InvalidParameterValue",
		"10.0.0.0/8":    "InvalidVpc.Range",
		"10.0.0.0/29":   "InvalidVpc.Range",
		"127.9.0.0/16":  "InvalidVpc.Range",
		"224.0.0.0/16":  "InvalidVpc.Range",
		"169.254.0.0/2": "InvalidVpc.Range",
	} {
		_, err := l.CreateVpc(l.ctx(), &ec2v1.CreateVpcRequest{CidrBlock: &cidr})
		wantCode(t, err, code)
	}
	bad := "10.0.0.0/8"
	_, err = l.CreateVpc(l.ctx(), &ec2v1.CreateVpcRequest{CidrBlock: &bad})
	wantCode(t, err, "InvalidVpc.Range", "The CIDR '10.0.0.0/8' is invalid.")
}

func TestDryRun(t *testing.T) {
	l := newEC2Lab(t)
	before := func() int {
		answer, err := l.DescribeVpcs(l.ctx(), &ec2v1.DescribeVpcsRequest{})
		return len(must(t, answer, err).GetVpcs())
	}
	n := before()
	_, err := l.CreateVpc(l.ctx(), &ec2v1.CreateVpcRequest{CidrBlock: new("10.1.0.0/16"), DryRun: new(true)})
	wantCode(t, err, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
	if before() != n {
		t.Error("a dry run made a VPC")
	}
	_, err = l.CreateVpc(l.ctx(), &ec2v1.CreateVpcRequest{CidrBlock: new("10.1.0.0/8"), DryRun: new(true)})
	wantCode(t, err, "InvalidVpc.Range")
	_, err = l.DescribeVpcs(l.ctx(), &ec2v1.DescribeVpcsRequest{DryRun: new(true)})
	wantCode(t, err, "DryRunOperation")
	_, err = l.DeleteVpcEndpoints(l.ctx(), &ec2v1.DeleteVpcEndpointsRequest{VpcEndpointIds: []string{"vpce-00000000000000000"}, DryRun: new(true)})
	wantCode(t, err, "DryRunOperation")
}

func TestLoopbackOctets(t *testing.T) {
	l := newEC2Lab(t)
	octet := func(vpc string) uint32 {
		return l.view().Find(statev1.Type_TYPE_VPC, "", vpc).GetVpc().GetLoopbackOctet()
	}
	for _, c := range []struct {
		cidr string
		want uint32
	}{
		{"10.5.0.0/16", 5},
		{"10.5.0.0/16", 253}, // 5 is taken; 254 is the default VPC's
		{"10.6.128.0/24", 6},
		{"10.0.0.0/16", 252}, // 127.0.x.x is this machine
		{"192.168.0.0/16", 251},
		{"10.254.0.0/16", 250},
	} {
		if got := octet(l.vpc(c.cidr).GetVpcId()); got != c.want {
			t.Errorf("%s is bound in 127.%d, want 127.%d", c.cidr, got, c.want)
		}
	}
	id := l.vpc("10.9.0.0/16").VpcId
	_, err := l.DeleteVpc(l.ctx(), &ec2v1.DeleteVpcRequest{VpcId: id})
	must(t, 0, err)
	if got := octet(l.vpc("10.9.0.0/16").GetVpcId()); got != 9 {
		t.Errorf("the octet of a deleted VPC was not given back: %d", got)
	}
}

func TestLoopbackOctetsRunOut(t *testing.T) {
	l := newEC2Lab(t)
	for range 253 { // and the default VPC
		l.vpc("10.0.0.0/16")
	}
	_, err := l.CreateVpc(l.ctx(), &ec2v1.CreateVpcRequest{CidrBlock: new("10.0.0.0/16")})
	wantCode(t, err, "VpcLimitExceeded")
	s := &statev1.Settings{Addresses: "as-is"}
	l.commit(&statev1.Record{Key: &statev1.Key{Type: statev1.Type_TYPE_SETTINGS, Id: "settings"}, Value: &statev1.Record_Settings{Settings: s}})
	id := l.vpc("10.0.0.0/16").GetVpcId()
	if got := l.view().Find(statev1.Type_TYPE_VPC, "", id).GetVpc().GetLoopbackOctet(); got != 0 {
		t.Errorf("addresses as they are, yet octet %d", got)
	}
}

// Many VPCs at once, over accounts, never share an octet.
func TestLoopbackOctetsRace(t *testing.T) {
	l := newEC2Lab(t)
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ctx := as(t.Context(), fmt.Sprintf("%012d", i%4), testRegion)
			if _, err := l.CreateVpc(ctx, &ec2v1.CreateVpcRequest{CidrBlock: new("10.8.0.0/16")}); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	seen := map[uint32]string{}
	for r := range l.view().All(statev1.Type_TYPE_VPC) {
		o := r.GetVpc().GetLoopbackOctet()
		if seen[o] != "" {
			t.Errorf("127.%d belongs to %s and %s", o, seen[o], r.GetKey().GetId())
		}
		seen[o] = r.GetKey().GetId()
	}
	if len(seen) != 28 {
		t.Errorf("%d VPCs, want 24 and 4 default ones", len(seen))
	}
}

func TestVpcAttributes(t *testing.T) {
	l := newEC2Lab(t)
	id := l.vpc("10.1.0.0/16").VpcId
	get := func(attribute string) bool {
		a, err := l.DescribeVpcAttribute(l.ctx(), &ec2v1.DescribeVpcAttributeRequest{VpcId: id, Attribute: &attribute})
		must(t, a, err)
		return a.GetEnableDnsSupport().GetValue() || a.GetEnableDnsHostnames().GetValue() || a.GetEnableNetworkAddressUsageMetrics().GetValue()
	}
	if !get("enableDnsSupport") || get("enableDnsHostnames") || get("enableNetworkAddressUsageMetrics") {
		t.Error("wrong attributes of a new VPC")
	}
	on := &ec2v1.AttributeBooleanValue{Value: new(true)}
	_, err := l.ModifyVpcAttribute(l.ctx(), &ec2v1.ModifyVpcAttributeRequest{VpcId: id, EnableDnsHostnames: on})
	if must(t, 0, err); !get("enableDnsHostnames") {
		t.Error("enableDnsHostnames is still off")
	}
	_, err = l.ModifyVpcAttribute(l.ctx(), &ec2v1.ModifyVpcAttributeRequest{VpcId: id, EnableDnsHostnames: on, EnableDnsSupport: on})
	wantCode(t, err, "InvalidParameterCombination")
	_, err = l.DescribeVpcAttribute(l.ctx(), &ec2v1.DescribeVpcAttributeRequest{VpcId: id, Attribute: new("size")})
	wantCode(t, err, "InvalidParameterValue")
	_, err = l.DescribeVpcAttribute(l.ctx(), &ec2v1.DescribeVpcAttributeRequest{VpcId: new("vpc-00000000"), Attribute: new("enableDnsSupport")})
	wantCode(t, err, "InvalidVpcID.NotFound", "The vpc ID 'vpc-00000000' does not exist")
	_, err = l.ModifyVpcAttribute(l.ctx(), &ec2v1.ModifyVpcAttributeRequest{VpcId: new("vpc-x"), EnableDnsSupport: on})
	wantCode(t, err, "InvalidVpcID.Malformed", `Invalid id: "vpc-x"`)
}

func TestSubnets(t *testing.T) {
	l := newEC2Lab(t)
	vpc := l.vpc("10.1.0.0/16").GetVpcId()
	first := l.subnet(vpc, "10.1.0.0/24", "us-west-2b")
	if first.GetAvailableIpAddressCount() != 251 || first.GetAvailabilityZoneId() != "usw2-az2" || first.GetState() != "available" {
		t.Errorf("created %v", first)
	}
	create := func(cidr, zone string) (*ec2v1.CreateSubnetResponse, error) {
		req := &ec2v1.CreateSubnetRequest{VpcId: &vpc, CidrBlock: &cidr}
		if zone != "" {
			req.AvailabilityZone = &zone
		}
		return l.CreateSubnet(l.ctx(), req)
	}
	var zones []string
	for i := range 2 {
		answer, err := create(fmt.Sprintf("10.1.%d.0/24", i+1), "")
		zones = append(zones, must(t, answer, err).GetSubnet().GetAvailabilityZone())
	}
	if !slices.Equal(zones, []string{"us-west-2a", "us-west-2c"}) {
		t.Errorf("subnets without a zone are in %v", zones)
	}
	_, err := create("10.2.0.0/24", "")
	wantCode(t, err, "InvalidSubnet.Range", "The CIDR '10.2.0.0/24' is invalid.")
	_, err = create("10.1.0.128/25", "")
	wantCode(t, err, "InvalidSubnet.Conflict", "The CIDR '10.1.0.128/25' conflicts with another subnet")
	_, err = create("10.1.9.0/24", "us-zz-1a")
	wantCode(t, err, "InvalidParameterValue", "Value (us-zz-1a) for parameter availabilityZone is invalid. Subnets can currently only be created in the following availability zones: us-west-2a, us-west-2b, us-west-2c.")
	_, err = l.DescribeSubnets(l.ctx(), &ec2v1.DescribeSubnetsRequest{SubnetIds: []string{"subnet-12345678"}})
	wantCode(t, err, "InvalidSubnetID.NotFound", "The subnet ID 'subnet-12345678' does not exist")

	e := l.endpoint(l.dnsVPC("10.3.0.0/16"))
	if len(e.GetNetworkInterfaceIds()) != 0 {
		t.Errorf("an endpoint without subnets has %v", e.GetNetworkInterfaceIds())
	}
	req := endpointRequest(vpc, first.GetSubnetId())
	req.PrivateDnsEnabled = new(false)
	made, err := l.CreateVpcEndpoint(l.ctx(), req)
	must(t, made, err)
	answer, err := l.DescribeSubnets(l.ctx(), &ec2v1.DescribeSubnetsRequest{SubnetIds: []string{first.GetSubnetId()}})
	if n := must(t, answer, err).GetSubnets()[0].GetAvailableIpAddressCount(); n != 250 {
		t.Errorf("%d addresses are left, want 250", n)
	}
	_, err = l.DeleteSubnet(l.ctx(), &ec2v1.DeleteSubnetRequest{SubnetId: first.SubnetId})
	wantCode(t, err, "DependencyViolation")
	l.deleteEndpoint(made.GetVpcEndpoint().GetVpcEndpointId())
	_, err = l.DeleteSubnet(l.ctx(), &ec2v1.DeleteSubnetRequest{SubnetId: first.SubnetId})
	must(t, 0, err)
}

func TestPagesAndFilters(t *testing.T) {
	l := newEC2Lab(t)
	vpc := l.vpc("10.1.0.0/16").GetVpcId()
	for i := range 12 {
		l.subnet(vpc, fmt.Sprintf("10.1.%d.0/24", i), "us-west-2"+string("abc"[i%3]))
	}
	inVPC := []*ec2v1.Filter{{Name: new("vpc-id"), Values: []string{vpc}}}
	var seen []string
	var token *string
	for pages := 1; ; pages++ {
		answer, err := l.DescribeSubnets(l.ctx(), &ec2v1.DescribeSubnetsRequest{Filters: inVPC, MaxResults: new(int32(5)), NextToken: token})
		for _, s := range must(t, answer, err).GetSubnets() {
			seen = append(seen, s.GetSubnetId())
		}
		if token = answer.NextToken; token == nil {
			if pages != 3 {
				t.Errorf("%d pages, want 3", pages)
			}
			break
		}
	}
	if len(seen) != 12 || len(slices.Compact(slices.Sorted(slices.Values(seen)))) != 12 {
		t.Errorf("pages show %d subnets", len(seen))
	}
	count := func(filters ...*ec2v1.Filter) int {
		answer, err := l.DescribeSubnets(l.ctx(), &ec2v1.DescribeSubnetsRequest{Filters: append(filters, inVPC...)})
		return len(must(t, answer, err).GetSubnets())
	}
	f := func(name string, values ...string) *ec2v1.Filter { return &ec2v1.Filter{Name: &name, Values: values} }
	if n := count(f("availability-zone", "us-west-2a", "us-west-2b")); n != 8 {
		t.Errorf("two zones have %d subnets, want 8", n)
	}
	if n := count(f("cidr-block", "10.1.1?.0/24")); n != 2 {
		t.Errorf("a question mark finds %d, want 2", n)
	}
	if n := count(f("cidr-block", "10.1.1*"), f("availability-zone-id", "usw2-az2")); n != 2 {
		t.Errorf("two filters find %d, want 2", n)
	}
	if n := count(f("tag:Name", "x")); n != 0 {
		t.Errorf("%d subnets have a tag that none has", n)
	}
	for _, bad := range []*ec2v1.DescribeSubnetsRequest{
		{Filters: []*ec2v1.Filter{f("colour", "red")}},
		{Filters: []*ec2v1.Filter{f("vpc-id")}},
		{Filters: []*ec2v1.Filter{f("tag:", "x")}},
		{MaxResults: new(int32(4))},
		{MaxResults: new(int32(1001))},
		{NextToken: new("nonsense")},
	} {
		_, err := l.DescribeSubnets(l.ctx(), bad)
		wantCode(t, err, "InvalidParameterValue")
	}
	_, err := l.DescribeSubnets(l.ctx(), &ec2v1.DescribeSubnetsRequest{Filters: []*ec2v1.Filter{f("colour", "red")}})
	wantCode(t, err, "InvalidParameterValue", "The filter 'colour' is invalid")
	_, err = l.DescribeSubnets(l.ctx(), &ec2v1.DescribeSubnetsRequest{SubnetIds: seen[:1], MaxResults: new(int32(5))})
	wantCode(t, err, "InvalidParameterCombination")
}

func TestWildcard(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "a", true}, {"a", "A", false}, {"*", "", true}, {"a*c", "abbc", true},
		{"a*c", "abcd", false}, {"a?c", "abc", true}, {"a?c", "ac", false}, {"*a*b*", "xxaxxbxx", true}, {`\*`, "*", true},
		{`\*`, "x", false}, {`a\?`, "a?", true}, {`a\?`, "ab", false}, {`a\`, `a\`, true}, {"**", "x", true}, {"?", "é", true},
		{strings.Repeat("*a", 50) + "b", strings.Repeat("a", 5000), false},
	} {
		if got := wildcard(c.pattern, c.text); got != c.want {
			t.Errorf("wildcard(%q, %q) = %v", c.pattern, c.text, got)
		}
	}
}

func TestZonesAndRegions(t *testing.T) {
	l := newEC2Lab(t)
	answer, err := l.DescribeAvailabilityZones(as(t.Context(), testAccount, "us-east-1"), &ec2v1.DescribeAvailabilityZonesRequest{ZoneNames: []string{"us-east-1a"}})
	zones := must(t, answer, err).GetAvailabilityZones()
	want := &ec2v1.AvailabilityZone{ // as recorded
		ZoneState: new("available"), OptInStatus: new("opt-in-not-required"), RegionName: new("us-east-1"),
		ZoneName: new("us-east-1a"), ZoneId: new("use1-az6"), GroupName: new("us-east-1-zg-1"),
		GroupLongName: new("US East (N. Virginia) 1"), NetworkBorderGroup: new("us-east-1"), ZoneType: new("availability-zone"),
	}
	if len(zones) != 1 || !proto.Equal(zones[0], want) {
		t.Errorf("zones %v, want %v", zones, want)
	}
	for region, id := range map[string]string{"us-west-2": "usw2-az1", "ap-southeast-1": "apse1-az1", "eu-central-1": "euc1-az1", "us-gov-west-1": "usgw1-az1", "xx-north-9": "xxn9-az1"} {
		if z := zonesOf(region)[0]; z.id != id {
			t.Errorf("%s is %s, want %s", z.name, z.id, id)
		}
	}
	_, err = l.DescribeAvailabilityZones(l.ctx(), &ec2v1.DescribeAvailabilityZonesRequest{ZoneNames: []string{"us-east-1a"}})
	wantCode(t, err, "InvalidParameterValue")
	regions, err := l.DescribeRegions(as(t.Context(), testAccount, "xx-north-9"), &ec2v1.DescribeRegionsRequest{RegionNames: []string{"us-west-2", "xx-north-9"}})
	if n := len(must(t, regions, err).GetRegions()); n != 2 {
		t.Errorf("%d regions, want 2", n)
	}
}

func TestObjectsThatTerraformReads(t *testing.T) {
	l := newEC2Lab(t)
	vpc := l.vpc("10.1.0.0/16").GetVpcId()
	s := l.subnet(vpc, "10.1.0.0/24", "us-west-2a")
	f := func(name string, values ...string) *ec2v1.Filter { return &ec2v1.Filter{Name: &name, Values: values} }
	tables, err := l.DescribeRouteTables(l.ctx(), &ec2v1.DescribeRouteTablesRequest{Filters: []*ec2v1.Filter{f("association.main", "true"), f("vpc-id", vpc)}})
	if ts := must(t, tables, err).GetRouteTables(); len(ts) != 1 || ts[0].GetRoutes()[0].GetDestinationCidrBlock() != "10.1.0.0/16" {
		t.Errorf("route tables %v", ts)
	}
	acls, err := l.DescribeNetworkAcls(l.ctx(), &ec2v1.DescribeNetworkAclsRequest{Filters: []*ec2v1.Filter{f("default", "true"), f("vpc-id", vpc)}})
	if as := must(t, acls, err).GetNetworkAcls(); len(as) != 1 || len(as[0].GetEntrys()) != 4 || as[0].GetAssociations()[0].GetSubnetId() != s.GetSubnetId() {
		t.Errorf("network ACLs %v", as)
	}
	lists, err := l.DescribePrefixLists(l.ctx(), &ec2v1.DescribePrefixListsRequest{Filters: []*ec2v1.Filter{f("prefix-list-name", serviceName(testRegion))}})
	if n := len(must(t, lists, err).GetPrefixLists()); n != 0 {
		t.Errorf("%d prefix lists", n)
	}
	attributes, err := l.DescribeAccountAttributes(l.ctx(), &ec2v1.DescribeAccountAttributesRequest{AttributeNames: []string{"default-vpc"}})
	as := must(t, attributes, err).GetAccountAttributes()
	if len(as) != 1 || !strings.HasPrefix(as[0].GetAttributeValues()[0].GetAttributeValue(), "vpc-") {
		t.Errorf("account attributes %v", as)
	}
	_, err = l.DescribeAccountAttributes(l.ctx(), &ec2v1.DescribeAccountAttributesRequest{AttributeNames: []string{"size"}})
	wantCode(t, err, "InvalidParameterValue")
}

func TestTags(t *testing.T) {
	l := newEC2Lab(t)
	vpc := l.vpc("10.1.0.0/16").GetVpcId()
	other := l.vpc("10.2.0.0/16").GetVpcId()
	subnet := l.subnet(vpc, "10.1.0.0/24", "us-west-2a").GetSubnetId()
	group := l.group(vpc, "web")
	tag := func(pairs ...string) []*ec2v1.Tag {
		var tags []*ec2v1.Tag
		for i := 0; i < len(pairs); i += 2 {
			tags = append(tags, &ec2v1.Tag{Key: &pairs[i], Value: &pairs[i+1]})
		}
		return tags
	}
	rules, err := l.DescribeSecurityGroupRules(l.ctx(), &ec2v1.DescribeSecurityGroupRulesRequest{Filters: []*ec2v1.Filter{{Name: new("group-id"), Values: []string{group}}}})
	rule := must(t, rules, err).GetSecurityGroupRules()[0].GetSecurityGroupRuleId()
	ids := []string{vpc, other, subnet, group, rule}
	_, err = l.CreateTags(l.ctx(), &ec2v1.CreateTagsRequest{ResourceIds: ids, Tags: tag("env", "test", "a", "1")})
	must(t, 0, err)
	_, err = l.CreateTags(l.ctx(), &ec2v1.CreateTagsRequest{ResourceIds: []string{subnet}, Tags: tag("env", "prod")})
	must(t, 0, err)
	count := func(filters ...*ec2v1.Filter) int {
		answer, err := l.DescribeTags(l.ctx(), &ec2v1.DescribeTagsRequest{Filters: filters})
		return len(must(t, answer, err).GetTags())
	}
	f := func(name string, values ...string) *ec2v1.Filter { return &ec2v1.Filter{Name: &name, Values: values} }
	for _, c := range []struct {
		want    int
		filters []*ec2v1.Filter
	}{
		{10, nil},
		{5, []*ec2v1.Filter{f("key", "env")}},
		{1, []*ec2v1.Filter{f("key", "env"), f("value", "prod")}},
		{4, []*ec2v1.Filter{f("resource-type", "vpc")}},
		{2, []*ec2v1.Filter{f("resource-id", rule)}},
	} {
		if n := count(c.filters...); n != c.want {
			t.Errorf("%v finds %d tags, want %d", c.filters, n, c.want)
		}
	}
	shown, err := l.DescribeSubnets(l.ctx(), &ec2v1.DescribeSubnetsRequest{Filters: []*ec2v1.Filter{f("tag:env", "prod")}})
	if n := len(must(t, shown, err).GetSubnets()); n != 1 {
		t.Errorf("%d subnets by tag", n)
	}
	_, err = l.DeleteTags(l.ctx(), &ec2v1.DeleteTagsRequest{ResourceIds: ids, Tags: tag("env", "test")})
	must(t, 0, err)
	if n := count(f("key", "env")); n != 1 {
		t.Errorf("%d tags are left of env=test and env=prod, want 1", n)
	}
	_, err = l.DeleteTags(l.ctx(), &ec2v1.DeleteTagsRequest{ResourceIds: ids})
	if must(t, 0, err); count() != 0 {
		t.Error("tags are left")
	}
	_, err = l.CreateTags(l.ctx(), &ec2v1.CreateTagsRequest{ResourceIds: []string{vpc, "subnet-0123456789abcdef0"}, Tags: tag("a", "b")})
	if wantCode(t, err, "InvalidSubnetID.NotFound"); count() != 0 {
		t.Error("half of a refused request happened")
	}
	_, err = l.CreateTags(l.ctx(), &ec2v1.CreateTagsRequest{ResourceIds: []string{"ami-12345678"}, Tags: tag("a", "b")})
	wantCode(t, err, "InvalidID")
	_, err = l.CreateTags(l.ctx(), &ec2v1.CreateTagsRequest{ResourceIds: []string{vpc}, Tags: tag("aws:x", "b")})
	wantCode(t, err, "InvalidParameterValue")
	_, err = l.CreateVpc(l.ctx(), &ec2v1.CreateVpcRequest{CidrBlock: new("10.3.0.0/16"), TagSpecifications: []*ec2v1.TagSpecification{{ResourceType: new("subnet")}}})
	wantCode(t, err, "InvalidParameterValue")
}
