package snapshot

import (
	"log/slog"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/internal/pki"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Config of a Builder.
type Config struct {
	// Keyring opens the secrets of access keys; nil: none are offered.
	Keyring *pki.Keyring
	Logger  *slog.Logger // nil: discards
}

// Builder is the Source of edge resources.
type Builder struct {
	cfg      Config
	index    uint64
	built    bool
	asIs     bool // addresses are not translated
	clock    propagation.Clock
	late     map[state.Key]bool // endpoints whose interfaces are late, which go by the clock
	offered  map[string]*Resource
	network  *network
	callers  *callers
	changed  map[string]*Resource
	removed  map[string]bool
	fullPass bool
	// otherRegions: there are APIs in other regions than before.
	otherRegions bool
}

// NewBuilder returns a Builder that has seen nothing.
func NewBuilder(cfg Config) *Builder {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Builder{cfg: cfg}
}

// Update implements Source.
func (b *Builder) Update(v *state.View) (changed []*Resource, removed []string, full bool) {
	changes, ok := v.Changed(b.index)
	b.changed, b.removed = map[string]*Resource{}, map[string]bool{}
	asIs := v.Settings().GetAddresses() == "as-is"
	// An index below the last one means that another state was put in place of ours.
	if b.fullPass = !b.built || !ok || v.Index() < b.index || asIs != b.asIs; b.fullPass {
		b.asIs = asIs
		b.offered, b.network, b.late, b.callers = map[string]*Resource{}, newNetwork(), map[state.Key]bool{}, newCallers()
		b.all(v)
	} else {
		b.some(v, changes)
	}
	b.index, b.built = v.Index(), true
	for _, name := range slices.Sorted(maps.Keys(b.changed)) {
		changed = append(changed, b.changed[name])
	}
	removed = slices.Sorted(maps.Keys(b.removed))
	b.changed, b.removed = nil, nil
	return changed, removed, b.fullPass
}

func (b *Builder) all(v *state.View) {
	b.settings(v)
	for r := range v.All(statev1.Type_TYPE_REST_API) {
		b.api(state.KeyOf(r.GetKey()), r)
	}
	for r := range v.All(statev1.Type_TYPE_STAGE) {
		b.stage(v, state.KeyOf(r.GetKey()), r)
	}
	for r := range v.All(statev1.Type_TYPE_NETWORK_INTERFACE) {
		b.network.interfaceChanged(state.KeyOf(r.GetKey()), r, nil)
	}
	for r := range v.All(statev1.Type_TYPE_VPC) {
		b.vpc(state.KeyOf(r.GetKey()), r)
	}
	for r := range v.All(statev1.Type_TYPE_SECURITY_GROUP) {
		b.group(state.KeyOf(r.GetKey()), r)
	}
	for r := range v.All(statev1.Type_TYPE_VPC_ENDPOINT) {
		b.endpoint(v, state.KeyOf(r.GetKey()), r)
	}
	callers := &touchedCallers{principals: map[state.Key]bool{}, keys: map[string]bool{}, all: true}
	for _, kind := range []statev1.Type{statev1.Type_TYPE_USER, statev1.Type_TYPE_ROLE} {
		for r := range v.All(kind) {
			callers.principals[state.KeyOf(r.GetKey())] = true
		}
	}
	b.callersOf(v, callers)
}

// some rebuilds what the changes touch. References are followed backwards: from
// a deployment to the stages of its API, from an interface or a group to the
// endpoints that use it, from a policy to its users and roles and on to their
// access keys.
func (b *Builder) some(v *state.View, changes []state.Change) {
	stages := map[state.Key]bool{}
	touched := newTouched()
	callers := &touchedCallers{principals: map[state.Key]bool{}, keys: map[string]bool{}}
	stagesOf := func(k state.Key, apiID string) {
		for r := range v.List(statev1.Type_TYPE_STAGE, k.Account, k.Region, apiID+"/") {
			stages[state.KeyOf(r.GetKey())] = true
		}
	}
	for _, c := range changes {
		r := c.Record
		if c.Deleted {
			r = nil
		}
		switch c.Key.Type {
		case statev1.Type_TYPE_SETTINGS:
			b.settings(v)
			maps.Copy(touched.endpoints, b.late)
		case statev1.Type_TYPE_REST_API:
			// The record is written again with everything inside the API: its
			// stages are looked at only when it comes or goes.
			_, was := b.offered[apiName(c.Key.ID)]
			b.api(c.Key, r)
			if was != (r != nil) {
				stagesOf(c.Key, c.Key.ID)
			}
		case statev1.Type_TYPE_STAGE:
			stages[c.Key] = true
		case statev1.Type_TYPE_DEPLOYMENT:
			apiID, _, _ := strings.Cut(c.Key.ID, "/")
			stagesOf(c.Key, apiID)
		case statev1.Type_TYPE_NETWORK_INTERFACE:
			b.network.interfaceChanged(c.Key, r, touched)
		case statev1.Type_TYPE_VPC:
			touched.vpcs[c.Key.ID] = true
			touched.users(b.network, c.Key)
		case statev1.Type_TYPE_SECURITY_GROUP:
			touched.groups[c.Key] = true
			touched.users(b.network, c.Key)
		case statev1.Type_TYPE_VPC_ENDPOINT:
			touched.endpoints[c.Key] = true
		default:
			callers.changed(b.callers, c.Key)
		}
	}
	for k := range stages {
		b.stage(v, k, v.Get(k))
	}
	for id := range touched.vpcs {
		r := v.Find(statev1.Type_TYPE_VPC, "", id)
		b.vpc(state.Key{Type: statev1.Type_TYPE_VPC, ID: id}, r)
	}
	for k := range touched.groups {
		b.group(k, v.Get(k))
	}
	for k := range touched.endpoints {
		b.endpoint(v, k, v.Get(k))
	}
	b.callersOf(v, callers)
}

// offer makes m the content of a resource; a nil m withdraws it.
func (b *Builder) offer(name, vpc string, m proto.Message) {
	old := b.offered[name]
	if m == nil {
		if old != nil {
			delete(b.offered, name)
			delete(b.changed, name)
			b.removed[name] = true
		}
		return
	}
	r := NewResource(name, vpc, m)
	if old != nil && old.Hash == r.Hash && old.VPC == r.VPC {
		return
	}
	b.offered[name], b.changed[name] = r, r
	delete(b.removed, name)
}

func (b *Builder) settings(v *state.View) {
	s := v.Settings()
	b.clock = propagation.ClockOf(s.GetDnsClock())
	b.offer("settings", "", &edgev1.Settings{TlsMax: s.GetTlsMax(), DenyDetail: s.GetDenyDetail(), SourceIpOnPrivate: s.GetSourceIpOnPrivate()})
}
