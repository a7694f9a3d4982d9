package service

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dnsprop/propagation"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// maxEndpoints is AWS's quota of interface endpoints in one VPC.
const maxEndpoints = 50

// fullAccess is how AWS shows the policy of an endpoint that was given none.
const fullAccess = `{
  "Statement": [
    {
      "Action": "*",
      "Effect": "Allow",
      "Principal": "*",
      "Resource": "*"
    }
  ]
}`

// serviceName is the one service that endpoints are made for.
func serviceName(region string) string { return "com.amazonaws." + region + ".execute-api" }

// endpointGone: the state "deleting" is over, so nobody sees the endpoint any
// more; the next write in its VPC removes the record.
func endpointGone(cfg Config, v *state.View, e *statev1.VpcEndpoint) bool {
	return e.GetDeletedAt() != 0 && !dnsNow(cfg, v).Before(time.Unix(0, e.GetDeletedAt()))
}

// findEndpoint returns the record of one of the caller's endpoints.
func findEndpoint(cfg Config, v *state.View, c Caller, id string) (*statev1.Record, error) {
	if err := idEndpoint.check(id); err != nil {
		return nil, err
	}
	r := v.Get(c.key(statev1.Type_TYPE_VPC_ENDPOINT, id))
	if r == nil || endpointGone(cfg, v, r.GetVpcEndpoint()) {
		return nil, idEndpoint.missing(id)
	}
	return r, nil
}

func (s *ec2Server) CreateVpcEndpoint(ctx context.Context, req *ec2v1.CreateVpcEndpointRequest) (*ec2v1.CreateVpcEndpointResponse, error) {
	if err := required("vpcId", req.GetVpcId(), "serviceName", req.GetServiceName()); err != nil {
		return nil, err
	}
	tags, err := newTags(req.GetTagSpecifications(), "vpc-endpoint")
	if err != nil {
		return nil, err
	}
	if err := checkAddressing(req.GetIpAddressType(), req.GetDnsOptions()); err != nil {
		return nil, err
	}
	warnings, err := checkEndpointPolicy(req.GetPolicyDocument())
	if err != nil {
		return nil, err
	}
	answer := &ec2v1.CreateVpcEndpointResponse{}
	err = s.create(ctx, "CreateVpcEndpoint", req.GetClientToken(), req.DryRun, req, answer, func(v *state.View, c Caller) (*statev1.Txn, error) {
		w, err := openVPC(s.cfg, v, c, req.GetVpcId())
		if err != nil {
			return nil, err
		}
		e, err := s.newEndpoint(w, c, req)
		if err != nil {
			return nil, err
		}
		e.Endpoint.Tags = tags
		answer.VpcEndpoint = describeEndpoint(s.cfg, v, w.key, w.vpc, e)
		answer.ClientToken = req.ClientToken
		return w.done(), nil
	})
	if err != nil {
		return nil, err
	}
	warn(ctx, warnings...)
	return answer, nil
}

// newEndpoint adds an endpoint with its interfaces and names to the write.
func (s *ec2Server) newEndpoint(w *vpcWrite, c Caller, req *ec2v1.CreateVpcEndpointRequest) (*statev1.VpcEndpoint, error) {
	if req.GetServiceName() != serviceName(c.Region) {
		return nil, apierr.New(apierr.KindNotFound, "InvalidServiceName", "The Vpc Endpoint Service '%s' does not exist", req.GetServiceName())
	}
	switch kind := req.GetVpcEndpointType(); kind {
	case "Interface":
	case "":
		return nil, wrongType("Gateway") // EC2's default
	default:
		return nil, wrongType(kind)
	}
	if len(req.GetRouteTableIds()) > 0 {
		return nil, invalidParameter("Route tables cannot be specified for an endpoint of type Interface.")
	}
	live := 0
	for range w.endpoints() {
		live++
	}
	if live >= maxEndpoints {
		return nil, apierr.New(apierr.KindLimit, "VpcEndpointLimitExceeded", "The maximum number of VPC endpoints has been reached.")
	}
	groups, err := w.groupsNamed(req.GetSecurityGroupIds())
	if err != nil {
		return nil, err
	}
	settings := w.view.Settings()
	profile, err := propagation.Resolve(settings.GetDnsProfile(), settings.GetCustomDnsProfile())
	if err != nil {
		return nil, err
	}
	id := s.cfg.ec2ID("vpce")
	e := &statev1.VpcEndpoint{
		Endpoint: &ec2v1.VpcEndpoint{
			VpcEndpointId:     new(id),
			VpcEndpointType:   new("Interface"),
			VpcId:             new(w.id()),
			ServiceName:       new(req.GetServiceName()),
			Groups:            groups,
			IpAddressType:     new("ipv4"),
			DnsOptions:        &ec2v1.DnsOptions{DnsRecordIpType: new("ipv4")},
			PrivateDnsEnabled: new(false),
			RequesterManaged:  new(false),
			CreationTimestamp: new(timestamp(s.cfg.Now())),
			OwnerId:           new(c.Account),
		},
		DnsSuffix:   s.cfg.alphanumeric(8),
		AvailableAt: dnsNow(s.cfg, w.view).Add(profile.Pending(settings.GetDnsSeed(), id)).UnixNano(),
		Policy:      req.GetPolicyDocument(),
	}
	if req.PrivateDnsEnabled == nil || req.GetPrivateDnsEnabled() {
		if err := w.enablePrivateDNS(e); err != nil {
			return nil, err
		}
	}
	edit := endpointEdit{w: w, e: e}
	if err := edit.addSubnets(req.GetSubnetIds(), req.GetSubnetConfigurations()); err != nil {
		return nil, err
	}
	edit.late(time.Unix(0, e.GetAvailableAt()))
	key := w.sibling(statev1.Type_TYPE_VPC_ENDPOINT, id)
	w.txn.Guards = append(w.txn.Guards, absent(key))
	w.put(key, e)
	w.add(endpointDNS(s.cfg, w.view, nil, e, endpointAddresses{after: edit.addresses()}, key))
	return e, nil
}

