package simulate

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// BenchmarkRun: a million clients on one processor. It prints events, which are
// clients' queries, a second, and all bytes that were ever allocated, by resolver or,
// where there is but one, by client.
func BenchmarkRun(b *testing.B) {
	for _, bench := range []struct {
		name string
		edit func(*Config)
	}{
		{"a million resolvers", func(c *Config) {}},
		{"ten clients each, with caches", func(c *Config) {
			c.Resolvers, c.Mix = 100_000, mustMix(b, "jvm=3,browser=2,glibc=5")
		}},
		{"one resolver", func(c *Config) { c.Resolvers, c.Clients, c.Duration = 1, 1_000_000, 10*time.Minute }},
		{"periodic", func(c *Config) { c.Periodic = true }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			cfg := Config{
				Profile: "aws", Seed: 1, Changes: 1, Operation: Associate, Resolvers: 1_000_000, Clients: 1_000_000,
				Every: time.Minute, Duration: 20 * time.Minute, Workers: 1,
			}
			bench.edit(&cfg)
			events := uint64(0)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for b.Loop() {
				r, err := Run(context.Background(), cfg)
				if err != nil {
					b.Fatal(err)
				}
				events += r.Queries
			}
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
			place, places := "B/resolver", cfg.Resolvers
			if places == 1 {
				place, places = "B/client", cfg.Clients
			}
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(b.N)/float64(places), place)
			b.ReportMetric(0, "ns/op")
		})
	}
}

func mustMix(t testing.TB, text string) []Share {
	mix, err := ParseMix(text)
	if err != nil {
		t.Fatal(err)
	}
	return mix
}
