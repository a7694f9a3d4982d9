// Package publish brings snapshots to the places that serve them, and knows
// which place shows which version. DESIGN.md says why it is built as it is.
//
// What it promises:
//
//  1. A stream never carries a version below one that its client named, and a
//     client that lost what it had gets nothing older than what the leader has.
//  2. 0 <= acknowledged <= sent, for every place of every stream.
//  3. A Current with an echo proves that its index was the newest one at some
//     instant after the client's clock showed that.
//  4. After Wait has reported an index as reached, no registered place of those
//     kinds decides by an older version.
//
// Publisher serves EdgeSync on every node, and asks edges over it for what only
// they know; Barrier answers for all places and
// counts only on the leader. It owns streams, acknowledgements and the barrier.
// It leaves to others what resources contain (snapshot, dnsfeed), who may
// connect (Config.Authorize), how registrations are written (Config.Register),
// and the gRPC server: with thousands of streams that one needs small buffers
// (grpc.ReadBufferSize and WriteBufferSize of a few KB, SharedWriteBuffer) and
// a receive limit that holds a Hello (100 bytes a resource).
//
// Publisher and Barrier are safe for any number of goroutines.
package publish

import (
	"context"
	"time"

	"github.com/posternhq/postern/controlplane/state"
)

// Store is what this package needs of the replicated state.
type Store interface {
	View() *state.View
	// Watch is closed at the next publish of a View; take it before View.
	Watch() <-chan struct{}
}

// await returns the first View that ok accepts.
func await(ctx context.Context, s Store, ok func(*state.View) bool) (*state.View, error) {
	for {
		changed := s.Watch()
		if v := s.View(); ok(v) {
			return v, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

const (
	// patience bounds how long a stream waits for this node to catch up.
	patience = 10 * time.Second
	// currentEvery is how often a client hears that there is nothing newer.
	currentEvery = time.Second
	// reportGap is the least time between two reports to the leader.
	reportGap = 20 * time.Millisecond
	// reportEvery is how often a node looks for work for the leader when nothing woke it.
	reportEvery = 250 * time.Millisecond
	// reportTimeout is how long the leader may take over one report.
	reportTimeout = 2 * time.Second
)
