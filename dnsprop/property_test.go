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
	"github.com/posternhq/postern/dnsprop/resolver"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// What a version promises, held against random lives: at version N no place
// answers by anything older than what was committed up to N, no place ever
// says what nobody committed, serials and versions never go back, and in the
// end every place has everything.
func TestVersionsAreExact(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { liveRandomly(t, seed) })
		})
	}
}

func randomFault(rng *rand.Rand, names []string) *statev1.DnsFault {
	kinds := []string{propagation.FaultLost, propagation.FaultReorder, propagation.FaultLag, propagation.FaultDown, propagation.FaultServfail}
	f := &statev1.DnsFault{Kind: kinds[rng.IntN(len(kinds))]}
	switch rng.IntN(3) {
	case 0:
		f.Name = names[rng.IntN(len(names))]
	case 1:
		f.Zone = apiZone
	}
	if rng.IntN(2) == 0 {
		f.Place = propagation.PlaceOf(rng.IntN(propagation.Authorities))
	}
	if f.Kind == propagation.FaultLag {
		f.Lag = rng.Int64N(int64(3*time.Minute)) + 1
	}
	return f
}

func liveRandomly(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	var cache resolver.Options
	if seed%2 == 1 {
		cache = resolver.Options{TTL: resolver.Bounds{Min: 90 * time.Second}, NegativeTTL: resolver.Bounds{Max: 5 * time.Minute}, ServeStale: 10 * time.Minute, Prefetch: true}
	}
	l := newLabWith(t, "hostile", cache)
	l.seed = seed
	l.vpc(8, nil)
	names := []string{aliasName, apiName, vpce + "-x." + vpceZone}
	// committed holds the address of each name by commit, "" for none; the
	// position in it is how new an answer is.
	type commit struct {
		index   uint64
		address string
	}
	committed := map[string][]commit{}
	places := map[string]vantage{"a": inVPC(8, 1), "b": inVPC(8, 2), "public": internet}
	for i := 1; i <= 4; i++ {
		places[fmt.Sprintf("ns%d", i)] = ns(i)
	}
	addresses := 0
	var before []uint64
	serials := map[string]uint32{}

	check := func() {
		authorities, resolver := l.versions()
		now := append(authorities[:], resolver)
		for i := range before {
			if now[i] < before[i] {
				t.Fatalf("version of place %d went from %d to %d", i, before[i], now[i])
			}
		}
		before = now
		for place, at := range places {
			version := resolver
			if n := 0; len(place) == 3 {
				if _, err := fmt.Sscanf(place, "ns%d", &n); err != nil {
					t.Fatalf("place %q: %v", place, err)
				}
				version = authorities[n-1]
				if m := l.ask(at, apiZone, dns.TypeSOA); m != nil && m.Rcode == dns.RcodeSuccess {
					serial := m.Answer[0].(*dns.SOA).Serial
					if serial < serials[place] {
						t.Fatalf("serial at %s went from %d to %d", place, serials[place], serial)
					}
					serials[place] = serial
				}
			}
			for _, name := range names {
				if rng.IntN(3) > 0 && place[0] != 'n' {
					continue // leave some to their caches
				}
				l.pick = rng.IntN(4)
				m := l.ask(at, name, dns.TypeA)
				if m == nil || m.Rcode == dns.RcodeServerFailure {
					// A resolver remembers for five minutes at most that all failed.
					remembers := len(place) != 3 && l.now().Sub(l.cleared) < 5*time.Minute
					if len(l.faults) == 0 && !remembers {
						t.Fatalf("%s says %q of %s, and no fault is in force", place, say(m), name)
					}
					continue // it says nothing, so nothing old
				}
				got := ""
				if len(m.Answer) > 0 {
					got = m.Answer[0].(*dns.A).A.String()
				}
				newest := -1 // commit that the answer can be from
				if got == "" {
					newest = 0
				}
				must := 0 // commit that a place at its version shows at least
				for i, c := range committed[name] {
					if c.address == got {
						newest = i + 1
					}
					if c.index <= version {
						must = i + 1
					}
				}
				if newest < 0 {
					t.Fatalf("%s says %q of %s, which nobody committed", place, got, name)
				}
				if newest < must {
					t.Fatalf("%s at version %d says %q of %s, commits %v", place, version, got, name, committed[name])
				}
			}
		}
	}
	var all []*dnsv1.Change
	for range 300 {
		switch rng.IntN(5) {
		case 0:
			name := names[rng.IntN(len(names))]
			var set []string
			if rng.IntN(3) > 0 {
				addresses++
				set = []string{fmt.Sprintf("10.7.%d.%d", addresses/250, 1+addresses%250)}
			}
			c := l.set(name, set...)
			all = append(all, c)
			address := ""
			if set != nil {
				address = set[0]
			}
			committed[name] = append(committed[name], commit{c.GetIndex(), address})
			if propagation.Lost(c.GetChange()) {
				// The kick, at once or after a while.
				time.Sleep(time.Duration(rng.IntN(60)) * time.Second)
				for propagation.Lost(c.GetChange()) {
					c.Change.Attempts = append(c.Change.Attempts, l.now().UnixNano())
				}
				l.put(c)
			}
		case 1:
			time.Sleep(time.Duration(rng.IntN(20)) * time.Second)
		case 2:
			time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
		case 3:
			if rng.IntN(3) == 0 {
				l.clear()
			} else {
				l.fault(randomFault(rng, names))
			}
		}
		check()
	}
	// All is well again, once each change that needs it has been driven again:
	// the last instants, then the longest TTL.
	l.clear()
	for range 2 {
		time.Sleep(time.Hour)
		check()
		for _, c := range all {
			for propagation.Lost(c.GetChange()) || !propagation.AllSettled(c.GetChange(), time.Unix(1<<32, 0)) {
				l.kick(c)
			}
		}
	}
	time.Sleep(time.Hour)
	check()
	for _, name := range names {
		want := ""
		if n := len(committed[name]); n > 0 {
			want = committed[name][n-1].address
		}
		for place, at := range places {
			if got := say(l.ask(at, name, dns.TypeA)); !strings.HasPrefix(got, want) || want == "" && !strings.HasPrefix(got, "NXDOMAIN") {
				t.Errorf("in the end %s says %q of %s, want %q", place, got, name, want)
			}
		}
	}
	if authorities, resolver := l.versions(); resolver != l.index || authorities != [4]uint64{l.index, l.index, l.index, l.index} {
		t.Errorf("in the end versions are %v, %d of %d", authorities, resolver, l.index)
	}
}
