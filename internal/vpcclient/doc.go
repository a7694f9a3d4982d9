// Package vpcclient is the way into a VPC for programs on this machine that know
// nothing of Postern: a proxy, on one port, that speaks SOCKS5 and HTTP CONNECT.
// The user name with which a program comes says where in the network it sits;
// its names are then resolved by the resolver of that place, and its connections
// leave from an address there. So curl, SDKs and browsers can use the very URLs
// that AWS has.
//
// The proxy owns the two protocols, the resolving and the dialling. Where a user
// name is in the network, and with which addresses, is asked of Config.Resolve.
// What is reachable from there is decided by those who are called.
//
// New starts nothing; Run serves until its context ends. Both protocols give the
// reason of a failure as far as they can: SOCKS by its reply code, HTTP in words.
package vpcclient
