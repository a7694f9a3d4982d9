// Package controlplane assembles one control-plane node from its parts: the
// cluster node, the services on it, the gateway in front of them, and the
// publisher behind them.
//
// It owns the node's two listeners (AWS-compatible HTTP with gRPC in the clear
// on loopback; gRPC and raft over mutual TLS) and who may call what. It leaves
// every decision to the packages that it composes.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/cluster"
	"github.com/posternhq/postern/controlplane/constraint"
	"github.com/posternhq/postern/controlplane/dnsfeed"
	"github.com/posternhq/postern/controlplane/gateway"
	"github.com/posternhq/postern/controlplane/guard"
	"github.com/posternhq/postern/controlplane/publish"
	"github.com/posternhq/postern/controlplane/rpc"
	"github.com/posternhq/postern/controlplane/service"
	"github.com/posternhq/postern/controlplane/snapshot"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/internal/netx"
	"github.com/posternhq/postern/internal/pki"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
	route53v1 "github.com/posternhq/postern/proto/postern/route53/v1"
	stsv1 "github.com/posternhq/postern/proto/postern/sts/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// The protocols that a node's TLS listener tells apart.
const (
	alpnRaft = "postern-raft"
	alpnGRPC = "h2"
)

// handshakeTimeout bounds a TLS handshake on the node's listener.
const handshakeTimeout = 5 * time.Second

// Config of a Server.
type Config struct {
	// ID is the node's name in the cluster; Dir holds its log and raft snapshots.
	ID  string
	Dir string
	// CA signs certificates for edges and seals secrets; Identity is this node's own (role server).
	CA       *pki.CA
	Identity *pki.Identity
	// GRPC takes gRPC and raft, told apart by ALPN after a TLS handshake that
	// the server makes itself. API takes AWS's protocols over HTTP; it must be a
	// loopback listener under Auth "none".
	GRPC net.Listener
	API  net.Listener
	// Advertise is the address that other nodes and edges dial; GRPC's own if empty.
	Advertise string
	// Bootstrap lists the first voters, on every one of them alike; empty for a node that joins.
	Bootstrap []cluster.Server
	// Join lists addresses of running nodes, one of which will be asked to add this one.
	Join []string
	// Settings are committed once the node is up; nil leaves what is recorded.
	Settings *adminv1.Settings
	// Auth is AuthSigV4 or AuthNone.
	Auth string
	// RootKey is told the first access key of a new cluster's first account, under
	// AuthSigV4, once; it is stored nowhere in clear.
	RootKey    func(account, id, secret string)
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Cluster tunes consensus; zero values take the defaults of package cluster.
	HeartbeatTimeout, ElectionTimeout time.Duration
	KeepLeadership                    bool
}

// How callers are known.
const (
	// AuthSigV4: by signatures, and they may do what their policies allow.
	AuthSigV4 = "sigv4"
	// AuthNone: not at all.
	AuthNone = "none"
)

// Server is one control-plane node.
type Server struct {
	cfg       Config
	node      *cluster.Node
	rpc       *rpc.Server
	guard     *guard.Guard // nil: nobody is asked who he is
	peers     *rpc.Peers
	publisher *publish.Publisher
	barrier   *publish.Barrier
	splitter  *netx.ALPNSplitter
	grpc      *grpc.Server
	clear     *grpc.Server
	http      *http.Server
	settled   atomic.Bool
	writes    service.Config // of what the node writes by itself
}

// New assembles a node; nothing is started before Run.
func New(cfg Config) (*Server, error) {
	switch cfg.Auth {
	case AuthSigV4:
	case AuthNone:
		for _, ln := range []net.Listener{cfg.API, cfg.GRPC} {
			if !loopback(ln.Addr()) {
				return nil, fmt.Errorf("listener %s: with auth %q anybody who reaches it may change everything, so it must be on loopback", ln.Addr(), AuthNone)
			}
		}
	default:
		return nil, fmt.Errorf("auth %q is neither %q nor %q", cfg.Auth, AuthSigV4, AuthNone)
	}
	if cfg.Advertise == "" {
		cfg.Advertise = cfg.GRPC.Addr().String()
	}
	s := &Server{cfg: cfg}
	serverTLS := cfg.Identity.ClientTLS([]pki.Role{pki.RoleServer}, alpnGRPC)
	s.peers = rpc.NewPeers(credentials.NewTLS(serverTLS))
	s.splitter = netx.SplitALPN(cfg.GRPC, cfg.Identity.ServerTLS(), handshakeTimeout, alpnRaft, alpnGRPC)

	var err error
	s.node, err = cluster.New(cluster.Config{
		ID:               cfg.ID,
		Dir:              cfg.Dir,
		Address:          cfg.Advertise,
		Stream:           newStream(s.splitter.Listener(alpnRaft), cfg.Advertise, cfg.Identity),
		Bootstrap:        cfg.Bootstrap,
		PeerConn:         s.peers.Conn,
		Logger:           cfg.Logger.With("component", "cluster", "node", cfg.ID),
		Registerer:       cfg.Registerer,
		HeartbeatTimeout: cfg.HeartbeatTimeout,
		ElectionTimeout:  cfg.ElectionTimeout,
		KeepLeadership:   cfg.KeepLeadership,
	})
	if err != nil {
		return nil, fmt.Errorf("cluster node %s: %w", cfg.ID, err)
	}
	keyring, err := cfg.CA.Keyring()
	if err != nil {
		return nil, err
	}
	chain := rpc.Config{
		Leadership: s.node,
		Peer:       s.peers.Conn,
		Identify:   s.identify,
		Validate:   constraint.Validate,
		Logger:     cfg.Logger,
		Registerer: cfg.Registerer,
	}
	if cfg.Auth == AuthSigV4 {
		s.guard = s.newGuard(keyring)
		chain.Authorize = s.guard.Authorize
	}
	s.rpc = rpc.New(chain)
	if err := s.publish(keyring); err != nil {
		return nil, err
	}
	s.services(keyring)
	return s, s.fronts()
}

