// Package dnsfeed derives what DNS servers are told from the replicated state:
// the resources of package postern.dns.v1.
//
// Builder is a snapshot.Source and keeps its promises: it belongs to one
// goroutine, its resources are immutable and the same on every node, and an
// update costs what changed, not what there is. Nothing in a resource depends
// on a clock: instants are handed on as recorded, and the DNS servers compare
// them with the DNS clock themselves.
//
// When a change shows where is left to dnsprop/propagation; how resources reach
// a DNS server to publish.
package dnsfeed

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/snapshot"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dnsprop/propagation"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	settingsName = "settings"
	changePrefix = "change/"
	vpcPrefix    = "vpc/"
	// endpointService ends the service name of the endpoints that carry API calls.
	endpointService = ".execute-api"
	// zoneTTL is that of an alias target; servers lower it by their profile.
	zoneTTL = 60
)

// Builder is the Source of DNS resources.
type Builder struct {
	index uint64
	built bool
	asIs  bool // addresses are not translated

	// offered is what was last said, by name.
	offered map[string]*snapshot.Resource
	// regions counts what there is in each region; located tells what is counted.
	regions map[string]int
	located map[state.Key]string
	// endpoints of each VPC, by VPC id; vpcOf is the way back.
	endpoints map[string]map[state.Key]bool
	vpcOf     map[state.Key]string
	// zones are the private hosted zones of each VPC, by VPC id; vpcsOf is the way back.
	zones  map[string]map[state.Key]bool
	vpcsOf map[state.Key][]string

	changed map[string]*snapshot.Resource
	removed map[string]bool
}

var _ snapshot.Source = (*Builder)(nil)

// NewBuilder returns a Builder that has seen nothing.
func NewBuilder() *Builder { return &Builder{} }

// Update implements snapshot.Source.
func (b *Builder) Update(v *state.View) (changed []*snapshot.Resource, removed []string, full bool) {
	changes, ok := v.Changed(b.index)
	b.changed, b.removed = map[string]*snapshot.Resource{}, map[string]bool{}
	asIs := v.Settings().GetAddresses() == "as-is"
	// An index below the last one means that another state was put in place of ours.
	full = !b.built || !ok || v.Index() < b.index || asIs != b.asIs
	if full {
		b.asIs = asIs
		b.all(v)
	} else {
		b.some(v, changes)
	}
	b.settings(v)
	b.index, b.built = v.Index(), true
	for _, name := range slices.Sorted(maps.Keys(b.changed)) {
		changed = append(changed, b.changed[name])
	}
	removed = slices.Sorted(maps.Keys(b.removed))
	b.changed, b.removed = nil, nil
	return changed, removed, full
}

func (b *Builder) all(v *state.View) {
	b.offered = map[string]*snapshot.Resource{}
	b.regions, b.located = map[string]int{}, map[state.Key]string{}
	b.endpoints, b.vpcOf = map[string]map[state.Key]bool{}, map[state.Key]string{}
	b.zones, b.vpcsOf = map[string]map[state.Key]bool{}, map[state.Key][]string{}
	for r := range v.All(statev1.Type_TYPE_REST_API) {
		b.locate(state.KeyOf(r.GetKey()), r.GetKey().GetRegion())
	}
	for r := range v.All(statev1.Type_TYPE_DNS_CHANGE) {
		b.change(state.KeyOf(r.GetKey()), r)
	}
	for r := range v.All(statev1.Type_TYPE_VPC_ENDPOINT) {
		b.endpoint(state.KeyOf(r.GetKey()), r)
	}
	for r := range v.All(statev1.Type_TYPE_HOSTED_ZONE) {
		b.hostedZone(state.KeyOf(r.GetKey()), r)
	}
	for r := range v.All(statev1.Type_TYPE_VPC) {
		b.locate(state.KeyOf(r.GetKey()), r.GetKey().GetRegion())
		b.vpc(v, r.GetKey().GetId())
	}
}

// some follows the changes. Whatever is inside a VPC makes its one resource
// again; what happens to other records of it is seen by comparing hashes.
func (b *Builder) some(v *state.View, changes []state.Change) {
	vpcs := map[string]bool{}
	for _, c := range changes {
		r := c.Record
		if c.Deleted {
			r = nil
		}
		region := ""
		if r != nil {
			region = c.Key.Region
		}
		switch c.Key.Type {
		case statev1.Type_TYPE_REST_API:
			b.locate(c.Key, region)
		case statev1.Type_TYPE_DNS_CHANGE:
			b.change(c.Key, r)
		case statev1.Type_TYPE_VPC:
			b.locate(c.Key, region)
			vpcs[c.Key.ID] = true
		case statev1.Type_TYPE_VPC_ENDPOINT:
			for _, id := range b.endpoint(c.Key, r) {
				vpcs[id] = true
			}
		case statev1.Type_TYPE_HOSTED_ZONE:
			for _, id := range b.hostedZone(c.Key, r) {
				vpcs[id] = true
			}
		case statev1.Type_TYPE_SUBNET, statev1.Type_TYPE_NETWORK_INTERFACE:
			id, _, _ := strings.Cut(c.Key.ID, "/")
			vpcs[id] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(vpcs)) {
		b.vpc(v, id)
	}
}

// offer makes m the content of a resource; a nil m withdraws it.
func (b *Builder) offer(name, vpc string, m proto.Message) {
	old := b.offered[name]
	if m == nil {
		if old != nil {
			delete(b.offered, name)
			b.removed[name] = true
		}
		return
	}
	r := snapshot.NewResource(name, vpc, m)
	if old != nil && old.Hash == r.Hash && old.VPC == r.VPC {
		return
	}
	b.offered[name], b.changed[name] = r, r
}

// locate counts a record in a region, and no longer in the one before; an
// empty region is none.
func (b *Builder) locate(k state.Key, region string) {
	before := b.located[k]
	if before == region {
		return
	}
	if before != "" {
		delete(b.located, k)
		if b.regions[before]--; b.regions[before] == 0 {
			delete(b.regions, before)
		}
	}
	if region != "" {
		b.located[k] = region
		b.regions[region]++
	}
}

func (b *Builder) settings(v *state.View) {
	s := v.Settings()
	// What befalls changes is in them; servers need not know of it.
	var faults []*statev1.DnsFault
	for r := range v.All(statev1.Type_TYPE_DNS_FAULT) {
		switch f := r.GetDnsFault(); f.GetKind() {
		case propagation.FaultDown, propagation.FaultServfail:
			faults = append(faults, f)
		}
	}
	b.offer(settingsName, "", &dnsv1.Settings{
		Clock:   s.GetDnsClock(),
		Profile: s.GetDnsProfile(),
		Seed:    s.GetDnsSeed(),
		Regions: slices.Sorted(maps.Keys(b.regions)),

		CustomProfile: s.GetCustomDnsProfile(),
		Faults:        faults,
	})
}
