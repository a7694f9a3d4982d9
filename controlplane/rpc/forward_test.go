package rpc

import (
	"context"
	"log/slog"
	"testing"

	"google.golang.org/grpc"

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

func (f fixedLeader) IsLeader() bool             { return bool(f) }
func (fixedLeader) Leader() (id, address string) { return "n1", "leader:1" }

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