func loopback(a net.Addr) bool {
	ap, err := netip.ParseAddrPort(a.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// publish assembles what carries Views to the places, and the barrier.
func (s *Server) publish(keyring *pki.Keyring) error {
	s.barrier = publish.NewBarrier(publish.BarrierConfig{View: s.leaderView, Store: s.node.Store(), Term: s.node.Term})
	var err error
	s.publisher, err = publish.New(publish.Config{
		Node:  s.cfg.ID,
		Store: s.node.Store(),
		Sources: map[syncv1.Domain]snapshot.Source{
			syncv1.Domain_DOMAIN_EDGE: snapshot.NewBuilder(snapshot.Config{Keyring: keyring, Logger: s.cfg.Logger.With("component", "snapshot", "node", s.cfg.ID)}),
			syncv1.Domain_DOMAIN_DNS:  dnsfeed.NewBuilder(),
		},
		Signer:          s.cfg.Identity,
		Register:        s.register,
		Authorize:       authorizePlace,
		SignCertificate: s.signCertificate,
		Barrier:         s.barrier,
		Leader:          s.leaderConn,
		Logger:          s.cfg.Logger.With("component", "publish", "node", s.cfg.ID),
		Registerer:      s.cfg.Registerer,
	})
	return err
}

// register makes places count in barriers: a write like any other.
func (s *Server) register(ctx context.Context, req *adminv1.RegisterPlacesRequest) error {
	_, err := adminv1.NewAdminClient(s.rpc.Conn()).RegisterPlaces(s.as(ctx), req)
	return err
}

// leaderView is the barrier's: a linearizable View of the node that leads.
func (s *Server) leaderView(ctx context.Context) (*state.View, error) {
	if !s.node.IsLeader() {
		return nil, publish.ErrNotLeader
	}
	return s.node.ReadView(ctx)
}

// signCertificate signs for an edge. It may name serving names only, of whatever region.
func (s *Server) signCertificate(ctx context.Context, csr []byte) ([][]byte, error) {
	if role, _, ok := roleOf(ctx); !ok || role != pki.RoleEdge {
		return nil, status.Error(codes.PermissionDenied, "only edges serve under the names of APIs")
	}
	chain, err := s.cfg.CA.SignServing(csr, nil)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return chain, nil
}

// follow tells the barrier when this node begins and ceases to lead.
func (s *Server) follow(ctx context.Context) error {
	for {
		changed := s.node.LeadershipChanged()
		s.barrier.SetLeading(s.node.IsLeader())
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// leaderConn returns a connection to the leader; self says that it is this node.
func (s *Server) leaderConn() (conn grpc.ClientConnInterface, self bool) {
	if s.node.IsLeader() {
		return nil, true
	}
	_, address := s.node.Leader()
	if address == "" {
		return nil, false
	}
	conn, err := s.peers.Conn(address)
	if err != nil {
		return nil, false
	}
	return conn, false
}

// services registers every service with the chain of interceptors.
func (s *Server) services(keyring *pki.Keyring) {
	cfg := service.Config{Cluster: proposer{s.node}, Logger: s.cfg.Logger, Keyring: keyring}
	s.writes = cfg
	apigatewayv1.RegisterApiGatewayServer(s.rpc, service.NewAPIGateway(cfg))
	ec2v1.RegisterEC2Server(s.rpc, service.NewEC2(cfg))
	iamv1.RegisterIAMServer(s.rpc, service.NewIAM(cfg))
	stsv1.RegisterSTSServer(s.rpc, service.NewSTS(cfg))
	route53v1.RegisterRoute53Server(s.rpc, service.NewRoute53(cfg))
	adminv1.RegisterAdminServer(s.rpc, service.NewAdmin(service.AdminConfig{
		Config: cfg, Membership: membership{s.node, s.peers.Conn}, Places: s.barrier, Questions: s.questions(), Peer: s.peers.Conn, AllowReset: s.cfg.Auth == AuthNone,
	}))
	clusterv1.RegisterPeerServer(s.rpc, peerServer{PeerServer: s.node.PeerServer(), node: s.node, barrier: s.barrier, publisher: s.publisher})
	syncv1.RegisterEdgeSyncServer(s.rpc, s.publisher)
}

// maxMessage bounds a gRPC message: a full snapshot of ten thousand APIs fits.
const maxMessage = 256 << 20

// fronts assembles the servers of the two listeners.
func (s *Server) fronts() error {
	chain := s.interceptors()
	s.grpc = grpc.NewServer(append(slices.Clip(chain),
		grpc.Creds(rpc.Secured()),
		rpc.AllowPings(),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		// Thousands of streams share a node: gRPC's 32 KB a connection and
		// direction would be most of its memory.
		grpc.WriteBufferSize(8<<10), grpc.ReadBufferSize(8<<10),
	)...)
	// In the clear: operators' and clients' calls only, on loopback.
	s.clear = grpc.NewServer(chain...)
	for _, g := range []*grpc.Server{s.grpc, s.clear} {
		s.rpc.AttachTo(g)
		healthv1.RegisterHealthServer(g, health.NewServer())
		reflection.Register(g)
	}
	var auth gateway.Authenticator
	if s.guard != nil {
		auth = httpAuth{s.guard}
	}
	front, err := gateway.New(gateway.Config{
		Conn: s.rpc.Conn(), Auth: auth, Logger: s.cfg.Logger.With("component", "gateway", "node", s.cfg.ID), GRPC: s.clear, CA: s.cfg.CA.PEM,
	})
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler:           front,
		Protocols:         protocols,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.With("component", "gateway").Handler(), slog.LevelDebug),
	}
	return nil
}

// Run serves until ctx ends, then drains: calls under way finish, streams are
// ended, the node leaves the leadership to another and closes its log.
func (s *Server) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	// Consensus outlives the fronts, so that calls under way can commit.
	inner, stopInner := context.WithCancel(context.WithoutCancel(ctx))
	defer stopInner()
	g.Go(func() error { return s.splitter.Run(inner) })
	g.Go(func() error { return s.node.Run(inner) })
	g.Go(func() error { return s.publisher.Run(inner) })
	g.Go(func() error { return s.follow(inner) })
	g.Go(func() error { return s.days(inner, s.writes) })
	g.Go(func() error {
		if err := s.grpc.Serve(s.splitter.Listener(alpnGRPC)); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			return fmt.Errorf("serve gRPC: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		if err := s.http.Serve(s.cfg.API); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve the API: %w", err)
		}
		return nil
	})
	g.Go(func() error { return s.settle(gctx) })
	g.Go(func() error { return s.found(gctx) })
	if len(s.cfg.Join) > 0 {
		g.Go(func() error { return s.join(gctx) })
	}
	g.Go(func() error {
		<-gctx.Done()
		s.drain()
		stopInner()
		return nil
	})
	err := g.Wait()
	return errors.Join(err, s.peers.Close())
}

