package syncclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

var (
	errResubscribe = errors.New("places changed")
	errSilent      = errors.New("the server fell silent")
)

// receiveLimit is above any message that a server sends: snapshots come in parts,
// but one resource is never cut.
const receiveLimit = frameLimit

// stream is one connection to one server. The goroutine of Run receives; a second
// one sends whatever is due, so that nobody waits for the network with news.
type stream struct {
	c      *Client
	rpc    syncv1.EdgeSync_SubscribeClient
	cancel context.CancelCauseFunc
	opened time.Duration // reading of the clock in the Hello
	wake   chan struct{} // capacity 1

	queries chan *syncv1.Query  // that wait for their answers
	answers chan *syncv1.Answer // the one that is to be sent

	mu      sync.Mutex
	due     bool // acknowledge what is installed or shown
	refusal *refusal
	told    map[string]uint64 // ManualAck: what this stream acknowledged
}

// refusal is a snapshot that was not taken.
type refusal struct {
	index  uint64
	reason error
	sent   chan struct{}
}

// follow keeps one stream until it ends. spoke: the server said something of use.
func (c *Client) follow(ctx context.Context, server string) (spoke bool, err error) {
	if err := c.promise(); err != nil {
		return false, fmt.Errorf("note the staleness bound: %w", err)
	}
	conn, err := c.cfg.Dial(server)
	if err != nil {
		return false, fmt.Errorf("dial %s: %w", server, err)
	}
	if closer, ok := conn.(io.Closer); ok {
		defer closer.Close()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// It counts from here: a server that is stopped may not even finish the handshake.
	silence := time.AfterFunc(c.cfg.Silence, func() { cancel(errSilent) })
	defer silence.Stop()
	rpc, err := syncv1.NewEdgeSyncClient(conn).Subscribe(ctx, grpc.MaxCallRecvMsgSize(receiveLimit))
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return false, fmt.Errorf("subscribe at %s: %w", server, err)
	}
	s := &stream{
		c: c, rpc: rpc, cancel: cancel, wake: make(chan struct{}, 1), told: map[string]uint64{},
		queries: make(chan *syncv1.Query, maxQueries), answers: make(chan *syncv1.Answer),
	}
	c.mu.Lock()
	c.stream = s
	hello := c.hello()
	c.mu.Unlock()
	s.opened = time.Duration(hello.GetSentAt())
	var beside sync.WaitGroup
	defer func() {
		c.mu.Lock()
		c.stream = nil
		c.mu.Unlock()
		cancel(nil)
		beside.Wait()
	}()
	if err := rpc.Send(&syncv1.SubscribeRequest{Message: &syncv1.SubscribeRequest_Hello{Hello: hello}}); err != nil {
		return false, s.cause(ctx, err)
	}
	// What was installed before this stream is news to this server.
	s.due = c.set.index > 0 || c.cfg.ManualAck
	s.poke()
	beside.Go(func() { s.send(ctx) })
	beside.Go(func() { s.answer(ctx) })
	return s.receive(ctx, silence)
}

// hello says what the client has. The caller holds c.mu.
func (c *Client) hello() *syncv1.Hello {
	h := &syncv1.Hello{
		Domain: c.cfg.Domain, Carrier: c.cfg.Carrier, Vpcs: c.cfg.VPCs,
		Index: c.set.index, Hashes: make(map[string][]byte, len(c.set.hashes)), SentAt: uint64(c.cfg.Clock()),
	}
	for name, hash := range c.set.hashes {
		h.Hashes[name] = hash[:]
	}
	for _, p := range c.places {
		h.Places = append(h.Places, &syncv1.PlaceInfo{
			Id: p.ID, Kind: p.Kind, Az: p.AZ, Address: p.Address, Instance: c.instance, MaxStalenessMs: p.MaxStaleness.Milliseconds(),
		})
	}
	return h
}

// cause prefers why the stream was cancelled here over how that looks from inside gRPC.
func (s *stream) cause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

func (s *stream) receive(ctx context.Context, silence *time.Timer) (spoke bool, err error) {
	var parts assembly
	for {
		resp, err := s.rpc.Recv()
		// What is done with a message takes the time it takes: only waiting counts.
		silence.Stop()
		if err != nil {
			return spoke, s.cause(ctx, err)
		}
		if resp.GetRefused() == nil {
			s.c.registered()
		}
		switch m := resp.GetMessage().(type) {
		case *syncv1.SubscribeResponse_Snapshot:
			whole, err := parts.add(m.Snapshot)
			if err == nil && whole != nil {
				err = s.take(whole)
			}
			if err != nil {
				s.refuse(ctx, m.Snapshot.GetIndex(), err)
				return spoke, err
			}
			spoke = true
		case *syncv1.SubscribeResponse_Current:
			s.current(m.Current)
			spoke = true
		case *syncv1.SubscribeResponse_Query:
			s.ask(m.Query)
		case *syncv1.SubscribeResponse_Refused:
			if m.Refused.GetRemoved() {
				return spoke, fmt.Errorf("%w: %s", ErrRemoved, m.Refused.GetReason())
			}
			return false, fmt.Errorf("refused: %s", m.Refused.GetReason())
		}
		silence.Reset(s.c.cfg.Silence)
	}
}

