package propagation

import (
	"fmt"
	"slices"
	"testing"
	"time"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func TestQuantiles(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name string
		d    Distribution
		want [4]time.Duration // at 0.001, 0.25, 0.5, 0.9999
	}{
		{"fixed", Fixed(3 * s), [4]time.Duration{3 * s, 3 * s, 3 * s, 3 * s}},
		{"uniform", Uniform{s, 5 * s}, [4]time.Duration{1004 * time.Millisecond, 2 * s, 3 * s, 5 * s}},
		{"lognormal", Lognormal{s, 0.6}, [4]time.Duration{157 * time.Millisecond, 667 * time.Millisecond, s, 6386 * time.Millisecond}},
		{"empirical", NewEmpirical([]time.Duration{9 * s, s, 2 * s, 3 * s, 4 * s}), [4]time.Duration{1004 * time.Millisecond, 2 * s, 3 * s, 8998 * time.Millisecond}},
		{"one measurement", NewEmpirical([]time.Duration{s}), [4]time.Duration{s, s, s, s}},
	} {
		for i, q := range []float64{0.001, 0.25, 0.5, 0.9999} {
			if got := c.d.Quantile(q); got.Round(time.Millisecond) != got || (got-c.want[i]).Abs() > time.Millisecond {
				t.Errorf("%s at %v: %v, want %v", c.name, q, got, c.want[i])
			}
		}
	}
}

// Whatever was measured, its quantiles are those of the measurements, as
// exactly as their number allows.
func TestEmpiricalFollowsItsData(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var delays []time.Duration
		for range rapid.IntRange(1, 2000).Draw(t, "n") {
			delays = append(delays, time.Duration(rapid.Int64Range(0, 600_000).Draw(t, "ms"))*time.Millisecond)
		}
		e := NewEmpirical(delays)
		sorted := slices.Sorted(slices.Values(delays))
		if len(e) > Steps+1 || e[0] != sorted[0] || e.Max() != sorted[len(sorted)-1] {
			t.Fatalf("%d quantiles from %v to %v", len(e), e[0], e.Max())
		}
		for i := range 100 {
			q := (float64(i) + 0.5) / 100
			// Between the neighbours at one step of the condensed form to each side.
			low := sorted[int(max(q-1.0/Steps, 0)*float64(len(sorted)-1))]
			high := sorted[min(int((q+1.0/Steps)*float64(len(sorted)-1))+1, len(sorted)-1)]
			if got := e.Quantile(q); got < low || got > high {
				t.Fatalf("quantile %v is %v, not in %v..%v", q, got, low, high)
			}
		}
	})
}

func anyDistribution(t *rapid.T) *statev1.DelayDistribution {
	second := int64(time.Second)
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return &statev1.DelayDistribution{Kind: "fixed", Values: []int64{rapid.Int64Range(0, 60).Draw(t, "delay") * second}}
	case 2:
		return &statev1.DelayDistribution{Kind: "uniform", Values: []int64{second, rapid.Int64Range(1, 60).Draw(t, "high") * second}}
	case 3:
		return &statev1.DelayDistribution{Kind: "lognormal", Values: []int64{rapid.Int64Range(0, 60).Draw(t, "median") * second}, Sigma: rapid.Float64Range(0, 2).Draw(t, "sigma")}
	}
	values := rapid.SliceOfN(rapid.Int64Range(0, 60*second), 2, Steps+1).Draw(t, "values")
	slices.Sort(values)
	return &statev1.DelayDistribution{Kind: "empirical", Values: values}
}

// A custom profile keeps the promises of the built-in ones, and its change says
// the same wherever its record is read.
func TestCustomProfiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyChange(t)
		c.Profile, c.Lost, c.Lag = "office", false, nil
		c.CustomProfile = &statev1.DnsProfile{Enqueue: anyDistribution(t), Sync: anyDistribution(t), Endpoint: anyDistribution(t)}
		Befall(c, nil)
		p, err := Resolve(c.GetProfile(), c.GetCustomProfile())
		if err != nil {
			t.Fatal(err)
		}
		stored, err := proto.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		read := new(statev1.DnsChange)
		if err := proto.Unmarshal(stored, read); err != nil {
			t.Fatal(err)
		}
		for a := range Authorities {
			at, ok := Instant(c, a)
			again, okAgain := Instant(read, a)
			d := at.Sub(time.Unix(0, c.Attempts[0]))
			if !ok || !okAgain || !at.Equal(again) || d < 0 || d > p.MaxDelay() {
				t.Fatalf("authority %d: %v, read again %v, bound %v", a, d, again, p.MaxDelay())
			}
		}
		if len(stored) > 4<<10 {
			t.Fatalf("a record of %d bytes", len(stored))
		}
	})
}

func TestResolveLimits(t *testing.T) {
	d := func(kind string, sigma float64, values ...int64) *statev1.DnsProfile {
		return &statev1.DnsProfile{Sync: &statev1.DelayDistribution{Kind: kind, Sigma: sigma, Values: values}}
	}
	for name, bad := range map[string]*statev1.DnsProfile{
		"kind": d("normal", 0, 1), "no values": d("fixed", 0), "too many": d("fixed", 0, 1, 2), "one bound": d("uniform", 0, 1),
		"falling": d("uniform", 0, 2, 1), "negative": d("fixed", 0, -1), "one quantile": d("empirical", 0, 1), "long": d("fixed", 0, int64(maxDelay)+1),
		"sigma": d("lognormal", -1, 1), "tail": d("lognormal", 3, int64(maxDelay)), "many quantiles": d("empirical", 0, make([]int64, Steps+2)...),
		"lost": {Lost: 1}, "lag": {Lag: -1}, "ttl": {PositiveTtl: -1}, "negative ttl": {NegativeTtl: 1 << 40},
	} {
		if _, err := Resolve("office", bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, name := range []string{"", "aws", "Office", "a b"} {
		if _, err := Resolve(name, &statev1.DnsProfile{}); err == nil {
			t.Errorf("name %q: accepted", name)
		}
	}
	if p, err := Resolve("aws", nil); err != nil || p.Name != "aws" {
		t.Errorf("built in: %v, %v", p, err)
	}
}

func TestQuantilesAllocateNothing(t *testing.T) {
	for _, d := range []Distribution{Fixed(1), Uniform{1, 2}, Lognormal{1, 1}, Empirical{1, 2, 3}} {
		if n := testing.AllocsPerRun(100, func() { d.Quantile(0.3) }); n != 0 {
			t.Errorf("%s: %v allocations", fmt.Sprintf("%T", d), n)
		}
	}
}
