// Package dataplane assembles one edge from its parts: the stream of snapshots
// that supplies it, the compiler, the listeners and the certificate it serves
// with.
//
// It owns the edge's data folder and its way out (--leave). It leaves what is
// served, and to whom, to the packages it composes. A Node is for one Run.
package dataplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/posternhq/postern/dataplane/compile"
	"github.com/posternhq/postern/dataplane/edge"
	"github.com/posternhq/postern/dataplane/integration"
	"github.com/posternhq/postern/dataplane/receive"
	"github.com/posternhq/postern/internal/netx"
	"github.com/posternhq/postern/internal/pki"
	"github.com/posternhq/postern/internal/syncclient"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// Config of a Node.
type Config struct {
	// ID names the edge, as its certificate does; Dir holds its instance number,
	// its cache and its serving certificate.
	ID       string
	Dir      string
	Identity *pki.Identity
	// Seal keeps the cache unreadable without the role's own key.
	Seal *pki.Keyring
	// Servers are gRPC addresses of control-plane nodes; any of them will do.
	Servers []string
	// Dial connects to one of them.
	Dial func(address string) (grpc.ClientConnInterface, error)
	// AZs limits the network interfaces that are served, VPCs the endpoints that
	// are received; none means all.
	AZs  []string
	VPCs []string
	// Port is that of network interfaces; Public is host:port of the public listener, empty for none.
	Port    int
	Public  string
	Network netx.Network
	// MaxStaleness makes the edge deny when the last word of the control plane is older; 0: never.
	MaxStaleness   time.Duration
	TrustedProxies []netip.Prefix
	// NoPosternHeaders leaves x-postern-version and x-postern-decision out of answers.
	NoPosternHeaders bool
	// Denials is how many refusals are kept to be explained; 0 means edge.DefaultDenials, less than 0 none.
	Denials int
	// Leave, at the end: remove the place from barriers, and the cache with it.
	Leave func(ctx context.Context, place string) error

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Node is one edge.
type Node struct {
	cfg     Config
	edge    *edge.Edge
	receive *receive.Receiver
	removed atomic.Bool
}

// New opens the data folder and assembles the edge; nothing is started before Run.
func New(cfg Config) (*Node, error) {
	n := &Node{cfg: cfg}
	logger := cfg.Logger.With("node", cfg.ID)
	keeper, err := edge.NewKeeper(edge.KeeperConfig{Dir: cfg.Dir, Sign: n.sign, Logger: logger})
	if err != nil {
		return nil, err
	}
	backends := integration.New(integration.Config{Network: cfg.Network})
	n.edge, err = edge.New(edge.Config{
		ID: cfg.ID, AZs: cfg.AZs, Port: uint16(cfg.Port), PublicAddr: cfg.Public, Trusted: cfg.TrustedProxies,
		Network: cfg.Network, Logger: cfg.Logger, Registerer: cfg.Registerer, Keeper: keeper, Backends: backends,
		MaxStaleness: cfg.MaxStaleness, Freshness: n.freshness, Headers: !cfg.NoPosternHeaders, Denials: cfg.Denials,
	})
	if err != nil {
		return nil, err
	}
	n.receive, err = receive.New(receive.Config{
		ID: cfg.ID, AZ: strings.Join(cfg.AZs, ","), Address: cfg.Public, MaxStaleness: cfg.MaxStaleness, VPCs: cfg.VPCs,
		Dir: cfg.Dir, Seal: cfg.Seal, Servers: cfg.Servers, Dial: cfg.Dial, Verify: cfg.Identity.Verify,
		Compile: compile.Config{Integration: n.edge.Prepare}, Installer: n.edge, Decisions: n.edge, Logger: logger.With("component", "receive"),
	})
	if err != nil {
		return nil, fmt.Errorf("edge %s: %w", cfg.ID, err)
	}
	return n, nil
}

func (n *Node) freshness() time.Duration { return n.receive.Freshness() }

// sign has a control-plane node sign the key that the edge serves with.
func (n *Node) sign(ctx context.Context, csr []byte) ([][]byte, error) {
	conn, err := n.cfg.Dial(n.cfg.Servers[rand.IntN(len(n.cfg.Servers))])
	if err != nil {
		return nil, err
	}
	answer, err := syncv1.NewEdgeSyncClient(conn).SignCertificate(ctx, &syncv1.SignCertificateRequest{Csr: csr})
	if err != nil {
		return nil, err
	}
	return answer.GetChain(), nil
}

// Run serves until ctx ends. An edge that an operator removed goes on running,
// and denies: ending would free its addresses for nobody to say so.
func (n *Node) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.edge.Run(gctx) })
	g.Go(func() error {
		err := n.receive.Run(gctx)
		if errors.Is(err, syncclient.ErrRemoved) {
			n.removed.Store(true)
			n.cfg.Logger.Error("removed from the cluster: this edge denies everything", "component", "edge", "node", n.cfg.ID)
			<-gctx.Done()
			return nil
		}
		return err
	})
	err := g.Wait()
	if n.cfg.Leave != nil && ctx.Err() != nil && err == nil {
		return n.leave(context.WithoutCancel(ctx))
	}
	return err
}

// leavePatience bounds how long a leaving edge tries to say so.
const leavePatience = 10 * time.Second

// leave ends the edge's part in barriers. Its listeners are closed by now; its
// cache goes first, since what it holds must not serve again afterwards.
func (n *Node) leave(ctx context.Context) error {
	if err := n.receive.Discard(); err != nil {
		return fmt.Errorf("discard the cache: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, leavePatience)
	defer cancel()
	return n.cfg.Leave(ctx, n.cfg.ID)
}

// Ready returns why the edge does not serve, nil when it does.
func (n *Node) Ready() error {
	if n.removed.Load() {
		return errors.New("removed from the cluster by an operator")
	}
	if err := n.receive.Ready(); err != nil {
		return err
	}
	return n.edge.Ready()
}

// Version is the version that the edge decides by, 0 for none.
func (n *Node) Version() uint64 { return n.receive.Index() }
