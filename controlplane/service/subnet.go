package service

import (
	"context"
	"net/netip"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dataplane/policy"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// reservedAddresses of a subnet: the network, the router, the resolver, one
// for the future, and the broadcast address.
const reservedAddresses = 5

// findChild returns a record inside one of the caller's VPCs by its own id.
func findChild(v *state.View, c Caller, t statev1.Type, k idKind, id string) (*statev1.Record, error) {
	if err := k.check(id); err != nil {
		return nil, err
	}
	for r := range v.List(t, c.Account, c.Region, "vpc-") {
		if strings.HasSuffix(r.GetKey().GetId(), "/"+id) {
			return r, nil
		}
	}
	return nil, k.missing(id)
}

func (s *ec2Server) CreateSubnet(ctx context.Context, req *ec2v1.CreateSubnetRequest) (*ec2v1.CreateSubnetResponse, error) {
	if err := required("vpcId", req.GetVpcId()); err != nil {
		return nil, err
	}
	if req.GetCidrBlock() == "" {
		return nil, apierr.New(apierr.KindInvalid, "MissingParameter", "Either 'cidrBlock' or 'ipv4IpamPoolId' should be provided.")
	}
	if req.GetIpv6CidrBlock() != "" || req.GetIpv6Native() || req.Ipv4NetmaskLength != nil {
		return nil, apierr.Unsupported("IPv6 ranges and IPAM pools of a subnet are not available.")
	}
	cidr, err := parseCIDR(req.GetCidrBlock(), "InvalidSubnet.Range")
	if err != nil {
		return nil, err
	}
	tags, err := newTags(req.GetTagSpecifications(), "subnet")
	if err != nil {
		return nil, err
	}
	answer := &ec2v1.CreateSubnetResponse{}
	err = s.create(ctx, "CreateSubnet", "", req.DryRun, req, answer, func(v *state.View, c Caller) (*statev1.Txn, error) {
		w, err := openVPC(s.cfg, v, c, req.GetVpcId())
		if err != nil {
			return nil, err
		}
		network := vpcCIDR(w.vpc)
		if !network.Contains(cidr.Addr()) || cidr.Bits() < network.Bits() {
			return nil, invalidRange("InvalidSubnet.Range", req.GetCidrBlock())
		}
		inZone := map[string]int{}
		for r := range v.List(statev1.Type_TYPE_SUBNET, c.Account, c.Region, w.id()+"/") {
			inZone[r.GetSubnet().GetAvailabilityZone()]++
			if known, err := netip.ParsePrefix(r.GetSubnet().GetCidrBlock()); err == nil && known.Overlaps(cidr) {
				return nil, apierr.New(apierr.KindInvalid, "InvalidSubnet.Conflict", "The CIDR '%s' conflicts with another subnet", req.GetCidrBlock())
			}
		}
		z, err := subnetZone(c.Region, req, inZone)
		if err != nil {
			return nil, err
		}
		made := newSubnet(s.cfg, c, w.id(), cidr, z)
		made.Tags = tags
		answer.Subnet = made
		w.put(w.child(statev1.Type_TYPE_SUBNET, made.GetSubnetId()), made)
		return w.done(), nil
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// subnetZone is the zone that a request names. One that names none gets the
// zone in which the VPC has the fewest subnets, so that a few are spread.
func subnetZone(region string, req *ec2v1.CreateSubnetRequest, inZone map[string]int) (zone, error) {
	zones := zonesOf(region)
	switch {
	case req.GetAvailabilityZone() != "" && req.GetAvailabilityZoneId() != "":
		return zone{}, invalidCombination("The parameter availabilityZone cannot be used with the parameter availabilityZoneId")
	case req.GetAvailabilityZone() != "":
		z, ok := zoneNamed(region, req.GetAvailabilityZone())
		if !ok {
			var names []string
			for _, z := range zones {
				names = append(names, z.name)
			}
			return zone{}, invalidValue("Value (%s) for parameter availabilityZone is invalid. Subnets can currently only be created in the following availability zones: %s.",
				req.GetAvailabilityZone(), strings.Join(names, ", "))
		}
		return z, nil
	case req.GetAvailabilityZoneId() != "":
		z, ok := zoneWithID(region, req.GetAvailabilityZoneId())
		if !ok {
			var ids []string
			for _, z := range zones {
				ids = append(ids, z.id)
			}
			return zone{}, invalidValue("Value (%s) for parameter availabilityZoneId is invalid. Subnets can currently only be created in the following availability zones: %s.",
				req.GetAvailabilityZoneId(), strings.Join(ids, ", "))
		}
		return z, nil
	}
	best := zones[0]
	for _, z := range zones[1:] {
		if inZone[z.name] < inZone[best.name] {
			best = z
		}
	}
	return best, nil
}

func newSubnet(cfg Config, c Caller, vpc string, cidr netip.Prefix, z zone) *ec2v1.Subnet {
	id := cfg.ec2ID("subnet")
	return &ec2v1.Subnet{
		SubnetId:                    new(id),
		VpcId:                       new(vpc),
		CidrBlock:                   new(cidr.String()),
		AvailabilityZone:            new(z.name),
		AvailabilityZoneId:          new(z.id),
		AvailableIpAddressCount:     new(usableAddresses(cidr)),
		State:                       new("available"),
		OwnerId:                     new(c.Account),
		DefaultForAz:                new(false),
		MapPublicIpOnLaunch:         new(false),
		MapCustomerOwnedIpOnLaunch:  new(false),
		AssignIpv6AddressOnCreation: new(false),
		EnableDns64:                 new(false),
		Ipv6Native:                  new(false),
		SubnetArn:                   new("arn:" + policy.PartitionOf(c.Region) + ":ec2:" + c.Region + ":" + c.Account + ":subnet/" + id),
		PrivateDnsNameOptionsOnLaunch: &ec2v1.PrivateDnsNameOptions{
			HostnameType:                    new("ip-name"),
			EnableResourceNameDnsARecord:    new(false),
			EnableResourceNameDnsAaaaRecord: new(false),
		},
	}
}

func usableAddresses(cidr netip.Prefix) int32 { return 1<<(32-cidr.Bits()) - reservedAddresses }

var subnetFilters = filters[*ec2v1.Subnet]{
	"subnet-id":            func(s *ec2v1.Subnet) []string { return []string{s.GetSubnetId()} },
	"vpc-id":               func(s *ec2v1.Subnet) []string { return []string{s.GetVpcId()} },
	"availability-zone":    func(s *ec2v1.Subnet) []string { return []string{s.GetAvailabilityZone()} },
	"availabilityZone":     func(s *ec2v1.Subnet) []string { return []string{s.GetAvailabilityZone()} },
	"availability-zone-id": func(s *ec2v1.Subnet) []string { return []string{s.GetAvailabilityZoneId()} },
	"availabilityZoneId":   func(s *ec2v1.Subnet) []string { return []string{s.GetAvailabilityZoneId()} },
	"cidr-block":           func(s *ec2v1.Subnet) []string { return []string{s.GetCidrBlock()} },
	"cidr":                 func(s *ec2v1.Subnet) []string { return []string{s.GetCidrBlock()} },
	"cidrBlock":            func(s *ec2v1.Subnet) []string { return []string{s.GetCidrBlock()} },
	"default-for-az":       func(s *ec2v1.Subnet) []string { return boolText(s.GetDefaultForAz()) },
	"defaultForAz":         func(s *ec2v1.Subnet) []string { return boolText(s.GetDefaultForAz()) },
	"map-public-ip-on-launch": func(s *ec2v1.Subnet) []string {
		return boolText(s.GetMapPublicIpOnLaunch())
	},
	"state":      func(s *ec2v1.Subnet) []string { return []string{s.GetState()} },
	"owner-id":   func(s *ec2v1.Subnet) []string { return []string{s.GetOwnerId()} },
	"subnet-arn": func(s *ec2v1.Subnet) []string { return []string{s.GetSubnetArn()} },
}.withTags((*ec2v1.Subnet).GetTags)

func (s *ec2Server) DescribeSubnets(ctx context.Context, req *ec2v1.DescribeSubnetsRequest) (*ec2v1.DescribeSubnetsResponse, error) {
	v, c, err := s.read(ctx, req.DryRun)
	if err != nil {
		return nil, err
	}
	p, err := pageOf(req.MaxResults, req.NextToken, "subnetIds", req.GetSubnetIds())
	if err != nil {
		return nil, err
	}
	match, err := subnetFilters.compile(req.GetFilters())
	if err != nil {
		return nil, err
	}
	used := map[string]int32{}
	for r := range v.List(statev1.Type_TYPE_NETWORK_INTERFACE, c.Account, c.Region, "vpc-") {
		used[r.GetNetworkInterface().GetSubnetId()]++
	}
	var all []*ec2v1.Subnet
	for r := range v.List(statev1.Type_TYPE_SUBNET, c.Account, c.Region, "") {
		shown := r.GetSubnet()
		if n := used[shown.GetSubnetId()]; n > 0 {
			shown = proto.CloneOf(shown)
			shown.AvailableIpAddressCount = new(shown.GetAvailableIpAddressCount() - n)
		}
		all = append(all, shown)
	}
	if all, err = pick(idSubnet, all, req.GetSubnetIds(), (*ec2v1.Subnet).GetSubnetId); err != nil {
		return nil, err
	}
	answer := &ec2v1.DescribeSubnetsResponse{}
	answer.Subnets, answer.NextToken = cut(p, keep(all, match), (*ec2v1.Subnet).GetSubnetId)
	return answer, nil
}

func (s *ec2Server) DeleteSubnet(ctx context.Context, req *ec2v1.DeleteSubnetRequest) (*ec2v1.DeleteSubnetResponse, error) {
	if err := required("subnetId", req.GetSubnetId()); err != nil {
		return nil, err
	}
	err := s.write(ctx, req.DryRun, func(v *state.View, c Caller) (*statev1.Txn, error) {
		r, err := findChild(v, c, statev1.Type_TYPE_SUBNET, idSubnet, req.GetSubnetId())
		if err != nil {
			return nil, err
		}
		w, err := openVPC(s.cfg, v, c, r.GetSubnet().GetVpcId())
		if err != nil {
			return nil, err
		}
		w.drop(r.GetKey())
		for eni := range v.List(statev1.Type_TYPE_NETWORK_INTERFACE, c.Account, c.Region, w.id()+"/") {
			if eni.GetNetworkInterface().GetSubnetId() != req.GetSubnetId() {
				continue
			}
			if !isClient(eni.GetNetworkInterface()) {
				return nil, dependencyViolation("The subnet '%s' has dependencies and cannot be deleted.", req.GetSubnetId())
			}
			// A laboratory client is no reason to keep a subnet: nobody could delete it.
			w.drop(eni.GetKey())
		}
		return w.done(), nil
	})
	if err != nil {
		return nil, err
	}
	return &ec2v1.DeleteSubnetResponse{Return: new(true)}, nil
}
