package resolver

import "time"

const (
	// minFailure and maxFailure bound how long a failure is remembered
	// (RFC 9520, 3.2).
	minFailure = time.Second
	maxFailure = 5 * time.Minute
	// staleTTL is what an answer served stale carries (RFC 8767, 4).
	staleTTL = 30 * time.Second
	// failureRecheck is how often authorities are tried again while a stale
	// answer stands in for theirs (RFC 8767, 5).
	failureRecheck = 30 * time.Second
)

// failure says that all authorities failed for a name, whatever the type: they
// fail for names. The zero failure is none.
type failure struct {
	until int64
	wait  time.Duration
}

// again is the failure after one more at an instant: each wait is twice the
// one before.
func (f failure) again(at int64, atLeast time.Duration) failure {
	wait := min(max(2*f.wait, minFailure, atLeast), maxFailure)
	return failure{until: at + int64(wait), wait: wait}
}

// forgotten: a name that nobody asked for as long again as it was not to be
// asked starts afresh.
func (f failure) forgotten(at int64) bool { return at >= f.until+int64(f.wait) }
