// Package dnstest is a laboratory of DNS propagation for Go tests: a change of
// a name, the minutes until every name server has it, and what resolvers go on
// believing meanwhile, in a test that takes milliseconds.
//
// A Lab is a whole DNS server, four authorities with a schedule each, a public
// resolver and those of VPCs with real caches, on a clock that stands still
// until the test advances it: the same test sees the same at every run. Programs
// under test ask it through a net.Resolver, which needs no port, or through
// sockets on loopback. A Script says the same in a text file: changes in zone-file
// notation in, answers out.
//
// What is asked of a Lab and cannot be done fails the test of Start, and panics
// in a Lab of New: it is a mistake in the test. All methods may be called from
// any goroutine, but those of Start's Lab that can fail only from the test's own.
//
// It knows nothing of a control plane: how names come from APIs and endpoints is
// left to whole clusters.
package dnstest
