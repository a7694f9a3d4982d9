package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/posternhq/postern/dataplane/policy"
)

type policyCheckCmd struct {
	Files  []string `arg:"" name:"file" help:"Policies to check; - is standard input."`
	Kind   string   `env:"-" enum:"resource,private,endpoint,identity" default:"resource" help:"What the policies are for: resource, an EDGE or REGIONAL API; private, a PRIVATE one; endpoint, a VPC endpoint; identity, users and roles."`
	Strict bool     `env:"-" help:"Fail on warnings too."`
}

// Help is shown by `postern policy check --help`.
func (policyCheckCmd) Help() string {
	return `Applies the rules of saving. Each finding is one line: file, line and column, the element's path, what is wrong and
what to write instead. Errors forbid saving; warnings name what is allowed but seldom meant. A policy may be quoted or
escaped, as ` + "`aws apigateway get-rest-api --query policy`" + ` prints it: positions are then those inside.
Exit code 0: no errors; 1: errors, or warnings under --strict.

Examples:
  postern policy check --kind private policy.json
  aws apigateway get-rest-api --rest-api-id abcde12345 --query policy --output text | postern policy check --strict -`
}

var policyKinds = map[string]policy.Kind{
	"resource": policy.ResourcePolicy, "private": policy.PrivateResourcePolicy,
	"endpoint": policy.EndpointPolicy, "identity": policy.IdentityPolicy,
}

// findingJSON is one finding about a policy. Line and column are absent for
// the document as a whole.
type findingJSON struct {
	Severity string `json:"severity"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Path     string `json:"path,omitempty"`
	Message  string `json:"message"`
}

type checkJSON struct {
	File       string        `json:"file"`
	Kind       string        `json:"kind"`
	OK         bool          `json:"ok"`
	Statements int           `json:"statements"`
	Size       int           `json:"size"`
	Limit      int           `json:"limit"`
	Findings   []findingJSON `json:"findings"`
}

func (c *policyCheckCmd) Run(g *globals) error {
	if err := once(c.Files...); err != nil {
		return err
	}
	failed := false
	for _, name := range c.Files {
		text, err := g.readInput(name)
		if err != nil {
			return err
		}
		answer := c.check(name, text)
		failed = failed || !answer.OK
		if g.Output == "json" {
			writeJSON(g.stdout, answer)
		} else {
			answer.print(g)
		}
	}
	if failed {
		return exitCode(exitCouldNot)
	}
	return nil
}

func (c *policyCheckCmd) check(name string, text []byte) checkJSON {
	kind := policyKinds[c.Kind]
	answer := checkJSON{File: name, Kind: c.Kind, OK: true, Limit: kind.MaxSize(), Findings: []findingJSON{}}
	add := func(severity string, problems ...policy.Problem) {
		for _, p := range problems {
			answer.Findings = append(answer.Findings, findingJSON{severity, p.Line, p.Column, p.Path, p.Message})
		}
		answer.OK = answer.OK && (len(problems) == 0 || severity == "warning" && !c.Strict)
	}
	doc, err := parsePolicy(text)
	if err != nil {
		var e *policy.Error
		if !errors.As(err, &e) {
			e = &policy.Error{Problem: policy.Problem{Message: err.Error()}}
		}
		add("error", e.Problem)
		return answer
	}
	answer.Statements, answer.Size = doc.Statements(), doc.Size()
	problems, warnings := doc.Validate(kind)
	add("error", problems...)
	add("warning", warnings...)
	return answer
}

func (a *checkJSON) print(g *globals) {
	for _, f := range a.Findings {
		at := a.File
		if f.Line > 0 {
			at = fmt.Sprintf("%s:%d:%d", a.File, f.Line, f.Column)
		}
		p := policy.Problem{Path: f.Path, Message: f.Message}
		fmt.Fprintf(g.stdout, "%s: %s: %s\n", at, f.Severity, p)
	}
	if len(a.Findings) == 0 {
		fmt.Fprintf(g.stdout, "%s: ok, %s, %d of %d characters\n", a.File, counted(a.Statements, "statement"), a.Size, a.Limit)
	}
}

// counted is a number with its noun.
func counted(n int, noun string) string {
	if n != 1 && !strings.HasSuffix(noun, "s") {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
