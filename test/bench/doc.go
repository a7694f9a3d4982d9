// Package bench measures the speed and the size that Postern promises, each
// beside its limit or its peer where it has one, on real processes, disks and
// sockets. `make bench` runs it all; docs/benchmarks.md says what came out.
//
// It holds benchmarks only, and a bare server to compare an edge with, which the
// test binary becomes when it is started for it.
package bench
