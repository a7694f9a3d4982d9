package message

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

var client = netip.MustParseAddr("127.0.0.1")

type responder func(Query) Reply

func (r responder) Respond(q Query) Reply { return r(q) }

func handler(r responder) *Handler {
	return &Handler{Responder: r, Logger: slog.New(slog.DiscardHandler)}
}

// facts answers with so many addresses.
func facts(addresses int) responder {
	return func(q Query) Reply {
		f := Facts{Apex: "example.", Exists: true, TTL: 60, Serial: 3, SOATTL: 900, Minimum: 900}
		for i := range addresses {
			f.Addresses = append(f.Addresses, netip.AddrFrom4([4]byte{10, 0, byte(i / 256), byte(i)}))
		}
		return f.Reply(q, func(int, func(i, j int)) {})
	}
}

func TestHandle(t *testing.T) {
	ask := func(edit func(*dns.Msg)) []byte {
		m := new(dns.Msg).SetQuestion("WWW.example.", dns.TypeA)
		m.Id = 0xabcd
		if edit != nil {
			edit(m)
		}
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct {
		name    string
		packet  []byte
		handler *Handler
		stream  bool
		silent  bool
		rcode   int
		answers int
		tc, opt bool
		limit   int
	}{
		{name: "a query", packet: ask(nil), answers: 2},
		{name: "nothing", packet: nil, silent: true},
		{name: "less than a header", packet: ask(nil)[:11], silent: true},
		{name: "a response", packet: ask(func(m *dns.Msg) { m.Response = true }), silent: true},
		{name: "a header alone", packet: ask(func(m *dns.Msg) { m.Question = nil }), rcode: dns.RcodeFormatError},
		{name: "cut short", packet: ask(nil)[:20], rcode: dns.RcodeFormatError},
		{name: "two questions", packet: ask(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), rcode: dns.RcodeFormatError},
		{name: "an update", packet: ask(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), rcode: dns.RcodeNotImplemented},
		{name: "another class", packet: ask(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), rcode: dns.RcodeRefused},
		{name: "a transfer", packet: ask(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }), rcode: dns.RcodeRefused},
		{name: "EDNS", packet: ask(func(m *dns.Msg) { m.SetEdns0(4096, true) }), answers: 2, opt: true},
		{name: "EDNS twice", packet: ask(func(m *dns.Msg) { m.SetEdns0(4096, true); m.SetEdns0(4096, true) }), rcode: dns.RcodeFormatError},
		{name: "EDNS of the future", packet: ask(func(m *dns.Msg) { m.SetEdns0(4096, true); m.IsEdns0().SetVersion(1) }), rcode: dns.RcodeBadVers, opt: true},
		{name: "25 addresses fit", packet: ask(nil), handler: handler(facts(25)), answers: 25, limit: 512},
		{name: "40 do not", packet: ask(nil), handler: handler(facts(40)), tc: true, answers: -1, limit: 512},
		{name: "a tiny EDNS size is 512", packet: ask(func(m *dns.Msg) { m.SetEdns0(12, false) }), handler: handler(facts(25)), answers: 25, opt: true, limit: 512},
		{name: "a huge EDNS size is 1232", packet: ask(func(m *dns.Msg) { m.SetEdns0(65535, false) }), handler: handler(facts(200)), tc: true, answers: -1, opt: true, limit: 1232},
		{name: "a stream has room", packet: ask(nil), handler: handler(facts(200)), stream: true, answers: 200},
		{name: "a stream has an end", packet: ask(nil), handler: handler(facts(5000)), stream: true, tc: true, answers: -1, limit: 65535},
		{name: "a responder that keeps silent", packet: ask(nil), handler: handler(func(Query) Reply { return Reply{Silent: true} }), silent: true},
		{name: "a panic", packet: ask(nil), handler: handler(func(Query) Reply { panic("broken") }), rcode: dns.RcodeServerFailure},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := c.handler
			if h == nil {
				h = handler(facts(2))
			}
			counted := -1
			h.Count = func(rcode int) { counted = rcode }
			b, later := h.Handle(c.packet, client, c.stream)
			if later != nil {
				t.Fatal("wants to wait")
			}
			if c.silent {
				if b != nil {
					t.Fatalf("answered %x", b)
				}
				if b, _ := h.Append([]byte("kept"), c.packet, client, c.stream); b != nil {
					t.Fatalf("answered %x in a buffer", b)
				}
				return
			}
			m := new(dns.Msg)
			if err := m.Unpack(b); err != nil {
				t.Fatal(err)
			}
			if m.Id != 0xabcd || !m.Response || m.Rcode != c.rcode || counted != c.rcode {
				t.Errorf("rcode %d, counted %d: %v", m.Rcode, counted, m)
			}
			if c.answers >= 0 && len(m.Answer) != c.answers || m.Truncated != c.tc || (m.IsEdns0() != nil) != c.opt {
				t.Errorf("%d answers, truncated %v, EDNS %v", len(m.Answer), m.Truncated, m.IsEdns0())
			}
			if c.limit > 0 && len(b) > c.limit {
				t.Errorf("%d bytes", len(b))
			}
			if len(m.Answer) > 0 && m.Answer[0].Header().Name != "WWW.example." {
				t.Errorf("owner %s does not repeat the question", m.Answer[0].Header().Name)
			}
		})
	}
}

