package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/cluster"
	"github.com/posternhq/postern/controlplane/state"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// lab is a cluster on loopback TCP. An address, once given to an id, stays.
type lab struct {
	t    testing.TB
	dir  string
	tune func(*cluster.Config)

	mu    sync.Mutex
	raft  map[string]string // id → raft address
	grpc  map[string]string // raft address → gRPC address
	conns map[string]*grpc.ClientConn
	nodes map[string]*labNode
	// cut holds raft addresses whose links are down.
	cut map[string]bool
}

type labNode struct {
	*cluster.Node
	registry *prometheus.Registry
	stop     context.CancelFunc
	ended    chan error
	server   *grpc.Server
}

func newLab(t testing.TB, tune func(*cluster.Config)) *lab {
	t.Helper()
	l := &lab{
		t: t, dir: t.TempDir(), tune: tune,
		raft: map[string]string{}, grpc: map[string]string{}, conns: map[string]*grpc.ClientConn{},
		nodes: map[string]*labNode{}, cut: map[string]bool{},
	}
	t.Cleanup(func() {
		for id := range l.nodes {
			l.stop(id)
		}
		for _, c := range l.conns {
			_ = c.Close()
		}
	})
	return l
}

// stream is raft's connections over plain TCP, with links that can be cut.
type stream struct {
	net.Listener
	lab  *lab
	self string
}

var errCut = errors.New("the link is down")

func (s *stream) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	if s.lab.isCut(s.self, string(to)) {
		return nil, errCut
	}
	c, err := net.DialTimeout("tcp", string(to), timeout)
	if err != nil {
		return nil, err
	}
	return &link{Conn: c, down: func() bool { return s.lab.isCut(s.self, string(to)) }}, nil
}

// link swallows what is sent while it is down, as a broken network does.
type link struct {
	net.Conn
	down func() bool
}

func (c *link) Write(b []byte) (int, error) {
	if c.down() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (l *lab) isCut(addresses ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range addresses {
		if l.cut[a] {
			return true
		}
	}
	return false
}

func (l *lab) setCut(id string, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut[l.raft[id]] = cut
}

func (l *lab) listen(id string) net.Listener {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	address := l.raft[id]
	if address == "" {
		address = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		l.t.Fatal(err)
	}
	l.raft[id] = ln.Addr().String()
	return ln
}

func (l *lab) peerConn(from string) func(string) (grpc.ClientConnInterface, error) {
	return func(to string) (grpc.ClientConnInterface, error) {
		if l.isCut(from, to) {
			return nil, errCut
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		address := l.grpc[to]
		if address == "" {
			return nil, fmt.Errorf("nobody at %s", to)
		}
		if c := l.conns[address]; c != nil {
			return c, nil
		}
		c, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err == nil {
			l.conns[address] = c
		}
		return c, err
	}
}

// start starts founders together, and so knows their addresses before.
func (l *lab) start(founders ...string) {
	l.t.Helper()
	listeners := map[string]net.Listener{}
	var servers []cluster.Server
	for _, id := range founders {
		listeners[id] = l.listen(id)
		servers = append(servers, cluster.Server{ID: id, Address: l.raft[id]})
	}
	for _, id := range founders {
		l.launch(id, listeners[id], servers)
	}
}

// add starts a node that waits to be added, or one that was stopped.
func (l *lab) add(id string) *labNode {
	l.t.Helper()
	return l.launch(id, l.listen(id), nil)
}

func (l *lab) launch(id string, ln net.Listener, bootstrap []cluster.Server) *labNode {
	l.t.Helper()
	n := &labNode{registry: prometheus.NewRegistry(), ended: make(chan error, 1)}
	address := ln.Addr().String()
	cfg := cluster.Config{
		ID: id, Dir: l.folder(id), Address: address, Stream: &stream{ln, l, address}, Bootstrap: bootstrap,
		PeerConn: l.peerConn(address), Registerer: n.registry,
		HeartbeatTimeout: 150 * time.Millisecond, ElectionTimeout: 150 * time.Millisecond, LeaseTimeout: 100 * time.Millisecond,
	}
	if os.Getenv("POSTERN_TEST_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", id)
	}
	if l.tune != nil {
		l.tune(&cfg)
	}
	var err error
	if n.Node, err = cluster.New(cfg); err != nil {
		l.t.Fatal(err)
	}
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	n.server = grpc.NewServer()
	clusterv1.RegisterPeerServer(n.server, n.PeerServer())
	go func() { _ = n.server.Serve(front) }()
	l.mu.Lock()
	l.grpc[address] = front.Addr().String()
	l.nodes[id] = n
	l.mu.Unlock()
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	go func() { n.ended <- n.Run(ctx) }()
	return n
}

// move makes a stopped node start at another address.
func (l *lab) move(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.raft, id)
}

