// Package guard says who calls the control plane and whether he may: it
// verifies signatures against stored access keys, and evaluates the caller's
// own policies for the action and the resources of each operation.
//
// It owns what the actions and resources of an operation are called, and the
// words in which AWS refuses. Keys and policies are handed to it; signatures
// are internal/sigv4's, and the policy language dataplane/policy's.
//
// A call is judged where it comes in, by HTTP or by gRPC; what a node sends on
// to the leader was judged before. A Guard may be used by any number of
// goroutines.
package guard
