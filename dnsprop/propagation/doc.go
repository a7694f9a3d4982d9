// Package propagation says when a change of public names shows where.
//
// It owns the delay model: the profiles and their numbers, the schedule of a
// change over the name servers, and the arithmetic of the DNS clock. It knows
// neither zones nor sockets, keeps no state, draws no random number and reads
// no clock: every instant is a pure function of the change's record, so
// replicas agree on it without talking, simulations replay, and a restarted
// server goes on as if nothing had happened.
//
// All functions may be called from any goroutine.
package propagation
