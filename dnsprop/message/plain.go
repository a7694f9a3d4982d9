package message

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

const (
	maxKey   = 254 // of a name with its dots; on the wire it has one byte more
	optSize  = 11  // of an OPT record without options
	aSize    = 16  // of an A record whose owner is a pointer to the question
	aaaaSize = 28  // of such an AAAA record
)

// Plain is the whole answer to the plain question: what Facts.Reply makes of the
// Facts, and what is so of the place.
type Plain struct {
	Facts
	Authoritative, Recursion bool
	// Shuffle orders the records, as it does for Facts.Reply.
	Shuffle func(n int, swap func(i, j int))
}

// PlainResponder is a Responder that answers the plain question, class IN, type A
// or AAAA, without making records: by addresses, or that there are none.
type PlainResponder interface {
	Responder
	// RespondPlain answers for a canonical name, which is the caller's again
	// afterwards. It reports false where Respond must decide, and otherwise says
	// what Respond would.
	RespondPlain(key []byte, qtype uint16, source netip.Addr) (Plain, bool)
}

// plainQuery is a question read from its packet.
type plainQuery struct {
	key     [maxKey]byte
	size    int // of the key
	qtype   uint16
	end     int  // of the question in the packet
	opt     bool // there is an OPT record
	udpSize int  // that it offers

	names     []uint16       // where the labels of the response begin that a pointer can name
	shuffling []byte         // the records of the response, while they are
	swap      func(i, j int) // of q.swapRecords, made once
}

