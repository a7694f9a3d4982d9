package main

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"time"
)

const (
	// slice is how long a contender is measured before the next one has its turn.
	// It is short, so that whatever else the machine does strikes all alike, and
	// long enough to fill caches and predictors anew.
	slice = 4 * time.Millisecond
	// peerEvery: peers are so much slower that they need no precision; they take
	// part in every fourth round.
	peerEvery = 4
	minRounds = 9
	// hotSet is how many requests are repeated: few enough to stay in the first
	// cache, enough not to be one lucky path.
	hotSet = 16
)

// figure is what was measured of one contender; times are nanoseconds a decision.
type figure struct {
	Name     string  `json:"name"`
	Peer     bool    `json:"peer"`
	Absent   string  `json:"absent,omitempty"`
	Repeated float64 `json:"repeated_ns"`
	Shuffled float64 `json:"shuffled_ns"`
	Bytes    float64 `json:"bytes"`
	Allocs   float64 `json:"allocs"`
	// Of the rounds in which both took part, the median of the ratio.
	RepeatedOfLimit   float64 `json:"repeated_of_limit"`
	ShuffledOfLimit   float64 `json:"shuffled_of_limit"`
	RepeatedOfPostern float64 `json:"repeated_of_postern"`
	ShuffledOfPostern float64 `json:"shuffled_of_postern"`

	repeated, shuffled []float64 // by round, NaN where it paused
}

// runner measures one contender.
type runner struct {
	*contender
	figure
	wrap   int // how many requests it takes in turn
	cursor int
	n      int // decisions a slice
	hot    int // passes over the hot set a slice, at least one
}

func newRunner(c *contender, requests int) *runner {
	r := &runner{contender: c, figure: figure{Name: c.name, Peer: c.peer, Absent: c.absent}, wrap: requests}
	if c.absent != "" {
		return r
	}
	if c.covers != nil {
		r.wrap = len(c.covers)
	}
	// Double until a slice is full. The first decisions warm up.
	r.decide(0, min(2, r.wrap))
	for n := 1; ; n *= 2 {
		n = min(n, r.wrap)
		if t := r.time(func() { r.decide(0, n) }); n == r.wrap || t > slice {
			r.n = max(1, int(slice*time.Duration(n)/t))
			break
		}
	}
	r.hot = max(1, r.n/hotSet)
	return r
}

