package dnsprop

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/resolver"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// RFC 9520: what failed is not asked again for a second, then two, four...
func TestResolverRemembersFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "fast")
		l.until(insync(t, l.set(aliasName, eni)))
		l.fault(&statev1.DnsFault{Kind: propagation.FaultServfail, Name: aliasName})
		l.expect(internet, aliasName, "SERVFAIL")
		time.Sleep(time.Second)
		l.expect(internet, aliasName, "SERVFAIL") // asked again, for two seconds
		l.clear()
		time.Sleep(2*time.Second - 1)
		l.expect(internet, aliasName, "SERVFAIL")
		time.Sleep(time.Nanosecond)
		l.expect(internet, aliasName, eni+" 60")
	})
}

// RFC 8767: what has expired stands in while every authority fails, for 30
// seconds at a time and no longer than its bound.
func TestResolverServesStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLabWith(t, "fast", resolver.Options{ServeStale: 5 * time.Minute})
		l.until(insync(t, l.set(aliasName, eni)))
		l.expect(internet, aliasName, eni+" 60")
		down := &statev1.DnsFault{Kind: propagation.FaultDown}
		l.fault(down)
		time.Sleep(time.Minute)
		l.expect(internet, aliasName, eni+" 30")
		l.clear()
		l.until(insync(t, l.set(aliasName, "10.7.1.99")))
		l.expect(internet, aliasName, eni+" 30") // not asked again before 30 s
		if _, version := l.versions(); version >= l.index {
			t.Errorf("version %d while version %d is hidden by a stale answer", version, l.index)
		}
		time.Sleep(30 * time.Second)
		l.expect(internet, aliasName, "10.7.1.99 60")
		time.Sleep(30 * time.Second) // the tracker looks again
		if _, version := l.versions(); version < l.index {
			t.Errorf("version %d, want %d: the stale answer is gone", version, l.index)
		}
		l.fault(down)
		time.Sleep(6*time.Minute + 1)
		l.expect(internet, aliasName, "SERVFAIL") // past the bound
	})
}

func TestResolverPrefetches(t *testing.T) {
	for _, prefetch := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := newLabWith(t, "fast", resolver.Options{Prefetch: prefetch})
			l.until(insync(t, l.set(aliasName, eni)))
			l.expect(internet, aliasName, eni+" 60")
			time.Sleep(50 * time.Second)
			l.expect(internet, aliasName, eni+" 10") // too early to ask again
			l.expect(internet, aliasName, eni+" 10")
			time.Sleep(5 * time.Second)
			l.expect(internet, aliasName, eni+" 5") // who makes it ask has the old answer
			next := eni + " 5"
			if prefetch {
				next = eni + " 60"
			}
			l.expect(internet, aliasName, next)
		})
	}
}

func TestResolverBoundsTTLs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLabWith(t, "aws", resolver.Options{
			TTL:         resolver.Bounds{Min: 5 * time.Minute},
			NegativeTTL: resolver.Bounds{Max: 10 * time.Second},
		})
		c := l.set(aliasName, eni)
		l.expect(internet, aliasName, "NXDOMAIN 10")
		l.until(insync(t, c))
		l.expect(internet, aliasName, eni+" 300")
		l.expect(ns(1), aliasName, eni+" 60")
		l.until(insync(t, l.set(aliasName)))
		l.expect(ns(1), aliasName, "NXDOMAIN 900")
	})
}