// Extended errors go to who sent an OPT record (RFC 8914, 3), and to nobody else.
func TestExtendedErrors(t *testing.T) {
	for _, c := range []struct {
		name  string
		qtype uint16
		class uint16
		code  uint16
		text  string
	}{
		{"a reply's own", dns.TypeA, dns.ClassINET, dns.ExtendedErrorCodeStaleAnswer, "old"},
		{"a transfer by UDP", dns.TypeAXFR, dns.ClassINET, dns.ExtendedErrorCodeNotSupported, "zone transfers are by TCP and from authorities"},
		{"another class", dns.TypeA, dns.ClassCHAOS, dns.ExtendedErrorCodeNotSupported, "class IN only"},
	} {
		h := handler(func(q Query) Reply {
			r := facts(200)(q) // does not fit, and the OPT record stays whole
			r.Errors = []ExtendedError{{dns.ExtendedErrorCodeStaleAnswer, "old"}}
			return r
		})
		for _, edns := range []bool{false, true} {
			q := new(dns.Msg).SetQuestion("www.example.", c.qtype)
			q.Question[0].Qclass = c.class
			if edns {
				q.SetEdns0(512, false)
			}
			packet, err := q.Pack()
			if err != nil {
				t.Fatal(err)
			}
			b, _ := h.Handle(packet, client, false)
			m := new(dns.Msg)
			if err := m.Unpack(b); err != nil || len(b) > 512 {
				t.Fatalf("%s: %d bytes, %v", c.name, len(b), err)
			}
			var got []dns.EDNS0
			if opt := m.IsEdns0(); opt != nil {
				got = opt.Option
			}
			if !edns {
				if len(m.Extra) != 0 {
					t.Errorf("%s: %v without EDNS", c.name, m.Extra)
				}
				continue
			}
			if len(got) != 1 {
				t.Fatalf("%s: options %v", c.name, got)
			}
			if e, ok := got[0].(*dns.EDNS0_EDE); !ok || e.InfoCode != c.code || e.ExtraText != c.text {
				t.Errorf("%s: %v", c.name, got[0])
			}
		}
	}
}

func TestForeignNames(t *testing.T) {
	h := handler(func(q Query) Reply { return Reply{Rcode: dns.RcodeRefused, Foreign: true} })
	packet, err := new(dns.Msg).SetQuestion("www.example.", dns.TypeA).SetEdns0(1232, false).Pack()
	if err != nil {
		t.Fatal(err)
	}
	rcode := func(b []byte) int {
		m := new(dns.Msg)
		if err := m.Unpack(b); err != nil {
			t.Fatal(err)
		}
		return m.Rcode
	}
	if b, later := h.Handle(packet, client, false); later != nil || rcode(b) != dns.RcodeRefused {
		t.Error("without a forwarder not refused")
	}
	for name, c := range map[string]struct {
		forward func(context.Context, *dns.Msg) (*dns.Msg, error)
		want    int
	}{
		"an answer": {func(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
			return new(dns.Msg).SetRcode(q, dns.RcodeNameError), nil
		}, dns.RcodeNameError},
		"an error": {func(context.Context, *dns.Msg) (*dns.Msg, error) { return nil, errors.New("unreachable") }, dns.RcodeServerFailure},
		"a panic":  {func(context.Context, *dns.Msg) (*dns.Msg, error) { panic("broken") }, dns.RcodeServerFailure},
		"an answer that does not pack": {func(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
			m := new(dns.Msg).SetReply(q)
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "bad..name", Rrtype: dns.TypeA}}}
			return m, nil
		}, dns.RcodeServerFailure},
	} {
		h.Forward = c.forward
		own := slices.Clone(packet)
		b, later := h.Handle(own, client, false)
		if b != nil || later == nil {
			t.Fatalf("%s: does not wait", name)
		}
		clear(own) // the buffer is the caller's again
		b = later(t.Context())
		if got := rcode(b); got != c.want || b[0] != packet[0] || b[1] != packet[1] {
			t.Errorf("%s: rcode %d, want %d", name, got, c.want)
		}
	}
}

func TestRotation(t *testing.T) {
	f := Facts{Apex: "example.", Exists: true, Addresses: []netip.Addr{client, client.Next(), client.Next().Next()}}
	reversed := func(n int, swap func(i, j int)) { swap(0, n-1) }
	rrs := f.Reply(Query{Name: "a.example.", Key: "a.example.", Type: dns.TypeA}, reversed).Answer
	if got := rrs[0].(*dns.A).A.String(); got != "127.0.0.3" {
		t.Errorf("first is %s", got)
	}
	if f.Addresses[0] != client {
		t.Error("the zone's own order has changed")
	}
}
