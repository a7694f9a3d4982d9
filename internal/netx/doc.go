// Package netx is how Postern reaches the network. Components take a Network
// through their Config and open nothing themselves, so that a test can put
// something else in its place.
//
// It also holds what all roles need of addresses on one machine: the translation
// between the addresses of a VPC and the loopback addresses that stand for them
// (loopback.go), and the listener that serves several protocols on one port
// (alpn.go).
//
// Everything here may be used by any number of goroutines.
package netx
