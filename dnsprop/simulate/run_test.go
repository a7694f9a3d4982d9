package simulate

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/dnsprop/resolver"
)

// scenario is one that takes no time to play.
func scenario() Config {
	return Config{
		Profile: "aws", Seed: 1, Changes: 1, Operation: Associate, Resolvers: 3000, Clients: 7000,
		Every: time.Minute, Duration: 30 * time.Minute,
	}
}

func play(t *testing.T, cfg Config) *Result {
	t.Helper()
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSameSeedSameResult(t *testing.T) {
	cfg := scenario()
	cfg.Changes, cfg.Mix = 3, mustMix(t, "jvm=3,browser=1,none=2")
	want := play(t, cfg)
	for _, workers := range []int{1, 2, 3, 8} {
		cfg.Workers = workers
		if got := play(t, cfg); !reflect.DeepEqual(got, want) {
			t.Errorf("%d goroutines find something else", workers)
		}
	}
	cfg.Seed = 2
	if got := play(t, cfg); reflect.DeepEqual(got, want) {
		t.Error("another seed finds the same")
	}
}

// Each setting is asked the same questions at the same times, so that a
// comparison shows the setting.
func TestOptionsDoNotMoveQueries(t *testing.T) {
	var sets [2][]string
	for i, options := range []string{"", "negative-ttl=5,prefetch"} {
		cfg := scenario()
		cfg.Clients, cfg.Resolvers = 20, 5
		var err error
		if cfg.Cache, err = resolver.ParseOptions(options); err != nil {
			t.Fatal(err)
		}
		cfg.Observe = func(a Answer) {
			sets[i] = append(sets[i], fmt.Sprint(a.Resolver, a.Client, a.At))
		}
		play(t, cfg)
	}
	if len(sets[0]) < 300 || !reflect.DeepEqual(sets[0], sets[1]) {
		t.Errorf("%d and %d queries, which should be the same", len(sets[0]), len(sets[1]))
	}
}

func TestMemory(t *testing.T) {
	cfg := scenario()
	cfg.Resolvers, cfg.Clients, cfg.Duration = 200_000, 200_000, 10*time.Minute
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := play(t, cfg)
	runtime.ReadMemStats(&after)
	perResolver := float64(after.TotalAlloc-before.TotalAlloc) / float64(cfg.Resolvers)
	perEvent := float64(after.Mallocs-before.Mallocs) / float64(r.Queries)
	t.Logf("%.1f bytes a resolver, all that was ever allocated; %.6f allocations an event, of %d", perResolver, perEvent, r.Queries)
	if perResolver > 200 {
		t.Errorf("%.0f bytes a resolver, want at most 200", perResolver)
	}
	if perEvent > 0.01 {
		t.Errorf("%.4f allocations an event, want none", perEvent)
	}
}

// The fifteen minutes: who asks before the name is there is told NXDOMAIN until
// the negative TTL ends, and nobody else is.
func TestEarlyQueryPlantsAbsence(t *testing.T) {
	cfg := scenario()
	cfg.Begin = -time.Minute
	r := play(t, cfg)
	insync, _ := r.Insync.Quantile(1)
	if got := r.Late.Count(); got < 6000 || got > 7000 {
		t.Errorf("%d of 7000 clients were told NXDOMAIN after INSYNC; most asked before", got)
	}
	last := r.ResolverGood.Max()
	if last < 15*time.Minute || last > 15*time.Minute+insync+10*time.Minute {
		t.Errorf("the last resolver was right at %v, INSYNC was at %v", last, insync)
	}
	if p50, _ := r.ClientGood.Quantile(0.5); p50 < 14*time.Minute {
		t.Errorf("half the clients were well after %v", p50)
	}

	cfg.Begin = insync
	cfg.Duration += insync
	if r = play(t, cfg); r.Wrong.Count() != 0 || r.Late.Count() != 0 {
		t.Errorf("%d clients were told NXDOMAIN though they asked after INSYNC only", r.Wrong.Count())
	}
	if first, _ := r.ClientFirst.Quantile(0.001); first < insync {
		t.Errorf("an answer after %v, before anyone asked", first)
	}

	cfg.Begin, cfg.Cache.NegativeTTL.Max = -time.Minute, 5*time.Second
	r = play(t, cfg)
	if late, _ := r.Late.Quantile(1); late > 5*time.Second+10*time.Minute || r.Late.Count() > 1500 {
		t.Errorf("with a negative TTL of 5s %d clients were told NXDOMAIN after INSYNC, for up to %v", r.Late.Count(), late)
	}
}

func TestLostChangeNeverComes(t *testing.T) {
	cfg := scenario()
	fault, err := ParseFault("dns-lost")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Faults = []Fault{fault}
	r := play(t, cfg)
	if _, came := r.ClientFirst.Quantile(0.01); came || r.ClientFirst.Never() != r.ClientFirst.Count() || r.Insync.Never() != 1 {
		t.Errorf("%d of %d clients never saw a change that was lost", r.ClientFirst.Never(), r.ClientFirst.Count())
	}
	cfg.Deployments = []time.Duration{5 * time.Minute}
	r = play(t, cfg)
	if insync, came := r.Insync.Quantile(1); !came || insync < 5*time.Minute || insync > 10*time.Minute {
		t.Errorf("INSYNC after %v, though a deployment after 5m carries it on", insync)
	}
	if early, _ := r.ClientFirst.Quantile(0.001); early < 5*time.Minute {
		t.Errorf("seen after %v", early)
	}
}

func TestRemovalIsOutlivedByCaches(t *testing.T) {
	cfg := scenario()
	cfg.Operation, cfg.Begin, cfg.Every = Disassociate, -5*time.Minute, 5*time.Second
	r := play(t, cfg)
	if late, _ := r.Late.Quantile(1); late < 30*time.Second || late > 60*time.Second+time.Minute {
		t.Errorf("the address was given for up to %v after INSYNC; its TTL is 60s", late)
	}
	cfg.Mix = mustMix(t, "jvm-security-manager")
	r = play(t, cfg)
	if r.Late.Never() < 6900 {
		t.Errorf("%d of 7000 clients that keep addresses for ever never learned of the removal", r.Late.Never())
	}
}

func TestClientCachesSpareResolvers(t *testing.T) {
	cfg := scenario()
	cfg.Every, cfg.Duration = time.Second, 5*time.Minute
	cfg.Clients, cfg.Resolvers = 500, 100
	none := play(t, cfg)
	if none.ResolverQueries != none.Queries {
		t.Errorf("%d of %d queries came to a resolver, though clients keep nothing", none.ResolverQueries, none.Queries)
	}
	cfg.Mix = mustMix(t, "browser")
	browser := play(t, cfg)
	if browser.Queries != none.Queries || browser.ResolverQueries > none.Queries/30 {
		t.Errorf("%d of %d queries came to a resolver, though clients keep answers for a minute", browser.ResolverQueries, browser.Queries)
	}
	cfg.Mix = mustMix(t, "browser=1,none=1")
	both := play(t, cfg)
	if share := float64(both.ResolverQueries) / float64(both.Queries); share < 0.4 || share > 0.6 {
		t.Errorf("%.2f of the queries came to a resolver, though half the clients keep nothing", share)
	}
}

// The process of a resolver's clients has the rate that was asked for, and no
// client is preferred.
func TestArrivals(t *testing.T) {
	for _, periodic := range []bool{false, true} {
		cfg := scenario()
		cfg.Resolvers, cfg.Clients, cfg.Every, cfg.Duration, cfg.Periodic = 1, 10, time.Second, time.Hour, periodic
		counts := make([]int, cfg.Clients)
		var previous time.Duration
		cfg.Observe = func(a Answer) {
			counts[a.Client]++
			if a.At < previous {
				t.Fatalf("at %v after %v", a.At, previous)
			}
			previous = a.At
		}
		play(t, cfg)
		for i, n := range counts {
			spread := 250 // four standard deviations
			if periodic {
				spread = 1
			}
			if n < 3600-spread || n > 3600+spread {
				t.Errorf("periodic %v: client %d asked %d times in an hour, want about 3600", periodic, i, n)
			}
		}
	}
}

func TestMoreResolversThanClients(t *testing.T) {
	cfg := scenario()
	cfg.Clients, cfg.Resolvers = 5, 1000
	if r := play(t, cfg); r.ResolverFirst.Count() != 5 || r.ClientFirst.Count() != 5 {
		t.Errorf("%d resolvers were asked by %d clients", r.ResolverFirst.Count(), r.ClientFirst.Count())
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cfg := scenario()
	cfg.Resolvers, cfg.Clients, cfg.Every, cfg.Duration = 1, 1000, time.Millisecond, 30*24*time.Hour
	cfg.Workers = 2
	cancel()
	if _, err := Run(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestProgressComesToItsEnd(t *testing.T) {
	cfg := scenario()
	cfg.Changes = 2
	var calls int
	var last float64
	cfg.Progress = func(done float64) {
		if done <= last {
			t.Errorf("%v after %v", done, last)
		}
		calls, last = calls+1, done
	}
	play(t, cfg)
	if calls != 6 || last != 1 {
		t.Errorf("%d calls, the last with %v", calls, last)
	}
}

func TestCheck(t *testing.T) {
	for want, edit := range map[string]func(*Config){
		"profile: dns profile":              func(c *Config) { c.Profile = "slow" },
		"changes 0: want 1 to":              func(c *Config) { c.Changes = 0 },
		"resolvers -1: want 1 to":           func(c *Config) { c.Resolvers = -1 },
		"clients 2000000000: want":          func(c *Config) { c.Clients = 2_000_000_000 },
		"queries: 0s is not from":           func(c *Config) { c.Every = 0 },
		"duration: 0s is not":               func(c *Config) { c.Duration = 0 },
		"before: ":                          func(c *Config) { c.Begin = -400 * 24 * time.Hour },
		"wait 30m0s: clients would":         func(c *Config) { c.Begin = c.Duration },
		"resolver-cache: names are":         func(c *Config) { c.Cache.Capacity = 5 },
		"gap 1s: only operation":            func(c *Config) { c.Gap = time.Second },
		`operation "drop" is not`:           func(c *Config) { c.Operation = "drop" },
		"clients 100000000: ":               func(c *Config) { c.Resolvers, c.Clients = 1, 100_000_000 },
		"queries: the 20000000 clients":     func(c *Config) { c.Resolvers, c.Clients, c.Every = 1, 20_000_000, time.Second },
		"queries: there would be":           func(c *Config) { c.Resolvers, c.Clients, c.Every = 1e9, 1e9, time.Millisecond },
		"deploy -1s: want 0":                func(c *Config) { c.Deployments = []time.Duration{-time.Second} },
		"client-cache : weight 0":           func(c *Config) { c.Mix = []Share{{}} },
		"fault: dns-lag takes a lag":        func(c *Config) { c.Faults = []Fault{{DnsFault: &fault{Kind: "dns-lag"}}} },
		"fault: dns-down is for all names":  func(c *Config) { c.Faults = []Fault{{DnsFault: &fault{Kind: "dns-down", Name: "a."}}} },
		"fault: dns-down from 0s for -1s: ": func(c *Config) { c.Faults = []Fault{{DnsFault: &fault{Kind: "dns-down"}, For: -time.Second}} },
	} {
		cfg := scenario()
		edit(&cfg)
		if _, err := Run(t.Context(), cfg); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q…", err, want)
		}
	}
}
