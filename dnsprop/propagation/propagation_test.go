package propagation

import (
	"fmt"
	"slices"
	"testing"
	"time"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	"pgregory.net/rapid"
)

func mustLookup(t *testing.T, name string) Profile {
	t.Helper()
	p, err := Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLookupUnknown(t *testing.T) {
	if _, err := Lookup("slow"); err == nil {
		t.Fatal("an unknown profile was found")
	}
}

// The medians and 99th percentiles that the documents promise, within a tenth.
func TestDistribution(t *testing.T) {
	const n = 20000
	for _, c := range []struct {
		profile     string
		median, p99 time.Duration
	}{
		{"instant", 0, 0},
		{"fast", 900 * time.Millisecond, 1400 * time.Millisecond},
		{"aws", 65 * time.Second, 145 * time.Second},
		{"hostile", 145 * time.Second, 530 * time.Second},
	} {
		t.Run(c.profile, func(t *testing.T) {
			p := mustLookup(t, c.profile)
			totals := make([]time.Duration, n)
			lost := 0
			for i := range totals {
				id := fmt.Sprintf("C%020d", i)
				for a := range Authorities {
					d := p.Delay(7, id, 0, a)
					if d < 0 || d > p.MaxDelay() {
						t.Fatalf("delay %v outside 0..%v", d, p.MaxDelay())
					}
					totals[i] = max(totals[i], d)
				}
				if p.IsLost(7, id, 0) {
					lost++
				}
			}
			slices.Sort(totals)
			near := func(what string, got, want time.Duration) {
				if d := (got - want).Abs(); d > want/10 {
					t.Errorf("%s is %v, want about %v", what, got, want)
				}
			}
			near("median", totals[n/2], c.median)
			near("p99", totals[n*99/100], c.p99)
			if got := float64(lost) / n; got < p.Lost*0.9 || got > p.Lost*1.1 {
				t.Errorf("lost %v, want about %v", got, p.Lost)
			}
		})
	}
}

// A schedule is part of every recorded change: these numbers may never move.
func TestDelayIsFixed(t *testing.T) {
	p := mustLookup(t, "aws")
	got := []time.Duration{
		p.Delay(1, "CABCDEFGHIJKLMNOPQRST", 0, 0),
		p.Delay(1, "CABCDEFGHIJKLMNOPQRST", 0, 3),
		p.Delay(1, "CABCDEFGHIJKLMNOPQRST", 1, 0),
		p.Delay(2, "CABCDEFGHIJKLMNOPQRST", 0, 0),
	}
	want := []time.Duration{33694 * time.Millisecond, 54640 * time.Millisecond, 12709 * time.Millisecond, 57900 * time.Millisecond}
	if !slices.Equal(got, want) {
		t.Errorf("delays are %v, were %v", got, want)
	}
}

func anyChange(t *rapid.T) *statev1.DnsChange {
	first := rapid.Int64Range(0, 1<<61).Draw(t, "commit")
	return &statev1.DnsChange{
		Id:       rapid.StringMatching(`C[A-Z0-9]{20}`).Draw(t, "id"),
		Profile:  rapid.SampledFrom([]string{"instant", "fast", "aws", "hostile"}).Draw(t, "profile"),
		Seed:     rapid.Uint64().Draw(t, "seed"),
		Attempts: []int64{first},
		Lost:     rapid.Bool().Draw(t, "lost"),
		Lag:      rapid.SampledFrom([][]int64{nil, {0, int64(time.Minute), 0, 0}}).Draw(t, "lag"),
	}
}

// A new attempt never delays a change, at no authority, and makes a lost one
// visible unless it is lost itself; no change shows before its commit.
func TestAttemptsNeverDelay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyChange(t)
		p, _ := Lookup(c.Profile)
		for range rapid.IntRange(1, 4).Draw(t, "kicks") {
			before := make([]time.Time, Authorities)
			visible := make([]bool, Authorities)
			for a := range Authorities {
				before[a], visible[a] = Instant(c, a)
			}
			gap := rapid.Int64Range(0, int64(10*time.Minute)).Draw(t, "gap")
			c.Attempts = append(c.Attempts, c.Attempts[len(c.Attempts)-1]+gap)
			kicked := len(c.Attempts) - 1
			for a := range Authorities {
				after, ok := Instant(c, a)
				switch {
				case visible[a] && (!ok || after.After(before[a])):
					t.Fatalf("authority %d: %v became %v", a, before[a], after)
				case ok && after.Before(time.Unix(0, c.Attempts[0])):
					t.Fatalf("authority %d shows it %v before its commit", a, time.Unix(0, c.Attempts[0]).Sub(after))
				case !ok && !p.IsLost(c.Seed, c.Id, kicked):
					t.Fatalf("authority %d: attempt %d is not lost and has no instant", a, kicked)
				}
			}
		}
	})
}

func TestInsyncIsTheLastInstant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyChange(t)
		sync, ok := Insync(c)
		if ok == Lost(c) {
			t.Fatalf("insync %v, lost %v", ok, Lost(c))
		}
		reached := false
		for a := range Authorities {
			at, visible := Instant(c, a)
			if visible != ok {
				t.Fatalf("authority %d visible %v, insync %v", a, visible, ok)
			}
			if at.After(sync) {
				t.Fatalf("authority %d at %v, after insync %v", a, at, sync)
			}
			reached = reached || at.Equal(sync)
		}
		if ok && !reached {
			t.Fatal("insync is nobody's instant")
		}
	})
}

