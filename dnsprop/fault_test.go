package dnsprop

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/propagation"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// The faults of deployments-and-dns.md, 4.3, and what repairs them.

func TestFaultLostAtOnePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "fast")
		l.fault(&statev1.DnsFault{Kind: propagation.FaultLost, Name: aliasName, Place: "ns2"})
		c := l.set(aliasName, eni)
		other := l.set(apiName, "127.0.0.1") // of another name: not its fault
		l.clear()                            // does not bring back what was lost
		l.until(insync(t, other))
		time.Sleep(time.Hour)
		l.expect(ns(1), aliasName, eni+" 60")
		l.expect(ns(2), aliasName, "NXDOMAIN 5")
		l.expect(ns(2), apiName, "127.0.0.1 60")
		if authorities, resolver := l.versions(); authorities[1] != c.GetIndex()-1 || resolver != c.GetIndex()-1 || authorities[0] != l.index {
			t.Errorf("versions %v, %d; ns2 lacks %d", authorities, resolver, c.GetIndex())
		}
		l.kick(c)
		l.until(insync(t, c))
		l.expect(ns(2), aliasName, eni+" 60")
	})
}

// Removing and adding again quickly may lose the record, for good; until a
// deployment drives the addition again.
func TestFaultReorderMayEndAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "fast")
		l.until(insync(t, l.set(aliasName, "10.7.1.1")))
		l.fault(&statev1.DnsFault{Kind: propagation.FaultReorder, Zone: apiZone})
		l.profile = "aws"
		removal := l.set(aliasName)
		l.profile = "fast"
		addition := l.set(aliasName, eni)
		l.clear()
		serial := func() uint32 { return l.ask(ns(3), apiZone, dns.TypeSOA).Answer[0].(*dns.SOA).Serial }
		l.until(insync(t, addition))
		l.expect(ns(3), aliasName, eni+" 60") // it came first
		before := serial()
		l.until(insync(t, removal))
		l.restart() // the record says it all
		time.Sleep(time.Hour)
		for i := 1; i <= 4; i++ {
			l.expect(ns(i), aliasName, "NXDOMAIN 5")
		}
		l.expect(internet, aliasName, "NXDOMAIN 5")
		if got := serial(); got != before+1 {
			t.Errorf("serial %d became %d", before, got)
		}
		if authorities, resolver := l.versions(); authorities[0] != removal.GetIndex() || resolver != removal.GetIndex() {
			t.Errorf("versions %v, %d while %d shows in the stead of %d", authorities, resolver, removal.GetIndex(), addition.GetIndex())
		}
		l.kick(addition)
		<-awaitVersion(l, l.index)
		for i := 1; i <= 4; i++ {
			l.expect(ns(i), aliasName, eni+" 60")
		}
		if got := serial(); got != before+2 {
			t.Errorf("serial %d became %d after the kick", before, got)
		}
	})
}

// A later change of the name that no fault befell ends it too.
func TestFaultReorderEndsWithTheNextChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "aws")
		l.fault(&statev1.DnsFault{Kind: propagation.FaultReorder})
		removal := l.set(aliasName)
		l.profile = "fast"
		l.set(aliasName, "10.7.1.1")
		l.until(insync(t, removal))
		l.clear()
		l.expect(ns(1), aliasName, "NXDOMAIN 5")
		last := l.set(aliasName, eni)
		l.until(insync(t, last).Add(time.Hour))
		l.expect(ns(1), aliasName, eni+" 60")
		if authorities, resolver := l.versions(); authorities[0] != l.index || resolver != l.index {
			t.Errorf("versions %v, %d of %d", authorities, resolver, l.index)
		}
	})
}

func TestFaultLagFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "instant")
		before := l.change(aliasName, "10.7.1.1")
		l.put(before)
		l.fault(&statev1.DnsFault{Kind: propagation.FaultLag, Place: "ns3", Lag: int64(5 * time.Minute)})
		c := l.set(aliasName, eni)
		l.clear() // moves nothing under way
		for range 5 {
			l.pick = 0
			l.expect(internet, aliasName, eni+" 0")
			l.pick = 2
			l.expect(internet, aliasName, "10.7.1.1 0")
			time.Sleep(59 * time.Second)
		}
		l.restart()
		if authorities, _ := l.versions(); authorities[2] != c.GetIndex()-1 || authorities[1] != l.index {
			t.Errorf("versions %v: ns3 lacks %d", authorities, c.GetIndex())
		}
		time.Sleep(5 * time.Second)
		l.expect(ns(3), aliasName, eni+" 0")
		if got, want := insync(t, c), time.Unix(0, c.GetChange().GetAttempts()[0]).Add(5*time.Minute); !got.Equal(want) {
			t.Errorf("INSYNC at %v, want %v", got, want)
		}
	})
}

func TestFaultDownAndServfail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "fast")
		l.until(insync(t, l.set(aliasName, eni)))
		l.until(insync(t, l.set(apiName, "127.0.0.1")))
		l.fault(&statev1.DnsFault{Kind: propagation.FaultDown, Place: "ns2"})
		l.fault(&statev1.DnsFault{Kind: propagation.FaultServfail, Name: aliasName, Place: "ns3"})
		l.restart()
		l.expect(ns(2), aliasName, "silence")
		l.expect(ns(2), apiName, "silence")
		l.expect(ns(3), aliasName, "SERVFAIL")
		l.expect(ns(3), apiName, "127.0.0.1 60")
		l.pick = 1 // the resolver goes on to the next but one
		l.expect(internet, aliasName, eni+" 60")
		l.fault(&statev1.DnsFault{Kind: propagation.FaultDown, Zone: apiZone, EndsAt: l.now().Add(5 * time.Minute).UnixNano()})
		l.expect(internet, aliasName, eni+" 60") // from its cache
		l.expect(internet, apiName, "SERVFAIL")
		l.expect(internet, "nobody."+vpceZone, "NXDOMAIN 5") // not of the zone
		l.expect(internet, "www.example.com.", "REFUSED")
		time.Sleep(time.Minute)
		l.expect(internet, aliasName, "SERVFAIL")
		time.Sleep(4 * time.Minute) // its time is over
		l.expect(internet, aliasName, eni+" 60")
		l.expect(ns(2), aliasName, "silence")
		l.clear()
		l.expect(ns(2), aliasName, eni+" 60")
		l.expect(ns(3), aliasName, eni+" 60")
	})
}

func TestHostileRunsWithFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "hostile")
		late := 0
		for a := range propagation.Authorities {
			c := l.change(aliasName, eni).GetChange()
			if !propagation.Reordered(c, a) {
				t.Errorf("authority %d: not reordered", a)
			}
			if lag := c.GetLag(); len(lag) != propagation.Authorities {
				t.Fatalf("lag %v", lag)
			} else if lag[a] > 0 {
				late++
			}
		}
		if late != 1 {
			t.Errorf("%d authorities lag, want one", late)
		}
	})
}

// A custom profile travels in the change: another content under the same name,
// or another profile, moves nothing that is under way.
func TestCustomProfileIsKeptByItsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "instant")
		fixed := func(d time.Duration) *statev1.DnsProfile {
			return &statev1.DnsProfile{
				Sync:        &statev1.DelayDistribution{Kind: "fixed", Values: []int64{int64(d)}},
				PositiveTtl: 30, NegativeTtl: 7,
			}
		}
		l.profile, l.custom = "office", fixed(time.Minute)
		l.settings()
		l.expect(ns(1), aliasName, "NXDOMAIN 7")
		shows := l.now().Add(time.Minute)
		l.set(aliasName, eni)
		l.custom = fixed(time.Hour)
		l.settings()
		l.restart()
		l.until(shows.Add(-time.Nanosecond))
		l.expect(ns(1), aliasName, "NXDOMAIN 7")
		time.Sleep(time.Nanosecond)
		for i := 1; i <= 4; i++ {
			l.expect(ns(i), aliasName, eni+" 30")
		}
		later := l.set(apiName, "127.0.0.1")
		l.until(insync(t, later))
		l.expect(ns(1), apiName, "127.0.0.1 30")
		if took := insync(t, later).Sub(time.Unix(0, later.GetChange().GetAttempts()[0])); took != time.Hour {
			t.Errorf("the new content takes %v", took)
		}
	})
}
