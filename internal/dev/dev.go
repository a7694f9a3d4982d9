// Package dev runs a whole cluster in one process on loopback: control-plane
// nodes, edges, a DNS server and the proxy into VPCs, with a CA of its own.
//
// It owns the wiring and the data folder's layout, and nothing that any of the
// roles does. The commands `dev` and `demo` and the tests of whole clusters use
// it; the roles run just as they do in processes of their own.
package dev

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane"
	"github.com/posternhq/postern/controlplane/cluster"
	"github.com/posternhq/postern/controlplane/rpc"
	"github.com/posternhq/postern/dataplane"
	"github.com/posternhq/postern/dnsprop"
	dnsreceive "github.com/posternhq/postern/dnsprop/receive"
	"github.com/posternhq/postern/internal/debughttp"
	"github.com/posternhq/postern/internal/netx"
	"github.com/posternhq/postern/internal/pki"
	"github.com/posternhq/postern/internal/vpcclient"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

// Config of a Cluster. Empty addresses take free ports of 127.0.0.1.
type Config struct {
	Nodes, Edges int
	// Data is kept and continued; empty: a temporary folder, removed by Run.
	Data string

	API, GRPC, Admin, DNS, Proxy string
	// Accounts is how many accounts are made with an access key each, at most
	// MaxAccounts.
	Accounts int
	// AuthorityPort is the first of four; 0 takes free ones.
	AuthorityPort int
	// Notify, Transfer and Resolvers are dnsprop.Config's.
	Notify    []string
	Transfer  []netip.Prefix
	Resolvers []dnsprop.NamedResolver
	// EdgePort is that of endpoint addresses and of the public listener; 0 takes a free one.
	EdgePort int

	// Settings are committed once the cluster is up. DefaultProfile is the DNS
	// profile if none was ever recorded or given.
	Settings       *adminv1.Settings
	DefaultProfile string

	// MaxStaleness makes edges deny beyond it; 0: never.
	MaxStaleness time.Duration
	// TrustedProxies may say, by PROXY v2, where a connection came from.
	TrustedProxies []netip.Prefix
	Logger         *slog.Logger
}

// Addresses say where everything is: the content of a ready file.
type Addresses struct {
	API   string   `json:"api"`
	GRPC  []string `json:"grpc"`
	Admin string   `json:"admin"`
	DNS   string   `json:"dns"`
	// Resolvers are the named ones.
	Resolvers map[string]string `json:"resolvers,omitempty"`
	EdgePort  int               `json:"edge_port"`
	Public    string            `json:"public"`
	Proxy     string            `json:"proxy"`
	CA        string            `json:"ca"`
	Data      string            `json:"data"`
	// Accounts are those that were wished for.
	Accounts []Account `json:"accounts,omitempty"`
}

// Cluster is one process's cluster.
type Cluster struct {
	cfg       Config
	addresses Addresses
	temporary bool
	unlock    func() error
	ca        *pki.CA
	registry  *prometheus.Registry

	nodes     []*controlplane.Server
	edges     []*dataplane.Node
	dns       *dnsprop.Server
	dnsSupply *dnsreceive.Receiver
	proxy     *vpcclient.Proxy
	admin     *debughttp.Server
	ready     chan struct{}
}

