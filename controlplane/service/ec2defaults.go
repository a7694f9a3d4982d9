package service

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/posternhq/postern/controlplane/state"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// What every account finds in a region, and the objects that clients ask for
// but that have no content of their own here: each VPC's main route table and
// default network ACL, account attributes, and no prefix lists.

var defaultNetwork = netip.MustParsePrefix("172.31.0.0/16")

// defaultsMarker is the key of the record that says that an account has had
// its default VPC in a region: one that was deleted does not come back.
func defaultsMarker(c Caller) state.Key { return c.key(statev1.Type_TYPE_TOKEN, "default-vpc") }

// ensureDefaults makes the default VPC at an account's first call in a region.
// The marker never goes away but in a reset, so a stale View is good enough to
// find it, and no later call pays for the check.
func (s *ec2Server) ensureDefaults(ctx context.Context, c Caller) error {
	marker := defaultsMarker(c)
	if s.cfg.Cluster.StaleView().Get(marker) != nil {
		return nil
	}
	_, err := update(quiet(ctx), s.cfg, func(v *state.View) (*statev1.Txn, error) {
		if v.Get(marker) != nil {
			return nil, nil
		}
		txn := &statev1.Txn{
			Guards: []*statev1.Guard{absent(marker)},
			Puts:   []*statev1.Record{ec2Record(marker, &statev1.Token{Operation: "default-vpc"})},
		}
		vpc, err := newVPC(s.cfg, v, c, txn, defaultNetwork)
		if err != nil {
			return nil, err
		}
		vpc.Vpc.IsDefault = new(true)
		vpc.EnableDnsHostnames = true
		id := vpc.GetVpc().GetVpcId()
		for i, z := range zonesOf(c.Region) {
			base := defaultNetwork.Addr().As4()
			base[2] = byte(i * 16)
			subnet := newSubnet(s.cfg, c, id, netip.PrefixFrom(netip.AddrFrom4(base), 20), z)
			subnet.DefaultForAz = new(true)
			subnet.MapPublicIpOnLaunch = new(true)
			txn.Puts = append(txn.Puts, ec2Record(c.key(statev1.Type_TYPE_SUBNET, id+"/"+subnet.GetSubnetId()), subnet))
		}
		return txn, nil
	})
	return err
}

var routeTableFilters = filters[*ec2v1.RouteTable]{
	"route-table-id":             func(t *ec2v1.RouteTable) []string { return []string{t.GetRouteTableId()} },
	"vpc-id":                     func(t *ec2v1.RouteTable) []string { return []string{t.GetVpcId()} },
	"owner-id":                   func(t *ec2v1.RouteTable) []string { return []string{t.GetOwnerId()} },
	"association.main":           func(*ec2v1.RouteTable) []string { return boolText(true) },
	"association.route-table-id": func(t *ec2v1.RouteTable) []string { return []string{t.GetRouteTableId()} },
	"association.route-table-association-id": func(t *ec2v1.RouteTable) []string {
		return []string{t.GetAssociations()[0].GetRouteTableAssociationId()}
	},
	"association.subnet-id": func(*ec2v1.RouteTable) []string { return nil },
	"route.destination-cidr-block": func(t *ec2v1.RouteTable) []string {
		return []string{t.GetRoutes()[0].GetDestinationCidrBlock()}
	},
	"route.gateway-id": func(t *ec2v1.RouteTable) []string { return []string{t.GetRoutes()[0].GetGatewayId()} },
	"route.state":      func(t *ec2v1.RouteTable) []string { return []string{t.GetRoutes()[0].GetState()} },
}.withTags((*ec2v1.RouteTable).GetTags)