func wrongType(kind string) error {
	return invalidParameter("The endpoint type (%s) does not match available service types ([Interface]).", kind)
}

// endpoints are the VPC's endpoints that were not deleted.
func (w *vpcWrite) endpoints() []*statev1.VpcEndpoint {
	var all []*statev1.VpcEndpoint
	for r := range w.view.List(statev1.Type_TYPE_VPC_ENDPOINT, w.key.Account, w.key.Region, "") {
		if e := r.GetVpcEndpoint(); e.GetEndpoint().GetVpcId() == w.id() && endpointLives(e) {
			all = append(all, e)
		}
	}
	return all
}

// enablePrivateDNS gives the VPC's private names to the endpoint. Only one
// endpoint of a VPC can have them. The zone's id is the VPC's: it is made with
// the first such endpoint and stays the same for the next.
func (w *vpcWrite) enablePrivateDNS(e *statev1.VpcEndpoint) error {
	if !w.vpc.GetEnableDnsSupport() || !w.vpc.GetEnableDnsHostnames() {
		return invalidParameter("Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for %s", w.id())
	}
	for _, other := range w.endpoints() {
		if other.GetEndpoint().GetPrivateDnsEnabled() && other.GetEndpoint().GetVpcEndpointId() != e.GetEndpoint().GetVpcEndpointId() {
			return invalidParameter("private-dns-enabled cannot be set because there is already a conflicting DNS domain for %s in the VPC %s",
				executeAPI(w.key.Region), w.id())
		}
	}
	c := Caller{Account: w.key.Account, Region: w.key.Region}
	if zoneOfName(w.view, c, executeAPI(w.key.Region)+".", w.id()) != "" {
		return invalidParameter("private-dns-enabled cannot be set because there is already a conflicting DNS domain for %s in the VPC %s",
			executeAPI(w.key.Region), w.id())
	}
	if w.vpc.GetPrivateZoneId() == "" {
		w.vpc.PrivateZoneId = "Z" + w.cfg.pick(changeIDAlphabet, 20)
	}
	e.Endpoint.PrivateDnsEnabled = new(true)
	return nil
}

// checkAddressing refuses what needs IPv6, which no VPC has here.
func checkAddressing(ipAddressType string, options *ec2v1.DnsOptions) error {
	if ipAddressType != "" && ipAddressType != "ipv4" {
		return invalidParameter("The IP address type %s is not supported: the subnets do not have IPv6 CIDR blocks.", ipAddressType)
	}
	if t := options.GetDnsRecordIpType(); t != "" && t != "ipv4" {
		return invalidParameter("The DNS record IP type %s is not supported for the IP address type ipv4.", t)
	}
	if options.GetPrivateDnsOnlyForInboundResolverEndpoint() {
		return invalidParameter("PrivateDnsOnlyForInboundResolverEndpoint not supported for this service.")
	}
	return nil
}

// checkEndpointPolicy refuses a document that could not be evaluated, and says
// what is allowed but unusual about any other.
func checkEndpointPolicy(text string) (warnings []string, err error) {
	if text == "" {
		return nil, nil
	}
	malformed := func(why string) error {
		return apierr.New(apierr.KindInvalid, "InvalidPolicyDocument", "The policy document is malformed: %s", why)
	}
	doc, err := policy.Parse([]byte(text))
	if err != nil {
		return nil, malformed(err.Error())
	}
	problems, unusual := doc.Validate(policy.EndpointPolicy)
	if len(problems) > 0 {
		return nil, malformed(problems[0].String())
	}
	if _, err := policy.Compile(doc); err != nil {
		return nil, malformed(err.Error())
	}
	return findings(unusual), nil
}

