package simulate

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posternhq/postern/dnsprop/client"
	"github.com/posternhq/postern/dnsprop/zone"
)

// Answer is what a client got for a query, for Config.Observe.
type Answer struct {
	Change, Resolver int
	Client           int           // of this resolver, from 0
	At               time.Duration // after the commit
	Own              bool          // from the client's own cache: nobody was asked
	Rcode            string        // NOERROR, NXDOMAIN, SERVFAIL
	TTL              time.Duration // that the resolver gave
	Authority        int           // asked first, if AskedAuthority
	AskedAuthority   bool
}

// Result is what Run found. Durations of histograms count from the commit.
type Result struct {
	// Authority is when each authority has the change for good, Insync the last of each four.
	Authority, Insync Histogram
	// First and for good: an answer that shows the change, and one after which no
	// other shows less. Places that were not asked after the commit don't count.
	ResolverFirst, ResolverGood Histogram
	ClientFirst, ClientGood     Histogram
	// Wrong is for how long clients were told what was before the change, NXDOMAIN if a name
	// was to appear: from the first such answer to the first good one. Late counts
	// those who were still told so after Insync, from Insync on.
	Wrong, Late Histogram
	// Failed is how many clients saw a SERVFAIL.
	Failed uint64
	// Queries of clients, those of them that came to a resolver, and the
	// questions to authorities that these led to.
	Queries, ResolverQueries, AuthorityQueries uint64
}

// block is how many resolvers a goroutine takes at once.
const block = 1024

// Run plays a Config that Check accepts. It ends early with the context's error.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	workers := max(cfg.Workers, 1)
	if cfg.Observe != nil {
		workers = 1
	}
	// Resolvers beyond the clients' number have none.
	resolvers := min(cfg.Resolvers, cfg.Clients)
	blocks := int64((resolvers + block - 1) / block)
	var next, done atomic.Int64
	var mu sync.Mutex
	var total tally
	var failure error
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			w := newWorker(ctx, &cfg)
			err := w.work(&next, &done, blocks, resolvers)
			mu.Lock()
			defer mu.Unlock()
			if total.merge(&w.tally); err != nil {
				failure = err
			}
		})
	}
	wg.Wait()
	if failure != nil {
		return nil, failure
	}
	return &Result{
		Authority: total.authority, Insync: total.insync,
		ResolverFirst: total.resolverFirst, ResolverGood: total.resolverGood,
		ClientFirst: total.clientFirst, ClientGood: total.clientGood,
		Wrong: total.wrong, Late: total.late, Failed: total.failed,
		Queries: total.queries, ResolverQueries: total.resolverQueries, AuthorityQueries: total.authorityAsks,
	}, nil
}

// worker plays one resolver at a time, with one name.
type worker struct {
	tally
	ctx    context.Context
	cfg    *Config
	commit int64
	caches []client.Cache // of clients, by kind
	upTo   []uint64       // sums of the kinds' weights

	change   int
	timeline *timeline
	insync   int64 // after the commit; never

	resolver int
	cache    cache
	watch    watch
	picker   picker
	source   rand.PCG
	rand     *rand.Rand
	clients  []simulated
	phases   []int64 // of periodic clients, sorted
	stopped  error
}

// simulated is a client: a line of the processor's cache, because clients of one
// resolver ask in no order.
type simulated struct {
	watch
	said  *said // that it keeps
	until int64
	kind  uint32
	_     [12]byte
}

func newWorker(ctx context.Context, cfg *Config) *worker {
	w := &worker{ctx: ctx, cfg: cfg, commit: cfg.commit().UnixNano(), change: -1}
	w.rand = rand.New(&w.source)
	shares := cfg.Mix
	if len(shares) == 0 {
		shares = []Share{{Weight: 1}}
	}
	sum := uint64(0)
	for _, s := range shares {
		sum += uint64(s.Weight)
		w.caches, w.upTo = append(w.caches, s.Cache), append(w.upTo, sum)
	}
	return w
}

// work takes blocks of resolvers, change by change, until none is left.
func (w *worker) work(next, done *atomic.Int64, blocks int64, resolvers int) error {
	all := blocks * int64(w.cfg.Changes)
	for n := next.Add(1) - 1; n < all; n = next.Add(1) - 1 {
		first := int(n%blocks) * block
		if err := w.begin(int(n/blocks), first == 0); err != nil {
			return err
		}
		for r := first; r < min(first+block, resolvers); r++ {
			w.play(r)
			if w.stopped != nil {
				return w.stopped
			}
		}
		if d := done.Add(1); w.cfg.Progress != nil {
			w.cfg.Progress(float64(d) / float64(all))
		}
	}
	return nil
}

