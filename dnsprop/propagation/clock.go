package propagation

import (
	"math"
	"time"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Clock is the DNS clock as last recorded: at wall time WallTime it showed
// DNSTime, and since then it has run Speed times as fast as the wall clock.
// The zero Speed is a frozen clock.
type Clock struct {
	DNSTime  time.Time
	WallTime time.Time
	Speed    float64
}

// ClockOf reads a recorded clock. No record means the wall clock itself.
func ClockOf(c *statev1.DnsClock) Clock {
	if c == nil {
		epoch := time.Unix(0, 0).UTC()
		return Clock{DNSTime: epoch, WallTime: epoch, Speed: 1}
	}
	return Clock{
		DNSTime:  time.Unix(0, c.GetDnsTime()).UTC(),
		WallTime: time.Unix(0, c.GetWallTime()).UTC(),
		Speed:    c.GetSpeed(),
	}
}

// latest is where the clock stops. Instants are counted in nanoseconds since
// 1970, which end in 2262; a clock that ran over would show 1677 again. What is
// left is room for delays and TTLs.
var latest = time.Date(2250, 1, 1, 0, 0, 0, 0, time.UTC)

// Proto is the clock as a record holds it.
func (c Clock) Proto() *statev1.DnsClock {
	return &statev1.DnsClock{DnsTime: c.DNSTime.UnixNano(), WallTime: c.WallTime.UnixNano(), Speed: c.Speed}
}

// Now is the DNS time at a wall time. A machine whose wall clock is behind the
// record sees the recorded instant until it has caught up: the clock never
// shows less than was committed.
func (c Clock) Now(wall time.Time) time.Time {
	elapsed := max(wall.Sub(c.WallTime), 0)
	return capped(c.DNSTime.Add(scale(elapsed, c.Speed)))
}

func capped(t time.Time) time.Time {
	if t.After(latest) {
		return latest
	}
	return t.UTC()
}

// Wall is the wall time at which the clock shows a DNS instant, if it is left
// alone. It reports false if a frozen clock never gets there.
func (c Clock) Wall(instant time.Time) (time.Time, bool) {
	d := instant.Sub(c.DNSTime)
	switch {
	case d <= 0:
		return c.WallTime, true
	case c.Speed <= 0:
		return time.Time{}, false
	}
	return c.WallTime.Add(scale(d, 1/c.Speed)).UTC(), true
}

// Advance is the clock moved forward by d; a negative d moves nothing.
func (c Clock) Advance(wall time.Time, d time.Duration) Clock {
	return Clock{DNSTime: capped(c.Now(wall).Add(max(d, 0))), WallTime: c.base(wall), Speed: c.Speed}
}

// WithSpeed is the clock running at another speed from now on: it starts from
// what it shows, so time does not jump.
func (c Clock) WithSpeed(wall time.Time, speed float64) Clock {
	return Clock{DNSTime: c.Now(wall), WallTime: c.base(wall), Speed: max(speed, 0)}
}

// base keeps the recorded wall time if the caller's is behind it; otherwise
// the same stretch of time would be counted twice.
func (c Clock) base(wall time.Time) time.Time {
	if wall.Before(c.WallTime) {
		return c.WallTime
	}
	return wall.Round(0).UTC()
}

// TTL turns a remaining DNS time into the seconds that a client, which lives
// by the wall clock, may keep an answer: rounded down, 0 when frozen.
func (c Clock) TTL(remaining time.Duration) uint32 {
	if c.Speed <= 0 || remaining <= 0 {
		return 0
	}
	return uint32(min(scale(remaining, 1/c.Speed)/time.Second, math.MaxUint32))
}

// scale multiplies without losing nanoseconds at speed 1, and saturates.
func scale(d time.Duration, factor float64) time.Duration {
	if factor == 1 {
		return d
	}
	f := float64(d) * factor
	if f >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(f)
}
