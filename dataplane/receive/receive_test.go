package receive

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dataplane/compile"
	"github.com/posternhq/postern/internal/sethash"
	"github.com/posternhq/postern/internal/syncclient"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// server plays a control plane: two snapshots, of which the second holds
// something that does not compile, and then a removal.
type server struct {
	syncv1.UnimplementedEdgeSyncServer
	answers chan *syncv1.SubscribeRequest
	remove  chan struct{}
}

func (s *server) Subscribe(stream syncv1.EdgeSync_SubscribeServer) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	var set sethash.Hash
	for i, kind := range []string{"PRIVATE", "ODD"} {
		index := uint64(i + 1)
		snapshot := &syncv1.Snapshot{Index: index, Full: i == 0}
		for _, m := range []*edgev1.Api{{Id: "a", EndpointType: kind}, {Id: "b", EndpointType: "EDGE", Account: kind}} {
			body, err := proto.Marshal(m)
			if err != nil {
				return err
			}
			hash := sha256.Sum256(body)
			snapshot.Resources = append(snapshot.Resources, &syncv1.Resource{Name: "api/" + m.GetId(), Hash: hash[:], Body: body})
			set.Add(sethash.ElementOf("api/"+m.GetId(), hash))
		}
		sum := set.Sum()
		snapshot.SetHash = sum[:]
		if err := stream.Send(&syncv1.SubscribeResponse{Message: &syncv1.SubscribeResponse_Snapshot{Snapshot: snapshot}}); err != nil {
			return err
		}
		for _, r := range snapshot.GetResources() {
			set.Remove(sethash.ElementOf(r.GetName(), [sha256.Size]byte(r.GetHash())))
		}
		for {
			req, err := stream.Recv()
			if err != nil {
				return err
			}
			if len(req.GetAck().GetVersions()) > 0 || req.GetNack() != nil {
				s.answers <- req
				break
			}
		}
	}
	<-s.remove
	return stream.Send(&syncv1.SubscribeResponse{Message: &syncv1.SubscribeResponse_Refused{Refused: &syncv1.Refused{Removed: true}}})
}

// tables is an Installer that keeps what it was given.
type tables struct {
	mu   sync.Mutex
	list []*compile.Table
}

func (t *tables) Install(table *compile.Table) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, table)
}

func (t *tables) last() *compile.Table {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.list[len(t.list)-1]
}

func TestTablesAreInstalledBeforeTheyAreAcknowledged(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{answers: make(chan *syncv1.SubscribeRequest, 2), remove: make(chan struct{})}
	g := grpc.NewServer()
	syncv1.RegisterEdgeSyncServer(g, s)
	go func() { _ = g.Serve(listener) }()
	defer g.Stop()

	installed := &tables{}
	r, err := New(Config{
		ID: "edge-1", Servers: []string{listener.Addr().String()}, Installer: installed,
		Verify: func(int32, uint64, []byte, []byte, []byte) error { return nil },
		Dial: func(addr string) (grpc.ClientConnInterface, error) {
			return grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Ready() == nil {
		t.Fatal("ready before the first snapshot")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()

	if ack := (<-s.answers).GetAck(); ack.GetVersions()[0].GetIndex() != 1 || ack.GetVersions()[0].GetPlace() != "edge-1" {
		t.Fatalf("%v", ack)
	}
	if table := installed.last(); table.Index() != 1 || table.API("a").Type != "PRIVATE" || r.Ready() != nil {
		t.Fatal("the first table is not in use though it was acknowledged")
	}
	nack := (<-s.answers).GetNack()
	if len(nack.GetRejections()) != 1 || nack.GetRejections()[0].GetResource() != "api/a" || nack.GetIndex() != 2 {
		t.Fatalf("%v", nack)
	}
	if table := installed.last(); table.Index() != 2 || table.API("a").Type != "PRIVATE" || table.API("b").Account != "ODD" || r.Index() != 2 {
		t.Fatal("the second table should have the new form of one API and the old one of the other")
	}
	close(s.remove)
	if err := <-ended; !errors.Is(err, syncclient.ErrRemoved) || installed.last() != nil || r.Ready() == nil {
		t.Fatalf("a removed edge serves nothing: %v", err)
	}
}
