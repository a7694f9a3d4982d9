package dnsfeed

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/controlplane/state"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// change offers a change of public names; a nil record is a deleted one.
func (b *Builder) change(k state.Key, r *statev1.Record) {
	name := changePrefix + k.ID
	c := r.GetDnsChange()
	b.locate(k, c.GetRegion())
	if c == nil {
		b.offer(name, "", nil)
		return
	}
	b.offer(name, "", &dnsv1.Change{Change: c, Index: r.GetCreateIndex(), ModifyIndex: r.GetModifyIndex()})
}

// endpoint remembers which VPC an endpoint is in; a nil record is a deleted
// one. It returns the VPCs whose resource may be another now.
func (b *Builder) endpoint(k state.Key, r *statev1.Record) (vpcs []string) {
	before, now := b.vpcOf[k], r.GetVpcEndpoint().GetEndpoint().GetVpcId()
	b.locate(k, r.GetKey().GetRegion())
	if before != "" {
		vpcs = append(vpcs, before)
	}
	if before == now {
		return vpcs
	}
	if delete(b.endpoints[before], k); len(b.endpoints[before]) == 0 {
		delete(b.endpoints, before)
	}
	delete(b.vpcOf, k)
	if now != "" {
		if b.endpoints[now] == nil {
			b.endpoints[now] = map[state.Key]bool{}
		}
		b.endpoints[now][k] = true
		b.vpcOf[k] = now
		vpcs = append(vpcs, now)
	}
	return vpcs
}

// hostedZone remembers which VPCs a zone is associated with; a nil record is a
// deleted zone. It returns the VPCs whose resource may be another now.
func (b *Builder) hostedZone(k state.Key, r *statev1.Record) (vpcs []string) {
	vpcs = b.vpcsOf[k]
	for _, id := range vpcs {
		if delete(b.zones[id], k); len(b.zones[id]) == 0 {
			delete(b.zones, id)
		}
	}
	delete(b.vpcsOf, k)
	for _, a := range r.GetHostedZone().GetVpcs() {
		id := a.GetVpcId()
		if b.zones[id] == nil {
			b.zones[id] = map[state.Key]bool{}
		}
		b.zones[id][k] = true
		b.vpcsOf[k] = append(b.vpcsOf[k], id)
	}
	return append(slices.Clone(vpcs), b.vpcsOf[k]...)
}

// vpc offers what the resolvers of a VPC need. Its endpoints must be known.
func (b *Builder) vpc(v *state.View, id string) {
	name := vpcPrefix + id
	r := v.Find(statev1.Type_TYPE_VPC, "", id)
	vpc := r.GetVpc()
	if vpc == nil {
		b.offer(name, "", nil)
		return
	}
	k := state.KeyOf(r.GetKey())
	m := &dnsv1.Vpc{
		Id: id, Account: k.Account, Region: k.Region,
		Cidrs:              []string{vpc.GetVpc().GetCidrBlock()},
		EnableDnsSupport:   vpc.GetEnableDnsSupport(),
		EnableDnsHostnames: vpc.GetEnableDnsHostnames(),
	}
	for _, a := range vpc.GetVpc().GetCidrBlockAssociations() {
		if c := a.GetCidrBlock(); c != "" && !slices.Contains(m.Cidrs, c) {
			m.Cidrs = append(m.Cidrs, c)
		}
	}
	if !b.asIs {
		m.LoopbackOctet = vpc.GetLoopbackOctet()
	}
	for s := range v.List(statev1.Type_TYPE_SUBNET, k.Account, k.Region, id+"/") {
		n := s.GetSubnet()
		m.Subnets = append(m.Subnets, &dnsv1.Subnet{Id: n.GetSubnetId(), Az: n.GetAvailabilityZone(), Cidr: n.GetCidrBlock()})
	}
	for e := range b.endpoints[id] {
		if z := privateZone(v, e, vpc.GetPrivateZoneId()); z != nil {
			m.PrivateZones = append(m.PrivateZones, z)
		}
	}
	slices.SortFunc(m.PrivateZones, func(a, b *dnsv1.PrivateZone) int {
		return strings.Compare(a.GetVpcEndpointId(), b.GetVpcEndpointId())
	})
	for zone := range b.zones[id] {
		z := v.Get(zone).GetHostedZone()
		for _, a := range z.GetVpcs() {
			if a.GetVpcId() == id {
				m.HostedZones = append(m.HostedZones, &dnsv1.HostedZone{Id: z.GetId(), Name: z.GetName(), From: a.GetFrom()})
			}
		}
	}
	slices.SortFunc(m.HostedZones, func(a, b *dnsv1.HostedZone) int { return strings.Compare(a.GetId(), b.GetId()) })
	b.offer(name, id, m)
}

// privateZone is the zone of an endpoint with private DNS. It ends with the
// deletion of the endpoint, whose interfaces end then too, however long its
// state shows "deleting".
func privateZone(v *state.View, k state.Key, zoneID string) *dnsv1.PrivateZone {
	e := v.Get(k).GetVpcEndpoint()
	if e.GetDeletedAt() != 0 || !e.GetEndpoint().GetPrivateDnsEnabled() ||
		!strings.HasSuffix(e.GetEndpoint().GetServiceName(), endpointService) {
		return nil
	}
	z := &dnsv1.PrivateZone{
		Id:            zoneID,
		Name:          "execute-api." + k.Region + ".amazonaws.com.",
		Ttl:           zoneTTL,
		VpcEndpointId: k.ID,
		AvailableAt:   e.GetAvailableAt(),
	}
	for _, id := range e.GetEndpoint().GetNetworkInterfaceIds() {
		eni := v.Find(statev1.Type_TYPE_NETWORK_INTERFACE, k.Region, e.GetEndpoint().GetVpcId()+"/"+id).GetNetworkInterface()
		if a := eni.GetPrivateIpAddress(); a != "" {
			z.Addresses = append(z.Addresses, a)
		}
	}
	slices.Sort(z.Addresses)
	return z
}
