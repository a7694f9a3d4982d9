package dnstest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dnsprop"
	"github.com/posternhq/postern/dnsprop/profilefile"
	"github.com/posternhq/postern/dnsprop/propagation"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Region is that of the names that are Postern's own: API names and aliases are
// in execute-api.us-west-2.amazonaws.com, endpoints' in
// execute-api.us-west-2.vpce.amazonaws.com. Every Lab has both zones.
const Region = "us-west-2"

// Lab is a running laboratory.
type Lab struct {
	fail    func(error) // does not return
	options options

	chance sync.Mutex // of the two below, which are used within queries
	rng    *rand.Rand
	prefer int // the authority that resolvers ask first; -1: any

	wallMu sync.Mutex
	moved  time.Duration // by how much a clock that stands still was advanced

	mu       sync.Mutex
	dns      *dnsprop.Server // never run: it answers in process
	sockets  map[Place]*socket
	settings *dnsv1.Settings
	sent     map[string]dnsprop.Resource // the snapshot
	index    uint64
	zones    []*Zone
	vpcs     []*VPC
	changes  []*Change
	held     map[setKey]bool // the sets that there are by the newest changes
}

// setKey names a set of a zone, which is empty for Postern's own names.
type setKey struct{ zone, name, rtype string }

// Option is a choice for a new Lab.
type Option func(*options) error

type options struct {
	profile   string
	custom    *statev1.DnsProfile
	seed      uint64
	zones     []string
	resolvers []dnsprop.NamedResolver
	forward   string
	live      bool
	speed     float64
}

// Profile is one of instant, fast, aws and hostile; "aws" unless given.
func Profile(name string) Option {
	return func(o *options) error {
		_, err := propagation.Lookup(name)
		o.profile, o.custom = name, nil
		return err
	}
}

// ProfileYAML is a profile in the form of the file that --dns-profile-file
// names. It has no files beside it: measured delays are not for it.
func ProfileYAML(text string) Option {
	return func(o *options) (err error) {
		o.profile, o.custom, err = profilefile.Parse([]byte(text), fstest.MapFS{})
		return err
	}
}

// Seed chooses the delays: equal seeds draw the same. 1 unless given.
func Seed(seed uint64) Option {
	return func(o *options) error { o.seed = seed; return nil }
}

// PublicZone names public zones of the test's own, which every place has from the
// beginning. Lab.Zone makes one that has to propagate first.
func PublicZone(names ...string) Option {
	return func(o *options) error { o.zones = append(o.zones, names...); return nil }
}

// Resolver adds a resolver of a name and with options, as the flag --resolver
// does: "corp:ttl-min=5m,serve-stale=1h" makes the place "corp". With the names
// public and vpc the options are those of the resolvers that are always there.
func Resolver(text string) Option {
	return func(o *options) error {
		r, err := dnsprop.ParseNamedResolver(text)
		o.resolvers = append(o.resolvers, r)
		return err
	}
}

// Forward is the server, IP:port, that resolvers ask about names which are in no
// zone here; without it they refuse them.
func Forward(address string) Option {
	return func(o *options) error { o.forward = address; return nil }
}

// Live lets the clock run by itself, so many times as fast as the time package's,
// which in a bubble of testing/synctest is the bubble's. TTLs are then in
// the client's seconds, as a server under --dns-speed has them.
func Live(speed float64) Option {
	return func(o *options) error {
		if !(speed > 0 && speed <= 1e6) {
			return fmt.Errorf("speed %v of the clock is not above 0 and at most 1000000", speed)
		}
		o.live, o.speed = true, speed
		return nil
	}
}

// Start makes a Lab that ends with the test.
func Start(t testing.TB, opts ...Option) *Lab {
	t.Helper()
	l, err := newLab(opts)
	if err != nil {
		t.Fatalf("dnstest: %v", err)
	}
	t.Cleanup(l.Close)
	l.fail = func(err error) {
		t.Helper()
		t.Fatalf("dnstest: %v", err)
	}
	return l
}

// New makes a Lab outside of a test, to be closed.
func New(opts ...Option) *Lab {
	l, err := newLab(opts)
	if err != nil {
		panic("dnstest: " + err.Error())
	}
	return l
}

