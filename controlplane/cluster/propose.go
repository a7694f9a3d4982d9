package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/state"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	// maxTxnBytes is far above any API that can be written in one request.
	maxTxnBytes = 16 << 20
	// An entry takes in what is queued up to these; one larger Txn goes alone.
	maxEntryBytes = 512 << 10
	maxEntryTxns  = 1024
	// entriesUnderWay bounds the pipeline. While one entry is on its way to the
	// disks the next ones fill up, so more of them would only be smaller ones.
	entriesUnderWay = 3

	txnsField = 1 // statev1.Entry.txns
)

// proposal is one Txn on its way.
type proposal struct {
	data   []byte // the encoded Txn
	queued time.Time
	state  atomic.Int32
	answer chan answer // capacity 1
}

type answer struct {
	result state.Result
	err    error
}

// A proposal that waits may be withdrawn; one that was taken is in an entry.
const (
	waiting int32 = iota
	taken
	withdrawn
)

// queue holds the proposals that no entry carries yet. What bounds it is that
// each one has a caller who waits for it.
type queue struct {
	wake chan struct{} // capacity 1: there may be something

	mu     sync.Mutex
	closed bool
	items  []*proposal
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

func (q *queue) add(p *proposal) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	q.items = append(q.items, p)
	q.mu.Unlock()
	signal(q.wake)
	return true
}

// take removes what the next entry shall carry.
func (q *queue) take() []*proposal {
	q.mu.Lock()
	defer q.mu.Unlock()
	var batch []*proposal
	size, n := 0, 0
	for ; n < len(q.items); n++ {
		p := q.items[n]
		if len(batch) > 0 && (size+len(p.data) > maxEntryBytes || len(batch) == maxEntryTxns) {
			break
		}
		if p.state.CompareAndSwap(waiting, taken) {
			batch = append(batch, p)
			size += len(p.data)
		}
	}
	if n == len(q.items) {
		q.items = nil
	} else {
		q.items = q.items[n:]
		signal(q.wake)
	}
	return batch
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) == 0
}

// close takes what is left, and nothing is added afterwards.
func (q *queue) close() []*proposal {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	left := q.items
	q.items = nil
	return left
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Propose has the Txn decided by the cluster and answers once it is applied
// here: Result says at which index, and whether a guard refused it. With an
// error the Txn was not written, unless the error wraps ErrUnknownOutcome.
//
// Proposals that meet share a log entry, and so the fsyncs that it costs, but
// each keeps its own guards and answer.
func (n *Node) Propose(ctx context.Context, txn *statev1.Txn) (state.Result, error) {
	if !n.IsLeader() {
		return state.Result{}, ErrNotLeader
	}
	// A Txn that the state can't apply would stop every replica: none enters the log.
	if err := state.Check(txn); err != nil {
		return state.Result{}, err
	}
	data, err := proto.Marshal(txn)
	if err != nil {
		return state.Result{}, fmt.Errorf("encode transaction: %w", err)
	}
	if len(data) > maxTxnBytes {
		return state.Result{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), maxTxnBytes)
	}
	p := &proposal{data: data, queued: time.Now(), answer: make(chan answer, 1)}
	if !n.proposals.add(p) {
		return state.Result{}, ErrStopped
	}
	for {
		changed := n.LeadershipChanged()
		// Raft answers for every other way to lose a leadership; cut off from the
		// others by its own disk it can't, for as long as that takes.
		if n.gate.isShut() {
			return state.Result{}, p.abandon(ErrNotLeader, ErrLostLeadership)
		}
		select {
		case a := <-p.answer:
			return a.result, a.err
		case <-ctx.Done():
			return state.Result{}, p.abandon(
				fmt.Errorf("waiting to propose: %w", ctx.Err()),
				fmt.Errorf("%w: %w", ErrUnknownOutcome, ctx.Err()))
		case <-changed:
		}
	}
}

// abandon gives a proposal up: with the first error if no entry has it yet and
// none ever will, else with the second.
func (p *proposal) abandon(unwritten, unknown error) error {
	if p.state.CompareAndSwap(waiting, withdrawn) {
		return unwritten
	}
	return unknown
}

// underWay is an entry given to raft and those who wait for it.
type underWay struct {
	batch  []*proposal
	future raft.ApplyFuture
}

// propose turns what is queued into entries. Raft takes an entry when its main
// loop has written the one before; while this waits for that, the queue fills,
// and so entries grow as the disk gets slower.
func (n *Node) propose(ctx context.Context, r *raft.Raft, entries chan<- underWay) {
	defer close(entries)
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.proposals.wake:
		}
		batch := n.proposals.take()
		if len(batch) == 0 {
			continue
		}
		entries <- underWay{batch, r.Apply(encodeEntry(batch), 0)}
	}
}

// encodeEntry writes a statev1.Entry around Txns that are encoded already.
func encodeEntry(batch []*proposal) []byte {
	size := 0
	for _, p := range batch {
		size += protowire.SizeTag(txnsField) + protowire.SizeBytes(len(p.data))
	}
	b := make([]byte, 0, size)
	for _, p := range batch {
		b = protowire.AppendTag(b, txnsField, protowire.BytesType)
		b = protowire.AppendBytes(b, p.data)
	}
	return b
}

// answer waits for the entries in their order. Down is closed when raft has
// ended: it does not answer everything that it had taken.
func (n *Node) answer(entries <-chan underWay, down <-chan struct{}) {
	for e := range entries {
		err := proposeError(n.calls.await(down, e.future.Error))
		var results []state.Result
		if err == nil {
			results = e.future.Response().([]state.Result)
			n.metrics.entries.Inc()
			n.metrics.txns.Add(float64(len(results)))
		}
		for i, p := range e.batch {
			a := answer{err: err}
			if err == nil {
				a.result = results[i]
				n.metrics.commit.Observe(time.Since(p.queued).Seconds())
			}
			p.answer <- a
		}
		if len(entries) == 0 && n.proposals.empty() {
			signal(n.committed)
		}
	}
}

// refuseQueued answers what no entry will carry.
func (n *Node) refuseQueued() {
	for _, p := range n.proposals.close() {
		if p.state.CompareAndSwap(waiting, taken) {
			p.answer <- answer{err: ErrStopped}
		}
	}
}
