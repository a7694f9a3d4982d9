package service

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// tagClient marks the interface of a laboratory client (`postern vpc exec`).
const tagClient = "postern:client"

func isClient(eni *ec2v1.NetworkInterface) bool {
	return slices.ContainsFunc(eni.GetTags(), func(t *ec2v1.Tag) bool { return t.GetKey() == tagClient })
}

// inVPC is false for the interfaces of on-premises clients, which EC2 does not know.
func inVPC(eni *statev1.Record) bool { return strings.HasPrefix(eni.GetKey().GetId(), "vpc-") }

func memberOf(eni *ec2v1.NetworkInterface, group string) bool {
	return slices.ContainsFunc(eni.GetGroups(), func(g *ec2v1.GroupIdentifier) bool { return g.GetGroupId() == group })
}

// newInterface returns an interface of the subnet, with the address if that is
// valid, else the lowest free one. Besides those in the View, addresses in taken
// are not free.
func (w *vpcWrite) newInterface(subnet *ec2v1.Subnet, address netip.Addr, groups []*ec2v1.GroupIdentifier, taken map[netip.Addr]bool) (*ec2v1.NetworkInterface, error) {
	cidr, err := netip.ParsePrefix(subnet.GetCidrBlock())
	if err != nil {
		return nil, fmt.Errorf("range of %s: %w", subnet.GetSubnetId(), err)
	}
	used := map[netip.Addr]bool{}
	for r := range w.view.List(statev1.Type_TYPE_NETWORK_INTERFACE, w.key.Account, w.key.Region, w.id()+"/") {
		if a, err := netip.ParseAddr(r.GetNetworkInterface().GetPrivateIpAddress()); err == nil {
			used[a] = true
		}
	}
	free := func(a netip.Addr) bool { return !used[a] && !taken[a] }
	// The first four addresses and the last are the subnet's own.
	first := cidr.Addr()
	for range reservedAddresses - 1 {
		first = first.Next()
	}
	if address.IsValid() {
		switch {
		case !cidr.Contains(address) || address.Less(first) || !cidr.Contains(address.Next()):
			return nil, invalidValue("Address %s does not fall within the subnet's address range", address)
		case !free(address):
			return nil, apierr.New(apierr.KindConflict, "InvalidIPAddress.InUse", "Address %s is in use.", address)
		}
	} else {
		for address = first; !free(address); address = address.Next() {
		}
		if !cidr.Contains(address.Next()) {
			return nil, apierr.New(apierr.KindLimit, "InsufficientFreeAddressesInSubnet", "The specified subnet does not have enough free addresses to satisfy the request.")
		}
	}
	id := w.cfg.ec2ID("eni")
	name := "ip-" + strings.ReplaceAll(address.String(), ".", "-") + "." + w.key.Region + ".compute.internal"
	if w.key.Region == "us-east-1" {
		name = "ip-" + strings.ReplaceAll(address.String(), ".", "-") + ".ec2.internal"
	}
	mac := sha256.Sum256([]byte(id))
	return &ec2v1.NetworkInterface{
		NetworkInterfaceId: new(id),
		VpcId:              new(w.id()),
		SubnetId:           subnet.SubnetId,
		AvailabilityZone:   subnet.AvailabilityZone,
		OwnerId:            new(w.key.Account),
		Groups:             groups,
		InterfaceType:      new("interface"),
		MacAddress:         new(fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4])),
		PrivateDnsName:     new(name),
		PrivateIpAddress:   new(address.String()),
		PrivateIpAddresses: []*ec2v1.NetworkInterfacePrivateIpAddress{{
			Primary: new(true), PrivateDnsName: new(name), PrivateIpAddress: new(address.String()),
		}},
		RequesterManaged:  new(false),
		SourceDestCheck:   new(true),
		Status:            new("in-use"),
		DenyAllIgwTraffic: new(false),
		Ipv6Native:        new(false),
	}, nil
}

