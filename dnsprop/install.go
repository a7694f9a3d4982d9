package dnsprop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/resolver"
	"github.com/posternhq/postern/dnsprop/zone"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Update moves a Server to the snapshot of an index.
type Update struct {
	Index uint64
	// Full: what Changed does not name is removed.
	Full    bool
	Changed []Resource
	Removed []string
}

// Resource is one named part of a DNS snapshot: settings, change/{id} or vpc/{id}.
type Resource struct {
	Name string
	Body []byte // of the message in postern.dns.v1
}

// Rejection names a resource that the Server could not take, and why. Its last
// good form stays.
type Rejection struct {
	Resource, Reason string
}

// settings is the decoded resource of that name.
type settings struct {
	clock   propagation.Clock
	profile propagation.Profile
	cache   resolver.Options // the profile's
	regions []string
	faults  []*statev1.DnsFault
}

const settingsName = "settings"

func defaultSettings() settings {
	instant, err := propagation.Lookup("instant")
	if err != nil {
		panic(err)
	}
	return settings{clock: propagation.ClockOf(nil), profile: instant}
}

func newSettings(m *dnsv1.Settings) (settings, error) {
	profile, err := propagation.Resolve(m.GetProfile(), m.GetCustomProfile())
	if err != nil {
		return settings{}, err
	}
	cache, err := resolver.ParseOptions(profile.Resolver)
	if err != nil {
		return settings{}, err
	}
	for _, region := range m.GetRegions() {
		if region == "" || strings.ContainsFunc(region, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
		}) {
			return settings{}, fmt.Errorf("region %q cannot be part of a name", region)
		}
	}
	for _, f := range m.GetFaults() {
		if err := propagation.CheckFault(f); err != nil {
			return settings{}, err
		}
	}
	return settings{
		clock:   propagation.ClockOf(m.GetClock()),
		profile: profile,
		cache:   cache,
		regions: m.GetRegions(),
		faults:  m.GetFaults(),
	}, nil
}

// apply sets what a Set is read by.
func (s settings) apply(set *zone.Set) *zone.Set {
	set.Clock = s.clock
	set.PositiveTTL, set.NegativeTTL = s.profile.PositiveTTL, s.profile.NegativeTTL
	set.Faults = s.faults
	return set
}

// Install takes an update. When it returns, queries are answered by it, each
// change from its instants on; what could not be taken it names.
func (s *Server) Install(ctx context.Context, u Update) []Rejection {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == stopped {
		return nil
	}
	in := sorted(u)
	if u.Full {
		in.removeOthers(s)
	}
	var rejections []Rejection
	reject := func(resource string, err error) {
		s.cfg.Logger.Warn("dns resource rejected", "index", u.Index, "resource", resource, "err", err)
		rejections = append(rejections, Rejection{Resource: resource, Reason: err.Error()})
	}
	for _, name := range in.unknown {
		reject(name, errors.New("no such kind of dns resource"))
	}

	if in.settings != nil {
		if next, err := decodeSettings(in.settings.Body); err != nil {
			reject(in.settings.Name, err)
		} else {
			s.settings = next
			s.setCaches()
		}
	}
	forgotten := s.installChanges(in, u.Full && s.tracker.index == 0, reject)
	s.installVPCs(ctx, in, reject)
	if forgotten {
		// A lab was reset: what it cached is of another world.
		s.public.Flush()
		for _, n := range s.named {
			n.resolver.Flush()
		}
		for _, v := range s.vpcs {
			v.resolver.Flush()
		}
	}
	s.tracker.index = max(s.tracker.index, u.Index)
	s.metrics.index.Set(float64(s.tracker.index))
	s.evaluate()
	signal(s.wake)
	s.cfg.Logger.Debug("dns snapshot installed", "index", u.Index, "changed", len(u.Changed), "removed", len(u.Removed), "under_way", len(s.tracker.underway))
	return rejections
}

// installChanges makes and publishes the next zones. first tells that the
// changes are history, so how long they took cannot be told. It reports whether
// a change was taken back.
func (s *Server) installChanges(in sortedUpdate, first bool, reject func(string, error)) (forgotten bool) {
	edit := s.zones.Load().Edit(s.settings.regions)
	for _, id := range in.removed["change"] {
		if old := s.changes[id]; old != nil {
			edit.Remove(old)
			s.tracker.remove(old)
			delete(s.changes, id)
			forgotten = true
		}
	}
	for id, r := range in.changed["change"] {
		c, err := decodeChange(id, r.Body)
		if err != nil {
			reject(r.Name, err)
			continue
		}
		if stray, ok := edit.Holds(c); !ok {
			reject(r.Name, fmt.Errorf("%s is in no zone", stray))
			continue
		}
		if old := s.changes[id]; old != nil {
			if old.Same(c) {
				continue // a full update after a reconnection brings everything again
			}
			edit.Remove(old)
		}
		edit.Put(c)
		s.changes[id] = c
		s.tracker.put(c, !first)
	}
	s.zones.Store(s.settings.apply(edit.Set(s.settings.clock.Now(s.cfg.Now()).UnixNano())))
	return forgotten
}

func decodeSettings(body []byte) (settings, error) {
	m := new(dnsv1.Settings)
	if err := proto.Unmarshal(body, m); err != nil {
		return settings{}, fmt.Errorf("decode: %w", err)
	}
	return newSettings(m)
}

func decodeChange(id string, body []byte) (*zone.Change, error) {
	m := new(dnsv1.Change)
	if err := proto.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	if got := m.GetChange().GetId(); got != id {
		return nil, fmt.Errorf("holds change %q", got)
	}
	return zone.NewChange(m)
}

// sortedUpdate is an update by kind of resource and id.
type sortedUpdate struct {
	settings *Resource
	changed  map[string]map[string]*Resource
	removed  map[string][]string
	unknown  []string
}

func sorted(u Update) sortedUpdate {
	in := sortedUpdate{
		changed: map[string]map[string]*Resource{"change": {}, "vpc": {}},
		removed: map[string][]string{},
	}
	for i := range u.Changed {
		r := &u.Changed[i]
		kind, id, _ := strings.Cut(r.Name, "/")
		switch {
		case r.Name == settingsName:
			in.settings = r
		case in.changed[kind] != nil && id != "":
			in.changed[kind][id] = r
		default:
			in.unknown = append(in.unknown, r.Name)
		}
	}
	for _, name := range u.Removed {
		if kind, id, ok := strings.Cut(name, "/"); ok {
			in.removed[kind] = append(in.removed[kind], id)
		}
	}
	return in
}

// removeOthers removes what the Server has and a full update lacks.
func (in sortedUpdate) removeOthers(s *Server) {
	for _, id := range slices.Sorted(maps.Keys(s.changes)) {
		if in.changed["change"][id] == nil {
			in.removed["change"] = append(in.removed["change"], id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.vpcs)) {
		if in.changed["vpc"][id] == nil {
			in.removed["vpc"] = append(in.removed["vpc"], id)
		}
	}
}
