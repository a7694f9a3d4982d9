package publish

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

var errStopping = status.Error(codes.Unavailable, "this node is stopping")

// subscription is one stream. The handler's goroutine sends, a second one
// receives; between them go the atomic fields and wake.
type subscription struct {
	p     *Publisher
	feed  *feed
	scope *scope
	rpc   syncv1.EdgeSync_SubscribeServer
	wake  chan struct{} // capacity 1

	carrier    *carrier // set by attach
	firstCount uint64   // number of the Hello among the carrier's messages

	sent     atomic.Uint64 // newest version that the client has or was sent
	answered atomic.Uint64 // newest version that it answered with Ack or Nack

	mu        sync.Mutex
	why       error // set once: the stream has to end
	questions questions
}

func (s *subscription) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// stop has the stream end for a reason; the first one counts.
func (s *subscription) stop(err error) {
	s.mu.Lock()
	if s.why == nil {
		s.why = err
	}
	s.mu.Unlock()
	s.poke()
}

func (s *subscription) stopReason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

// Subscribe implements EdgeSync.
func (p *Publisher) Subscribe(rpc syncv1.EdgeSync_SubscribeServer) error {
	first, err := rpc.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	f := p.feeds[hello.GetDomain()]
	if f == nil {
		return status.Errorf(codes.InvalidArgument, "a stream begins with the Hello of a known domain, not %v", hello.GetDomain())
	}
	if p.cfg.Authorize != nil {
		if err := p.cfg.Authorize(rpc.Context(), f.domain, hello.GetCarrier()); err != nil {
			return err
		}
	}
	if err := checkHello(f.domain, hello); err != nil {
		return err
	}
	s := &subscription{p: p, feed: f, rpc: rpc, wake: make(chan struct{}, 1)}
	s.scope = f.join(s, hello.GetVpcs())
	defer f.leave(s, s.scope)
	open := p.metrics.streams.WithLabelValues(f.name)
	open.Inc()
	defer open.Dec()

	err = s.serve(rpc.Context(), hello)
	var no *refused
	if errors.As(err, &no) {
		p.cfg.Logger.Info("client refused", "carrier", hello.GetCarrier(), "reason", no.reason, "removed", no.removed)
		_ = rpc.Send(&syncv1.SubscribeResponse{Message: &syncv1.SubscribeResponse_Refused{Refused: &syncv1.Refused{Reason: no.reason, Removed: no.removed}}})
		return status.Error(codes.FailedPrecondition, no.reason)
	}
	return err
}

func (s *subscription) serve(ctx context.Context, hello *syncv1.Hello) error {
	p := s.p
	// A node that knows less than the client says nothing until it does.
	if err := p.caughtUp(ctx, s, hello.GetIndex()); err != nil {
		return err
	}
	fresh, index, err := p.register(ctx, s.feed.domain, hello)
	if err != nil {
		return err
	}
	if err := p.caughtUp(ctx, s, index); err != nil {
		return err
	}
	s.sent.Store(hello.GetIndex())
	s.answered.Store(hello.GetIndex())
	if replaced := p.connected.attach(s, hello); replaced != nil {
		replaced.stop(status.Error(codes.Aborted, "the client opened another stream"))
	}
	defer p.connected.detach(s)
	// A removal before attach found no stream to end.
	if s.feed.domain == syncv1.Domain_DOMAIN_EDGE && !p.counts(hello) {
		return errRemoved
	}
	go s.receive()

	// A client that has nothing though it was registered before has lost it, and
	// may have acknowledged more than this node knows: what it gets first must
	// not be older than what the leader has now.
	if hello.GetIndex() == 0 && !fresh {
		if err := s.proven(ctx); err != nil {
			return err
		}
		// It may be registered otherwise by now than this node knew before.
		if !p.registeredAs(hello) {
			return status.Error(codes.Aborted, "this node lagged behind a registration")
		}
	}
	return s.loop(ctx, hello.GetHashes())
}

// proven waits until the leader knows of the Hello and the feed has reached the
// leader's version.
func (s *subscription) proven(ctx context.Context) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		at, _, moved := s.feed.now()
		if proof := s.p.connected.proofOf(s.carrier); proof.count >= s.firstCount && at >= proof.need {
			return nil
		}
		select {
		case <-s.wake:
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.p.stopped:
			return errStopping
		case <-timeout.C:
			return status.Error(codes.Unavailable, "no leader confirmed that this node is up to date")
		}
		if err := s.stopReason(); err != nil {
			return err
		}
	}
}