// New opens the data folder and all listeners and assembles the roles. What
// New returns must be run, or it keeps its ports; an error leaves nothing open.
func New(cfg Config) (_ *Cluster, err error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Nodes == 0 {
		cfg.Nodes = 1
	}
	if cfg.Edges == 0 {
		cfg.Edges = 1
	}
	c := &Cluster{cfg: cfg, ready: make(chan struct{}), registry: prometheus.NewRegistry()}
	c.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var open listeners
	defer func() {
		if err != nil {
			open.close()
			err = errors.Join(err, c.closeData())
		}
	}()
	if err := c.openData(); err != nil {
		return nil, err
	}
	if c.ca, err = pki.LoadOrCreateCA(c.addresses.Data); err != nil {
		return nil, err
	}
	c.addresses.CA = filepath.Join(c.addresses.Data, "ca.pem")
	for _, assemble := range []func(*listeners) error{c.assembleNodes, c.assembleEdges, c.assembleDNS, c.assembleProxy, c.assembleAdmin} {
		if err := assemble(&open); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Addresses are known as soon as New has returned.
func (c *Cluster) Addresses() Addresses { return c.addresses }

// Ready is closed when every role is ready, the settings are committed and all
// places have registered.
func (c *Cluster) Ready() <-chan struct{} { return c.ready }

// Nodes are the control-plane nodes, for tests.
func (c *Cluster) Nodes() []*controlplane.Server { return c.nodes }

// Conn calls the services of the first node, in this process.
func (c *Cluster) Conn() grpc.ClientConnInterface { return c.nodes[0].Conn() }

// Gatherer holds the metrics of all roles, each with the id of its node, edge or server.
func (c *Cluster) Gatherer() prometheus.Gatherer { return c.registry }

func (c *Cluster) registerer(label, id string) prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{label: id}, c.registry)
}

func nodeID(i int) string { return "n" + strconv.Itoa(i+1) }
func edgeID(i int) string { return "edge" + strconv.Itoa(i+1) }

const dnsID = "dns1"

func (c *Cluster) assembleNodes(open *listeners) error {
	var grpcListeners []net.Listener
	var voters []cluster.Server
	for i := range c.cfg.Nodes {
		address := c.cfg.GRPC
		if i > 0 {
			address = ""
		}
		ln, err := open.tcp("--listen-grpc", address)
		if err != nil {
			return err
		}
		grpcListeners = append(grpcListeners, ln)
		c.addresses.GRPC = append(c.addresses.GRPC, ln.Addr().String())
		voters = append(voters, cluster.Server{ID: nodeID(i), Address: ln.Addr().String()})
	}
	for i, ln := range grpcListeners {
		identity, err := c.ca.Identity(pki.RoleServer, nodeID(i))
		if err != nil {
			return err
		}
		address := c.cfg.API
		if i > 0 {
			address = "" // one address serves AWS clients; the others are spare
		}
		api, err := open.tcp("--listen-api", address)
		if err != nil {
			return err
		}
		if i == 0 {
			c.addresses.API = api.Addr().String()
		}
		node, err := controlplane.New(controlplane.Config{
			ID: nodeID(i), Dir: controlplane.DataDir(c.addresses.Data, nodeID(i)), CA: c.ca, Identity: identity,
			GRPC: ln, API: api, Bootstrap: voters, KeepLeadership: true, Auth: "none",
			Logger: c.cfg.Logger, Registerer: c.registerer("node", nodeID(i)),
		})
		if err != nil {
			return fmt.Errorf("node %s: %w", nodeID(i), err)
		}
		c.nodes = append(c.nodes, node)
	}
	return nil
}

// dialer returns how a role reaches control-plane nodes.
func dialer(identity *pki.Identity) *rpc.Peers {
	return rpc.NewPeers(credentials.NewTLS(identity.ClientTLS([]pki.Role{pki.RoleServer}, "h2")))
}

func (c *Cluster) assembleEdges(open *listeners) error {
	port := c.cfg.EdgePort
	if port == 0 {
		var err error
		if port, err = open.freePort(); err != nil {
			return err
		}
	}
	c.addresses.EdgePort = port
	c.addresses.Public = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for i := range c.cfg.Edges {
		identity, err := c.ca.Identity(pki.RoleEdge, edgeID(i))
		if err != nil {
			return err
		}
		seal, err := identity.Keyring()
		if err != nil {
			return err
		}
		peers := dialer(identity)
		open.add(peers)
		edge, err := dataplane.New(dataplane.Config{
			ID: edgeID(i), Dir: filepath.Join(c.addresses.Data, "edges", edgeID(i)), Identity: identity, Seal: seal, Servers: c.addresses.GRPC,
			Dial: peers.Conn, Port: port, Public: c.addresses.Public, Network: netx.Host(),
			MaxStaleness: c.cfg.MaxStaleness, TrustedProxies: c.cfg.TrustedProxies,
			Logger: c.cfg.Logger, Registerer: c.registerer("edge", edgeID(i)),
		})
		if err != nil {
			return fmt.Errorf("edge %s: %w", edgeID(i), err)
		}
		c.edges = append(c.edges, edge)
	}
	return nil
}

