package publish

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	programming prometheus.Histogram
	version     *prometheus.GaugeVec
	streams     *prometheus.GaugeVec
	sent        *prometheus.CounterVec
	nacks       prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		programming: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "postern_publish_programming_seconds", Help: "From a commit, as this node saw it, to an edge's acknowledgement.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 18),
		}),
		version: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "postern_publish_place_version", Help: "Version that a place acknowledged to this node.",
		}, []string{"place"}),
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "postern_publish_open_streams", Help: "Open streams.",
		}, []string{"domain"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_publish_snapshots_total", Help: "Snapshots sent.",
		}, []string{"domain", "kind"}),
		nacks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postern_publish_nacks_total", Help: "Snapshots that a place rejected, in part or whole.",
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.programming, m.version, m.streams, m.sent, m.nacks} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
