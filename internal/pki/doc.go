// Package pki is the cluster's own certificate authority and what hangs on it:
// the certificate that every role shows to the others, the mutual TLS settings
// made from it, the serving certificates of edges, the signatures of snapshots,
// and the keys that seal what lies on disk: secrets in the replicated state, and
// the caches of roles.
//
// A role certificate names its holder by a URI, spiffe://postern/ROLE/ID. Who a
// peer is follows from that name and the chain to the CA alone, never from the
// address it was reached at, so certificates survive a move to another machine.
//
// CA, Identity, Verifier and Keyring may be used by any number of goroutines. Renewed
// files are picked up by Identity.Reload (or Run) and hold for the next
// handshake; connections that exist go on.
//
// What a role may do is decided by those who serve it; this package only says
// who asks (RoleOf).
package pki
