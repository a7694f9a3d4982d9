package resolver

import (
	"net/netip"
	"slices"

	"github.com/posternhq/postern/dnsprop/message"
	"github.com/posternhq/postern/dnsprop/zone"
)

// availabilityZones names the VPC's zones in order; one without a name if the
// VPC has no subnet, and for the public resolver.
func availabilityZones(vpc VPC) []string {
	var zones []string
	for _, s := range vpc.Subnets {
		zones = append(zones, s.AZ)
	}
	slices.Sort(zones)
	if zones = slices.Compact(zones); len(zones) == 0 {
		zones = []string{""}
	}
	return zones
}

// cacheFor picks the cache of the client's availability zone; a client from
// outside the VPC gets the first.
func (s *rules) cacheFor(source netip.Addr) *cache {
	source = source.Unmap()
	for _, subnet := range s.vpc.Subnets {
		if subnet.Sources.Contains(source) {
			return s.cache(subnet.AZ)
		}
	}
	return s.caches[0]
}

// private returns the most specific private zone that a name is in. There is
// no way from it to public names: what it lacks does not exist for the VPC.
func (s *rules) private(name string, at int64) *PrivateZone {
	if !s.vpc.DNSHostnames || len(s.vpc.Zones) == 0 {
		return nil
	}
	for up, ok := name, true; ok; up, ok = zone.Parent(up) {
		for i := range s.vpc.Zones {
			p := &s.vpc.Zones[i]
			if p.Name == up && p.From <= at {
				return p
			}
		}
	}
	return nil
}

// facts are the same for every name of the zone: apex and wildcard hold the
// same addresses, and the wildcard covers any number of labels (RFC 4592).
func (p *PrivateZone) facts(set *zone.Set) message.Facts {
	negative := set.Clock.TTL(set.NegativeTTL)
	return message.Facts{
		Apex:      p.Name,
		Exists:    true,
		Addresses: p.Addresses,
		TTL:       set.Clock.TTL(min(p.TTL, set.PositiveTTL)),
		Serial:    1,
		SOATTL:    negative,
		Minimum:   negative,
	}
}
