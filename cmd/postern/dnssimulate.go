package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/posternhq/postern/dnsprop/profilefile"
	"github.com/posternhq/postern/dnsprop/resolver"
	"github.com/posternhq/postern/dnsprop/simulate"
)

type dnsSimulateCmd struct {
	Profile     string `env:"-" default:"aws" help:"Delay model: instant, fast, aws or hostile."`
	ProfileFile string `env:"-" name:"profile-file" help:"YAML file with a delay model, in place of --profile." placeholder:"FILE"`
	Seed        uint64 `env:"-" default:"1" help:"Of all that is drawn. The same seed gives the same output."`

	Changes   int             `env:"-" default:"1" help:"Changes to play, each of a name of its own, which all clients ask for."`
	Operation string          `env:"-" enum:"associate,disassociate,reassociate" default:"associate" help:"What a change does: associate (a name appears), disassociate (it disappears), or reassociate (it is removed, and added again --gap later)."`
	Gap       time.Duration   `env:"-" help:"Between the removal and the addition of --operation reassociate."`
	Deploy    []time.Duration `env:"-" help:"A new deployment of the API so long after the change, which carries on what is not settled. Repeatable." placeholder:"DURATION"`
	Fault     []string        `env:"-" sep:"none" help:"dns-lost, dns-reorder, dns-lag, dns-down or dns-servfail; @ns1 to @ns4 for one authority; lag=, from= (after the change; 0) and for= (to the end): dns-lag@ns3:lag=5m. Repeatable." placeholder:"KIND[@PLACE][:OPTIONS]"`

	Resolvers     int    `env:"-" default:"10000" help:"How many there are."`
	ResolverCache string `env:"-" name:"resolver-cache" help:"What each of them keeps: the options of --resolver of dev and dns, such as ttl-min=300,negative-ttl-max=60,serve-stale=1d,prefetch." placeholder:"OPTIONS"`
	Clients       int    `env:"-" help:"How many there are, spread evenly over the resolvers; by default as many." placeholder:"N"`
	ClientCache   string `env:"-" name:"client-cache" default:"none" help:"What clients keep, on top of their resolver: none, glibc, nscd, systemd-resolved, jvm, browser… or two durations as in 30s/10s, with weights if there are several: jvm=3,browser=1."`

	Queries  string        `env:"-" default:"1/m" help:"How often each client asks for each name: a rate, such as 2/m or 1/30s."`
	Periodic bool          `env:"-" help:"Clients ask at regular times. By default each time is independent of the one before (a Poisson process)."`
	Before   time.Duration `env:"-" xor:"begin" help:"Clients ask already so long before the change." placeholder:"DURATION"`
	Wait     time.Duration `env:"-" xor:"begin" help:"Clients wait so long after the change before they begin to ask." placeholder:"DURATION"`
	Duration time.Duration `env:"-" default:"30m" help:"When all ends, after the change."`

	Sweep string `env:"-" help:"Compare settings, asked the same at the same times: a --resolver-cache option, or profile, queries or client-cache, with its values: negative-ttl=5,60,900." placeholder:"KEY=VALUES"`
	SVG   string `env:"-" name:"svg" help:"Draw the shares of those who see the change, by time, to this file." placeholder:"FILE"`
	CSV   string `env:"-" name:"csv" help:"Write them to this file." placeholder:"FILE"`
}

// Help is shown by `postern dns simulate --help`.
func (dnsSimulateCmd) Help() string {
	return `Plays changes of names for as many resolvers and clients as you like, by the model that the servers run, and says when they see them
and what they see before. It needs no cluster. Times count from the commit of the change, on the DNS clock.

  first      until an answer that shows the change
  for good   until the answer from which on none showed less, and none was SERVFAIL
  NXDOMAIN   for those who were told so after the commit (of a removal: who were still given the address): from the first
             such answer to the first good one; after INSYNC: who were told so though all name servers had the change, and
             for how long

Examples:
  postern dns simulate --resolvers 1000000 --before 5m
  postern dns simulate --profile aws --clients 100000 --client-cache jvm=3,browser=1 --queries 2/m --svg aws.svg
  postern dns simulate --before 1m --sweep negative-ttl=5,60,900 --svg sweep.svg --csv sweep.csv
  postern dns simulate --fault dns-lost --deploy 10m
  postern dns simulate --operation disassociate --before 5m --fault dns-lag@ns3:lag=5m -o json`
}

// setting is one that is compared with others, or the only one.
type setting struct {
	name string // empty for the only one
	cfg  simulate.Config
}

// played is what came of a setting.
type played struct {
	name string
	*simulate.Result
}