func TestLostChange(t *testing.T) {
	c := &statev1.DnsChange{Id: "CA", Profile: "aws", Lost: true, Attempts: []int64{1000}}
	if _, ok := Insync(c); ok {
		t.Fatal("a lost change is INSYNC")
	}
	c.Attempts = append(c.Attempts, 2000)
	if _, ok := Insync(c); !ok {
		t.Fatal("its second attempt was lost too")
	}
	if c.Profile = "unheard-of"; !Lost(c) {
		t.Fatal("a change of an unknown profile has instants")
	}
}

func TestEndpointStates(t *testing.T) {
	for name, want := range map[string][2]time.Duration{
		"instant": {0, 0},
		"fast":    {time.Second, time.Second},
		"aws":     {time.Minute, time.Minute},
		"hostile": {time.Minute, 3 * time.Minute},
	} {
		p := mustLookup(t, name)
		for i := range 100 {
			id := fmt.Sprintf("vpce-%017x", i)
			for _, d := range []time.Duration{p.Pending(3, id), p.Deleting(3, id)} {
				if d < want[0] || d > want[1] {
					t.Errorf("%s: %v outside %v", name, d, want)
				}
			}
		}
	}
}

func TestClock(t *testing.T) {
	wall := time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)

	if got := ClockOf(nil).Now(wall); !got.Equal(wall) {
		t.Errorf("the default clock shows %v at %v", got, wall)
	}
	if got := ClockOf(&statev1.DnsClock{Speed: 1}).Now(wall); !got.Equal(wall) {
		t.Errorf("the zero record shows %v at %v", got, wall)
	}

	fast := ClockOf(nil).WithSpeed(wall, 60)
	if got := fast.Now(wall); !got.Equal(wall) {
		t.Errorf("a change of speed jumps to %v", got)
	}
	if got, want := fast.Now(wall.Add(time.Second)), wall.Add(time.Minute); !got.Equal(want) {
		t.Errorf("60 x shows %v, want %v", got, want)
	}
	if got, ok := fast.Wall(wall.Add(time.Hour)); !ok || !got.Equal(wall.Add(time.Minute)) {
		t.Errorf("an hour is over at %v, %v", got, ok)
	}
	if got := fast.Now(wall.Add(-time.Hour)); !got.Equal(wall) {
		t.Errorf("a late wall clock shows %v, before what was recorded", got)
	}
	if got := fast.TTL(90 * time.Second); got != 1 {
		t.Errorf("90 s at 60 x are %d s", got)
	}

	frozen := fast.WithSpeed(wall, 0)
	if got := frozen.Now(wall.Add(time.Hour)); !got.Equal(wall) {
		t.Errorf("a frozen clock moved to %v", got)
	}
	if _, ok := frozen.Wall(wall.Add(1)); ok {
		t.Error("a frozen clock gets there")
	}
	if got := frozen.TTL(time.Hour); got != 0 {
		t.Errorf("a frozen TTL is %d", got)
	}
	ahead := frozen.Advance(wall.Add(time.Hour), 4*time.Minute)
	if got, want := ahead.Now(wall.Add(2*time.Hour)), wall.Add(4*time.Minute); !got.Equal(want) {
		t.Errorf("an advance of 4 minutes shows %v, want %v", got, want)
	}
	if got := ClockOf(ahead.Proto()); got != ahead {
		t.Errorf("recorded %+v, read %+v", ahead, got)
	}
	if got := (Clock{Speed: 1e9, WallTime: time.Unix(0, 0), DNSTime: time.Unix(0, 0)}).Now(wall); got.Before(wall) {
		t.Errorf("a huge speed overflows to %v", got)
	}
}

// Instants are stored as nanoseconds since 1970: a clock that ran past their
// end would show 1677, and every name would be gone.
func TestClockStopsBeforeInstantsEnd(t *testing.T) {
	wall := time.Unix(1_700_000_000, 0)
	stored := func(c Clock) Clock { return ClockOf(c.Proto()) }
	clock := ClockOf(nil)
	for i := range 40 {
		next := stored(clock.Advance(wall, 10*365*24*time.Hour))
		if next.Now(wall).Before(clock.Now(wall)) {
			t.Fatalf("advance %d: %v after %v", i, next.Now(wall), clock.Now(wall))
		}
		clock = next
	}
	fast := stored(ClockOf(nil).WithSpeed(wall, 10_000))
	for days := range 400 {
		at := fast.Now(wall.Add(time.Duration(days) * 24 * time.Hour))
		if at.Before(wall) || at.UnixNano() < wall.UnixNano() || at.After(latest) {
			t.Fatalf("after %d days: %v", days, at)
		}
	}
}

// Whatever happens to a clock, what it shows never goes back.
func TestClockNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wall := time.Unix(1_700_000_000, 0)
		clock := ClockOf(nil)
		shown := clock.Now(wall)
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			wall = wall.Add(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "passed")))
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				clock = clock.WithSpeed(wall, rapid.SampledFrom([]float64{0, 0.5, 1, 60, 3600}).Draw(t, "speed"))
			case 1:
				clock = clock.Advance(wall, time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "advance")))
			}
			now := clock.Now(wall)
			if now.Before(shown) {
				t.Fatalf("%v after %v", now, shown)
			}
			shown = now
		}
	})
}

func TestDelayAllocatesNothing(t *testing.T) {
	p := mustLookup(t, "aws")
	if n := testing.AllocsPerRun(100, func() { p.Delay(1, "CABCDEFGHIJKLMNOPQRST", 0, 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
