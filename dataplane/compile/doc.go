// Package compile turns the resources of an edge snapshot into a Table: what an
// edge decides and routes by.
//
// A Table is immutable. Compile makes the next one from the last one and what
// changed; it compiles only that again and shares the rest, so that the cost of
// a change does not depend on how many APIs there are. A resource that does not
// compile is named with its reason and keeps its last good form; the others go
// on.
//
// It owns the meaning of the resources. It leaves to others how they arrive
// (receive), what a policy means (policy), how a path is matched (route), what
// calls a backend (the Integration hook), and every socket: nothing here knows
// net, net/http or gRPC.
package compile
