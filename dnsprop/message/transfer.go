package message

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// transferSize is about how many bytes of records one message of a transfer
// carries. Pointers reach 16 KiB, so beyond that compression ends (RFC 5936, 3.4).
const transferSize = 16 << 10

var errBroken = errors.New("transfer ended by a panic")

// TransferQuery asks for a zone.
type TransferQuery struct {
	Zone   string // canonical
	Source netip.Addr
	// Incremental: IXFR, by a secondary that has Serial.
	Incremental bool
	Serial      uint32
}

// Primary is a Responder that secondaries follow (RFC 9499): it decides transfers. It is called by many goroutines.
type Primary interface {
	// Transfer returns the records of the answer in their order, or the reply that
	// refuses it. After the last record, or the first that is not wanted any
	// more, end is called once.
	Transfer(TransferQuery) (records func(yield func(dns.RR) bool), end func(), refusal *Reply)
}

// Transfer reports whether a packet, which came by a stream, asks for a zone
// that the Responder may transfer: what it returns then sends the answer,
// message by message, and may be called when the packet is no more. It is nil
// for everything that Append answers.
func (h *Handler) Transfer(packet []byte, source netip.Addr) func(ctx context.Context, send func([]byte) error) error {
	t, can := h.Responder.(Primary)
	if !can || !asksTransfer(packet) {
		return nil
	}
	req := new(dns.Msg)
	if err := req.Unpack(packet); err != nil || len(req.Question) != 1 || req.Question[0].Qclass != dns.ClassINET {
		return nil
	}
	opt, ok := edns(req)
	if !ok || opt != nil && opt.Version() != 0 {
		return nil
	}
	q := TransferQuery{
		Zone:        dns.CanonicalName(req.Question[0].Name),
		Source:      source,
		Incremental: req.Question[0].Qtype == dns.TypeIXFR,
	}
	if q.Incremental {
		// What the secondary has stands in the authority section (RFC 1995, 3).
		i := slices.IndexFunc(req.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeSOA })
		if i < 0 {
			return nil
		}
		q.Serial = req.Ns[i].(*dns.SOA).Serial
	}
	header := slices.Clone(packet[:headerSize])
	return func(ctx context.Context, send func([]byte) error) (err error) {
		defer func() {
			if r := recover(); r != nil {
				h.recovered(r)
				err = errBroken
			}
		}()
		records, end, refusal := t.Transfer(q)
		switch {
		case refusal == nil:
		case refusal.Silent:
			return nil
		default:
			return send(h.pack(header, assemble(req, opt, *refusal), dns.MaxMsgSize))
		}
		defer end()
		return h.sendTransfer(ctx, req, opt, records, send)
	}
}

// asksTransfer looks at the last bytes of the question's name without reading
// it: cheap, because every query by TCP passes here.
func asksTransfer(packet []byte) bool {
	if len(packet) < headerSize || packet[2]&0xf8 != 0 || packet[4] != 0 || packet[5] != 1 {
		return false
	}
	for off := headerSize; off < len(packet); {
		size := int(packet[off])
		off++
		if size > 63 {
			return false // no name needs a pointer here
		}
		if size == 0 {
			return len(packet)-off >= 4 && packet[off] == 0 && (packet[off+1] == byte(dns.TypeAXFR) || packet[off+1] == byte(dns.TypeIXFR))
		}
		off += size
	}
	return false
}

func (h *Handler) sendTransfer(ctx context.Context, req *dns.Msg, opt *dns.OPT, records func(func(dns.RR) bool), send func([]byte) error) error {
	var (
		batch []dns.RR
		size  int
		err   error
	)
	flush := func() bool {
		m := assemble(req, opt, Reply{Authoritative: true, Answer: batch})
		var b []byte
		if b, err = m.Pack(); err == nil {
			err = send(b)
		}
		if err == nil {
			err = ctx.Err()
		}
		batch, size = batch[:0], 0
		return err == nil
	}
	for rr := range records {
		batch = append(batch, rr)
		if size += dns.Len(rr); size >= transferSize && !flush() {
			return err
		}
	}
	if len(batch) > 0 && !flush() {
		return err
	}
	h.count(dns.RcodeSuccess)
	return nil
}
