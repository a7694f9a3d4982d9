package service

import (
	"context"
	"net/netip"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// findVPC returns the record of one of the caller's VPCs.
func findVPC(v *state.View, c Caller, id string) (*statev1.Record, error) {
	if err := idVPC.check(id); err != nil {
		return nil, err
	}
	r := v.Get(c.key(statev1.Type_TYPE_VPC, id))
	if r == nil {
		return nil, idVPC.missing(id)
	}
	return r, nil
}

// vpcCIDR returns a VPC's range.
func vpcCIDR(vpc *statev1.Vpc) netip.Prefix {
	p, _ := netip.ParsePrefix(vpc.GetVpc().GetCidrBlock()) // checked when it was made
	return p
}

// Ranges that no network may have.
var reservedRanges = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/3"),
}

// parseCIDR reads the range of a VPC or a subnet, in its canonical form.
func parseCIDR(text, rangeCode string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil || !p.Addr().Is4() {
		return netip.Prefix{}, invalidValue("Value (%s) for parameter cidrBlock is invalid. This is not a valid CIDR block.", text)
	}
	p = p.Masked()
	if p.Bits() < 16 || p.Bits() > 28 || slices.ContainsFunc(reservedRanges, p.Overlaps) {
		return netip.Prefix{}, invalidRange(rangeCode, text)
	}
	return p, nil
}

func invalidRange(code, cidr string) error {
	return apierr.New(apierr.KindInvalid, code, "The CIDR '%s' is invalid.", cidr)
}