// groupsNamed resolves the groups of an interface, given by id or by name. No
// group stands for the VPC's default one.
func (w *vpcWrite) groupsNamed(given []string) ([]*ec2v1.GroupIdentifier, error) {
	if len(given) == 0 {
		given = []string{w.vpc.GetDefaultSecurityGroupId()}
	}
	c := Caller{Account: w.key.Account, Region: w.key.Region}
	var groups []*ec2v1.GroupIdentifier
	for _, g := range given {
		r := w.view.Get(w.child(statev1.Type_TYPE_SECURITY_GROUP, g))
		if r == nil && !strings.HasPrefix(g, idGroup.prefix) {
			r = groupNamed(w.view, c, w.id(), g)
		}
		if r == nil {
			if strings.HasPrefix(g, idGroup.prefix) {
				if err := idGroup.check(g); err != nil {
					return nil, err
				}
			}
			return nil, idGroup.missing(g)
		}
		group := r.GetSecurityGroup().GetGroup()
		if slices.ContainsFunc(groups, func(known *ec2v1.GroupIdentifier) bool { return known.GetGroupId() == group.GetGroupId() }) {
			continue
		}
		groups = append(groups, &ec2v1.GroupIdentifier{GroupId: group.GroupId, GroupName: group.GroupName})
	}
	return groups, nil
}

// ensureClientInterface finds the interface of a laboratory client in a subnet
// with exactly these groups, or makes it. No subnet stands for the VPC's first
// by address, no groups for its default one. The Txn is nil if there is one.
func ensureClientInterface(cfg Config, v *state.View, c Caller, vpc, subnet string, groups []string) (*ec2v1.NetworkInterface, *statev1.Txn, error) {
	w, err := openVPC(cfg, v, c, vpc)
	if err != nil {
		return nil, nil, err
	}
	in, err := w.clientSubnet(subnet)
	if err != nil {
		return nil, nil, err
	}
	members, err := w.groupsNamed(groups)
	if err != nil {
		return nil, nil, err
	}
	for r := range v.List(statev1.Type_TYPE_NETWORK_INTERFACE, c.Account, c.Region, vpc+"/") {
		eni := r.GetNetworkInterface()
		if isClient(eni) && eni.GetSubnetId() == in.GetSubnetId() && sameGroups(eni.GetGroups(), members) {
			return eni, nil, nil
		}
	}
	eni, err := w.newInterface(in, netip.Addr{}, members, nil)
	if err != nil {
		return nil, nil, err
	}
	eni.Description = new("client of postern vpc exec")
	eni.Tags = []*ec2v1.Tag{{Key: new(tagClient), Value: new("true")}}
	w.put(w.child(statev1.Type_TYPE_NETWORK_INTERFACE, eni.GetNetworkInterfaceId()), eni)
	return eni, w.done(), nil
}

func (w *vpcWrite) clientSubnet(id string) (*ec2v1.Subnet, error) {
	if id != "" {
		r := w.view.Get(w.child(statev1.Type_TYPE_SUBNET, id))
		if r == nil {
			return nil, idSubnet.missing(id)
		}
		return r.GetSubnet(), nil
	}
	var first *ec2v1.Subnet
	var lowest netip.Prefix
	for r := range w.view.List(statev1.Type_TYPE_SUBNET, w.key.Account, w.key.Region, w.id()+"/") {
		cidr, err := netip.ParsePrefix(r.GetSubnet().GetCidrBlock())
		if err != nil {
			return nil, fmt.Errorf("range of %s: %w", r.GetSubnet().GetSubnetId(), err)
		}
		if first == nil || cidr.Addr().Less(lowest.Addr()) {
			first, lowest = r.GetSubnet(), cidr
		}
	}
	if first == nil {
		return nil, apierr.New(apierr.KindNotFound, idSubnet.notFound, "The vpc '%s' has no subnet for a client to sit in", w.id())
	}
	return first, nil
}

