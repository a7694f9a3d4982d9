// Package dnsprop is the DNS server of Postern: four public authorities, each
// on its own schedule, a public resolver, a resolver for each VPC at its base +
// 2, and any number of named ones with caches of their own, on UDP and TCP.
//
// A Server owns the sockets and the newest DNS snapshot. It is given snapshots
// through Install and says through Versions, whenever Notify wakes, up to which
// index each of its places shows everything; whoever holds the subscription
// carries both. It needs nobody to go on answering, and because schedules are
// functions of what is recorded, a Server started again on the same snapshot
// answers as if it had never stopped, but for its empty caches.
//
// What a place's version promises:
//
//  1. An authority at version N shows, of every change committed up to N, what
//     it made of its names, or something newer.
//  2. A resolver at version N: all authorities are at N or later for these
//     changes, and no cache of it holds an answer that is older than one of
//     them. The caches of all VPCs count as the public resolver's; a named
//     resolver has a version of its own.
//  3. What concerns VPCs and their private zones applies with Install itself.
//  4. Versions never go back. A lost change holds them below its index until a
//     new attempt carries it through.
//
// Each authority gives its zones to secondaries, and notifies those that are
// configured whenever one of its serials grows.
//
// All methods may be called from any goroutine. New starts nothing; Run blocks
// until all goroutines of the Server have ended.
//
// When a change shows is dnsprop/propagation's, what the zones hold dnsprop/zone's,
// what is cached dnsprop/resolver's, and what a message looks like
// dnsprop/message's to decide.
package dnsprop
