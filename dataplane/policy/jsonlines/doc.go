// Package jsonlines decides policies in bulk, for tests and for programs in
// other languages. It reads one question a line,
//
//	{"id": 1, "policy": {…}, "request": {"principal": "", "action": "execute-api:Invoke", "resource": "arn:…", "context": {…}}}
//
// and writes one answer a line, in the same order, the id as it was written:
//
//	{"id":1,"decision":"allow","statement":0}
//	{"id":2,"decision":"implicit-deny"}
//	{"id":3,"error":"policy document: 1:2: …"}
//
// It owns the lines: their limits, the policies compiled once for many of
// them, their order, and that an answer does not wait for a question that is
// still to come. What a policy and a request are, it leaves to package policy.
// Each policy is evaluated alone, as one that is attached to a resource.
package jsonlines
