package publish

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posternhq/postern/controlplane/state"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// board is a leader's barrier with its state.
type board struct {
	t     *testing.T
	store *state.Store
	index uint64
	*Barrier
}

func newBoard(t *testing.T, places ...*statev1.Place) *board {
	b := &board{t: t, store: state.New()}
	b.Barrier = NewBarrier(BarrierConfig{Store: b.store, View: func(context.Context) (*state.View, error) { return b.store.View(), nil }})
	b.SetLeading(true)
	for _, p := range places {
		b.put(p)
	}
	return b
}

func (b *board) put(p *statev1.Place) {
	b.index++
	b.store.Apply(b.index, []*statev1.Txn{{Puts: []*statev1.Record{{
		Key: &statev1.Key{Type: statev1.Type_TYPE_PLACE, Id: p.GetId()}, Value: &statev1.Record_Place{Place: p},
	}}}})
}

func (b *board) remove(id string) {
	b.index++
	b.store.Apply(b.index, []*statev1.Txn{{Deletes: []*statev1.Key{{Type: statev1.Type_TYPE_PLACE, Id: id}}}})
}

func (b *board) report(node string, r *clusterv1.PlaceReport) {
	b.t.Helper()
	if _, err := b.take(b.t.Context(), b.leadership(), node, []*clusterv1.PlaceReport{r}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *board) acks(place string, index uint64) {
	b.t.Helper()
	b.report("n1", &clusterv1.PlaceReport{Place: place, Instance: "i", Index: index, CleanIndex: index, Connected: true})
}

type waitResult struct {
	resp *adminv1.WaitResponse
	err  error
	at   time.Duration
}

// start begins a wait; its result can be taken from the channel.
func (b *board) start(index uint64, kinds ...string) <-chan waitResult {
	ended := make(chan waitResult, 1)
	began := time.Now()
	go func() {
		resp, err := b.Wait(b.t.Context(), index, kinds, nil)
		ended <- waitResult{resp, err, time.Since(began)}
	}()
	return ended
}

func waits(t *testing.T, c <-chan waitResult) {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-c:
		t.Fatalf("wait ended: %v %v", r.resp, r.err)
	default:
	}
}

func ends(t *testing.T, c <-chan waitResult, reached bool) waitResult {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-c:
		if r.err != nil || r.resp.GetReached() != reached || !r.resp.GetDone() {
			t.Fatalf("reached %v, err %v: %v", r.resp.GetReached(), r.err, r.resp)
		}
		return r
	default:
		t.Fatal("wait goes on")
	}
	return waitResult{}
}

func edgePlace(id string, bound time.Duration) *statev1.Place {
	return &statev1.Place{Id: id, Kind: "edge", Instance: "i", MaxStalenessMs: bound.Milliseconds(), Carrier: id}
}

func TestEveryPlaceCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard(t, edgePlace("e1", 0), edgePlace("e2", 0), &statev1.Place{Id: "r1", Kind: "resolver", Instance: "i", Carrier: "dns"})
		both, edges, dns := b.start(3), b.start(3, "edges"), b.start(0, "dns")
		b.acks("e1", 3)
		waits(t, edges)
		b.acks("e2", 2)
		waits(t, edges)
		b.acks("e2", 3)
		ends(t, edges, true)
		waits(t, both)
		b.acks("r1", 5)
		ends(t, both, true)
		ends(t, dns, true)
		if _, err := b.Wait(t.Context(), 3, []string{"gateways"}, nil); err == nil {
			t.Error("an unknown kind is an error")
		}
	})
}

// An edge that can't be reached blocks, by name, however long, until it is removed.
func TestUnreachableEdgeBlocksUntilItIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard(t, edgePlace("e1", 0), edgePlace("e2", 0))
		b.acks("e1", 2)
		b.acks("e2", 1)
		c := b.start(2)
		b.lost("n1")
		b.acks("e1", 2)
		time.Sleep(24 * time.Hour)
		waits(t, c)
		for _, p := range b.Places(b.store.View()) {
			if p.GetId() == "e2" && (p.GetState() != "unreachable" || p.GetReason() != "silent for 24h0m0s" || p.GetVersion() != 1) {
				t.Errorf("%v", p)
			}
		}
		b.remove("e2")
		ends(t, c, true)
	})
}

// With a staleness bound it blocks until it denies by itself, and not a moment
// less, counted from its last contact.
func TestUnreachableEdgeWithABoundBlocksUntilItDenies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound = 10 * time.Second
		b := newBoard(t, edgePlace("e1", bound))
		b.acks("e1", 1)
		time.Sleep(4 * time.Second)
		b.put(edgePlace("e1", bound)) // some newer version
		c := b.start(0)
		left := bound + drift(bound) - 4*time.Second
		time.Sleep(left - time.Millisecond)
		waits(t, c)
		time.Sleep(time.Millisecond)
		if r := ends(t, c, true); r.at != left {
			t.Errorf("reached after %v, want %v", r.at, left)
		}
		// It comes back and has not got the version: it may serve again, so it blocks.
		b.acks("e1", 1)
		waits(t, b.start(2))
		// A report that was long under way says when the contact was.
		b.report("n2", &clusterv1.PlaceReport{Place: "e1", Instance: "i", Index: 1, CleanIndex: 1, SilentMs: 3_600_000})
		waits(t, b.start(2))
	})
}

// A version that does not exist is not reached because everybody denies.
func TestFutureVersionIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard(t, edgePlace("e1", time.Second))
		time.Sleep(time.Hour)
		c := b.start(3)
		waits(t, c)
		b.put(edgePlace("e2", time.Second))
		waits(t, c)
		b.remove("e2")
		ends(t, c, true)
	})
}

func TestNackEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard(t, edgePlace("e1", 0))
		for range 5 {
			b.put(edgePlace("e1", 0))
		}
		b.acks("e1", 2)
		c := b.start(4)
		nack := func(index uint64) {
			b.report("n1", &clusterv1.PlaceReport{Place: "e1", Instance: "i", Index: index, CleanIndex: 2, Connected: true,
				Rejections: []*syncv1.Rejection{{Resource: "api/a/stage/prod", Reason: "policy document: broken"}}})
		}
		nack(3)
		waits(t, c) // version 4 may replace it
		nack(4)
		r := ends(t, c, false)
		if p := r.resp.GetBlocking(); len(p) != 1 || p[0].GetState() != "nacked" || p[0].GetReason() != "api/a/stage/prod: policy document: broken" {
			t.Errorf("%v", p)
		}
		ends(t, b.start(2), true)  // from before the rejection
		ends(t, b.start(3), false) // outstanding
		b.acks("e1", 5)
		ends(t, b.start(3), true)
		// A snapshot that was refused as a whole.
		c = b.start(6)
		b.report("n1", &clusterv1.PlaceReport{Place: "e1", Instance: "i", Index: 5, CleanIndex: 5, Connected: true,
			Rejections: []*syncv1.Rejection{{Reason: "signature"}}})
		ends(t, c, false)
	})
}

// Reports of one place come through several nodes, in any order.
func TestReportsMergeInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard(t, edgePlace("e1", 0))
		time.Sleep(time.Minute)
		b.report("n2", &clusterv1.PlaceReport{Place: "e1", Instance: "i", Index: 1, CleanIndex: 1, Connected: true})
		b.report("n1", &clusterv1.PlaceReport{Place: "e1", Instance: "i", SilentMs: 10_000, Rejections: []*syncv1.Rejection{{Resource: "x"}}})
		p := b.Places(b.store.View())[0]
		if p.GetState() != "ready" || p.GetVersion() != 1 {
			t.Errorf("a late report of an earlier node counts: %v", p)
		}
		b.report("n2", &clusterv1.PlaceReport{Place: "e1", Instance: "other", Index: 99, CleanIndex: 99, SilentMs: 60_000})
		ends(t, b.start(1), true)
		b.put(&statev1.Place{Id: "e1", Kind: "edge", Instance: "new", Carrier: "e1"})
		waits(t, b.start(1)) // what the instance before acknowledged is not its
		b.report("n1", &clusterv1.PlaceReport{Place: "e1", Instance: "new", Index: 2, CleanIndex: 2, Connected: true})
		ends(t, b.start(1), true)
	})
}

// A new leader knows no acknowledgements, and counts silence from its election.
func TestNewLeaderStartsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound = 10 * time.Second
		b := newBoard(t, edgePlace("e1", bound), edgePlace("e2", 0))
		b.acks("e1", 2)
		b.acks("e2", 2)
		election := b.leadership()
		ends(t, b.start(2), true)
		old := b.start(3)
		b.SetLeading(false)
		synctest.Wait()
		if r := <-old; !errors.Is(r.err, ErrNotLeader) {
			t.Errorf("wait at the old leader ended with %v", r.err)
		}
		if _, err := b.Wait(t.Context(), 1, nil, nil); !errors.Is(err, ErrNotLeader) {
			t.Errorf("%v", err)
		}
		time.Sleep(time.Hour)
		b.SetLeading(true)
		if _, err := b.take(t.Context(), election, "n1", nil); !errors.Is(err, ErrNotLeader) {
			t.Errorf("a report of the term before was taken: %v", err)
		}
		if p := b.Places(b.store.View())[0]; p.GetState() != "starting" || p.GetLastContactMs() != 0 {
			t.Errorf("%v", p)
		}
		b.put(edgePlace("e1", bound))
		c := b.start(0)
		b.acks("e2", 3)
		time.Sleep(bound)
		waits(t, c)
		time.Sleep(drift(bound))
		ends(t, c, true)
		if p := b.Places(b.store.View())[0]; p.GetState() != "unreachable" {
			t.Errorf("%v", p)
		}
	})
}

// A leadership that was lost and won again while nobody looked is another one.
func TestUnnoticedElectionCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound = time.Second
		b := newBoard(t)
		term := uint64(7)
		b.cfg.Term = func() uint64 { return term }
		b.SetLeading(false)
		b.SetLeading(true)
		b.put(edgePlace("e1", bound))
		b.acks("e1", 1)
		b.put(edgePlace("e2", 0))
		b.remove("e2")
		time.Sleep(time.Hour)
		ends(t, b.start(3), true) // e1 denies since long
		term = 9
		if _, err := b.Wait(t.Context(), 3, nil, nil); !errors.Is(err, ErrNotLeader) {
			t.Errorf("it was not told yet that it leads again: %v", err)
		}
		b.SetLeading(true)
		c := b.start(3)
		waits(t, c) // another leader may have heard of e1 a moment ago
		time.Sleep(bound + drift(bound))
		ends(t, c, true)
	})
}

func TestProgressIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard(t, edgePlace("e1", 0), edgePlace("e2", 0))
		var seen []int
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := b.Wait(ctx, 2, nil, func(r *adminv1.WaitResponse) { seen = append(seen, len(r.GetBlocking())) })
			ended <- err
		}()
		synctest.Wait()
		b.acks("e1", 2)
		time.Sleep(time.Second)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) || len(seen) != 2 || seen[0] != 2 || seen[1] != 1 {
			t.Errorf("progress %v, %v", seen, err)
		}
	})
}
