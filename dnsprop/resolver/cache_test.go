package resolver

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/authority"
	"github.com/posternhq/postern/dnsprop/zone"
)

func answer(exists bool, from, to int64) *entry {
	a := authority.Answer{Answer: zone.Answer{Exists: exists}}
	if exists {
		a.RRset.Addresses = []netip.Addr{netip.MustParseAddr("10.0.0.1")}
	}
	return &entry{Answer: a, Span: Span{At: from, Expires: to, Keep: to}}
}

func TestCacheForgetsTheLeastRecentlyUsed(t *testing.T) {
	c := newCache(3)
	for i := range 3 {
		c.store(fmt.Sprintf("%d.", i), dns.TypeA, answer(true, 0, 100))
	}
	lookup(c, "0.", dns.TypeA, 1)
	c.store("3.", dns.TypeA, answer(true, 1, 100))
	for i, want := range []bool{true, false, true, true} {
		if got, _ := lookup(c, fmt.Sprintf("%d.", i), dns.TypeA, 2); (got != nil) != want {
			t.Errorf("name %d: cached %v", i, got != nil)
		}
	}
	if len(c.names) != 3 || c.recent.Len() != 3 {
		t.Errorf("%d names, %d in order", len(c.names), c.recent.Len())
	}
}

func TestCacheByType(t *testing.T) {
	c := newCache(10)
	a, aaaa, none := answer(true, 0, 60), answer(true, 0, 900), answer(false, 5, 50)
	c.store("a.", dns.TypeA, a)
	c.store("a.", dns.TypeAAAA, aaaa)
	for _, step := range []struct {
		name  string
		qname string
		qtype uint16
		at    int64
		want  *entry
	}{
		{"its type", "a.", dns.TypeA, 59, a},
		{"another type", "a.", dns.TypeAAAA, 59, aaaa},
		{"a type not asked for", "a.", dns.TypeMX, 59, nil},
		{"below an existing name", "b.a.", dns.TypeA, 59, nil},
		{"expired", "a.", dns.TypeA, 60, nil},
		{"the other lives on", "a.", dns.TypeAAAA, 60, aaaa},
		{"until its own end", "a.", dns.TypeAAAA, 900, nil},
	} {
		if got, _ := lookup(c, step.qname, step.qtype, step.at); got != step.want {
			t.Errorf("%s: %v", step.name, got)
		}
	}
	if len(c.names) != 0 {
		t.Errorf("expired names stay: %v", c.names)
	}
	c.store("a.", dns.TypeA, answer(true, 0, 60))
	c.store("a.", dns.TypeA, none)
	for _, qtype := range []uint16{dns.TypeA, dns.TypeMX} {
		for _, name := range []string{"a.", "b.a.", "c.b.a."} {
			if got, _ := lookup(c, name, qtype, 49); got != none {
				t.Errorf("%s %d under NXDOMAIN: %v", name, qtype, got)
			}
		}
	}
	c.store("zero.", dns.TypeA, answer(true, 7, 7))
	if c.names["zero."] != nil {
		t.Error("what expires at once is kept")
	}
	for qtype := range uint16(100) {
		c.store("many.", qtype, answer(true, 0, 100))
	}
	if got := len(c.names["many."].Value.(*cached).types); got != maxTypes {
		t.Errorf("%d types of one name", got)
	}
}

func TestCacheKeepsWhatMayBeServedStale(t *testing.T) {
	c := newCache(10)
	old := answer(true, 0, 60)
	old.Keep = 100
	c.store("a.", dns.TypeA, old)
	for _, step := range []struct {
		at          int64
		live, stale *entry
	}{{59, old, nil}, {60, nil, old}, {99, nil, old}} {
		if live, stale := lookup(c, "a.", dns.TypeA, step.at); live != step.live || stale != step.stale {
			t.Errorf("at %d: %v, stale %v", step.at, live, stale)
		}
	}
	c.store("a.", dns.TypeA, answer(true, 70, 70))
	if _, stale := lookup(c, "a.", dns.TypeA, 71); stale != nil {
		t.Error("a newer answer left the old one, though it was not kept itself")
	}
	c.store("a.", dns.TypeA, old)
	lookup(c, "a.", dns.TypeA, 100)
	if len(c.names) != 0 {
		t.Error("kept past its bound")
	}
}

