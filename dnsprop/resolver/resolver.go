package resolver

import (
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/authority"
	"github.com/posternhq/postern/dnsprop/message"
	"github.com/posternhq/postern/dnsprop/zone"
)

// defaultCapacity is how many names a cache holds unless Config says otherwise.
const defaultCapacity = 10_000

// Config is what all resolvers of a process share.
type Config struct {
	// Zones returns the newest zones, whose settings give the DNS clock.
	Zones func() *zone.Set
	// Authorities are those to ask; at least one.
	Authorities []*authority.Authority
	// Now is the wall clock; time.Now if nil.
	Now func() time.Time
	// Pick chooses the authority to ask, a number below n; rand.IntN if nil.
	Pick func(n int) int
	// Shuffle orders the addresses of an answer; rand.Shuffle if nil.
	Shuffle func(n int, swap func(i, j int))
	// Capacity is the number of names that each cache holds; 0: a default.
	Capacity int
	// Cache are the bounds of what is kept, and for how long.
	Cache Options
}

// Options are what operators of resolvers set against the TTLs of the zones.
// All are in DNS time; the zero Options keep every answer for its TTL.
type Options struct {
	// TTL and NegativeTTL bound how long answers are kept; a Max of 0 is none.
	TTL, NegativeTTL Bounds
	// ServeStale is how long after its end an answer may still be given while
	// every authority fails (RFC 8767); 0: not at all.
	ServeStale time.Duration
	// Prefetch: an answer that is asked for in the last tenth of its time is
	// asked for again, for those who come next.
	Prefetch bool
}

// Bounds are a floor and a ceiling. The ceiling wins.
type Bounds struct{ Min, Max time.Duration }

func (b Bounds) apply(d time.Duration) time.Duration {
	d = max(d, b.Min)
	if b.Max > 0 {
		d = min(d, b.Max)
	}
	return d
}

// VPC is what the resolver of a VPC goes by.
type VPC struct {
	ID string
	// DNSSupport off: the resolver refuses everything. Private zones need
	// DNSHostnames too.
	DNSSupport, DNSHostnames bool
	Subnets                  []Subnet
	Zones                    []PrivateZone
}

// Subnet says where the clients of an availability zone ask from.
type Subnet struct {
	AZ      string
	Sources netip.Prefix
}

// PrivateZone holds the apex and the wildcard below it, both with these
// addresses, once the DNS clock has reached From.
type PrivateZone struct {
	Name      string // canonical
	Addresses []netip.Addr
	TTL       time.Duration
	From      int64
}

// Resolver is the resolver of one VPC, or the public one.
type Resolver struct {
	cfg   Config
	rules atomic.Pointer[rules]
}

// rules is a VPC with the caches of its zones, the first AZ's first.
type rules struct {
	vpc    VPC
	zones  []string
	caches []*cache
}

// Public returns the resolver outside every VPC.
func Public(cfg Config) *Resolver {
	return New(cfg, VPC{DNSSupport: true})
}

// New returns the resolver of a VPC.
func New(cfg Config, vpc VPC) *Resolver {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Pick == nil {
		cfg.Pick = rand.IntN
	}
	if cfg.Shuffle == nil {
		cfg.Shuffle = rand.Shuffle
	}
	if cfg.Capacity == 0 {
		cfg.Capacity = defaultCapacity
	}
	r := &Resolver{cfg: cfg}
	r.Install(vpc)
	return r
}

// Install changes the VPC's rules at once, while the caches of its
// availability zones stay. Only one Install at a time.
func (r *Resolver) Install(vpc VPC) {
	next := &rules{vpc: vpc, zones: availabilityZones(vpc)}
	for _, az := range next.zones {
		c := r.rules.Load().cache(az)
		if c == nil {
			c = newCache(r.cfg.Capacity)
		}
		next.caches = append(next.caches, c)
	}
	r.rules.Store(next)
}

func (s *rules) cache(az string) *cache {
	if s != nil {
		for i, name := range s.zones {
			if name == az {
				return s.caches[i]
			}
		}
	}
	return nil
}

