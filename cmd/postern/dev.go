package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/posternhq/postern/dnsprop/profilefile"
	"github.com/posternhq/postern/internal/dev"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

// settingsFlags are the settings that change answers. They are one record in
// the state; given at start, they are committed.
type settingsFlags struct {
	DNSProfile        *string  `name:"dns-profile" help:"How names propagate: instant, fast, aws, hostile." placeholder:"NAME"`
	DNSProfileFile    string   `name:"dns-profile-file" help:"A profile of your own, in YAML, instead of --dns-profile." placeholder:"FILE" type:"path"`
	DNSSpeed          *float64 `name:"dns-speed" help:"Speed of the DNS clock: 60 runs a minute in a second, 0 freezes." placeholder:"N"`
	DNSSeed           *uint64  `name:"dns-seed" help:"Seed of the propagation schedule." placeholder:"N"`
	UnknownEndpoints  *string  `name:"unknown-endpoints" help:"Unknown vpcEndpointIds: refuse (typos) or allow (literal example ids)." placeholder:"refuse|allow"`
	TLSMax            *string  `name:"tls-max" help:"Highest TLS version on endpoints: 1.2 or 1.3." placeholder:"1.2|1.3"`
	DenyDetail        *string  `name:"deny-detail" help:"Wording of denials: detailed or classic." placeholder:"detailed|classic"`
	SourceIPOnPrivate *string  `name:"source-ip-on-private" help:"aws:SourceIp on private APIs: absent, eni or client." placeholder:"absent|eni|client"`
}

func (f *settingsFlags) settings() (*adminv1.Settings, error) {
	s := &adminv1.Settings{
		DnsProfile: f.DNSProfile, DnsSpeed: f.DNSSpeed, DnsSeed: f.DNSSeed, UnknownEndpoints: f.UnknownEndpoints,
		TlsMax: f.TLSMax, DenyDetail: f.DenyDetail, SourceIpOnPrivate: f.SourceIPOnPrivate,
	}
	if f.DNSProfileFile == "" {
		return s, nil
	}
	if f.DNSProfile != nil {
		return nil, usageError{errors.New("--dns-profile and --dns-profile-file: want one of them")}
	}
	text, err := os.ReadFile(f.DNSProfileFile)
	if err != nil {
		return nil, fmt.Errorf("read the dns profile: %w", err)
	}
	name, content, err := profilefile.Parse(text, os.DirFS(filepath.Dir(f.DNSProfileFile)))
	if err != nil {
		return nil, usageError{fmt.Errorf("%s:%w", f.DNSProfileFile, err)}
	}
	s.DnsProfile, s.CustomDnsProfile = &name, content
	return s, nil
}

type devCmd struct {
	settingsFlags
	secondaryFlags
	resolverFlags
	Nodes     int    `default:"3" help:"Control-plane nodes: 1, 3 or 5."`
	Edges     int    `default:"2" help:"Edges, at least 1."`
	Accounts  int    `help:"Accounts to make, each with an access key of its root user: up to 5, the first 123456789012, the second 444455556666." placeholder:"N"`
	Data      string `help:"Data folder, kept and continued; a temporary one, removed at exit, by default." placeholder:"DIR"`
	API       string `name:"listen-api" default:"127.0.0.1:4780" help:"AWS-compatible HTTP. Port 0 picks a free one, here and below."`
	GRPC      string `name:"listen-grpc" default:"127.0.0.1:4781" help:"gRPC of node 1; the others take free ports."`
	Admin     string `name:"listen-admin" default:"127.0.0.1:4782" help:"Health, metrics and profiles."`
	DNS       string `name:"listen-dns" default:"127.0.0.1:4753" help:"Public resolver; VPC resolvers use the same port at their base + 2."`
	DNSPort   int    `name:"authority-port" default:"4754" help:"First of the four authorities' ports; 0 picks free ones."`
	Proxy     string `name:"listen-proxy" default:"127.0.0.1:4790" help:"SOCKS5 and HTTP CONNECT for clients inside VPCs."`
	EdgePort  int    `name:"edge-port" default:"8443" help:"Port of endpoint addresses and of the public listener."`
	ReadyFile string `name:"ready-file" help:"Write all addresses to this file, as JSON, once everything is ready." placeholder:"FILE"`
}

// Help is shown by `postern dev --help`.
func (devCmd) Help() string {
	return `Starts control-plane nodes, edges and DNS in one process, on loopback, without root, and prints the addresses and the
lines that point AWS clients at it. Ctrl-C stops it gracefully.

Examples:
  postern dev
  postern dev --dns-profile aws --dns-speed 60 --data ./lab
  postern dev --dns-profile aws --resolver corp:ttl-min=300,negative-ttl=5 --resolver vpc:serve-stale=1d
  postern dev --accounts 2
  postern dev --listen-api 127.0.0.1:0 --ready-file ready.json -o json` + resolverHelp
}

