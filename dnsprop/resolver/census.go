package resolver

// Census is what the caches of an availability zone hold at an instant.
type Census struct {
	// Answers that may be given, those that there is something and that there is
	// nothing; those that may be given only while all authorities fail; and names
	// for which these did, lately.
	Positive, Negative, Stale, Failures int
	Lookups                             Lookups
}

// Lookups counts questions by what a cache made of them.
type Lookups struct {
	// Hits are answered from the cache, Misses by asking an authority, Failures
	// neither, because all authorities failed lately. Stale are questions that ask
	// one, though a stale answer is there, or are answered by that.
	Hits, Misses, Stale, Failures uint64
}

func (l *Lookups) count(failing, stale bool) {
	switch {
	case stale:
		l.Stale++
	case failing:
		l.Failures++
	default:
		l.Misses++
	}
}

func (l *Lookups) add(m Lookups) {
	l.Hits += m.Hits
	l.Misses += m.Misses
	l.Stale += m.Stale
	l.Failures += m.Failures
}

// maxCounted bounds the names of a cache that a census looks at, and so how long
// queries wait for it. Of more, those used last stand for all.
const maxCounted = 10_000

// Census counts what the caches of an availability zone hold.
func (r *Resolver) Census(az string, at int64) (all Census) {
	caches := r.rules.Load().in(az)
	if caches.public == nil {
		return all
	}
	for c := range caches.all() {
		one := c.census(at)
		all.Positive += one.Positive
		all.Negative += one.Negative
		all.Stale += one.Stale
		all.Failures += one.Failures
		all.Lookups.add(one.Lookups)
	}
	return all
}

func (c *cache) census(at int64) Census {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := Census{Lookups: c.lookups}
	counted := 0
	for el := c.recent.Front(); el != nil && counted < maxCounted; el = el.Next() {
		counted++
		k := el.Value.(*cached)
		for e := range k.entries() {
			switch {
			case e.Keep <= at:
			case !e.Live(at):
				out.Stale++
			case e.RRset.Empty():
				out.Negative++
			default:
				out.Positive++
			}
		}
		if k.failure.Holds(at) {
			out.Failures++
		}
	}
	if total := len(c.names); total > counted {
		for _, n := range []*int{&out.Positive, &out.Negative, &out.Stale, &out.Failures} {
			*n = int(float64(*n) * float64(total) / float64(counted))
		}
	}
	return out
}
