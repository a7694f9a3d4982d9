package message

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"slices"
	"time"

	"github.com/miekg/dns"
)

const (
	headerSize = 12
	// maxUDP is what fits through every path unfragmented (DNS flag day 2020).
	maxUDP = 1232
	// forwardTimeout bounds a forwarded query; stub resolvers give up at 5 s.
	forwardTimeout = 4 * time.Second
)

// Query is a well-formed question of class IN.
type Query struct {
	Name   string // as the client spelled it: the answer repeats it (0x20)
	Key    string // canonical: lower case, trailing dot
	Type   uint16
	Source netip.Addr
}

// Reply is what a place decided about a query.
type Reply struct {
	Rcode         int
	Authoritative bool
	Recursion     bool // recursion is available here
	Answer        []dns.RR
	Authority     []dns.RR
	// Errors say more than the rcode does, to clients that sent an OPT record.
	Errors []ExtendedError
	// Foreign marks a refusal because the name is nobody's here: a Handler with a
	// Forward asks there instead, and for Next if Answer leads there.
	Foreign bool
	Next    string
	// Silent: nothing is sent.
	Silent bool
}

// ExtendedError is an extended DNS error (RFC 8914).
type ExtendedError struct {
	Code uint16 // of the IANA registry; dns.ExtendedErrorCodeStaleAnswer and so on
	Text string // for people, a few words; may be empty
}

// Responder decides queries. It is called by many goroutines and does not wait
// for anything.
type Responder interface {
	Respond(Query) Reply
}

// Handler answers packets by a Responder.
type Handler struct {
	Responder Responder
	// Forward answers what is foreign to the Responder; nil refuses it.
	Forward func(context.Context, *dns.Msg) (*dns.Msg, error)
	// Count is told the rcode of each response; nil is allowed.
	Count func(rcode int)
	// Panicked is told of each panic that was caught; nil is allowed.
	Panicked func()
	Logger   *slog.Logger
}

// Handle answers one packet. A nil response means to send nothing. A response
// that has to be waited for comes back as later, to be called where waiting
// hurts nobody.
func (h *Handler) Handle(packet []byte, source netip.Addr, stream bool) (response []byte, later func(context.Context) []byte) {
	return h.Append(nil, packet, source, stream)
}

// Append is Handle for callers that keep a buffer: the response is appended to
// dst, and only a nil return means to send nothing. What later returns stands alone.
func (h *Handler) Append(dst, packet []byte, source netip.Addr, stream bool) (response []byte, later func(context.Context) []byte) {
	if len(packet) < headerSize || packet[2]&0x80 != 0 {
		return nil, nil // no question can be answered; and never a response (loops)
	}
	defer func() {
		if r := recover(); r != nil {
			h.recovered(r)
			response, later = append(dst, h.bare(packet, dns.RcodeServerFailure)...), nil
		}
	}()
	if out, ok := h.plain(dst, packet, source, stream); ok {
		return out, nil
	}
	response, later = h.full(packet, source, stream)
	if response == nil {
		return nil, later // and not dst, which would be sent
	}
	return append(dst, response...), nil
}

// full answers by the library whatever a packet holds.
func (h *Handler) full(packet []byte, source netip.Addr, stream bool) (response []byte, later func(context.Context) []byte) {
	if opcode := int(packet[2]>>3) & 0xf; opcode != dns.OpcodeQuery {
		return h.bare(packet, dns.RcodeNotImplemented), nil
	}
	req := new(dns.Msg)
	if err := req.Unpack(packet); err != nil || len(req.Question) != 1 {
		return h.bare(packet, dns.RcodeFormatError), nil
	}
	opt, ok := edns(req)
	if !ok {
		return h.bare(packet, dns.RcodeFormatError), nil
	}
	limit := dns.MaxMsgSize
	if !stream {
		limit = dns.MinMsgSize
		if opt != nil {
			limit = min(max(int(opt.UDPSize()), dns.MinMsgSize), maxUDP)
		}
	}
	reply := h.decide(req, opt, source)
	if reply.Silent {
		return nil, nil
	}
	if reply.Foreign && h.Forward != nil {
		header := slices.Clone(packet[:headerSize]) // the caller's buffer is free again before it is called
		return nil, func(ctx context.Context) []byte { return h.forward(ctx, header, req, opt, reply, limit) }
	}
	return h.pack(packet, assemble(req, opt, reply), limit), nil
}

