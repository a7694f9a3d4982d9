package simulate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/posternhq/postern/dnsprop/client"
	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/resolver"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Operation is what the changes do to their names.
type Operation string

const (
	// Associate: a name appears.
	Associate Operation = "associate"
	// Disassociate: a name that was there disappears.
	Disassociate Operation = "disassociate"
	// Reassociate: a name that was there is removed and, Gap later, added again.
	Reassociate Operation = "reassociate"
)

// Config is what to play. Times are those of the DNS clock, from the commit of
// the change on; a negative one is before it.
type Config struct {
	// Profile is the delay model, Custom its content unless it is built in.
	Profile string
	Custom  *statev1.DnsProfile
	Seed    uint64

	// Changes are committed each for a name of its own, which every client asks for.
	Changes   int
	Operation Operation
	Gap       time.Duration // of Reassociate
	// Deployments are when the API is deployed: a change that is not settled then
	// gets a new attempt.
	Deployments []time.Duration
	Faults      []Fault

	Resolvers int
	Cache     resolver.Options // of each; without a capacity, as a resolver has one name
	// Clients are spread evenly over the resolvers.
	Clients int
	// Mix is which caches clients have; none: they keep nothing.
	Mix []Share

	// Every is the time between a client's queries, on average or, if Periodic, always.
	Every    time.Duration
	Periodic bool
	// Clients ask from Begin until Duration.
	Begin, Duration time.Duration

	// Commit is the instant of the commit; zero: one that does not matter.
	Commit time.Time
	// Workers is how many goroutines share the work; 0: one.
	Workers int
	// Progress, if not nil, is called now and then, by any goroutine, with the share
	// that is done.
	Progress func(done float64)
	// Observe, if not nil, is called with every answer, by one goroutine.
	Observe func(Answer)
}

// Share is a part of the clients, by its weight among all, and their cache.
type Share struct {
	Cache  client.Cache
	Weight int
}

// Fault is one that is in force from an instant on.
type Fault struct {
	// Kind, place and lag; it is for the names of all changes.
	*statev1.DnsFault
	From time.Duration
	For  time.Duration // 0: to the end
}

// Bounds of a Config.
const (
	maxResolvers  = 1_000_000_000
	maxClients    = 1_000_000_000
	maxTogether   = 20_000_000 // clients of one resolver, which are in memory together
	maxChanges    = 1_000_000
	maxTime       = 365 * 24 * time.Hour
	maxQueries    = 1e13
	maxShares     = 256
	maxFaults     = 64
	maxDeployment = 32
)

// Check reports what cannot be played. The error begins with the name of the flag
// of `postern dns simulate` that it is about.
func (c *Config) Check() error {
	if _, err := propagation.Resolve(c.Profile, c.Custom); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	for _, n := range []struct {
		name       string
		value, max int
	}{
		{"changes", c.Changes, maxChanges},
		{"resolvers", c.Resolvers, maxResolvers},
		{"clients", c.Clients, maxClients},
	} {
		if n.value < 1 || n.value > n.max {
			return fmt.Errorf("%s %d: want 1 to %d", n.name, n.value, n.max)
		}
	}
	for _, d := range []struct {
		name            string
		value, min, max time.Duration
	}{
		{"queries", c.Every, time.Microsecond, maxTime},
		{"duration", c.Duration, time.Millisecond, maxTime},
		{"before", max(-c.Begin, 0), 0, maxTime},
		{"wait", max(c.Begin, 0), 0, maxTime},
		{"gap", c.Gap, 0, maxTime},
	} {
		if d.value < d.min || d.value > d.max {
			return fmt.Errorf("%s: %v is not from %v to %v", d.name, d.value, d.min, d.max)
		}
	}
	most := (c.Clients + c.Resolvers - 1) / c.Resolvers
	total := float64(c.Clients) * float64(c.Changes) * (c.Duration - c.Begin).Seconds() / c.Every.Seconds()
	switch {
	case !slices.Contains([]Operation{Associate, Disassociate, Reassociate}, c.Operation):
		return fmt.Errorf("operation %q is not one of %s, %s, %s", c.Operation, Associate, Disassociate, Reassociate)
	case c.Cache.Capacity != 0:
		return errors.New("resolver-cache: names are played one by one here, so capacity means nothing")
	case c.Gap != 0 && c.Operation != Reassociate:
		return fmt.Errorf("gap %v: only operation %s has one", c.Gap, Reassociate)
	case c.Begin >= c.Duration:
		return fmt.Errorf("wait %v: clients would not have begun to ask when all ends, after %v", c.Begin, c.Duration)
	case most > maxTogether:
		return fmt.Errorf("clients %d: %d would share a resolver, more than %d; want more resolvers", c.Clients, most, maxTogether)
	case c.Every/time.Duration(most) < time.Microsecond:
		return fmt.Errorf("queries: the %d clients of a resolver would ask more often than once a microsecond", most)
	case total > maxQueries:
		return fmt.Errorf("queries: there would be %.0e of them, more than %.0e", total, float64(maxQueries))
	}
	return cmp.Or(c.checkMix(), c.checkFaults())
}

func (c *Config) checkMix() error {
	if len(c.Mix) > maxShares {
		return fmt.Errorf("client-cache: %d kinds, more than %d", len(c.Mix), maxShares)
	}
	for _, s := range c.Mix {
		if s.Weight < 1 || s.Weight > maxWeight {
			return fmt.Errorf("client-cache %s: weight %d: want 1 to %d", s.Cache.Name, s.Weight, maxWeight)
		}
	}
	return nil
}

func (c *Config) checkFaults() error {
	if len(c.Deployments) > maxDeployment {
		return fmt.Errorf("deploy: %d deployments, more than %d", len(c.Deployments), maxDeployment)
	}
	for _, d := range c.Deployments {
		if d < 0 || d > maxTime {
			return fmt.Errorf("deploy %v: want 0 to %v after the change", d, maxTime)
		}
	}
	if len(c.Faults) > maxFaults {
		return fmt.Errorf("fault: %d faults, more than %d", len(c.Faults), maxFaults)
	}
	for _, f := range c.Faults {
		if err := f.check(); err != nil {
			return fmt.Errorf("fault: %w", err)
		}
	}
	return nil
}

func (f Fault) check() error {
	if err := propagation.CheckFault(f.DnsFault); err != nil {
		return err
	}
	if !propagation.OfNames(f.DnsFault) {
		return fmt.Errorf("%s is about interfaces of endpoints, which are not simulated", f.GetKind())
	}
	if f.GetName() != "" || f.GetZone() != "" {
		return fmt.Errorf("%s is for all names here", f.GetKind())
	}
	if f.For < 0 || f.For > maxTime || f.From < -maxTime || f.From > maxTime {
		return fmt.Errorf("%s from %v for %v: want times within %v", f.GetKind(), f.From, f.For, maxTime)
	}
	return nil
}
