package dnsprop

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/propagation"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
)

// The acceptance scenarios of deployments-and-dns.md, 6.

const eni = "10.7.1.10"

func TestD1ColdCacheResolvesOnceInsync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "aws")
		start := l.now()
		c := l.set(aliasName, eni)
		l.until(start.Add(120 * time.Second))
		for l.now().Before(insync(t, c)) {
			time.Sleep(5 * time.Second)
		}
		l.expect(internet, aliasName, eni+" 60")
	})
}

func TestD2EarlyQueryPlantsAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "aws")
		c := l.set(aliasName, eni)
		l.expect(internet, aliasName, "NXDOMAIN 900")
		planted := l.now()
		l.until(insync(t, c))
		for i := 1; i <= 4; i++ {
			l.expect(ns(i), aliasName, eni+" 60")
		}
		left := 900*time.Second - l.now().Sub(planted)
		if got := say(l.ask(internet, aliasName, dns.TypeA)); got != "NXDOMAIN "+seconds(left) {
			t.Errorf("resolver says %q with %v left", got, left)
		}
		// What is below a name that does not exist does not exist (RFC 8020).
		if m := l.ask(internet, "x."+aliasName, dns.TypeA); m.Rcode != dns.RcodeNameError {
			t.Errorf("below: %v", m)
		}
		if _, version := l.versions(); version >= c.GetIndex() {
			t.Errorf("resolver claims version %d while it denies the name of %d", version, c.GetIndex())
		}
		l.until(planted.Add(900*time.Second - time.Millisecond))
		l.expect(internet, aliasName, "NXDOMAIN 0")
		l.until(planted.Add(900 * time.Second))
		if _, version := l.versions(); version != l.index {
			t.Errorf("resolver is at version %d of %d", version, l.index)
		}
		l.expect(internet, aliasName, eni+" 60")
	})
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

func TestD3LostUntilKicked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "aws")
		c := l.change(aliasName, eni)
		c.Change.Lost = true
		l.put(c)
		later := l.set(apiName, "127.0.0.1") // does not wait for the lost one, but versions do
		time.Sleep(time.Hour)
		l.expect(internet, aliasName, "NXDOMAIN 900")
		l.expect(internet, apiName, "127.0.0.1 60")
		authorities, resolver := l.versions()
		for _, version := range append(authorities[:], resolver) {
			if version != c.GetIndex()-1 {
				t.Errorf("version %d while change %d is lost", version, c.GetIndex())
			}
		}
		time.Sleep(time.Hour)
		c.Change.Attempts = append(c.Change.Attempts, l.now().UnixNano())
		c.ModifyIndex = l.index + 1
		l.put(c)
		l.until(insync(t, c))
		l.expect(internet, aliasName, eni+" 60")
		if _, version := l.versions(); version < later.GetIndex() {
			t.Errorf("version %d after the kick", version)
		}
	})
}

func TestD4RemovalOutlivedByCaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "aws")
		l.until(insync(t, l.set(aliasName, eni)))
		gone := l.set(aliasName)
		l.until(insync(t, gone).Add(-time.Nanosecond))
		var last int
		for i := 1; i <= 4; i++ {
			if l.ask(ns(i), aliasName, dns.TypeA).Rcode == dns.RcodeSuccess {
				last = i
			}
		}
		if last == 0 {
			t.Fatal("no authority left that has the name just before INSYNC")
		}
		// Fetched from the last authority at the last moment.
		l.pick = last - 1
		l.expect(internet, aliasName, eni+" 60")
		time.Sleep(time.Nanosecond)
		for i := 1; i <= 4; i++ {
			l.expect(ns(i), aliasName, "NXDOMAIN 900")
		}
		l.expect(internet, aliasName, eni+" 59")
		if _, version := l.versions(); version >= gone.GetIndex() {
			t.Errorf("version %d while a cache shows what %d removed", version, gone.GetIndex())
		}
		time.Sleep(60*time.Second - 2*time.Nanosecond)
		l.expect(internet, aliasName, eni+" 0")
		time.Sleep(time.Nanosecond)
		if _, version := l.versions(); version != l.index {
			t.Errorf("version %d of %d", version, l.index)
		}
		l.expect(internet, aliasName, "NXDOMAIN 900")
	})
}

func TestD7RestartAndProfileSwitchMoveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "aws")
		c := l.set(aliasName, eni)
		var instants [4]time.Time
		for a := range instants {
			instants[a], _ = propagation.Instant(c.GetChange(), a)
		}
		time.Sleep(5 * time.Second)
		l.restart()
		l.profile = "fast"
		l.settings()
		for done := 0; done < 4; {
			next := time.Time{}
			for _, at := range instants {
				if at.After(l.now()) && (next.IsZero() || at.Before(next)) {
					next = at
				}
			}
			l.until(next.Add(-time.Nanosecond))
			for a, at := range instants {
				want := "NXDOMAIN 5"
				if !at.After(l.now()) {
					want = eni + " 60"
				}
				l.expect(ns(a+1), aliasName, want)
			}
			time.Sleep(time.Nanosecond)
			done = 0
			for a, at := range instants {
				if !at.After(l.now()) {
					done++
					l.expect(ns(a+1), aliasName, eni+" 60")
				}
			}
		}
	})
}

