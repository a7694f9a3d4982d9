// Package simulate plays the model of dnsprop for millions of resolvers and
// clients, and says when they see a change, and what they see before.
//
// It is a discrete-event simulation by the code that the servers run: schedules
// and faults are those of dnsprop/propagation, what an authority has at an
// instant is asked of dnsprop/authority, answers are kept by the rules of
// dnsprop/resolver, and by clients as dnsprop/client says. A test of dnsprop
// compares each answer with that of a real Server.
//
// What an authority shows is a function of time, and a client has one resolver, so
// nothing that happens at one resolver is felt at another, nor do the changes of
// different names meet. Resolvers are therefore played one after the other, each
// with its own events in order; the memory is that of one resolver with its
// clients and of the figures, whatever their number. For the same reason the
// result does not depend on how many goroutines share the work: each draw is a
// function of the seed, the change and the resolver, and figures are sums.
//
// The order in which clients of a resolver ask needs no queue: the merger of
// Poisson processes is one, and clients with the same period keep their order.
//
// Run may be called from any goroutine. It reads no clock, file or socket.
package simulate
