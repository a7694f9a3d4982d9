// Package service holds the gRPC handlers of the control plane, one file for
// each AWS resource. It owns every rule of the AWS APIs: a handler reads a View,
// checks the request against it, chooses ids and times, proposes one Txn of
// records guarded by what it read, and answers from what it wrote.
//
// What must be unique or consistent inside an API or a VPC is guarded by the
// modify index of its root record, which every write below it puts again: two
// writers of one root can't both commit what they decided on the same View.
//
// Servers are safe for concurrent use and start no goroutines. They know the
// cluster only through the Cluster interface, policies only through
// dataplane/policy, and leave wire formats, status codes and the forwarding of
// writes to the leader to others (gateway, apierr, rpc). Constraints that a
// .proto file states (required, values, pattern) are checked before a handler
// is called, by controlplane/constraint.
package service
