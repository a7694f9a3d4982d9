package resolver

import "time"

// Span is the time of a cached answer, in Unix nanoseconds of the DNS clock:
// At <= Expires <= Keep.
type Span struct {
	At      int64 // when it was given
	Expires int64 // when it must be forgotten
	Keep    int64 // until when it may be served stale; Expires if never
}

// Span is that of an answer which an authority gave at an instant with a TTL,
// that of RFC 2308 if it is negative. An answer whose span is empty is not kept.
func (o Options) Span(at int64, positive bool, ttl time.Duration) Span {
	bounds := o.NegativeTTL
	if positive {
		bounds = o.TTL
	}
	expires := at + int64(bounds.Apply(ttl))
	return Span{At: at, Expires: expires, Keep: expires + int64(o.ServeStale)}
}

// Live reports whether the answer may be given.
func (s Span) Live(at int64) bool { return at < s.Expires }

// Old reports whether less than a tenth of the answer's time is left: with
// Prefetch, who asks for it now has it asked for again.
func (s Span) Old(at int64) bool { return s.Expires-at < (s.Expires-s.At)/10 }
