package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

type auditCmd struct {
	clientFlags
	Since  string `help:"Only what was written since then: a time as in 2026-01-02T15:04:05Z, or how long ago, as in 15m." placeholder:"TIME"`
	Follow bool   `help:"Go on with what is written from now on."`
}

// Help is shown by `postern admin audit --help`.
func (auditCmd) Help() string {
	return `Lists every write of the control plane: when, what, by whom, from where, and which records it changed, with the SHA-256
of their values before and after. The last 10,000 are kept, in the replicated state. With -o json each is a line.

Examples:
  postern admin audit --since 15m
  postern admin audit --follow -o json | jq -r 'select(.operation | startswith("apigateway:"))'`
}

// auditFollow is how long the cluster may keep one question of --follow.
const auditFollow = 20 * time.Second

type auditJSON struct {
	ID          string            `json:"id"`
	Index       uint64            `json:"index"`
	Time        string            `json:"time"`
	Operation   string            `json:"operation"`
	Account     string            `json:"account,omitempty"`
	Region      string            `json:"region,omitempty"`
	Principal   string            `json:"principal"`
	AccessKeyID string            `json:"access_key_id,omitempty"`
	Source      string            `json:"source,omitempty"`
	UserAgent   string            `json:"user_agent,omitempty"`
	RequestID   string            `json:"request_id,omitempty"`
	Wipe        bool              `json:"wipe,omitempty"`
	Changes     []auditChangeJSON `json:"changes"`
	MoreChanges uint32            `json:"more_changes,omitempty"`
}

type auditChangeJSON struct {
	Type    string `json:"type"`
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"`
	ID      string `json:"id"`
	Before  string `json:"before_sha256,omitempty"`
	After   string `json:"after_sha256,omitempty"`
}

func (c *auditCmd) Run(ctx context.Context, g *globals) error {
	since, err := sinceTime(c.Since, time.Now())
	if err != nil {
		return usageError{fmt.Errorf("--since %w", err)}
	}
	client, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	req := &adminv1.ListAuditEventsRequest{}
	if !since.IsZero() {
		req.SinceUnixNano = since.UnixNano()
	}
	first := true
	for {
		answer, err := client.ListAuditEvents(ctx, req)
		if err != nil {
			if c.Follow && ctx.Err() != nil {
				return nil // whoever follows ends it so
			}
			return err
		}
		c.print(g, answer.GetEvents(), first)
		first = first && len(answer.GetEvents()) == 0
		if n := len(answer.GetEvents()); n > 0 {
			req.After = answer.GetEvents()[n-1].GetId()
		}
		if answer.GetMore() {
			continue
		}
		if !c.Follow {
			return nil
		}
		req.WaitMs = auditFollow.Milliseconds()
	}
}

// sinceTime reads a point in time, or a time before now; "" is the zero time.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("%q: want a time as in 2026-01-02T15:04:05Z, or how long ago, as in 15m", text)
	}
	return t, nil
}

func (c *auditCmd) print(g *globals, events []*adminv1.AuditEvent, first bool) {
	if g.Output == "json" {
		for _, e := range events {
			writeJSON(g.stdout, auditEventJSON(e))
		}
		return
	}
	for _, e := range events {
		// No table: with --follow nobody knows how wide later cells are.
		if first {
			fmt.Fprintf(g.stdout, "%-30s  %-8s  %-38s  %s\n", "TIME", "VERSION", "OPERATION", "BY, WHAT")
			first = false
		}
		fmt.Fprintf(g.stdout, "%-30s  %-8s  %-38s  %s: %s\n", rfc3339(time.Unix(0, e.GetTimeUnixNano())), strconv.FormatUint(e.GetIndex(), 10), e.GetOperation(), e.GetPrincipal(), changesText(e))
	}
}

// changesText names the records that an event changed, the first few of many.
func changesText(e *adminv1.AuditEvent) string {
	const shown = 4
	var names []string
	if e.GetWipe() {
		names = append(names, "all wiped")
	}
	more := int(e.GetMoreChanges())
	for i, change := range e.GetChanges() {
		if i >= shown {
			more += len(e.GetChanges()) - i
			break
		}
		mark := "~"
		switch {
		case change.GetBefore() == "":
			mark = "+"
		case change.GetAfter() == "":
			mark = "-"
		}
		names = append(names, mark+change.GetType()+" "+change.GetId())
	}
	if more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	if len(names) == 0 {
		return "no record"
	}
	return strings.Join(names, ", ")
}

func auditEventJSON(e *adminv1.AuditEvent) auditJSON {
	out := auditJSON{
		ID: e.GetId(), Index: e.GetIndex(), Time: rfc3339(time.Unix(0, e.GetTimeUnixNano())), Operation: e.GetOperation(),
		Account: e.GetAccount(), Region: e.GetRegion(), Principal: e.GetPrincipal(), AccessKeyID: e.GetAccessKeyId(),
		Source: e.GetSource(), UserAgent: e.GetUserAgent(), RequestID: e.GetRequestId(), Wipe: e.GetWipe(),
		Changes: []auditChangeJSON{}, MoreChanges: e.GetMoreChanges(),
	}
	for _, c := range e.GetChanges() {
		out.Changes = append(out.Changes, auditChangeJSON{c.GetType(), c.GetAccount(), c.GetRegion(), c.GetId(), c.GetBefore(), c.GetAfter()})
	}
	return out
}
