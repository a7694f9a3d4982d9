package dnstest

import (
	"errors"
	"fmt"
	"time"

	"github.com/posternhq/postern/dnsprop/propagation"
)

// maxAdvance bounds one step of the clock.
const maxAdvance = 10 * 365 * 24 * time.Hour

// wall is the time of the server's machine. On a clock that stands still it is
// the test that moves this, so that TTLs are seconds of the DNS clock.
func (l *Lab) wall() time.Time {
	if l.options.live {
		return time.Now()
	}
	l.wallMu.Lock()
	defer l.wallMu.Unlock()
	return epoch.Add(l.moved)
}

// Now is the time of the DNS clock.
func (l *Lab) Now() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now()
}

func (l *Lab) now() time.Time { return propagation.ClockOf(l.settings.GetClock()).Now(l.wall()) }

// Advance moves the clock: every schedule, TTL and cache goes by it.
func (l *Lab) Advance(d time.Duration) { l.must(l.advance(d)) }

func (l *Lab) advance(d time.Duration) error {
	if d < 0 || d > maxAdvance {
		return fmt.Errorf("advance by %v: it is not from 0 to %v", d, maxAdvance)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.options.live {
		clock := propagation.ClockOf(l.settings.GetClock())
		l.settings.Clock = clock.Advance(time.Now(), d).Proto()
		return l.installLocked(resource("settings", l.settings))
	}
	l.wallMu.Lock()
	l.moved += d
	l.wallMu.Unlock()
	l.dns.Versions() // it looks what the time is
	return nil
}

// AdvanceTo moves the clock to an instant that is not in the past.
func (l *Lab) AdvanceTo(instant time.Time) { l.must(l.advanceTo(instant)) }

func (l *Lab) advanceTo(instant time.Time) error {
	now := l.Now()
	if instant.Before(now) {
		return fmt.Errorf("advance to %v after the start: it is %v", instant.Sub(epoch), now.Sub(epoch))
	}
	return l.advance(instant.Sub(now))
}

// Settle advances the clock, second by second, until no place answers by
// anything older than what was changed last, as `postern wait --for dns` waits.
// It says how long that took. A change that is lost never settles.
func (l *Lab) Settle() time.Duration {
	took, err := l.settle()
	l.must(err)
	return took
}

// maxSettling is longer than any delay and TTL that a profile may have, together.
const maxSettling = 30 * 24 * time.Hour

func (l *Lab) settle() (time.Duration, error) {
	start := l.Now()
	for {
		l.mu.Lock()
		settled := true
		for _, v := range l.dns.Versions() {
			settled = settled && v.GetIndex() >= l.index
		}
		l.mu.Unlock()
		took := l.Now().Sub(start)
		if settled {
			return took, nil
		}
		for _, c := range l.lost() {
			return took, fmt.Errorf("change %s is lost: it does not arrive until it is sent again", c.ID())
		}
		if took > maxSettling {
			return took, errors.New("the last change does not settle: an older one shows in its stead")
		}
		step := time.Second
		switch {
		case took > 24*time.Hour:
			step = time.Hour
		case took > time.Hour:
			step = time.Minute
		}
		if err := l.advance(step); err != nil {
			return took, err
		}
	}
}

// Settled reports whether a place answers by nothing older than what was changed
// last: NS1 to NS4, a resolver with a name, or Public, which stands for the
// resolvers of VPCs, too.
func (l *Lab) Settled(at Place) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	version, err := l.version(at)
	l.must(err)
	return version >= l.index
}

// version is the newest index up to which a place shows everything. l.mu is held.
func (l *Lab) version(at Place) (uint64, error) {
	id := "dnstest-" + string(at)
	if at == Public {
		id = "dnstest-resolver"
	}
	for _, v := range l.dns.Versions() {
		if v.GetPlace() == id {
			return v.GetIndex(), nil
		}
	}
	return 0, fmt.Errorf("place %q has no version of its own: want ns1 to ns%d, public, or a resolver with a name", at, propagation.Authorities)
}
