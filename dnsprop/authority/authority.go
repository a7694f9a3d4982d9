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
	// TTL of the records, and of their absence.
	TTL, NegativeTTL time.Duration
	// SOA is the record that the user of a hosted zone gave it; nil in Postern's own.
	SOA *dns.SOA
}

// Ask answers for a canonical name; false if the name is in no zone here. The
// resolvers of the same process call it in place of a query over the network:
// it is the lookup behind Respond.
func (a *Authority) Ask(set *zone.Set, name string, rtype uint16, at int64) (Answer, bool) {
	z := set.Serving(name, a.cfg.Number, at)
	if z == nil {
		return Answer{}, false
	}
	return a.AskIn(set, z, name, rtype, at), true
}

// Zone is the zone that the authority answers from for a canonical name: a
// private one by its id, the public one if that is empty; nil if it has none.
func (a *Authority) Zone(set *zone.Set, private, name string, at int64) *zone.Zone {
	if private == "" {
		return set.Serving(name, a.cfg.Number, at)
	}
	if z := set.Private(private); z != nil && z.Present(a.cfg.Number, at) {
		return z
	}
	return nil
}

// AskIn is Ask in a zone that is there, which may be a private one: those
// answer to the resolvers of their VPCs only.
func (a *Authority) AskIn(set *zone.Set, z *zone.Zone, name string, rtype uint16, at int64) Answer {
	answer := Answer{
		Answer:      set.Lookup(z, name, rtype, a.cfg.Number, at),
		Zone:        z,
		Serial:      z.Serial(a.cfg.Number, at),
		NegativeTTL: set.NegativeTTL,
	}
	if z.Hosted() {
		a.soa(&answer, at)
	}
	answer.TTL = set.TTL(z, answer.RRset)
	return answer
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
	return a.respond(set, q, set.At(a.cfg.Now()), a.cfg.Shuffle, nil)
}

func (a *Authority) respond(set *zone.Set, q message.Query, at int64, shuffle func(int, func(i, j int)), visit func(string, *Answer)) message.Reply {
	switch a.Condition(set, q.Key, at) {
	case zone.Down:
		return message.Reply{Silent: true}
	case zone.Failing:
		return message.Reply{Rcode: dns.RcodeServerFailure}
	}
	return a.chain(set, q, at, shuffle, visit)
}

// RespondPlain implements message.PlainResponder: what Respond says of a name in
// Postern's own zones, while no fault is in force.
func (a *Authority) RespondPlain(key []byte, _ uint16, _ netip.Addr) (message.Plain, bool) {
	set := a.cfg.Zones()
	if len(set.Faults) > 0 {
		return message.Plain{}, false // for Respond, which knows whom they befall
	}
	at := set.At(a.cfg.Now())
	z, found := set.LookupOwn(key, a.cfg.Number, at)
	if z == nil {
		return message.Plain{}, false
	}
	answer := Answer{Answer: found, Zone: z, Serial: z.Serial(a.cfg.Number, at)}
	return message.Plain{
		Facts:         answer.Facts(set.Clock.TTL(set.TTL(z, found.RRset)), set.Clock.TTL(set.NegativeTTL)),
		Authoritative: true,
		Shuffle:       a.cfg.Shuffle,
	}, true
}
