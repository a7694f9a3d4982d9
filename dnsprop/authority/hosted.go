package authority

import (
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/message"
	"github.com/posternhq/postern/dnsprop/rdata"
	"github.com/posternhq/postern/dnsprop/zone"
)

// maxLinks bounds how far CNAMEs and aliases are followed: users can make them
// point in a circle.
const maxLinks = 8

// complete adds to what was found in a user's zone: the target of an alias and
// the zone's own SOA record.
func (a *Authority) complete(set *zone.Set, answer *Answer, rtype uint16, at int64) {
	if soa, ok := answer.Zone.SOA(a.cfg.Number, at); ok && len(soa.Data) == 1 {
		answer.SOA = soa.Data[0].(*dns.SOA)
		// RFC 2308, 5; the profile's is how long a name that is yet to come is missed.
		answer.NegativeTTL = min(answer.NegativeTTL, soa.TTL, time.Duration(answer.SOA.Minttl)*time.Second)
	}
	for answer.RRset.Alias != "" {
		target := answer.RRset.Alias
		answer.Aliases = append(answer.Aliases, target)
		answer.RRset = zone.RRset{}
		if len(answer.Aliases) > maxLinks {
			return
		}
		if rdata.Within(target, answer.Zone.Apex()) {
			// Not what a CNAME or a delegation would lead to.
			if found := answer.Zone.Lookup(target, rtype, a.cfg.Number, at); found.Follow == "" && found.Cut == "" {
				answer.RRset = found.RRset
			}
		} else if own := set.Find(target); own != nil && rtype == dns.TypeA {
			answer.RRset = own.Lookup(target, rtype, a.cfg.Number, at).RRset
			answer.RRset.TTL = min(answer.RRset.TTL, set.PositiveTTL)
		}
	}
}

// chain answers a query, and follows CNAMEs while they stay in the zone.
func (a *Authority) chain(set *zone.Set, q message.Query, at int64) message.Reply {
	answer, ok := a.Ask(set, q.Key, q.Type, at)
	if !ok {
		return message.Reply{Rcode: dns.RcodeRefused, Errors: []message.ExtendedError{{Code: dns.ExtendedErrorCodeNotAuthoritative}}}
	}
	reply := message.Reply{Authoritative: true}
	for link := 0; ; link++ {
		facts := answer.Facts(set.Clock.TTL(answer.TTL), set.Clock.TTL(answer.NegativeTTL))
		if answer.Cut != "" {
			// A referral (RFC 1034, 4.3.2, 3b); after a CNAME it is the client's to go on.
			reply.Authority, reply.Authoritative = facts.Records(answer.Cut), link > 0
			return reply
		}
		if answer.Follow == "" {
			last := facts.Reply(q, a.cfg.Shuffle)
			reply.Rcode, reply.Authority = last.Rcode, last.Authority
			reply.Answer = append(reply.Answer, last.Answer...)
			return reply
		}
		reply.Answer = append(reply.Answer, facts.Records(q.Name)...)
		q.Name, q.Key = answer.Follow, answer.Follow
		next, ok := a.Ask(set, q.Key, q.Type, at)
		if !ok || next.Zone != answer.Zone || link == maxLinks {
			return reply
		}
		answer = next
	}
}

// Facts is an answer for a message, with TTLs as the client shall see them.
func (a *Answer) Facts(ttl, negative uint32) message.Facts {
	return message.Facts{
		Apex:      a.Zone.Apex(),
		Exists:    a.Exists,
		Addresses: a.RRset.Addresses,
		Data:      a.RRset.Data,
		Others:    a.Others,
		TTL:       ttl,
		Serial:    a.Serial,
		SOATTL:    negative,
		Minimum:   negative,
		Hosted:    a.SOA,
	}
}
