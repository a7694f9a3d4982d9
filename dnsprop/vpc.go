package dnsprop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dnsprop/rdata"
	"github.com/posternhq/postern/dnsprop/resolver"
	"github.com/posternhq/postern/internal/netx"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
)

// vpc is the resolver of a VPC at its address.
type vpc struct {
	resolver *resolver.Resolver
	address  netip.AddrPort
	socket   *socket
	network  network
}

// network is a VPC's addresses, and the octet by which they are bound here.
type network struct {
	octet  uint32
	ranges []netip.Prefix
}

// client is the address in the VPC of a client that the resolver sees at another.
func (n network) client(seen netip.Addr) netip.Addr {
	if own, ok := netx.FromLoopback(n.octet, n.ranges, seen); ok {
		return own
	}
	return seen
}

// installVPCs takes the VPCs of an update. s.mu is held.
func (s *Server) installVPCs(ctx context.Context, in sortedUpdate, reject func(string, error)) {
	// Removed first: their addresses may be another's now.
	for _, id := range in.removed["vpc"] {
		if v := s.vpcs[id]; v != nil {
			v.socket.close()
			delete(s.vpcs, id)
			s.metrics.resolverAnswers.DeletePartialMatch(prometheus.Labels{"place": s.vpcID(id)})
			s.installNamed(id, resolver.VPC{})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(in.changed["vpc"])) {
		r := in.changed["vpc"][id]
		if err := s.installVPC(ctx, id, r.Body); err != nil {
			reject(r.Name, err)
		}
	}
}

func (s *Server) installVPC(ctx context.Context, id string, body []byte) error {
	m := new(dnsv1.Vpc)
	if err := proto.Unmarshal(body, m); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	if m.GetId() != id {
		return fmt.Errorf("holds vpc %q", m.GetId())
	}
	octet := m.GetLoopbackOctet()
	rules, err := newRules(m, octet)
	if err != nil {
		return err
	}
	base, err := resolverAddress(m.GetCidrs())
	if err != nil {
		return err
	}
	// The port of the public resolver counts, and it may be one yet to be chosen.
	if err := s.listen(ctx); err != nil {
		return err
	}
	address := netip.AddrPortFrom(netx.ToLoopback(octet, base), s.port)
	v := s.vpcs[id]
	if v != nil && v.address == address {
		v.resolver.Install(rules)
	} else if err := s.openVPC(ctx, id, rules, address); err != nil {
		return err
	}
	n := network{octet: octet}
	for _, cidr := range m.GetCidrs() {
		if p, err := netip.ParsePrefix(cidr); err == nil {
			n.ranges = append(n.ranges, p)
		}
	}
	s.vpcs[id].network = n
	s.installNamed(id, rules)
	return nil
}

// openVPC makes the resolver of a VPC at an address, in place of one at another.
func (s *Server) openVPC(ctx context.Context, id string, rules resolver.VPC, address netip.AddrPort) error {
	res := resolver.New(s.resolverConfig(s.cacheOf(s.cfg.vpc)), rules)
	sock, err := open(ctx, s.cfg.Network, address.String(), s.resolverHandler(s.vpcID(id), res), s.cfg.Logger.With("vpc_id", id))
	if err != nil {
		return err
	}
	if v := s.vpcs[id]; v != nil {
		v.socket.close()
	}
	if s.phase == running {
		sock.serve(1)
	}
	s.vpcs[id] = &vpc{resolver: res, address: address, socket: sock}
	return nil
}

// resolverAddress is the base + 2 of the VPC's first range, as on AWS.
func resolverAddress(cidrs []string) (netip.Addr, error) {
	if len(cidrs) == 0 {
		return netip.Addr{}, errors.New("vpc has no address range")
	}
	p, err := netip.ParsePrefix(cidrs[0])
	if err != nil {
		return netip.Addr{}, fmt.Errorf("address range of the vpc: %w", err)
	}
	return p.Masked().Addr().Next().Next(), nil
}

// newRules decodes what the resolver goes by. Subnets are turned into where
// their clients are seen to come from.
func newRules(m *dnsv1.Vpc, octet uint32) (resolver.VPC, error) {
	rules := resolver.VPC{
		ID:           m.GetId(),
		DNSSupport:   m.GetEnableDnsSupport(),
		DNSHostnames: m.GetEnableDnsHostnames(),
	}
	for _, n := range m.GetSubnets() {
		p, err := netip.ParsePrefix(n.GetCidr())
		if err != nil {
			return rules, fmt.Errorf("subnet %s: %w", n.GetId(), err)
		}
		bits := p.Bits()
		if octet != 0 {
			bits = max(bits, 16)
		}
		sources := netip.PrefixFrom(netx.ToLoopback(octet, p.Masked().Addr()), bits)
		rules.Subnets = append(rules.Subnets, resolver.Subnet{AZ: n.GetAz(), Sources: sources})
	}
	for _, z := range m.GetPrivateZones() {
		private := resolver.PrivateZone{
			Name: z.GetName(),
			TTL:  time.Duration(z.GetTtl()) * time.Second,
			From: z.GetAvailableAt(),
		}
		for _, text := range z.GetAddresses() {
			a, err := netip.ParseAddr(text)
			if err != nil || !a.Is4() {
				return rules, fmt.Errorf("private zone %s: %q is not an IPv4 address", z.GetName(), text)
			}
			private.Addresses = append(private.Addresses, a)
		}
		rules.Zones = append(rules.Zones, private)
	}
	for _, z := range m.GetHostedZones() {
		if name, err := rdata.Name(z.GetName()); err != nil || name != z.GetName() || z.GetId() == "" {
			return rules, fmt.Errorf("hosted zone %q %q is none", z.GetId(), z.GetName())
		}
		rules.Zones = append(rules.Zones, resolver.PrivateZone{Name: z.GetName(), Hosted: z.GetId(), From: z.GetFrom()})
	}
	return rules, nil
}
