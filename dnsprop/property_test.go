package dnsprop

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/propagation"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// What a version promises, held against random lives of Postern's own names, of
// users' zones, public and private, and of VPCs, under all faults, with restarts
// and a clock that is advanced, hurried, slowed and stopped: at version N no place
// answers by anything older than what was committed up to N, no place ever says
// what nobody committed, serials and versions never go back, and once the last
// instant and the longest TTL have passed every place has everything.
func TestVersionsAreExact(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { newLife(t, seed).live() })
		})
	}
}

// life is a random one.
type life struct {
	*lab
	rng       *rand.Rand
	places    []*witness
	names     []string
	committed map[owner][]commit
	changed   []*dnsv1.Change
	versions  map[string]uint64 // by place
	serials   map[string]uint32 // by place and zone
	addresses int
	answers   int // that were checked
}

// witness is somebody who is asked.
type witness struct {
	name    string
	at      vantage
	version string // the place whose version holds for it
	private bool   // it sees the private zone
	caches  bool
	ttl     time.Duration // the longest that an answer of it may be kept
}

// owner is a name as the public, or a VPC with the private zone, sees it.
type owner struct {
	private bool
	name    string
}

// commit is what a commit made of a name: an address, or "" for none.
type commit struct {
	index   uint64
	address string
}

const (
	setTTL     = time.Minute
	longestTTL = 15 * time.Minute // negative, under the profile hostile
)

func newLife(t *testing.T, seed uint64) *life {
	f := &life{
		lab: newNamedLab(t, "hostile", "corp:ttl-min=90,negative-ttl-max=300,serve-stale=10m,prefetch", "office:vpc=vpc-8"),
		rng: rand.New(rand.NewPCG(seed, 1)), committed: map[owner][]commit{}, versions: map[string]uint64{}, serials: map[string]uint32{},
		names: []string{aliasName, apiName, vpce + "-x." + vpceZone, "www.example.com.", "db.example.com."},
	}
	f.seed = seed
	f.vpc(8, associated(private1))
	f.vpc(9, nil)
	for _, z := range []*statev1.ZoneRef{public1, private1} {
		f.put(openingChange(f.lab, z))
	}
	for i := 1; i <= propagation.Authorities; i++ {
		f.places = append(f.places, &witness{name: fmt.Sprintf("ns%d", i), at: ns(i), version: fmt.Sprintf("dns-1-ns%d", i), ttl: setTTL})
	}
	for _, w := range []witness{
		{name: "public", at: internet, version: "dns-1-resolver", ttl: setTTL},
		{name: "corp", at: corp, version: "dns-1-corp", ttl: 90 * time.Second},
		{name: "office", at: office, version: "dns-1-office", ttl: setTTL, private: true},
		{name: "8a", at: inVPC(8, 1), version: "dns-1-resolver", ttl: setTTL, private: true},
		{name: "8b", at: inVPC(8, 2), version: "dns-1-resolver", ttl: setTTL, private: true},
		{name: "9a", at: inVPC(9, 1), version: "dns-1-resolver", ttl: setTTL},
	} {
		w.caches = true
		f.places = append(f.places, &w)
	}
	return f
}

// openingChange makes a zone that all have at once.
func openingChange(l *lab, z *statev1.ZoneRef) *dnsv1.Change {
	c := l.change("unused.")
	c.Change.Profile, c.Change.Zone, c.Change.Records = "instant", z, hostedRecords(z, opening()...)
	c.Change.LostAt, c.Change.ReorderedAt, c.Change.Lag = 0, 0, nil
	return c
}

func (f *life) live() {
	for range 300 {
		switch f.rng.IntN(7) {
		case 0, 1:
			f.commit()
		case 2:
			time.Sleep(time.Duration(f.rng.IntN(20)) * time.Second)
		case 3:
			time.Sleep(time.Duration(f.rng.IntN(1000)) * time.Millisecond)
		case 4:
			if f.rng.IntN(3) == 0 {
				f.clear()
			} else {
				f.fault(randomFault(f.rng, f.names))
			}
		case 5:
			f.moveClock()
		case 6:
			switch f.rng.IntN(6) {
			case 0:
				f.restart()
			case 1:
				f.associate()
			}
		}
		f.check()
	}
	f.converge()
	if f.answers < 3000 {
		f.t.Errorf("only %d answers were checked", f.answers)
	}
}

