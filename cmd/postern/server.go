package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/posternhq/postern/controlplane"
	"github.com/posternhq/postern/controlplane/cluster"
	"github.com/posternhq/postern/internal/pki"
)

type serverCmd struct {
	roleFlags
	settingsFlags
	API       string        `name:"listen-api" default:"127.0.0.1:4780" help:"AWS-compatible HTTP; loopback only under --auth=none."`
	GRPC      string        `name:"listen-grpc" default:"127.0.0.1:4781" help:"gRPC and raft, over mutual TLS."`
	Advertise string        `help:"Address that other nodes and edges dial; that of --listen-grpc by default." placeholder:"HOST:PORT"`
	Peers     []string      `help:"First voters, this node among them, alike on each: ID=HOST:PORT,…. Only a node without data uses them." placeholder:"ID=HOST:PORT"`
	Join      []string      `help:"Running nodes, one of which is asked to add this one." placeholder:"HOST:PORT"`
	Auth      string        `enum:"sigv4,none" default:"sigv4" help:"How callers are known: sigv4 (by their access keys, and they may do what their policies allow) or none (any signature is accepted)."`
	Heartbeat time.Duration `default:"500ms" help:"Heartbeat and election timeout of consensus."`
}

// Help is shown by `postern server --help`.
func (serverCmd) Help() string {
	return `Runs one node of the control plane: state in a replicated log, AWS's APIs in front, snapshots for edges behind.

A new cluster makes account 123456789012 with the access key of its root user, and prints that key once. With it, or with one
of an identity that it makes, AWS clients sign, and so do the other commands: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for
a session, AWS_SESSION_TOKEN say which.

Examples:
  postern server --id n1 --data /var/lib/postern --peers n1=127.0.0.1:4781
  postern server --id n1 --data ./lab --auth none
  postern server --id n2 --data ./lab --listen-api 127.0.0.1:4880 --listen-grpc 127.0.0.1:4881 \
    --peers n1=127.0.0.1:4781,n2=127.0.0.1:4881,n3=127.0.0.1:4981`
}

// voters are the first voters; a node alone, at its own address, is one.
func (c *serverCmd) voters(address string) ([]cluster.Server, error) {
	var out []cluster.Server
	for _, p := range c.Peers {
		id, address, ok := strings.Cut(p, "=")
		if _, _, err := net.SplitHostPort(address); !ok || id == "" || err != nil {
			return nil, usageError{fmt.Errorf("--peers %q: want ID=HOST:PORT", p)}
		}
		out = append(out, cluster.Server{ID: id, Address: address})
	}
	if len(out) == 0 && len(c.Join) == 0 {
		out = append(out, cluster.Server{ID: c.ID, Address: cmp.Or(c.Advertise, address)})
	}
	return out, nil
}

func (c *serverCmd) Run(ctx context.Context, g *globals) error {
	if _, err := c.voters(""); err != nil {
		return err // before anything is made
	}
	identity, err := c.identity(pki.RoleServer)
	if err != nil {
		return err
	}
	ca, err := pki.LoadOrCreateCA(c.Data)
	if err != nil {
		return err
	}
	dir, unlock, err := c.folder("nodes", c.ID)
	if err != nil {
		return err
	}
	defer func() { _ = unlock() }()
	listen := func(flag, address string) (net.Listener, error) {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", flag, address, err)
		}
		return ln, nil
	}
	grpcListener, err := listen("--listen-grpc", c.GRPC)
	if err != nil {
		return err
	}
	defer grpcListener.Close()
	apiListener, err := listen("--listen-api", c.API)
	if err != nil {
		return err
	}
	defer apiListener.Close()
	voters, err := c.voters(grpcListener.Addr().String())
	if err != nil {
		return err
	}
	settings, err := c.settings()
	if err != nil {
		return err
	}
	registry := newRegistry()
	server, err := controlplane.New(controlplane.Config{
		ID: c.ID, Dir: dir, CA: ca, Identity: identity, GRPC: grpcListener, API: apiListener, Advertise: c.Advertise,
		Bootstrap: voters, Join: c.Join, Settings: settings, Auth: c.Auth, RootKey: g.rootKey,
		HeartbeatTimeout: c.Heartbeat, ElectionTimeout: c.Heartbeat,
		Logger: g.logger(slog.LevelInfo), Registerer: registry,
	})
	if err != nil {
		return err
	}
	return c.serve(ctx, g, identity, registry, server.Ready, server.Run)
}

// rootKey prints the first access key of a new cluster: the only time that anybody
// sees its secret.
func (g *globals) rootKey(account, id, secret string) {
	if g.Output == "json" {
		writeJSON(g.stdout, map[string]any{"account": account, "access_key_id": id, "secret_access_key": secret})
		return
	}
	fmt.Fprintf(g.stdout, "The access key of the root user of account %s, which is shown this once:\n\nexport AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s\n\n", account, id, secret)
}
