// Package message owns the way from the bytes of a DNS query to the bytes of
// its response: what a server owes to any client whatever the question was
// (RFC 1035, 6891, 8482, 8914), leaving what the answer is to a Responder.
//
// A Handler may be used by any number of goroutines. It never panics, whatever
// the packet or the Responder do, and what it returns is a well-formed message
// within the client's limit, or nothing.
//
// The DNS library reads and writes the messages, but for the plain question,
// one for the addresses of a name: that way around it gives the same bytes at a
// fraction of the cost (plain.go).
//
// It knows neither zones nor caches nor sockets.
package message
