package main

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posternhq/postern/dataplane/policy"
)

// bench decides queries by a program, over and over.
type bench struct {
	program *policy.Program
	queries []*policy.Query
	clock   time.Duration // what reading the clock twice takes
	batch   int           // decisions timed together; 0: to be found out
}

// benchRun is what was measured with one number of processors. Times, bytes
// and allocations are those of one decision.
type benchRun struct {
	Processors  int     `json:"processors"`
	PerSecond   float64 `json:"decisions_per_second"`
	NS          float64 `json:"ns"`
	P50         float64 `json:"p50_ns"`
	P90         float64 `json:"p90_ns"`
	P99         float64 `json:"p99_ns"`
	P999        float64 `json:"p999_ns"`
	Bytes       float64 `json:"bytes"`
	Allocations float64 `json:"allocations"`
	Batch       int     `json:"batch"` // decisions timed together
}

// clockCost is the least time between two readings of the clock.
func clockCost() time.Duration {
	least := time.Duration(math.MaxInt64)
	for range 1000 {
		start := time.Now()
		least = min(least, time.Since(start))
	}
	return least
}

// benchWorker is one goroutine's share of a run.
type benchWorker struct {
	requests  []*policy.Request
	latencies histogram
	decisions int
}

// run measures with so many processors, each with a goroutine and requests of
// its own. progress, if not nil, is told now and then how long it has run.
func (b *bench) run(ctx context.Context, processors int, duration time.Duration, progress func(time.Duration)) (benchRun, histogram, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
	workers := make([]benchWorker, processors)
	for i := range workers {
		for _, q := range b.queries {
			r, err := q.Request()
			if err != nil {
				return benchRun{}, histogram{}, err
			}
			workers[i].requests = append(workers[i].requests, r)
		}
		shuffle := rand.New(rand.NewPCG(uint64(i), 1))
		shuffle.Shuffle(len(b.queries), func(j, k int) {
			workers[i].requests[j], workers[i].requests[k] = workers[i].requests[k], workers[i].requests[j]
		})
	}
	if b.batch == 0 {
		b.batch = b.calibrate(&workers[0])
	}

	var stop atomic.Bool
	var wg sync.WaitGroup
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	for i := range workers {
		wg.Go(func() { b.work(&workers[i], &stop) })
	}
	err := waitFor(ctx, start, duration, progress)
	stop.Store(true)
	wg.Wait()
	elapsed := time.Since(start)
	runtime.ReadMemStats(&after)
	if err != nil {
		return benchRun{}, histogram{}, err
	}

	var all histogram
	decisions := 0
	for i := range workers {
		decisions += workers[i].decisions
		all.add(&workers[i].latencies)
	}
	n := float64(decisions)
	return benchRun{
		Processors: processors, PerSecond: n / elapsed.Seconds(), NS: float64(elapsed.Nanoseconds()) * float64(processors) / n,
		P50: all.percentile(50), P90: all.percentile(90), P99: all.percentile(99), P999: all.percentile(99.9),
		Bytes: perDecision(after.TotalAlloc-before.TotalAlloc, n), Allocations: perDecision(after.Mallocs-before.Mallocs, n), Batch: b.batch,
	}, all, nil
}

// perDecision leaves out what the runtime allocates for itself meanwhile, which
// is the same few allocations however many decisions there are.
func perDecision(total uint64, decisions float64) float64 {
	return math.Round(float64(total)/decisions*1000) / 1000
}

// waitFor returns after the duration, or the error of a context that ends.
func waitFor(ctx context.Context, start time.Time, duration time.Duration, progress func(time.Duration)) error {
	if progress == nil {
		progress = func(time.Duration) {}
	}
	end := time.NewTimer(duration)
	defer end.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end.C:
			progress(duration)
			return nil
		case <-tick.C:
			progress(time.Since(start))
		}
	}
}

// calibrate finds how many decisions take a hundred times as long as reading
// the clock does, and warms up: of several tries the fastest counts.
func (b *bench) calibrate(w *benchWorker) int {
	for batch := 16; ; batch *= 2 {
		fastest := time.Duration(math.MaxInt64)
		for range 10 {
			start := time.Now()
			b.decide(w, 0, batch)
			fastest = min(fastest, time.Since(start))
		}
		if fastest >= 100*b.clock || batch >= 1<<16 {
			return batch
		}
	}
}

func (b *bench) work(w *benchWorker, stop *atomic.Bool) {
	at := 0
	for !stop.Load() {
		start := time.Now()
		at = b.decide(w, at, b.batch)
		took := time.Since(start) - b.clock
		w.latencies.record(float64(max(took, 0)) / float64(b.batch))
		w.decisions += b.batch
	}
}

// decide decides a batch, beginning with the request at an index, and returns
// the next one's.
func (b *bench) decide(w *benchWorker, at, batch int) int {
	for range batch {
		b.program.Eval(w.requests[at])
		if at++; at == len(w.requests) {
			at = 0
		}
	}
	return at
}

// histogram counts nanoseconds in steps of about two per cent.
type histogram struct {
	counts [stepsPerDoubling * doublings]uint64
	total  uint64
}

const (
	stepsPerDoubling = 32
	doublings        = 40 // from a 32nd of a nanosecond to half a minute
	leastDoubling    = -5
)

func (h *histogram) record(ns float64) {
	i := 0
	if ns > 0 {
		i = int((math.Log2(ns) - leastDoubling) * stepsPerDoubling)
	}
	h.counts[min(max(i, 0), len(h.counts)-1)]++
	h.total++
}

func (h *histogram) add(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// at is the middle of step i in nanoseconds.
func (h *histogram) at(i int) float64 {
	return math.Exp2((float64(i)+0.5)/stepsPerDoubling + leastDoubling)
}

// percentile is the value that p per cent of the recorded ones don't exceed.
func (h *histogram) percentile(p float64) float64 {
	rank, seen := uint64(math.Ceil(p/100*float64(h.total))), uint64(0)
	for i, n := range h.counts {
		if seen += n; seen >= rank && n > 0 {
			return h.at(i)
		}
	}
	return 0
}