func TestFailureWaits(t *testing.T) {
	c := newCache(2)
	at := int64(0)
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
		want *= time.Second
		c.fail("a.", at, false)
		if !c.failing("a.", at+int64(want)-1) || c.failing("a.", at+int64(want)) {
			t.Errorf("failure %d: not for %v", i, want)
		}
		at += int64(want)
	}
	if c.failing("b.", 0) {
		t.Error("another name fails too")
	}
	lookup(c, "a.", dns.TypeA, at+int64(maxFailure))
	if len(c.names) != 0 {
		t.Error("a failure is never forgotten")
	}
	c.fail("a.", 0, false)
	c.store("a.", dns.TypeA, answer(true, 0, 60))
	if c.failing("a.", 0) {
		t.Error("an answer does not end the failure")
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	c := newCache(10)
	c.store("a.", dns.TypeA, answer(true, 0, 60))
	c.store("b.", dns.TypeA, answer(false, 0, 60))
	if n := testing.AllocsPerRun(100, func() {
		lookup(c, "a.", dns.TypeA, 1)
		lookup(c, "x.b.", dns.TypeA, 1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A CNAME is that of the name, whatever type it was found for.
func TestCNAMEStandsForAllTypes(t *testing.T) {
	c := newCache(10)
	alias, own := answer(true, 0, 60), answer(true, 0, 100)
	alias.Follow = "b."
	c.store("a.", dns.TypeA, alias)
	c.store("a.", dns.TypeTXT, own)
	for _, s := range []struct {
		qtype uint16
		at    int64
		want  *entry
	}{
		{dns.TypeA, 59, alias}, {dns.TypeAAAA, 59, alias}, {dns.TypeTXT, 59, own},
		{dns.TypeCNAME, 59, nil}, {dns.TypeANY, 59, nil}, {dns.TypeAAAA, 60, nil},
	} {
		if got, _ := lookup(c, "a.", s.qtype, s.at); got != s.want {
			t.Errorf("%s at %d: %v", dns.TypeToString[s.qtype], s.at, got)
		}
	}
	if got, _ := lookup(c, "x.a.", dns.TypeAAAA, 1); got != nil {
		t.Errorf("below: %v", got)
	}
	// What may be served stale does not hide what is live.
	old, young := answer(true, 0, 60), answer(true, 70, 130)
	old.Follow, old.Keep, young.Follow = "b.", 1000, "b."
	c.store("c.", dns.TypeA, old)
	c.store("c.", dns.TypeAAAA, young)
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT} {
		if got, _ := lookup(c, "c.", qtype, 80); got != young {
			t.Errorf("%s beside what is stale: %v", dns.TypeToString[qtype], got)
		}
	}
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT} {
		if got, stale := lookup(c, "c.", qtype, 500); got != nil || stale != old {
			t.Errorf("%s when only that is left: %v, %v", dns.TypeToString[qtype], got, stale)
		}
	}
}

func TestCacheResized(t *testing.T) {
	c := newCache(4)
	for i := range 4 {
		c.store(fmt.Sprintf("%d.", i), dns.TypeA, answer(true, 0, 100))
	}
	lookup(c, "0.", dns.TypeA, 1)
	c.resize(2)
	for i, want := range []bool{true, false, false, true} {
		if got, _ := lookup(c, fmt.Sprintf("%d.", i), dns.TypeA, 2); (got != nil) != want {
			t.Errorf("name %d: cached %v", i, got != nil)
		}
	}
	c.resize(3)
	c.store("4.", dns.TypeA, answer(true, 0, 100))
	if len(c.names) != 3 || c.recent.Len() != 3 {
		t.Errorf("%d names, %d in order", len(c.names), c.recent.Len())
	}
}

// What peek finds is what lookup does, and finding it changes nothing.
func TestPeekLeavesNoTrace(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		one, other := newCache(4), newCache(4)
		names := []string{"a.", "b.a.", "c.b.a.", "d.", "e.d."}
		at := int64(0)
		for range 100 {
			name, qtype := names[rng.IntN(len(names))], []uint16{dns.TypeA, dns.TypeAAAA}[rng.IntN(2)]
			switch rng.IntN(3) {
			case 0:
				e := answer(rng.IntN(2) == 0, at, at+rng.Int64N(50))
				e.Keep += rng.Int64N(50)
				one.store(name, qtype, e)
				other.store(name, qtype, e)
			case 1:
				at += rng.Int64N(20)
			}
			before := order(one)
			found := Inquired{Next: zone.Never}
			live, stale, owner := one.peek(name, qtype, at, &found)
			if after := order(one); !slices.Equal(before, after) {
				t.Fatalf("seed %d: peeking moves %v to %v", seed, before, after)
			}
			if found.Next <= at || (live != nil || stale != nil) != (owner != "") {
				t.Fatalf("seed %d at %d: of %q, until %d", seed, at, owner, found.Next)
			}
			if wantLive, wantStale := lookup(other, name, qtype, at); live != wantLive || stale != wantStale {
				t.Fatalf("seed %d: %v and %v, lookup finds %v and %v", seed, live, stale, wantLive, wantStale)
			}
			lookup(one, name, qtype, at)
		}
	}
}

// order is what a cache holds, the most recently used first.
func order(c *cache) (all []string) {
	for el := c.recent.Front(); el != nil; el = el.Next() {
		k := el.Value.(*cached)
		all = append(all, fmt.Sprint(k.name, k.failure, k.nxdomain, k.types))
	}
	return all
}
