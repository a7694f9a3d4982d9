package edge

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what the edge does. Counters are looked up once, not for each
// request.
type metrics struct {
	decisions [numVerdicts]prometheus.Counter
	requests  *prometheus.CounterVec
	byCode    [600]struct {
		once    sync.Once
		counter prometheus.Counter
	}
	evaluations   prometheus.Histogram
	bound, failed prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	decisions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_edge_decisions_total",
		Help: "Requests by what was decided about them.",
	}, []string{"result"})
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_edge_requests_total",
			Help: "Requests by the status that they were answered with.",
		}, []string{"code"}),
		evaluations: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "postern_policy_eval_seconds",
			Help:    "Time to decide a request, API to policies; one in 64 is timed.",
			Buckets: prometheus.ExponentialBuckets(250e-9, 2, 16),
		}),
	}
	interfaces := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "postern_edge_interfaces_count",
		Help: "Network interfaces of endpoints by whether they could be bound.",
	}, []string{"state"})
	m.bound, m.failed = interfaces.WithLabelValues("bound"), interfaces.WithLabelValues("failed")
	for _, c := range []prometheus.Collector{decisions, m.requests, m.evaluations, interfaces} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	for v := range m.decisions {
		m.decisions[v] = decisions.WithLabelValues(answers[v].result)
	}
	return m, nil
}

func (m *metrics) decision(v verdict) { m.decisions[v].Inc() }

func (m *metrics) listeners(bound, failed int) {
	m.bound.Set(float64(bound))
	m.failed.Set(float64(failed))
}

func (m *metrics) evaluation(d time.Duration) { m.evaluations.Observe(d.Seconds()) }

func (m *metrics) request(code int) {
	if code < 0 || code >= len(m.byCode) {
		code = 0
	}
	c := &m.byCode[code]
	c.once.Do(func() { c.counter = m.requests.WithLabelValues(strconv.Itoa(code)) })
	c.counter.Inc()
}