// endpointEdit changes the subnets of an endpoint, and with them its interfaces.
type endpointEdit struct {
	w *vpcWrite
	e *statev1.VpcEndpoint

	added   []*ec2v1.NetworkInterface
	removed []string // interface ids
}

// addSubnets gives the endpoint an interface in each subnet: at most one a zone.
func (d *endpointEdit) addSubnets(ids []string, configs []*ec2v1.SubnetConfiguration) error {
	wished := map[string]netip.Addr{}
	ids = slices.Clone(ids)
	for _, config := range configs {
		if config.GetIpv6() != "" {
			return invalidParameter("IPv6 addresses are not supported: the subnets do not have IPv6 CIDR blocks.")
		}
		if config.Ipv4 != nil {
			a, err := netip.ParseAddr(config.GetIpv4())
			if err != nil || !a.Is4() {
				return invalidValue("Value (%s) for parameter ipv4 is invalid. This is not a valid IPv4 address.", config.GetIpv4())
			}
			wished[config.GetSubnetId()] = a
		}
		if !slices.Contains(ids, config.GetSubnetId()) {
			ids = append(ids, config.GetSubnetId())
		}
	}
	endpoint := d.e.Endpoint
	zones := map[string]bool{}
	for _, id := range endpoint.GetSubnetIds() {
		if r := d.w.view.Get(d.w.child(statev1.Type_TYPE_SUBNET, id)); r != nil {
			zones[r.GetSubnet().GetAvailabilityZone()] = true
		}
	}
	taken := map[netip.Addr]bool{}
	for _, id := range ids {
		if err := idSubnet.check(id); err != nil {
			return err
		}
		r := d.w.view.Get(d.w.child(statev1.Type_TYPE_SUBNET, id))
		if r == nil {
			return d.strangeSubnet(id)
		}
		subnet := r.GetSubnet()
		z := subnet.GetAvailabilityZone()
		if !slices.Contains(servedZones(d.w.key.Region), z) {
			return invalidParameter("The VPC endpoint service %s does not support the availability zone of the subnet: %s.", serviceName(d.w.key.Region), id)
		}
		if zones[z] {
			return apierr.New(apierr.KindConflict, "DuplicateSubnetsInSameZone",
				"Found another VPC endpoint subnet in the availability zone of %s. VPC endpoint subnets should be in different availability zones supported by the VPC endpoint service.", id)
		}
		zones[z] = true
		eni, err := d.w.newInterface(subnet, wished[id], endpoint.GetGroups(), taken)
		if err != nil {
			return err
		}
		taken[netip.MustParseAddr(eni.GetPrivateIpAddress())] = true
		d.serve(eni)
		d.added = append(d.added, eni)
		d.w.put(d.w.child(statev1.Type_TYPE_NETWORK_INTERFACE, eni.GetNetworkInterfaceId()), eni)
		endpoint.SubnetIds = append(endpoint.SubnetIds, id)
		endpoint.NetworkInterfaceIds = append(endpoint.NetworkInterfaceIds, eni.GetNetworkInterfaceId())
	}
	return nil
}

// strangeSubnet tells a subnet of another VPC from one that does not exist.
func (d *endpointEdit) strangeSubnet(id string) error {
	c := Caller{Account: d.w.key.Account, Region: d.w.key.Region}
	if _, err := findChild(d.w.view, c, statev1.Type_TYPE_SUBNET, idSubnet, id); err != nil {
		return err
	}
	return invalidParameter("The following subnet ids do not belong to the VPC %s: [%s]", d.w.id(), id)
}

// serve makes an interface the endpoint's.
func (d *endpointEdit) serve(eni *ec2v1.NetworkInterface) {
	eni.InterfaceType = new("vpc_endpoint")
	eni.Description = new("VPC Endpoint Interface " + d.e.GetEndpoint().GetVpcEndpointId())
	eni.RequesterManaged = new(true)
	eni.RequesterId = new(d.w.key.Account)
	eni.Attachment = &ec2v1.NetworkInterfaceAttachment{
		AttachmentId:        new(derivedID("ela-attach", eni.GetNetworkInterfaceId())),
		DeleteOnTermination: new(false),
		DeviceIndex:         new(int32(1)),
		InstanceOwnerId:     new("amazon-aws"),
		Status:              new("attached"),
	}
}

