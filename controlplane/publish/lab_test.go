package publish_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/publish"
	"github.com/posternhq/postern/controlplane/snapshot"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dataplane/compile"
	"github.com/posternhq/postern/dataplane/receive"
	"github.com/posternhq/postern/internal/pki"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

const (
	account = "123456789012"
	region  = "us-west-2"
	allow   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"*"}]}`
)

func key(t statev1.Type, id string) *statev1.Key {
	return &statev1.Key{Type: t, Account: account, Region: region, Id: id}
}

func restAPI(id string) *statev1.Record {
	return &statev1.Record{Key: key(statev1.Type_TYPE_REST_API, id), Value: &statev1.Record_RestApi{RestApi: &apigatewayv1.RestApi{
		Id:                    proto.String(id),
		EndpointConfiguration: &apigatewayv1.EndpointConfiguration{Types: &awsv1.StringList{Values: []string{"PRIVATE"}}},
	}}}
}

func deployment(api, id, policy string) *statev1.Record {
	method := &apigatewayv1.Method{HttpMethod: proto.String("GET"), AuthorizationType: proto.String("NONE"),
		MethodIntegration: &apigatewayv1.Integration{Type: proto.String("MOCK")}}
	return &statev1.Record{Key: key(statev1.Type_TYPE_DEPLOYMENT, api+"/"+id), Value: &statev1.Record_Deployment{Deployment: &statev1.Deployment{
		RestApi: &apigatewayv1.RestApi{Id: proto.String(api), Policy: proto.String(policy)},
		Resources: []*apigatewayv1.Resource{
			{Id: proto.String("root"), Path: proto.String("/")},
			{Id: proto.String("pets"), Path: proto.String("/pets"), ResourceMethods: map[string]*apigatewayv1.Method{"GET": method}},
		},
	}}}
}

func stage(api, name, deployment string) *statev1.Record {
	return &statev1.Record{Key: key(statev1.Type_TYPE_STAGE, api+"/"+name), Value: &statev1.Record_Stage{Stage: &apigatewayv1.Stage{
		StageName: proto.String(name), DeploymentId: proto.String(deployment),
	}}}
}

// deployed are the records of an API with a stage prod.
func deployed(api, deploymentID, policy string) []*statev1.Record {
	return []*statev1.Record{restAPI(api), deployment(api, deploymentID, policy), stage(api, "prod", deploymentID)}
}

// lab is a control plane without Raft: what is committed reaches every node that
// is not held back.
type lab struct {
	t       testing.TB
	ca      *pki.CA
	mu      sync.Mutex
	index   uint64
	nodes   []*node
	leading atomic.Pointer[node]
}

type node struct {
	lab     *lab
	id      string
	store   *state.Store
	pub     *publish.Publisher
	barrier *publish.Barrier
	addr    string
	conn    *grpc.ClientConn
	held    bool // guarded by lab.mu
	backlog []entry
	stop    func()
}

type entry struct {
	index uint64
	txn   *statev1.Txn
}

func newLab(t testing.TB, nodes int) *lab {
	ca, err := pki.LoadOrCreateCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, ca: ca}
	for i := range nodes {
		l.nodes = append(l.nodes, l.start(fmt.Sprintf("n%d", i+1)))
	}
	l.lead(l.nodes[0])
	return l
}

func (l *lab) start(id string) *node {
	t := l.t
	n := &node{lab: l, id: id, store: state.New()}
	identity, err := l.ca.Identity(pki.RoleServer, id)
	if err != nil {
		t.Fatal(err)
	}
	n.barrier = publish.NewBarrier(publish.BarrierConfig{Store: n.store, View: func(context.Context) (*state.View, error) {
		if l.leading.Load() != n {
			return nil, publish.ErrNotLeader
		}
		return n.store.View(), nil
	}})
	n.pub, err = publish.New(publish.Config{
		Node: id, Store: n.store, Signer: identity, Barrier: n.barrier,
		Sources: map[syncv1.Domain]snapshot.Source{
			syncv1.Domain_DOMAIN_EDGE: snapshot.NewBuilder(snapshot.Config{}),
			syncv1.Domain_DOMAIN_DNS:  snapshot.NewBuilder(snapshot.Config{}),
		},
		Register: l.register,
		Leader: func() (grpc.ClientConnInterface, bool) {
			leader := l.leading.Load()
			switch leader {
			case nil:
				return nil, false
			case n:
				return nil, true
			}
			return leader.conn, false
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	syncv1.RegisterEdgeSyncServer(server, n.pub)
	clusterv1.RegisterPeerServer(server, peer{barrier: n.barrier})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.addr = listener.Addr().String()
	if n.conn, err = dial(n.addr); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = n.pub.Run(ctx) })
	wg.Go(func() { _ = server.Serve(listener) })
	n.stop = sync.OnceFunc(func() {
		cancel()
		server.Stop()
		_ = n.conn.Close()
		wg.Wait()
	})
	t.Cleanup(n.stop)
	return n
}

type peer struct {
	clusterv1.UnimplementedPeerServer
	barrier *publish.Barrier
}

func (p peer) ReportPlaces(s clusterv1.Peer_ReportPlacesServer) error {
	return p.barrier.ReportPlaces(s)
}

func dial(addr string) (*grpc.ClientConn, error) {
	return grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// lead moves the leadership; nil: nobody leads.
func (l *lab) lead(n *node) {
	for _, other := range l.nodes {
		if other != n {
			other.barrier.SetLeading(false)
		}
	}
	l.leading.Store(n)
	if n != nil {
		n.barrier.SetLeading(true)
	}
}

// commit applies a transaction everywhere and returns its index.
func (l *lab) commit(puts []*statev1.Record, deletes ...*statev1.Key) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index++
	e := entry{l.index, &statev1.Txn{Puts: puts, Deletes: deletes}}
	for _, n := range l.nodes {
		if n.held {
			n.backlog = append(n.backlog, e)
		} else {
			n.store.Apply(e.index, []*statev1.Txn{proto.CloneOf(e.txn)})
		}
	}
	return l.index
}

// hold keeps a node back; release lets it catch up.
func (l *lab) hold(n *node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n.held = true
}

func (l *lab) release(n *node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range n.backlog {
		n.store.Apply(e.index, []*statev1.Txn{proto.CloneOf(e.txn)})
	}
	n.held, n.backlog = false, nil
}

// register is what the admin service of the leader does.
func (l *lab) register(_ context.Context, req *adminv1.RegisterPlacesRequest) error {
	leader := l.leading.Load()
	if leader == nil {
		return errors.New("no leader")
	}
	var puts []*statev1.Record
	for _, p := range req.GetPlaces() {
		old := leader.store.View().Get(state.Key{Type: statev1.Type_TYPE_PLACE, ID: p.GetId()}).GetPlace()
		if old != nil && old.GetInstance() != p.GetInstance() {
			return errors.New("another instance")
		}
		puts = append(puts, &statev1.Record{Key: &statev1.Key{Type: statev1.Type_TYPE_PLACE, Id: p.GetId()}, Value: &statev1.Record_Place{Place: &statev1.Place{
			Id: p.GetId(), Kind: p.GetKind(), Az: p.GetAz(), Address: p.GetAddress(), Instance: p.GetInstance(), MaxStalenessMs: p.GetMaxStalenessMs(), Carrier: p.GetCarrier(),
		}}})
	}
	l.commit(puts)
	return nil
}

func (l *lab) removePlace(id string) {
	l.commit(nil, &statev1.Key{Type: statev1.Type_TYPE_PLACE, Id: id})
}

func (l *lab) verify() func(domain int32, index uint64, setHash, sig, cert []byte) error {
	return pki.NewVerifier(l.ca.Pool()).Verify
}

// edge is a real receiver; what it serves by is the newest table.
type edge struct {
	*receive.Receiver
	table   atomic.Pointer[compile.Table]
	updates atomic.Int64
	pause   chan struct{} // closed: not paused
	stop    func() error
}

func (e *edge) Install(t *compile.Table) {
	<-e.pause
	if old := e.table.Load(); t != nil && old.Index() > t.Index() {
		panic(fmt.Sprintf("version goes back from %d to %d", old.Index(), t.Index()))
	}
	e.table.Store(t)
	e.updates.Add(1)
}

func (l *lab) edge(id string, change func(*receive.Config)) *edge {
	l.t.Helper()
	e := &edge{pause: make(chan struct{})}
	close(e.pause)
	cfg := receive.Config{
		ID: id, AZ: "us-west-2a", Verify: l.verify(), Installer: e,
		Dial: func(addr string) (grpc.ClientConnInterface, error) { return dial(addr) },
	}
	for _, n := range l.nodes {
		cfg.Servers = append(cfg.Servers, n.addr)
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if cfg.Seal, err = l.ca.Keyring(); err != nil {
		l.t.Fatal(err)
	}
	if e.Receiver, err = receive.New(cfg); err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	e.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	l.t.Cleanup(func() { _ = e.stop() })
	return e
}

// joined starts an edge and waits until it counts.
func (l *lab) joined(id string, change func(*receive.Config)) *edge {
	l.t.Helper()
	e := l.edge(id, change)
	eventually(l.t, id+" is registered", func() bool {
		r := l.leading.Load().store.View().Get(state.Key{Type: statev1.Type_TYPE_PLACE, ID: id})
		return r.GetPlace().GetInstance() == e.Instance()
	})
	return e
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// wait runs the barrier on the leader.
func (l *lab) wait(index uint64, timeout time.Duration, kinds ...string) *adminv1.WaitResponse {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	resp, err := l.leading.Load().barrier.Wait(ctx, index, kinds, nil)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		l.t.Fatal(err)
	}
	return resp
}

func (l *lab) reached(index uint64) {
	l.t.Helper()
	if resp := l.wait(index, 10*time.Second); !resp.GetReached() {
		l.t.Fatalf("barrier %d not reached: %v", index, resp)
	}
}

func (e *edge) policyOf(api string) bool {
	a := e.table.Load().API(api)
	return a != nil && a.Stage("prod") != nil && a.Stage("prod").Policy != nil
}
