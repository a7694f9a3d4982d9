// Package state owns what is true: every record that the cluster has agreed
// on, in go-memdb tables, one a record type, and immutable Views of them.
//
// Store.Apply is the whole replicated state machine. It is deterministic: what
// it does depends on the entries applied before and on nothing else, so all
// replicas at one index hold the same records and the same Hash.
//
// Concurrency promises:
//
//  1. Apply and Restore are called by one goroutine at a time (raft's FSM loop).
//  2. Everything else may be called from anywhere at any time and never waits
//     for Apply.
//  3. A View never changes. Views that Store.View returns never go back.
//  4. A channel from Watch, taken before a View, is closed once there is a
//     newer View than that one. It may also be closed early, never late.
//  5. Records are shared between Views: nobody modifies one after it was put.
//
// What a caller may not assume: that it sees each View in turn (watchers skip
// to the newest), or that Changed reaches back further than a bounded log.
//
// The package knows neither raft nor gRPC nor a clock nor randomness; which
// records a write needs is decided by controlplane/service.
package state
