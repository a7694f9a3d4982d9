package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

type statusCmd struct {
	clientFlags
}

// Help is shown by `postern status --help`.
func (statusCmd) Help() string {
	return `Shows the newest version (the Raft index), who leads, and for every registered place the version that it
acknowledged and how far it lags; and the faults of name servers that are in force.

Examples:
  postern status
  postern status -o json | jq '.places[] | select(.state != "ready")'`
}

// The JSON forms of design §9.
type nodeJSON struct {
	ID        string `json:"id"`
	Address   string `json:"address"`
	Role      string `json:"role"`
	Applied   uint64 `json:"applied"`
	Reachable bool   `json:"reachable"`
}

type placeJSON struct {
	ID          string `json:"id"`
	Kind        string `json:"kind"`
	AZ          string `json:"az"`
	Address     string `json:"address"`
	Version     uint64 `json:"version"`
	State       string `json:"state"`
	Reason      string `json:"reason"`
	LastContact string `json:"last_contact"`
}

type dnsJSON struct {
	Profile string  `json:"profile"`
	Speed   float64 `json:"speed"`
	Now     string  `json:"now"`
	Frozen  bool    `json:"frozen"`
}

type statusJSON struct {
	Index  uint64        `json:"index"`
	Leader string        `json:"leader"`
	Nodes  []nodeJSON    `json:"nodes"`
	Places []placeJSON   `json:"places"`
	DNS    dnsStatusJSON `json:"dns"`
}

type dnsStatusJSON struct {
	dnsJSON
	Faults []faultJSON `json:"faults"`
}

func nodesJSON(nodes []*adminv1.Node) []nodeJSON {
	out := []nodeJSON{}
	for _, n := range nodes {
		out = append(out, nodeJSON{n.GetId(), n.GetAddress(), n.GetRole(), n.GetApplied(), n.GetReachable()})
	}
	return out
}

func placesJSON(places []*adminv1.Place) []placeJSON {
	out := []placeJSON{}
	for _, p := range places {
		contact := ""
		if ms := p.GetLastContactMs(); ms != 0 {
			contact = rfc3339(time.UnixMilli(ms))
		}
		out = append(out, placeJSON{p.GetId(), p.GetKind(), p.GetAz(), p.GetAddress(), p.GetVersion(), p.GetState(), p.GetReason(), contact})
	}
	return out
}

func (c *statusCmd) Run(ctx context.Context, g *globals) error {
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
		writeJSON(g.stdout, statusJSON{
			Index: s.GetIndex(), Leader: s.GetLeader(), Nodes: nodesJSON(s.GetNodes()), Places: placesJSON(s.GetPlaces()),
			DNS: dnsStatusJSON{
				dnsJSON{s.GetDns().GetProfile(), s.GetDns().GetSpeed(), rfc3339(time.Unix(0, s.GetDns().GetNowUnixNano())), s.GetDns().GetFrozen()},
				faultsJSON(s.GetDns().GetFaults()),
			},
		})
		return nil
	}
	leader := s.GetLeader()
	if leader == "" {
		leader = "none"
	}
	fmt.Fprintf(g.stdout, "version %d   leader %s   dns profile %s, speed %g\n\n", s.GetIndex(), leader, s.GetDns().GetProfile(), s.GetDns().GetSpeed())
	printNodes(g.stdout, s.GetNodes())
	fmt.Fprintln(g.stdout)
	rows := [][]string{{"PLACE", "KIND", "AZ", "ADDRESS", "VERSION", "LAG", "STATE", "REASON"}}
	for _, p := range s.GetPlaces() {
		lag := "-"
		if p.GetVersion() < s.GetIndex() {
			lag = strconv.FormatUint(s.GetIndex()-p.GetVersion(), 10)
		}
		rows = append(rows, []string{p.GetId(), p.GetKind(), p.GetAz(), p.GetAddress(), strconv.FormatUint(p.GetVersion(), 10), lag, p.GetState(), p.GetReason()})
	}
	table(g.stdout, rows)
	if faults := s.GetDns().GetFaults(); len(faults) > 0 {
		fmt.Fprintln(g.stdout)
		printFaults(g.stdout, faults)
	}
	return nil
}

func printNodes(w io.Writer, nodes []*adminv1.Node) {
	rows := [][]string{{"NODE", "ADDRESS", "ROLE", "APPLIED", "REACHABLE"}}
	for _, n := range nodes {
		rows = append(rows, []string{n.GetId(), n.GetAddress(), n.GetRole(), strconv.FormatUint(n.GetApplied(), 10), yesNo(n.GetReachable())})
	}
	table(w, rows)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
