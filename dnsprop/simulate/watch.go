package simulate

import "math"

// never is later than all instants.
const never = math.MaxInt64

// watch is how the answers that someone gets go on after a commit. Times count
// from the commit.
type watch struct {
	first int64 // first right answer
	good  int64 // the answer from which on all were right; never while one is not
	wrong int64 // first wrong answer
	late  bool  // a wrong one came when all authorities were right
	fail  bool  // there was a SERVFAIL
	asked bool
}

func newWatch() watch { return watch{first: never, good: never, wrong: never} }

// saw is told of an answer; insync is when all authorities are right. A SERVFAIL is
// neither right nor wrong, but nobody calls good what it interrupts.
func (w *watch) saw(at int64, s *said, insync int64) {
	w.asked = true
	switch {
	case s == nil:
		w.fail = true
		w.good = never
	case s.right:
		w.first = min(w.first, at)
		w.good = min(w.good, at)
	default:
		w.wrong = min(w.wrong, at)
		w.late = w.late || at >= insync
		w.good = never
	}
}

// tally is the figures of what was played. Sums, so the order does not matter.
type tally struct {
	authority, insync                       Histogram
	resolverFirst, resolverGood             Histogram
	clientFirst, clientGood                 Histogram
	wrong, late                             Histogram // for how long
	clients, resolvers                      uint64    // that asked and were asked after the commit
	failed                                  uint64    // clients that saw SERVFAIL
	queries, resolverQueries, authorityAsks uint64
}

func (t *tally) resolver(w *watch) {
	if w.asked {
		t.resolvers++
		t.resolverFirst.add(w.first)
		t.resolverGood.add(w.good)
	}
}

func (t *tally) client(w *watch, insync int64) {
	if !w.asked {
		return
	}
	t.clients++
	t.clientFirst.add(w.first)
	t.clientGood.add(w.good)
	if w.fail {
		t.failed++
	}
	if w.wrong != never {
		t.wrong.add(since(w.good, w.wrong))
	}
	if w.late {
		t.late.add(since(w.good, insync))
	}
}

func since(good, from int64) int64 {
	if good == never {
		return never
	}
	return good - from
}

// merge adds what another goroutine counted.
func (t *tally) merge(o *tally) {
	for _, h := range []struct{ into, from *Histogram }{
		{&t.authority, &o.authority}, {&t.insync, &o.insync},
		{&t.resolverFirst, &o.resolverFirst}, {&t.resolverGood, &o.resolverGood},
		{&t.clientFirst, &o.clientFirst}, {&t.clientGood, &o.clientGood},
		{&t.wrong, &o.wrong}, {&t.late, &o.late},
	} {
		h.into.merge(h.from)
	}
	t.clients += o.clients
	t.resolvers += o.resolvers
	t.failed += o.failed
	t.queries += o.queries
	t.resolverQueries += o.resolverQueries
	t.authorityAsks += o.authorityAsks
}
