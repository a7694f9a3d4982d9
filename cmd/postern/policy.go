package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/posternhq/postern/dataplane/policy"
)

type policyCmd struct {
	Check    policyCheckCmd    `cmd:"" help:"Say what is wrong with policies, and what is unusual."`
	Eval     policyEvalCmd     `cmd:"" help:"Decide requests."`
	Explain  policyExplainCmd  `cmd:"" help:"Say why a policy decides a request as it does."`
	Diff     policyDiffCmd     `cmd:"" help:"Say what a change of a policy allows and denies."`
	Bench    policyBenchCmd    `cmd:"" help:"Measure how fast a policy decides."`
	Template policyTemplateCmd `cmd:"" help:"Print a resource policy to begin with."`
}

// maxInputFile is how large a file, or standard input, may be that is read as
// a whole. A policy of ten thousand statements has about a fifth of it.
const maxInputFile = 16 << 20

// readInput reads a file; "-" is standard input.
func (g *globals) readInput(name string) ([]byte, error) {
	in := g.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxInputFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > maxInputFile {
		return nil, fmt.Errorf("%s: longer than %d bytes", name, maxInputFile)
	}
	return text, nil
}

// once refuses to read standard input twice.
func once(names ...string) error {
	stdin := 0
	for _, n := range names {
		if n == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return usageError{errors.New("standard input (-) can be read once only")}
	}
	return nil
}

// parsePolicy reads a document, or one that is quoted or escaped as API
// Gateway answers with it; positions are then those inside. The error is that
// of the text as it stands.
func parsePolicy(text []byte) (*policy.Document, error) {
	doc, err := policy.Parse(text)
	if err == nil {
		return doc, nil
	}
	plain, unwrapErr := policy.Unwrap(string(text))
	if unwrapErr != nil || plain == string(bytes.TrimSpace(text)) {
		return nil, err
	}
	return policy.Parse([]byte(plain))
}

// loadPolicy reads and compiles the resource policy in a file.
func (g *globals) loadPolicy(name string) (*policy.Program, error) {
	text, err := g.readInput(name)
	if err != nil {
		return nil, err
	}
	doc, err := parsePolicy(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	program, err := policy.Compile(doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return program, nil
}

// loadQueries reads the requests in a file: one object, or one a line.
func (g *globals) loadQueries(name string) ([]*policy.Query, error) {
	text, err := g.readInput(name)
	if err != nil {
		return nil, err
	}
	q, whole := policy.ParseQuery(text)
	if whole == nil {
		return []*policy.Query{q}, nil
	}
	var queries []*policy.Query
	n := 0
	for l := range bytes.Lines(text) {
		n++
		if l = bytes.TrimSpace(l); len(l) == 0 {
			continue
		}
		q, err := policy.ParseQuery(l)
		switch {
		case err != nil && len(queries) == 0: // more likely one object of several lines
			return nil, fmt.Errorf("%s: %w", name, whole)
		case err != nil:
			return nil, fmt.Errorf("%s: line %d: %w", name, n, err)
		}
		queries = append(queries, q)
	}
	if len(queries) == 0 {
		return nil, fmt.Errorf("%s: no request in it", name)
	}
	return queries, nil
}

type policyTemplateCmd struct {
	Name string `arg:"" enum:"source-vpc,source-vpce" help:"source-vpc admits one VPC, source-vpce one endpoint."`
}

// Help is shown by `postern policy template --help`.
func (policyTemplateCmd) Help() string {
	return `What stands in double braces, braces included, is to be replaced: the id of the VPC or of the endpoint, and
the stage, verb and path that the policy is about, or * for all.

Example:
  postern policy template source-vpce | sed 's/{{vpceID}}/vpce-0123456789abcdef0/; s/{{[a-zA-Z]*OrWildcard}}/*/g'`
}

func (c *policyTemplateCmd) Run(g *globals) error {
	text, err := policy.Template(c.Name)
	if err != nil {
		return err
	}
	fmt.Fprint(g.stdout, text)
	return nil
}
