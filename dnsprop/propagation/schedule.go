package propagation

import (
	"time"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Instant is the moment of the DNS clock at which a name server begins to show
// a change: the earliest over its attempts. It reports false while no attempt
// has one, because each was lost, or because the record names a profile that
// this binary does not know.
func Instant(change *statev1.DnsChange, authority int) (time.Time, bool) {
	return earliest(change, authority, 0)
}

// Settled is the moment from which no older change can take effect over this
// one at a name server: that at which it shows, or, if it was reordered there,
// that at which a later attempt arrives. It reports false as Instant does.
func Settled(change *statev1.DnsChange, authority int) (time.Time, bool) {
	if !Reordered(change, authority) {
		return earliest(change, authority, 0)
	}
	return earliest(change, authority, 1)
}

// Reordered reports whether an older change that arrives later takes effect
// over this one at a name server.
func Reordered(change *statev1.DnsChange, authority int) bool {
	return change.GetReorderedAt()&(1<<authority) != 0
}

// earliest is the first instant at an authority over the attempts from one on.
func earliest(change *statev1.DnsChange, authority, from int) (time.Time, bool) {
	p, err := Resolve(change.GetProfile(), change.GetCustomProfile())
	if err != nil {
		return time.Time{}, false
	}
	var first time.Time
	found := false
	for i, at := range change.GetAttempts() {
		if i < from || attemptLost(p, change, i, authority) {
			continue
		}
		t := time.Unix(0, at).Add(p.Delay(change.GetSeed(), change.GetId(), i, authority) + lagOf(change, authority)).UTC()
		if !found || t.Before(first) {
			first, found = t, true
		}
	}
	return first, found
}

func lagOf(change *statev1.DnsChange, authority int) time.Duration {
	if lag := change.GetLag(); authority < len(lag) {
		return time.Duration(lag[authority])
	}
	return 0
}

// Insync is the moment at which the last name server shows a change; false as
// for Instant.
func Insync(change *statev1.DnsChange) (time.Time, bool) {
	var last time.Time
	for a := range Authorities {
		t, ok := Instant(change, a)
		if !ok {
			return time.Time{}, false
		}
		if t.After(last) {
			last = t
		}
	}
	return last, true
}

// Lost reports whether a change never takes effect at some name server: it
// stays invisible there until a deployment re-drives it.
func Lost(change *statev1.DnsChange) bool {
	_, ok := Insync(change)
	return !ok
}

// AllSettled reports whether, at an instant, every name server shows a change
// and none can be brought to show an older one. What is not can be re-driven.
func AllSettled(change *statev1.DnsChange, at time.Time) bool {
	for a := range Authorities {
		if t, ok := Settled(change, a); !ok || t.After(at) {
			return false
		}
	}
	return true
}

// attemptLost: the fault dns-lost marks the change itself and takes its first
// attempt; a profile may take any.
func attemptLost(p Profile, change *statev1.DnsChange, attempt, authority int) bool {
	if attempt == 0 && (change.GetLost() || change.GetLostAt()&(1<<authority) != 0) {
		return true
	}
	return p.IsLost(change.GetSeed(), change.GetId(), attempt)
}
