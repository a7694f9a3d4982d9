package main

import (
	"context"
	"fmt"
	"strconv"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

type adminCmd struct {
	Peers          peersCmd          `cmd:"" help:"Control-plane nodes: list, add, remove."`
	Places         placesCmd         `cmd:"" help:"Registered edges and DNS servers: list, remove."`
	TransferLeader transferLeaderCmd `cmd:"" name:"transfer-leader" help:"Hand leadership to another node."`
	Fault          faultCmd          `cmd:"" help:"Faults of name servers and endpoints: set, list, clear."`
	Audit          auditCmd          `cmd:"" help:"Who wrote what: every write of the control plane, as it was and as it goes on."`
	Account        accountCmd        `cmd:"" help:"Accounts: list, create with a first access key."`
}

type peersCmd struct {
	List   peersListCmd   `cmd:"" default:"withargs" help:"List the nodes."`
	Add    peersAddCmd    `cmd:"" help:"Add a node that is already running with --join."`
	Remove peersRemoveCmd `cmd:"" help:"Remove a node for good; its id must not come back with other data."`
}

type peersListCmd struct{ clientFlags }

func (peersListCmd) Help() string { return "Example:\n  postern admin peers list -o json" }

func (c *peersListCmd) Run(ctx context.Context, g *globals) error {
	client, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	answer, err := client.ListPeers(ctx, &adminv1.ListPeersRequest{})
	if err != nil {
		return err
	}
	if g.Output == "json" {
		writeJSON(g.stdout, map[string]any{"nodes": nodesJSON(answer.GetNodes())})
		return nil
	}
	printNodes(g.stdout, answer.GetNodes())
	return nil
}

type peersAddCmd struct {
	clientFlags
	ID       string `arg:"" help:"Id of the node."`
	Address  string `arg:"" help:"Its gRPC address, host:port."`
	Nonvoter bool   `help:"It receives the log and serves, but does not vote."`
}

func (peersAddCmd) Help() string { return "Example:\n  postern admin peers add n4 10.0.0.14:4781" }

func (c *peersAddCmd) Run(ctx context.Context, g *globals) error {
	client, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	if _, err := client.AddPeer(ctx, &adminv1.AddPeerRequest{Id: c.ID, Address: c.Address, Nonvoter: c.Nonvoter}); err != nil {
		return err
	}
	return g.done("node %s added", c.ID)
}

type peersRemoveCmd struct {
	clientFlags
	ID string `arg:"" help:"Id of the node."`
}

func (peersRemoveCmd) Help() string { return "Example:\n  postern admin peers remove n3" }

func (c *peersRemoveCmd) Run(ctx context.Context, g *globals) error {
	client, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	if _, err := client.RemovePeer(ctx, &adminv1.RemovePeerRequest{Id: c.ID}); err != nil {
		return err
	}
	return g.done("node %s removed", c.ID)
}

type placesCmd struct {
	List   placesListCmd   `cmd:"" default:"withargs" help:"List the places."`
	Remove placesRemoveCmd `cmd:"" help:"End a place's part in the barrier; should it come back, it denies."`
}

type placesListCmd struct{ clientFlags }

func (placesListCmd) Help() string { return "Example:\n  postern admin places list" }

func (c *placesListCmd) Run(ctx context.Context, g *globals) error {
	client, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	s, err := client.Status(ctx, &adminv1.StatusRequest{})
	if err != nil {
		return err
	}
	if g.Output == "json" {
		writeJSON(g.stdout, map[string]any{"places": placesJSON(s.GetPlaces())})
		return nil
	}
	rows := [][]string{{"PLACE", "KIND", "AZ", "ADDRESS", "VERSION", "STATE", "REASON"}}
	for _, p := range s.GetPlaces() {
		rows = append(rows, []string{p.GetId(), p.GetKind(), p.GetAz(), p.GetAddress(), strconv.FormatUint(p.GetVersion(), 10), p.GetState(), p.GetReason()})
	}
	table(g.stdout, rows)
	return nil
}

type placesRemoveCmd struct {
	clientFlags
	ID string `arg:"" help:"Id of the place."`
}

func (placesRemoveCmd) Help() string { return "Example:\n  postern admin places remove edge2" }

func (c *placesRemoveCmd) Run(ctx context.Context, g *globals) error {
	client, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	if _, err := client.RemovePlace(ctx, &adminv1.RemovePlaceRequest{Id: c.ID}); err != nil {
		return err
	}
	return g.done("place %s removed", c.ID)
}

type transferLeaderCmd struct {
	clientFlags
	To string `help:"Id of the node that should lead; the most up-to-date one by default." placeholder:"ID"`
}

func (transferLeaderCmd) Help() string { return "Example:\n  postern admin transfer-leader --to n2" }

func (c *transferLeaderCmd) Run(ctx context.Context, g *globals) error {
	client, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	if _, err := client.TransferLeader(ctx, &adminv1.TransferLeaderRequest{Id: c.To}); err != nil {
		return err
	}
	return g.done("leadership handed over")
}

// done says that a command without an answer of its own did what it was asked.
func (g *globals) done(format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	if g.Output == "json" {
		writeJSON(g.stdout, map[string]string{"done": message})
	} else {
		fmt.Fprintln(g.stdout, message)
	}
	return nil
}
