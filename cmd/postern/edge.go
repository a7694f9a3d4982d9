package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/posternhq/postern/controlplane/rpc"
	"github.com/posternhq/postern/dataplane"
	"github.com/posternhq/postern/internal/netx"
	"github.com/posternhq/postern/internal/pki"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

type edgeCmd struct {
	roleFlags
	cacheFlags
	Servers        []string      `required:"" help:"gRPC addresses of control-plane nodes; any of them will do." placeholder:"HOST:PORT"`
	AZ             []string      `name:"az" help:"Availability zones whose endpoint addresses it serves; all by default." placeholder:"NAME"`
	VPC            []string      `name:"vpc" help:"VPCs whose endpoints it receives; all by default." placeholder:"ID"`
	Port           int           `name:"edge-port" default:"8443" help:"Port of endpoint addresses."`
	Public         string        `name:"listen-public" default:"127.0.0.1:8443" help:"Listener of REGIONAL and EDGE APIs; empty for none."`
	MaxStaleness   time.Duration `name:"max-staleness" default:"0s" help:"Deny when the last word of the control plane is older than this; 0 serves for ever."`
	TrustedProxies []string      `name:"trusted-proxies" help:"Peers that may say by PROXY v2 where a connection came from." placeholder:"CIDR"`
	PosternHeaders string        `name:"postern-headers" enum:"on,off" default:"on" help:"Add x-postern-version and x-postern-decision to answers."`
	Denials        int           `default:"4096" help:"Refusals that it keeps for postern policy explain --decision; at most 1048576, 0 keeps none."`
	Leave          bool          `help:"Stop for good: at the end discard the cache and end this edge's part in the barrier."`
}

// Help is shown by `postern edge --help`.
func (edgeCmd) Help() string {
	return `Runs one edge: it follows the control plane's snapshots, serves endpoint addresses, and goes on serving, also after a
restart, when no control plane is left.

Example:
  postern edge --id edge1 --data ./lab --servers 127.0.0.1:4781,127.0.0.1:4881`
}

// maxDenials bounds what an edge keeps: a few kilobytes each.
const maxDenials = 1 << 20

func (c *edgeCmd) Run(ctx context.Context, g *globals) error {
	var trusted []netip.Prefix
	for _, p := range c.TrustedProxies {
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			return usageError{fmt.Errorf("--trusted-proxies: %w", err)}
		}
		trusted = append(trusted, prefix)
	}
	if c.Denials < 0 || c.Denials > maxDenials {
		return usageError{fmt.Errorf("--denials %d: want 0 to %d", c.Denials, maxDenials)}
	}
	if c.Denials == 0 {
		c.Denials = -1
	}
	identity, err := c.identity(pki.RoleEdge)
	if err != nil {
		return err
	}
	seal, err := c.seal(identity)
	if err != nil {
		return err
	}
	dir, unlock, err := c.folder("edges", c.ID)
	if err != nil {
		return err
	}
	defer func() { _ = unlock() }()
	registry := newRegistry()
	peers := rpc.NewPeers(credentials.NewTLS(identity.ClientTLS([]pki.Role{pki.RoleServer}, "h2")))
	defer peers.Close()
	edge, err := dataplane.New(dataplane.Config{
		ID: c.ID, Dir: dir, Identity: identity, Seal: seal, Servers: c.Servers, Dial: peers.Conn, AZs: c.AZ, VPCs: c.VPC, Port: c.Port, Public: c.Public,
		Network: netx.Host(), MaxStaleness: c.MaxStaleness, TrustedProxies: trusted, NoPosternHeaders: c.PosternHeaders == "off", Denials: c.Denials, Leave: c.leave(peers),
		Logger: g.logger(slog.LevelInfo), Registerer: registry,
	})
	if err != nil {
		return err
	}
	return c.serve(ctx, g, identity, registry, edge.Ready, edge.Run)
}

// leave returns what ends the edge's part in barriers, nil without --leave.
func (c *edgeCmd) leave(peers *rpc.Peers) func(ctx context.Context, place string) error {
	if !c.Leave {
		return nil
	}
	return func(ctx context.Context, place string) error {
		var errs []error
		for _, server := range c.Servers {
			conn, err := peers.Conn(server)
			if err == nil {
				if _, err = adminv1.NewAdminClient(conn).RemovePlace(ctx, &adminv1.RemovePlaceRequest{Id: place}); err == nil {
					return nil
				}
			}
			errs = append(errs, fmt.Errorf("%s: %w", server, err))
		}
		return fmt.Errorf("leave the cluster: %w", errors.Join(errs...))
	}
}