func (r *runner) time(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// turn decides n requests from where the last turn ended.
func (r *runner) turn(n int) {
	r.decide(r.cursor, n)
	r.cursor = (r.cursor + n) % r.wrap
}

// round is one slice of each kind.
func (r *runner) round(active bool) {
	if !active || r.absent != "" {
		r.repeated, r.shuffled = append(r.repeated, math.NaN()), append(r.shuffled, math.NaN())
		return
	}
	hot := min(hotSet, r.wrap)
	r.decide(0, min(hot, r.n))
	n := r.hot * hot
	t := r.time(func() {
		for range r.hot {
			r.decide(0, hot)
		}
	})
	r.repeated = append(r.repeated, float64(t)/float64(n))
	// Caches are as full of these requests as they get before the clock starts.
	if r.n > r.wrap {
		r.turn(min(r.n, r.wrap))
	}
	t = r.time(func() { r.turn(r.n) })
	r.shuffled = append(r.shuffled, float64(t)/float64(r.n))
}

// allocations are those of a slice, or of a few decisions.
func (r *runner) allocations() {
	n := max(1, min(r.n, r.wrap))
	var before, after runtime.MemStats
	r.turn(1)
	runtime.ReadMemStats(&before)
	r.turn(n)
	runtime.ReadMemStats(&after)
	r.Bytes, r.Allocs = float64(after.TotalAlloc-before.TotalAlloc)/float64(n), float64(after.Mallocs-before.Mallocs)/float64(n)
}

// measure gives everyone turns until the time is over.
func measure(f *field, budget time.Duration) []figure {
	var runners []*runner
	var limit, postern *runner
	for _, c := range f.contenders {
		r := newRunner(c, len(f.workload.Queries))
		switch c.name {
		case nameLimit:
			limit = r
		case nameUnbound:
			postern = r
		}
		runners = append(runners, r)
	}
	end := time.Now().Add(budget)
	for round := 0; round < minRounds || time.Now().Before(end); round++ {
		if round%peerEvery == 0 {
			for _, r := range runners {
				if r.slow() {
					r.round(true)
				}
			}
			// Nobody pays for the garbage of others.
			runtime.GC()
		}
		for _, r := range runners {
			if !r.slow() {
				r.round(true)
			} else if round%peerEvery != 0 {
				r.round(false)
			}
		}
	}
	out := make([]figure, len(runners))
	for i, r := range runners {
		if r.absent == "" {
			r.allocations()
			r.Repeated, r.Shuffled = median(r.repeated), median(r.shuffled)
			r.RepeatedOfLimit, r.ShuffledOfLimit = medianRatio(r.repeated, limit.repeated), medianRatio(r.shuffled, limit.shuffled)
			r.RepeatedOfPostern, r.ShuffledOfPostern = medianRatio(r.repeated, postern.repeated), medianRatio(r.shuffled, postern.shuffled)
		}
		out[i] = r.figure
	}
	return out
}

// slow contenders allocate, and take part in some rounds only.
func (r *runner) slow() bool {
	return r.Name != nameUnbound && r.Name != nameBound && r.Name != nameLimit
}

func median(values []float64) float64 {
	values = slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	if len(values) == 0 {
		return math.NaN()
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func medianRatio(of, by []float64) float64 {
	ratios := make([]float64, len(of))
	for i := range of {
		ratios[i] = of[i] / by[i]
	}
	return median(ratios)
}

// scaling is how many decisions two processors make for each that one makes,
// each with requests of its own.
func scaling(f *field) (float64, error) {
	if runtime.GOMAXPROCS(0) < 2 {
		return math.NaN(), nil
	}
	var two [2]*runner
	for i := range two {
		c, err := newPostern(f)
		if err != nil {
			return 0, err
		}
		two[i] = newRunner(c, len(f.workload.Queries))
	}
	n := 4 * max(two[0].n, two[1].n)
	var ratios []float64
	for range 15 {
		alone := two[0].time(func() { two[0].turn(n) })
		together := two[0].time(func() {
			var wg sync.WaitGroup
			for _, r := range two {
				wg.Go(func() { r.turn(n) })
			}
			wg.Wait()
		})
		ratios = append(ratios, 2*float64(alone)/float64(together))
	}
	return median(ratios), nil
}

// growth is how many times a decision of one workload takes that of another, both
// repeated. They take turns: measured minutes apart, the machine would be another.
func growth(small, large string) (float64, error) {
	var both [2]*runner
	for i, name := range [...]string{small, large} {
		f, err := newField(name, []maker{newPostern})
		if err != nil {
			return 0, err
		}
		both[i] = newRunner(f.contenders[0], len(f.workload.Queries))
	}
	for range 31 {
		both[0].round(true)
		both[1].round(true)
	}
	return medianRatio(both[1].repeated, both[0].repeated), nil
}

// compiling is what Parse and Compile take together.
type compiling struct {
	Workload  string  `json:"workload"`
	Document  int     `json:"document_bytes"`
	MS        float64 `json:"compile_ms"`
	Allocated float64 `json:"allocated_mb"`
}

func measureCompiling(name string, document []byte, budget time.Duration) (compiling, error) {
	c := compiling{Workload: name, Document: len(document)}
	var times []float64
	for end := time.Now().Add(budget); len(times) < 3 || time.Now().Before(end); {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		if _, err := compile(document); err != nil {
			return c, err
		}
		times = append(times, float64(time.Since(start))/1e6)
		runtime.ReadMemStats(&after)
		c.Allocated = float64(after.TotalAlloc-before.TotalAlloc) / 1e6
	}
	c.MS = median(times)
	return c, nil
}
