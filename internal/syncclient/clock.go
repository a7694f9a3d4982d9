package syncclient

import "time"

var start = time.Now()

// sinceStart is Go's monotonic clock, which may stand still while the machine
// sleeps. It is never 0.
func sinceStart() time.Duration { return time.Since(start) + 1 }
