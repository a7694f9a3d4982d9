package dnsprop

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/posternhq/postern/dnsprop/propagation"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

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
