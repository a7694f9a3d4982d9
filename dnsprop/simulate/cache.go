package simulate

import (
	"time"

	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/resolver"
)

// cache is all that one resolver remembers of one name: the rules of
// dnsprop/resolver on a value of a few words.
type cache struct {
	said    *said // nil: nothing
	span    resolver.Span
	failure resolver.Failure
}

// reply is what a resolver tells a client.
type reply struct {
	said  *said         // nil: SERVFAIL
	ttl   time.Duration // whole seconds: for how long a client may keep it
	asked int           // how many authorities
	first int           // which one first, if any
}

// respond answers a query as resolver.Resolver does.
func (c *cache) respond(o *resolver.Options, t *timeline, at int64, pick *picker) reply {
	if c.failure.Forgotten(at) {
		c.failure = resolver.Failure{}
	}
	if c.said != nil && c.span.Keep <= at {
		c.said = nil
	}
	said, span := c.said, c.span
	var r reply
	end := span.Expires
	switch live := said != nil && span.Live(at); {
	case !live:
		fresh, span := c.ask(o, t, at, said != nil, pick, &r)
		if fresh == nil && said == nil {
			return r
		}
		if end = at + int64(resolver.StaleTTL); fresh != nil {
			said, end = fresh, span.Expires
		}
	case o.Prefetch && span.Old(at):
		c.ask(o, t, at, false, pick, &r)
	}
	r.said = said
	r.ttl = seconds(time.Duration(end - at))
	if !said.exists {
		r.ttl = min(r.ttl, seconds(said.negative))
	}
	return r
}

// ask has the authorities answer, from one chosen at random on, and remembers
// what the first that can said, or that none did: then it returns nil.
func (c *cache) ask(o *resolver.Options, t *timeline, at int64, spare bool, pick *picker, r *reply) (*said, resolver.Span) {
	if c.failure.Holds(at) {
		return nil, resolver.Span{}
	}
	r.first = pick.authority()
	for i := range propagation.Authorities {
		r.asked++
		s := t.at((r.first+i)%propagation.Authorities, at)
		if !s.answers {
			continue
		}
		span := o.Span(at, s.exists, s.keep())
		*c = cache{span: span}
		if span.Live(at) {
			c.said = s
		}
		return s, span
	}
	c.failure = c.failure.Again(at, spare)
	return nil, resolver.Span{}
}

// keep is the TTL that a resolver goes by.
func (s *said) keep() time.Duration {
	if s.exists {
		return s.ttl
	}
	return s.negative
}

// seconds rounds down, as TTLs do, and not below 0.
func seconds(d time.Duration) time.Duration { return max(d, 0).Truncate(time.Second) }

// picker chooses authorities: the generator splitmix64.
type picker struct{ state uint64 }

func (p *picker) authority() int {
	p.state += 0x9e3779b97f4a7c15
	return int(mix(p.state) % propagation.Authorities)
}

// mix is the finalizer of splitmix64: a permutation whose outputs look random.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// seedOf is that of a stream of draws.
func seedOf(parts ...uint64) uint64 {
	h := uint64(0)
	for _, p := range parts {
		h = mix(h + 0x9e3779b97f4a7c15 + p)
	}
	return h
}