// DescribeRouteTables shows the main route table of each VPC: its local route.
func (s *ec2Server) DescribeRouteTables(ctx context.Context, req *ec2v1.DescribeRouteTablesRequest) (*ec2v1.DescribeRouteTablesResponse, error) {
	v, c, err := s.read(ctx, req.DryRun)
	if err != nil {
		return nil, err
	}
	p, err := pageOf(req.MaxResults, req.NextToken, "routeTableIds", req.GetRouteTableIds())
	if err != nil {
		return nil, err
	}
	match, err := routeTableFilters.compile(req.GetFilters())
	if err != nil {
		return nil, err
	}
	var all []*ec2v1.RouteTable
	for r := range v.List(statev1.Type_TYPE_VPC, c.Account, c.Region, "") {
		vpc := r.GetVpc()
		id := vpc.GetMainRouteTableId()
		all = append(all, &ec2v1.RouteTable{
			RouteTableId: new(id),
			VpcId:        vpc.GetVpc().VpcId,
			OwnerId:      vpc.GetVpc().OwnerId,
			Associations: []*ec2v1.RouteTableAssociation{{
				Main:                    new(true),
				RouteTableAssociationId: new("rtbassoc-" + strings.TrimPrefix(id, "rtb-")),
				RouteTableId:            new(id),
				AssociationState:        &ec2v1.AssociationState{State: new("associated")},
			}},
			Routes: []*ec2v1.Route{{
				DestinationCidrBlock: vpc.GetVpc().CidrBlock,
				GatewayId:            new("local"),
				Origin:               new("CreateRouteTable"),
				State:                new("active"),
			}},
		})
	}
	if all, err = pick(idRouteTable, all, req.GetRouteTableIds(), (*ec2v1.RouteTable).GetRouteTableId); err != nil {
		return nil, err
	}
	answer := &ec2v1.DescribeRouteTablesResponse{}
	answer.RouteTables, answer.NextToken = cut(p, keep(all, match), (*ec2v1.RouteTable).GetRouteTableId)
	return answer, nil
}

var networkACLFilters = filters[*ec2v1.NetworkAcl]{
	"network-acl-id": func(a *ec2v1.NetworkAcl) []string { return []string{a.GetNetworkAclId()} },
	"vpc-id":         func(a *ec2v1.NetworkAcl) []string { return []string{a.GetVpcId()} },
	"owner-id":       func(a *ec2v1.NetworkAcl) []string { return []string{a.GetOwnerId()} },
	"default":        func(a *ec2v1.NetworkAcl) []string { return boolText(a.GetDefault()) },
	"association.subnet-id": func(a *ec2v1.NetworkAcl) []string {
		var all []string
		for _, as := range a.GetAssociations() {
			all = append(all, as.GetSubnetId())
		}
		return all
	},
	"association.network-acl-id": func(a *ec2v1.NetworkAcl) []string { return []string{a.GetNetworkAclId()} },
}.withTags((*ec2v1.NetworkAcl).GetTags)

