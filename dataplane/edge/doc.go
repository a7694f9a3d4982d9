// Package edge is where requests for APIs arrive. An Edge listens on the network
// interfaces of VPC endpoints and on the public side, finds what a request is
// for, decides whether it may pass, and lets package integration answer it.
//
// Each request is decided by one Table, taken once; Install puts the next one in
// place without stopping anything. Where a request came from is settled before
// its first byte by package vpce and can't be changed by what it says. What is
// undecided is denied.
//
// Of methods with AWS_IAM the signature is verified first, by keys that are good
// for one day and region each (secrets are not here), and the policies of its
// owner are asked beside those of API and endpoint.
//
// Install and ServeHTTP may be called from any number of goroutines, Install in
// the order of versions. After Install has returned, no request that begins is
// decided by an older table, and every new listener accepts connections.
//
// Each refusal is kept for a while with its evidence, a bounded number of them,
// and FindDecision explains it by the policies that decided. What passes leaves
// nothing behind.
//
// The content of tables is made by package compile, and how they get here is
// the business of package receive.
package edge
