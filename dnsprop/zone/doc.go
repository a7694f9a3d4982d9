// Package zone owns what the zones hold: for every set the changes that ever
// concerned it, and by them what each authority shows at an instant of the DNS
// clock. There are two sorts: Postern's own public zones, of addresses only, and
// the hosted zones of users, public and private, with the rules of a full name
// server. Private ones have the same authorities and schedule; that only the
// resolvers of their VPCs ask there is for these to see to.
//
// A Set, its Zones and the Changes in them are immutable: any number of
// goroutines read them without locks, and a query that takes a Set once is
// answered from one version whole. An Edit belongs to one goroutine; it makes
// the next Set at a cost that follows what changed, not what there is.
//
// Instants are Unix nanoseconds of the DNS clock, because each lookup compares
// some. The package knows neither messages nor caches nor sockets; when a
// change shows where is dnsprop/propagation's to say.
package zone