// epoch is when a clock that stands still is started.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func newLab(opts []Option) (*Lab, error) {
	l := &Lab{
		options: options{profile: "aws", seed: 1},
		fail:    func(err error) { panic("dnstest: " + err.Error()) },
		prefer:  -1,
		sockets: map[Place]*socket{},
		sent:    map[string]dnsprop.Resource{},
		held:    map[setKey]bool{},
	}
	for _, opt := range opts {
		if err := opt(&l.options); err != nil {
			return nil, err
		}
	}
	l.rng = rand.New(rand.NewPCG(l.options.seed, 0))
	clock := propagation.Clock{DNSTime: epoch, WallTime: l.wall(), Speed: 1}
	if l.options.live {
		clock.Speed = l.options.speed
	}
	l.settings = &dnsv1.Settings{Profile: l.options.profile, CustomProfile: l.options.custom, Regions: []string{Region}, Clock: clock.Proto()}
	if err := l.open(); err != nil {
		return nil, err
	}
	err := l.install(resource("settings", l.settings))
	for _, name := range l.options.zones {
		if err == nil {
			_, err = l.createZone(name, "instant", nil)
		}
	}
	return l, err
}

// open makes a server.
func (l *Lab) open() (err error) {
	l.dns, err = dnsprop.New(dnsprop.Config{
		ID: "dnstest", Network: unused{}, Resolvers: l.options.resolvers, Forward: l.options.forward,
		Now: l.wall, Pick: l.pick, Shuffle: l.shuffle,
	})
	return err
}

// Close ends the Lab: its sockets are closed.
func (l *Lab) Close() {
	l.mu.Lock()
	sockets := l.sockets
	l.sockets = map[Place]*socket{}
	l.mu.Unlock()
	for _, s := range sockets {
		s.close()
	}
}

// Restart ends the DNS server and starts another with what is recorded: the
// schedules go on, the caches are empty.
func (l *Lab) Restart() { l.must(l.restart()) }

func (l *Lab) restart() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil {
		return err
	}
	return l.update(dnsprop.Update{Index: l.index, Full: true, Changed: slices.Collect(maps.Values(l.sent))})
}

func (l *Lab) must(err error) {
	if err != nil {
		l.fail(err)
	}
}

func resource(name string, m proto.Message) dnsprop.Resource {
	body, err := proto.Marshal(m)
	if err != nil {
		panic(err) // no text comes here that is not UTF-8
	}
	return dnsprop.Resource{Name: name, Body: body}
}

// install commits a resource under the next index.
func (l *Lab) install(r dnsprop.Resource) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.installLocked(r)
}

// installLocked is install for who holds l.mu.
func (l *Lab) installLocked(r dnsprop.Resource) error {
	if err := l.update(dnsprop.Update{Index: l.index + 1, Changed: []dnsprop.Resource{r}}); err != nil {
		return err
	}
	l.index++
	l.sent[r.Name] = r
	return nil
}

func (l *Lab) update(u dnsprop.Update) error {
	for _, r := range l.dns.Install(context.Background(), u) {
		return fmt.Errorf("%s: %s", r.Resource, r.Reason)
	}
	return nil
}

// UseProfile is the profile of the changes to come, and the TTLs of all answers.
func (l *Lab) UseProfile(name string) { l.must(l.useProfile(name)) }

func (l *Lab) useProfile(name string) error {
	if _, err := propagation.Lookup(name); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settings.Profile, l.settings.CustomProfile = name, nil
	return l.installLocked(resource("settings", l.settings))
}

// Prefer has resolvers ask one of the authorities, NS1 to NS4, and go on from
// there; the empty Place has them ask any, which the seed picks.
func (l *Lab) Prefer(authority Place) { l.must(l.preferTo(authority)) }

func (l *Lab) preferTo(authority Place) error {
	n := -1
	if authority != "" {
		var ok bool
		if n, ok = authority.authority(); !ok {
			return fmt.Errorf("%q is not one of ns1 to ns%d", authority, propagation.Authorities)
		}
	}
	l.chance.Lock()
	defer l.chance.Unlock()
	l.prefer = n
	return nil
}

func (l *Lab) pick(n int) int {
	l.chance.Lock()
	defer l.chance.Unlock()
	if l.prefer >= 0 {
		return l.prefer
	}
	return l.rng.IntN(n)
}

func (l *Lab) shuffle(n int, swap func(i, j int)) {
	l.chance.Lock()
	defer l.chance.Unlock()
	l.rng.Shuffle(n, swap)
}
