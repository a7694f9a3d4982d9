package main

import (
	"context"
	"fmt"
	"io"
	"time"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

type faultCmd struct {
	Set   faultSetCmd   `cmd:"" help:"Put a fault into force: dns-lost, dns-reorder, dns-lag, dns-down, dns-servfail or eni-late."`
	List  faultListCmd  `cmd:"" default:"withargs" help:"List the faults in force."`
	Clear faultClearCmd `cmd:"" help:"End faults."`
}

type faultSetCmd struct {
	clientFlags
	Kind  string        `arg:"" help:"dns-lost, dns-reorder, dns-lag, dns-down, dns-servfail or eni-late."`
	Name  string        `help:"Only this name." placeholder:"NAME" xor:"target"`
	Zone  string        `help:"Only this name and what is below it." placeholder:"NAME" xor:"target"`
	Place string        `help:"Only this name server, ns1 to ns4, or for eni-late this availability zone; all by default." placeholder:"PLACE"`
	Lag   time.Duration `help:"How late the name server is, for dns-lag, or the interface, for eni-late." placeholder:"DURATION"`
	For   time.Duration `help:"End by itself after this long on the DNS clock; when it is cleared, by default." placeholder:"DURATION"`
}

// Help is shown by `postern admin fault set --help`.
func (faultSetCmd) Help() string {
	return `Faults of the public name servers, for a name, a zone, a place or everything. The first three befall changes that
are committed while the fault is in force, and move nothing that is under way:

  dns-lost      a change does not arrive; a new deployment of the API, or associating again, repairs it
  dns-reorder   changes take effect in the order in which they arrive, so removing and adding may end absent
  dns-lag       a change arrives later by --lag
  dns-down      a name server does not answer
  dns-servfail  it answers SERVFAIL

One is of endpoints: it befalls those that are made, or get a subnet, while it is in force. A name or zone picks the region by
the endpoint's private zone, execute-api.REGION.amazonaws.com:

  eni-late      names resolve, but interfaces let nobody in until --lag later; who connects gets no answer

Examples:
  postern admin fault set dns-lost --name API-VPCE.execute-api.us-west-2.amazonaws.com
  postern admin fault set dns-lag --place ns3 --lag 5m
  postern admin fault set dns-down --place ns2 --for 10m
  postern admin fault set eni-late --lag 30s --place us-west-2a`
}

// Validate is called by kong.
func (c *faultSetCmd) Validate() error {
	for name, d := range map[string]time.Duration{"lag": c.Lag, "for": c.For} {
		if d < 0 || d%time.Millisecond != 0 {
			return fmt.Errorf("--%s %v: want whole milliseconds, not less than 0", name, d)
		}
	}
	return nil
}

func (c *faultSetCmd) Run(ctx context.Context, g *globals) error {
	client, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	answer, err := client.SetDnsFault(ctx, &adminv1.SetDnsFaultRequest{
		Kind: c.Kind, Name: c.Name, Zone: c.Zone, Place: c.Place, LagMs: c.Lag.Milliseconds(), DurationMs: c.For.Milliseconds(),
	})
	if err != nil {
		return err
	}
	if g.Output == "json" {
		writeJSON(g.stdout, map[string]any{"fault": faultOf(answer.GetFault()), "index": answer.GetIndex()})
		return nil
	}
	fmt.Fprintf(g.stdout, "fault %s is in force\n", answer.GetFault().GetId())
	return nil
}

type faultListCmd struct{ clientFlags }

// Help is shown by `postern admin fault list --help`.
func (faultListCmd) Help() string { return "Example:\n  postern admin fault list -o json" }

func (c *faultListCmd) Run(ctx context.Context, g *globals) error {
	client, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	answer, err := client.ListDnsFaults(ctx, &adminv1.ListDnsFaultsRequest{})
	if err != nil {
		return err
	}
	switch {
	case g.Output == "json":
		writeJSON(g.stdout, map[string]any{"faults": faultsJSON(answer.GetFaults())})
	case len(answer.GetFaults()) == 0:
		fmt.Fprintln(g.stdout, "no faults")
	default:
		printFaults(g.stdout, answer.GetFaults())
	}
	return nil
}

type faultClearCmd struct {
	clientFlags
	IDs []string `arg:"" optional:"" name:"id" help:"Faults, as list and status name them."`
	All bool     `help:"All of them."`
}

// Help is shown by `postern admin fault clear --help`.
func (faultClearCmd) Help() string {
	return `What a fault did to a change stays done: only what is committed afterwards is spared.

Examples:
  postern admin fault clear dns-down@ns2
  postern admin fault clear --all`
}

// Validate is called by kong.
func (c *faultClearCmd) Validate() error {
	if c.All == (len(c.IDs) > 0) {
		return fmt.Errorf("want the ids of faults, or --all")
	}
	return nil
}

func (c *faultClearCmd) Run(ctx context.Context, g *globals) error {
	client, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	answer, err := client.ClearDnsFaults(ctx, &adminv1.ClearDnsFaultsRequest{Ids: c.IDs, All: c.All})
	if err != nil {
		return err
	}
	if g.Output == "json" {
		writeJSON(g.stdout, map[string]any{"cleared": faultsJSON(answer.GetCleared()), "index": answer.GetIndex()})
		return nil
	}
	for _, f := range answer.GetCleared() {
		fmt.Fprintf(g.stdout, "fault %s is over\n", f.GetId())
	}
	if len(answer.GetCleared()) == 0 {
		fmt.Fprintln(g.stdout, "no faults")
	}
	return nil
}

type faultJSON struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"`
	Name  string `json:"name,omitempty"`
	Zone  string `json:"zone,omitempty"`
	Place string `json:"place,omitempty"`
	LagMs int64  `json:"lag_ms,omitempty"`
	Set   string `json:"set"`
	Ends  string `json:"ends,omitempty"`
}

func faultOf(f *adminv1.DnsFault) faultJSON {
	return faultJSON{
		ID: f.GetId(), Kind: f.GetKind(), Name: f.GetName(), Zone: f.GetZone(), Place: f.GetPlace(), LagMs: f.GetLagMs(),
		Set: rfc3339(time.Unix(0, f.GetSetAtUnixNano())), Ends: faultEnd(f),
	}
}

func faultEnd(f *adminv1.DnsFault) string {
	if f.GetEndsAtUnixNano() == 0 {
		return ""
	}
	return rfc3339(time.Unix(0, f.GetEndsAtUnixNano()))
}

func faultsJSON(faults []*adminv1.DnsFault) []faultJSON {
	out := []faultJSON{}
	for _, f := range faults {
		out = append(out, faultOf(f))
	}
	return out
}

// printFaults shows them with their instants on the DNS clock.
func printFaults(w io.Writer, faults []*adminv1.DnsFault) {
	rows := [][]string{{"FAULT", "LAG", "SET", "ENDS"}}
	for _, f := range faults {
		lag, ends := "-", faultEnd(f)
		if f.GetLagMs() != 0 {
			lag = (time.Duration(f.GetLagMs()) * time.Millisecond).String()
		}
		if ends == "" {
			ends = "when cleared"
		}
		rows = append(rows, []string{f.GetId(), lag, rfc3339(time.Unix(0, f.GetSetAtUnixNano())), ends})
	}
	table(w, rows)
}
