package publish_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// One changed policy, from the commit to the last acknowledgement of many edges.
func BenchmarkPush(b *testing.B) {
	for _, c := range []struct{ apis, edges int }{{100, 50}, {10000, 50}, {100, 1000}} {
		b.Run(fmt.Sprintf("apis=%d/edges=%d", c.apis, c.edges), func(b *testing.B) {
			l := newLab(b, 1)
			for i := range c.apis {
				l.commit(deployed(fmt.Sprintf("a%09d", i), "d0", allow))
			}
			var acked atomic.Int64
			var all sync.WaitGroup
			ctx, cancel := context.WithCancel(context.Background())
			defer func() { cancel(); all.Wait() }()
			var at atomic.Uint64
			at.Store(1 << 62)
			done := make(chan struct{}, 1)
			for i := range c.edges {
				conn, err := dial(l.nodes[0].addr)
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
				stream, err := syncv1.NewEdgeSyncClient(conn).Subscribe(ctx)
				if err != nil {
					b.Fatal(err)
				}
				id := fmt.Sprint("edge-", i)
				hello := &syncv1.Hello{Domain: syncv1.Domain_DOMAIN_EDGE, Carrier: id, Places: []*syncv1.PlaceInfo{{Id: id, Kind: "edge", Instance: "i"}}}
				if err := stream.Send(&syncv1.SubscribeRequest{Message: &syncv1.SubscribeRequest_Hello{Hello: hello}}); err != nil {
					b.Fatal(err)
				}
				all.Go(func() {
					for {
						resp, err := stream.Recv()
						if err != nil {
							return
						}
						s := resp.GetSnapshot()
						if s == nil || s.GetMore() {
							continue
						}
						_ = stream.Send(&syncv1.SubscribeRequest{Message: &syncv1.SubscribeRequest_Ack{Ack: &syncv1.Ack{Versions: []*syncv1.PlaceVersion{{Place: id, Index: s.GetIndex()}}}}})
						if s.GetIndex() >= at.Load() && acked.Add(1) == int64(c.edges) {
							done <- struct{}{}
						}
					}
				})
			}
			eventually(b, "all edges have begun", func() bool { return l.wait(0, 10*time.Second).GetTotal() == uint32(c.edges) })
			if !l.wait(0, time.Minute).GetReached() {
				b.Fatal("not all edges are up to date")
			}
			n := 0
			for b.Loop() {
				n++
				acked.Store(0)
				at.Store(l.index + 1)
				l.commit(deployed(fmt.Sprintf("a%09d", n%c.apis), fmt.Sprint("d", n), allow))
				<-done
			}
		})
	}
}
