package dnsprop

import (
	"testing"
	"testing/synctest"
	"time"
)

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