func TestD8ZonesCacheOnTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "aws")
		l.vpc(8, nil)
		a, b := inVPC(8, 1), inVPC(8, 2)
		c := l.set(aliasName, eni)
		l.expect(a, aliasName, "NXDOMAIN 900")
		l.until(insync(t, c))
		if got := say(l.ask(a, aliasName, dns.TypeA)); got[:8] != "NXDOMAIN" {
			t.Errorf("zone a: %q", got)
		}
		l.expect(b, aliasName, eni+" 60")
		// A client from outside the VPC gets the first zone's cache.
		outside := vantage{a.server, "127.255.0.1"}
		if got := say(l.ask(outside, aliasName, dns.TypeA)); got[:8] != "NXDOMAIN" {
			t.Errorf("outside: %q", got)
		}
		// A change of the VPC keeps the caches.
		l.vpc(8, func(v *dnsv1.Vpc) {
			v.Subnets = append(v.Subnets, &dnsv1.Subnet{Id: "s3", Az: "us-west-2c", Cidr: "10.8.3.0/24"})
		})
		if got := say(l.ask(a, aliasName, dns.TypeA)); got[:8] != "NXDOMAIN" {
			t.Errorf("zone a after a change of the vpc: %q", got)
		}
		l.expect(inVPC(8, 3), aliasName, eni+" 60")
	})
}

// The newest of a name's changes decides, whichever shows first.
func TestLateOlderChangeIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "aws")
		old := l.change(aliasName, "10.7.1.1")
		l.put(old)
		l.profile = "instant"
		young := l.change(aliasName, "10.7.1.2")
		young.Change.Records[0].After.Ttl = 60
		l.put(young)
		for range 40 {
			for i := 1; i <= 4; i++ {
				l.expect(ns(i), aliasName, "10.7.1.2 60")
			}
			time.Sleep(5 * time.Second)
		}
		if l.now().Before(insync(t, old)) {
			t.Error("the older change has not come yet")
		}
	})
}

func TestClockSpeedAndFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "aws")
		l.clock = l.clock.WithSpeed(time.Now(), 30)
		l.settings()
		c := l.set(aliasName, eni)
		began := time.Now()
		l.expect(internet, "nobody."+apiZone, "NXDOMAIN 30")
		<-awaitVersion(l, c.GetIndex())
		took, want := time.Since(began), insync(t, c).Sub(time.Unix(0, c.GetChange().GetAttempts()[0]))/30
		if took < want || took > want+2*minPause {
			t.Errorf("took %v, want %v", took, want)
		}
		l.expect(internet, aliasName, eni+" 2") // 60 s are 2 s of the client's
		l.clock = l.clock.WithSpeed(time.Now(), 0)
		l.settings()
		for range 3 {
			l.expect(internet, aliasName, eni+" 0")
			l.expect(ns(2), "nobody."+apiZone, "NXDOMAIN 0")
			time.Sleep(time.Hour)
		}
		frozen := l.set(apiName, "127.0.0.1")
		time.Sleep(time.Hour)
		l.expect(ns(1), apiName, "NXDOMAIN 0")
		l.clock = l.clock.Advance(time.Now(), 10*time.Minute)
		l.settings()
		l.expect(ns(1), apiName, "127.0.0.1 0")
		if _, version := l.versions(); version < frozen.GetIndex() {
			t.Errorf("version %d after the advance", version)
		}
	})
}

func TestInstantCachesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "instant")
		l.vpc(8, nil)
		for i := range 3 {
			l.expect(internet, aliasName, "NXDOMAIN 0")
			l.set(aliasName, eni)
			if authorities, resolver := l.versions(); resolver != l.index || authorities != [4]uint64{l.index, l.index, l.index, l.index} {
				t.Errorf("round %d: versions %v, %d of %d", i, authorities, resolver, l.index)
			}
			l.expect(internet, aliasName, eni+" 0")
			l.expect(inVPC(8, 2), aliasName, eni+" 0")
			l.set(aliasName)
		}
	})
}

func TestSerialCountsInstants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "aws")
		serial := func(i int) uint32 { return l.ask(ns(i), apiZone, dns.TypeSOA).Answer[0].(*dns.SOA).Serial }
		first := l.set(aliasName, eni)
		if got := serial(1); got != 1 {
			t.Errorf("serial %d before any instant", got)
		}
		l.set(vpce+"-x."+vpceZone, eni) // another zone
		l.until(insync(t, first))
		for i := 1; i <= 4; i++ {
			if got := serial(i); got != 2 {
				t.Errorf("serial of ns%d is %d after one instant", i, got)
			}
		}
		l.until(insync(t, l.set(aliasName)))
		before := serial(3)
		l.restart()
		if got := serial(3); got != before || got != 3 {
			t.Errorf("serial %d, %d after a restart", before, got)
		}
	})
}