// DescribeNetworkAcls shows the default ACL of each VPC, which allows everything
// and covers all its subnets: network ACLs are not modelled.
func (s *ec2Server) DescribeNetworkAcls(ctx context.Context, req *ec2v1.DescribeNetworkAclsRequest) (*ec2v1.DescribeNetworkAclsResponse, error) {
	v, c, err := s.read(ctx, req.DryRun)
	if err != nil {
		return nil, err
	}
	p, err := pageOf(req.MaxResults, req.NextToken, "networkAclIds", req.GetNetworkAclIds())
	if err != nil {
		return nil, err
	}
	match, err := networkACLFilters.compile(req.GetFilters())
	if err != nil {
		return nil, err
	}
	entry := func(egress bool, number int32, action string) *ec2v1.NetworkAclEntry {
		return &ec2v1.NetworkAclEntry{
			CidrBlock: new("0.0.0.0/0"), Egress: new(egress), Protocol: new("-1"),
			RuleAction: new(action), RuleNumber: new(number),
		}
	}
	var all []*ec2v1.NetworkAcl
	for r := range v.List(statev1.Type_TYPE_VPC, c.Account, c.Region, "") {
		vpc := r.GetVpc()
		acl := &ec2v1.NetworkAcl{
			NetworkAclId: new(vpc.GetDefaultNetworkAclId()),
			VpcId:        vpc.GetVpc().VpcId,
			OwnerId:      vpc.GetVpc().OwnerId,
			Default:      new(true),
			Entrys: []*ec2v1.NetworkAclEntry{
				entry(true, 100, "allow"), entry(true, 32767, "deny"),
				entry(false, 100, "allow"), entry(false, 32767, "deny"),
			},
		}
		for subnet := range v.List(statev1.Type_TYPE_SUBNET, c.Account, c.Region, vpc.GetVpc().GetVpcId()+"/") {
			id := subnet.GetSubnet().GetSubnetId()
			acl.Associations = append(acl.Associations, &ec2v1.NetworkAclAssociation{
				NetworkAclAssociationId: new("aclassoc-" + strings.TrimPrefix(id, "subnet-")),
				NetworkAclId:            acl.NetworkAclId,
				SubnetId:                new(id),
			})
		}
		all = append(all, acl)
	}
	if all, err = pick(idNetworkACL, all, req.GetNetworkAclIds(), (*ec2v1.NetworkAcl).GetNetworkAclId); err != nil {
		return nil, err
	}
	answer := &ec2v1.DescribeNetworkAclsResponse{}
	answer.NetworkAcls, answer.NextToken = cut(p, keep(all, match), (*ec2v1.NetworkAcl).GetNetworkAclId)
	return answer, nil
}

var prefixListFilters = filters[*ec2v1.PrefixList]{
	"prefix-list-id":   func(l *ec2v1.PrefixList) []string { return []string{l.GetPrefixListId()} },
	"prefix-list-name": func(l *ec2v1.PrefixList) []string { return []string{l.GetPrefixListName()} },
}

// DescribePrefixLists answers that there are none: they belong to gateway endpoints.
func (s *ec2Server) DescribePrefixLists(ctx context.Context, req *ec2v1.DescribePrefixListsRequest) (*ec2v1.DescribePrefixListsResponse, error) {
	if _, _, err := s.read(ctx, req.DryRun); err != nil {
		return nil, err
	}
	if _, err := prefixListFilters.compile(req.GetFilters()); err != nil {
		return nil, err
	}
	if ids := req.GetPrefixListIds(); len(ids) > 0 {
		return nil, idPrefixList.missing(ids...)
	}
	return &ec2v1.DescribePrefixListsResponse{}, nil
}

type accountAttribute struct{ name, value string }

var accountAttributes = []accountAttribute{
	{"vpc-max-security-groups-per-interface", "5"},
	{"max-instances", "20"},
	{"supported-platforms", "VPC"},
	{"default-vpc", ""}, // the account's own
	{"max-elastic-ips", "5"},
	{"vpc-max-elastic-ips", "5"},
}

func (s *ec2Server) DescribeAccountAttributes(ctx context.Context, req *ec2v1.DescribeAccountAttributesRequest) (*ec2v1.DescribeAccountAttributesResponse, error) {
	v, c, err := s.read(ctx, req.DryRun)
	if err != nil {
		return nil, err
	}
	names := req.GetAttributeNames()
	for _, name := range names {
		if !slices.ContainsFunc(accountAttributes, func(a accountAttribute) bool { return a.name == name }) {
			return nil, invalidValue("Value (%s) for parameter attributeName is invalid. Unknown attribute.", name)
		}
	}
	answer := &ec2v1.DescribeAccountAttributesResponse{}
	for _, a := range accountAttributes {
		if len(names) > 0 && !slices.Contains(names, a.name) {
			continue
		}
		value := a.value
		if a.name == "default-vpc" {
			value = "none"
			if vpc := defaultVPC(v, c); vpc != nil {
				value = vpc.GetVpc().GetVpcId()
			}
		}
		answer.AccountAttributes = append(answer.AccountAttributes, &ec2v1.AccountAttribute{
			AttributeName:   new(a.name),
			AttributeValues: []*ec2v1.AccountAttributeValue{{AttributeValue: new(value)}},
		})
	}
	return answer, nil
}
