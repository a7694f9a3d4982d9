package netx

import "net/netip"

// On one machine a VPC's record has an octet x, and the VPC's address a.b.c.d is
// bound as 127.x.c.d: the low 16 bits stay. Octet 0 means that addresses are as
// they are.
const (
	// OnPremOctet stands for the network behind Direct Connect.
	OnPremOctet = 255
)

// OnPrem is the on-premises network, bound as 127.255.c.d.
var OnPrem = netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, 0, 0}), 16)

var loopback4 = netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, 0, 0}), 8)

// ToLoopback is where the VPC address addr is bound on this machine, in the VPC
// of the given octet. Octet 0 and IPv6 leave the address alone.
func ToLoopback(octet uint32, addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	if octet == 0 || octet > OnPremOctet || !addr.Is4() {
		return addr
	}
	b := addr.As4()
	return netip.AddrFrom4([4]byte{127, byte(octet), b[2], b[3]})
}

// FromLoopback is the VPC address that addr stands for in a VPC of the given
// octet and ranges. It is not ok for an address that stands for none of them;
// with octet 0, for one outside the ranges.
func FromLoopback(octet uint32, ranges []netip.Prefix, addr netip.Addr) (netip.Addr, bool) {
	addr = addr.Unmap()
	if octet == 0 {
		for _, r := range ranges {
			if r.Contains(addr) {
				return addr, true
			}
		}
		return netip.Addr{}, false
	}
	if !addr.Is4() || octet > OnPremOctet {
		return netip.Addr{}, false
	}
	b := addr.As4()
	if !loopback4.Contains(addr) || uint32(b[1]) != octet {
		return netip.Addr{}, false
	}
	for _, r := range ranges {
		if !r.Addr().Is4() {
			continue
		}
		hi := r.Addr().As4()
		if vpc := netip.AddrFrom4([4]byte{hi[0], hi[1], b[2], b[3]}); r.Contains(vpc) {
			return vpc, true
		}
	}
	return netip.Addr{}, false
}
