package syncclient

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot is a monotonic clock that goes on while the machine sleeps and while
// the process is stopped.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return sinceStart()
	}
	return time.Duration(ts.Nano())
}
