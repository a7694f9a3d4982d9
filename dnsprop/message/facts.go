package message

import (
	"net/netip"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/rdata"
)

// Facts are what a place knows about a name. TTLs are as the client shall see them.
type Facts struct {
	Apex   string // of the zone that the name is in
	Exists bool   // else NXDOMAIN
	// Addresses of an existing name, or records of another type, without owners
	// and TTLs; none is NODATA.
	Addresses []netip.Addr
	Data      []dns.RR
	TTL       uint32
	// Others: the name has records, of whatever type.
	Others bool
	// What the SOA record shows. A negative answer may be kept for the smaller
	// of its TTL and its minimum (RFC 2308, 5).
	Serial          uint32
	SOATTL, Minimum uint32
	// Hosted is the SOA record of a user's zone, whose contents stand but for the
	// serial. The NS records of such a zone are in Data when they are asked for.
	Hosted *dns.SOA
}

// Reply says the facts about q's name as an answer to q. The addresses come in
// the order that shuffle, rand.Shuffle's equal, gives them.
func (f Facts) Reply(q Query, shuffle func(n int, swap func(i, j int))) Reply {
	if !f.Exists {
		return Reply{Rcode: dns.RcodeNameError, Authority: []dns.RR{f.SOA(f.Apex)}}
	}
	apex := q.Key == f.Apex && f.Hosted == nil
	switch {
	case q.Type == dns.TypeA && len(f.Addresses) > 0, len(f.Data) > 0 && f.Data[0].Header().Rrtype == q.Type:
		rrs := f.Records(q.Name)
		shuffle(len(rrs), func(i, j int) { rrs[i], rrs[j] = rrs[j], rrs[i] })
		return Reply{Answer: rrs}
	case q.Type == dns.TypeSOA && apex:
		return Reply{Answer: []dns.RR{f.SOA(q.Name)}}
	case q.Type == dns.TypeNS && apex:
		return Reply{Answer: f.NS(q.Name)}
	case q.Type == dns.TypeANY && (apex || f.Others || len(f.Addresses) > 0):
		// RFC 8482: one small record instead of all that a spoofed source would get.
		return Reply{Answer: []dns.RR{&dns.HINFO{
			Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeHINFO, Class: dns.ClassINET, Ttl: f.TTL},
			Cpu: "RFC8482",
		}}}
	}
	return Reply{Authority: []dns.RR{f.SOA(f.Apex)}}
}

// Records is the addresses or Data as records, in their order.
func (f Facts) Records(owner string) []dns.RR {
	if len(f.Data) == 0 {
		return f.A(owner)
	}
	rrs := make([]dns.RR, len(f.Data))
	for i, rr := range f.Data {
		rrs[i] = dns.Copy(rr)
		rrs[i].Header().Name, rrs[i].Header().Ttl = owner, f.TTL
		if soa, is := rrs[i].(*dns.SOA); is {
			soa.Serial = f.Serial
		}
	}
	return rrs
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
	if f.Hosted != nil {
		soa := *f.Hosted
		soa.Hdr.Name, soa.Hdr.Ttl, soa.Serial = owner, f.SOATTL, f.Serial
		return &soa
	}
	soa := ownSOA
	soa.Hdr = dns.RR_Header{Name: owner, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: f.SOATTL}
	soa.Serial, soa.Minttl = f.Serial, f.Minimum
	return &soa
}

// ownSOA is what the SOA records of Postern's own zones have in common.
var ownSOA = dns.SOA{Ns: rdata.NameServer(0), Mbox: rdata.Hostmaster, Refresh: 7200, Retry: 900, Expire: 1209600}

// NS names the four authorities.
func (f Facts) NS(owner string) []dns.RR {
	rrs := make([]dns.RR, rdata.NameServers)
	for i := range rrs {
		rrs[i] = &dns.NS{
			Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: f.SOATTL},
			Ns:  rdata.NameServer(i),
		}
	}
	return rrs
}
