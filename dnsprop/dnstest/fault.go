package dnstest

import (
	"fmt"
	"slices"
	"time"

	"github.com/posternhq/postern/dnsprop/propagation"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Fault is something that goes wrong, for a name, a zone, an authority, or
// everything. The first three kinds befall the changes that are made while the fault is
// in force, and stay with these; the others are how authorities answer meanwhile.
type Fault struct {
	// Kind is dns-lost, dns-reorder, dns-lag, dns-down or dns-servfail.
	Kind string
	// Name is one name, Zone a name and all below it; empty: all.
	Name, Zone string
	// Place is an authority; empty: all.
	Place Place
	// Lag is by how much changes are late under dns-lag.
	Lag time.Duration
	// For is how long the fault is in force; 0: until it is cleared.
	For time.Duration
}

// Fault sets a fault, in place of one of the same kind for the same.
func (l *Lab) Fault(f Fault) { l.must(l.setFault(f)) }

func (l *Lab) setFault(f Fault) error {
	m := &statev1.DnsFault{Kind: f.Kind, Place: string(f.Place), Lag: int64(f.Lag)}
	for _, n := range []struct {
		text string
		into *string
	}{{f.Name, &m.Name}, {f.Zone, &m.Zone}} {
		if n.text == "" {
			continue
		}
		name, err := absolute(n.text, ".")
		if err != nil {
			return err
		}
		*n.into = name
	}
	if err := propagation.CheckFault(m); err != nil {
		return err
	}
	if !propagation.OfNames(m) {
		return fmt.Errorf("fault %s is about interfaces of endpoints, which are not here", m.GetKind())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	m.Id, m.SetAt = propagation.FaultID(m), l.now().UnixNano()
	if f.For > 0 {
		m.EndsAt = l.now().Add(f.For).UnixNano()
	}
	faults := slices.DeleteFunc(slices.Clone(l.settings.GetFaults()), func(other *statev1.DnsFault) bool { return other.GetId() == m.GetId() })
	l.settings.Faults = append(faults, m)
	return l.installLocked(resource("settings", l.settings))
}

// ClearFaults ends all faults. What they did to changes stays.
func (l *Lab) ClearFaults() { l.must(l.clearFaults()) }

func (l *Lab) clearFaults() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settings.Faults = nil
	return l.installLocked(resource("settings", l.settings))
}
