package propagation

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Distribution is how long a stage takes. Its delays are whole milliseconds,
// so that a last-bit difference between the floating-point units of two
// machines cannot show in an instant.
type Distribution interface {
	// Quantile is the delay that a fraction q of all draws does not exceed,
	// 0 < q < 1. It allocates nothing.
	Quantile(q float64) time.Duration
	// Max is the longest delay that Quantile returns.
	Max() time.Duration
}

// Fixed is always the same delay.
type Fixed time.Duration

// Quantile implements Distribution.
func (f Fixed) Quantile(float64) time.Duration { return time.Duration(f) }

// Max implements Distribution.
func (f Fixed) Max() time.Duration { return time.Duration(f) }

// Uniform is any delay between two bounds, all equally likely.
type Uniform struct {
	Low, High time.Duration
}

// Quantile implements Distribution.
func (u Uniform) Quantile(q float64) time.Duration {
	d := float64(u.High-u.Low) * q
	return u.Low + time.Duration(d).Round(time.Millisecond)
}

// Max implements Distribution.
func (u Uniform) Max() time.Duration { return u.High }

// Lognormal is a delay whose logarithm is normally distributed.
type Lognormal struct {
	Median time.Duration
	Sigma  float64
}

// Quantile implements Distribution; draws are cut at the 99.9th percentile.
func (l Lognormal) Quantile(q float64) time.Duration {
	if l.Median == 0 {
		return 0
	}
	z := math.Sqrt2 * math.Erfinv(2*min(q, cut)-1)
	d := float64(l.Median) * math.Exp(l.Sigma*z)
	return time.Duration(d).Round(time.Millisecond)
}

// Max implements Distribution.
func (l Lognormal) Max() time.Duration { return l.Quantile(1) }

// Empirical is what was measured: quantiles at equal steps from 0 to 1, never
// falling, with a straight line between any two. It has at least two.
type Empirical []time.Duration

// Steps is how many intervals the quantiles of NewEmpirical have at most: what
// a change's record carries stays small, whatever was measured.
const Steps = 128

// NewEmpirical condenses measured delays, in any order, to their quantiles.
// There must be at least one.
func NewEmpirical(delays []time.Duration) Empirical {
	sorted := slices.Sorted(slices.Values(delays))
	if len(sorted) == 1 {
		sorted = append(sorted, sorted[0])
	}
	all := Empirical(sorted)
	if len(all) <= Steps+1 {
		return all
	}
	e := make(Empirical, Steps+1)
	for i := range e {
		e[i] = all.Quantile(float64(i) / Steps)
	}
	return e
}

// Quantile implements Distribution.
func (e Empirical) Quantile(q float64) time.Duration {
	at := min(max(q, 0), 1) * float64(len(e)-1)
	i := min(int(at), len(e)-2)
	d := float64(e[i+1]-e[i]) * (at - float64(i))
	return (e[i] + time.Duration(d)).Round(time.Millisecond)
}

// Max implements Distribution.
func (e Empirical) Max() time.Duration { return e.Quantile(1) }

// maxDelay bounds every delay of a custom profile: whoever waits for more
// advances the clock.
const maxDelay = 7 * 24 * time.Hour

// distributionOf reads a recorded distribution; none is no delay.
func distributionOf(m *statev1.DelayDistribution) (Distribution, error) {
	if m == nil {
		return Fixed(0), nil
	}
	values := m.GetValues()
	if len(values) == 0 || len(values) > Steps+1 {
		return nil, fmt.Errorf("a distribution has 1 to %d values, not %d", Steps+1, len(values))
	}
	for _, v := range values {
		if v < 0 || v > int64(maxDelay) {
			return nil, fmt.Errorf("delay %v is not from 0 to %v", time.Duration(v), maxDelay)
		}
	}
	want := 1
	var d Distribution
	switch m.GetKind() {
	case "fixed":
		d = Fixed(values[0])
	case "uniform":
		if want = 2; len(values) == want {
			d = Uniform{time.Duration(values[0]), time.Duration(values[1])}
		}
	case "lognormal":
		if s := m.GetSigma(); !(s >= 0 && s <= 3) {
			return nil, fmt.Errorf("sigma %v is not from 0 to 3", s)
		}
		d = Lognormal{time.Duration(values[0]), m.GetSigma()}
	case "empirical":
		want = max(len(values), 2)
		e := make(Empirical, len(values))
		for i, v := range values {
			e[i] = time.Duration(v)
		}
		d = e
	default:
		return nil, fmt.Errorf("distribution %q is not one of fixed, uniform, lognormal, empirical", m.GetKind())
	}
	switch {
	case len(values) != want:
		return nil, fmt.Errorf("%s takes %d values, not %d", m.GetKind(), want, len(values))
	case !slices.IsSorted(values):
		return nil, errors.New("values fall")
	case d.Max() > maxDelay:
		return nil, fmt.Errorf("delays reach %v, more than %v", d.Max(), maxDelay)
	}
	return d, nil
}
