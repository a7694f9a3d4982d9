package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/publish"
	"github.com/posternhq/postern/controlplane/snapshot"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/internal/pki"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// store is a replica's state with a number of deployed APIs of five methods.
type store struct {
	*state.Store
	mu    sync.Mutex
	index uint64
}

func filled(apis int) *store {
	s := &store{Store: state.New()}
	for i := range apis {
		s.deploy(i, 0)
	}
	return s
}

func (s *store) apply(puts ...*statev1.Record) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index++
	s.Apply(s.index, []*statev1.Txn{{Puts: puts}})
	return s.index
}

func record(t statev1.Type, id string) *statev1.Record {
	return &statev1.Record{Key: &statev1.Key{Type: t, Account: "123456789012", Region: "us-west-2", Id: id}}
}

// deploy stores an API with a policy that its version tells apart, deployed to a stage.
func (s *store) deploy(api, version int) uint64 {
	id, deployment := fmt.Sprintf("a%09d", api), fmt.Sprintf("d%d", version)
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[`+
		`{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"arn:aws:execute-api:us-west-2:123456789012:%s/*"},`+
		`{"Effect":"Deny","Principal":"*","Action":"execute-api:Invoke","Resource":"arn:aws:execute-api:us-west-2:123456789012:%s/*","Condition":{"NotIpAddress":{"aws:VpcSourceIp":"10.%d.%d.0/24"}}}]}`,
		id, id, version/256%256, version%256)
	rest := &apigatewayv1.RestApi{
		Id: &id, Name: proto.String("api " + id), Policy: &policy,
		EndpointConfiguration: &apigatewayv1.EndpointConfiguration{Types: &awsv1.StringList{Values: []string{"PRIVATE"}}},
	}
	resources := []*apigatewayv1.Resource{{Id: proto.String("root"), Path: proto.String("/")}}
	for i := range 5 {
		resources = append(resources, &apigatewayv1.Resource{
			Id: proto.String(fmt.Sprint("r", i)), Path: proto.String(fmt.Sprintf("/things%d/{id}", i)),
			ResourceMethods: map[string]*apigatewayv1.Method{"GET": {
				HttpMethod: proto.String("GET"), AuthorizationType: proto.String("NONE"),
				MethodIntegration: &apigatewayv1.Integration{Type: proto.String("HTTP_PROXY"), HttpMethod: proto.String("GET"), Uri: proto.String("http://backend.internal/things")},
			}},
		})
	}
	api0 := record(statev1.Type_TYPE_REST_API, id)
	api0.Value = &statev1.Record_RestApi{RestApi: rest}
	deployed := record(statev1.Type_TYPE_DEPLOYMENT, id+"/"+deployment)
	deployed.Value = &statev1.Record_Deployment{Deployment: &statev1.Deployment{RestApi: rest, Resources: resources}}
	stage := record(statev1.Type_TYPE_STAGE, id+"/prod")
	stage.Value = &statev1.Record_Stage{Stage: &apigatewayv1.Stage{StageName: proto.String("prod"), DeploymentId: &deployment}}
	return s.apply(api0, deployed, stage)
}

var stored = []int{10, 100, 1_000, 10_000}

// BenchmarkBuild: what the builder needs to turn one deployed change of a policy
// into resources for edges. It must not depend on the number of APIs.
func BenchmarkBuild(b *testing.B) {
	for _, apis := range stored {
		b.Run(fmt.Sprintf("apis=%d", apis), func(b *testing.B) {
			s := filled(apis)
			builder := snapshot.NewBuilder(snapshot.Config{})
			builder.Update(s.View())
			bytes, n := 0, 0
			for b.Loop() {
				b.StopTimer()
				n++
				s.deploy(n%apis, n)
				v := s.View()
				b.StartTimer()
				changed, removed, full := builder.Update(v)
				if full || len(removed) > 0 || len(changed) == 0 {
					b.Fatalf("%d changed, %d removed, full %v", len(changed), len(removed), full)
				}
				for _, r := range changed {
					bytes += len(r.Name) + len(r.Hash) + len(r.Body)
				}
			}
			b.ReportMetric(float64(bytes)/float64(n), "resource-B/change")
		})
	}
}

// wire counts what a subscriber receives, gRPC's framing included.
type wire struct{ received atomic.Int64 }

func (*wire) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (*wire) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*wire) HandleConn(context.Context, stats.ConnStats)                       {}
func (w *wire) HandleRPC(_ context.Context, s stats.RPCStats) {
	if in, ok := s.(*stats.InPayload); ok {
		w.received.Add(int64(in.WireLength))
	}
}

// BenchmarkPush: the same change, from the store to an edge's end of a real
// stream: bytes on the wire and time to the arrival.
func BenchmarkPush(b *testing.B) {
	for _, apis := range stored {
		b.Run(fmt.Sprintf("apis=%d", apis), func(b *testing.B) {
			s := filled(apis)
			counter := &wire{}
			stream := subscribe(b, s, counter)
			if _, err := until(stream, s.View().Index()); err != nil {
				b.Fatal(err)
			}
			first := counter.received.Load()
			n := 0
			for b.Loop() {
				n++
				got, err := until(stream, s.deploy(n%apis, n))
				if err != nil {
					b.Fatal(err)
				}
				if got.GetFull() {
					b.Fatal("everything was sent again")
				}
			}
			b.ReportMetric(float64(counter.received.Load()-first)/float64(n), "wire-B/change")
			b.ReportMetric(float64(first)/1e3, "kB-first")
		})
	}
}

// until receives, and acknowledges, up to an index.
func until(stream syncv1.EdgeSync_SubscribeClient, index uint64) (*syncv1.Snapshot, error) {
	for {
		m, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		got := m.GetSnapshot()
		if got == nil || got.GetMore() {
			continue
		}
		ack := &syncv1.Ack{Versions: []*syncv1.PlaceVersion{{Place: "edge1", Index: got.GetIndex()}}}
		if err := stream.Send(&syncv1.SubscribeRequest{Message: &syncv1.SubscribeRequest_Ack{Ack: ack}}); err != nil {
			return nil, err
		}
		if got.GetIndex() >= index {
			return got, nil
		}
	}
}

// subscribe publishes a store over loopback and returns an edge's stream of it.
func subscribe(b *testing.B, s *store, counter *wire) syncv1.EdgeSync_SubscribeClient {
	b.Helper()
	ca, err := pki.LoadOrCreateCA(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	signer, err := ca.Identity(pki.RoleServer, "n1")
	if err != nil {
		b.Fatal(err)
	}
	barrier := publish.NewBarrier(publish.BarrierConfig{Store: s.Store, View: func(context.Context) (*state.View, error) { return s.View(), nil }})
	barrier.SetLeading(true)
	publisher, err := publish.New(publish.Config{
		Node: "n1", Store: s.Store, Signer: signer, Barrier: barrier,
		Sources: map[syncv1.Domain]snapshot.Source{syncv1.Domain_DOMAIN_EDGE: snapshot.NewBuilder(snapshot.Config{})},
		Leader:  func() (grpc.ClientConnInterface, bool) { return nil, true },
		Register: func(_ context.Context, req *adminv1.RegisterPlacesRequest) error {
			for _, p := range req.GetPlaces() {
				s.apply(&statev1.Record{
					Key:   &statev1.Key{Type: statev1.Type_TYPE_PLACE, Id: p.GetId()},
					Value: &statev1.Record_Place{Place: &statev1.Place{Id: p.GetId(), Kind: p.GetKind(), Instance: p.GetInstance(), Carrier: p.GetCarrier()}},
				})
			}
			return nil
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	syncv1.RegisterEdgeSyncServer(server, publisher)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = publisher.Run(ctx) })
	running.Go(func() {
		if err := server.Serve(ln); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			b.Error(err)
		}
	})
	conn, err := grpc.NewClient("passthrough:///"+ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStatsHandler(counter), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(256<<20)))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cancel()
		_ = conn.Close()
		server.Stop()
		running.Wait()
	})
	stream, err := syncv1.NewEdgeSyncClient(conn).Subscribe(ctx)
	if err != nil {
		b.Fatal(err)
	}
	if err := stream.Send(&syncv1.SubscribeRequest{Message: &syncv1.SubscribeRequest_Hello{Hello: &syncv1.Hello{
		Domain: syncv1.Domain_DOMAIN_EDGE, Carrier: "edge1", Places: []*syncv1.PlaceInfo{{Id: "edge1", Kind: "edge", Instance: "1"}},
	}}}); err != nil {
		b.Fatal(err)
	}
	return stream
}
