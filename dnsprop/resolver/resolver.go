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
	// Cache says what is kept, and for how long.
	Cache Options
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

// PrivateZone answers once the DNS clock has reached From. That of an endpoint
// holds the apex and the wildcard below it, both with these addresses.
type PrivateZone struct {
	Name      string // canonical
	Addresses []netip.Addr
	TTL       time.Duration
	From      int64
	// Hosted is the id of a user's zone, whose content is in the Set; then
	// there are no addresses.
	Hosted string
}

// Resolver is the resolver of one VPC, or the public one.
type Resolver struct {
	cfg     Config // but for Cache, which is in options
	options atomic.Pointer[Options]
	rules   atomic.Pointer[rules]
}

// rules is a VPC with the caches of its zones, the first AZ's first.
type rules struct {
	vpc    VPC
	zones  []string
	caches []caches
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
	r := &Resolver{cfg: cfg}
	r.Keep(cfg.Cache)
	r.Install(vpc)
	return r
}

// Keep changes what the caches keep. Answers that are there keep their time, but
// for those that a smaller capacity has no room for. Only one Keep or Install at
// a time.
func (r *Resolver) Keep(o Options) {
	if o.Capacity == 0 {
		o.Capacity = DefaultCapacity
	}
	r.options.Store(&o)
	if rules := r.rules.Load(); rules != nil {
		for c := range rules.all() {
			c.resize(o.Capacity)
		}
	}
}

// Install changes the VPC's rules at once, while the caches of its
// availability zones stay. Only one Install or Keep at a time.
func (r *Resolver) Install(vpc VPC) {
	next := &rules{vpc: vpc, zones: availabilityZones(vpc)}
	for _, az := range next.zones {
		next.caches = append(next.caches, r.rules.Load().in(az).with(vpc.Zones, r.options.Load().Capacity))
	}
	r.rules.Store(next)
}

// Respond implements message.Responder.
func (r *Resolver) Respond(q message.Query) message.Reply {
	rules := r.rules.Load()
	if !rules.vpc.DNSSupport {
		return message.Reply{Rcode: dns.RcodeRefused, Errors: because(dns.ExtendedErrorCodeProhibited, "no DNS support in this VPC")}
	}
	reply := chain(q, func(q message.Query) (message.Reply, string) { return r.step(rules, q) })
	reply.Recursion = true
	return reply
}

// chain answers a question by its links, each of which says where it goes on.
func chain(q message.Query, step func(message.Query) (reply message.Reply, follow string)) message.Reply {
	reply, follow := step(q)
	for range maxLinks {
		if follow == "" {
			break
		}
		next := q
		next.Name, next.Key = follow, follow
		last, to := step(next)
		if last.Rcode != dns.RcodeServerFailure { // half a chain is no answer
			last.Answer = append(reply.Answer, last.Answer...)
		}
		if len(last.Errors) == 0 {
			last.Errors = reply.Errors
		}
		if last.Foreign {
			last.Next = follow
		}
		reply, follow = last, to
	}
	if follow != "" {
		reply = message.Reply{Rcode: dns.RcodeServerFailure, Errors: because(dns.ExtendedErrorCodeOther, "too many CNAME records")}
	}
	return reply
}

// maxLinks bounds the CNAMEs of an answer.
const maxLinks = 8

func because(code uint16, text string) []message.ExtendedError {
	return []message.ExtendedError{{Code: code, Text: text}}
}