func (l *lab) folder(id string) string { return filepath.Join(l.dir, id) }

func (l *lab) stop(id string) {
	l.mu.Lock()
	n := l.nodes[id]
	delete(l.nodes, id)
	l.mu.Unlock()
	if n == nil {
		return
	}
	n.server.Stop()
	n.stop()
	select {
	case err := <-n.ended:
		if err != nil && !errors.Is(err, cluster.ErrForgotten) {
			l.t.Errorf("node %s: %v", id, err)
		}
	case <-time.After(10 * time.Second):
		l.t.Errorf("node %s does not stop", id)
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
	}
}

// running returns the nodes, for clients that work while nodes come and go.
func (l *lab) running() map[string]*labNode {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.nodes)
}

// eventually waits for a condition; it is the only way that tests wait.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// leader waits for a leader among the nodes that run, but for those named.
func (l *lab) leader(but ...string) (id string) {
	l.t.Helper()
	eventually(l.t, "a leader", func() bool {
		for name, n := range l.nodes {
			excluded := false
			for _, b := range but {
				excluded = excluded || b == name
			}
			if !excluded && n.IsLeader() {
				id = name
				return true
			}
		}
		return false
	})
	return id
}

func (l *lab) ready() {
	l.t.Helper()
	eventually(l.t, "all nodes ready", func() bool {
		for _, n := range l.nodes {
			if n.Ready() != nil {
				return false
			}
		}
		return true
	})
}

func ctx(t testing.TB) context.Context {
	t.Helper()
	c, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return c
}

func key(id string) state.Key {
	return state.Key{Type: statev1.Type_TYPE_REST_API, Account: "1", Region: "r", ID: id}
}

func put(id, value string) *statev1.Txn {
	return &statev1.Txn{Puts: []*statev1.Record{{
		Key:   key(id).Proto(),
		Value: &statev1.Record_RestApi{RestApi: &apigatewayv1.RestApi{Id: proto.String(id), Description: proto.String(value)}},
	}}}
}

func value(v *state.View, id string) string { return v.Get(key(id)).GetRestApi().GetDescription() }

// write proposes on whichever node leads until it is acknowledged.
func (l *lab) write(id, value string) state.Result {
	l.t.Helper()
	var result state.Result
	eventually(l.t, "write "+id, func() bool {
		for _, n := range l.nodes {
			if n.IsLeader() {
				r, err := n.Propose(ctx(l.t), put(id, value))
				result = r
				return err == nil
			}
		}
		return false
	})
	return result
}

// onLeader does something on the leader, again while leaders change under it:
// on a busy machine they do.
func (l *lab) onLeader(do func(*labNode) error) {
	l.t.Helper()
	eventually(l.t, "done on the leader", func() bool {
		err := do(l.nodes[l.leader()])
		if err != nil && !errors.Is(err, cluster.ErrNotLeader) && !errors.Is(err, cluster.ErrUnknownOutcome) {
			l.t.Fatal(err)
		}
		return err == nil
	})
}

// transfer makes a node the leader.
func (l *lab) transfer(to string) {
	l.t.Helper()
	eventually(l.t, to+" leads", func() bool {
		if !l.nodes[to].IsLeader() {
			_ = l.nodes[l.leader()].TransferLeader(ctx(l.t), to)
		}
		return l.nodes[to].IsLeader()
	})
}

func metric(t testing.TB, n *labNode, name string) float64 {
	t.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
