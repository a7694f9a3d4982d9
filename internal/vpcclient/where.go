package vpcclient

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/posternhq/postern/internal/netx"
)

// Where is a place in the network, as a user name says it:
//
//	vpc-1                      in that VPC, any subnet, its default security group
//	vpc-1/subnet-2             in that subnet
//	vpc-1/subnet-2/sg-3+sg-4   with these security groups; the subnet may be empty
//	internet                   outside every VPC
//	onprem                     behind Direct Connect, with a route to nothing
//	onprem/vpc-1+vpc-2         with a route to these VPCs
type Where struct {
	// VPC is a VPC's id, "internet" or "onprem".
	VPC            string
	Subnet         string
	SecurityGroups []string
	// Routes are the VPCs that an on-premises client reaches.
	Routes []string
}

// ParseWhere reads a user name.
func ParseWhere(user string) (Where, error) {
	if strings.Contains(user, "%") { // some clients pass the name as it stands in the URL
		if plain, err := url.PathUnescape(user); err == nil {
			user = plain
		}
	}
	parts := strings.Split(user, "/")
	for _, p := range parts {
		if !plainIDs(p) {
			return Where{}, fmt.Errorf("user name %q is no place; want VPC[/SUBNET[/SG+SG]], internet or onprem[/VPC+VPC]", user)
		}
	}
	w := Where{VPC: parts[0]}
	switch {
	case w.VPC == "":
		return Where{}, fmt.Errorf("user name %q names no VPC", user)
	case w.VPC == "internet":
		if len(parts) > 1 {
			return Where{}, fmt.Errorf("user name %q: the internet has no parts", user)
		}
	case w.VPC == "onprem":
		if len(parts) > 2 {
			return Where{}, fmt.Errorf("user name %q: want onprem[/VPC+VPC]", user)
		}
		if len(parts) == 2 {
			w.Routes = split(parts[1])
		}
	case len(parts) > 3:
		return Where{}, fmt.Errorf("user name %q: want VPC[/SUBNET[/SG+SG]]", user)
	default:
		if len(parts) > 1 {
			w.Subnet = parts[1]
		}
		if len(parts) > 2 {
			w.SecurityGroups = split(parts[2])
		}
	}
	return w, nil
}

func split(ids string) []string {
	if ids == "" {
		return nil
	}
	return strings.Split(ids, "+")
}

func plainIDs(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '+':
		default:
			return false
		}
	}
	return true
}

// String is the user name that ParseWhere reads.
func (w Where) String() string {
	switch {
	case len(w.Routes) > 0:
		return w.VPC + "/" + strings.Join(w.Routes, "+")
	case len(w.SecurityGroups) > 0:
		return w.VPC + "/" + w.Subnet + "/" + strings.Join(w.SecurityGroups, "+")
	case w.Subnet != "":
		return w.VPC + "/" + w.Subnet
	}
	return w.VPC
}

// Placement is how a client at some place reaches the network.
type Placement struct {
	// LocalAddr is the address on this machine that connections leave from.
	LocalAddr netip.Addr
	// Resolver answers its DNS queries, at an address on this machine.
	Resolver netip.AddrPort
	// Mappings say where VPC addresses are bound on this machine, the client's own
	// VPC first; none where addresses are as they are.
	Mappings []Mapping
	// Region is the one that the client is in.
	Region string
}

// Mapping says that the addresses of a range are bound in 127.Octet/16.
type Mapping struct {
	VPC    string
	Prefix netip.Prefix
	Octet  uint32
}

// target is the address to dial on this machine for an address of the network.
// It is not ok for one that leads nowhere from this machine: a private address
// that no VPC has.
func (p *Placement) target(a netip.AddrPort, edgePort uint16) (netip.AddrPort, bool) {
	addr, port := a.Addr().Unmap(), a.Port()
	for _, m := range p.Mappings {
		if m.Octet != 0 && m.Prefix.Contains(addr) {
			addr = netx.ToLoopback(m.Octet, addr)
			break
		}
	}
	if len(p.Mappings) > 0 && addr.IsPrivate() {
		// This is the address of a VPC that is not there, and must not become that
		// of a machine in the office.
		return netip.AddrPort{}, false
	}
	if addr.IsLoopback() && port == 443 {
		port = edgePort
	}
	return netip.AddrPortFrom(addr, port), true
}
