// Package integration calls what stands behind a method: nothing (MOCK), or an
// HTTP backend, with mapped parameters (HTTP) or as a whole (HTTP_PROXY).
//
// Everything that does not depend on the request (mappings, templates, patterns,
// stage variables) is read by Prepare when a table is built, so a call only
// fills in. What Prepare can't honour exactly, such as a template beyond literal
// text, makes the calls of that method fail with a reason; they never give a
// body that API Gateway would not have given.
//
// A Pool holds the connections to backends, a Backend is immutable; both may be
// used by any number of goroutines. A Call belongs to one request.
//
// Whether a call may be made is decided before. How a failure looks to the
// client is the edge's business: Serve reports a Fault.
package integration
