package message

import (
	"fmt"
	"net/netip"

	"github.com/miekg/dns"
)

// nameServers is the suffix of the authorities' own names. They are in no zone
// here, so that no zone holds a name that nobody committed.
const nameServers = "ns%d.dns.postern.internal."

// Facts are what a place knows about a name. TTLs are as the client shall see them.
type Facts struct {
	Apex   string // of the zone that the name is in
	Exists bool   // else NXDOMAIN
	// Addresses of an existing name; none is NODATA.
	Addresses []netip.Addr
	TTL       uint32
	// What the SOA record shows. A negative answer may be kept for the smaller
	// of its TTL and its minimum (RFC 2308, 5).
	Serial          uint32
	SOATTL, Minimum uint32
}

// Reply says the facts about q's name as an answer to q. The addresses come in
// the order that shuffle, rand.Shuffle's equal, gives them.
func (f Facts) Reply(q Query, shuffle func(n int, swap func(i, j int))) Reply {
	if !f.Exists {
		return Reply{Rcode: dns.RcodeNameError, Authority: []dns.RR{f.SOA(f.Apex)}}
	}
	apex := q.Key == f.Apex
	switch {
	case q.Type == dns.TypeA && len(f.Addresses) > 0:
		rrs := f.A(q.Name)
		shuffle(len(rrs), func(i, j int) { rrs[i], rrs[j] = rrs[j], rrs[i] })
		return Reply{Answer: rrs}
	case q.Type == dns.TypeSOA && apex:
		return Reply{Answer: []dns.RR{f.SOA(q.Name)}}
	case q.Type == dns.TypeNS && apex:
		return Reply{Answer: f.NS(q.Name)}
	case q.Type == dns.TypeANY && (apex || len(f.Addresses) > 0):
		// RFC 8482: one small record instead of all that a spoofed source would get.
		return Reply{Answer: []dns.RR{&dns.HINFO{
			Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeHINFO, Class: dns.ClassINET, Ttl: f.TTL},
			Cpu: "RFC8482",
		}}}
	}
	return Reply{Authority: []dns.RR{f.SOA(f.Apex)}}
}

// A is the addresses as records, in their order.
func (f Facts) A(owner string) []dns.RR {
	rrs := make([]dns.RR, len(f.Addresses))
	for i, addr := range f.Addresses {
		rrs[i] = &dns.A{
			Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: f.TTL},
			A:   addr.AsSlice(),
		}
	}
	return rrs
}

// SOA has the timers of a Route 53 zone but for the minimum, which the profile gives.
func (f Facts) SOA(owner string) dns.RR {
	return &dns.SOA{
		Hdr:     dns.RR_Header{Name: owner, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: f.SOATTL},
		Ns:      nameServer(0),
		Mbox:    "hostmaster.dns.postern.internal.",
		Serial:  f.Serial,
		Refresh: 7200,
		Retry:   900,
		Expire:  1209600,
		Minttl:  f.Minimum,
	}
}

// NS names the four authorities.
func (f Facts) NS(owner string) []dns.RR {
	rrs := make([]dns.RR, 4)
	for i := range rrs {
		rrs[i] = &dns.NS{
			Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: f.SOATTL},
			Ns:  nameServer(i),
		}
	}
	return rrs
}

func nameServer(i int) string { return fmt.Sprintf(nameServers, i+1) }
