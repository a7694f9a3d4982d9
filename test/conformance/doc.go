// Package conformance judges Postern from outside, with the clients that people
// have: the AWS SDK for Go, the AWS CLI and the AWS SDKs for JavaScript.
//
// Its measure is testdata/recorded, what AWS was recorded to answer: every
// sequence is replayed against a cluster of its own process, and the score must
// not fall below testdata/floor.txt. It knows nothing of Postern's packages but
// how to start a cluster (internal/dev); all else goes through the AWS
// endpoint. Sequences and tests are kept apart by account: each has its own.
package conformance