// drainPatience bounds how long calls under way may take at the end.
const drainPatience = 2 * time.Second

func (s *Server) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), drainPatience)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	s.clear.Stop()
	// Streams of edges never end by themselves, so this server is stopped, not
	// drained; unary calls over it come from nodes, which try again.
	s.grpc.Stop()
}

// settle commits the settings that were given at start, through whichever node leads.
func (s *Server) settle(ctx context.Context) error {
	if s.cfg.Settings == nil || proto.Equal(s.cfg.Settings, &adminv1.Settings{}) {
		s.settled.Store(true)
		return nil
	}
	client := adminv1.NewAdminClient(s.rpc.Conn())
	for {
		_, err := client.UpdateSettings(s.as(ctx), &adminv1.UpdateSettingsRequest{Settings: s.cfg.Settings})
		if err == nil {
			s.settled.Store(true)
			return nil
		}
		if Permanent(err) {
			return fmt.Errorf("settings: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Ready returns why the node is not ready to serve, nil when it is.
func (s *Server) Ready() error {
	if err := s.node.Ready(); err != nil {
		return err
	}
	if !s.settled.Load() {
		return errors.New("the settings given at start are not committed yet")
	}
	return nil
}

// Node is the cluster node, for tests and for the one-process laboratory.
func (s *Server) Node() *cluster.Node { return s.node }

// Conn calls the node's services in this process.
func (s *Server) Conn() grpc.ClientConnInterface { return s.rpc.Conn() }

// DataDir is the folder of a node below a data folder.
func DataDir(data, id string) string { return filepath.Join(data, "nodes", id) }
