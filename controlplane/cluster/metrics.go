package cluster

import (
	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	commit  prometheus.Histogram
	syncs   prometheus.Counter
	txns    prometheus.Counter
	entries prometheus.Counter
	stalls  prometheus.Counter
}

// newMetrics registers with reg; nil registers nowhere.
func newMetrics(reg prometheus.Registerer, n *Node) (*metrics, error) {
	m := &metrics{
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "postern_cluster_commit_seconds",
			Help:    "Time from a proposal to its answer, on the leader.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		syncs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postern_cluster_log_syncs_total",
			Help: "Fsyncs of this node's raft log.",
		}),
		txns: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postern_cluster_txns_total",
			Help: "Transactions answered by this node as leader, refused guards included.",
		}),
		entries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postern_cluster_entries_total",
			Help: "Log entries that carried them.",
		}),
		stalls: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postern_cluster_disk_stalls_total",
			Help: "Times that this leader was cut off because its disk did not answer.",
		}),
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	ofRaft := func(value func(*raft.Raft) float64) func() float64 {
		return func() float64 {
			if r := n.raft.Load(); r != nil {
				return value(r)
			}
			return 0
		}
	}
	collectors := []prometheus.Collector{
		m.commit, m.syncs, m.txns, m.entries, m.stalls,
		gauge("postern_cluster_leader_state", "1 while this node leads.", func() float64 {
			if n.IsLeader() {
				return 1
			}
			return 0
		}),
		gauge("postern_cluster_applied_index", "Index of the newest View.", func() float64 { return float64(n.store.View().Index()) }),
		gauge("postern_cluster_commit_index", "Raft's commit index as this node knows it.", ofRaft(func(r *raft.Raft) float64 { return float64(r.CommitIndex()) })),
		gauge("postern_cluster_term_number", "Raft's current term.", ofRaft(func(r *raft.Raft) float64 { return float64(r.CurrentTerm()) })),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range collectors {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
