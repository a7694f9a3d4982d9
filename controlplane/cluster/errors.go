package cluster

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

var (
	// ErrNotLeader is returned when this node does not lead, or can't act as
	// leader at the moment. Nothing was written: the caller may ask the leader.
	ErrNotLeader = errors.New("this node is not the leader")
	// ErrUnknownOutcome is wrapped when a write entered the log and the node
	// stopped waiting for its fate: it may be committed, now or later, or never.
	// Repeating it is safe only if its guards make it so.
	ErrUnknownOutcome = errors.New("the outcome of the write is unknown")
	// ErrLostLeadership is the most common ErrUnknownOutcome: the node lost
	// the leadership while the write was on its way to a majority.
	ErrLostLeadership = fmt.Errorf("leadership lost during a write: %w", ErrUnknownOutcome)
	// ErrNoLeader is returned by reads when no leader could be asked in time.
	ErrNoLeader = errors.New("no leader answers")
	// ErrStopped is returned once Run has ended. Nothing was written.
	ErrStopped = errors.New("the node has stopped")
	// ErrTooLarge is returned for a Txn beyond the limit. Nothing was written.
	ErrTooLarge = errors.New("transaction too large")
	// ErrForgotten ends Run on a node that has no data under an id that its
	// peers know with data: voting anew it could undo a write that it had
	// acknowledged. Remove the id from the cluster, then join anew.
	ErrForgotten = errors.New("this id belongs to a node that has lost its data")
)

// proposeError turns raft's answer into what the caller may conclude from it.
func proposeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return ErrNotLeader
	case errors.Is(err, raft.ErrLeadershipLost):
		return ErrLostLeadership
	default:
		// Also a failed write of the own log: its bytes may have reached the
		// disk, and a later leader may find them there.
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
}
