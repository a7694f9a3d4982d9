package authority

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/message"
	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/zone"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const apex = "execute-api.us-west-2.amazonaws.com."

var loopback = netip.MustParseAddr("127.0.0.1")

// world is a set of zones with the hand of its control plane, at a clock that
// the test moves.
type world struct {
	t       *testing.T
	set     *zone.Set
	wall    time.Time
	changes map[string]*zone.Change
	made    int
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, wall: time.Unix(1e9, 0), changes: map[string]*zone.Change{}}
	first := &zone.Set{Clock: propagation.ClockOf(nil), PositiveTTL: time.Minute, NegativeTTL: 5 * time.Second}
	w.set = first.Edit([]string{"us-west-2"}).Set(w.at())
	return w
}

func (w *world) at() int64 {
	if w.set == nil {
		return w.wall.UnixNano()
	}
	return w.set.At(w.wall)
}

// put commits a change of a name, some time ago.
func (w *world) put(profile, name string, ago time.Duration, addresses ...string) {
	w.t.Helper()
	w.putTTL(60, profile, name, ago, addresses...)
}

func (w *world) putTTL(ttl uint32, profile, name string, ago time.Duration, addresses ...string) {
	w.t.Helper()
	w.made++
	var after *statev1.RRset
	if len(addresses) > 0 {
		after = &statev1.RRset{Ttl: ttl, Addresses: addresses}
	}
	c, err := zone.NewChange(&dnsv1.Change{Index: uint64(w.made), Change: &statev1.DnsChange{
		Id: fmt.Sprintf("C%020d", w.made), Profile: profile, Region: "us-west-2",
		Attempts: []int64{w.at() - int64(ago)},
		Records:  []*statev1.RecordChange{{Name: name, Type: "A", After: after}},
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.edit(func(e *zone.Edit) { e.Put(c) })
}

func (w *world) edit(change func(*zone.Edit)) {
	e := w.set.Edit([]string{"us-west-2"})
	change(e)
	w.set = e.Set(w.at())
}

func (w *world) authority(number int) *Authority {
	return New(Config{
		Number: number, Zones: func() *zone.Set { return w.set }, Now: func() time.Time { return w.wall },
		Shuffle: func(int, func(int, int)) {}, MayTransfer: LoopbackAnd(nil),
	})
}

// secondary has a copy of the zone, and follows as RFC 1995 says.
type secondary struct {
	t       *testing.T
	serial  uint32
	records map[string]bool // in presentation form, without the SOA record
	whole   int             // transfers of the whole zone
	steps   int
}

func (s *secondary) follow(a *Authority) {
	s.t.Helper()
	q := message.TransferQuery{Zone: apex, Source: loopback, Incremental: s.records != nil, Serial: s.serial}
	records, end, refusal := a.Transfer(q)
	if refusal != nil {
		s.t.Fatalf("refused: %v", refusal)
	}
	var rrs []dns.RR
	records(func(rr dns.RR) bool { rrs = append(rrs, rr); return true })
	end()
	soa, ok := rrs[0].(*dns.SOA)
	if !ok {
		s.t.Fatalf("begins with %v", rrs[0])
	}
	if len(rrs) == 1 {
		if soa.Serial != s.serial {
			s.t.Fatalf("has serial %d, is told %d and nothing more", s.serial, soa.Serial)
		}
		return
	}
	if last := rrs[len(rrs)-1]; last.String() != soa.String() {
		s.t.Fatalf("begins with %v, ends with %v", soa, last)
	}
	body := rrs[1 : len(rrs)-1]
	if old, ok := body[0].(*dns.SOA); ok {
		s.steps++
		if old.Serial != s.serial {
			s.t.Fatalf("from serial %d, has %d", old.Serial, s.serial)
		}
		added := false
		for _, rr := range body[1:] {
			switch text := rr.String(); {
			case rr.Header().Rrtype == dns.TypeSOA:
				added = true
			case added == s.records[text]:
				s.t.Fatalf("added %v, but has it: %v: %s", added, s.records[text], text)
			case added:
				s.records[text] = true
			default:
				delete(s.records, text)
			}
		}
	} else {
		s.whole++
		s.records = map[string]bool{}
		for _, rr := range body {
			s.records[rr.String()] = true
		}
	}
	s.serial = soa.Serial
}

// check compares the copy with what the authority answers.
func (s *secondary) check(a *Authority, names []string) {
	s.t.Helper()
	want := map[string]bool{}
	ask := func(name string, qtype uint16) []dns.RR {
		return a.Respond(message.Query{Name: name, Key: name, Type: qtype, Source: loopback}).Answer
	}
	for _, rr := range ask(apex, dns.TypeNS) {
		want[rr.String()] = true
	}
	for _, name := range names {
		for _, rr := range ask(name, dns.TypeA) {
			want[rr.String()] = true
		}
	}
	if soa := ask(apex, dns.TypeSOA)[0].(*dns.SOA); soa.Serial != s.serial {
		s.t.Fatalf("serial %d, the authority's is %d", s.serial, soa.Serial)
	}
	for text := range want {
		if !s.records[text] {
			s.t.Fatalf("at serial %d lacks %s", s.serial, text)
		}
	}
	for text := range s.records {
		if !want[text] {
			s.t.Fatalf("at serial %d still has %s", s.serial, text)
		}
	}
}

// Secondaries of all four authorities follow random lives at random moments:
// what they hold is what their authority answers. Changes arrive out of order
// and late, TTLs change, servers restart.
func TestSecondariesFollow(t *testing.T) {
	var whole, steps int
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 7))
		w := newWorld(t)
		var names []string
		for i := range 12 {
			names = append(names, fmt.Sprintf("n%d.%s", i, apex))
		}
		var authorities []*Authority
		var secondaries []*secondary
		for i := range propagation.Authorities {
			authorities = append(authorities, w.authority(i))
			secondaries = append(secondaries, &secondary{t: t}, &secondary{t: t})
		}
		for range 300 {
			switch rng.IntN(12) {
			case 0, 1, 2, 3:
				var addresses []string
				for range rng.IntN(3) {
					addresses = append(addresses, fmt.Sprintf("10.0.%d.%d", rng.IntN(2), rng.IntN(4)))
				}
				slices.Sort(addresses)
				w.putTTL(10+50*rng.Uint32N(2), "aws", names[rng.IntN(len(names))], time.Duration(rng.IntN(100))*time.Second, slices.Compact(addresses)...)
			case 4, 5, 6, 7:
				w.wall = w.wall.Add(time.Duration(rng.IntN(40)) * time.Second)
			case 8:
				if rng.IntN(6) == 0 {
					w.edit(func(*zone.Edit) {})
					w.set.PositiveTTL = time.Duration(20+20*rng.IntN(3)) * time.Second
				}
			case 9:
				if rng.IntN(6) == 0 {
					i := rng.IntN(len(authorities))
					authorities[i] = w.authority(i)
				}
			default:
				i := rng.IntN(len(secondaries))
				s, a := secondaries[i], authorities[i/2]
				before := s.serial
				s.follow(a)
				if s.serial != before {
					s.check(a, names) // otherwise its TTLs may be those of before
				}
			}
		}
		w.wall = w.wall.Add(time.Hour)
		w.put("instant", names[0], time.Minute, "10.9.9.9")
		for i, s := range secondaries {
			s.follow(authorities[i/2])
			s.check(authorities[i/2], names)
			whole, steps = whole+s.whole, steps+s.steps
		}
	}
	if steps < 500 || whole < 160 {
		t.Errorf("only %d incremental and %d whole transfers", steps, whole)
	}
}

func TestTransferIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.authority(0)
	for name, c := range map[string]struct {
		q     message.TransferQuery
		rcode int
		code  uint16
	}{
		"from elsewhere":        {message.TransferQuery{Zone: apex, Source: netip.MustParseAddr("192.0.2.1")}, dns.RcodeRefused, dns.ExtendedErrorCodeProhibited},
		"of another zone":       {message.TransferQuery{Zone: "example.", Source: loopback}, dns.RcodeNotAuth, dns.ExtendedErrorCodeNotAuthoritative},
		"of a name in the zone": {message.TransferQuery{Zone: "a." + apex, Source: loopback}, dns.RcodeNotAuth, dns.ExtendedErrorCodeNotAuthoritative},
	} {
		_, _, refusal := a.Transfer(c.q)
		if refusal == nil || refusal.Rcode != c.rcode || refusal.Errors[0].Code != c.code {
			t.Errorf("%s: %+v", name, refusal)
		}
	}
	// So many at once, and the next one when one has ended.
	var ends []func()
	for range maxTransfers {
		_, end, refusal := a.Transfer(message.TransferQuery{Zone: apex, Source: loopback})
		if refusal != nil {
			t.Fatal(refusal)
		}
		ends = append(ends, end)
	}
	if _, _, refusal := a.Transfer(message.TransferQuery{Zone: apex, Source: loopback}); refusal == nil || refusal.Rcode != dns.RcodeServerFailure {
		t.Errorf("one too many: %v", refusal)
	}
	ends[0]()
	if _, _, refusal := a.Transfer(message.TransferQuery{Zone: apex, Source: loopback}); refusal != nil {
		t.Errorf("after the end of one: %v", refusal)
	}
}

