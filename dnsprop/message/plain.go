package message

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/miekg/dns"
)

const (
	maxKey  = 254 // of a name with its dots; on the wire it has one byte more
	optSize = 11  // of an OPT record without options
	aSize   = 16  // of an A record whose owner is a pointer to the question
)

// Plain is the whole answer to the plain question.
type Plain struct {
	Addresses                []netip.Addr // IPv4, at least one
	TTL                      uint32
	Authoritative, Recursion bool
	// Shuffle orders the addresses, as it does for Facts.Reply.
	Shuffle func(n int, swap func(i, j int))
}

// PlainResponder is a Responder that answers the plain question without making
// records: class IN, type A, of a name that has addresses here.
type PlainResponder interface {
	Responder
	// RespondPlain answers for a canonical name, which is the caller's again
	// afterwards. It reports false where Respond must decide, and otherwise says
	// what Respond would.
	RespondPlain(key []byte, source netip.Addr) (Plain, bool)
}

// plainQuery is a question read from its packet.
type plainQuery struct {
	key     [maxKey]byte
	size    int  // of the key
	end     int  // of the question in the packet
	opt     bool // there is an OPT record
	udpSize int  // that it offers

	records []byte         // of the response, being shuffled
	swap    func(i, j int) // of q.swapRecords, made once
}

var plainQueries = sync.Pool{New: func() any {
	q := new(plainQuery)
	q.swap = q.swapRecords
	return q
}}

// plain appends the answer to a plain question. It reports false, and has done
// nothing, for everything that is not as plain as can be: the library decides it.
func (h *Handler) plain(dst, packet []byte, source netip.Addr, stream bool) (response []byte, ok bool) {
	r, can := h.Responder.(PlainResponder)
	if !can {
		return nil, false
	}
	q := plainQueries.Get().(*plainQuery)
	defer plainQueries.Put(q)
	if !q.read(packet) {
		return nil, false
	}
	answer, ok := r.RespondPlain(q.key[:q.size], source)
	if !ok {
		return nil, false
	}
	size := q.end + aSize*len(answer.Addresses)
	if q.opt {
		size += optSize
	}
	if size > q.limit(stream) {
		return nil, false
	}
	h.count(dns.RcodeSuccess)
	return q.append(dst, packet, answer), true
}

// read reports whether a packet holds a plain question and nothing else. Of its
// flags the caller has looked at QR.
func (q *plainQuery) read(packet []byte) bool {
	// Opcode QUERY; one question, no answer, no authority, one record more at most.
	if packet[2]&0x78 != 0 || binary.BigEndian.Uint64(packet[4:])&^1 != 1<<48 {
		return false
	}
	off, n := headerSize, 0
	for {
		if off >= len(packet) {
			return false
		}
		size := int(packet[off])
		off++
		if size == 0 {
			break
		}
		// Neither pointers nor names that the library would refuse.
		if size > 63 || off+size > len(packet) || n+size+1 > maxKey {
			return false
		}
		for _, b := range packet[off : off+size] {
			k := folded[b]
			if k == 0 {
				return false
			}
			q.key[n] = k
			n++
		}
		q.key[n] = '.'
		n++
		off += size
	}
	if n == 0 || len(packet)-off < 4 || binary.BigEndian.Uint32(packet[off:]) != uint32(dns.TypeA)<<16|dns.ClassINET {
		return false
	}
	q.size, q.end = n, off+4
	q.opt = packet[11] == 1
	if !q.opt {
		return len(packet) == q.end
	}
	opt := packet[q.end:]
	q.udpSize = 0
	// The root's name, type, size, extended rcode, version 0, flags, no options.
	if len(opt) != optSize || opt[0] != 0 || binary.BigEndian.Uint16(opt[1:]) != dns.TypeOPT || opt[6] != 0 || opt[9]|opt[10] != 0 {
		return false
	}
	q.udpSize = int(binary.BigEndian.Uint16(opt[3:]))
	return true
}

// folded is the lower case of the bytes that mean only themselves in a name; 0
// for the others, which need escapes.
var folded = func() (t [256]byte) {
	for b := byte('0'); b <= '9'; b++ {
		t[b] = b
	}
	for b := byte('a'); b <= 'z'; b++ {
		t[b], t[b-'a'+'A'] = b, b
	}
	t['-'], t['_'] = '-', '_'
	return t
}()

func (q *plainQuery) limit(stream bool) int {
	switch {
	case stream:
		return dns.MaxMsgSize
	case q.opt:
		return min(max(q.udpSize, dns.MinMsgSize), maxUDP)
	}
	return dns.MinMsgSize
}

// append writes the response: the question as it came, so in the client's own
// case, and records that point to it.
func (q *plainQuery) append(dst, packet []byte, answer Plain) []byte {
	start := len(dst)
	dst = append(dst, packet[:q.end]...)
	header := dst[start : start+headerSize]
	header[2] = 0x80 | packet[2]&0x01 // QR, and the query's RD
	if answer.Authoritative {
		header[2] |= 0x04
	}
	header[3] = packet[3] & 0x10 // CD
	if answer.Recursion {
		header[3] |= 0x80
	}
	binary.BigEndian.PutUint16(header[6:], uint16(len(answer.Addresses)))
	first := len(dst)
	for _, a := range answer.Addresses {
		ip := a.As4()
		dst = append(dst,
			0xc0, headerSize, 0, byte(dns.TypeA), 0, dns.ClassINET,
			byte(answer.TTL>>24), byte(answer.TTL>>16), byte(answer.TTL>>8), byte(answer.TTL),
			0, 4, ip[0], ip[1], ip[2], ip[3])
	}
	if len(answer.Addresses) > 1 {
		q.records = dst[first:]
		answer.Shuffle(len(answer.Addresses), q.swap)
		q.records = nil
	}
	if q.opt {
		dst = append(dst, 0, 0, byte(dns.TypeOPT), maxUDP>>8, maxUDP&0xff, 0, 0, 0, 0, 0, 0)
	}
	return dst
}

func (q *plainQuery) swapRecords(i, j int) {
	a, b := (*[aSize]byte)(q.records[i*aSize:]), (*[aSize]byte)(q.records[j*aSize:])
	*a, *b = *b, *a
}
