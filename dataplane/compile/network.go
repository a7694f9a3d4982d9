package compile

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/gaissmai/bart"

	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"

	"github.com/posternhq/postern/dataplane/policy"
)

// Endpoint is a VPC endpoint.
type Endpoint struct {
	ID      string
	Account string
	Region  string
	VPC     string
	// Policy is nil for full access.
	Policy *policy.Program
	ENIs   []Eni

	bound   *policy.Program // Policy, bound to what the endpoint knows
	settled bool            // bound decides all requests alike
	place   unique.Handle[endpointPlace]

	cidrs  []netip.Prefix
	groups []string
	admit  *bart.Lite
}

// Eni is an interface of an endpoint: its address in the VPC and on this machine.
type Eni struct {
	ID      string
	AZ      string
	Address netip.Addr
	Bind    netip.Addr
	// AcceptsAt is the wall time before which it lets nobody in, in Unix
	// nanoseconds; 0: none.
	AcceptsAt int64
}

// Admits says whether some security group of the endpoint lets a source, given
// by its VPC address, connect.
func (e *Endpoint) Admits(source netip.Addr) bool { return e.admit.Contains(source.Unmap()) }

// Accepts says whether the interface with that address in the VPC takes
// connections at an instant.
func (e *Endpoint) Accepts(address netip.Addr, now time.Time) bool {
	for i := range e.ENIs {
		if n := &e.ENIs[i]; n.Address == address {
			return n.AcceptsAt == 0 || n.AcceptsAt <= now.UnixNano()
		}
	}
	return true
}

func compileEndpoint(m *edgev1.VpcEndpoint) (*Endpoint, error) {
	e := &Endpoint{ID: m.GetId(), Account: m.GetAccount(), Region: m.GetRegion(), VPC: m.GetVpcId(), groups: m.GetIngressGroups()}
	var err error
	if e.Policy, err = compilePolicy(m.GetPolicy()); err != nil {
		return nil, err
	}
	e.bind()
	for _, n := range m.GetEnis() {
		eni := Eni{ID: n.GetId(), AZ: n.GetAz(), AcceptsAt: n.GetAcceptsAt()}
		if eni.Address, err = netip.ParseAddr(n.GetAddress()); err != nil {
			return nil, fmt.Errorf("address of %s: %w", n.GetId(), err)
		}
		if eni.Bind, err = netip.ParseAddr(n.GetBindAddress()); err != nil {
			return nil, fmt.Errorf("bind address of %s: %w", n.GetId(), err)
		}
		e.ENIs = append(e.ENIs, eni)
	}
	if e.cidrs, err = prefixes(m.GetIngressCidrs()); err != nil {
		return nil, err
	}
	return e, nil
}

// admitting returns the endpoint with its sources resolved: the ranges of its
// rules and the present members of the groups that they name. A group that is
// not known admits nobody.
func (e *Endpoint) admitting(groups *edit[*group]) *Endpoint {
	resolved := *e
	resolved.admit = &bart.Lite{}
	for _, p := range e.cidrs {
		resolved.admit.Insert(p)
	}
	for _, id := range e.groups {
		if g, ok := groups.get(id); ok {
			for _, a := range g.members {
				resolved.admit.Insert(netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	return &resolved
}

// group is a security group as far as rules name it: who is in it.
type group struct{ members []netip.Addr }

func compileGroup(m *edgev1.SecurityGroup) (*group, error) {
	g := &group{}
	for _, s := range m.GetMemberAddresses() {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("member address: %w", err)
		}
		g.members = append(g.members, a.WithZone("").Unmap())
	}
	return g, nil
}

// VPC maps addresses between a VPC and this machine.
type VPC struct {
	ID      string
	Account string
	Region  string
	ARN     string
	CIDRs   []netip.Prefix
	// LoopbackOctet is x of the 127.x.0.0/16 that stands for the VPC on one
	// machine; 0 if addresses are as they are.
	LoopbackOctet uint8

	arn    unique.Handle[string]
	routed map[netip.Addr]netip.Addr // machine address to VPC-side address
}

func compileVPC(m *edgev1.Vpc) (*VPC, error) {
	if m.GetLoopbackOctet() > 254 {
		return nil, fmt.Errorf("loopback octet %d is above 254", m.GetLoopbackOctet())
	}
	v := &VPC{ID: m.GetId(), Account: m.GetAccount(), Region: m.GetRegion(), LoopbackOctet: uint8(m.GetLoopbackOctet())}
	v.ARN = "arn:" + policy.PartitionOf(v.Region) + ":ec2:" + v.Region + ":" + v.Account + ":vpc/" + v.ID
	v.arn = unique.Make(v.ARN)
	var err error
	if v.CIDRs, err = prefixes(m.GetCidrs()); err != nil {
		return nil, err
	}
	v.routed = make(map[netip.Addr]netip.Addr, len(m.GetRoutedClients()))
	for _, c := range m.GetRoutedClients() {
		bind, address, err := clientOf(c)
		if err != nil {
			return nil, fmt.Errorf("routed client: %w", err)
		}
		v.routed[bind] = address
	}
	return v, nil
}

// Source says which VPC-side address a peer of this machine stands for, and
// whether it has a route into the VPC at all: on one machine everything can
// reach everything, so what a network would drop has to be refused here.
func (v *VPC) Source(peer netip.Addr) (source netip.Addr, reachable bool) {
	peer = peer.Unmap()
	if source, ok := v.routed[peer]; ok {
		return source, true
	}
	if v.LoopbackOctet == 0 {
		return peer, true // the network has decided
	}
	if !peer.Is4() {
		return netip.Addr{}, false
	}
	b := peer.As4()
	if b[0] != 127 || b[1] != v.LoopbackOctet {
		return netip.Addr{}, false
	}
	for _, p := range v.CIDRs {
		if !p.Addr().Is4() {
			continue
		}
		high := p.Addr().As4()
		if a := netip.AddrFrom4([4]byte{high[0], high[1], b[2], b[3]}); p.Contains(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

func prefixes(list []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(list))
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("range %q: %w", s, err)
		}
		if p.Addr().Is4In6() {
			return nil, fmt.Errorf("range %q: an IPv4 range in IPv6 notation", s)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func listenersOf(endpoints *shards[*Endpoint]) []Listener {
	var list []Listener
	for _, e := range endpoints.all() {
		for _, n := range e.ENIs {
			list = append(list, Listener{Bind: n.Bind, Address: n.Address, ENI: n.ID, AZ: n.AZ, Endpoint: e.ID, VPC: e.VPC, Region: e.Region})
		}
	}
	slices.SortFunc(list, func(a, b Listener) int {
		return cmp.Or(a.Bind.Compare(b.Bind), strings.Compare(a.ENI, b.ENI))
	})
	return list
}
