// Package sigv4 verifies AWS Signature Version 4, in the Authorization header
// and in the query of a presigned URL.
//
// A Verifier reads what a request claims (Parse), which says whose key and which
// scope it is about; the caller finds that key; then the Verifier checks the
// signature (Verify). In between, the Claim checks its time and its scope.
// Nothing here knows accounts, and nothing stores a secret: a Key is derived
// material, good for one day, region and service.
//
// The canonical form is that of AWS's SDKs for services other than S3: the path
// as it was sent, escaped once more. Paths with empty segments or dots are signed
// as sent by some SDKs and without these by others, so both are taken. The
// source is "Create a signed AWS API request" in AWS's IAM User Guide, and the
// signing test suite of its SDKs.
package sigv4
