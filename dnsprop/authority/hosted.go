package authority

import (
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/message"
	"github.com/posternhq/postern/dnsprop/zone"
)

// maxLinks bounds how far CNAMEs are followed: users can make them point in a circle.
const maxLinks = 8

// soa adds the SOA record that a user gave the zone, by which absence is kept.
func (a *Authority) soa(answer *Answer, at int64) {
	if soa, ok := answer.Zone.SOA(a.cfg.Number, at); ok && len(soa.Data) == 1 {
		answer.SOA = soa.Data[0].(*dns.SOA)
		// RFC 2308, 5; the profile's is how long a name that is yet to come is missed.
		answer.NegativeTTL = min(answer.NegativeTTL, soa.TTL, time.Duration(answer.SOA.Minttl)*time.Second)
	}
}

// chain answers a query, and follows CNAMEs while they stay in the zone. It tells
// visit, if there is one, of the answer for each name.
func (a *Authority) chain(set *zone.Set, q message.Query, at int64, shuffle func(int, func(i, j int)), visit func(string, *Answer)) message.Reply {
	answer, ok := a.Ask(set, q.Key, q.Type, at)
	if !ok {
		return message.Reply{Rcode: dns.RcodeRefused, Errors: []message.ExtendedError{{Code: dns.ExtendedErrorCodeNotAuthoritative}}}
	}
	reply := message.Reply{Authoritative: true}
	for link := 0; ; link++ {
		if visit != nil {
			visit(q.Key, &answer)
		}
		facts := answer.Facts(set.Clock.TTL(answer.TTL), set.Clock.TTL(answer.NegativeTTL))
		if answer.Cut != "" {
			// A referral (RFC 1034, 4.3.2, 3b); after a CNAME it is the client's to go on.
			reply.Authority, reply.Authoritative = facts.Records(answer.Cut), link > 0
			return reply
		}
		if answer.Follow == "" {
			last := facts.Reply(q, shuffle)
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
