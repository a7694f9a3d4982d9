package main

import (
	"bytes"
	"fmt"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/diff"
)

type policyDiffCmd struct {
	Old       string `arg:"" help:"Policy as it is; - is standard input, an empty file no policy at all."`
	New       string `arg:"" help:"Policy as it is to be."`
	Context   string `env:"-" help:"File with what all requests have in common: a request of which anything may be left out; an empty list means an absent key." placeholder:"FILE"`
	Under     string `env:"-" help:"Compare only requests whose resource's ARN begins so." placeholder:"ARN"`
	Anonymous bool   `env:"-" help:"Compare only requests of anonymous callers."`
	ExitCode  bool   `env:"-" name:"exit-code" help:"Exit with 1 unless the policies are equal."`
}

// Help is shown by `postern policy diff --help`.
func (policyDiffCmd) Help() string {
	return `Compares what two policies allow, not how they are written: equal, different with a request that is newly allowed or
newly denied, the smallest that was found, or unknown where that could not be decided; equal is never a guess.
Exit code 0 for each of these answers; under --exit-code 1 unless they are equal.

Examples:
  postern policy diff old.json new.json
  postern policy diff --exit-code --anonymous --under arn:aws:execute-api:us-west-2:123456789012:abcde12345/prod/ old.json new.json`
}

func (c *policyDiffCmd) Run(g *globals) error {
	if err := once(c.Old, c.New, c.Context); err != nil {
		return err
	}
	old, err := g.loadDocument(c.Old)
	if err != nil {
		return err
	}
	changed, err := g.loadDocument(c.New)
	if err != nil {
		return err
	}
	options := diff.Options{Under: c.Under, Anonymous: c.Anonymous}
	if c.Context != "" {
		text, err := g.readInput(c.Context)
		if err != nil {
			return err
		}
		if options.Given, err = policy.ParsePartialQuery(text); err != nil {
			return fmt.Errorf("%s: %w", c.Context, err)
		}
	}
	result, err := diff.Compare(old, changed, options)
	if err != nil {
		return err
	}
	if g.Output == "json" {
		writeJSON(g.stdout, result)
	} else {
		fmt.Fprint(g.stdout, result)
	}
	if c.ExitCode && result.Verdict != diff.Equal {
		return exitCode(exitCouldNot)
	}
	return nil
}

// loadDocument reads the policy in a file, nil for an empty one.
func (g *globals) loadDocument(name string) (*policy.Document, error) {
	text, err := g.readInput(name)
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return nil, err
	}
	doc, err := parsePolicy(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return doc, nil
}
