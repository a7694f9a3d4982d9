package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

type dnsTraceCmd struct {
	clientFlags
	Subject string        `arg:"" optional:"" help:"API id, endpoint id, change id or name; all changes by default."`
	Watch   bool          `help:"Go on until no place answers by anything older, caches included."`
	Every   time.Duration `default:"500ms" help:"How often --watch looks."`
}

func (dnsTraceCmd) Help() string {
	return `Says for each change at which name servers it shows, and when it will at the others. A change that was lost never does; one
that was overtaken arrived before an older change of the name, which took effect over it.

--watch goes on until no place answers by anything older, caches of resolvers among them: a bar for each place on a terminal,
else a line for each place that moves on.

Examples:
  postern dns trace u67n3ov968 --watch
  postern dns trace u67n3ov968 --watch -o json | jq -r 'select(.state == "done") | .place'
  postern dns trace -o json`
}

type changeJSON struct {
	ID        string        `json:"id"`
	Subject   string        `json:"subject"`
	Index     uint64        `json:"index"`
	Status    string        `json:"status"`
	Names     []string      `json:"names"`
	Removed   []string      `json:"removed,omitempty"`
	Submitted string        `json:"submitted"`
	Attempts  uint32        `json:"attempts"`
	Instants  []instantJSON `json:"instants"`
}

type instantJSON struct {
	Place   string `json:"place"`
	DNS     string `json:"dns_time,omitempty"`
	Wall    string `json:"wall_time,omitempty"`
	Visible bool   `json:"visible"`
	Lost    bool   `json:"lost"`
	// Overtaken: an older change arrived after it and took effect over it.
	Overtaken bool `json:"overtaken"`
}

func (c *dnsTraceCmd) Run(ctx context.Context, g *globals) error {
	client, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	if c.Watch {
		return c.watch(ctx, g, client)
	}
	answer, err := client.ListDnsChanges(ctx, &adminv1.ListDnsChangesRequest{Subject: c.Subject})
	if err != nil {
		return err
	}
	return printChanges(g, answer.GetChanges())
}

func printChanges(g *globals, changes []*adminv1.DnsChangeStatus) error {
	if g.Output == "json" {
		out := []changeJSON{}
		for _, change := range changes {
			j := changeJSON{
				ID: "/change/" + change.GetId(), Subject: change.GetSubject(), Index: change.GetIndex(), Status: change.GetStatus(),
				Names: change.GetNames(), Removed: change.GetRemoved(), Submitted: rfc3339(time.Unix(0, change.GetSubmittedAtUnixNano())), Attempts: change.GetAttempts(),
			}
			for _, i := range change.GetInstants() {
				instant := instantJSON{Place: i.GetPlace(), Visible: i.GetVisible(), Lost: i.GetLost(), Overtaken: i.GetOvertaken()}
				if !i.GetLost() {
					instant.DNS = rfc3339(time.Unix(0, i.GetDnsUnixNano()))
					if i.GetWallUnixNano() != 0 {
						instant.Wall = rfc3339(time.Unix(0, i.GetWallUnixNano()))
					}
				}
				j.Instants = append(j.Instants, instant)
			}
			out = append(out, j)
		}
		writeJSON(g.stdout, map[string]any{"changes": out})
		return nil
	}
	if len(changes) == 0 {
		fmt.Fprintln(g.stdout, "no changes")
		return nil
	}
	rows := [][]string{{"CHANGE", "VERSION", "STATUS", "NS1", "NS2", "NS3", "NS4", "NAMES"}}
	for _, change := range changes {
		row := []string{change.GetId(), strconv.FormatUint(change.GetIndex(), 10), change.GetStatus()}
		for _, i := range change.GetInstants() {
			switch {
			case i.GetOvertaken():
				row = append(row, "overtaken")
			case i.GetVisible():
				row = append(row, "visible")
			case i.GetLost():
				row = append(row, "lost")
			case i.GetWallUnixNano() == 0:
				row = append(row, "frozen")
			default:
				row = append(row, fmt.Sprintf("in %.1fs", time.Until(time.Unix(0, i.GetWallUnixNano())).Seconds()))
			}
		}
		for i, name := range change.GetNames() {
			if slices.Contains(change.GetRemoved(), name) {
				name = "removed: " + name
			}
			if i == 0 {
				rows = append(rows, append(row, name))
			} else {
				rows = append(rows, []string{"", "", "", "", "", "", "", name})
			}
		}
	}
	table(g.stdout, rows)
	return nil
}