// Respond implements message.Responder.
func (r *Resolver) Respond(q message.Query) message.Reply {
	rules := r.rules.Load()
	if !rules.vpc.DNSSupport {
		return message.Reply{Rcode: dns.RcodeRefused}
	}
	set := r.cfg.Zones()
	var reply message.Reply
	if p := rules.private(q.Key, set.At(r.cfg.Now())); p != nil {
		reply = p.facts(set).Reply(q, r.cfg.Shuffle)
	} else {
		reply = r.resolve(rules.cacheFor(q.Source), q)
	}
	reply.Recursion = true
	return reply
}

// resolve answers from the cache, or asks an authority and remembers. A name
// in no zone is foreign.
func (r *Resolver) resolve(c *cache, q message.Query) message.Reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Taken under the lock: whoever looks for stale entries at a later instant
	// finds what this query leaves behind.
	set := r.cfg.Zones()
	at := set.At(r.cfg.Now())
	e, stale := c.lookup(q.Key, q.Type, at)
	if e == nil {
		if set.Find(q.Key) == nil {
			return message.Reply{Rcode: dns.RcodeRefused, Foreign: true}
		}
		if e = r.ask(c, set, q, at, stale != nil); e == nil && stale == nil {
			return message.Reply{Rcode: dns.RcodeServerFailure}
		}
	}
	if r.cfg.Cache.Prefetch && e != nil && e.old(at) {
		r.ask(c, set, q, at, false)
	}
	end := int64(0)
	if e == nil {
		e, end = stale, at+int64(staleTTL)
	} else {
		end = e.Expires
	}
	remaining := set.Clock.TTL(time.Duration(max(end-at, 0)))
	return message.Facts{
		Apex:      e.Zone.Apex(),
		Exists:    e.Exists,
		Addresses: e.RRset.Addresses,
		TTL:       remaining,
		Serial:    e.Serial,
		SOATTL:    remaining,
		Minimum:   set.Clock.TTL(e.NegativeTTL),
	}.Reply(q, r.cfg.Shuffle)
}

// ask has an authority answer, and remembers what it said or that none did; nil
// if none did, now or lately. spare: there is a stale answer to give instead.
// c.mu is held.
func (r *Resolver) ask(c *cache, set *zone.Set, q message.Query, at int64, spare bool) *entry {
	if c.failing(q.Key, at) {
		return nil
	}
	from, ok := r.answering(set, q.Key, at)
	if !ok {
		wait := minFailure
		if spare {
			wait = failureRecheck
		}
		c.fail(q.Key, at, wait)
		return nil
	}
	answer, _ := r.cfg.Authorities[from].Ask(set, q.Key, at)
	expires := at + int64(r.keep(answer, q))
	e := &entry{Answer: answer, From: from, At: at, Expires: expires, Keep: expires + int64(r.cfg.Cache.ServeStale)}
	c.store(q.Key, q.Type, e)
	return e
}

// answering picks the authority to ask, and goes on to the next while one is
// down or fails; false if all do. How long a server waits before it goes on is
// not modelled: it would be real time, not the DNS clock's.
func (r *Resolver) answering(set *zone.Set, name string, at int64) (from int, ok bool) {
	n := len(r.cfg.Authorities)
	from = r.cfg.Pick(n)
	for range n {
		if r.cfg.Authorities[from].Condition(set, name, at) == zone.Answering {
			return from, true
		}
		from = (from + 1) % n
	}
	return 0, false
}

// keep is how long an answer to q may be kept. What the apex has of its own,
// SOA and NS records, goes by the SOA's TTL, as a negative answer does.
func (r *Resolver) keep(a authority.Answer, q message.Query) time.Duration {
	if len(a.RRset.Addresses) > 0 && (q.Type == dns.TypeA || q.Type == dns.TypeANY) {
		return r.cfg.Cache.TTL.apply(a.TTL)
	}
	return r.cfg.Cache.NegativeTTL.apply(a.NegativeTTL)
}

// Stale returns the last instant at which a cache here may still answer for
// one of a change's names by something older than the change; 0 if none can.
func (r *Resolver) Stale(c *zone.Change, at int64) int64 {
	var last int64
	for _, cache := range r.rules.Load().caches {
		for i := range c.Records {
			last = max(last, cache.stale(c.Records[i].Name, zone.Version{Change: c, Ordinal: i}, at))
		}
	}
	return last
}

// Flush forgets every answer.
func (r *Resolver) Flush() {
	for _, c := range r.rules.Load().caches {
		c.flush()
	}
}