func sameGroups(a, b []*ec2v1.GroupIdentifier) bool {
	ids := func(groups []*ec2v1.GroupIdentifier) []string {
		var out []string
		for _, g := range groups {
			out = append(out, g.GetGroupId())
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(ids(a), ids(b))
}

var interfaceFilters = filters[*ec2v1.NetworkInterface]{
	"network-interface-id": func(e *ec2v1.NetworkInterface) []string { return []string{e.GetNetworkInterfaceId()} },
	"vpc-id":               func(e *ec2v1.NetworkInterface) []string { return []string{e.GetVpcId()} },
	"subnet-id":            func(e *ec2v1.NetworkInterface) []string { return []string{e.GetSubnetId()} },
	"group-id": func(e *ec2v1.NetworkInterface) []string {
		var all []string
		for _, g := range e.GetGroups() {
			all = append(all, g.GetGroupId())
		}
		return all
	},
	"group-name": func(e *ec2v1.NetworkInterface) []string {
		var all []string
		for _, g := range e.GetGroups() {
			all = append(all, g.GetGroupName())
		}
		return all
	},
	"interface-type":               func(e *ec2v1.NetworkInterface) []string { return []string{e.GetInterfaceType()} },
	"requester-managed":            func(e *ec2v1.NetworkInterface) []string { return boolText(e.GetRequesterManaged()) },
	"requester-id":                 func(e *ec2v1.NetworkInterface) []string { return []string{e.GetRequesterId()} },
	"status":                       func(e *ec2v1.NetworkInterface) []string { return []string{e.GetStatus()} },
	"description":                  func(e *ec2v1.NetworkInterface) []string { return []string{e.GetDescription()} },
	"owner-id":                     func(e *ec2v1.NetworkInterface) []string { return []string{e.GetOwnerId()} },
	"mac-address":                  func(e *ec2v1.NetworkInterface) []string { return []string{e.GetMacAddress()} },
	"private-dns-name":             func(e *ec2v1.NetworkInterface) []string { return []string{e.GetPrivateDnsName()} },
	"private-ip-address":           func(e *ec2v1.NetworkInterface) []string { return []string{e.GetPrivateIpAddress()} },
	"addresses.private-ip-address": func(e *ec2v1.NetworkInterface) []string { return []string{e.GetPrivateIpAddress()} },
	"addresses.primary":            func(*ec2v1.NetworkInterface) []string { return boolText(true) },
	"availability-zone":            func(e *ec2v1.NetworkInterface) []string { return []string{e.GetAvailabilityZone()} },
	"source-dest-check":            func(e *ec2v1.NetworkInterface) []string { return boolText(e.GetSourceDestCheck()) },
	"attachment.attachment-id": func(e *ec2v1.NetworkInterface) []string {
		return present(e.GetAttachment().GetAttachmentId())
	},
	"attachment.instance-id": func(e *ec2v1.NetworkInterface) []string {
		return present(e.GetAttachment().GetInstanceId())
	},
	"attachment.instance-owner-id": func(e *ec2v1.NetworkInterface) []string {
		return present(e.GetAttachment().GetInstanceOwnerId())
	},
	"attachment.status": func(e *ec2v1.NetworkInterface) []string {
		return present(e.GetAttachment().GetStatus())
	},
	"attachment.device-index": func(e *ec2v1.NetworkInterface) []string {
		if e.GetAttachment() == nil {
			return nil
		}
		return []string{fmt.Sprint(e.GetAttachment().GetDeviceIndex())}
	},
	"attachment.delete-on-termination": func(e *ec2v1.NetworkInterface) []string {
		if e.GetAttachment() == nil {
			return nil
		}
		return boolText(e.GetAttachment().GetDeleteOnTermination())
	},
}.withTags((*ec2v1.NetworkInterface).GetTags)

// present is a filter's view of a value that may be missing.
func present(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

func (s *ec2Server) DescribeNetworkInterfaces(ctx context.Context, req *ec2v1.DescribeNetworkInterfacesRequest) (*ec2v1.DescribeNetworkInterfacesResponse, error) {
	v, c, err := s.read(ctx, req.DryRun)
	if err != nil {
		return nil, err
	}
	p, err := pageOf(req.MaxResults, req.NextToken, "networkInterfaceIds", req.GetNetworkInterfaceIds())
	if err != nil {
		return nil, err
	}
	match, err := interfaceFilters.compile(req.GetFilters())
	if err != nil {
		return nil, err
	}
	var all []*ec2v1.NetworkInterface
	for r := range v.List(statev1.Type_TYPE_NETWORK_INTERFACE, c.Account, c.Region, "vpc-") {
		all = append(all, r.GetNetworkInterface())
	}
	if all, err = pick(idInterface, all, req.GetNetworkInterfaceIds(), (*ec2v1.NetworkInterface).GetNetworkInterfaceId); err != nil {
		return nil, err
	}
	answer := &ec2v1.DescribeNetworkInterfacesResponse{}
	answer.NetworkInterfaces, answer.NextToken = cut(p, keep(all, match), (*ec2v1.NetworkInterface).GetNetworkInterfaceId)
	return answer, nil
}
