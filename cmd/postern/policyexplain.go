package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/posternhq/postern/dataplane/policy"
)

type policyExplainCmd struct {
	clientFlags
	Decision string `env:"-" help:"Explain a refusal of an edge instead, by the id that it answered in x-postern-decision." placeholder:"ID"`
	Policy   string `env:"-" help:"File of the policy; - is standard input." placeholder:"FILE"`
	requestFlags
}

// Help is shown by `postern policy explain --help`.
func (policyExplainCmd) Help() string {
	return `Says why a policy decides a request as it does: each statement, the first element of it that does not fit, what the
request has and the policy wants, and near misses, single changes of the request that would have it allowed. With
--decision it asks the cluster for a refusal that an edge made: each edge remembers its last ones.

Examples:
  postern policy explain --decision 7h3k9w2x5c
  postern policy explain --policy policy.json --resource arn:aws:execute-api:us-west-2:123456789012:abcde12345/prod/GET/pets -c aws:SourceVpce=vpce-0123456789abcdef0`
}

func (c *policyExplainCmd) Run(ctx context.Context, g *globals) error {
	if c.Decision != "" {
		if c.Policy != "" || c.stated() || c.Request != "" {
			return usageError{errors.New("--decision ID is of a request that was made; no policy or request goes with it")}
		}
		return explainDecision(ctx, g, c.clientFlags, c.Decision)
	}
	if c.Policy == "" {
		return usageError{errors.New("policy explain: --policy FILE must be given, or --decision ID")}
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
	requests := make([]*policy.Request, len(queries))
	for i, q := range queries {
		if requests[i], err = q.Request(); err != nil {
			return inFile(c.Request, i, err)
		}
	}
	for i, r := range requests {
		x := program.Explain(r)
		if g.Output == "json" {
			writeJSON(g.stdout, x)
			continue
		}
		if i > 0 {
			fmt.Fprintln(g.stdout)
		}
		if len(requests) > 1 {
			fmt.Fprintf(g.stdout, "request %d: ", i)
		}
		fmt.Fprint(g.stdout, x)
	}
	return nil
}
