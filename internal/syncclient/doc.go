// Package syncclient is the client half of EdgeSync: it brings the newest
// snapshot of one domain to a process that serves it, and tells the control
// plane what that process shows.
//
// What it promises:
//
//  1. Install is called by one goroutine, with verified updates only: every
//     body has its hash, the whole set has the announced hash, and a server of
//     the cluster has signed that. Anything else is NACKed and leaves all as it was.
//  2. The index of an update is never below that of the one before, across
//     reconnects, servers and, with a data folder, restarts: an update is on
//     disk before it is installed, and installed before it is acknowledged.
//  3. With a data folder the first Install comes from the cache, whole, before
//     any server is asked; one that a crash tore is used up to its last verified
//     state, and one that provably held a later version than it gives is dropped.
//     The cache is sealed: the keys that edges are sent are not readable in it.
//  4. Freshness counts from an instant at which this client spoke and of which
//     the leader has heard since, never from when an answer arrived: a buffer
//     that was read late proves nothing.
//
// It owns the stream, the data folder (instance number, cache, mark of removal)
// and the reconnecting. It leaves to its callers what resources mean, how to
// dial and to verify, and that no second process uses the folder.
package syncclient
