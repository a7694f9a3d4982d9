package chart

import "time"

// timeSteps are the distances of ticks on an axis of time.
var timeSteps = []time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	24 * time.Hour, 2 * 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour, 90 * 24 * time.Hour,
}

// TimeTicks are times from 0 to high, at most twelve, and the unit that their
// numbers are said in.
func TimeTicks(high time.Duration) (ticks []time.Duration, unit time.Duration, name string) {
	step := timeSteps[len(timeSteps)-1]
	for _, s := range timeSteps {
		if high/s <= 12 {
			step = s
			break
		}
	}
	for t := time.Duration(0); t <= high; t += step {
		ticks = append(ticks, t)
	}
	switch {
	case step < time.Second && high < 2*time.Second:
		return ticks, time.Millisecond, "milliseconds"
	case high <= 3*time.Minute:
		return ticks, time.Second, "seconds"
	case high <= 3*time.Hour:
		return ticks, time.Minute, "minutes"
	case high <= 3*24*time.Hour:
		return ticks, time.Hour, "hours"
	}
	return ticks, 24 * time.Hour, "days"
}
