// Package fsm is the adapter between hashicorp/raft and the state: it decodes
// log entries for Store.Apply and turns Views into raft snapshots and back.
//
// Raft calls FSM's methods from one goroutine; Persist of a raft snapshot may
// run at the same time as later Apply calls, since it works on a View.
//
// A raft snapshot is a stream of frames, each a big-endian length, a CRC-32C
// and a RaftSnapshotFrame: one header, batches of records in the state's own
// order, one trailer with their number. Nothing of it depends on a record
// type, so a new type needs no code here. Because the order is fixed, replicas
// at one index write the same bytes.
//
// What an entry means is left to package state, where snapshots are kept to
// package cluster.
package fsm