func (c *Cluster) assembleDNS(open *listeners) error {
	identity, err := c.ca.Identity(pki.RoleDNS, dnsID)
	if err != nil {
		return err
	}
	seal, err := identity.Keyring()
	if err != nil {
		return err
	}
	cfg := dnsprop.Config{ID: dnsID, Resolver: c.cfg.DNS, Notify: c.cfg.Notify, Transfer: c.cfg.Transfer, Resolvers: c.cfg.Resolvers, Logger: c.cfg.Logger, Registerer: c.registerer("server", dnsID)}
	if cfg.Resolver == "" {
		cfg.Resolver = "127.0.0.1:0"
	}
	for i := range cfg.Authorities {
		port := 0
		if c.cfg.AuthorityPort != 0 {
			port = c.cfg.AuthorityPort + i
		}
		cfg.Authorities[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	if c.dns, err = dnsprop.New(cfg); err != nil {
		return err
	}
	// Bound now, so that the address is known and a taken port is an error here.
	if err := c.dns.Listen(context.Background()); err != nil {
		return err
	}
	_, c.addresses.DNS = c.dns.Addresses()
	c.addresses.Resolvers = c.dns.NamedResolvers()
	peers := dialer(identity)
	open.add(peers)
	c.dnsSupply, err = dnsreceive.New(dnsreceive.Config{
		ID: dnsID, Server: c.dns, Dir: filepath.Join(c.addresses.Data, "dns"), Seal: seal, Servers: c.addresses.GRPC,
		Dial: peers.Conn, Verify: identity.Verify, Logger: c.cfg.Logger.With("component", "dns"),
	})
	return err
}

func (c *Cluster) assembleProxy(open *listeners) error {
	dns, err := netip.ParseAddrPort(c.addresses.DNS)
	if err != nil {
		return fmt.Errorf("address of the resolver: %w", err)
	}
	// Over the network, not in process: waiting for the edges is a stream.
	conn, err := localConn(c.addresses.API)
	if err != nil {
		return err
	}
	open.add(conn)
	placer := &vpcclient.Placer{Admin: adminv1.NewAdminClient(conn), DNSPort: dns.Port()}
	address := c.cfg.Proxy
	if address == "" {
		address = "127.0.0.1:0"
	}
	c.proxy, err = vpcclient.New(vpcclient.Config{
		Network: netx.Host(), Addr: address, EdgePort: uint16(c.addresses.EdgePort), Resolve: placer.Place,
		Logger: c.cfg.Logger.With("component", "vpcclient"),
	})
	if err != nil {
		return err
	}
	c.addresses.Proxy, err = c.proxy.Listen(context.Background())
	return err
}

func (c *Cluster) assembleAdmin(open *listeners) error {
	ln, err := open.tcp("--listen-admin", c.cfg.Admin)
	if err != nil {
		return err
	}
	c.addresses.Admin = ln.Addr().String()
	c.admin = debughttp.New(debughttp.Config{Listener: ln, Gatherer: c.registry, Ready: c.notReady})
	return nil
}

// notReady returns why some role is not ready.
func (c *Cluster) notReady() error {
	for _, n := range c.nodes {
		if err := n.Ready(); err != nil {
			return err
		}
	}
	for _, e := range c.edges {
		if err := e.Ready(); err != nil {
			return err
		}
	}
	return c.dns.Ready()
}

// Run runs all roles until ctx ends: the edges and DNS stop first, so that they
// never serve beside a control plane that is half gone, then the nodes.
func (c *Cluster) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, c.closeData()) }()
	inner, stopNodes := context.WithCancel(context.WithoutCancel(ctx))
	defer stopNodes()
	var nodes errgroup.Group
	planes, pctx := errgroup.WithContext(ctx)
	for _, n := range c.nodes {
		nodes.Go(func() error { return n.Run(inner) })
	}
	// A node that fails takes the others along.
	failed := make(chan error, 1)
	go func() { failed <- nodes.Wait() }()
	planes.Go(func() error { return c.admin.Run(pctx) })
	planes.Go(func() error { return c.proxy.Run(pctx) })
	planes.Go(func() error { return c.dnsSupply.Run(pctx) })
	for _, e := range c.edges {
		planes.Go(func() error { return e.Run(pctx) })
	}
	planes.Go(func() error { return c.start(pctx) })
	planes.Go(func() error {
		select {
		case err := <-failed:
			failed <- err
			if err == nil {
				err = errors.New("the nodes stopped")
			}
			return err
		case <-pctx.Done():
			return nil
		}
	})
	err = planes.Wait()
	stopNodes()
	return errors.Join(err, <-failed)
}

