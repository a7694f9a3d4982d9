package dnsprop

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/resolver"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	region  = "us-west-2"
	api     = "a1b2c3d4e5"
	private = "p1p2p3p4p5"
	vpce    = "vpce-0123456789abcdef0"
	eni     = "10.7.1.10"

	apiZone   = "execute-api.us-west-2.amazonaws.com."
	vpceZone  = "execute-api.us-west-2.vpce.amazonaws.com."
	apiName   = api + "." + apiZone
	aliasName = private + "-" + vpce + "." + apiZone
)

// lab is a running server with the hand of its control plane.
type lab struct {
	cache   resolver.Options
	cleared time.Time // when faults were last cleared, on the DNS clock
	t       *testing.T
	net     *memNet
	srv     *Server
	index   uint64
	profile string
	clock   propagation.Clock
	regions []string
	seed    uint64
	faults  []*statev1.DnsFault // in force
	custom  *statev1.DnsProfile // the content of profile, unless it is built in
	sent    map[string]Resource // the snapshot
	changes int
	pick    int // the authority that resolvers ask
	// Of a server that starts: secondaries, named resolvers.
	notify    []string
	resolvers []NamedResolver
}

// newLab starts a server. In a synctest bubble it ends with the test.
func newLab(t *testing.T, profile string) *lab {
	return newLabWith(t, profile, resolver.Options{})
}

func newLabWith(t *testing.T, profile string, cache resolver.Options) *lab {
	l := &lab{
		t: t, cache: cache, net: newMemNet(), index: 100, profile: profile, clock: propagation.ClockOf(nil),
		regions: []string{region}, sent: map[string]Resource{},
	}
	l.start()
	l.settings()
	return l
}

func (l *lab) start() {
	srv, err := New(Config{
		ID: "dns-1", Network: l.net, Notify: l.notify, Cache: l.cache, Resolvers: l.resolvers,
		Pick:    func(int) int { return l.pick },
		Shuffle: func(int, func(int, int)) {},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.srv = srv
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- srv.Run(ctx) }()
	stop := func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Error(err)
		}
	}
	l.t.Cleanup(stop)
	l.await(func() bool { return srv.Ready() != nil && !strings.Contains(srv.Ready().Error(), "running") })
}

