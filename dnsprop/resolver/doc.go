// Package resolver is the caching resolvers: the public one, and the one of
// each VPC, with a cache for each availability zone.
//
// It owns the caches, positive and negative (RFC 2308), of failures (RFC
// 9520) and, if asked for, of stale answers (RFC 8767), and the rules of a
// VPC: which resolver is switched off, which private zones come before public
// names, and which cache a client's address belongs to. CNAMEs are followed, each
// link by the same rules. Time in a cache is the
// DNS clock's; answers carry the client's own seconds.
//
// A Resolver may be used by any number of goroutines. A query that a cache
// cannot answer asks an authority chosen at random, in process, by the same
// lookup that answers the authorities' own clients. The question, the instant
// it is asked at and the storing of the answer are one step under the cache's
// lock, so Stale never misses an answer that is still on its way into a cache.
//
// Sockets are left to dnsprop, message forms to dnsprop/message.
package resolver
