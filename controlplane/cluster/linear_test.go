package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/posternhq/postern/controlplane/cluster"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	"github.com/posternhq/postern/test/linearize"
)

// client reads on any node and writes on whichever says that it leads.
type client struct {
	lab      *lab
	id       int
	recorder *linearize.Recorder
	random   *rand.Rand
	seen     map[string]uint64
	writes   int
}

func (c *client) step(ctx context.Context) {
	in := linearize.Input{Key: fmt.Sprint("r", c.random.IntN(3)), Kind: linearize.Kind(c.random.IntN(3))}
	// A node is picked by the map's own order, which is random enough.
	for _, n := range c.lab.running() {
		if in.Kind == linearize.Read {
			c.read(ctx, n, in)
			return
		}
		if n.IsLeader() {
			c.write(ctx, n, in)
			return
		}
	}
}

func (c *client) read(ctx context.Context, n *labNode, in linearize.Input) {
	answered := c.recorder.Call(c.id, in)
	v, err := n.ReadView(ctx)
	if err != nil {
		return
	}
	r := v.Get(key(in.Key))
	c.seen[in.Key] = r.GetModifyIndex()
	answered(linearize.Output{Value: r.GetRestApi().GetDescription(), Version: r.GetModifyIndex()})
}

func (c *client) write(ctx context.Context, n *labNode, in linearize.Input) {
	c.writes++
	in.Value = fmt.Sprint(c.id, "/", c.writes)
	txn := put(in.Key, in.Value)
	if in.Kind == linearize.GuardedWrite {
		in.Expected = c.seen[in.Key]
		txn.Guards = []*statev1.Guard{{Key: key(in.Key).Proto(), ModifyIndex: in.Expected}}
	}
	answered := c.recorder.Call(c.id, in)
	result, err := n.Propose(ctx, txn)
	switch {
	case errors.Is(err, cluster.ErrUnknownOutcome):
		answered(linearize.Output{Unknown: true})
	case err != nil:
		// It says that nothing was written: so the history must do without it.
	case result.Refused != nil:
		answered(linearize.Output{Refused: true})
	default:
		c.seen[in.Key] = result.Index
		answered(linearize.Output{Version: result.Index})
	}
}

// Guarantee 2, with everything that takes a leadership away.
func TestLinearizable(t *testing.T) {
	disks := map[string]*hungDisk{}
	l := newLab(t, func(c *cluster.Config) {
		d := &hungDisk{}
		disks[c.ID] = d
		c.OpenLog = d.open
		c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = 50*time.Millisecond, 64, 16
	})
	defer func() {
		for _, d := range disks {
			d.setHung(false)
		}
	}()
	l.start("n1", "n2", "n3")
	l.ready()

	recorder := linearize.NewRecorder()
	stop, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for id := range 6 {
		c := &client{lab: l, id: id, recorder: recorder, random: rand.New(rand.NewPCG(1, uint64(id))), seen: map[string]uint64{}}
		group.Go(func() {
			for stop.Err() == nil {
				// An answer that comes later than this is one that nobody waits for.
				short, done := context.WithTimeout(stop, 400*time.Millisecond)
				c.step(short)
				done()
				time.Sleep(time.Millisecond) // keeps histories short enough to judge
			}
		})
	}
	working := func(min int) {
		t.Helper()
		before := recorder.Len()
		eventually(t, "operations go on", func() bool { return recorder.Len() >= before+min })
	}
	working(100)
	for _, fault := range []struct {
		name       string
		break_, ok func(id string)
	}{
		{"partition", func(id string) { l.setCut(id, true) }, func(id string) { l.setCut(id, false) }},
		{"stop", func(id string) { l.stop(id) }, func(id string) { l.add(id) }},
		{"hung disk", func(id string) { disks[id].setHung(true) }, func(id string) { disks[id].setHung(false) }},
		{"transfer", func(id string) { _ = l.nodes[id].TransferLeader(stop, "") }, func(string) {}},
	} {
		id := l.leader()
		t.Logf("%s of %s after %d operations", fault.name, id, recorder.Len())
		fault.break_(id)
		l.leader(id)
		working(60)
		fault.ok(id)
		l.ready()
		working(60)
	}
	cancel()
	group.Wait()
	t.Logf("%d operations", recorder.Len())
	if err := recorder.Check(20 * time.Second); err != nil {
		t.Error(err)
	}
}