func (l *lab) await(cond func() bool) {
	l.t.Helper()
	for range 10_000 {
		if cond() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	l.t.Fatal("never happened")
}

// restart gives the same snapshot to a new server on another network.
func (l *lab) restart() {
	l.net = newMemNet()
	l.start()
	u := Update{Index: l.index, Full: true}
	for _, r := range l.sent {
		u.Changed = append(u.Changed, r)
	}
	if rejected := l.srv.Install(context.Background(), u); rejected != nil {
		l.t.Fatal(rejected)
	}
}

func resource(name string, m proto.Message) Resource {
	body, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return Resource{Name: name, Body: body}
}

func (l *lab) install(resources ...Resource) {
	l.t.Helper()
	l.index++
	for _, r := range resources {
		l.sent[r.Name] = r
	}
	if rejected := l.srv.Install(context.Background(), Update{Index: l.index, Changed: resources}); rejected != nil {
		l.t.Fatal(rejected)
	}
}

func (l *lab) remove(names ...string) {
	l.index++
	for _, n := range names {
		delete(l.sent, n)
	}
	l.srv.Install(context.Background(), Update{Index: l.index, Removed: names})
}

func (l *lab) settings() {
	l.t.Helper()
	l.install(resource("settings", &dnsv1.Settings{Clock: l.clock.Proto(), Profile: l.profile, Regions: l.regions, Faults: l.faults, CustomProfile: l.custom}))
}

func (l *lab) now() time.Time { return l.clock.Now(time.Now()) }

// set commits a change that gives a name these addresses, or none.
func (l *lab) set(name string, addresses ...string) *dnsv1.Change {
	l.t.Helper()
	c := l.change(name, addresses...)
	l.put(c)
	return c
}

// change is what set commits.
func (l *lab) change(name string, addresses ...string) *dnsv1.Change {
	l.changes++
	ttl := uint32(60)
	if l.profile == "instant" {
		ttl = 0
	}
	var after *statev1.RRset
	if len(addresses) > 0 {
		after = &statev1.RRset{Ttl: ttl, Addresses: addresses}
	}
	c := &dnsv1.Change{
		Index: l.index + 1, ModifyIndex: l.index + 1,
		Change: &statev1.DnsChange{
			Id: fmt.Sprintf("C%020d", l.changes), Profile: l.profile, Seed: l.seed, Region: region,
			Attempts: []int64{l.now().UnixNano()},
			Records:  []*statev1.RecordChange{{Name: name, Type: "A", After: after}},

			CustomProfile: l.custom,
		},
	}
	propagation.Befall(c.GetChange(), l.faults)
	return c
}

// fault sets a fault, as an operator does.
func (l *lab) fault(f *statev1.DnsFault) {
	l.t.Helper()
	f.Id = propagation.FaultID(f)
	l.faults = append(l.faults, f)
	l.settings()
}

// clear ends all faults.
func (l *lab) clear() {
	l.t.Helper()
	l.faults, l.cleared = nil, l.now()
	l.settings()
}

// kick is what a new deployment does to a change.
func (l *lab) kick(c *dnsv1.Change) {
	l.t.Helper()
	c.Change.Attempts = append(c.Change.Attempts, l.now().UnixNano())
	c.ModifyIndex = l.index + 1
	l.put(c)
}

func (l *lab) put(c *dnsv1.Change) {
	l.t.Helper()
	l.install(resource("change/"+c.GetChange().GetId(), c))
}

// vpc puts a VPC 10.octet.0.0/16 with a subnet in each of two zones.
func (l *lab) vpc(octet int, edit func(*dnsv1.Vpc)) {
	l.t.Helper()
	v := &dnsv1.Vpc{
		Id: fmt.Sprintf("vpc-%d", octet), Region: region, LoopbackOctet: uint32(octet),
		Cidrs:            []string{fmt.Sprintf("10.%d.0.0/16", octet)},
		EnableDnsSupport: true, EnableDnsHostnames: true,
		Subnets: []*dnsv1.Subnet{
			{Id: "subnet-b", Az: "us-west-2b", Cidr: fmt.Sprintf("10.%d.2.0/24", octet)},
			{Id: "subnet-a", Az: "us-west-2a", Cidr: fmt.Sprintf("10.%d.1.0/24", octet)},
		},
	}
	if edit != nil {
		edit(v)
	}
	l.install(resource("vpc/"+v.GetId(), v))
}

// privateDNS gives a VPC an endpoint with private DNS.
func privateDNS(addresses ...string) func(*dnsv1.Vpc) {
	return func(v *dnsv1.Vpc) {
		v.PrivateZones = append(v.PrivateZones, &dnsv1.PrivateZone{
			Id: "Z1", Name: apiZone, Ttl: 60, Addresses: addresses, VpcEndpointId: vpce,
		})
	}
}

// Vantages: an authority, the public resolver, a VPC's resolver from an address in it.
func ns(i int) vantage { return vantage{fmt.Sprintf("127.0.0.1:%d", 4753+i), "127.0.0.1"} }

var internet = vantage{"127.0.0.1:4753", "127.0.0.1"}

func inVPC(octet, subnet int) vantage {
	return vantage{fmt.Sprintf("127.%d.0.2:4753", octet), fmt.Sprintf("127.%d.%d.9", octet, subnet)}
}

type vantage struct{ server, from string }

// ask is nil if no answer comes.
func (l *lab) ask(at vantage, name string, qtype uint16) *dns.Msg {
	l.t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	packet, err := q.Pack()
	if err != nil {
		l.t.Fatal(err)
	}
	b, ok := l.net.exchange(netip.MustParseAddr(at.from), at.server, packet)
	if !ok {
		return nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		l.t.Fatalf("answer from %s: %v", at.server, err)
	}
	if m.Id != q.Id || !m.Response || len(m.Question) != 1 || m.Question[0] != q.Question[0] {
		l.t.Fatalf("answer from %s is not to the question: %v", at.server, m)
	}
	return m
}

// say is an answer in short: the rcode, or the addresses with their TTL, and
// for a negative answer how long it may be kept.
func say(m *dns.Msg) string {
	if m == nil {
		return "silence"
	}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return dns.RcodeToString[m.Rcode]
	}
	if len(m.Answer) == 0 {
		kind := "NODATA"
		if m.Rcode == dns.RcodeNameError {
			kind = "NXDOMAIN"
		}
		if len(m.Ns) != 1 {
			return kind + " without SOA"
		}
		soa := m.Ns[0].(*dns.SOA)
		return fmt.Sprintf("%s %d", kind, min(soa.Hdr.Ttl, soa.Minttl))
	}
	var out []string
	for _, rr := range m.Answer {
		a, ok := rr.(*dns.A)
		if !ok {
			return dns.TypeToString[rr.Header().Rrtype]
		}
		out = append(out, a.A.String())
	}
	slices.Sort(out)
	return fmt.Sprintf("%s %d", strings.Join(out, ","), m.Answer[0].Header().Ttl)
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

func (l *lab) expect(at vantage, name, want string) {
	l.t.Helper()
	if got := say(l.ask(at, name, dns.TypeA)); got != want {
		l.t.Errorf("%v: %s at %s is %q, want %q", l.now().Format(time.TimeOnly), name, at.server, got, want)
	}
}

// versions are those of the authorities and the resolver.
func (l *lab) versions() (authorities [propagation.Authorities]uint64, resolver uint64) {
	vs := l.srv.Versions()
	for i := range authorities {
		authorities[i] = vs[i].GetIndex()
	}
	return authorities, vs[len(authorities)].GetIndex()
}

// until sleeps to an instant of the DNS clock.
func (l *lab) until(instant time.Time) {
	wall, ok := l.clock.Wall(instant)
	if !ok {
		l.t.Fatal("the clock is frozen")
	}
	time.Sleep(time.Until(wall))
}

func insync(t *testing.T, c *dnsv1.Change) time.Time {
	t.Helper()
	at, ok := propagation.Insync(c.GetChange())
	if !ok {
		t.Fatal("change is lost")
	}
	return at
}

// awaitVersion is closed when the resolver has reached an index.
func awaitVersion(l *lab, index uint64) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range l.srv.Notify() {
			l.srv.mu.Lock() // not Versions: the server must move by itself
			version := l.srv.tracker.resolvers[0]
			l.srv.mu.Unlock()
			if version >= index {
				return
			}
		}
	}()
	return done
}