// Validate is called by kong.
func (c *devCmd) Validate() error {
	switch {
	case c.Nodes != 1 && c.Nodes != 3 && c.Nodes != 5:
		return fmt.Errorf("--nodes %d: want 1, 3 or 5, so that a majority is clear", c.Nodes)
	case c.Edges < 1 || c.Edges > 64:
		return fmt.Errorf("--edges %d: want 1 to 64", c.Edges)
	case c.Accounts < 0 || c.Accounts > dev.MaxAccounts:
		return fmt.Errorf("--accounts %d: want 0 to %d", c.Accounts, dev.MaxAccounts)
	case c.EdgePort < 0 || c.EdgePort > 65535:
		return fmt.Errorf("--edge-port %d: want 0 to 65535", c.EdgePort)
	}
	return nil
}

func (c *devCmd) Run(ctx context.Context, g *globals) error {
	started := time.Now()
	settings, err := c.settings()
	if err != nil {
		return err
	}
	cluster, err := dev.New(dev.Config{
		Nodes: c.Nodes, Edges: c.Edges, Accounts: c.Accounts, Data: c.Data,
		API: c.API, GRPC: c.GRPC, Admin: c.Admin, DNS: c.DNS, Proxy: c.Proxy,
		AuthorityPort: c.DNSPort, Notify: c.Notify, Transfer: c.AllowTransfer, Resolvers: c.Resolvers, EdgePort: c.EdgePort,
		Settings: settings, DefaultProfile: "fast",
		Logger: g.logger(slog.LevelWarn),
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- cluster.Run(ctx) }()
	select {
	case <-cluster.Ready():
	case err := <-ended:
		if ctx.Err() != nil && err == nil {
			return nil
		}
		return fmt.Errorf("start: %w", errors.Join(err, ctx.Err()))
	}
	if err := c.announce(g, cluster.Addresses(), time.Since(started)); err != nil {
		stop()
		return errors.Join(err, <-ended)
	}
	return <-ended
}

func (c *devCmd) announce(g *globals, a dev.Addresses, took time.Duration) error {
	if c.ReadyFile != "" {
		if err := writeReadyFile(c.ReadyFile, a); err != nil {
			return err
		}
	}
	if g.Output == "json" {
		writeJSON(g.stdout, a)
		return nil
	}
	fmt.Fprintf(g.stdout, "Postern is ready: %d nodes, %d edges, DNS (%d ms)\n\n", c.Nodes, c.Edges, took.Milliseconds())
	rows := [][]string{
		{"  AWS-compatible API", "http://" + a.API},
		{"  gRPC", fmt.Sprint(a.GRPC)},
		{"  health, metrics", "http://" + a.Admin + "/metrics"},
		{"  public resolver", a.DNS},
	}
	for _, name := range slices.Sorted(maps.Keys(a.Resolvers)) {
		rows = append(rows, []string{"  resolver " + name, a.Resolvers[name]})
	}
	table(g.stdout, append(rows, [][]string{
		{"  public APIs", "https://" + a.Public},
		{"  proxy into VPCs", a.Proxy + "  (user name: a VPC id, \"internet\" or \"onprem\")"},
		{"  CA certificate", a.CA},
		{"  data", a.Data},
	}...))
	fmt.Fprintf(g.stdout, `
Point AWS clients at it:

  export AWS_ENDPOINT_URL=http://%s AWS_DEFAULT_REGION=us-west-2
  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test

`, a.API)
	for _, account := range a.Accounts {
		if account.SecretAccessKey == "" {
			fmt.Fprintf(g.stdout, "  # account %s has a root access key from before\n", account.ID)
			continue
		}
		fmt.Fprintf(g.stdout, "  # account %s\n  export AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s\n", account.ID, account.AccessKeyID, account.SecretAccessKey)
	}
	if len(a.Accounts) > 0 {
		fmt.Fprintln(g.stdout)
	}
	if a.API != "127.0.0.1:4780" {
		fmt.Fprintf(g.stdout, "  export POSTERN_API=http://%s\n\n", a.API)
	}
	fmt.Fprintln(g.stdout, "Any 12-digit access key id is an account of its own. Ctrl-C stops it.")
	return nil
}

// writeReadyFile writes the addresses so that a reader never sees half of them.
func writeReadyFile(name string, a dev.Addresses) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(name), ".ready-*")
	if err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	defer os.Remove(temp.Name())
	if _, err := temp.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	if err := temp.Close(); err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	return os.Rename(temp.Name(), name)
}
