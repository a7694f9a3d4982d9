package syncclient

import (
	"context"
	"errors"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// script is a server that does what a test says with each stream.
type script struct {
	syncv1.UnimplementedEdgeSyncServer
	play func(hello *syncv1.Hello, s syncv1.EdgeSync_SubscribeServer) error
}

func (s *script) Subscribe(stream syncv1.EdgeSync_SubscribeServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	return s.play(first.GetHello(), stream)
}

func serve(t *testing.T, play func(*syncv1.Hello, syncv1.EdgeSync_SubscribeServer) error) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	syncv1.RegisterEdgeSyncServer(server, &script{play: play})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func snapshotOf(s *syncv1.Snapshot) *syncv1.SubscribeResponse {
	return &syncv1.SubscribeResponse{Message: &syncv1.SubscribeResponse_Snapshot{Snapshot: s}}
}

// follow runs a client of some servers; what it installs comes out of the channel.
func follow(t *testing.T, change func(*Config), servers ...string) (*Client, <-chan Update, <-chan error) {
	t.Helper()
	updates := make(chan Update, 100)
	cfg := Config{
		Domain: domain, Carrier: "e1", Places: []Place{{ID: "e1", Kind: "edge"}}, Servers: servers, Verify: verifySignature,
		Dial: func(addr string) (grpc.ClientConnInterface, error) {
			return grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		},
		Install:    func(u Update) []Rejection { updates <- u; return nil },
		MaxBackoff: 20 * time.Millisecond, Heartbeat: 10 * time.Millisecond,
	}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { ended <- c.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return c, updates, ended
}

func TestSilentServerIsLeft(t *testing.T) {
	o := newOrigin()
	o.change(map[string]string{"a": "1"})
	full := o.full()
	asked := make(chan struct{}, 100)
	silent := serve(t, func(_ *syncv1.Hello, s syncv1.EdgeSync_SubscribeServer) error {
		asked <- struct{}{}
		<-s.Context().Done()
		return nil
	})
	speaks := serve(t, func(_ *syncv1.Hello, s syncv1.EdgeSync_SubscribeServer) error {
		select {
		case <-asked: // so that the silent one has had its chance
		case <-s.Context().Done():
			return nil
		}
		_ = s.Send(snapshotOf(full))
		<-s.Context().Done()
		return nil
	})
	_, updates, _ := follow(t, func(c *Config) { c.Silence = 50 * time.Millisecond }, silent, speaks)
	if u := <-updates; u.Index != 1 {
		t.Fatalf("%+v", u)
	}
}

// A snapshot that does not verify is NACKed as a whole, what was there stays, and
// the next stream gets another chance.
func TestForgedSnapshotIsNacked(t *testing.T) {
	o := newOrigin()
	o.change(map[string]string{"a": "1"})
	full := o.full()
	change := o.change(map[string]string{"a": "2"})
	nacks := make(chan *syncv1.Nack, 100)
	var mu sync.Mutex
	streams := 0
	server := serve(t, func(hello *syncv1.Hello, s syncv1.EdgeSync_SubscribeServer) error {
		mu.Lock()
		streams++
		n := streams
		mu.Unlock()
		switch n {
		case 1:
			_ = s.Send(snapshotOf(full))
			forged := &syncv1.Snapshot{Index: 2, Resources: change.Resources, SetHash: change.SetHash, Signature: []byte("forged")}
			_ = s.Send(snapshotOf(forged))
			for {
				req, err := s.Recv()
				if err != nil {
					return err
				}
				if nack := req.GetNack(); nack != nil {
					nacks <- nack
					return nil
				}
			}
		default:
			if hello.GetIndex() != 1 || len(hello.GetHashes()) != 1 {
				return errors.New("it should have kept version 1")
			}
			_ = s.Send(snapshotOf(change))
			<-s.Context().Done()
			return nil
		}
	})
	_, updates, _ := follow(t, nil, server)
	if u := <-updates; u.Index != 1 || !u.Full {
		t.Fatalf("%+v", u)
	}
	nack := <-nacks
	if r := nack.GetRejections(); nack.GetIndex() != 2 || len(r) != 1 || r[0].GetResource() != "" || r[0].GetReason() == "" {
		t.Fatalf("%v", nack)
	}
	if u := <-updates; u.Index != 2 || u.Full || string(u.Changed[0].Body) != "2" {
		t.Fatalf("%+v", u)
	}
}

// A client acknowledges what it installed, on each stream anew, and speaks with
// its own clock.
func TestAcknowledgements(t *testing.T) {
	o := newOrigin()
	o.change(map[string]string{"a": "1"})
	full := o.full()
	acks := make(chan *syncv1.Ack, 1000)
	server := serve(t, func(hello *syncv1.Hello, s syncv1.EdgeSync_SubscribeServer) error {
		if hello.GetIndex() == 0 {
			_ = s.Send(snapshotOf(full))
		}
		for range 3 { // then the stream breaks
			req, err := s.Recv()
			if err != nil {
				return err
			}
			acks <- req.GetAck()
			echo := &syncv1.Current{Index: 1, Echo: req.GetAck().GetSentAt()}
			_ = s.Send(&syncv1.SubscribeResponse{Message: &syncv1.SubscribeResponse_Current{Current: echo}})
		}
		return nil
	})
	c, _, _ := follow(t, nil, server)
	for range 2 {
		last := uint64(0)
		versions := map[string]uint64{}
		for range 3 {
			ack := <-acks
			if ack.GetSentAt() <= last {
				t.Fatalf("clock goes back from %d to %d", last, ack.GetSentAt())
			}
			last = ack.GetSentAt()
			for _, v := range ack.GetVersions() {
				versions[v.GetPlace()] = v.GetIndex()
			}
		}
		if !maps.Equal(versions, map[string]uint64{"e1": 1}) {
			t.Fatalf("acknowledged %v", versions)
		}
	}
	if c.Freshness() > 5*time.Second {
		t.Fatalf("freshness %v", c.Freshness())
	}
}

func TestRefusals(t *testing.T) {
	var mu sync.Mutex
	removed := false
	tries := make(chan struct{}, 100)
	server := serve(t, func(_ *syncv1.Hello, s syncv1.EdgeSync_SubscribeServer) error {
		mu.Lock()
		defer mu.Unlock()
		tries <- struct{}{}
		return s.Send(&syncv1.SubscribeResponse{Message: &syncv1.SubscribeResponse_Refused{Refused: &syncv1.Refused{Reason: "taken", Removed: removed}}})
	})
	_, _, ended := follow(t, nil, server)
	<-tries
	<-tries // another instance may be removed: it tries again
	mu.Lock()
	removed = true
	mu.Unlock()
	if err := <-ended; !errors.Is(err, ErrRemoved) {
		t.Fatal(err)
	}
}

// Questions are answered one after the other beside the snapshots, which do not
// wait for a slow answer.
func TestAnswers(t *testing.T) {
	o := newOrigin()
	o.change(map[string]string{"a": "1"})
	full := o.full()
	change := o.change(map[string]string{"a": "2"})
	answers := make(chan *syncv1.Answer, 10)
	server := serve(t, func(_ *syncv1.Hello, s syncv1.EdgeSync_SubscribeServer) error {
		_ = s.Send(snapshotOf(full))
		for i, decision := range []string{"slow", "unknown", "fast"} {
			q := &syncv1.Query{Id: uint64(i), Question: &syncv1.Query_Decision{Decision: decision}}
			_ = s.Send(&syncv1.SubscribeResponse{Message: &syncv1.SubscribeResponse_Query{Query: q}})
		}
		_ = s.Send(snapshotOf(change))
		for {
			req, err := s.Recv()
			if err != nil {
				return err
			}
			if a := req.GetAnswer(); a != nil {
				answers <- a
			}
		}
	})
	slow := make(chan struct{})
	_, updates, _ := follow(t, func(c *Config) {
		c.Answer = func(q *syncv1.Query) *syncv1.Answer {
			switch q.GetDecision() {
			case "slow":
				<-slow
			case "unknown":
				return nil
			}
			return &syncv1.Answer{Message: &syncv1.Answer_Decision{Decision: &edgev1.Decision{Id: q.GetDecision()}}}
		}
	}, server)
	for want := range uint64(2) {
		if u := <-updates; u.Index != want+1 {
			t.Fatalf("%+v", u)
		}
	}
	close(slow)
	for _, want := range []*syncv1.Answer{
		{Id: 0, Message: &syncv1.Answer_Decision{Decision: &edgev1.Decision{Id: "slow"}}},
		{Id: 2, Message: &syncv1.Answer_Decision{Decision: &edgev1.Decision{Id: "fast"}}},
	} {
		if got := <-answers; !proto.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}
