// Package vpce knows where a connection came from: through which VPC endpoint,
// from which VPC, and from which address in it. It learns so from the network
// alone, before the first byte of TLS: from the network interface that accepted
// the connection, or from the PROXY protocol v2 header of a peer that is trusted
// to write one. Nothing that a client sends can change it.
//
// It also does what a security group does. Who is not admitted is met with
// Silence: his connection stays open, unread and unanswered, until his own
// patience ends, as if his packets had been dropped.
//
// A Listener serves one accepting goroutine, as net.Listener's users do; a Conn
// has the promises of a net.Conn; Arrival values are immutable. Silence
// may be used by any number of goroutines.
//
// Which endpoints exist and whom they admit is asked of a Directory; TLS, HTTP
// and policies are left to the edge.
package vpce
