package dnsprop

import (
	"fmt"
	"time"

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
			Help: "Responses of the resolvers, by place and rcode.",
		}, []string{"place", "rcode"}),
		authorityAnswers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_authority_answers_total",
			Help: "Responses of the public name servers, by place and rcode.",
		}, []string{"place", "rcode"}),
		programming: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "postern_propagation_programming_seconds",
			Help:    "From the commit of a change of names until places of a kind show it and nothing older, on the DNS clock.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 21), // to 17 minutes: the longest negative TTL
			// Native buckets, too, a tenth apart, for those who scrape them.
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  160,
			NativeHistogramMinResetDuration: time.Hour,
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

// count returns the counter by rcode of a place's handler. The usual codes are looked
// up once, here; the others share a label, so no client can make more of them.
func count(v *prometheus.CounterVec, place string) func(rcode int) {
	var known [16]prometheus.Counter
	for rcode := range known {
		if name, ok := dns.RcodeToString[rcode]; ok && rcode <= dns.RcodeRefused {
			known[rcode] = v.WithLabelValues(place, name)
		} else {
			known[rcode] = v.WithLabelValues(place, "other")
		}
	}
	return func(rcode int) {
		if rcode < 0 || rcode >= len(known) {
			rcode = len(known) - 1
		}
		known[rcode].Inc()
	}
}

// The caches are counted when somebody scrapes: what they hold changes with time
// alone.
var (
	cacheEntries = prometheus.NewDesc("postern_resolver_cache_entries",
		"What the caches hold, by place and state: positive and negative answers, stale ones, failures that are remembered. Estimated beyond 10,000 names.",
		[]string{"place", "state"}, nil)
	cacheLookups = prometheus.NewDesc("postern_resolver_cache_lookups_total",
		"Questions to the caches, by place and result: hit, miss, stale, failure.",
		[]string{"place", "result"}, nil)
)

// census collects what the caches hold.
type census struct{ server *Server }

// Describe implements prometheus.Collector.
func (census) Describe(to chan<- *prometheus.Desc) {
	to <- cacheEntries
	to <- cacheLookups
}

// Collect implements prometheus.Collector.
func (c census) Collect(to chan<- prometheus.Metric) {
	c.server.mu.Lock()
	places := c.server.places()
	c.server.mu.Unlock()
	at := c.server.zones.Load().At(c.server.cfg.Now())
	for _, p := range places[:min(len(places), maxPlaces)] {
		if p.resolver == nil {
			continue
		}
		found := p.resolver.Census(p.az, at)
		for state, n := range map[string]int{"positive": found.Positive, "negative": found.Negative, "stale": found.Stale, "failure": found.Failures} {
			to <- prometheus.MustNewConstMetric(cacheEntries, prometheus.GaugeValue, float64(n), p.id, state)
		}
		for result, n := range map[string]uint64{"hit": found.Lookups.Hits, "miss": found.Lookups.Misses, "stale": found.Lookups.Stale, "failure": found.Lookups.Failures} {
			to <- prometheus.MustNewConstMetric(cacheLookups, prometheus.CounterValue, float64(n), p.id, result)
		}
	}
}