// commit changes a name, at once or after a while once more if the change is lost.
func (f *life) commit() {
	o := owner{f.rng.IntN(3) == 0, f.names[f.rng.IntN(len(f.names))]}
	below, hosted := strings.CutSuffix(o.name, "."+public1.GetName())
	if !hosted {
		o.private = false
	}
	address := ""
	if f.rng.IntN(3) > 0 {
		f.addresses++
		address = fmt.Sprintf("10.7.%d.%d", f.addresses/250, 1+f.addresses%250)
	}
	var c *dnsv1.Change
	switch {
	case hosted:
		z, line := public1, below+" - A"
		if o.private {
			z = private1
		}
		if address != "" {
			line = below + " 60 A " + address
		}
		c = f.hosted("hostile", z, line)
	case address == "":
		c = f.set(o.name)
	default:
		c = f.set(o.name, address)
	}
	f.changed = append(f.changed, c)
	f.committed[o] = append(f.committed[o], commit{c.GetIndex(), address})
	if propagation.Lost(c.GetChange()) {
		time.Sleep(time.Duration(f.rng.IntN(60)) * time.Second)
		for propagation.Lost(c.GetChange()) {
			c.Change.Attempts = append(c.Change.Attempts, f.now().UnixNano())
		}
		f.put(c)
	}
}

func randomFault(rng *rand.Rand, names []string) *statev1.DnsFault {
	kinds := []string{propagation.FaultLost, propagation.FaultReorder, propagation.FaultLag, propagation.FaultDown, propagation.FaultServfail}
	m := &statev1.DnsFault{Kind: kinds[rng.IntN(len(kinds))]}
	switch rng.IntN(3) {
	case 0:
		m.Name = names[rng.IntN(len(names))]
	case 1:
		m.Zone = []string{apiZone, public1.GetName()}[rng.IntN(2)]
	}
	if rng.IntN(2) == 0 {
		m.Place = propagation.PlaceOf(rng.IntN(propagation.Authorities))
	}
	if m.Kind == propagation.FaultLag {
		m.Lag = rng.Int64N(int64(3*time.Minute)) + 1
	}
	return m
}

func (f *life) moveClock() {
	if f.rng.IntN(2) == 0 {
		f.clock = f.clock.Advance(time.Now(), time.Duration(f.rng.IntN(300))*time.Second)
	} else {
		speeds := []float64{0, 0.25, 1, 1, 1, 7, 60}
		f.clock = f.clock.WithSpeed(time.Now(), speeds[f.rng.IntN(len(speeds))])
	}
	f.settings()
}

// associate puts VPC 9 into the private zone, or takes it out: at once.
func (f *life) associate() {
	w := f.places[len(f.places)-1]
	if w.private = !w.private; w.private {
		f.vpc(9, associated(private1))
	} else {
		f.vpc(9, nil)
	}
}

// check asks everybody.
func (f *life) check() {
	versions := map[string]uint64{}
	for _, v := range f.srv.Versions() {
		versions[v.GetPlace()] = v.GetIndex()
		if before := f.versions[v.GetPlace()]; v.GetIndex() < before {
			f.t.Fatalf("version of %s went from %d to %d", v.GetPlace(), before, v.GetIndex())
		}
	}
	f.versions = versions
	for _, w := range f.places {
		if !w.caches {
			f.checkSerials(w)
		}
		for _, name := range f.names {
			if w.caches && f.rng.IntN(3) > 0 {
				continue // leave some to their caches
			}
			f.checkAnswer(w, name, versions[w.version])
		}
	}
}

