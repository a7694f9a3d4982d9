// Package cluster owns consensus: one Node holds the *raft.Raft, its log and
// raft snapshots, the transport, the membership and the read index. DESIGN.md
// says how, with the invariants.
//
// Concurrency promises:
//
//  1. Every method may be called from anywhere at any time, before Run and
//     after it too; then it answers that the node does not run.
//  2. A Txn that Propose was given is not read after Propose has returned.
//  3. Propose has answered without an error only if the Txn was decided at
//     Result.Index on a majority's disks, and then StaleView shows it here.
//  4. ReadView shows every write that was answered, anywhere, before the call.
//  5. Run returns after the goroutines that it started.
//
// What a write contains is left to controlplane/service, what an entry does to
// controlplane/state, sending writes to the leader to controlplane/rpc.
package cluster