// loop is the protocol: the newest snapshot whenever there is one and the client
// has answered the last, proofs of freshness as they come, and at least a
// Current every second.
func (s *subscription) loop(ctx context.Context, hashes map[string][]byte) error {
	tick := time.NewTicker(currentEvery)
	defer tick.Stop()
	var pending, proven proof
	for first := true; ; first = false {
		// One proof is followed until it holds: under steady writes the newest one
		// would always be a little ahead.
		if pending.count == proven.count {
			pending = s.p.connected.proofOf(s.carrier)
		}
		if err := s.stopReason(); err != nil {
			return err
		}
		var err error
		switch {
		case first:
			var d *delivery
			if d, err = s.scope.from(hashes); err == nil && s.news(d) {
				err = s.deliver(d)
			}
			hashes = nil
		case s.mayDeliver(pending.need):
			var d *delivery
			if d, err = s.scope.since(s.sent.Load()); err == nil {
				err = s.deliver(d)
			}
		}
		if err != nil {
			return err
		}
		if pending.count > proven.count && s.sent.Load() >= pending.need {
			proven = pending
			if err := s.current(proven.sentAt); err != nil {
				return err
			}
			tick.Reset(currentEvery)
		}
		if err := s.inquire(); err != nil {
			return err
		}
		select {
		case <-s.wake:
		case <-tick.C:
			if s.sent.Load() == s.feed.at() {
				if err := s.current(proven.sentAt); err != nil {
					return err
				}
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-s.p.stopped:
			return errStopping
		}
	}
}

// news says whether a first delivery holds anything: a client that comes back
// to what it has needs none.
func (s *subscription) news(d *delivery) bool {
	return d.index > s.sent.Load() || len(d.resources) > 0 || len(d.removed) > 0
}

// mayDeliver: there is a newer version, and it is due, or a proof needs it. And
// one snapshot is under way at a time, so what a slow edge misses meanwhile comes
// to it as one. DNS places acknowledge when names are visible, which may take
// minutes; there the transport's flow control has to do.
func (s *subscription) mayDeliver(need uint64) bool {
	index, due, _ := s.feed.now()
	sent := s.sent.Load()
	if index <= sent || due <= sent && need <= sent {
		return false
	}
	return s.feed.domain != syncv1.Domain_DOMAIN_EDGE || s.answered.Load() >= sent
}

func (s *subscription) deliver(d *delivery) error {
	kind := "delta"
	if d.full {
		kind = "full"
	}
	s.p.metrics.sent.WithLabelValues(s.feed.name, kind).Inc()
	// Before it leaves: the answer may be there before Send returns.
	s.sent.Store(d.index)
	return d.messages(s.rpc, s.rpc.SendMsg)
}

func (s *subscription) current(echo uint64) error {
	return s.rpc.Send(&syncv1.SubscribeResponse{Message: &syncv1.SubscribeResponse_Current{Current: &syncv1.Current{Index: s.sent.Load(), Echo: echo}}})
}

// receive takes what the client says until the stream ends.
func (s *subscription) receive() {
	for {
		req, err := s.rpc.Recv()
		if err != nil {
			s.stop(status.Error(codes.Canceled, "the client closed the stream"))
			return
		}
		switch m := req.GetMessage().(type) {
		case *syncv1.SubscribeRequest_Ack:
			if !s.p.connected.acknowledged(s, m.Ack, s.sent.Load()) {
				s.stop(status.Error(codes.InvalidArgument, "an Ack of a version that was not sent"))
				return
			}
			for _, v := range m.Ack.GetVersions() {
				s.answer(v.GetIndex())
			}
		case *syncv1.SubscribeRequest_Nack:
			s.p.metrics.nacks.Inc()
			whole, ok := s.p.connected.rejected(s, m.Nack, s.sent.Load())
			switch {
			case !ok:
				s.stop(status.Error(codes.InvalidArgument, "a Nack of a version that was not sent"))
				return
			case whole:
				s.stop(status.Error(codes.Aborted, "the client refused a snapshot"))
				return
			}
			s.answer(m.Nack.GetIndex())
		case *syncv1.SubscribeRequest_Answer:
			s.reply(m.Answer)
		default:
			s.stop(status.Error(codes.InvalidArgument, "a second Hello"))
			return
		}
	}
}

func (s *subscription) answer(index uint64) {
	if index <= s.answered.Load() {
		return
	}
	s.answered.Store(index)
	if at, ok := s.feed.published(index); ok && s.feed.domain == syncv1.Domain_DOMAIN_EDGE {
		s.p.metrics.programming.Observe(time.Since(at).Seconds())
	}
	s.poke()
}
