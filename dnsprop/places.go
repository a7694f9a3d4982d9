package dnsprop

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/posternhq/postern/dnsprop/authority"
	"github.com/posternhq/postern/dnsprop/resolver"
)

// maxPlaces bounds the places of one account of them.
const maxPlaces = 500

// place is whoever answers by itself: an authority, or the caches of a resolver
// for an availability zone.
type place struct {
	id        string // as others call it
	short     string // without the process
	authority *authority.Authority
	number    int // of the authority
	resolver  *resolver.Resolver
	az        string
	client    func(seen netip.Addr) netip.Addr // the address of a client where it is; nil: as seen
}

func (p *place) kind() string {
	if p.authority != nil {
		return "authority"
	}
	return "resolver"
}

// is reports whether p is meant by a name: its id, with or without the process,
// or that of the resolver whose cache it is.
func (p *place) is(name string) bool {
	whole, _, _ := strings.Cut(p.short, "/")
	return name == p.id || name == p.short || name == whole || name == strings.TrimSuffix(p.id, p.short)+whole ||
		name == publicName && p.short == "resolver"
}

// places are all that there are, in the order in which they are told. s.mu is held.
func (s *Server) places() []place {
	var all []place
	prefix := s.cfg.ID + "-"
	for i, a := range s.authorities {
		id := s.authorityID(i)
		all = append(all, place{id: id, short: strings.TrimPrefix(id, prefix), authority: a, number: i})
	}
	add := func(id string, r *resolver.Resolver, client func(netip.Addr) netip.Addr) {
		for _, az := range r.AvailabilityZones() {
			one := id
			if az != "" {
				one += "/" + az
			}
			all = append(all, place{id: one, short: strings.TrimPrefix(one, prefix), resolver: r, az: az, client: client})
		}
	}
	add(s.resolverID(0), s.public, nil)
	for i, n := range s.named {
		add(s.resolverID(1+i), n.resolver, nil)
	}
	for _, id := range slices.Sorted(maps.Keys(s.vpcs)) {
		add(s.vpcID(id), s.vpcs[id].resolver, s.vpcs[id].network.client)
	}
	return all
}
