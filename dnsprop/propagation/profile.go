package propagation

import (
	"fmt"
	"time"
)

// Authorities is the number of public name servers; each shows a change at an
// instant of its own. Valid server numbers are 0 <= authority < Authorities.
const Authorities = 4

// cut is the quantile at which every draw ends, so that each change has a
// last instant that can be stated.
const cut = 0.999

// Profile is a delay model. Its numbers are Postern's own: AWS publishes none
// but "within 60 s" for the name servers and "a few minutes" for the whole.
type Profile struct {
	// Name is what settings and change records call it.
	Name string
	// Enqueue is stage S1, from the commit to the DNS worker: once a change.
	Enqueue Distribution
	// Sync is stage S2, from the worker to one name server: independent for each.
	Sync Distribution
	// Lost is the probability that an attempt never takes effect anywhere.
	Lost float64
	// PositiveTTL and NegativeTTL are how long a resolver may keep a record
	// and the knowledge that there is none; 0 turns its cache off.
	PositiveTTL, NegativeTTL time.Duration
	// Endpoint is how long an endpoint shows "pending" after its creation, and
	// "deleting" after its deletion: by a hash of its id.
	Endpoint Distribution
	// Reorder and Lag are faults that come with the profile: every change is
	// reordered, and one authority, which the seed picks, is late by Lag.
	Reorder bool
	Lag     time.Duration
	// Resolver is what the default resolvers keep, unless they are told otherwise:
	// options for resolver.ParseOptions.
	Resolver string
}

var profiles = []Profile{
	{
		Name:     "instant",
		Enqueue:  Fixed(0),
		Sync:     Fixed(0),
		Endpoint: Fixed(0),
	},
	{
		Name:        "fast",
		Enqueue:     Lognormal{200 * time.Millisecond, 0.3},
		Sync:        Lognormal{500 * time.Millisecond, 0.3},
		PositiveTTL: 60 * time.Second,
		NegativeTTL: 5 * time.Second,
		Endpoint:    Fixed(time.Second),
	},
	{
		Name:        "aws",
		Enqueue:     Lognormal{20 * time.Second, 0.6},
		Sync:        Lognormal{25 * time.Second, 0.5},
		PositiveTTL: 60 * time.Second,
		NegativeTTL: 900 * time.Second,
		Endpoint:    Fixed(60 * time.Second),
	},
	{
		Name:        "hostile",
		Enqueue:     Lognormal{40 * time.Second, 0.9},
		Sync:        Lognormal{40 * time.Second, 0.8},
		Lost:        0.05,
		PositiveTTL: 60 * time.Second,
		NegativeTTL: 900 * time.Second,
		Endpoint:    Uniform{60 * time.Second, 180 * time.Second},
		Reorder:     true,
		Lag:         2 * time.Minute,
	},
}

// Lookup finds a profile by its name.
func Lookup(name string) (Profile, error) {
	for _, p := range profiles {
		if p.Name == name {
			return p, nil
		}
	}
	return Profile{}, fmt.Errorf("dns profile %q is not one of instant, fast, aws, hostile", name)
}

// Delay is how long after its commit an attempt of a change takes to show at a
// name server. Only the first attempt waits for the DNS worker: a later one is
// the re-drive by a new deployment, which starts behind that queue.
func (p Profile) Delay(seed uint64, change string, attempt, authority int) time.Duration {
	d := p.Sync.Quantile(uniform(seed, change, attempt, stageSync, authority))
	if attempt == 0 {
		d += p.Enqueue.Quantile(uniform(seed, change, attempt, stageEnqueue, 0))
	}
	return d
}

// MaxDelay bounds Delay over all changes, attempts and name servers. The lag of
// a fault, also of the profile's own, comes on top.
func (p Profile) MaxDelay() time.Duration { return p.Enqueue.Max() + p.Sync.Max() }

// IsLost reports whether an attempt never takes effect.
func (p Profile) IsLost(seed uint64, change string, attempt int) bool {
	return p.Lost > 0 && uniform(seed, change, attempt, stageLost, 0) < p.Lost
}

// Pending is how long a new VPC endpoint shows the state "pending".
func (p Profile) Pending(seed uint64, endpoint string) time.Duration {
	return p.settle(seed, endpoint, stagePending)
}

// Deleting is how long a deleted VPC endpoint still shows, as "deleting".
func (p Profile) Deleting(seed uint64, endpoint string) time.Duration {
	return p.settle(seed, endpoint, stageDeleting)
}

func (p Profile) settle(seed uint64, endpoint string, s stage) time.Duration {
	return p.Endpoint.Quantile(uniform(seed, endpoint, 0, s, 0))
}

// laggard is the authority that Lag is of.
func (p Profile) laggard(seed uint64) int {
	return int(uniform(seed, "", 0, stageLag, 0) * Authorities)
}

// A stage separates the draws of one attempt from each other. The numbers are
// part of every schedule ever recorded and never change.
type stage uint64

const (
	stageEnqueue  stage = 1
	stageSync     stage = 2
	stageLost     stage = 3
	stagePending  stage = 4
	stageDeleting stage = 5
	stageLag      stage = 6
)

// uniform hashes a draw's coordinates to a number in (0, 1): FNV-1a over all of
// them, then the finalizer of MurmurHash3, because FNV alone leaves the high
// bits of short inputs alike.
func uniform(seed uint64, id string, attempt int, s stage, authority int) float64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	word := func(v uint64) {
		for range 8 {
			h = (h ^ (v & 0xff)) * prime
			v >>= 8
		}
	}
	word(seed)
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * prime
	}
	word(uint64(len(id)))
	word(uint64(attempt))
	word(uint64(s))
	word(uint64(authority))

	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return (float64(h>>11) + 0.5) / (1 << 53)
}