// RespondPlain implements message.PlainResponder: what Respond says of what a
// cache or an endpoint's private zone holds.
func (r *Resolver) RespondPlain(key []byte, qtype uint16, source netip.Addr) (message.Plain, bool) {
	rules := r.rules.Load()
	if !rules.vpc.DNSSupport {
		return message.Plain{}, false
	}
	plain := message.Plain{Recursion: true, Shuffle: r.cfg.Shuffle}
	caches := rules.cachesFor(source)
	cache := caches.public
	// Unlike in resolve, the instant may be from before the lock: an entry that is
	// there answers as of it, and nothing is left behind. So several processors
	// seldom wait for each other.
	set := r.cfg.Zones()
	at := set.At(r.cfg.Now())
	if p := private(rules, key, at); p != nil {
		if p.Hosted == "" {
			plain.Facts = p.facts(set)
			return plain, true
		}
		cache = caches.hosted[p.Hosted]
	}
	e := cache.recall(key, qtype, at, r.options.Load().Prefetch)
	if e == nil {
		return message.Plain{}, false
	}
	plain.Facts = e.facts(set, e.Expires-at)
	return plain, true
}

// recall is the live entry that a cache has for a question, if giving it is all
// there is to do; else nil.
func (c *cache) recall(key []byte, qtype uint16, at int64, prefetch bool) *entry {
	c.mu.Lock()
	e, _ := lookup(c, key, qtype, at)
	if e != nil && (e.Follow != "" || e.Cut != "" || prefetch && e.Old(at)) {
		e = nil
	}
	if e != nil {
		c.lookups.Hits++
	}
	c.mu.Unlock()
	return e
}

// facts are the entry's for a message while it has some time left.
func (e *entry) facts(set *zone.Set, left int64) message.Facts {
	remaining := set.Clock.TTL(time.Duration(max(left, 0)))
	facts := e.Facts(remaining, remaining)
	facts.Minimum = set.Clock.TTL(e.NegativeTTL)
	return facts
}

// step answers one link of a chain of CNAMEs, and says where it goes on.
func (r *Resolver) step(rules *rules, q message.Query) (reply message.Reply, follow string) {
	set := r.cfg.Zones()
	at := set.At(r.cfg.Now())
	caches := rules.cachesFor(q.Source)
	p := private(rules, q.Key, at)
	switch {
	case p == nil:
		return r.resolve(caches.public, "", q)
	case p.Hosted == "":
		return p.facts(set).Reply(q, r.cfg.Shuffle), ""
	}
	return r.resolve(caches.hosted[p.Hosted], p.Hosted, q)
}

// resolve answers from a cache, or asks an authority and remembers. A name in
// no zone is foreign. The cache is that of public names, or of a private zone.
func (r *Resolver) resolve(c *cache, private string, q message.Query) (reply message.Reply, follow string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Taken under the lock: whoever looks for stale entries at a later instant
	// finds what this query leaves behind.
	set := r.cfg.Zones()
	at := set.At(r.cfg.Now())
	e, stale := lookup(c, q.Key, q.Type, at)
	if e == nil {
		if private == "" && !set.Served(q.Key, at) {
			return message.Reply{Rcode: dns.RcodeRefused, Foreign: true}, ""
		}
		c.lookups.count(c.failing(q.Key, at), stale != nil)
		var why []message.ExtendedError
		if e, why = r.ask(c, set, private, q, at, stale != nil); e == nil && stale == nil {
			return message.Reply{Rcode: dns.RcodeServerFailure, Errors: why}, ""
		}
	} else {
		c.lookups.Hits++
	}
	if e != nil && e.Old(at) && r.options.Load().Prefetch {
		r.ask(c, set, private, q, at, false)
	}
	return say(set, q, at, e, stale, r.cfg.Shuffle)
}

// say answers by an entry that is live or new, or else by a stale one.
func say(set *zone.Set, q message.Query, at int64, e, stale *entry, shuffle func(int, func(i, j int))) (reply message.Reply, follow string) {
	left := int64(StaleTTL)
	var staleness []message.ExtendedError
	switch {
	case e != nil:
		left = e.Expires - at
	case stale.Exists:
		e, staleness = stale, because(dns.ExtendedErrorCodeStaleAnswer, "")
	default:
		e, staleness = stale, because(dns.ExtendedErrorCodeStaleNXDOMAINAnswer, "")
	}
	if e.Cut != "" {
		// Its servers are not here.
		return message.Reply{Rcode: dns.RcodeRefused, Foreign: true}, ""
	}
	facts := e.facts(set, left)
	if e.Follow != "" {
		return message.Reply{Answer: facts.Records(q.Name), Errors: staleness}, e.Follow
	}
	reply = facts.Reply(q, shuffle)
	reply.Errors = staleness
	return reply, ""
}