// begin goes on to a change. One of the workers counts it.
func (w *worker) begin(change int, count bool) error {
	if change != w.change {
		t, err := newTimeline(w.cfg, change)
		if err != nil {
			return err
		}
		w.change, w.timeline, w.insync = change, t, w.after(t.insync)
	}
	if count {
		w.tally.insync.add(w.insync)
		for _, at := range w.timeline.places {
			w.authority.add(w.after(at))
		}
	}
	return nil
}

// after is an instant as a time from the commit on.
func (w *worker) after(instant int64) int64 {
	if instant == zone.Never {
		return never
	}
	return instant - w.commit
}

// play is all that happens at one resolver.
func (w *worker) play(resolver int) {
	n := w.cfg.Clients / w.cfg.Resolvers
	if resolver < w.cfg.Clients%w.cfg.Resolvers {
		n++
	}
	w.resolver, w.cache, w.watch = resolver, cache{}, newWatch()
	w.clients = slices.Grow(w.clients[:0], n)[:n]
	for i := range w.clients {
		w.clients[i] = simulated{watch: newWatch(), kind: w.kind(i)}
	}
	place := []uint64{w.cfg.Seed, uint64(w.change), uint64(resolver)}
	w.picker.state = seedOf(place[0], place[1], place[2], 1)
	w.source.Seed(seedOf(place[0], place[1], place[2], 2), seedOf(place[0], place[1], place[2], 3))
	if w.cfg.Periodic {
		w.periodic(n)
	} else {
		w.poisson(n)
	}
	w.tally.resolver(&w.watch)
	for i := range w.clients {
		w.tally.client(&w.clients[i].watch, w.insync)
	}
}

// kind of a client: a function of who it is.
func (w *worker) kind(i int) uint32 {
	if len(w.caches) == 1 {
		return 0
	}
	draw := seedOf(w.cfg.Seed, uint64(w.resolver), uint64(i), 4) % w.upTo[len(w.upTo)-1]
	k, found := slices.BinarySearch(w.upTo, draw)
	if found {
		k++
	}
	return uint32(k)
}

// poisson: the queries of n clients, each at a time that says nothing about the
// next, are those of one such process that is n times as fast, by any of them.
func (w *worker) poisson(n int) {
	mean := float64(w.cfg.Every) / float64(n)
	end := w.commit + int64(w.cfg.Duration)
	for t := w.commit + int64(w.cfg.Begin); w.stopped == nil; {
		t += int64(w.rand.ExpFloat64() * mean)
		if t >= end {
			return
		}
		asks := 0
		if n > 1 {
			asks = w.rand.IntN(n)
		}
		w.query(t, asks)
	}
}

// periodic: clients with one period ask in the order in which they began.
func (w *worker) periodic(n int) {
	w.phases = slices.Grow(w.phases[:0], n)[:n]
	for i := range w.phases {
		w.phases[i] = w.rand.Int64N(int64(w.cfg.Every))
	}
	slices.Sort(w.phases)
	end := w.commit + int64(w.cfg.Duration)
	for t := w.commit + int64(w.cfg.Begin); w.stopped == nil; t += int64(w.cfg.Every) {
		for i, phase := range w.phases {
			if t+phase >= end {
				return
			}
			w.query(t+phase, i)
		}
	}
}

// query is one event: a client asks, itself first, then its resolver.
func (w *worker) query(at int64, i int) {
	if w.queries++; w.queries&0xfffff == 0 {
		w.stopped = w.ctx.Err()
	}
	c := &w.clients[i]
	said, own := c.said, at < c.until
	var r reply
	if !own {
		r = w.cache.respond(&w.cfg.Cache, w.timeline, at, &w.picker)
		said = r.said
		c.keep(said, r.ttl, at, &w.caches[c.kind])
		w.resolverQueries++
		w.authorityAsks += uint64(r.asked)
	}
	if after := at - w.commit; after >= 0 {
		if !own {
			w.watch.saw(after, said, w.insync)
		}
		c.saw(after, said, w.insync)
	}
	if w.cfg.Observe != nil {
		w.observe(at, i, own, said, r)
	}
}

// keep has a client remember what its resolver said, unless that was SERVFAIL.
func (c *simulated) keep(s *said, ttl time.Duration, at int64, rule *client.Cache) {
	c.until = at
	if s == nil {
		return
	}
	if keep := int64(rule.Keep(s.exists, ttl)); keep > 0 {
		if c.said, c.until = s, at+keep; c.until < at {
			c.until = never
		}
	}
}

func (w *worker) observe(at int64, i int, own bool, s *said, r reply) {
	rcode := "NXDOMAIN"
	switch {
	case s == nil:
		rcode = "SERVFAIL"
	case s.exists:
		rcode = "NOERROR"
	}
	w.cfg.Observe(Answer{
		Change: w.change, Resolver: w.resolver, Client: i, At: time.Duration(at - w.commit), Own: own,
		Rcode: rcode, TTL: r.ttl, Authority: r.first, AskedAuthority: r.asked > 0,
	})
}