// take verifies and installs a snapshot, and has it acknowledged.
func (s *stream) take(parts []*syncv1.Snapshot) error {
	ch, err := s.c.set.verify(s.c.cfg.Domain, parts, s.c.cfg.Verify)
	if err == nil {
		err = s.c.install(ch)
	}
	if err != nil {
		return err
	}
	s.acknowledge()
	return nil
}

// current notes that the newest version was this one at some instant after the
// echoed reading of our clock. Only readings of this stream count: an echo from
// before it may be of another clock.
func (s *stream) current(m *syncv1.Current) {
	echo := time.Duration(m.GetEcho())
	if m.GetIndex() > s.c.set.index || echo < s.opened || echo > s.c.cfg.Clock() {
		return
	}
	if int64(echo) > s.c.echo.Load() {
		s.c.echo.Store(int64(echo))
	}
}

func (s *stream) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *stream) acknowledge() {
	s.mu.Lock()
	s.due = true
	s.mu.Unlock()
	s.poke()
}

// refuse sends a NACK of a whole snapshot and gives it a moment to leave.
func (s *stream) refuse(ctx context.Context, index uint64, reason error) {
	r := &refusal{index: index, reason: reason, sent: make(chan struct{})}
	s.mu.Lock()
	s.refusal = r
	s.mu.Unlock()
	s.poke()
	select {
	case <-r.sent:
		// The server answers a refusal by ending the stream: until then it may
		// not have read it.
		_ = s.rpc.CloseSend()
		timer := time.AfterFunc(time.Second, func() { s.cancel(nil) })
		defer timer.Stop()
		for {
			if _, err := s.rpc.Recv(); err != nil {
				return
			}
		}
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
}

func (s *stream) send(ctx context.Context) {
	beat := time.NewTicker(s.c.cfg.Heartbeat)
	defer beat.Stop()
	for {
		heartbeat := false
		select {
		case <-ctx.Done():
			return
		case a := <-s.answers:
			if err := s.rpc.Send(&syncv1.SubscribeRequest{Message: &syncv1.SubscribeRequest_Answer{Answer: a}}); err != nil {
				s.cancel(fmt.Errorf("send: %w", err))
				return
			}
			continue
		case <-beat.C:
			heartbeat = true
		case <-s.wake:
		}
		s.mu.Lock()
		due, refused := s.due, s.refusal
		s.due, s.refusal = false, nil
		s.mu.Unlock()
		var req *syncv1.SubscribeRequest
		switch {
		case refused != nil:
			req = s.nack(refused.index, []*syncv1.Rejection{{Reason: refused.reason.Error()}})
		case due:
			req = s.ack()
		}
		if req == nil && heartbeat {
			req = ackOf(&syncv1.Ack{SentAt: uint64(s.c.cfg.Clock())})
		}
		if req == nil {
			continue
		}
		if err := s.rpc.Send(req); err != nil {
			s.cancel(fmt.Errorf("send: %w", err))
			return
		}
		if refused != nil {
			close(refused.sent)
			return
		}
	}
}

// ack acknowledges everything that this stream has not acknowledged yet; nil if
// there is nothing.
func (s *stream) ack() *syncv1.SubscribeRequest {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	index := c.Index()
	ack := &syncv1.Ack{SentAt: uint64(c.cfg.Clock())}
	if c.cfg.ManualAck {
		for place, shown := range c.shown {
			if shown > s.told[place] {
				s.told[place] = shown
				ack.Versions = append(ack.Versions, &syncv1.PlaceVersion{Place: place, Index: shown})
			}
		}
		if len(ack.Versions) == 0 {
			return nil
		}
		return ackOf(ack)
	}
	if len(c.rejected) > 0 {
		var list []*syncv1.Rejection
		for _, name := range slices.Sorted(maps.Keys(c.rejected)) {
			list = append(list, &syncv1.Rejection{Resource: name, Reason: c.rejected[name]})
		}
		return s.nack(index, list)
	}
	for _, p := range c.places {
		ack.Versions = append(ack.Versions, &syncv1.PlaceVersion{Place: p.ID, Index: index})
	}
	return ackOf(ack)
}

func (s *stream) nack(index uint64, list []*syncv1.Rejection) *syncv1.SubscribeRequest {
	return &syncv1.SubscribeRequest{Message: &syncv1.SubscribeRequest_Nack{Nack: &syncv1.Nack{
		Place: s.c.cfg.Carrier, Index: index, Rejections: list, SentAt: uint64(s.c.cfg.Clock()),
	}}}
}

func ackOf(m *syncv1.Ack) *syncv1.SubscribeRequest {
	return &syncv1.SubscribeRequest{Message: &syncv1.SubscribeRequest_Ack{Ack: m}}
}
