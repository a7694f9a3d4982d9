package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

type decisionJSON struct {
	ID           string         `json:"id"`
	Edge         string         `json:"edge"`
	Time         string         `json:"time"`
	Version      uint64         `json:"version"`
	Result       string         `json:"result"`
	Reason       string         `json:"reason"`
	RequestID    string         `json:"request_id"`
	Host         string         `json:"host"`
	Method       string         `json:"method"`
	Path         string         `json:"path"`
	APIID        string         `json:"api_id,omitempty"`
	Stage        string         `json:"stage,omitempty"`
	DeploymentID string         `json:"deployment_id,omitempty"`
	ResourcePath string         `json:"resource_path,omitempty"`
	Endpoint     string         `json:"endpoint,omitempty"`
	VPC          string         `json:"vpc,omitempty"`
	Source       string         `json:"source"`
	Principal    string         `json:"principal,omitempty"`
	AccessKeyID  string         `json:"access_key_id,omitempty"`
	Shortened    []string       `json:"shortened,omitempty"`
	Policies     []evidenceJSON `json:"policies"`
}

type evidenceJSON struct {
	Kind        string          `json:"kind"`
	Name        string          `json:"name,omitempty"`
	Decided     bool            `json:"decided"`
	Effect      string          `json:"effect"`
	Statement   *int32          `json:"statement,omitempty"`
	Sid         string          `json:"sid,omitempty"`
	Explanation json.RawMessage `json:"explanation,omitempty"`
	Unexplained string          `json:"unexplained,omitempty"`
}

// explainDecision finds a refusal at the edge that made it, and prints what that
// edge knows of it.
func explainDecision(ctx context.Context, g *globals, api clientFlags, id string) error {
	client, closeConn, err := api.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	answer, err := client.ExplainDecision(ctx, &adminv1.ExplainDecisionRequest{Id: strings.TrimSpace(id)})
	if err != nil {
		return err
	}
	d := answer.GetDecision()
	if g.Output == "json" {
		writeJSON(g.stdout, decisionOf(d))
		return nil
	}
	writeDecision(g.stdout, d)
	return nil
}

func decisionOf(d *edgev1.Decision) decisionJSON {
	out := decisionJSON{
		ID: d.GetId(), Edge: d.GetEdge(), Time: rfc3339(time.Unix(0, d.GetTimeUnixNano())), Version: d.GetVersion(),
		Result: d.GetResult(), Reason: d.GetReason(), RequestID: d.GetRequestId(),
		Host: d.GetHost(), Method: d.GetMethod(), Path: d.GetPath(),
		APIID: d.GetApiId(), Stage: d.GetStage(), DeploymentID: d.GetDeploymentId(), ResourcePath: d.GetResourcePath(),
		Endpoint: d.GetEndpoint(), VPC: d.GetVpc(), Source: d.GetSource(), Principal: d.GetPrincipal(), AccessKeyID: d.GetAccessKey(),
		Shortened: d.GetShortened(), Policies: []evidenceJSON{},
	}
	for _, p := range d.GetPolicies() {
		e := evidenceJSON{
			Kind: p.GetKind(), Name: p.GetName(), Decided: p.GetDecided(), Effect: p.GetEffect(), Sid: p.GetSid(),
			Explanation: p.GetExplanation(), Unexplained: p.GetUnexplained(),
		}
		if i := p.GetStatement(); i >= 0 {
			e.Statement = &i
		}
		out.Policies = append(out.Policies, e)
	}
	return out
}

// writeDecision prints a decision for people. What the client sent is quoted
// where it is more than letters: it may hold anything, terminal commands too.
func writeDecision(w io.Writer, d *edgev1.Decision) {
	fmt.Fprintf(w, "%s: %s\n\n", d.GetResult(), quoted(d.GetReason()))
	from := d.GetSource()
	if d.GetEndpoint() != "" {
		from += " in " + d.GetVpc() + " by " + d.GetEndpoint()
	}
	target := "unknown"
	if d.GetApiId() != "" {
		target = strings.TrimSuffix("API "+d.GetApiId()+" stage "+d.GetStage(), " stage ")
		if d.GetDeploymentId() != "" {
			target += ", deployment " + d.GetDeploymentId() + ", resource " + d.GetResourcePath()
		}
	}
	who := d.GetPrincipal()
	if who == "" {
		who = "anonymous"
	}
	rows := [][]string{
		{"decision", d.GetId() + " at " + rfc3339(time.Unix(0, d.GetTimeUnixNano())) + " by " + d.GetEdge() + " at version " + strconv.FormatUint(d.GetVersion(), 10)},
		{"request", quoted(d.GetMethod()) + " " + quoted("https://"+d.GetHost()+d.GetPath())},
		{"request id", d.GetRequestId()},
		{"for", target},
		{"from", from},
		{"caller", who},
	}
	if d.GetAccessKey() != "" {
		rows = append(rows, []string{"access key", d.GetAccessKey()})
	}
	if len(d.GetShortened()) > 0 {
		rows = append(rows, []string{"shortened", strings.Join(d.GetShortened(), ", ")})
	}
	table(w, rows)
	for _, p := range d.GetPolicies() {
		word := ""
		if p.GetDecided() {
			word = ", which decided"
		}
		title := p.GetKind() + " policy"
		if p.GetKind() == "boundary" {
			title = "permissions boundary"
		}
		if p.GetName() != "" {
			title += " " + p.GetName()
		}
		fmt.Fprintf(w, "\nThe %s%s\n\n", title, word)
		text := p.GetText()
		if p.GetUnexplained() != "" {
			text = p.GetEffect()
			if p.GetStatement() >= 0 {
				text += fmt.Sprintf(" by statement %d", p.GetStatement())
			}
			text += ": " + p.GetUnexplained()
		}
		for line := range strings.Lines(text) {
			fmt.Fprint(w, strings.TrimRight("  "+strings.TrimSuffix(line, "\n"), " ")+"\n")
		}
	}
}

// quoted is text as it is if a terminal shows nothing but that, else as a Go string.
func quoted(s string) string {
	if q := strconv.Quote(s); q != `"`+strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `"`, `\"`)+`"` {
		return q
	}
	return s
}
