package dnsprop

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dnsprop/message"
	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/resolver"
	"github.com/posternhq/postern/dnsprop/zone"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
)

const (
	// maxInstants bounds how many instants to come are looked at for one answer.
	maxInstants = 1000
	// maxAsked bounds the text of a question, in bytes: a name of 255 has up to
	// four for each of its own when it is written.
	maxAsked = 1024
	// maxExplained is how many bytes of an explanation are enough: those of several
	// servers go into one message.
	maxExplained = 1 << 20
)

// Explain says what each place answers to a question at this moment, from what,
// and from when on it will answer something else. It leaves no trace: no cache
// learns or forgets anything, nor does an entry count as used.
//
// A resolver that would ask an authority has an outcome for each answer that it
// can get. It is taken to begin with the same authority for each name of a chain.
func (s *Server) Explain(q *dnsv1.Question) *dnsv1.Explanation {
	query, err := newQuery(q)
	if err != nil {
		return &dnsv1.Explanation{Refused: err.Error()}
	}
	s.mu.Lock()
	all := s.places()
	s.mu.Unlock()
	set := s.zones.Load()
	inquiry := inquiry{query: query, set: set, at: set.At(s.cfg.Now()), forward: s.cfg.Forward}
	e := &dnsv1.Explanation{Now: inquiry.at, Speed: set.Clock.Speed, Name: query.Key, Type: dns.Type(query.Type).String()}
	asked := slices.DeleteFunc(slices.Clone(all), func(p place) bool { return q.GetPlace() != "" && !p.is(q.GetPlace()) })
	if len(asked) == 0 {
		e.Refused = fmt.Sprintf("there is no place %.64q", q.GetPlace())
		for _, p := range all[:min(len(all), maxPlaces)] {
			e.Known = append(e.Known, p.id)
		}
		return e
	}
	for a := range s.authorities {
		inquiry.upcoming[a] = set.Upcoming(a, inquiry.at)
		inquiry.any = append(inquiry.any, inquiry.upcoming[a]...)
	}
	slices.Sort(inquiry.any)
	inquiry.any = slices.Compact(inquiry.any)
	size := 0
	for i, p := range asked {
		if i == maxPlaces || size > maxExplained {
			e.Omitted = uint32(len(asked) - i)
			break
		}
		e.Places = append(e.Places, inquiry.explain(p))
		size += proto.Size(e.Places[i])
	}
	return e
}

// newQuery reads a question as if it had come in a packet.
func newQuery(q *dnsv1.Question) (message.Query, error) {
	if len(q.GetName())+len(q.GetType())+len(q.GetPlace()) > maxAsked {
		return message.Query{}, fmt.Errorf("the question is longer than %d bytes", maxAsked)
	}
	var wire [256]byte
	n, err := dns.PackDomainName(dns.Fqdn(q.GetName()), wire[:], 0, nil, false)
	if err != nil || q.GetName() == "" {
		return message.Query{}, fmt.Errorf("%q is no domain name", q.GetName())
	}
	name, _, err := dns.UnpackDomainName(wire[:n], 0)
	if err != nil {
		return message.Query{}, fmt.Errorf("%q is no domain name: %w", q.GetName(), err)
	}
	qtype, known := dns.StringToType[strings.ToUpper(cmp.Or(q.GetType(), "A"))]
	switch qtype {
	case dns.TypeNone, dns.TypeOPT, dns.TypeAXFR, dns.TypeIXFR:
		known = false
	}
	if !known {
		return message.Query{}, errors.New("type " + fmt.Sprintf("%.32q", q.GetType()) + " is none to ask for: want A, AAAA, CNAME, TXT or another one of records")
	}
	key := dns.CanonicalName(name)
	return message.Query{Name: key, Key: key, Type: qtype}, nil
}

// inquiry is one question to all places at one instant.
type inquiry struct {
	query   message.Query
	set     *zone.Set
	at      int64
	forward string
	// upcoming are the instants at which authorities can change, any those of all.
	upcoming [propagation.Authorities][]int64
	any      []int64
}

// reply is an answer at an instant.
type reply struct {
	message.Reply
	next int64 // until then it stays what it is
}

