package dnsprop

import (
	"fmt"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the counters of a Server.
type metrics struct {
	resolverAnswers  *prometheus.CounterVec
	authorityAnswers *prometheus.CounterVec
	programming      *prometheus.HistogramVec
	index            prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		resolverAnswers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_resolver_answers_total",
			Help: "Responses of the resolvers, by rcode.",
		}, []string{"rcode"}),
		authorityAnswers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_authority_answers_total",
			Help: "Responses of the public name servers, by rcode.",
		}, []string{"rcode"}),
		programming: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "postern_propagation_programming_seconds",
			Help:    "From the commit of a change of names until places of a kind show it and nothing older, on the DNS clock.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 21), // to 17 minutes: the longest negative TTL
		}, []string{"kind"}),
		index: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "postern_propagation_snapshot_index",
			Help: "Index of the DNS snapshot in use.",
		}),
	}
	for _, c := range []prometheus.Collector{m.resolverAnswers, m.authorityAnswers, m.programming, m.index} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register dns metrics: %w", err)
		}
	}
	return m, nil
}

// count returns a handler's counter by rcode. The usual codes are looked up
// once, here; the others share a label, so no client can make more of them.
func count(v *prometheus.CounterVec) func(rcode int) {
	var known [16]prometheus.Counter
	for rcode := range known {
		if name, ok := dns.RcodeToString[rcode]; ok && rcode <= dns.RcodeRefused {
			known[rcode] = v.WithLabelValues(name)
		} else {
			known[rcode] = v.WithLabelValues("other")
		}
	}
	return func(rcode int) {
		if rcode < 0 || rcode >= len(known) {
			rcode = len(known) - 1
		}
		known[rcode].Inc()
	}
}
