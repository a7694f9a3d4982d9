package main

import (
	"fmt"

	"github.com/posternhq/postern/dataplane/policy"
)

type policyCmd struct {
	Template policyTemplateCmd `cmd:"" help:"Print a resource policy to begin with."`
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
