package vpcclient

import (
	"context"
	"encoding/binary"
	"strings"
	"sync"
	"time"
)

// Cache is a cache that a client brings with it.
type Cache struct {
	// Keep is for how long an answer is believed, in DNS time, given the time that
	// its TTL says.
	Keep func(positive bool, ttl time.Duration) time.Duration
	// Now is the DNS time and how many seconds of it pass in one of the client's.
	Now func(context.Context) (now time.Time, speed float64)
}

// maxAnswers bounds what a client remembers.
const maxAnswers = 1000

// answers are the DNS messages that a client believes, by question.
type answers struct {
	cache *Cache

	mu    sync.Mutex
	known map[question]believed
}

// question is what an answer is for: who was asked, by a message of which form.
type question struct {
	resolver, text string
}

type believed struct {
	message []byte
	records []record
	until   time.Time
}

// ask answers from what is believed, or asks and remembers. Failures, truncated
// answers and what is no plain question are not remembered.
func (a *answers) ask(ctx context.Context, resolver string, query []byte, exchange func() ([]byte, error)) ([]byte, error) {
	text, ok := questionText(query)
	if !ok {
		return exchange()
	}
	q := question{resolver, text}
	a.mu.Lock()
	known, found := a.known[q]
	a.mu.Unlock()
	if found {
		if now, speed := a.cache.Now(ctx); now.Before(known.until) {
			return known.answer(query, now, speed), nil
		}
	}
	response, err := exchange()
	if err != nil {
		return nil, err
	}
	positive, ttl, records, ok := parseAnswer(response)
	if end := questionEnd(query); !ok || questionEnd(response) != end || !strings.EqualFold(string(response[headerSize:end]), string(query[headerSize:end])) {
		return response, nil // or it answers another question
	}
	now, speed := a.cache.Now(ctx)
	until := now.Add(a.cache.Keep(positive, scaled(time.Duration(ttl)*time.Second, speed)))
	if until.Before(now) {
		until = endOfTime // it never forgets
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.known, q)
	if !until.After(now) {
		return response, nil
	}
	if len(a.known) >= maxAnswers || a.known == nil {
		a.known = map[question]believed{}
	}
	a.known[q] = believed{append([]byte(nil), response...), records, until}
	return response, nil
}

// endOfTime is beyond every instant of the DNS clock.
var endOfTime = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)

func scaled(d time.Duration, factor float64) time.Duration { return time.Duration(float64(d) * factor) }

// answer is the message for another query of the same question: with its id, its
// way of writing the name, and the TTLs that are left.
func (b believed) answer(query []byte, now time.Time, speed float64) []byte {
	out := append([]byte(nil), b.message...)
	copy(out, query[:2])
	copy(out[headerSize:], query[headerSize:questionEnd(query)])
	left := uint32(0)
	if speed > 0 {
		left = uint32(min(scaled(b.until.Sub(now), 1/speed)/time.Second, time.Duration(maxTTL)))
	}
	for _, r := range b.records {
		if r.rtype != typeOPT {
			binary.BigEndian.PutUint32(out[r.ttl:], min(left, binary.BigEndian.Uint32(out[r.ttl:])))
		}
	}
	return out
}

// The form of messages (RFC 1035, 4).
const (
	headerSize  = 12
	typeSOA     = 6
	typeOPT     = 41
	maxTTL      = 1<<31 - 1
	rcodeName   = 3
	maxRecords  = 200
	flagsAnswer = 0x8000
	flagsOpcode = 0x7800
	flagsCut    = 0x0200
)

// questionText is what makes two queries ask the same: their question with its
// name in lower case, and whether they have more records, as EDNS has. Not ok: it
// is no query with one question.
func questionText(query []byte) (string, bool) {
	if len(query) < headerSize || binary.BigEndian.Uint16(query[2:])&(flagsAnswer|flagsOpcode) != 0 || binary.BigEndian.Uint16(query[4:]) != 1 {
		return "", false
	}
	end := questionEnd(query)
	if end < 0 {
		return "", false
	}
	return strings.ToLower(string(query[headerSize:end])) + string(query[3:4]) + string(query[10:12]), true
}

// questionEnd is where the question of a message ends, -1 if it is cut off or
// its name is compressed.
func questionEnd(m []byte) int {
	at := headerSize
	for at < len(m) && m[at] != 0 {
		if m[at] > 63 {
			return -1
		}
		at += 1 + int(m[at])
	}
	if at += 5; at > len(m) {
		return -1
	}
	return at
}

// record is where a message has the TTL of a record.
type record struct {
	ttl   int
	rtype uint16
}

// parseAnswer says what a cache needs to know of an answer: whether it has records,
// and its TTL in seconds, that of RFC 2308 if it has none. Not ok: it must not
// be kept.
func parseAnswer(m []byte) (positive bool, ttl uint32, records []record, ok bool) {
	if len(m) < headerSize {
		return false, 0, nil, false
	}
	flags := binary.BigEndian.Uint16(m[2:])
	rcode := flags & 15
	if flags&flagsAnswer == 0 || flags&flagsCut != 0 || rcode != 0 && rcode != rcodeName || binary.BigEndian.Uint16(m[4:]) != 1 {
		return false, 0, nil, false
	}
	at := questionEnd(m)
	if at < 0 {
		return false, 0, nil, false
	}
	answers, authorities := int(binary.BigEndian.Uint16(m[6:])), int(binary.BigEndian.Uint16(m[8:]))
	total := answers + authorities + int(binary.BigEndian.Uint16(m[10:]))
	if total > maxRecords {
		return false, 0, nil, false
	}
	positive = rcode == 0 && answers > 0
	ttl = maxTTL
	soa := false
	for i := range total {
		if at = nameEnd(m, at); at < 0 || at+10 > len(m) {
			return false, 0, nil, false
		}
		r := record{ttl: at + 4, rtype: binary.BigEndian.Uint16(m[at:])}
		own := binary.BigEndian.Uint32(m[r.ttl:])
		end := at + 10 + int(binary.BigEndian.Uint16(m[at+8:]))
		if end > len(m) {
			return false, 0, nil, false
		}
		switch {
		case positive && i < answers:
			ttl = min(ttl, own)
		case !positive && i >= answers && i < answers+authorities && r.rtype == typeSOA && end-at > 14:
			ttl, soa = min(own, binary.BigEndian.Uint32(m[end-4:])), true
		}
		records = append(records, r)
		at = end
	}
	// An absence without an SOA record is not to be kept (RFC 2308, 5).
	return positive, ttl, records, positive || soa
}

// nameEnd is where a name ends that begins at a place of a message; -1 if it is
// none.
func nameEnd(m []byte, at int) int {
	for at < len(m) {
		switch c := m[at]; {
		case c == 0:
			return at + 1
		case c >= 0xc0:
			return at + 2
		case c > 63:
			return -1
		default:
			at += 1 + int(c)
		}
	}
	return -1
}