func (f *life) checkSerials(w *witness) {
	for _, apex := range []string{apiZone, public1.GetName()} {
		m := f.ask(w.at, apex, dns.TypeSOA)
		if m == nil || m.Rcode != dns.RcodeSuccess {
			continue
		}
		serial := m.Answer[0].(*dns.SOA).Serial
		if before := f.serials[w.name+apex]; serial < before {
			f.t.Fatalf("serial of %s at %s went from %d to %d", apex, w.name, before, serial)
		}
		f.serials[w.name+apex] = serial
	}
}

// checkAnswer asks one name, and looks which commits the answer can be from.
func (f *life) checkAnswer(w *witness, name string, version uint64) {
	f.pick = f.rng.IntN(propagation.Authorities)
	m := f.ask(w.at, name, dns.TypeA)
	if m == nil || m.Rcode == dns.RcodeServerFailure {
		// A resolver remembers for five minutes at most that all failed.
		remembers := w.caches && f.now().Sub(f.cleared) < 5*time.Minute
		if len(f.faults) == 0 && !remembers {
			f.t.Fatalf("%s says %q of %s, and no fault is in force", w.name, say(m), name)
		}
		return // it says nothing, so nothing old
	}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		f.t.Fatalf("%s says %q of %s", w.name, say(m), name)
	}
	f.answers++
	got := ""
	newest := 0 // commit that the answer can be from
	if len(m.Answer) > 0 {
		got, newest = m.Answer[0].(*dns.A).A.String(), -1
		most := 0.0 // in the client's seconds
		if f.clock.Speed > 0 {
			most = w.ttl.Seconds() / f.clock.Speed
		}
		if float64(m.Answer[0].Header().Ttl) > most {
			f.t.Fatalf("%s says %q of %s, which may be kept for %v at most", w.name, say(m), name, most)
		}
	}
	must := 0 // commit that a place at its version shows at least
	all := f.committed[f.seen(w, name)]
	for i, c := range all {
		if c.address == got {
			newest = i + 1
		}
		if c.index <= version {
			must = i + 1
		}
	}
	if newest < 0 {
		f.t.Fatalf("%s says %q of %s, which nobody committed", w.name, got, name)
	}
	if newest < must {
		f.t.Fatalf("%s at version %d says %q of %s, commits %v", w.name, version, got, name, all)
	}
}

// seen is whose name it is for a witness.
func (f *life) seen(w *witness, name string) owner {
	return owner{w.private && strings.HasSuffix(name, "."+public1.GetName()), name}
}

// converge ends the faults and sees to it that every change arrives. With its
// last instant and the longest TTL past, all have everything.
func (f *life) converge() {
	f.clock = f.clock.WithSpeed(time.Now(), 1)
	f.clear()
	f.check()
	var last time.Time
	for _, c := range f.changed {
		for propagation.Lost(c.GetChange()) || !propagation.AllSettled(c.GetChange(), time.Unix(1<<32, 0)) {
			f.kick(c)
		}
		for a := range propagation.Authorities {
			if at, ok := propagation.Settled(c.GetChange(), a); ok && at.After(last) {
				last = at
			}
		}
	}
	// Failures may be remembered for five minutes, and a stale answer stands for 30 s.
	if over := f.cleared.Add(5*time.Minute + 30*time.Second); over.After(last) {
		last = over
	}
	f.check()
	f.until(last.Add(longestTTL))
	for _, w := range f.places {
		for _, name := range f.names {
			want := ""
			if all := f.committed[f.seen(w, name)]; len(all) > 0 {
				want = all[len(all)-1].address
			}
			if got := say(f.ask(w.at, name, dns.TypeA)); !strings.HasPrefix(got, want) || want == "" && got[:2] != "NX" && got[:2] != "NO" {
				f.t.Errorf("in the end %s says %q of %s, want %q", w.name, got, name, want)
			}
		}
	}
	time.Sleep(time.Hour) // versions may say so later: until a cache is asked, it might be serving what is stale
	for _, v := range f.srv.Versions() {
		if v.GetIndex() != f.index {
			f.t.Errorf("in the end %s is at version %d of %d", v.GetPlace(), v.GetIndex(), f.index)
		}
	}
}
