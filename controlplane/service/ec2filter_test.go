package service

import (
	"maps"
	"slices"
	"testing"

	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
)

// Every filter that an action knows finds a thing that has the property, and
// the ones that the specification asks for are known.
func TestEveryFilter(t *testing.T) {
	l := newEC2Lab(t)
	vpc := l.dnsVPC("10.1.0.0/16")
	subnet := l.subnet(vpc, "10.1.0.0/24", "us-west-2a").GetSubnetId()
	group := l.group(vpc, "web")
	req := endpointRequest(vpc, subnet)
	req.SecurityGroupIds = []string{group}
	made, err := l.CreateVpcEndpoint(l.ctx(), req)
	endpoint := must(t, made, err).GetVpcEndpoint()
	eni := endpoint.GetNetworkInterfaceIds()[0]
	_, err = l.allow(group, cidrs(tcp(443, 443), "10.1.0.0/16"), groups(tcp(443, 443), group),
		&ec2v1.IpPermission{IpProtocol: new("-1"), Ipv6Ranges: []*ec2v1.Ipv6Range{{CidrIpv6: new("fd00::/8")}}})
	must(t, 0, err)
	out := &ec2v1.AuthorizeSecurityGroupEgressRequest{GroupId: &group, IpPermissions: []*ec2v1.IpPermission{
		groups(tcp(1, 1), group), {IpProtocol: new("58"), Ipv6Ranges: []*ec2v1.Ipv6Range{{CidrIpv6: new("fd00::/8")}}},
	}}
	_, err = l.AuthorizeSecurityGroupEgress(l.ctx(), out)
	must(t, 0, err)
	rules, err := l.DescribeSecurityGroupRules(l.ctx(), &ec2v1.DescribeSecurityGroupRulesRequest{})
	rule := must(t, rules, err).GetSecurityGroupRules()[0].GetSecurityGroupRuleId()
	_, err = l.CreateTags(l.ctx(), &ec2v1.CreateTagsRequest{
		ResourceIds: []string{vpc, subnet, group, rule, endpoint.GetVpcEndpointId(), eni}, Tags: []*ec2v1.Tag{{Key: new("k"), Value: new("v")}},
	})
	must(t, 0, err)

	for _, c := range []struct {
		action string
		names  []string
		asked  []string // by the specification
		empty  []string // what nothing here has
		count  func([]*ec2v1.Filter) (int, error)
	}{
		{"DescribeVpcs", slices.Collect(maps.Keys(vpcFilters)),
			[]string{"vpc-id", "cidr", "cidr-block-association.cidr-block", "isDefault", "is-default", "state", "tag-key", "owner-id", "dhcp-options-id"}, nil,
			func(f []*ec2v1.Filter) (int, error) {
				a, err := l.DescribeVpcs(l.ctx(), &ec2v1.DescribeVpcsRequest{Filters: f})
				return len(a.GetVpcs()), err
			}},
		{"DescribeSubnets", slices.Collect(maps.Keys(subnetFilters)),
			[]string{"subnet-id", "vpc-id", "availability-zone", "availability-zone-id", "cidr-block", "default-for-az", "state", "tag-key"}, nil,
			func(f []*ec2v1.Filter) (int, error) {
				a, err := l.DescribeSubnets(l.ctx(), &ec2v1.DescribeSubnetsRequest{Filters: f})
				return len(a.GetSubnets()), err
			}},
		{"DescribeSecurityGroups", slices.Collect(maps.Keys(groupFilters)),
			[]string{"group-id", "group-name", "vpc-id", "description", "ip-permission.cidr", "ip-permission.from-port", "tag-key"}, nil,
			func(f []*ec2v1.Filter) (int, error) {
				a, err := l.DescribeSecurityGroups(l.ctx(), &ec2v1.DescribeSecurityGroupsRequest{Filters: f})
				return len(a.GetSecurityGroups()), err
			}},
		{"DescribeSecurityGroupRules", slices.Collect(maps.Keys(ruleFilters)), nil, nil,
			func(f []*ec2v1.Filter) (int, error) {
				a, err := l.DescribeSecurityGroupRules(l.ctx(), &ec2v1.DescribeSecurityGroupRulesRequest{Filters: f})
				return len(a.GetSecurityGroupRules()), err
			}},
		{"DescribeVpcEndpoints", slices.Collect(maps.Keys(endpointFilters)),
			[]string{"vpc-endpoint-id", "vpc-id", "service-name", "vpc-endpoint-state", "vpc-endpoint-type", "ip-address-type", "tag-key"}, nil,
			func(f []*ec2v1.Filter) (int, error) {
				a, err := l.DescribeVpcEndpoints(l.ctx(), &ec2v1.DescribeVpcEndpointsRequest{Filters: f})
				return len(a.GetVpcEndpoints()), err
			}},
		{"DescribeVpcEndpointServices", slices.Collect(maps.Keys(serviceFilters)),
			[]string{"service-name", "service-type", "owner", "tag-key"}, []string{"tag-key", "tag-value"},
			func(f []*ec2v1.Filter) (int, error) {
				a, err := l.DescribeVpcEndpointServices(l.ctx(), &ec2v1.DescribeVpcEndpointServicesRequest{Filters: f})
				return len(a.GetServiceNames()), err
			}},
		{"DescribeNetworkInterfaces", slices.Collect(maps.Keys(interfaceFilters)),
			[]string{"network-interface-id", "vpc-id", "subnet-id", "group-id", "interface-type", "requester-managed", "status", "description",
				"private-ip-address", "availability-zone", "addresses.private-ip-address", "attachment.attachment-id", "tag-key"},
			[]string{"attachment.instance-id"},
			func(f []*ec2v1.Filter) (int, error) {
				a, err := l.DescribeNetworkInterfaces(l.ctx(), &ec2v1.DescribeNetworkInterfacesRequest{Filters: f})
				return len(a.GetNetworkInterfaces()), err
			}},
		{"DescribeTags", slices.Collect(maps.Keys(tagFilters)), []string{"resource-id", "resource-type", "key", "value"}, nil,
			func(f []*ec2v1.Filter) (int, error) {
				a, err := l.DescribeTags(l.ctx(), &ec2v1.DescribeTagsRequest{Filters: f})
				return len(a.GetTags()), err
			}},
		{"DescribeAvailabilityZones", slices.Collect(maps.Keys(zoneFilters)),
			[]string{"zone-name", "zone-id", "region-name", "state", "zone-type", "opt-in-status"}, []string{"message", "parent-zone-id"},
			func(f []*ec2v1.Filter) (int, error) {
				a, err := l.DescribeAvailabilityZones(l.ctx(), &ec2v1.DescribeAvailabilityZonesRequest{Filters: f})
				return len(a.GetAvailabilityZones()), err
			}},
		{"DescribeRegions", slices.Collect(maps.Keys(regionFilters)), []string{"region-name", "endpoint", "opt-in-status"}, nil,
			func(f []*ec2v1.Filter) (int, error) {
				a, err := l.DescribeRegions(l.ctx(), &ec2v1.DescribeRegionsRequest{Filters: f})
				return len(a.GetRegions()), err
			}},
		{"DescribeRouteTables", slices.Collect(maps.Keys(routeTableFilters)), []string{"association.main", "vpc-id"},
			[]string{"association.subnet-id", "tag-key", "tag-value"},
			func(f []*ec2v1.Filter) (int, error) {
				a, err := l.DescribeRouteTables(l.ctx(), &ec2v1.DescribeRouteTablesRequest{Filters: f})
				return len(a.GetRouteTables()), err
			}},
		{"DescribeNetworkAcls", slices.Collect(maps.Keys(networkACLFilters)), []string{"default", "vpc-id"}, []string{"tag-key", "tag-value"},
			func(f []*ec2v1.Filter) (int, error) {
				a, err := l.DescribeNetworkAcls(l.ctx(), &ec2v1.DescribeNetworkAclsRequest{Filters: f})
				return len(a.GetNetworkAcls()), err
			}},
	} {
		for _, name := range c.asked {
			if !slices.Contains(c.names, name) {
				t.Errorf("%s does not know the filter %s", c.action, name)
			}
		}
		for _, name := range c.names {
			if name == "tag:" {
				continue // stands for a family
			}
			found, err := c.count([]*ec2v1.Filter{{Name: &name, Values: []string{"?*"}}})
			if err != nil || (found > 0) == slices.Contains(c.empty, name) {
				t.Errorf("%s by %s finds %d (%v)", c.action, name, found, err)
			}
			none, err := c.count([]*ec2v1.Filter{{Name: &name, Values: []string{"no such value"}}})
			if err != nil || none != 0 {
				t.Errorf("%s by a value that nothing has of %s finds %d (%v)", c.action, name, none, err)
			}
		}
		if _, err := c.count([]*ec2v1.Filter{{Name: new("colour"), Values: []string{"red"}}}); err == nil {
			t.Errorf("%s knows the filter colour", c.action)
		}
	}
}
