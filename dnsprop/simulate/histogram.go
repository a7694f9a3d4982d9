package simulate

import (
	"math"
	"math/bits"
	"time"
)

// Histogram counts times: to the millisecond up to 16 s, and to one part in 8,192
// beyond. The zero Histogram is empty.
type Histogram struct {
	// counts holds the buckets of the first range and then those of each doubling;
	// a part is nil until something falls into it.
	counts [parts][]uint64
	number uint64 // with those that never came
	nevers uint64
	most   int64 // exactly
}

const (
	exactBits = 14
	exact     = 1 << exactBits // milliseconds that have a bucket each
	half      = exact / 2      // buckets of a doubling
	parts     = 64 - exactBits
)

// add counts a time in nanoseconds, or never.
func (h *Histogram) add(ns int64) {
	h.number++
	if ns == never {
		h.nevers++
		return
	}
	h.most = max(h.most, ns)
	ms := uint64(max(ns, 0)) / uint64(time.Millisecond)
	part, bucket := 0, int(ms)
	if ms >= exact {
		part = bits.Len64(ms) - exactBits
		bucket = int(ms>>part) - half
	}
	if h.counts[part] == nil {
		size := half
		if part == 0 {
			size = exact
		}
		h.counts[part] = make([]uint64, size)
	}
	h.counts[part][bucket]++
}

// at is the middle of a bucket, in nanoseconds.
func at(part, bucket int) int64 {
	ms := int64(bucket)
	if part > 0 {
		ms = int64(bucket+half)<<part + 1<<(part-1)
	}
	return ms * int64(time.Millisecond)
}

func (h *Histogram) merge(o *Histogram) {
	for part, counts := range o.counts {
		if counts == nil {
			continue
		}
		if h.counts[part] == nil {
			h.counts[part] = make([]uint64, len(counts))
		}
		for i, n := range counts {
			h.counts[part][i] += n
		}
	}
	h.number += o.number
	h.nevers += o.nevers
	h.most = max(h.most, o.most)
}

// Count is how many times were counted, those included that never came.
func (h *Histogram) Count() uint64 { return h.number }

// Never is how many never came.
func (h *Histogram) Never() uint64 { return h.nevers }

// Quantile is the least time that a fraction q of all does not exceed, 0 < q <= 1;
// false if that is never, or nothing was counted.
func (h *Histogram) Quantile(q float64) (time.Duration, bool) {
	want := uint64(math.Ceil(q * float64(h.number)))
	if h.number == 0 || want > h.number-h.nevers {
		return 0, false
	}
	seen := uint64(0)
	for part, counts := range h.counts {
		for bucket, n := range counts {
			if seen += n; n > 0 && seen >= want {
				return time.Duration(min(at(part, bucket), h.most)), true
			}
		}
	}
	return 0, false
}

// Max is the longest time that came.
func (h *Histogram) Max() time.Duration { return time.Duration(h.most) }

// Shares gives, for each of some rising times, the share of all that does not exceed it.
func (h *Histogram) Shares(times []time.Duration) []float64 {
	out := make([]float64, len(times))
	seen, next := uint64(0), 0
	flush := func(until int64) {
		for ; next < len(times) && int64(times[next]) < until; next++ {
			out[next] = h.share(seen)
		}
	}
	for part, counts := range h.counts {
		for bucket, n := range counts {
			if n > 0 {
				flush(at(part, bucket))
				seen += n
			}
		}
	}
	flush(math.MaxInt64)
	return out
}

func (h *Histogram) share(n uint64) float64 {
	if h.number == 0 {
		return 0
	}
	return float64(n) / float64(h.number)
}
