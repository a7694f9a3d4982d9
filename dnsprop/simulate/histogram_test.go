package simulate

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A histogram says what the sorted times themselves say, to its precision.
func TestHistogramAgainstSorting(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, most := range []time.Duration{2 * time.Second, 20 * time.Minute, 300 * 24 * time.Hour} {
		var h, left, right Histogram
		var all []time.Duration
		const nevers = 50
		for i := range 5000 {
			d := time.Duration(r.Int64N(int64(most)))
			all = append(all, d)
			h.add(int64(d))
			into := &left
			if i%3 == 0 {
				into = &right
			}
			into.add(int64(d))
		}
		for range nevers {
			h.add(never)
			left.add(never)
		}
		left.merge(&right)
		slices.Sort(all)
		near := func(got, want time.Duration) bool {
			return (got - want).Abs() <= max(time.Millisecond, want>>13)
		}
		for _, h := range []*Histogram{&h, &left} {
			for _, q := range []float64{0.0001, 0.5, 0.9, 0.98} {
				rank := int(q*float64(len(all)+nevers)+0.9999999) - 1
				if got, ok := h.Quantile(q); !ok || !near(got, all[rank]) {
					t.Errorf("to %v: quantile %v is %v, %v, want %v", most, q, got, ok, all[rank])
				}
			}
			if got, ok := h.Quantile(0.995); ok {
				t.Errorf("quantile 0.995 is %v, though one in a hundred never came", got)
			}
			if h.Max() != all[len(all)-1] || h.Count() != 5050 || h.Never() != nevers {
				t.Errorf("max %v of %d, never %d", h.Max(), h.Count(), h.Never())
			}
			times := []time.Duration{0, all[0] / 2, all[1000], all[4999] + time.Hour}
			for i, got := range h.Shares(times) {
				n, _ := slices.BinarySearch(all, times[i]+1)
				if want := float64(n) / 5050; got < want-0.002 || got > want+0.002 {
					t.Errorf("share at %v is %v, want %v", times[i], got, want)
				}
			}
		}
	}
}

func TestEmptyHistogram(t *testing.T) {
	var h Histogram
	if d, ok := h.Quantile(0.5); ok || h.Max() != 0 || h.Shares([]time.Duration{time.Hour})[0] != 0 {
		t.Errorf("%v of nothing", d)
	}
}
