// Package resolvers compares the resolvers of dnsprop with real ones: unbound,
// Knot Resolver and PowerDNS Recursor are processes of their own, asked the same
// questions at the same times about the same zones, which they have from our
// authorities. A clock that the test moves goes for all of them.
//
// Generated histories of a few names each say what is changed, what fails, when
// time passes and who asks. Answers, their TTLs and what is kept of absence and
// failure must be the same, or differ in a way that is listed with its reason;
// a listed difference that never shows is an error, too.
package resolvers