// Two secondaries have one serial with other TTLs, because a setting was there
// and gone again between their transfers: neither is given a difference.
func TestAmbiguousSerial(t *testing.T) {
	w := newWorld(t)
	a := w.authority(0)
	w.put("instant", "n."+apex, 0, "10.0.0.1")
	one, two := &secondary{t: t}, &secondary{t: t}
	one.follow(a)
	ttl := func(d time.Duration) {
		w.edit(func(*zone.Edit) {})
		w.set.PositiveTTL = d
	}
	ttl(20 * time.Second)
	two.follow(a)
	ttl(time.Minute)
	w.put("instant", "n."+apex, 0, "10.0.0.2")
	for _, s := range []*secondary{one, two} {
		s.follow(a)
		s.check(a, []string{"n." + apex})
		if s.whole != 2 {
			t.Errorf("%d whole transfers, %d steps", s.whole, s.steps)
		}
	}
	// What comes after is one version for both again.
	w.put("instant", "n."+apex, 0, "10.0.0.3")
	two.follow(a)
	two.check(a, []string{"n." + apex})
	if two.steps != 1 {
		t.Errorf("%d steps", two.steps)
	}
}

// A secondary that is ahead, of a server that has not caught up, keeps what it has.
func TestSecondaryAhead(t *testing.T) {
	w := newWorld(t)
	a := w.authority(0)
	w.put("instant", "n."+apex, 0, "10.0.0.1")
	serial := a.Serials()[apex]
	for _, ahead := range []uint32{0, 1, 1 << 30} {
		records, end, refusal := a.Transfer(message.TransferQuery{Zone: apex, Source: loopback, Incremental: true, Serial: serial + ahead})
		if refusal != nil {
			t.Fatal(refusal)
		}
		var got []dns.RR
		records(func(rr dns.RR) bool { got = append(got, rr); return true })
		end()
		if len(got) != 1 || got[0].(*dns.SOA).Serial != serial {
			t.Errorf("%d ahead: %v", ahead, got)
		}
	}
}

// The journal is bounded: an old version is forgotten, and who has it gets the
// whole zone.
func TestOldVersionsAreForgotten(t *testing.T) {
	w := newWorld(t)
	a := w.authority(0)
	late, busy := &secondary{t: t}, &secondary{t: t}
	late.follow(a)
	for i := range maxGiven {
		w.put("instant", "n."+apex, 0, fmt.Sprintf("10.0.0.%d", i+1))
		busy.follow(a)
	}
	late.follow(a)
	late.check(a, []string{"n." + apex})
	if busy.whole != 1 || busy.steps != maxGiven-1 || late.whole != 2 {
		t.Errorf("busy %d whole, %d steps; late %d whole", busy.whole, busy.steps, late.whole)
	}
}