func (s *ec2Server) CreateVpc(ctx context.Context, req *ec2v1.CreateVpcRequest) (*ec2v1.CreateVpcResponse, error) {
	if req.GetCidrBlock() == "" {
		return nil, apierr.New(apierr.KindInvalid, "MissingParameter", "Either 'cidrBlock' or 'ipv4IpamPoolId' should be provided.")
	}
	if req.GetAmazonProvidedIpv6CidrBlock() || req.GetIpv6CidrBlock() != "" || req.Ipv4NetmaskLength != nil {
		return nil, apierr.Unsupported("IPv6 ranges and IPAM pools of a VPC are not available.")
	}
	tenancy := req.GetInstanceTenancy()
	switch tenancy {
	case "":
		tenancy = "default"
	case "default", "dedicated":
	default:
		return nil, invalidValue("Value (%s) for parameter instanceTenancy is invalid.", tenancy)
	}
	cidr, err := parseCIDR(req.GetCidrBlock(), "InvalidVpc.Range")
	if err != nil {
		return nil, err
	}
	tags, err := newTags(req.GetTagSpecifications(), "vpc")
	if err != nil {
		return nil, err
	}
	answer := &ec2v1.CreateVpcResponse{}
	err = s.create(ctx, "CreateVpc", "", req.DryRun, req, answer, func(v *state.View, c Caller) (*statev1.Txn, error) {
		txn := &statev1.Txn{}
		vpc, err := newVPC(s.cfg, v, c, txn, cidr)
		if err != nil {
			return nil, err
		}
		vpc.Vpc.Tags = tags
		vpc.Vpc.InstanceTenancy = new(tenancy)
		answer.Vpc = proto.CloneOf(vpc.Vpc)
		answer.Vpc.State = new("pending")
		return txn, nil
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// newVPC adds a VPC with its default security group to a Txn and returns it,
// still open to change: main route table and default network ACL are ids in its
// record, for they have no content of their own here.
func newVPC(cfg Config, v *state.View, c Caller, txn *statev1.Txn, cidr netip.Prefix) (*statev1.Vpc, error) {
	octet, err := claimLoopback(v, txn, cidr)
	if err != nil {
		return nil, err
	}
	id := cfg.ec2ID("vpc")
	vpc := &statev1.Vpc{
		Vpc: &ec2v1.Vpc{
			VpcId:           new(id),
			CidrBlock:       new(cidr.String()),
			DhcpOptionsId:   new(derivedID("dopt", c.Account, c.Region)),
			State:           new("available"),
			OwnerId:         new(c.Account),
			InstanceTenancy: new("default"),
			IsDefault:       new(false),
			CidrBlockAssociations: []*ec2v1.VpcCidrBlockAssociation{{
				AssociationId:  new(cfg.ec2ID("vpc-cidr-assoc")),
				CidrBlock:      new(cidr.String()),
				CidrBlockState: &ec2v1.CidrBlockState{State: new("associated")},
			}},
		},
		EnableDnsSupport:       true,
		LoopbackOctet:          octet,
		MainRouteTableId:       cfg.ec2ID("rtb"),
		DefaultNetworkAclId:    cfg.ec2ID("acl"),
		DefaultSecurityGroupId: cfg.ec2ID("sg"),
	}
	key := c.key(statev1.Type_TYPE_VPC, id)
	group := newGroup(cfg, c, vpc.GetDefaultSecurityGroupId(), id, defaultGroupName, "default VPC security group")
	group.Rules = append(group.Rules, newRule(cfg, group, false, allTraffic().fromGroup(c.Account, vpc.GetDefaultSecurityGroupId())))
	txn.Guards = append(txn.Guards, absent(key))
	txn.Puts = append(txn.Puts,
		ec2Record(key, vpc),
		ec2Record(c.key(statev1.Type_TYPE_SECURITY_GROUP, id+"/"+vpc.GetDefaultSecurityGroupId()), group))
	return vpc, nil
}

var vpcFilters = filters[*ec2v1.Vpc]{
	"vpc-id":     func(v *ec2v1.Vpc) []string { return []string{v.GetVpcId()} },
	"cidr":       func(v *ec2v1.Vpc) []string { return []string{v.GetCidrBlock()} },
	"cidr-block": func(v *ec2v1.Vpc) []string { return []string{v.GetCidrBlock()} },
	"cidr-block-association.cidr-block": func(v *ec2v1.Vpc) []string {
		var all []string
		for _, a := range v.GetCidrBlockAssociations() {
			all = append(all, a.GetCidrBlock())
		}
		return all
	},
	"cidr-block-association.association-id": func(v *ec2v1.Vpc) []string {
		var all []string
		for _, a := range v.GetCidrBlockAssociations() {
			all = append(all, a.GetAssociationId())
		}
		return all
	},
	"cidr-block-association.state": func(v *ec2v1.Vpc) []string {
		var all []string
		for _, a := range v.GetCidrBlockAssociations() {
			all = append(all, a.GetCidrBlockState().GetState())
		}
		return all
	},
	"isDefault":       func(v *ec2v1.Vpc) []string { return boolText(v.GetIsDefault()) },
	"is-default":      func(v *ec2v1.Vpc) []string { return boolText(v.GetIsDefault()) },
	"state":           func(v *ec2v1.Vpc) []string { return []string{v.GetState()} },
	"owner-id":        func(v *ec2v1.Vpc) []string { return []string{v.GetOwnerId()} },
	"dhcp-options-id": func(v *ec2v1.Vpc) []string { return []string{v.GetDhcpOptionsId()} },
}.withTags((*ec2v1.Vpc).GetTags)

func (s *ec2Server) DescribeVpcs(ctx context.Context, req *ec2v1.DescribeVpcsRequest) (*ec2v1.DescribeVpcsResponse, error) {
	v, c, err := s.read(ctx, req.DryRun)
	if err != nil {
		return nil, err
	}
	p, err := pageOf(req.MaxResults, req.NextToken, "vpcIds", req.GetVpcIds())
	if err != nil {
		return nil, err
	}
	match, err := vpcFilters.compile(req.GetFilters())
	if err != nil {
		return nil, err
	}
	var all []*ec2v1.Vpc
	for r := range v.List(statev1.Type_TYPE_VPC, c.Account, c.Region, "") {
		all = append(all, r.GetVpc().GetVpc())
	}
	if all, err = pick(idVPC, all, req.GetVpcIds(), (*ec2v1.Vpc).GetVpcId); err != nil {
		return nil, err
	}
	answer := &ec2v1.DescribeVpcsResponse{}
	answer.Vpcs, answer.NextToken = cut(p, keep(all, match), (*ec2v1.Vpc).GetVpcId)
	return answer, nil
}

func (s *ec2Server) DeleteVpc(ctx context.Context, req *ec2v1.DeleteVpcRequest) (*ec2v1.DeleteVpcResponse, error) {
	if err := required("vpcId", req.GetVpcId()); err != nil {
		return nil, err
	}
	err := s.write(ctx, req.DryRun, func(v *state.View, c Caller) (*statev1.Txn, error) {
		w, err := openVPC(s.cfg, v, c, req.GetVpcId())
		if err != nil {
			return nil, err
		}
		if vpcInUse(s.cfg, v, c, w.vpc) {
			return nil, dependencyViolation("The vpc '%s' has dependencies and cannot be deleted.", w.id())
		}
		w.drop(w.key.Proto())
		for _, t := range []statev1.Type{statev1.Type_TYPE_SECURITY_GROUP, statev1.Type_TYPE_NETWORK_INTERFACE} {
			for r := range v.List(t, c.Account, c.Region, w.id()+"/") {
				w.drop(r.GetKey())
			}
		}
		releaseLoopback(w.txn, w.vpc.GetLoopbackOctet())
		return w.txn, nil
	})
	if err != nil {
		return nil, err
	}
	return &ec2v1.DeleteVpcResponse{Return: new(true)}, nil
}

// vpcInUse: a VPC goes only with what came with it. An endpoint blocks it until
// its state "deleting" is over.
func vpcInUse(cfg Config, v *state.View, c Caller, vpc *statev1.Vpc) bool {
	id := vpc.GetVpc().GetVpcId()
	for range v.List(statev1.Type_TYPE_SUBNET, c.Account, c.Region, id+"/") {
		return true
	}
	for r := range v.List(statev1.Type_TYPE_SECURITY_GROUP, c.Account, c.Region, id+"/") {
		if r.GetSecurityGroup().GetGroup().GetGroupId() != vpc.GetDefaultSecurityGroupId() {
			return true
		}
	}
	for r := range v.List(statev1.Type_TYPE_VPC_ENDPOINT, c.Account, c.Region, "") {
		e := r.GetVpcEndpoint()
		if e.GetEndpoint().GetVpcId() == id && !endpointGone(cfg, v, e) {
			return true
		}
	}
	return false
}

func (s *ec2Server) ModifyVpcAttribute(ctx context.Context, req *ec2v1.ModifyVpcAttributeRequest) (*ec2v1.ModifyVpcAttributeResponse, error) {
	if err := required("vpcId", req.GetVpcId()); err != nil {
		return nil, err
	}
	given := 0
	for _, a := range []*ec2v1.AttributeBooleanValue{req.EnableDnsHostnames, req.EnableDnsSupport, req.EnableNetworkAddressUsageMetrics} {
		if a != nil {
			given++
		}
	}
	switch given {
	case 0:
		return nil, missingParameter("attribute")
	case 1:
	default:
		return nil, invalidCombination("Fields for multiple attribute types specified: exactly one of enableDnsSupport, enableDnsHostnames and enableNetworkAddressUsageMetrics may be given")
	}
	err := s.write(ctx, req.DryRun, func(v *state.View, c Caller) (*statev1.Txn, error) {
		w, err := openVPC(s.cfg, v, c, req.GetVpcId())
		if err != nil {
			return nil, err
		}
		switch {
		case req.EnableDnsSupport != nil:
			w.vpc.EnableDnsSupport = req.EnableDnsSupport.GetValue()
		case req.EnableDnsHostnames != nil:
			w.vpc.EnableDnsHostnames = req.EnableDnsHostnames.GetValue()
		default:
			w.vpc.EnableNetworkAddressUsageMetrics = req.EnableNetworkAddressUsageMetrics.GetValue()
		}
		return w.done(), nil
	})
	if err != nil {
		return nil, err
	}
	return &ec2v1.ModifyVpcAttributeResponse{Return: new(true)}, nil
}

func (s *ec2Server) DescribeVpcAttribute(ctx context.Context, req *ec2v1.DescribeVpcAttributeRequest) (*ec2v1.DescribeVpcAttributeResponse, error) {
	if err := required("vpcId", req.GetVpcId(), "attribute", req.GetAttribute()); err != nil {
		return nil, err
	}
	v, c, err := s.read(ctx, req.DryRun)
	if err != nil {
		return nil, err
	}
	r, err := findVPC(v, c, req.GetVpcId())
	if err != nil {
		return nil, err
	}
	vpc := r.GetVpc()
	answer := &ec2v1.DescribeVpcAttributeResponse{VpcId: new(req.GetVpcId())}
	value := func(b bool) *ec2v1.AttributeBooleanValue { return &ec2v1.AttributeBooleanValue{Value: new(b)} }
	switch req.GetAttribute() {
	case "enableDnsSupport":
		answer.EnableDnsSupport = value(vpc.GetEnableDnsSupport())
	case "enableDnsHostnames":
		answer.EnableDnsHostnames = value(vpc.GetEnableDnsHostnames())
	case "enableNetworkAddressUsageMetrics":
		answer.EnableNetworkAddressUsageMetrics = value(vpc.GetEnableNetworkAddressUsageMetrics())
	default:
		return nil, invalidValue("Value (%s) for parameter attribute is invalid. Unknown attribute.", req.GetAttribute())
	}
	return answer, nil
}
