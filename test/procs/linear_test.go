package procs_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/posternhq/postern/test/linearize"
	"github.com/posternhq/postern/test/procs"
	"github.com/posternhq/postern/test/tenant"
)

// TestLinearizable is guarantee 2 with real processes: clients read and write
// descriptions of a few APIs, each at whatever node, while leaders are killed
// and paused. Some order of all that must explain every answer.
func TestLinearizable(t *testing.T) {
	const registers, clients = 6, 8
	c := start(t, procs.Config{Nodes: 3, Edges: 1})
	var apis [registers]string
	for i := range apis {
		var made struct{ ID string }
		if _, err := aws(within(t, patience), c.Nodes[0], "POST", "/restapis", map[string]any{"name": fmt.Sprint("register ", i)}, &made); err != nil {
			t.Fatal(err)
		}
		apis[i] = made.ID
	}
	history := linearize.NewRecorder()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var group errgroup.Group
	// A node that hangs would keep every client waiting before long.
	var hung atomic.Pointer[procs.Process]
	for client := range clients {
		group.Go(func() error {
			for n := 0; ctx.Err() == nil; n++ {
				node := c.Nodes[rand.IntN(len(c.Nodes))]
				if !node.Running() || node == hung.Load() {
					continue
				}
				api := apis[rand.IntN(registers)]
				// Everything that has begun is given its time, so that few outcomes stay open.
				one, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				err := operate(one, history, client, node, api, fmt.Sprintf("%d-%d", client, n))
				cancel()
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	more := func(n int) {
		t.Helper()
		goal := history.Len() + n
		eventually(t, "operations", func() error {
			if done := history.Len(); done < goal {
				return fmt.Errorf("%d of %d", done, goal)
			}
			return nil
		})
	}
	more(200)
	for _, pause := range []bool{false, true, false} {
		leader, err := c.Leader(within(t, patience))
		if err != nil {
			t.Fatal(err)
		}
		if pause {
			hung.Store(leader)
			err = leader.Pause()
		} else {
			err = leader.Kill()
		}
		if err != nil {
			t.Fatal(err)
		}
		more(200)
		if pause {
			// Asked from this moment on, it does not know yet that it was deposed.
			hung.Store(nil)
			err = leader.Resume()
		} else {
			err = procs.StartAll(within(t, patience), leader)
		}
		if err != nil {
			t.Fatal(err)
		}
		more(100)
	}
	stop()
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := history.Check(patience); err != nil {
		t.Error(err)
	}
	t.Logf("%d operations on %d registers", history.Len(), registers)
}

// operate makes one read or write and notes it. The front does not tell a
// register's own version, so all are noted as 0: values alone are judged.
func operate(ctx context.Context, history *linearize.Recorder, client int, node *procs.Process, api, value string) error {
	if rand.IntN(2) == 0 {
		answered := history.Call(client, linearize.Input{Key: api, Kind: linearize.Read})
		var got struct{ Description string }
		if _, err := aws(ctx, node, "GET", "/restapis/"+api, nil, &got); err != nil {
			return outcome(err, func() { answered(linearize.Output{Unknown: true}) })
		}
		answered(linearize.Output{Value: got.Description})
		return nil
	}
	answered := history.Call(client, linearize.Input{Key: api, Kind: linearize.Write, Value: value})
	_, err := aws(ctx, node, "PATCH", "/restapis/"+api, map[string]any{
		"patchOperations": []any{map[string]string{"op": "replace", "path": "/description", "value": value}},
	}, nil)
	if err != nil {
		return outcome(err, func() { answered(linearize.Output{Unknown: true}) })
	}
	answered(linearize.Output{})
	return nil
}

// outcome sorts out what no answer, or one that is an error, means.
func outcome(err error, open func()) error {
	var refused *tenant.Error
	if errors.As(err, &refused) {
		switch {
		case refused.Status == 409 || refused.Status == 429:
			return nil // it lost a race, and had no effect
		case refused.Status/100 == 4:
			return err
		}
	}
	open()
	return nil
}
