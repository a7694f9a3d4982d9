package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/jsonlines"
)

// requestFlags state one request, or name the file that holds some.
type requestFlags struct {
	Request   string   `env:"-" help:"File of requests: one JSON object, or one a line; - is standard input." placeholder:"FILE"`
	Principal string   `env:"-" help:"ARN of the caller: user, role, role session, federated user or account root; anonymous by default." placeholder:"ARN"`
	Action    string   `env:"-" help:"What is asked for; execute-api:Invoke by default." placeholder:"SERVICE:NAME"`
	Resource  string   `env:"-" help:"ARN of what is called, arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH." placeholder:"ARN"`
	Context   []string `env:"-" short:"c" sep:"none" help:"Condition key with its value; may be repeated, and a key that is given several times holds a list." placeholder:"KEY=VALUE"`
}

// stated says whether any part of one request is given.
func (f *requestFlags) stated() bool {
	return f.Principal != "" || f.Action != "" || f.Resource != "" || len(f.Context) > 0
}

// queries are the requests that the flags state or name.
func (f *requestFlags) queries(g *globals) ([]*policy.Query, error) {
	switch {
	case f.Request != "" && f.stated():
		return nil, usageError{errors.New("--request FILE and the flags of one request exclude each other")}
	case f.Request != "":
		return g.loadQueries(f.Request)
	case f.Resource == "":
		return nil, usageError{errors.New("one of --request FILE and --resource ARN must be given")}
	}
	q := &policy.Query{Principal: f.Principal, Action: f.Action, Resource: f.Resource, Context: map[string]policy.Values{}}
	spelled := map[string]string{} // as a key was written first
	for _, kv := range f.Context {
		key, value, ok := strings.Cut(kv, "=")
		if !ok || key == "" {
			return nil, usageError{fmt.Errorf("--context %q: want KEY=VALUE", kv)}
		}
		if first, again := spelled[strings.ToLower(key)]; again {
			key = first
		} else {
			spelled[strings.ToLower(key)] = key
		}
		q.Context[key] = append(q.Context[key], value)
	}
	return []*policy.Query{q}, nil
}

type policyEvalCmd struct {
	Policy string `env:"-" help:"File of the policy; - is standard input." placeholder:"FILE"`
	requestFlags
	Batch    bool `env:"-" help:"Decide JSON lines from standard input: {\"id\":N,\"policy\":{…},\"request\":{…}}."`
	ExitCode bool `env:"-" name:"exit-code" help:"Exit with 1 unless every request is allowed."`
}

// Help is shown by `postern policy eval --help`.
func (policyEvalCmd) Help() string {
	return `Decides by one policy alone, as one that is attached to an API: allow, explicit-deny or implicit-deny, with the
statement that decides, counted from 0. In a file a request is
  {"principal": "ARN", "action": "execute-api:Invoke", "resource": "ARN", "account": "…", "context": {"KEY": "VALUE" or ["VALUE"]}}
of which all but resource may be left out. --batch reads a policy and a request from each line of standard input and
answers {"id":N,"decision":"…","statement":I} for each, in order, or {"id":N,"error":"…"}.
Exit code 0: decided, whatever the decision.

Examples:
  postern policy eval --policy policy.json --resource arn:aws:execute-api:us-west-2:123456789012:abcde12345/prod/GET/pets -c aws:SourceVpce=vpce-0123456789abcdef0
  postern policy eval --policy policy.json --request requests.jsonl -o json
  postern policy eval --batch < questions.jsonl > answers.jsonl`
}

// evalJSON is a decision with its request's place in the file, from 0.
type evalJSON struct {
	Request   int    `json:"request"`
	Decision  string `json:"decision"`
	Statement *int   `json:"statement,omitempty"`
	Sid       string `json:"sid,omitempty"`
	Delegated bool   `json:"delegated,omitempty"`
}

func (c *policyEvalCmd) Run(ctx context.Context, g *globals) error {
	if c.Batch {
		if c.Policy != "" || c.ExitCode || c.Request != "" || c.stated() {
			return usageError{errors.New("--batch takes policies and requests from standard input; no other flag goes with it")}
		}
		return jsonlines.Run(ctx, g.stdin, g.stdout)
	}
	if c.Policy == "" {
		return usageError{errors.New("policy eval: --policy FILE must be given, or --batch")}
	}
	if err := once(c.Policy, c.Request); err != nil {
		return err
	}
	queries, err := c.queries(g)
	if err != nil {
		return err
	}
	program, err := g.loadPolicy(c.Policy)
	if err != nil {
		return err
	}
	allowed := true
	for i, q := range queries {
		r, err := q.Request()
		if err != nil {
			return inFile(c.Request, i, err)
		}
		d := program.Eval(r)
		allowed = allowed && d.Effect == policy.Allow
		printDecision(g, program.Document(), i, d)
	}
	if c.ExitCode && !allowed {
		return exitCode(exitCouldNot)
	}
	return nil
}

// inFile says which request of a file an error is about; without a file there
// is only one, and its flags were mistyped.
func inFile(file string, i int, err error) error {
	if file == "" {
		return usageError{err}
	}
	return fmt.Errorf("%s: request %d: %w", file, i, err)
}

func printDecision(g *globals, doc *policy.Document, i int, d policy.Decision) {
	answer := evalJSON{Request: i, Decision: jsonlines.Word(d.Effect), Delegated: d.Delegated}
	text := answer.Decision
	if d.Statement >= 0 {
		answer.Statement, answer.Sid = &d.Statement, doc.Sid(d.Statement)
		text += " by " + statementName(doc, d.Statement)
	} else {
		text += ": no statement applies"
	}
	if d.Delegated {
		text += ", through the caller's account: his own policies must allow as well"
	}
	if g.Output == "json" {
		writeJSON(g.stdout, answer)
	} else {
		fmt.Fprintln(g.stdout, text)
	}
}

// statementName is a statement's index, with its Sid if it has one.
func statementName(doc *policy.Document, i int) string {
	if sid := doc.Sid(i); sid != "" {
		return fmt.Sprintf("statement %d (%s)", i, sid)
	}
	return fmt.Sprintf("statement %d", i)
}