// ask has a place answer at an instant, a resolver by beginning with an authority.
func (i *inquiry) ask(p *place, at int64, first int, visit func(*dnsv1.Link)) (r reply, asked bool) {
	upcoming := i.any
	if p.authority != nil {
		r, asked = reply{p.authority.Explain(i.set, i.query, at, visit), zone.Never}, true
		upcoming = i.upcoming[p.number]
	} else {
		found := p.resolver.Explain(i.query, resolver.Inquiry{AZ: p.az, Set: i.set, At: at, First: first, Visit: visit})
		r, asked = reply{found.Reply, found.Next}, found.Asked
	}
	if asked {
		n, found := slices.BinarySearch(upcoming, at)
		if found {
			n++
		}
		if n < len(upcoming) {
			r.next = min(r.next, upcoming[n])
		}
	}
	return r, asked
}

func (i *inquiry) explain(p place) *dnsv1.PlaceAnswer {
	out := &dnsv1.PlaceAnswer{Place: p.id, Kind: p.kind()}
	outcomes := map[string]*dnsv1.Outcome{}
	changesAt := int64(zone.Never)
	for first := range propagation.Authorities {
		var links []*dnsv1.Link
		r, asked := i.ask(&p, i.at, first, func(link *dnsv1.Link) {
			p.located(link)
			links = append(links, link)
		})
		key := same(r.Reply)
		outcome := outcomes[key]
		if outcome == nil {
			outcome = &dnsv1.Outcome{Result: i.result(r.Reply, p.authority == nil), Links: links}
			if outcome.Result == nil {
				links[len(links)-1].Forwarded = i.forward
			}
			outcomes[key] = outcome
			out.Outcomes = append(out.Outcomes, outcome)
		}
		at, then, looked := i.change(&p, first, r, key)
		if at < changesAt {
			changesAt, out.NotBefore, out.Then = at, !looked, nil
			if looked {
				out.Then = i.result(then.Reply, p.authority == nil)
			}
		}
		if p.authority != nil {
			break
		}
		if asked {
			outcome.Asked = append(outcome.Asked, propagation.PlaceOf(first))
		}
	}
	if changesAt != zone.Never {
		out.ChangesAt, out.ChangesAtWall = changesAt, i.wall(changesAt)
	}
	return out
}

// change is the first instant at which a place answers otherwise than now, and
// what; zone.Never if none comes. looked is false for one up to which it does not.
func (i *inquiry) change(p *place, first int, now reply, key string) (at int64, then reply, looked bool) {
	then = now
	for range maxInstants {
		if then.next == zone.Never {
			return zone.Never, then, true
		}
		at = then.next
		if then, _ = i.ask(p, at, first, nil); same(then.Reply) != key {
			return at, then, true
		}
	}
	return at, then, false
}

// wall is when the wall clock is at an instant; 0 if the DNS clock is frozen.
func (i *inquiry) wall(at int64) int64 {
	wall, ok := i.set.Clock.Wall(time.Unix(0, at))
	if !ok {
		return 0
	}
	return wall.UnixNano()
}

// located tells the clients of a link by the addresses that they have where they are.
func (p *place) located(link *dnsv1.Link) {
	if c := link.GetCached(); c != nil && p.client != nil {
		if seen, err := netip.ParseAddr(c.GetPlantedBy()); err == nil {
			c.PlantedBy = p.client(seen).String()
		}
	}
}

// result is a reply as a client gets it; nil if the question is forwarded.
func (i *inquiry) result(r message.Reply, forwards bool) *dnsv1.Result {
	if r.Foreign && forwards && i.forward != "" {
		return nil
	}
	if r.Silent {
		return &dnsv1.Result{}
	}
	out := &dnsv1.Result{Rcode: dns.RcodeToString[r.Rcode]}
	for _, rr := range r.Answer {
		out.Records = append(out.Records, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	for _, rr := range r.Authority {
		switch rr := rr.(type) {
		case *dns.SOA:
			out.NegativeTtl = min(rr.Hdr.Ttl, rr.Minttl)
		case *dns.NS:
			out.Referral = append(out.Referral, rr.Ns)
		}
	}
	return out
}

// same is equal for replies that say the same, however long it may be kept.
func same(r message.Reply) string {
	var b strings.Builder
	fmt.Fprint(&b, r.Silent, r.Foreign, r.Rcode)
	for _, rr := range r.Answer {
		timeless(&b, rr)
	}
	for _, rr := range r.Authority {
		if _, referral := rr.(*dns.NS); referral {
			timeless(&b, rr)
		}
	}
	return b.String()
}

func timeless(b *strings.Builder, rr dns.RR) {
	rr = dns.Copy(rr)
	rr.Header().Ttl = 0
	b.WriteByte('\n')
	b.WriteString(rr.String())
}
