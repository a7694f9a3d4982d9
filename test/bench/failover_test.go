package bench

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/posternhq/postern/test/procs"
	"github.com/posternhq/postern/test/tenant"
)

// BenchmarkFailover: from SIGKILL of the leader to the first acknowledged write
// that began after it, by a client that asks one of the nodes that are left.
func BenchmarkFailover(b *testing.B) {
	c := cluster(b, 3, 1)
	var made struct{ ID string }
	if _, err := tenant.AWS(soon(b), http.DefaultClient, c.Nodes[0].API, "POST", "/restapis", map[string]any{"name": "failover"}, &made); err != nil {
		b.Fatal(err)
	}
	var all []time.Duration
	for n := int64(0); b.Loop(); n++ {
		b.StopTimer()
		leader, err := c.Leader(soon(b))
		if err != nil {
			b.Fatal(err)
		}
		var left *procs.Process
		for _, p := range c.Nodes {
			if p != leader {
				left = p
			}
		}
		b.StartTimer()
		if err := leader.Kill(); err != nil {
			b.Fatal(err)
		}
		killed := time.Now()
		for {
			ctx, cancel := context.WithTimeout(b.Context(), patience)
			err := describe(ctx, http.DefaultClient, left.API, made.ID, n)
			cancel()
			if err == nil {
				break
			}
			if time.Since(killed) > patience {
				b.Fatal(err)
			}
		}
		all = append(all, time.Since(killed))
		b.StopTimer()
		if err := procs.StartAll(soon(b), leader); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ms(percentile(all, 0.5)), "ms-p50")
	b.ReportMetric(ms(percentile(all, 1)), "ms-max")
}
