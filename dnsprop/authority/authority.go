// Package authority is a public name server: it answers for the zones as of
// its own schedule, one of the four that can differ while a change propagates.
//
// What an Authority shows is a function of the current zone.Set, its number and
// the DNS clock, so two of the same number agree. All that it keeps of its own
// is which versions it gave to secondaries, so that it can say what has changed
// since. It may be used by any number of goroutines.
//
// Sockets and limits are left to dnsprop, message forms to dnsprop/message.
package authority

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/message"
	"github.com/posternhq/postern/dnsprop/zone"
)

// Config is what an Authority needs.
type Config struct {
	// Number says which schedule it follows: 0 <= Number < propagation.Authorities.
	Number int
	// Zones returns the newest zones.
	Zones func() *zone.Set
	// Now is the wall clock; time.Now if nil.
	Now func() time.Time
	// Shuffle orders the addresses of an answer; rand.Shuffle if nil.
	Shuffle func(n int, swap func(i, j int))
	// MayTransfer says who gets whole zones; nobody if nil.
	MayTransfer func(netip.Addr) bool
}

// Authority is one public name server.
type Authority struct {
	cfg     Config
	journal *journal
}

// New returns the authority of a number.
func New(cfg Config) *Authority {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Shuffle == nil {
		cfg.Shuffle = rand.Shuffle
	}
	return &Authority{cfg: cfg, journal: newJournal()}
}

// Answer is what an authority tells who asks it, in DNS time.
type Answer struct {
	zone.Answer
	Zone   *zone.Zone
	Serial uint32
	// TTL of the records, and of their absence: SOA TTL and minimum are equal.
	TTL, NegativeTTL time.Duration
}

// Ask answers for a canonical name; false if the name is in no zone here. The
// resolvers of the same process call it in place of a query over the network:
// it is the lookup behind Respond.
func (a *Authority) Ask(set *zone.Set, name string, at int64) (Answer, bool) {
	z := set.Find(name)
	if z == nil {
		return Answer{}, false
	}
	found := z.Lookup(name, a.cfg.Number, at)
	return Answer{
		Answer:      found,
		Zone:        z,
		Serial:      z.Serial(a.cfg.Number, at),
		TTL:         min(found.RRset.TTL, set.PositiveTTL),
		NegativeTTL: set.NegativeTTL,
	}, true
}

// Condition is what the authority does with a query for a canonical name: Ask
// is for one that answers.
func (a *Authority) Condition(set *zone.Set, name string, at int64) zone.Condition {
	return set.Condition(name, a.cfg.Number, at)
}

// Respond implements message.Responder. TTLs leave in the client's own
// seconds, which a fast DNS clock makes shorter than the zone's.
func (a *Authority) Respond(q message.Query) message.Reply {
	set := a.cfg.Zones()
	at := set.At(a.cfg.Now())
	switch a.Condition(set, q.Key, at) {
	case zone.Down:
		return message.Reply{Silent: true}
	case zone.Failing:
		return message.Reply{Rcode: dns.RcodeServerFailure}
	}
	answer, ok := a.Ask(set, q.Key, at)
	if !ok {
		return message.Reply{Rcode: dns.RcodeRefused, Errors: []message.ExtendedError{{Code: dns.ExtendedErrorCodeNotAuthoritative}}}
	}
	negative := set.Clock.TTL(answer.NegativeTTL)
	reply := message.Facts{
		Apex:      answer.Zone.Apex(),
		Exists:    answer.Exists,
		Addresses: answer.RRset.Addresses,
		TTL:       set.Clock.TTL(answer.TTL),
		Serial:    answer.Serial,
		SOATTL:    negative,
		Minimum:   negative,
	}.Reply(q, a.cfg.Shuffle)
	reply.Authoritative = true
	return reply
}

// RespondPlain implements message.PlainResponder: what Respond says of the
// addresses of a name that has some here, while no fault is in force.
func (a *Authority) RespondPlain(key []byte, _ netip.Addr) (message.Plain, bool) {
	set := a.cfg.Zones()
	if len(set.Faults) > 0 {
		return message.Plain{}, false // for Respond, which knows whom they befall
	}
	rrset, ok := set.Addresses(key, a.cfg.Number, set.At(a.cfg.Now()))
	if !ok {
		return message.Plain{}, false
	}
	return message.Plain{
		Addresses:     rrset.Addresses,
		TTL:           set.Clock.TTL(min(rrset.TTL, set.PositiveTTL)),
		Authoritative: true,
		Shuffle:       a.cfg.Shuffle,
	}, true
}
