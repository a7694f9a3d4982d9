package snapshot

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/internal/netx"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	// onPremises is the "VPC" of interfaces behind Direct Connect.
	onPremises = "onprem"
	// tagRoutes names, on such an interface, the VPCs that it has a route to.
	tagRoutes = "postern:routes"
	// endpointService ends the service name of endpoints that edges serve.
	endpointService = ".execute-api"
	// httpsPort is the port that endpoints are reached at, whatever edges bind.
	httpsPort = 443
)

// network remembers who refers to whom, so that a change finds its users.
type network struct {
	// usedBy: interface, group or VPC to the endpoints that refer to it.
	usedBy map[state.Key]map[state.Key]bool
	// uses: endpoint to what it refers to.
	uses map[state.Key][]state.Key
	// members: group to its interfaces and their addresses.
	members map[state.Key]map[state.Key]string
	// memberOf: interface to its groups.
	memberOf map[state.Key][]state.Key
	// routed: VPC id to the on-premises interfaces routed into it, with their addresses.
	routed map[string]map[state.Key]string
	// routesOf: on-premises interface to VPC ids.
	routesOf map[state.Key][]string
}

func newNetwork() *network {
	return &network{
		usedBy: map[state.Key]map[state.Key]bool{}, uses: map[state.Key][]state.Key{},
		members: map[state.Key]map[state.Key]string{}, memberOf: map[state.Key][]state.Key{},
		routed: map[string]map[state.Key]string{}, routesOf: map[state.Key][]string{},
	}
}

// touched is what has to be built again.
type touched struct {
	vpcs      map[string]bool
	groups    map[state.Key]bool
	endpoints map[state.Key]bool
}

func newTouched() *touched {
	return &touched{vpcs: map[string]bool{}, groups: map[state.Key]bool{}, endpoints: map[state.Key]bool{}}
}

func (t *touched) users(n *network, of state.Key) {
	for k := range n.usedBy[of] {
		t.endpoints[k] = true
	}
}

// interfaceChanged follows a network interface; a nil record is a deleted one.
// With a nil t it only remembers.
func (n *network) interfaceChanged(k state.Key, r *statev1.Record, t *touched) {
	if t == nil {
		t = newTouched()
	}
	t.users(n, k)
	for _, g := range n.memberOf[k] {
		dropFrom(n.members, g, k)
		t.groups[g] = true
	}
	delete(n.memberOf, k)
	for _, vpc := range n.routesOf[k] {
		dropFrom(n.routed, vpc, k)
		t.vpcs[vpc] = true
	}
	delete(n.routesOf, k)
	eni := r.GetNetworkInterface()
	if eni == nil {
		return
	}
	vpc, _, _ := strings.Cut(k.ID, "/")
	address := eni.GetPrivateIpAddress()
	if vpc == onPremises {
		for _, id := range strings.Split(tag(eni.GetTags(), tagRoutes), ",") {
			if id = strings.TrimSpace(id); id == "" {
				continue
			}
			addTo(n.routed, id, k, address)
			n.routesOf[k] = append(n.routesOf[k], id)
			t.vpcs[id] = true
		}
		return
	}
	for _, g := range eni.GetGroups() {
		group := groupKey(k, vpc, g.GetGroupId())
		addTo(n.members, group, k, address)
		n.memberOf[k] = append(n.memberOf[k], group)
		t.groups[group] = true
	}
}

// refer replaces what an endpoint refers to.
func (n *network) refer(endpoint state.Key, to []state.Key) {
	for _, k := range n.uses[endpoint] {
		dropFrom(n.usedBy, k, endpoint)
	}
	if len(to) == 0 {
		delete(n.uses, endpoint)
		return
	}
	n.uses[endpoint] = to
	for _, k := range to {
		addTo(n.usedBy, k, endpoint, true)
	}
}

func addTo[A, B comparable, V any](m map[A]map[B]V, a A, b B, v V) {
	if m[a] == nil {
		m[a] = map[B]V{}
	}
	m[a][b] = v
}

func dropFrom[A, B comparable, V any](m map[A]map[B]V, a A, b B) {
	if delete(m[a], b); len(m[a]) == 0 {
		delete(m, a)
	}
}

func groupKey(like state.Key, vpc, id string) state.Key {
	return state.Key{Type: statev1.Type_TYPE_SECURITY_GROUP, Account: like.Account, Region: like.Region, ID: vpc + "/" + id}
}

func tag(tags []*ec2v1.Tag, key string) string {
	for _, t := range tags {
		if t.GetKey() == key {
			return t.GetValue()
		}
	}
	return ""
}

// bind translates a VPC address to the one to bind on this machine.
func (b *Builder) bind(octet uint32, address string) string {
	if b.asIs {
		octet = 0
	}
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address // the edge will name it in its rejection
	}
	return netx.ToLoopback(octet, a).String()
}

func (b *Builder) vpc(k state.Key, r *statev1.Record) {
	name := "vpc/" + k.ID
	vpc := r.GetVpc()
	if vpc == nil {
		b.offer(name, "", nil)
		return
	}
	k = state.KeyOf(r.GetKey())
	m := &edgev1.Vpc{Id: k.ID, Account: k.Account, Region: k.Region, Cidrs: []string{vpc.GetVpc().GetCidrBlock()}}
	for _, a := range vpc.GetVpc().GetCidrBlockAssociations() {
		if c := a.GetCidrBlock(); c != "" && !slices.Contains(m.Cidrs, c) {
			m.Cidrs = append(m.Cidrs, c)
		}
	}
	if !b.asIs {
		m.LoopbackOctet = vpc.GetLoopbackOctet()
	}
	for _, address := range b.network.routed[k.ID] {
		m.RoutedClients = append(m.RoutedClients, &edgev1.Client{Address: address, BindAddress: b.bind(netx.OnPremOctet, address)})
	}
	slices.SortFunc(m.RoutedClients, func(a, b *edgev1.Client) int { return strings.Compare(a.GetAddress(), b.GetAddress()) })
	b.offer(name, "", m)
}

