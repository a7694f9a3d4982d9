// Package apierr owns the one error type of the control plane and the tables
// that turn it into what each AWS protocol answers: HTTP status and exception
// name.
//
// A service returns an *Error from an RPC; grpc calls GRPCStatus, so the kind
// and the finer code cross a connection unharmed, and FromGRPC gives them back
// on the other side. Nobody but the tables of this package writes a status.
//
// Errors are values: nothing here is changed after construction, so they may
// be shared between goroutines. What a body looks like is left to the gateway.
package apierr

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Kind says what sort of failure an Error is; each protocol's table has one
// row a Kind.
type Kind int

const (
	// KindInternal is the zero Kind: a failure that nobody classified. Its message
	// is for the log; callers of the AWS protocols see a general one.
	KindInternal Kind = iota
	// KindInvalid is a request that breaks a business rule (BadRequestException).
	KindInvalid
	// KindValidation is a violated constraint of the API's model, found before any
	// business rule is looked at.
	KindValidation
	// KindSerialization is a body that is not what the protocol says: malformed, or
	// a JSON type that can't be converted.
	KindSerialization
	// KindNotFound is a thing that does not exist.
	KindNotFound
	// KindConflict is a state that contradicts the request, or a lost race.
	KindConflict
	// KindLimit is a quota on the number or size of things.
	KindLimit
	// KindTooMany is a quota on the rate of requests.
	KindTooMany
	// KindUnauthenticated is a caller whose identity is missing or not believed.
	KindUnauthenticated
	// KindUnauthorized is API Gateway's UnauthorizedException.
	KindUnauthorized
	// KindAccessDenied is a caller who is known and not permitted.
	KindAccessDenied
	// KindTooLarge is a request above a size limit of the protocol.
	KindTooLarge
	// KindUnavailable is a cluster that can't answer now; a retry may succeed.
	KindUnavailable
	// KindUnsupported is an operation of AWS that Postern lacks.
	KindUnsupported
	// KindDryRun is EC2's way to say that the request would have succeeded.
	KindDryRun
	// KindExists is a thing that exists already, where a service tells that from
	// other conflicts by the status.
	KindExists

	kinds // their number
)

var kindNames = [kinds]string{
	"internal", "invalid", "validation", "serialization", "not_found", "conflict", "limit", "too_many",
	"unauthenticated", "unauthorized", "access_denied", "too_large", "unavailable", "unsupported", "dry_run", "exists",
}

// String returns the kind as `-o json` prints it.
func (k Kind) String() string {
	if k < 0 || k >= kinds {
		return "kind " + strconv.Itoa(int(k))
	}
	return kindNames[k]
}

// Error is the error of every service.
type Error struct {
	Kind Kind
	// Code is the finer name where a service has one, such as
	// "InvalidVpcID.NotFound"; empty means the table's name for Kind.
	Code string
	// Message is what the caller reads, as AWS words it.
	Message string
}

// New returns an error of a kind with a finer code, which may be empty.
func New(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// BadRequest returns a KindInvalid error.
func BadRequest(format string, args ...any) *Error { return New(KindInvalid, "", format, args...) }

// NotFound returns a KindNotFound error.
func NotFound(format string, args ...any) *Error { return New(KindNotFound, "", format, args...) }

// Conflict returns a KindConflict error.
func Conflict(format string, args ...any) *Error { return New(KindConflict, "", format, args...) }

// Limit returns a KindLimit error.
func Limit(format string, args ...any) *Error { return New(KindLimit, "", format, args...) }

// Validation returns a KindValidation error; its message follows AWS's grammar for
// constraints.
func Validation(format string, args ...any) *Error { return New(KindValidation, "", format, args...) }

// Unsupported returns a KindUnsupported error.
func Unsupported(format string, args ...any) *Error { return New(KindUnsupported, "", format, args...) }

// Internal returns a KindInternal error.
func Internal(format string, args ...any) *Error { return New(KindInternal, "", format, args...) }

// DryRunSucceeded is EC2's answer to a permitted request with DryRun.
func DryRunSucceeded() *Error {
	return New(KindDryRun, "", "Request would have succeeded, but DryRun flag is set.")
}

// Error makes *Error an error.
func (e *Error) Error() string {
	if e.Code != "" {
		return e.Code + ": " + e.Message
	}
	return e.Kind.String() + ": " + e.Message
}

// domain marks the details that this package wrote.
const (
	domain  = "postern"
	kindKey = "kind"
)

var grpcCodes = [kinds]codes.Code{
	KindInternal:        codes.Internal,
	KindInvalid:         codes.InvalidArgument,
	KindValidation:      codes.InvalidArgument,
	KindSerialization:   codes.InvalidArgument,
	KindNotFound:        codes.NotFound,
	KindConflict:        codes.Aborted,
	KindLimit:           codes.ResourceExhausted,
	KindTooMany:         codes.ResourceExhausted,
	KindUnauthenticated: codes.Unauthenticated,
	KindUnauthorized:    codes.Unauthenticated,
	KindAccessDenied:    codes.PermissionDenied,
	KindTooLarge:        codes.OutOfRange,
	KindUnavailable:     codes.Unavailable,
	KindUnsupported:     codes.Unimplemented,
	KindDryRun:          codes.FailedPrecondition,
	KindExists:          codes.AlreadyExists,
}

// GRPCStatus tells grpc how to send the error.
func (e *Error) GRPCStatus() *status.Status {
	kind := e.Kind
	if kind < 0 || kind >= kinds {
		kind = KindInternal
	}
	st := status.New(grpcCodes[kind], e.Message)
	detailed, err := st.WithDetails(&errdetails.ErrorInfo{
		Reason:   e.Code,
		Domain:   domain,
		Metadata: map[string]string{kindKey: kind.String()},
	})
	if err != nil {
		return st
	}
	return detailed
}

// FromGRPC returns the Error in err: err itself, what GRPCStatus made of one
// on the other side of a connection, or the nearest kind for an error that
// grpc or somebody else made. It returns nil for nil.
func FromGRPC(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	st, ok := status.FromError(err)
	if !ok {
		st = status.FromContextError(err)
	}
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == domain {
			return &Error{Kind: kindOf(info.GetMetadata()[kindKey]), Code: info.GetReason(), Message: st.Message()}
		}
	}
	return &Error{Kind: foreignKind(st.Code(), err), Message: st.Message()}
}

func kindOf(name string) Kind {
	for k, n := range kindNames {
		if n == name {
			return Kind(k)
		}
	}
	return KindInternal
}

// foreignKind classifies what was not made by GRPCStatus. A time-out is
// KindUnavailable rather than KindInternal, for nobody knows whether the request took
// effect and clients retry the former.
func foreignKind(code codes.Code, err error) Kind {
	switch code {
	case codes.InvalidArgument:
		return KindInvalid
	case codes.NotFound:
		return KindNotFound
	case codes.AlreadyExists, codes.Aborted, codes.FailedPrecondition:
		return KindConflict
	case codes.ResourceExhausted:
		return KindTooMany
	case codes.Unauthenticated:
		return KindUnauthenticated
	case codes.PermissionDenied:
		return KindAccessDenied
	case codes.OutOfRange:
		return KindTooLarge
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return KindUnavailable
	case codes.Unimplemented:
		return KindUnsupported
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return KindUnavailable
	}
	return KindInternal
}
