package bench

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posternhq/postern/test/procs"
	"github.com/posternhq/postern/test/tenant"
)

const writers = 200

// metrics sums samples of a node over their labels.
func metrics(b *testing.B, p *procs.Process) map[string]float64 {
	b.Helper()
	resp, err := http.Get("http://" + p.Admin + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	sums := map[string]float64{}
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		name, value, ok := strings.Cut(s.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		name, _, _ = strings.Cut(name, "{")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			sums[name] += n
		}
	}
	return sums
}

// BenchmarkWrites: 200 clients change descriptions through the AWS front of
// three nodes, each its own API or all the same one. A write is acknowledged
// after it is on the disks of a majority; group commit shows in fsyncs a write.
// The raw line is the disk alone: one 4 KB write and fsync after the other.
func BenchmarkWrites(b *testing.B) {
	c := cluster(b, 3, 1)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: writers}}
	apis := make([]string, writers)
	for i := range apis {
		var made struct{ ID string }
		if _, err := tenant.AWS(soon(b), client, c.Nodes[0].API, "POST", "/restapis", map[string]any{"name": fmt.Sprint("api ", i)}, &made); err != nil {
			b.Fatal(err)
		}
		apis[i] = made.ID
	}
	leader, err := c.Leader(soon(b))
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name string
		apis int
	}{{"own", writers}, {"same", 1}} {
		b.Run(fmt.Sprintf("clients=%d/api=%s", writers, bench.name), func(b *testing.B) {
			before := metrics(b, leader)
			var next, failed atomic.Int64
			var group sync.WaitGroup
			latencies := make([][]time.Duration, writers)
			b.ResetTimer()
			for i := range writers {
				group.Go(func() {
					front := c.Nodes[i%len(c.Nodes)].API
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						began := time.Now()
						if err := describe(b.Context(), client, front, apis[i%bench.apis], n); err != nil {
							failed.Add(1)
							b.Log(err)
						}
						latencies[i] = append(latencies[i], time.Since(began))
					}
				})
			}
			group.Wait()
			b.StopTimer()
			var all []time.Duration
			for _, l := range latencies {
				all = append(all, l...)
			}
			after := metrics(b, leader)
			syncs := after["postern_cluster_log_syncs_total"] - before["postern_cluster_log_syncs_total"]
			txns := after["postern_cluster_txns_total"] - before["postern_cluster_txns_total"]
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			b.ReportMetric(syncs/float64(b.N), "fsyncs/write")
			b.ReportMetric(txns/float64(b.N), "txns/write")
			b.ReportMetric(ms(percentile(all, 0.5)), "ms-p50")
			b.ReportMetric(ms(percentile(all, 0.99)), "ms-p99")
			if n := failed.Load(); n > 0 {
				b.Errorf("%d writes failed", n)
			}
		})
	}
	b.Run("raw", rawSyncs)
}

func describe(ctx context.Context, client *http.Client, front, api string, n int64) error {
	_, err := tenant.AWS(ctx, client, front, "PATCH", "/restapis/"+api, map[string]any{
		"patchOperations": []any{map[string]string{"op": "replace", "path": "/description", "value": fmt.Sprint("version ", n)}},
	}, nil)
	return err
}

func rawSyncs(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	for b.Loop() {
		if _, err := f.Write(page); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "fsyncs/s")
}
