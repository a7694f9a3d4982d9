package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/rpc"
	"github.com/posternhq/postern/dnsprop"
	"github.com/posternhq/postern/dnsprop/receive"
	"github.com/posternhq/postern/internal/pki"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

type dnsCmd struct {
	Serve   dnsServeCmd   `cmd:"" default:"withargs" help:"Run the DNS server."`
	Explain dnsExplainCmd `cmd:"" help:"Say what each place answers for a name, from what, and until when."`
	Trace   dnsTraceCmd   `cmd:"" help:"Show where changes of names stand, place by place."`
	Advance dnsAdvanceCmd `cmd:"" help:"Move the DNS clock forward."`
	Clock   dnsClockCmd   `cmd:"" help:"Show the DNS clock, or set its speed."`

	Simulate dnsSimulateCmd `cmd:"" help:"Play changes for millions of resolvers and clients, without a server."`
}

// secondaryFlags are about who follows the authorities.
type secondaryFlags struct {
	Notify        []string       `name:"notify" help:"Secondary, IP address and port, that every authority notifies of new serials (RFC 1996) and that may transfer zones. Repeatable." placeholder:"IP:PORT"`
	AllowTransfer []netip.Prefix `name:"allow-transfer" help:"Network that may transfer zones from the authorities, besides this machine and the secondaries. Repeatable." placeholder:"CIDR"`
}

// resolverFlags are about resolvers besides the default ones, and about these.
type resolverFlags struct {
	Resolvers []dnsprop.NamedResolver `name:"resolver" sep:";" help:"A further resolver, on the next port after the authorities', and what it keeps; by the names public and vpc what the default ones keep. Repeatable." placeholder:"NAME:OPTIONS"`
}

// resolverHelp explains the flag in the help of the commands that have it.
const resolverHelp = `

Options of --resolver NAME:OPTIONS, separated by commas; durations in seconds or as 90s, 5m, 1d, on the DNS clock:
  ttl-min=, ttl-max=, ttl=                              how long answers are kept, at least, at most, both
  negative-ttl-min=, negative-ttl-max=, negative-ttl=   how long it is kept that there is none
  serve-stale=1d                                        for so long after their time, while every authority fails
  prefetch                                              ask again in the last tenth of an answer's time
  capacity=10000                                        names in each cache
  listen=IP:PORT, vpc=ID                                its address; the VPC by whose rules it answers`

type dnsServeCmd struct {
	roleFlags
	cacheFlags
	secondaryFlags
	resolverFlags
	Servers       []string `required:"" help:"gRPC addresses of control-plane nodes; any of them will do." placeholder:"HOST:PORT"`
	DNS           string   `name:"listen-dns" default:"127.0.0.1:4753" help:"Public resolver; VPC resolvers use the same port at their base + 2."`
	AuthorityPort int      `name:"authority-port" default:"4754" help:"First of the four authorities' ports."`
	Forward       string   `name:"dns-forward" help:"Server to ask about names that are not Postern's; they are refused by default." placeholder:"HOST:PORT"`
}

// Help is shown by `postern dns serve --help`.
func (dnsServeCmd) Help() string {
	return `Runs the DNS server: four authorities, a public resolver, and a resolver for each VPC and zone.

Examples:
  postern dns --id dns1 --data ./lab --servers 127.0.0.1:4781
  postern dns --id dns1 --data ./lab --servers 127.0.0.1:4781 --notify 127.0.0.1:5300
  postern dns --id dns1 --data ./lab --servers 127.0.0.1:4781 --resolver corp:ttl-min=300,serve-stale=1d --resolver public:negative-ttl-max=60
  dig @127.0.0.1 -p 4753 API-VPCE.execute-api.us-west-2.amazonaws.com
  dig @127.0.0.1 -p 4758 API-VPCE.execute-api.us-west-2.amazonaws.com` + resolverHelp
}

func (c *dnsServeCmd) Run(ctx context.Context, g *globals) error {
	identity, err := c.identity(pki.RoleDNS)
	if err != nil {
		return err
	}
	seal, err := c.seal(identity)
	if err != nil {
		return err
	}
	dir, unlock, err := c.folder("dns")
	if err != nil {
		return err
	}
	defer func() { _ = unlock() }()
	registry := newRegistry()
	cfg := dnsprop.Config{ID: c.ID, Resolver: c.DNS, Forward: c.Forward, Notify: c.Notify, Transfer: c.AllowTransfer, Resolvers: c.Resolvers, Logger: g.logger(slog.LevelInfo), Registerer: registry}
	for i := range cfg.Authorities {
		cfg.Authorities[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(c.AuthorityPort+i))
	}
	server, err := dnsprop.New(cfg)
	if err != nil {
		return err
	}
	peers := rpc.NewPeers(credentials.NewTLS(identity.ClientTLS([]pki.Role{pki.RoleServer}, "h2")))
	defer peers.Close()
	supply, err := receive.New(receive.Config{ID: c.ID, Server: server, Dir: dir, Seal: seal, Servers: c.Servers, Dial: peers.Conn, Verify: identity.Verify, Logger: g.logger(slog.LevelInfo)})
	if err != nil {
		return err
	}
	return c.serve(ctx, g, identity, registry, server.Ready, supply.Run)
}

type dnsAdvanceCmd struct {
	clientFlags
	By time.Duration `arg:"" help:"How far, for example 5m."`
}

func (dnsAdvanceCmd) Help() string {
	return "Moves schedules, TTLs and endpoint states at every place; one commit.\n\nExample:\n  postern dns advance 5m"
}

func (c *dnsAdvanceCmd) Run(ctx context.Context, g *globals) error {
	client, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	answer, err := client.AdvanceDns(ctx, &adminv1.AdvanceDnsRequest{DurationMs: c.By.Milliseconds()})
	if err != nil {
		return err
	}
	if g.Output == "json" {
		return printClock(ctx, g, client)
	}
	fmt.Fprintf(g.stdout, "the DNS clock says %s\n", rfc3339(time.Unix(0, answer.GetDnsNowUnixNano())))
	return nil
}

type dnsClockCmd struct {
	clientFlags
	Speed *float64 `help:"New speed; 0 freezes." placeholder:"N"`
}

func (dnsClockCmd) Help() string {
	return "Examples:\n  postern dns clock\n  postern dns clock --speed 0"
}

func (c *dnsClockCmd) Run(ctx context.Context, g *globals) error {
	client, closeConn, err := c.admin()
	if err != nil {
		return err
	}
	defer closeConn()
	if c.Speed != nil {
		if _, err := client.UpdateSettings(ctx, &adminv1.UpdateSettingsRequest{Settings: &adminv1.Settings{DnsSpeed: proto.Float64(*c.Speed)}}); err != nil {
			return err
		}
	}
	return printClock(ctx, g, client)
}

func printClock(ctx context.Context, g *globals, client adminv1.AdminClient) error {
	answer, err := client.GetSettings(ctx, &adminv1.GetSettingsRequest{})
	if err != nil {
		return err
	}
	now, speed := rfc3339(time.Unix(0, answer.GetDnsNowUnixNano())), answer.GetSettings().GetDnsSpeed()
	if g.Output == "json" {
		writeJSON(g.stdout, dnsJSON{answer.GetSettings().GetDnsProfile(), speed, now, speed == 0})
		return nil
	}
	fmt.Fprintf(g.stdout, "DNS time %s, speed %g, profile %s\n", now, speed, answer.GetSettings().GetDnsProfile())
	return nil
}
