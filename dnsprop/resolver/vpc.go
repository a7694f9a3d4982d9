package resolver

import (
	"iter"
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

// caches are those of an availability zone: of public names, and of each user's
// private zone, whose names are not the public ones of the same spelling.
type caches struct {
	public *cache
	hosted map[string]*cache // by the zone's id
}

// with keeps the caches that there are and makes those that zones need.
func (s caches) with(zones []PrivateZone, capacity int) caches {
	next := caches{public: s.public, hosted: map[string]*cache{}}
	if next.public == nil {
		next.public = newCache(capacity)
	}
	for _, z := range zones {
		if z.Hosted == "" {
			continue
		}
		next.hosted[z.Hosted] = s.hosted[z.Hosted]
		if next.hosted[z.Hosted] == nil {
			next.hosted[z.Hosted] = newCache(capacity)
		}
	}
	return next
}

func (s *rules) all() iter.Seq[*cache] {
	return func(yield func(*cache) bool) {
		for _, caches := range s.caches {
			for c := range caches.all() {
				if !yield(c) {
					return
				}
			}
		}
	}
}

func (s caches) all() iter.Seq[*cache] {
	return func(yield func(*cache) bool) {
		if !yield(s.public) {
			return
		}
		for _, c := range s.hosted {
			if !yield(c) {
				return
			}
		}
	}
}

// older is until when any of the caches may answer for a set of a change by what
// is older; 0 if none can.
func (s caches) older(c *zone.Change, at int64) (last int64) {
	if s.public == nil {
		return 0
	}
	for i := range c.Records {
		last = max(last, s.stale(zone.Version{Change: c, Ordinal: i}, at))
	}
	return last
}

// stale is until when any of the caches may answer by what is older than a
// version: for its own name, or by an alias that leads to it.
func (s caches) stale(than zone.Version, at int64) int64 {
	ref := than.Change.Zone
	var last int64
	if own := s.hosted[ref.ID]; ref.Private && own != nil {
		last = own.stale(than, at)
	} else if !ref.Private {
		last = s.public.stale(than, at)
		for _, c := range s.hosted {
			last = max(last, c.staleAliases(than, at))
		}
	}
	return last
}

// Sees reports whether a change can be seen through the resolver: one of a user's
// private zone, if the zone is the VPC's.
func (r *Resolver) Sees(c *zone.Change) bool {
	rules := r.rules.Load()
	return !c.Zone.Private || rules.caches[0].hosted[c.Zone.ID] != nil
}

// in is the caches of an availability zone; none if there is no such zone.
func (s *rules) in(az string) caches {
	if s != nil {
		for i, name := range s.zones {
			if name == az {
				return s.caches[i]
			}
		}
	}
	return caches{}
}

// cachesFor picks the caches of the client's availability zone; a client from
// outside the VPC gets the first.
func (s *rules) cachesFor(source netip.Addr) caches {
	source = source.Unmap()
	for _, subnet := range s.vpc.Subnets {
		if subnet.Sources.Contains(source) {
			return s.in(subnet.AZ)
		}
	}
	return s.caches[0]
}

// private returns the most specific private zone that a name is in. There is
// no way from it to public names: what it lacks does not exist for the VPC.
func private[T string | []byte](s *rules, name T, at int64) *PrivateZone {
	if !s.vpc.DNSHostnames || len(s.vpc.Zones) == 0 {
		return nil
	}
	for up, ok := name, true; ok; up, ok = zone.Parent(up) {
		for i := range s.vpc.Zones {
			p := &s.vpc.Zones[i]
			if p.Name == string(up) && p.From <= at {
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