// ask has an authority answer, and remembers what it said or that none did; nil
// and why if none did, now or lately. spare: there is a stale answer to give
// instead. c.mu is held.
func (r *Resolver) ask(c *cache, set *zone.Set, private string, q message.Query, at int64, spare bool) (*entry, []message.ExtendedError) {
	if c.failing(q.Key, at) {
		return nil, because(dns.ExtendedErrorCodeCachedError, "")
	}
	e, why := r.fetch(r.cfg.Pick(len(r.cfg.Authorities)), set, private, q, at)
	if e == nil {
		c.fail(q.Key, at, spare)
		return nil, why
	}
	c.store(q.Key, q.Type, e)
	return e, nil
}

// fetch is what the authorities say, beginning with one; nil and why if none does.
func (r *Resolver) fetch(first int, set *zone.Set, private string, q message.Query, at int64) (*entry, []message.ExtendedError) {
	from, z, why := r.answering(first, set, private, q.Key, at)
	if z == nil {
		return nil, why
	}
	answer := r.cfg.Authorities[from].AskIn(set, z, q.Key, q.Type, at)
	return &entry{Answer: answer, Span: r.span(answer, q, at), Type: q.Type, From: from, By: q.Source}, nil
}

// answering is the authority that answers, and the zone that it answers from. From
// the one to ask first it goes on to the next while one is down or fails, or does
// not have a zone that others have; a nil zone and why if all do. How long a server waits before it
// goes on is not modelled: it would be real time, not the DNS clock's.
func (r *Resolver) answering(first int, set *zone.Set, private, name string, at int64) (from int, z *zone.Zone, why []message.ExtendedError) {
	n := len(r.cfg.Authorities)
	from = first
	reached := false
	for range n {
		a := r.cfg.Authorities[from]
		switch a.Condition(set, name, at) {
		case zone.Answering:
			if z = a.Zone(set, private, name, at); z != nil {
				return from, z, nil
			}
			reached = true
		case zone.Failing:
			reached = true
		}
		from = (from + 1) % n
	}
	if reached {
		return 0, nil, because(dns.ExtendedErrorCodeNetworkError, "name servers fail")
	}
	return 0, nil, because(dns.ExtendedErrorCodeNoReachableAuthority, "")
}

// span is for how long an answer to q may be kept. What the apex of Postern's own
// zones has, SOA and NS records, goes by the SOA's TTL, as a negative answer does.
func (r *Resolver) span(a authority.Answer, q message.Query, at int64) Span {
	if !a.RRset.Empty() && (a.Zone.Hosted() || q.Type == dns.TypeA || q.Type == dns.TypeANY) {
		return r.options.Load().Span(at, true, a.TTL)
	}
	return r.options.Load().Span(at, false, a.NegativeTTL)
}

// Stale returns the last instant at which a cache here may still answer for
// one of a change's sets by something older than the change; 0 if none can.
func (r *Resolver) Stale(c *zone.Change, at int64) int64 {
	var last int64
	for _, caches := range r.rules.Load().caches {
		last = max(last, caches.older(c, at))
	}
	return last
}

// StaleIn is Stale for the caches of an availability zone alone.
func (r *Resolver) StaleIn(az string, c *zone.Change, at int64) int64 {
	return r.rules.Load().in(az).older(c, at)
}

// Flush forgets every answer.
func (r *Resolver) Flush() {
	for c := range r.rules.Load().all() {
		c.flush()
	}
}
