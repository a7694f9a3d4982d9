package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

func TestWriteDecision(t *testing.T) {
	d := &edgev1.Decision{
		Id: "0123456789", Edge: "edge1", TimeUnixNano: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano(), Version: 42,
		Result: "endpoint_implicit_deny", Reason: "the endpoint policy does not allow", RequestId: "r", Host: "a.example", Method: "GET", Path: "/prod/\x1b[2J",
		ApiId: "abcde12345", Stage: "prod", DeploymentId: "dep001", ResourcePath: "/{id}", Endpoint: "vpce-1", Vpc: "vpc-1", Source: "10.0.0.1",
		AccessKey: "AKIA1", Shortened: []string{"aws:UserAgent"},
		Policies: []*edgev1.PolicyEvidence{
			{Kind: "resource", Effect: "allow", Sid: "All", Explanation: []byte(`{"decision":"allow"}`), Text: "allow by statement 0\n\nrequest\n"},
			{Kind: "endpoint", Decided: true, Effect: "silent", Statement: -1, Unexplained: "why not"},
			{Kind: "identity", Name: "own", Effect: "allow", Text: "allow by statement 0\n"},
			{Kind: "boundary", Name: "arn:aws:iam::1:policy/Limit", Effect: "silent", Statement: -1, Text: "silent\n"},
		},
	}
	var out bytes.Buffer
	writeDecision(&out, d)
	const want = `endpoint_implicit_deny: the endpoint policy does not allow

decision    0123456789 at 2026-01-02T03:04:05Z by edge1 at version 42
request     GET "https://a.example/prod/\x1b[2J"
request id  r
for         API abcde12345 stage prod, deployment dep001, resource /{id}
from        10.0.0.1 in vpc-1 by vpce-1
caller      anonymous
access key  AKIA1
shortened   aws:UserAgent

The resource policy

  allow by statement 0

  request

The endpoint policy, which decided

  silent: why not

The identity policy own

  allow by statement 0

The permissions boundary arn:aws:iam::1:policy/Limit

  silent
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	text, err := json.Marshal(decisionOf(d))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"id":"0123456789","edge":"edge1","time":"2026-01-02T03:04:05Z","version":42`, `"principal"`,
		`{"kind":"resource","decided":false,"effect":"allow","statement":0,"sid":"All","explanation":{"decision":"allow"}}`,
		`"access_key_id":"AKIA1"`, `{"kind":"identity","name":"own",`,
		`{"kind":"endpoint","decided":true,"effect":"silent","unexplained":"why not"}`,
	} {
		if got := strings.Contains(string(text), part); got != (part != `"principal"`) {
			t.Errorf("%s in %s: %v", part, text, got)
		}
	}
}
