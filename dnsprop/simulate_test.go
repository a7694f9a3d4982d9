package dnsprop

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/resolver"
	"github.com/posternhq/postern/dnsprop/simulate"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// TestSimulationIsTheServer plays simulations and asks a real Server, in virtual
// time, each question that came to a resolver: at the same instant, of the same
// schedule, by way of the same authority. Every answer must be the same, its TTL
// included.
func TestSimulationIsTheServer(t *testing.T) {
	parse := func(faults ...string) (out []simulate.Fault) {
		for _, text := range faults {
			f, err := simulate.ParseFault(text)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, f)
		}
		return out
	}
	bounded := resolver.Options{
		TTL:         resolver.Bounds{Min: 90 * time.Second, Max: 5 * time.Minute},
		NegativeTTL: resolver.Bounds{Min: 20 * time.Second, Max: 100 * time.Second},
	}
	for _, c := range []struct {
		name string
		edit func(*simulate.Config)
		// rcodes that must be among the answers, for the case to mean something.
		rcodes []string
	}{
		{"aws", func(*simulate.Config) {}, []string{"NOERROR", "NXDOMAIN"}},
		{"fast, asked often", func(c *simulate.Config) {
			c.Profile, c.Every, c.Begin, c.Duration = "fast", 200*time.Millisecond, -10*time.Second, time.Minute
		}, []string{"NOERROR", "NXDOMAIN"}},
		{"instant", func(c *simulate.Config) { c.Profile = "instant" }, []string{"NOERROR", "NXDOMAIN"}},
		{"at regular times", func(c *simulate.Config) { c.Periodic = true }, []string{"NOERROR", "NXDOMAIN"}},
		{"floors and ceilings", func(c *simulate.Config) { c.Cache = bounded }, []string{"NOERROR", "NXDOMAIN"}},
		{"a floor above the zone's time", func(c *simulate.Config) { c.Profile, c.Cache = "fast", bounded }, []string{"NOERROR", "NXDOMAIN"}},
		{"authorities that fail again", func(c *simulate.Config) {
			c.Profile, c.Every = "fast", time.Second
			c.Faults = parse("dns-down:from=60s,for=8s", "dns-down:from=69500ms,for=6s", "dns-down:from=2m,for=90s")
			c.Duration, c.Cache.TTL.Max = 6*time.Minute, 2*time.Second
		}, []string{"NOERROR", "SERVFAIL"}},
		{"prefetch", func(c *simulate.Config) { c.Cache.Prefetch, c.Every = true, 5*time.Second }, []string{"NOERROR", "NXDOMAIN"}},
		{"removal", func(c *simulate.Config) { c.Operation = simulate.Disassociate }, []string{"NOERROR", "NXDOMAIN"}},
		{"removed and added", func(c *simulate.Config) {
			c.Operation, c.Gap, c.Profile, c.Seed, c.Changes = simulate.Reassociate, 10*time.Second, "hostile", 7, 4
			c.Cache = bounded
		}, []string{"NOERROR", "NXDOMAIN"}},
		{"lost until deployed", func(c *simulate.Config) {
			c.Cache = bounded
			c.Faults, c.Deployments = parse("dns-lost:from=-1s,for=10s", "dns-lag@ns3:lag=2m"), []time.Duration{5 * time.Minute, 15 * time.Minute}
		}, []string{"NOERROR", "NXDOMAIN"}},
		{"authorities that fail", func(c *simulate.Config) {
			c.Cache, c.Faults = bounded, parse("dns-down:from=3m,for=6m", "dns-servfail@ns2:from=-1m,for=20m", "dns-down@ns3:from=12m")
		}, []string{"NOERROR", "NXDOMAIN", "SERVFAIL"}},
		{"and stale answers", func(c *simulate.Config) {
			c.Faults = parse("dns-down:from=3m,for=8m", "dns-servfail:from=18m,for=6m")
			c.Cache, c.Cache.ServeStale, c.Cache.Prefetch = bounded, 4*time.Minute, true
			c.Every = 7 * time.Second
		}, []string{"NOERROR", "NXDOMAIN", "SERVFAIL"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mix, err := simulate.ParseMix("none,jvm,browser,nscd")
			if err != nil {
				t.Fatal(err)
			}
			cfg := simulate.Config{
				Profile: "aws", Seed: 3, Changes: 2, Operation: simulate.Associate, Resolvers: 4, Clients: 10, Mix: mix,
				Every: 20 * time.Second, Begin: -2 * time.Minute, Duration: 25 * time.Minute,
			}
			c.edit(&cfg)
			compareWithServer(t, cfg, c.rcodes)
		})
	}
}

func compareWithServer(t *testing.T, cfg simulate.Config, rcodes []string) {
	synctest.Test(t, func(t *testing.T) {
		l := newLabWith(t, cfg.Profile, cfg.Cache)
		commit := l.now().Add(time.Hour)
		var answers []simulate.Answer
		cfg.Commit = commit
		cfg.Observe = func(a simulate.Answer) {
			if !a.Own {
				answers = append(answers, a)
			}
		}
		if _, err := simulate.Run(context.Background(), cfg); err != nil {
			t.Fatal(err)
		}
		slices.SortStableFunc(answers, func(a, b simulate.Answer) int { return int(a.At - b.At) })

		for r := range cfg.Resolvers {
			l.vpc(8+r, nil)
		}
		for n := range cfg.Changes {
			for _, record := range cfg.Records(n) {
				l.put(record)
			}
		}
		faults := slices.Clone(cfg.Faults)
		seen := map[string]int{}
		for i, a := range answers {
			for f, fault := range faults {
				if fault.DnsFault != nil && fault.From <= a.At {
					if fault.From > cfg.Begin {
						l.until(commit.Add(fault.From))
					}
					recorded := &statev1.DnsFault{Kind: fault.GetKind(), Place: fault.GetPlace(), Lag: fault.GetLag()}
					if fault.For > 0 {
						recorded.EndsAt = commit.Add(fault.From + fault.For).UnixNano()
					}
					l.fault(recorded)
					faults[f] = simulate.Fault{}
				}
			}
			l.until(commit.Add(a.At))
			l.pick = a.Authority
			want := a.Rcode
			if ttl := seconds(a.TTL); want == "NOERROR" {
				want = "10.1.1.4,10.1.2.4 " + ttl
			} else if want == "NXDOMAIN" {
				want += " " + ttl
			}
			name := cfg.Name(a.Change)
			if got := say(l.ask(inVPC(8+a.Resolver, 1), name, dns.TypeA)); got != want {
				t.Fatalf("answer %d of %d, at %v from resolver %d for change %d: the server says %q, the simulation %q", i, len(answers), a.At, a.Resolver, a.Change, got, want)
			}
			seen[a.Rcode]++
		}
		if len(answers) < 500 {
			t.Errorf("only %d answers were compared", len(answers))
		}
		for _, rcode := range rcodes {
			if seen[rcode] < 10 {
				t.Errorf("too few answers %s to mean anything: %v", rcode, seen)
			}
		}
		t.Log(fmt.Sprint(len(answers), " answers, ", seen))
	})
}
