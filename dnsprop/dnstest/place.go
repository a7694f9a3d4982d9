package dnstest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/message"
	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/rdata"
)

// Place is somebody who answers queries: one of these, a resolver that has a
// name, or that of a VPC and availability zone, as VPC.Place gives it.
type Place string

// The authorities and the public resolver.
const (
	NS1    Place = "ns1"
	NS2    Place = "ns2"
	NS3    Place = "ns3"
	NS4    Place = "ns4"
	Public Place = "public"
)

// Authorities are the four name servers.
func Authorities() []Place { return []Place{NS1, NS2, NS3, NS4} }

// authority is the number of an authority, from 0 on.
func (p Place) authority() (int, bool) {
	i := slices.Index(Authorities(), p)
	return i, i >= 0
}

// Answer is what a place says to a question.
type Answer struct {
	// Rcode is NOERROR, NXDOMAIN and so on; empty: it keeps silent.
	Rcode   string
	Records []Record
	// NegativeTTL is how long it may be kept that there is no such name or
	// record (RFC 2308, 5).
	NegativeTTL time.Duration
}

// Record is one of an answer, with the rest of its TTL.
type Record struct {
	Name string // as it was asked for, or that which an alias leads to
	TTL  time.Duration
	Type string
	Data string // in zone-file notation
}

// Addresses are those of the answer, in its order.
func (a Answer) Addresses() []netip.Addr {
	var out []netip.Addr
	for _, r := range a.Records {
		if ip, err := netip.ParseAddr(r.Data); err == nil && (r.Type == "A" || r.Type == "AAAA") {
			out = append(out, ip)
		}
	}
	return out
}

// String is the answer in short: "60 A 10.0.0.1", the rest of the TTL before the
// type as in a zone file, several records sorted and with commas between them;
// "NXDOMAIN 900", "NODATA 900" with the seconds that absence may be kept; another
// rcode, before records if there are some; or "silence".
func (a Answer) String() string {
	var records []string
	for _, r := range a.Records {
		records = append(records, fmt.Sprintf("%d %s %s", r.TTL/time.Second, r.Type, r.Data))
	}
	slices.Sort(records)
	text := strings.Join(records, ", ")
	switch {
	case a.Rcode == "":
		return "silence"
	case a.Rcode == "NOERROR" && text == "":
		return fmt.Sprintf("NODATA %d", a.NegativeTTL/time.Second)
	case a.Rcode == "NOERROR":
		return text
	case a.Rcode == "NXDOMAIN" && text == "":
		return fmt.Sprintf("NXDOMAIN %d", a.NegativeTTL/time.Second)
	}
	return strings.TrimSpace(a.Rcode + " " + text)
}

// Query asks a place for the records of a type, "A" or another, that a name has.
func (l *Lab) Query(at Place, name, rtype string) Answer {
	a, err := l.query(at, name, rtype)
	l.must(err)
	return a
}

func (l *Lab) query(at Place, name, rtype string) (Answer, error) {
	number, ok := dns.StringToType[rtype]
	if !ok {
		return Answer{}, fmt.Errorf("query for %s: record type %q is none", name, rtype)
	}
	owner, err := rdata.Owner(name)
	if err != nil {
		return Answer{}, fmt.Errorf("query for %q: %w", name, err)
	}
	packet, err := new(dns.Msg).SetQuestion(owner, number).Pack()
	if err != nil {
		return Answer{}, fmt.Errorf("query for %q: %w", name, err)
	}
	response, err := l.exchange(at, packet, true)
	if err != nil || response == nil {
		return Answer{}, err
	}
	m := new(dns.Msg)
	if err := m.Unpack(response); err != nil {
		return Answer{}, fmt.Errorf("answer to the query for %q: %w", name, err)
	}
	return answerOf(m), nil
}

func answerOf(m *dns.Msg) Answer {
	a := Answer{Rcode: dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		h := rr.Header()
		a.Records = append(a.Records, Record{
			Name: h.Name, TTL: time.Duration(h.Ttl) * time.Second, Type: dns.TypeToString[h.Rrtype], Data: rdata.Text(rr),
		})
	}
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			a.NegativeTTL = time.Duration(min(soa.Hdr.Ttl, soa.Minttl)) * time.Second
		}
	}
	return a
}

// server is who answers at a place, and whom the query comes from: in a VPC that
// tells the availability zone.
type server struct {
	handler *message.Handler
	client  netip.Addr
}

func (l *Lab) server(at Place) (server, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id, client := string(at), netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for _, v := range l.vpcs {
		if a, ok := v.client(at); ok {
			id, client = v.name, a
		}
	}
	if h := l.dns.Handler(id); h != nil {
		return server{h, client}, nil
	}
	return server{}, fmt.Errorf("place %q is neither ns1 to ns%d, nor public, nor a resolver with a name, nor the VPC/ZONE of a vpc", at, propagation.Authorities)
}

// forwardTimeout bounds the wait for the server of Forward.
const forwardTimeout = 5 * time.Second

// exchange has a place answer a packet; nil if it keeps silent.
func (l *Lab) exchange(at Place, packet []byte, stream bool) ([]byte, error) {
	s, err := l.server(at)
	if err != nil {
		return nil, err
	}
	response, later := s.handler.Handle(packet, s.client, stream)
	if later != nil {
		ctx, cancel := context.WithTimeout(context.Background(), forwardTimeout)
		defer cancel()
		response = later(ctx)
	}
	return response, nil
}