func (h *Handler) decide(req *dns.Msg, opt *dns.OPT, source netip.Addr) Reply {
	if opt != nil && opt.Version() != 0 {
		return Reply{Rcode: dns.RcodeBadVers}
	}
	q := req.Question[0]
	if q.Qclass != dns.ClassINET {
		return refused(dns.ExtendedErrorCodeNotSupported, "class IN only")
	}
	switch q.Qtype {
	case dns.TypeIXFR:
		if _, can := h.Responder.(Primary); can {
			// By UDP the SOA record says whether to come again by TCP (RFC 1995, 2).
			return h.Responder.Respond(Query{Name: q.Name, Key: dns.CanonicalName(q.Name), Type: dns.TypeSOA, Source: source})
		}
		fallthrough
	case dns.TypeAXFR:
		return refused(dns.ExtendedErrorCodeNotSupported, "zone transfers are by TCP and from authorities")
	case dns.TypeOPT:
		return refused(dns.ExtendedErrorCodeInvalidQueryType, "")
	}
	return h.Responder.Respond(Query{Name: q.Name, Key: dns.CanonicalName(q.Name), Type: q.Qtype, Source: source})
}

func refused(code uint16, text string) Reply {
	return Reply{Rcode: dns.RcodeRefused, Errors: []ExtendedError{{code, text}}}
}

// assemble makes the message of a reply.
func assemble(req *dns.Msg, opt *dns.OPT, r Reply) *dns.Msg {
	m := &dns.Msg{
		MsgHdr: dns.MsgHdr{
			Id:                 req.Id,
			Response:           true,
			RecursionDesired:   req.RecursionDesired,
			CheckingDisabled:   req.CheckingDisabled,
			Authoritative:      r.Authoritative,
			RecursionAvailable: r.Recursion,
			Rcode:              r.Rcode,
		},
		Compress: true,
		Question: req.Question,
		Answer:   r.Answer,
		Ns:       r.Authority,
	}
	if opt != nil {
		o := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
		o.SetUDPSize(maxUDP)
		for _, e := range r.Errors {
			o.Option = append(o.Option, &dns.EDNS0_EDE{InfoCode: e.Code, ExtraText: e.Text})
		}
		m.Extra = append(m.Extra, o)
	}
	return m
}

// forward asks elsewhere on the client's behalf, for what a reply from here does
// not answer. The answer keeps the sections it came with, under the client's own
// id, question and OPT record.
func (h *Handler) forward(ctx context.Context, packet []byte, req *dns.Msg, opt *dns.OPT, reply Reply, limit int) (response []byte) {
	defer func() {
		if r := recover(); r != nil {
			h.recovered(r)
			response = h.bare(packet, dns.RcodeServerFailure)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	ask := &dns.Msg{
		MsgHdr:   dns.MsgHdr{Id: dns.Id(), RecursionDesired: true},
		Question: slices.Clone(req.Question),
	}
	if reply.Next != "" {
		ask.Question[0].Name = reply.Next
	}
	ask.SetEdns0(maxUDP, false)
	got, err := h.Forward(ctx, ask)
	if err != nil {
		h.Logger.Debug("forward query", "err", err)
		unreached := Reply{Rcode: dns.RcodeServerFailure, Recursion: true, Answer: reply.Answer, Errors: []ExtendedError{{dns.ExtendedErrorCodeNetworkError, "the server to forward to does not answer"}}}
		return h.pack(packet, assemble(req, opt, unreached), limit)
	}
	m := assemble(req, opt, Reply{Rcode: got.Rcode & 0xf, Recursion: true, Answer: append(reply.Answer, got.Answer...), Authority: got.Ns})
	return h.pack(packet, m, limit)
}

func (h *Handler) pack(packet []byte, m *dns.Msg, limit int) []byte {
	m.Truncate(limit)
	m.Compress = true // Truncate ends it for what fits without
	b, err := m.Pack()
	if err != nil {
		// A name that unpacks but does not pack again, or an answer from elsewhere.
		h.Logger.Debug("pack response", "err", err)
		return h.bare(packet, dns.RcodeServerFailure)
	}
	h.count(m.Rcode)
	return b
}

// bare is a response of a header only, for a query that gave no more to hold on to.
func (h *Handler) bare(packet []byte, rcode int) []byte {
	b := make([]byte, headerSize)
	copy(b, packet[:2])
	b[2] = 0x80 | packet[2]&0x79 // QR, and the query's opcode and RD
	b[3] = byte(rcode)
	binary.BigEndian.PutUint64(b[4:], 0)
	h.count(rcode)
	return b
}

func (h *Handler) count(rcode int) {
	if h.Count != nil {
		h.Count(rcode)
	}
}

func (h *Handler) recovered(r any) {
	h.Logger.Error("panic while answering", "panic", r, "stack", string(debug.Stack()))
	if h.Panicked != nil {
		h.Panicked()
	}
}

// edns returns the query's OPT record, nil if it has none, and false if it has
// several (RFC 6891, 6.1.1).
func edns(m *dns.Msg) (opt *dns.OPT, ok bool) {
	for _, rr := range m.Extra {
		if o, is := rr.(*dns.OPT); is {
			if opt != nil {
				return nil, false
			}
			opt = o
		}
	}
	return opt, true
}