// removeSubnets takes the endpoint's interfaces out of subnets.
func (d *endpointEdit) removeSubnets(ids []string) error {
	endpoint := d.e.Endpoint
	for _, id := range ids {
		if err := idSubnet.check(id); err != nil {
			return err
		}
		i := slices.Index(endpoint.SubnetIds, id)
		if i < 0 {
			return invalidParameter("The following subnet ids are not associated with the VPC endpoint: [%s]", id)
		}
		endpoint.SubnetIds = slices.Delete(endpoint.SubnetIds, i, i+1)
		for _, eniID := range slices.Clone(endpoint.NetworkInterfaceIds) {
			key := d.w.child(statev1.Type_TYPE_NETWORK_INTERFACE, eniID)
			if d.w.view.Get(key).GetNetworkInterface().GetSubnetId() == id {
				d.drop(eniID)
			}
		}
	}
	return nil
}

func (d *endpointEdit) drop(eniID string) {
	d.w.drop(d.w.child(statev1.Type_TYPE_NETWORK_INTERFACE, eniID).Proto())
	d.removed = append(d.removed, eniID)
	d.e.Endpoint.NetworkInterfaceIds = slices.DeleteFunc(d.e.Endpoint.NetworkInterfaceIds, func(id string) bool { return id == eniID })
}

// addresses are those of the endpoint after the edit.
func (d *endpointEdit) addresses() []zonalAddress {
	out := addressesOf(d.w.view, d.w.key, d.e) // what is only added is not in the View yet
	for _, eni := range d.added {
		out = append(out, zonalAddress{zone: eni.GetAvailabilityZone(), address: eni.GetPrivateIpAddress()})
	}
	return out
}

// late notes which of the new interfaces a fault keeps from accepting connections
// for a while after the instant at which they are there.
func (d *endpointEdit) late(there time.Time) {
	now := dnsNow(d.w.cfg, d.w.view).UnixNano()
	for _, eni := range d.added {
		zone := eni.GetAvailabilityZone()
		d.e.Late = slices.DeleteFunc(d.e.Late, func(l *statev1.LateInterface) bool { return l.GetAvailabilityZone() == zone })
		if by := propagation.Late(dnsFaults(d.w.view), now, d.w.key.Region, zone); by > 0 {
			d.e.Late = append(d.e.Late, &statev1.LateInterface{AvailabilityZone: zone, AcceptsAt: there.Add(by).UnixNano()})
		}
	}
}

// describeEndpoint is the endpoint as answers show it: its state is a function
// of the DNS clock, and its names one of its subnets.
func describeEndpoint(cfg Config, v *state.View, key state.Key, vpc *statev1.Vpc, e *statev1.VpcEndpoint) *ec2v1.VpcEndpoint {
	shown := proto.CloneOf(e.GetEndpoint())
	now := dnsNow(cfg, v)
	switch {
	case !endpointLives(e):
		shown.State = new("deleting")
	case now.Before(time.Unix(0, max(e.GetAvailableAt(), e.GetSettledAt()))):
		shown.State = new("pending")
	default:
		shown.State = new("available")
	}
	shown.PolicyDocument = new(fullAccess)
	if e.GetPolicy() != "" {
		shown.PolicyDocument = new(e.GetPolicy())
	}
	shown.ServiceRegion = new(key.Region)
	var zones []string
	for _, id := range shown.GetSubnetIds() {
		child := state.Key{Type: statev1.Type_TYPE_SUBNET, Account: key.Account, Region: key.Region, ID: shown.GetVpcId() + "/" + id}
		if r := v.Get(child); r != nil {
			zones = append(zones, r.GetSubnet().GetAvailabilityZone())
		}
	}
	slices.Sort(zones)
	entry := func(name, zone string) {
		shown.DnsEntrys = append(shown.DnsEntrys, &ec2v1.DnsEntry{DnsName: new(name), HostedZoneId: new(zone)})
	}
	public := privateLinkZone(key.Region)
	entry(endpointHost(e, "", key.Region), public)
	for _, z := range zones {
		entry(endpointHost(e, z, key.Region), public)
	}
	if shown.GetPrivateDnsEnabled() {
		entry(executeAPI(key.Region), vpc.GetPrivateZoneId())
		entry("*."+executeAPI(key.Region), vpc.GetPrivateZoneId())
	}
	return shown
}

// privateLinkZone is the hosted zone of a region's endpoint names. Of most
// regions the id on AWS is not known; those get one of the same form.
func privateLinkZone(region string) string {
	switch region {
	case "us-east-1":
		return "Z7HUB22UULQXV"
	case "us-east-2":
		return "ZC8PG0KIFKBRI"
	case "us-west-2":
		return "Z1YSA3EXCYUU9Z"
	}
	return "Z" + strings.ToUpper(strings.TrimPrefix(derivedID("zone", region), "zone-")[:13])
}
