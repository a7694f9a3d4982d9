package rpc

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
)

// firstCall is an EC2 service whose reads need the leader, as the first one of
// an account does.
type firstCall struct {
	ec2v1.UnimplementedEC2Server
	leads bool
	calls int
}

func (f *firstCall) DescribeVpcs(context.Context, *ec2v1.DescribeVpcsRequest) (*ec2v1.DescribeVpcsResponse, error) {
	f.calls++
	if !f.leads {
		return nil, ErrNotLeader
	}
	return &ec2v1.DescribeVpcsResponse{NextToken: new("from the leader")}, nil
}

type fixedLeader bool

func (f fixedLeader) IsLeader() bool                   { return bool(f) }
func (fixedLeader) Leader() (id, address string)       { return "n1", "leader:1" }
func (fixedLeader) LeadershipChanged() <-chan struct{} { return nil }

func TestReadThatNeedsTheLeaderIsForwarded(t *testing.T) {
	leader, follower := &firstCall{leads: true}, &firstCall{}
	at := New(Config{Leadership: fixedLeader(true), Logger: slog.New(slog.DiscardHandler)})
	ec2v1.RegisterEC2Server(at, leader)
	from := New(Config{
		Leadership: fixedLeader(false), Logger: slog.New(slog.DiscardHandler),
		Peer: func(string) (grpc.ClientConnInterface, error) { return at.Conn(), nil },
	})
	ec2v1.RegisterEC2Server(from, follower)
	answer, err := ec2v1.NewEC2Client(from.Conn()).DescribeVpcs(t.Context(), &ec2v1.DescribeVpcsRequest{})
	if err != nil || answer.GetNextToken() != "from the leader" || follower.calls != 1 || leader.calls != 1 {
		t.Fatalf("answer %v, %v after %d calls here and %d at the leader", answer, err, follower.calls, leader.calls)
	}
	// Once it can be answered here, it is.
	follower.leads = true
	if _, err := ec2v1.NewEC2Client(from.Conn()).DescribeVpcs(t.Context(), &ec2v1.DescribeVpcsRequest{}); err != nil || leader.calls != 1 {
		t.Fatalf("%v after %d calls at the leader", err, leader.calls)
	}
}

// deaf is a leader that takes calls and never answers.
type deaf struct {
	grpc.ClientConnInterface
	asked chan struct{}
}

func (d deaf) Invoke(ctx context.Context, _ string, _, _ any, _ ...grpc.CallOption) error {
	close(d.asked)
	<-ctx.Done()
	return status.FromContextError(ctx.Err()).Err()
}

// changing is the view of a follower that learns of another leader.
type changing struct {
	address atomic.Value
	changed chan struct{}
}

func (c *changing) IsLeader() bool                     { return false }
func (c *changing) Leader() (id, address string)       { return "n", c.address.Load().(string) }
func (c *changing) LeadershipChanged() <-chan struct{} { return c.changed }

// A write that a hung leader was asked for ends soon after another leads, with
// its outcome unknown: it must not be tried again.
func TestForwardedWriteEndsWithTheLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leadership := &changing{changed: make(chan struct{})}
		leadership.address.Store("old:1")
		hung := deaf{asked: make(chan struct{})}
		from := New(Config{
			Leadership: leadership, Logger: slog.New(slog.DiscardHandler),
			Peer: func(string) (grpc.ClientConnInterface, error) { return hung, nil },
		})
		ec2v1.RegisterEC2Server(from, &firstCall{})
		failed := make(chan error)
		go func() {
			_, err := ec2v1.NewEC2Client(from.Conn()).CreateVpc(t.Context(), &ec2v1.CreateVpcRequest{})
			failed <- err
		}()
		<-hung.asked
		began := time.Now()
		leadership.address.Store("")
		time.Sleep(time.Minute) // no leader is no reason yet: the old one may come back
		leadership.address.Store("new:1")
		close(leadership.changed)
		if err := <-failed; status.Code(err) != codes.Unavailable || time.Since(began) > time.Minute+2*supersededGrace {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// elected is a follower that believes in a dead leader until it leads itself.
type elected struct {
	dead  string
	asked atomic.Int32
}

func (e *elected) IsLeader() bool { return e.asked.Load() > 2 }
func (e *elected) Leader() (id, address string) {
	e.asked.Add(1)
	return "dead", e.dead
}
func (*elected) LeadershipChanged() <-chan struct{} { return nil }

// created is an EC2 service that counts writes.
type created struct {
	ec2v1.UnimplementedEC2Server
	calls int
}

func (c *created) CreateVpc(context.Context, *ec2v1.CreateVpcRequest) (*ec2v1.CreateVpcResponse, error) {
	c.calls++
	return &ec2v1.CreateVpcResponse{}, nil
}

// A write whose leader refuses the connection was not sent anywhere: it waits
// for the next leader instead of failing.
func TestWriteOutlastsADeadLeader(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // from here on connections are refused
	peers := NewPeers(insecure.NewCredentials())
	t.Cleanup(func() { _ = peers.Close() })
	here := &created{}
	s := New(Config{Leadership: &elected{dead: ln.Addr().String()}, Logger: slog.New(slog.DiscardHandler), Peer: peers.Conn})
	ec2v1.RegisterEC2Server(s, here)
	if _, err := ec2v1.NewEC2Client(s.Conn()).CreateVpc(t.Context(), &ec2v1.CreateVpcRequest{}); err != nil || here.calls != 1 {
		t.Errorf("%v after %d calls", err, here.calls)
	}
}

// vanishing is a connection that breaks under the call.
type vanishing struct{ grpc.ClientConnInterface }

func (vanishing) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	return status.Error(codes.Unavailable, "error reading from server: EOF")
}

// A write that was sent is never sent again, and its client is told in words
// that say what is not known.
func TestWriteOfUnknownOutcomeIsNotRepeated(t *testing.T) {
	s := New(Config{
		Leadership: fixedLeader(false), Logger: slog.New(slog.DiscardHandler),
		Peer: func(string) (grpc.ClientConnInterface, error) { return vanishing{}, nil },
	})
	ec2v1.RegisterEC2Server(s, &created{})
	_, err := ec2v1.NewEC2Client(s.Conn()).CreateVpc(t.Context(), &ec2v1.CreateVpcRequest{})
	if status.Code(err) != codes.Unavailable || !strings.Contains(status.Convert(err).Message(), "not known") {
		t.Errorf("error %v", err)
	}
}
