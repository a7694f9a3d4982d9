package cluster

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// watchedLog counts the writes of the log and knows how long the one under way
// has taken. Raft's main loop is the only writer.
type watchedLog struct {
	LogStore
	syncs prometheus.Counter
	each  float64 // fsyncs that one write costs
	epoch time.Time
	since atomic.Int64 // nanoseconds after epoch at which the write under way began, 0: none
}

// boltSyncs: a bbolt commit syncs its data pages, then the page that names them.
const boltSyncs = 2

func newWatchedLog(inner LogStore, syncs prometheus.Counter) *watchedLog {
	l := &watchedLog{LogStore: inner, syncs: syncs, each: 1, epoch: time.Now().Add(-1)}
	if _, bolt := inner.(*raftboltdb.BoltStore); bolt {
		l.each = boltSyncs
	}
	return l
}

// StoreLog is part of raft.LogStore.
func (l *watchedLog) StoreLog(log *raft.Log) error { return l.StoreLogs([]*raft.Log{log}) }

// StoreLogs is part of raft.LogStore.
func (l *watchedLog) StoreLogs(logs []*raft.Log) error {
	l.since.Store(int64(time.Since(l.epoch)))
	defer l.since.Store(0)
	err := l.LogStore.StoreLogs(logs)
	if err == nil {
		l.syncs.Add(l.each)
	}
	return err
}

// IsMonotonic is part of raft.MonotonicLogStore, for stores that are.
func (l *watchedLog) IsMonotonic() bool {
	m, ok := l.LogStore.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

// stalled returns how long the write under way has taken, 0 if there is none.
func (l *watchedLog) stalled() time.Duration {
	since := l.since.Load()
	if since == 0 {
		return 0
	}
	return time.Since(l.epoch) - time.Duration(since)
}

// watchDisk cuts a leader off from the others while its disk does not answer,
// so that they elect another one, and lets it back in when it does. It then
// finds a newer term and follows. A follower is left alone: nobody waits for a
// minority's disk, and its heartbeats keep it from starting elections.
func (n *Node) watchDisk(ctx context.Context, r *raft.Raft, log *watchedLog) {
	tick := time.NewTicker(max(n.cfg.ElectionTimeout/10, time.Millisecond))
	defer tick.Stop()
	cut := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		stalled := log.stalled()
		switch {
		case !cut && stalled > n.cfg.DiskTimeout && r.State() == raft.Leader:
			cut = true
			n.gate.close()
			n.metrics.stalls.Inc()
			n.cfg.Logger.Warn("the disk does not answer, giving up the leadership", "stalled_ms", stalled.Milliseconds())
		case cut && stalled == 0:
			cut = false
			n.gate.open()
			n.cfg.Logger.Info("the disk answers again")
		default:
			continue
		}
		n.refreshLeadership()
	}
}