var plainQueries = sync.Pool{New: func() any {
	q := &plainQuery{names: make([]uint16, 0, 64)} // of usual names
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
	answer, ok := r.RespondPlain(q.key[:q.size], q.qtype, source)
	if !ok {
		return nil, false
	}
	if q.end+q.width()*q.records(&answer) > q.limit(stream) {
		return nil, false
	}
	rcode := dns.RcodeSuccess
	if !answer.Exists {
		rcode = dns.RcodeNameError
	}
	response, ok = q.append(dst, packet, rcode, &answer)
	if !ok || len(response)-len(dst) > q.limit(stream) {
		return nil, false
	}
	h.count(rcode)
	return response, true
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
	if n == 0 || len(packet)-off < 4 || binary.BigEndian.Uint16(packet[off+2:]) != dns.ClassINET {
		return false
	}
	q.size, q.end, q.qtype = n, off+4, binary.BigEndian.Uint16(packet[off:])
	if q.qtype != dns.TypeA && q.qtype != dns.TypeAAAA {
		return false
	}
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
// case, and records that point to it. It reports false for what only the library
// can write.
func (q *plainQuery) append(dst, packet []byte, rcode int, answer *Plain) (response []byte, ok bool) {
	start := len(dst)
	dst = append(dst, packet[:q.end]...)
	header := dst[start : start+headerSize]
	header[2] = 0x80 | packet[2]&0x01 // QR, and the query's RD
	if answer.Authoritative {
		header[2] |= 0x04
	}
	header[3] = packet[3]&0x10 | byte(rcode) // CD
	if answer.Recursion {
		header[3] |= 0x80
	}
	n := 0
	if rcode == dns.RcodeSuccess {
		n = q.records(answer)
	}
	if n > 0 {
		binary.BigEndian.PutUint16(header[6:], uint16(n))
		if dst, ok = q.appendRecords(dst, answer); !ok {
			return nil, false
		}
		if n > 1 {
			q.shuffling = dst[start+q.end:]
			answer.Shuffle(n, q.swap)
			q.shuffling = nil
		}
	} else {
		binary.BigEndian.PutUint16(header[8:], 1)
		dst = q.appendSOA(dst, start, &answer.Facts)
	}
	if q.opt {
		dst = append(dst, 0, 0, byte(dns.TypeOPT), maxUDP>>8, maxUDP&0xff, 0, 0, 0, 0, 0, 0)
	}
	return dst, true
}

// records is how many the answer has of the type that was asked for.
func (q *plainQuery) records(answer *Plain) int {
	if q.qtype == dns.TypeA {
		return len(answer.Addresses)
	}
	return len(answer.Data)
}

// width is the size of one of them.
func (q *plainQuery) width() int {
	if q.qtype == dns.TypeA {
		return aSize
	}
	return aaaaSize
}

// appendRecords writes them in their order.
func (q *plainQuery) appendRecords(dst []byte, answer *Plain) ([]byte, bool) {
	head := func(size byte) {
		dst = append(dst,
			0xc0, headerSize, 0, byte(q.qtype), 0, dns.ClassINET,
			byte(answer.TTL>>24), byte(answer.TTL>>16), byte(answer.TTL>>8), byte(answer.TTL), 0, size)
	}
	if q.qtype == dns.TypeA {
		for _, a := range answer.Addresses {
			ip := a.As4()
			head(4)
			dst = append(dst, ip[:]...)
		}
		return dst, true
	}
	for _, rr := range answer.Data {
		aaaa, is := rr.(*dns.AAAA)
		if !is || len(aaaa.AAAA) != 16 {
			return dst, false
		}
		head(16)
		dst = append(dst, aaaa.AAAA...)
	}
	return dst, true
}

func (q *plainQuery) swapRecords(i, j int) {
	var spare [aaaaSize]byte
	w := q.width()
	a, b := q.shuffling[i*w:(i+1)*w], q.shuffling[j*w:(j+1)*w]
	copy(spare[:], a)
	copy(a, b)
	copy(b, spare[:])
}

// appendSOA writes the zone's SOA record to a response that began at start and
// has nothing but its question yet.
func (q *plainQuery) appendSOA(dst []byte, start int, f *Facts) []byte {
	soa := ownSOA
	if f.Hosted != nil {
		soa = *f.Hosted
	} else {
		soa.Minttl = f.Minimum
	}
	q.names = q.names[:0]
	for off := headerSize; dst[start+off] != 0; off += 1 + int(dst[start+off]) {
		q.names = append(q.names, uint16(off))
	}
	dst = q.appendName(dst, start, f.Apex)
	dst = append(dst, 0, byte(dns.TypeSOA), 0, dns.ClassINET)
	dst = binary.BigEndian.AppendUint32(dst, f.SOATTL)
	dst = append(dst, 0, 0) // its size
	data := len(dst)
	dst = q.appendName(dst, start, soa.Ns)
	dst = q.appendName(dst, start, soa.Mbox)
	for _, n := range [...]uint32{f.Serial, soa.Refresh, soa.Retry, soa.Expire, soa.Minttl} {
		dst = binary.BigEndian.AppendUint32(dst, n)
	}
	binary.BigEndian.PutUint16(dst[data-2:], uint16(len(dst)-data))
	return dst
}

// appendName writes a name without escapes, which rdata.Name has seen to, with as
// much of its end as a pointer as can be: names in a response are compressed by
// their exact spelling, as the library does it.
func (q *plainQuery) appendName(dst []byte, start int, name string) []byte {
	for name != "" {
		dot := strings.IndexByte(name, '.')
		for _, at := range q.names {
			if int(dst[start+int(at)]) == dot && spells(dst[start:], int(at), name) {
				return append(dst, 0xc0|byte(at>>8), byte(at))
			}
		}
		q.names = append(q.names, uint16(len(dst)-start))
		dst = append(append(dst, byte(dot)), name[:dot]...)
		name = name[dot+1:]
	}
	return append(dst, 0)
}

// spells reports whether the name at an offset of a message is spelled like this.
func spells(message []byte, at int, name string) bool {
	for {
		if at == len(message) {
			return false // the name that is being written: it goes on
		}
		size := int(message[at])
		switch {
		case size == 0:
			return name == ""
		case size >= 0xc0:
			at = size&0x3f<<8 | int(message[at+1])
			continue
		case len(name) <= size || name[size] != '.' || name[:size] != string(message[at+1:at+1+size]):
			return false
		}
		name = name[size+1:]
		at += 1 + size
	}
}