func (b *Builder) group(k state.Key, r *statev1.Record) {
	vpc, id, _ := strings.Cut(k.ID, "/")
	if r.GetSecurityGroup() == nil {
		b.offer("sg/"+id, "", nil)
		return
	}
	m := &edgev1.SecurityGroup{Id: id, VpcId: vpc}
	for _, address := range b.network.members[k] {
		m.MemberAddresses = append(m.MemberAddresses, address)
	}
	slices.Sort(m.MemberAddresses)
	b.offer("sg/"+id, vpc, m)
}

// endpoint offers an endpoint once its VPC, its interfaces and its groups all
// exist. A deleted one is withdrawn at once, whatever the DNS clock shows of it.
func (b *Builder) endpoint(v *state.View, k state.Key, r *statev1.Record) {
	name := "vpce/" + k.ID
	e := r.GetVpcEndpoint()
	if e == nil || e.GetDeletedAt() != 0 || e.GetEndpoint().GetVpcEndpointType() != "Interface" ||
		!strings.HasSuffix(e.GetEndpoint().GetServiceName(), endpointService) {
		b.network.refer(k, nil)
		delete(b.late, k)
		b.offer(name, "", nil)
		return
	}
	if delete(b.late, k); len(e.GetLate()) > 0 {
		b.late[k] = true
	}
	vpcID := e.GetEndpoint().GetVpcId()
	at := func(t statev1.Type, id string) state.Key {
		return state.Key{Type: t, Account: k.Account, Region: k.Region, ID: id}
	}
	vpcKey := at(statev1.Type_TYPE_VPC, vpcID)
	refs := []state.Key{vpcKey}
	vpc := v.Get(vpcKey).GetVpc()
	complete := vpc != nil
	m := &edgev1.VpcEndpoint{Id: k.ID, Account: k.Account, Region: k.Region, VpcId: vpcID, Policy: e.GetPolicy()}
	for _, id := range e.GetEndpoint().GetNetworkInterfaceIds() {
		key := at(statev1.Type_TYPE_NETWORK_INTERFACE, vpcID+"/"+id)
		refs = append(refs, key)
		eni := v.Get(key).GetNetworkInterface()
		if eni == nil {
			complete = false
			continue
		}
		m.Enis = append(m.Enis, &edgev1.Eni{
			Id: id, Az: eni.GetAvailabilityZone(), Address: eni.GetPrivateIpAddress(),
			BindAddress: b.bind(vpc.GetLoopbackOctet(), eni.GetPrivateIpAddress()), AcceptsAt: b.acceptsAt(e, eni.GetAvailabilityZone()),
		})
	}
	for _, g := range e.GetEndpoint().GetGroups() {
		key := groupKey(k, vpcID, g.GetGroupId())
		refs = append(refs, key)
		group := v.Get(key).GetSecurityGroup()
		if group == nil {
			complete = false
			continue
		}
		admit(m, group.GetRules())
	}
	b.network.refer(k, refs)
	if !complete {
		b.offer(name, "", nil)
		return
	}
	slices.SortFunc(m.Enis, func(a, b *edgev1.Eni) int { return strings.Compare(a.GetId(), b.GetId()) })
	slices.Sort(m.IngressCidrs)
	slices.Sort(m.IngressGroups)
	m.IngressCidrs, m.IngressGroups = slices.Compact(m.IngressCidrs), slices.Compact(m.IngressGroups)
	b.offer(name, vpcID, m)
}

// acceptsAt is the wall time from which an endpoint's interface in a zone lets
// clients in, as the DNS clock goes now; an edge has no such clock. It is 0 for
// what had passed when the clock was last set.
func (b *Builder) acceptsAt(e *statev1.VpcEndpoint, zone string) int64 {
	for _, l := range e.GetLate() {
		at := time.Unix(0, l.GetAcceptsAt())
		if l.GetAvailabilityZone() != zone || !at.After(b.clock.DNSTime) {
			continue
		}
		if wall, ok := b.clock.Wall(at); ok {
			return wall.UnixNano()
		}
		return math.MaxInt64 // while it is frozen
	}
	return 0
}

// admit adds the sources that rules let in to HTTPS. A rule may name a group
// that is gone or has no members: it admits nobody then, as on AWS. Prefix lists
// name services, which are no clients of an endpoint.
func admit(m *edgev1.VpcEndpoint, rules []*ec2v1.SecurityGroupRule) {
	for _, r := range rules {
		if r.GetIsEgress() || !coversHTTPS(r) {
			continue
		}
		for _, c := range []string{r.GetCidrIpv4(), r.GetCidrIpv6()} {
			if c != "" {
				m.IngressCidrs = append(m.IngressCidrs, c)
			}
		}
		if id := r.GetReferencedGroupInfo().GetGroupId(); id != "" {
			m.IngressGroups = append(m.IngressGroups, id)
		}
	}
}

func coversHTTPS(r *ec2v1.SecurityGroupRule) bool {
	switch r.GetIpProtocol() {
	case "-1":
		return true
	case "tcp", "6":
		return r.GetFromPort() <= httpsPort && httpsPort <= r.GetToPort()
	}
	return false
}