// start brings the cluster to readiness: settings, stale places, the barrier.
func (c *Cluster) start(ctx context.Context) error {
	conn, err := localConn(c.addresses.API)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := adminv1.NewAdminClient(conn)
	if err := c.settle(ctx, client); err != nil || ctx.Err() != nil {
		return err
	}
	if err := c.makeAccounts(ctx, client); err != nil || ctx.Err() != nil {
		return err
	}
	if err := c.dropStalePlaces(ctx, client); err != nil || ctx.Err() != nil {
		return err
	}
	for c.notReady() != nil || !c.registered(ctx, client) {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(5 * time.Millisecond):
		}
	}
	close(c.ready)
	return nil
}

// settle commits the settings, once there is a leader.
func (c *Cluster) settle(ctx context.Context, client adminv1.AdminClient) error {
	settings := &adminv1.Settings{}
	if c.cfg.Settings != nil {
		settings = proto.CloneOf(c.cfg.Settings)
	}
	for {
		err := c.trySettle(ctx, client, settings)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if controlplane.Permanent(err) {
			return fmt.Errorf("settings: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *Cluster) trySettle(ctx context.Context, client adminv1.AdminClient, settings *adminv1.Settings) error {
	// A folder that has recorded a profile keeps it unless another is given.
	if settings.DnsProfile == nil && c.cfg.DefaultProfile != "" {
		status, err := client.GetSettings(ctx, &adminv1.GetSettingsRequest{})
		if err != nil {
			return err
		}
		if !status.GetRecorded() {
			settings.DnsProfile = &c.cfg.DefaultProfile
		}
	}
	_, err := client.UpdateSettings(ctx, &adminv1.UpdateSettingsRequest{Settings: settings})
	return err
}

// dropStalePlaces removes the places of this folder that are no longer started:
// they would block every barrier.
func (c *Cluster) dropStalePlaces(ctx context.Context, client adminv1.AdminClient) error {
	known, err := client.Status(ctx, &adminv1.StatusRequest{})
	if err != nil {
		return fmt.Errorf("list places: %w", err)
	}
	started := map[string]bool{}
	for i := range c.cfg.Edges {
		started[edgeID(i)] = true
	}
	for _, p := range c.dns.Places() {
		started[p.GetId()] = true
	}
	for _, p := range known.GetPlaces() {
		if !started[p.GetId()] {
			// Gone already is as good: whoever carries places registers exactly those it has.
			if _, err := client.RemovePlace(ctx, &adminv1.RemovePlaceRequest{Id: p.GetId()}); err != nil && status.Code(err) != codes.NotFound {
				return fmt.Errorf("remove place %s, which is no longer started: %w", p.GetId(), err)
			}
		}
	}
	return nil
}

// registered says whether every place of this cluster counts in barriers.
func (c *Cluster) registered(ctx context.Context, client adminv1.AdminClient) bool {
	status, err := client.Status(ctx, &adminv1.StatusRequest{})
	return err == nil && len(status.GetPlaces()) == len(c.edges)+len(c.dns.Places())
}
