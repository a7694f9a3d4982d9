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
	p, err := Lookup(change.GetProfile())
	if err != nil {
		return time.Time{}, false
	}
	var first time.Time
	found := false
	for i, at := range change.GetAttempts() {
		if attemptLost(p, change, i) {
			continue
		}
		t := time.Unix(0, at).Add(p.Delay(change.GetSeed(), change.GetId(), i, authority)).UTC()
		if !found || t.Before(first) {
			first, found = t, true
		}
	}
	return first, found
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

// Lost reports whether a change has no attempt that takes effect: it stays
// invisible until a deployment re-drives it.
func Lost(change *statev1.DnsChange) bool {
	_, ok := Instant(change, 0)
	return !ok
}

// attemptLost: the fault dns-lost marks the change itself and takes its first
// attempt; a profile may take any.
func attemptLost(p Profile, change *statev1.DnsChange, attempt int) bool {
	if attempt == 0 && change.GetLost() {
		return true
	}
	return p.IsLost(change.GetSeed(), change.GetId(), attempt)
}
