// Package identity says whose an access key is: it reads the records of
// accounts, users, roles, access keys and sessions in a View, and seals and
// opens the secrets in them.
//
// It knows names (ARNs, unique ids, keys of records), which credentials are
// good at an instant, and which policies hold for their holder. It verifies no
// signature and decides no request; who writes the records is
// controlplane/service.
//
// Everything here is a pure function of a View, the time and a keyring. A Holder
// may be shared by any number of goroutines; nobody may modify one, nor the
// records in it.
package identity