func (c *dnsSimulateCmd) Run(ctx context.Context, g *globals) error {
	settings, err := c.settings()
	if err != nil {
		return usageError{err}
	}
	progress := g.simulationProgress(len(settings))
	var all []played
	var events uint64
	start := time.Now()
	for i, s := range settings {
		s.cfg.Workers = runtime.GOMAXPROCS(0)
		if progress != nil {
			s.cfg.Progress = func(done float64) { progress(float64(i) + done) }
		}
		r, err := simulate.Run(ctx, s.cfg)
		if err != nil {
			return err
		}
		events += r.Queries
		all = append(all, played{s.name, r})
	}
	took := time.Since(start)
	a := answerOf(c, &settings[0].cfg, all)
	for _, file := range []struct {
		name string
		text func() string
	}{
		{c.SVG, func() string { return simulationChart(c, &a, all) }},
		{c.CSV, func() string { return simulationCSV(&settings[0].cfg, all) }},
	} {
		if file.name == "" {
			continue
		}
		if err := os.WriteFile(file.name, []byte(file.text()), 0o644); err != nil {
			return err
		}
	}
	if g.Output == "json" {
		writeJSON(g.stdout, a)
		return nil
	}
	a.print(g)
	// Not on standard output, which is the same in every run.
	fmt.Fprintf(g.stderr, "%s events in %v: %s/s\n", thousands(float64(events)), took.Round(time.Millisecond), thousands(float64(events)/took.Seconds()))
	return nil
}

// maxSettings of a comparison: what one chart can show.
const maxSettings = 8

// settings are those to play. Errors name the flag.
func (c *dnsSimulateCmd) settings() ([]setting, error) {
	if c.Sweep == "" {
		cfg, err := c.config(c.Profile, c.Queries, c.ClientCache, c.ResolverCache, "--resolver-cache")
		return []setting{{cfg: cfg}}, err
	}
	key, list, ok := strings.Cut(c.Sweep, "=")
	values := strings.Split(list, ",")
	if !ok || len(values) > maxSettings || slices.Contains(values, "") {
		return nil, fmt.Errorf("--sweep %q: want a key and 1 to %d values, such as negative-ttl=5,60,900", c.Sweep, maxSettings)
	}
	var all []setting
	for _, value := range values {
		profile, queries, clients, cache := c.Profile, c.Queries, c.ClientCache, c.ResolverCache
		switch key {
		case "profile":
			if profile = value; c.ProfileFile != "" {
				return nil, errors.New("--sweep profile: --profile-file says which profile it is")
			}
		case "queries":
			queries = value
		case "client-cache":
			clients = value
		default:
			if cache = key + "=" + value; c.ResolverCache != "" {
				cache = c.ResolverCache + "," + cache
			}
		}
		cfg, err := c.config(profile, queries, clients, cache, "--sweep")
		if err != nil {
			return nil, err
		}
		all = append(all, setting{key + "=" + value, cfg})
	}
	return all, nil
}

// config is that of one setting; cacheFlag is where its resolver options are from.
func (c *dnsSimulateCmd) config(profile, queries, clients, cache, cacheFlag string) (cfg simulate.Config, err error) {
	cfg = simulate.Config{
		Profile: profile, Seed: c.Seed, Changes: c.Changes, Operation: simulate.Operation(c.Operation), Gap: c.Gap, Deployments: c.Deploy,
		Resolvers: c.Resolvers, Clients: c.Clients, Periodic: c.Periodic, Begin: c.Wait - c.Before, Duration: c.Duration,
	}
	if c.Before < 0 || c.Wait < 0 {
		return cfg, fmt.Errorf("--before %v, --wait %v: want 0 or more", c.Before, c.Wait)
	}
	if cfg.Clients == 0 {
		cfg.Clients = c.Resolvers
	}
	if c.ProfileFile != "" {
		text, err := os.ReadFile(c.ProfileFile)
		if err != nil {
			return cfg, fmt.Errorf("--profile-file: %w", err)
		}
		if cfg.Profile, cfg.Custom, err = profilefile.Parse(text, os.DirFS(filepath.Dir(c.ProfileFile))); err != nil {
			return cfg, fmt.Errorf("--profile-file: %s:%w", c.ProfileFile, err)
		}
	}
	own := cache == ""
	if own {
		cache = cfg.Custom.GetResolver()
	}
	if cfg.Cache, err = resolver.ParseOptions(cache); err != nil {
		return cfg, fmt.Errorf("%s: %w", cacheFlag, err)
	}
	if own {
		cfg.Cache.Capacity = 0 // of a server's; names are played one by one here
	}
	if cfg.Every, err = simulate.ParseRate(queries); err != nil {
		return cfg, fmt.Errorf("--queries: %w", err)
	}
	if cfg.Mix, err = simulate.ParseMix(clients); err != nil {
		return cfg, fmt.Errorf("--client-cache: %w", err)
	}
	for _, text := range c.Fault {
		f, err := simulate.ParseFault(text)
		if err != nil {
			return cfg, fmt.Errorf("--fault: %w", err)
		}
		cfg.Faults = append(cfg.Faults, f)
	}
	if err := cfg.Check(); err != nil {
		return cfg, fmt.Errorf("--%w", err)
	}
	return cfg, nil
}

// simulationProgress draws a bar for a person who waits: how many of the settings are
// played. It may be called by any goroutine.
func (g *globals) simulationProgress(settings int) func(played float64) {
	if !isTerminal(g.stderr) || g.Output != "text" {
		return nil
	}
	var drawn atomic.Int64
	return func(played float64) {
		const width = 40
		step := int64(played / float64(settings) * width)
		if before := drawn.Load(); step <= before || !drawn.CompareAndSwap(before, step) {
			return
		}
		if step == width {
			fmt.Fprint(g.stderr, "\r\033[K")
			return
		}
		fmt.Fprintf(g.stderr, "\r\033[K%s", bar(int(step), width, width))
	}
}
