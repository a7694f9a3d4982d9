package propagation

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// The kinds of faults. The first three befall a change at its commit and are
// kept in its record, so setting or clearing one moves nothing under way; the
// next two are how an authority answers while they are in force. The last
// befalls an endpoint at its commit, and its interfaces, not names.
const (
	FaultLost     = "dns-lost"
	FaultReorder  = "dns-reorder"
	FaultLag      = "dns-lag"
	FaultDown     = "dns-down"
	FaultServfail = "dns-servfail"
	FaultENILate  = "eni-late"
)

var faultKinds = []string{FaultLost, FaultReorder, FaultLag, FaultDown, FaultServfail, FaultENILate}

// CheckFault reports a fault that is none: an unknown kind, a target that
// names nothing, a lag where none belongs.
func CheckFault(f *statev1.DnsFault) error {
	switch {
	case !slices.Contains(faultKinds, f.GetKind()):
		return fmt.Errorf("fault %q is not one of %s", f.GetKind(), strings.Join(faultKinds, ", "))
	case f.GetName() != "" && f.GetZone() != "":
		return fmt.Errorf("%s is for a name or for a zone, not for both", f.GetKind())
	case lags(f) && f.GetLag() == 0:
		return fmt.Errorf("%s takes a lag", f.GetKind())
	case !lags(f) && f.GetLag() != 0:
		return fmt.Errorf("%s takes no lag; %s and %s do", f.GetKind(), FaultLag, FaultENILate)
	case f.GetLag() < 0 || f.GetLag() > int64(maxDelay):
		return fmt.Errorf("lag %v is not from 0 to %v", time.Duration(f.GetLag()), maxDelay)
	}
	for _, name := range []string{f.GetName(), f.GetZone()} {
		if name != "" && (len(name) > 254 || strings.ToLower(name) != name || !strings.HasSuffix(name, ".") || strings.ContainsFunc(name, notPrintable)) {
			return fmt.Errorf("%q is not a lower-case name with a trailing dot", name)
		}
	}
	if f.GetKind() == FaultENILate {
		if f.GetPlace() != "" && !availabilityZone.MatchString(f.GetPlace()) {
			return fmt.Errorf("place %q of %s is no availability zone", f.GetPlace(), FaultENILate)
		}
		return nil
	}
	if f.GetPlace() != "" && authorityNumber(f.GetPlace()) < 0 {
		return fmt.Errorf("place %q is not one of ns1 to ns%d", f.GetPlace(), Authorities)
	}
	return nil
}

func lags(f *statev1.DnsFault) bool { return f.GetKind() == FaultLag || f.GetKind() == FaultENILate }

// availabilityZone is us-west-2a, or any other name of that form.
var availabilityZone = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

func notPrintable(r rune) bool { return r <= ' ' || r > '~' }

// OfNames reports whether a fault is about names and their servers, not about
// interfaces of endpoints.
func OfNames(f *statev1.DnsFault) bool { return f.GetKind() != FaultENILate }

// FaultID names a fault by its kind and target, of which there is one at a
// time: dns-lag:api.example.@ns3, with a dot before a zone.
func FaultID(f *statev1.DnsFault) string {
	id := f.GetKind()
	switch {
	case f.GetName() != "":
		id += ":" + f.GetName()
	case f.GetZone() != "":
		id += ":." + f.GetZone()
	}
	if f.GetPlace() != "" {
		id += "@" + f.GetPlace()
	}
	return id
}

// authorityNumber of "ns1" is 0; -1 for what is no authority.
func authorityNumber(place string) int {
	if len(place) != 3 || place[:2] != "ns" || place[2] < '1' || place[2] >= '1'+Authorities {
		return -1
	}
	return int(place[2] - '1')
}

// PlaceOf is what faults and traces call an authority: ns1 to ns4.
func PlaceOf(authority int) string { return fmt.Sprintf("ns%d", authority+1) }

// InForce reports whether a fault that is recorded still holds at an instant
// of the DNS clock, in Unix nanoseconds.
func InForce(f *statev1.DnsFault, at int64) bool {
	return f.GetEndsAt() == 0 || at < f.GetEndsAt()
}

// Befalls reports whether a fault is for a canonical name.
func Befalls(f *statev1.DnsFault, name string) bool {
	switch {
	case f.GetName() != "":
		return name == f.GetName()
	case f.GetZone() != "":
		below, ok := strings.CutSuffix(name, f.GetZone())
		return ok && (below == "" || strings.HasSuffix(below, "."))
	}
	return true
}

// At reports whether a fault is for an authority.
func At(f *statev1.DnsFault, authority int) bool {
	return f.GetPlace() == "" || authorityNumber(f.GetPlace()) == authority
}

// Befall records in a new change, which has its first attempt, what the faults
// in force then and its own profile do to it. A fault that is for one of the
// change's names is for the change: it is one and arrives as one.
func Befall(change *statev1.DnsChange, faults []*statev1.DnsFault) {
	committed := change.GetAttempts()[0]
	var lag [Authorities]int64
	if p, err := Resolve(change.GetProfile(), change.GetCustomProfile()); err == nil {
		if p.Reorder {
			change.ReorderedAt = 1<<Authorities - 1
		}
		lag[p.laggard(change.GetSeed())] = int64(p.Lag)
	}
	for _, f := range faults {
		if !InForce(f, committed) || !slices.ContainsFunc(change.GetRecords(), func(r *statev1.RecordChange) bool {
			return Befalls(f, r.GetName())
		}) {
			continue
		}
		for a := range Authorities {
			if !At(f, a) {
				continue
			}
			switch f.GetKind() {
			case FaultLost:
				change.LostAt |= 1 << a
			case FaultReorder:
				change.ReorderedAt |= 1 << a
			case FaultLag:
				lag[a] = max(lag[a], f.GetLag())
			}
		}
	}
	if lag != [Authorities]int64{} {
		change.Lag = lag[:]
	}
}

// Late is how much later than its names are there the interface of an endpoint
// accepts connections that is made at an instant in an availability zone of a
// region, by the faults in force then. The endpoint goes by the name of its
// private zone, execute-api.REGION.amazonaws.com.
func Late(faults []*statev1.DnsFault, at int64, region, zone string) time.Duration {
	late := int64(0)
	for _, f := range faults {
		if f.GetKind() == FaultENILate && InForce(f, at) && Befalls(f, "execute-api."+region+".amazonaws.com.") && (f.GetPlace() == "" || f.GetPlace() == zone) {
			late = max(late, f.GetLag())
		}
	}
	return time.Duration(late)
}
