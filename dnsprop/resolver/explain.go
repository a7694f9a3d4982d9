package resolver

import (
	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/message"
	"github.com/posternhq/postern/dnsprop/zone"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
)

// AvailabilityZones names the caches, in order; one without a name outside VPCs.
func (r *Resolver) AvailabilityZones() []string { return r.rules.Load().zones }

// Inquiry is a question to the caches of an availability zone at an instant of a
// Set, that leaves no trace in them.
type Inquiry struct {
	AZ  string
	Set *zone.Set
	At  int64
	// First is the authority that is asked first, for all names of the chain.
	First int
	// Visit is told what each name of the chain is answered from; nil: nobody is.
	Visit func(*dnsv1.Link)
}

// Inquired is what came of an Inquiry.
type Inquired struct {
	message.Reply
	// Asked: authorities had a say.
	Asked bool
	// Next is the first instant after that of the Inquiry at which something of the
	// caches and the VPC's rules that had a say changes by itself; zone.Never if
	// nothing does. What authorities do by themselves comes on top.
	Next int64
}

// Explain answers a question as Respond does, with addresses in the order of the set.
func (r *Resolver) Explain(q message.Query, i Inquiry) Inquired {
	rules := r.rules.Load()
	out := Inquired{Next: zone.Never}
	if !rules.vpc.DNSSupport {
		out.Reply = message.Reply{Rcode: dns.RcodeRefused}
		i.tell(&dnsv1.Link{Name: q.Key, Source: dnsv1.Source_SOURCE_OFF})
		return out
	}
	caches := rules.in(i.AZ)
	if caches.public == nil {
		caches = rules.caches[0] // the subnets have moved
	}
	out.Reply = chain(q, func(q message.Query) (message.Reply, string) {
		if rules.vpc.DNSHostnames {
			for _, p := range rules.vpc.Zones {
				out.until(p.From, i.At)
			}
		}
		p := private(rules, q.Key, i.At)
		switch {
		case p == nil:
			return r.consider(caches.public, "", q, i, &out)
		case p.Hosted == "":
			i.tell(&dnsv1.Link{Name: q.Key, Source: dnsv1.Source_SOURCE_ENDPOINT, Zone: p.Name, Private: true})
			return p.facts(i.Set).Reply(q, asRecorded), ""
		}
		return r.consider(caches.hosted[p.Hosted], p.Hosted, q, i, &out)
	})
	return out
}

func asRecorded(int, func(i, j int)) {}

func (i *Inquiry) tell(link *dnsv1.Link) {
	if i.Visit != nil {
		i.Visit(link)
	}
}

func (out *Inquired) until(instant, at int64) {
	if instant > at {
		out.Next = min(out.Next, instant)
	}
}

// consider is resolve without what a query leaves behind.
func (r *Resolver) consider(c *cache, private string, q message.Query, i Inquiry, out *Inquired) (message.Reply, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	link := &dnsv1.Link{Name: q.Key, Source: dnsv1.Source_SOURCE_CACHE}
	defer i.tell(link)
	e, stale, owner := c.peek(q.Key, q.Type, i.At, out)
	if e == nil {
		out.Asked = true
		if private == "" && !i.Set.Served(q.Key, i.At) {
			link.Source = dnsv1.Source_SOURCE_FOREIGN
			return message.Reply{Rcode: dns.RcodeRefused, Foreign: true}, ""
		}
		link.Source = dnsv1.Source_SOURCE_AUTHORITY
		if el := c.names[q.Key]; el != nil {
			if f := el.Value.(*cached).failure; f.Holds(i.At) {
				out.until(f.until, i.At)
				link.Source, link.FailedUntil = dnsv1.Source_SOURCE_FAILURE, f.until
			}
		}
		if link.Source == dnsv1.Source_SOURCE_AUTHORITY {
			if e, _ = r.fetch(i.First, i.Set, private, q, i.At); e == nil {
				link.Source = dnsv1.Source_SOURCE_NONE
			}
			if i.Visit != nil {
				for a := range r.cfg.Authorities {
					link.Faults = append(link.Faults, i.Set.FaultsOf(q.Key, a, i.At)...)
				}
			}
		}
		if e == nil && stale != nil {
			link.Source = dnsv1.Source_SOURCE_STALE
		}
		if e == nil && stale == nil {
			return message.Reply{Rcode: dns.RcodeServerFailure}, ""
		}
	}
	if i.Visit != nil {
		said := e
		if said == nil {
			said = stale
		}
		if said.Describe(link, said.From, said.Type, said.At); link.Source != dnsv1.Source_SOURCE_AUTHORITY {
			link.Cached = said.describe(owner)
		}
	}
	return say(i.Set, q, i.At, e, stale, asRecorded)
}

// describe is the entry of a name as a cache holds it.
func (e *entry) describe(owner string) *dnsv1.Cached {
	return &dnsv1.Cached{
		Name: owner, Type: dns.Type(e.Type).String(), Negative: e.RRset.Empty(),
		PlantedBy: e.By.String(), PlantedAt: e.At, ExpiresAt: e.Expires, KeepUntil: e.Keep,
	}
}

// peek is lookup that leaves the cache as it is. It tells out of every instant at
// which it would find something else, and returns the name that the entry is of.
// c.mu is held.
func (c *cache) peek(name string, qtype uint16, at int64, out *Inquired) (live, stale *entry, owner string) {
	for up, ok := name, true; ok; up, ok = zone.Parent(up) {
		el := c.names[up]
		if el == nil {
			continue
		}
		k := el.Value.(*cached)
		for e := range k.entries() {
			out.until(e.Expires, at)
			out.until(e.Keep, at)
		}
		e := k.answer(qtype, len(up) == len(name), at)
		if e == nil {
			continue
		}
		if e.Live(at) {
			return e, nil, up
		}
		if stale == nil {
			stale, owner = e, up
		}
	}
	return nil, stale, owner
}
