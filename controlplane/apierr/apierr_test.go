package apierr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

func TestEveryKindCrossesAConnection(t *testing.T) {
	for k := range kinds {
		for _, code := range []string{"", "InvalidVpcID.NotFound"} {
			want := New(k, code, "The vpc ID '%s' does not exist", "vpc-1")
			st := want.GRPCStatus()
			if st.Code() == codes.OK || st.Code() == codes.Unknown {
				t.Errorf("%v: grpc code %v", k, st.Code())
			}
			// What the other side has is the wire form, not the value.
			got := FromGRPC(status.FromProto(st.Proto()).Err())
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%v %q: (-sent +received)\n%s", k, code, diff)
			}
		}
	}
}

func TestEveryKindHasAnAnswer(t *testing.T) {
	protocols := []awsv1.Protocol_Kind{
		awsv1.Protocol_KIND_REST_JSON, awsv1.Protocol_KIND_EC2_QUERY, awsv1.Protocol_KIND_QUERY, awsv1.Protocol_KIND_REST_XML,
	}
	for k := range kinds {
		if kindNames[k] == "" || kindOf(k.String()) != k {
			t.Errorf("kind %d has no name of its own", k)
		}
		for _, p := range protocols {
			code, name := (&Error{Kind: k}).Answer(p)
			if code < 400 || name == "" {
				t.Errorf("%v in %v: %d %q", k, p, code, name)
			}
		}
	}
}

func TestAnswer(t *testing.T) {
	tests := []struct {
		name     string
		err      *Error
		protocol awsv1.Protocol_Kind
		status   int
		code     string
	}{
		{"rest not found", NotFound("x"), awsv1.Protocol_KIND_REST_JSON, http.StatusNotFound, "NotFoundException"},
		{"rest conflict", Conflict("x"), awsv1.Protocol_KIND_REST_JSON, http.StatusConflict, "ConflictException"},
		{"rest limit", Limit("x"), awsv1.Protocol_KIND_REST_JSON, http.StatusTooManyRequests, "LimitExceededException"},
		{"ec2 not found is 400", New(KindNotFound, "InvalidVpcID.NotFound", "x"), awsv1.Protocol_KIND_EC2_QUERY, http.StatusBadRequest, "InvalidVpcID.NotFound"},
		{"ec2 dry run", DryRunSucceeded(), awsv1.Protocol_KIND_EC2_QUERY, http.StatusPreconditionFailed, "DryRunOperation"},
		{"ec2 throttling", New(KindTooMany, "", "x"), awsv1.Protocol_KIND_EC2_QUERY, http.StatusServiceUnavailable, "RequestLimitExceeded"},
		{"route 53 not found", NotFound("x"), awsv1.Protocol_KIND_REST_XML, http.StatusNotFound, "NoSuchChange"},
		{"a kind of a newer version", &Error{Kind: kinds}, awsv1.Protocol_KIND_REST_JSON, http.StatusInternalServerError, "InternalServerErrorException"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, name := tt.err.Answer(tt.protocol)
			if code != tt.status || name != tt.code {
				t.Errorf("got %d %s, want %d %s", code, name, tt.status, tt.code)
			}
		})
	}
}

func TestFromGRPCForeign(t *testing.T) {
	own := BadRequest("no")
	tests := []struct {
		name string
		err  error
		want Kind
	}{
		{"ours, wrapped", fmt.Errorf("create: %w", own), KindInvalid},
		{"connection lost", status.Error(codes.Unavailable, "connection refused"), KindUnavailable},
		{"time-out of grpc", status.Error(codes.DeadlineExceeded, "late"), KindUnavailable},
		{"time-out of the context", fmt.Errorf("read: %w", context.DeadlineExceeded), KindUnavailable},
		{"method not registered", status.Error(codes.Unimplemented, "unknown method"), KindUnsupported},
		{"anything else", errors.New("disk on fire"), KindInternal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := FromGRPC(tt.err).Kind; got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	if got, want := DryRunSucceeded().Message, "Request would have succeeded, but DryRun flag is set."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if FromGRPC(nil) != nil {
		t.Error("FromGRPC(nil) is not nil")
	}
}
