package resolver

import "time"

const (
	// minFailure and maxFailure bound how long a failure is remembered
	// (RFC 9520, 3.2).
	minFailure = time.Second
	maxFailure = 5 * time.Minute
	// StaleTTL is what an answer served stale carries (RFC 8767, 4).
	StaleTTL = 30 * time.Second
	// failureRecheck is how often authorities are tried again while a stale
	// answer stands in for theirs (RFC 8767, 5).
	failureRecheck = 30 * time.Second
)

// Failure says that all authorities failed for a name, whatever the type: they
// fail for names. The zero Failure is none.
type Failure struct {
	until int64
	wait  time.Duration
}

// Again is the failure after one more at an instant: each wait is twice the
// one before. spare: there is a stale answer to give meanwhile.
func (f Failure) Again(at int64, spare bool) Failure {
	wait := max(2*f.wait, minFailure)
	if spare {
		wait = max(wait, failureRecheck)
	}
	wait = min(wait, maxFailure)
	return Failure{until: at + int64(wait), wait: wait}
}

// Holds reports whether authorities must not be asked yet.
func (f Failure) Holds(at int64) bool { return at < f.until }

// Forgotten: a name that nobody asked for as long again as it was not to be
// asked starts afresh.
func (f Failure) Forgotten(at int64) bool { return at >= f.until+int64(f.wait) }
