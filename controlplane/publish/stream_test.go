package publish_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/posternhq/postern/dataplane/receive"
	"github.com/posternhq/postern/internal/syncclient"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

func TestChangesReachAnEdge(t *testing.T) {
	l := newLab(t, 1)
	l.commit(deployed("aaaaaaaaaa", "d1", allow))
	e := l.joined("edge-1", nil)
	index := l.commit(deployed("bbbbbbbbbb", "d1", allow))
	l.reached(index)
	if !e.policyOf("aaaaaaaaaa") || !e.policyOf("bbbbbbbbbb") {
		t.Fatal("APIs are missing after the barrier")
	}
	if e.Index() < index {
		t.Fatalf("edge at %d after the barrier of %d", e.Index(), index)
	}

	index = l.commit(nil, key(statev1.Type_TYPE_STAGE, "bbbbbbbbbb/prod"))
	l.reached(index)
	if e.policyOf("bbbbbbbbbb") || e.table.Load().API("bbbbbbbbbb") == nil {
		t.Fatal("the stage should be gone, its API should not")
	}
	index = l.commit(nil, key(statev1.Type_TYPE_REST_API, "bbbbbbbbbb"), key(statev1.Type_TYPE_DEPLOYMENT, "bbbbbbbbbb/d1"))
	l.reached(index)
	if e.table.Load().API("bbbbbbbbbb") != nil || !e.policyOf("aaaaaaaaaa") {
		t.Fatal("one API should be gone, the other not")
	}
	// A version without anything for edges is a version all the same.
	l.reached(l.commit([]*statev1.Record{{Key: key(statev1.Type_TYPE_TOKEN, "x/y"), Value: &statev1.Record_Token{Token: &statev1.Token{}}}}))
	eventually(t, "freshness is known", func() bool { return e.Freshness() < 5*time.Second })
}

// An edge that comes back tells what it has and gets only the rest.
func TestResumeSendsTheDifference(t *testing.T) {
	l := newLab(t, 1)
	for i := range 50 {
		l.commit(deployed(fmt.Sprintf("aaaaaaaa%02d", i), "d1", allow))
	}
	dir := t.TempDir()
	at := func(c *receive.Config) { c.Dir = dir }
	e := l.joined("edge-1", at)
	l.reached(0)
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	l.commit(deployed("aaaaaaaa07", "d2", allow))
	l.commit(nil, key(statev1.Type_TYPE_STAGE, "aaaaaaaa08/prod"))

	hello := &syncv1.Hello{Domain: syncv1.Domain_DOMAIN_EDGE, Carrier: "edge-1", Index: e.Index(), Hashes: map[string][]byte{}, SentAt: 1}
	hello.Places = []*syncv1.PlaceInfo{{Id: "edge-1", Kind: "edge", Az: "us-west-2a", Instance: e.Instance()}}
	got := map[string]bool{}
	stream := open(t, l.nodes[0], hello)
	for {
		s := next(t, stream).GetSnapshot()
		if s == nil {
			continue
		}
		for _, r := range s.GetResources() {
			got[r.GetName()] = true
			hello.Hashes[r.GetName()] = r.GetHash()
		}
		if !s.GetFull() {
			t.Fatal("a client without hashes gets everything")
		}
		if !s.GetMore() {
			break
		}
	}
	if len(got) != 50*2 { // 50 APIs, 49 stages, settings
		t.Fatalf("full snapshot of %d resources", len(got))
	}
	// The second time with hashes, two of which are wrong.
	hello.Hashes["settings"] = make([]byte, sha256.Size)
	hello.Hashes["vpc/vpc-gone"] = make([]byte, sha256.Size)
	stream = open(t, l.nodes[0], hello)
	s := next(t, stream).GetSnapshot()
	if s.GetFull() || len(s.GetResources()) != 1 || s.GetResources()[0].GetName() != "settings" ||
		len(s.GetRemoved()) != 1 || s.GetRemoved()[0] != "vpc/vpc-gone" {
		t.Fatalf("difference of one changed and one removed: %v", s)
	}
	// And the real edge.
	e = l.joined("edge-1", at)
	l.reached(0)
	if a := e.table.Load().API("aaaaaaaa07"); a.Stage("prod").DeploymentID != "d2" || e.table.Load().API("aaaaaaaa08").Stage("prod") != nil {
		t.Fatal("changes while it was away are missing")
	}
}

func open(t *testing.T, n *node, hello *syncv1.Hello) syncv1.EdgeSync_SubscribeClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	stream, err := syncv1.NewEdgeSyncClient(n.conn).Subscribe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&syncv1.SubscribeRequest{Message: &syncv1.SubscribeRequest_Hello{Hello: hello}}); err != nil {
		t.Fatal(err)
	}
	return stream
}

func next(t *testing.T, s syncv1.EdgeSync_SubscribeClient) *syncv1.SubscribeResponse {
	t.Helper()
	resp, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// A slow edge gets the newest version at once, not each one that it missed.
func TestSlowEdgeGetsOneSnapshotForManyChanges(t *testing.T) {
	l := newLab(t, 1)
	l.commit(deployed("aaaaaaaaaa", "d0", allow))
	e := l.joined("edge-1", nil)
	l.reached(0)
	e.pause = make(chan struct{})
	before := e.updates.Load()
	var index uint64
	for i := range 200 {
		index = l.commit(deployed("aaaaaaaaaa", fmt.Sprint("d", i), allow))
	}
	if resp := l.wait(index, 50*time.Millisecond); resp.GetReached() || len(resp.GetBlocking()) != 1 || resp.GetBlocking()[0].GetId() != "edge-1" {
		t.Fatalf("a paused edge blocks by name: %v", resp)
	}
	close(e.pause)
	l.reached(index)
	if n := e.updates.Load() - before; n > 4 {
		t.Fatalf("%d updates for 200 changes", n)
	}
}

// Versions that bring edges nothing are collected, but none is left out.
func TestVersionsWithoutNewsAreCollected(t *testing.T) {
	l := newLab(t, 1)
	l.commit(deployed("aaaaaaaaaa", "d1", allow))
	e := l.joined("edge-1", nil)
	l.reached(0)
	before, began := e.updates.Load(), time.Now()
	var index uint64
	for range 2000 {
		index = l.commit([]*statev1.Record{{Key: key(statev1.Type_TYPE_TOKEN, "x/y"), Value: &statev1.Record_Token{Token: &statev1.Token{}}}})
	}
	l.reached(index)
	if n, most := e.updates.Load()-before, int64(time.Since(began)/time.Millisecond)+10; n > most || e.Index() < index {
		t.Fatalf("%d updates for 2000 versions in %v", n, time.Since(began))
	}
}

// A resource that does not compile is named; the others go on, and so does its
// last good form.
func TestRejectedResourceStopsNoOther(t *testing.T) {
	l := newLab(t, 1)
	dir := t.TempDir()
	at := func(c *receive.Config) { c.Dir = dir }
	l.commit(deployed("aaaaaaaaaa", "d1", allow))
	good := l.commit(deployed("bbbbbbbbbb", "d1", allow))
	e := l.joined("edge-1", at)
	l.reached(0)
	bad := l.commit(append(deployed("aaaaaaaaaa", "d2", `{"broken`), deployed("bbbbbbbbbb", "d2", allow)...))
	resp := l.wait(bad, 10*time.Second)
	if resp.GetReached() || !resp.GetDone() || len(resp.GetBlocking()) != 1 {
		t.Fatalf("a NACK ends the wait: %v", resp)
	}
	if p := resp.GetBlocking()[0]; p.GetId() != "edge-1" || p.GetState() != "nacked" || p.GetVersion() < bad ||
		!contains(p.GetReason(), "api/aaaaaaaaaa/stage/prod") {
		t.Fatalf("it names edge, resource and reason: %v", p)
	}
	l.reached(good) // an earlier version is not in doubt
	check := func(e *edge) {
		t.Helper()
		if d := e.table.Load().API("aaaaaaaaaa").Stage("prod").DeploymentID; d != "d1" {
			t.Fatalf("the last good form should stay, not %s", d)
		}
		if d := e.table.Load().API("bbbbbbbbbb").Stage("prod").DeploymentID; d != "d2" {
			t.Fatalf("the other API should go on, not stay at %s", d)
		}
	}
	check(e)
	// Unrelated versions are blocked as well until it is replaced.
	if resp := l.wait(l.commit(deployed("cccccccccc", "d1", allow)), 10*time.Second); resp.GetReached() || !resp.GetDone() {
		t.Fatalf("a rejection is still outstanding: %v", resp)
	}
	// It is the same after a restart, with nobody to ask first.
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	e = l.edge("edge-1", func(c *receive.Config) { at(c); c.Servers = []string{"127.0.0.1:1"} })
	eventually(t, "the cache is installed", func() bool { return e.Index() > bad })
	check(e)
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	e = l.joined("edge-1", at)
	eventually(t, "the rejection is known again", func() bool { return !l.wait(bad, 10*time.Second).GetReached() })
	l.reached(l.commit(deployed("aaaaaaaaaa", "d3", allow)))
	if d := e.table.Load().API("aaaaaaaaaa").Stage("prod").DeploymentID; d != "d3" {
		t.Fatalf("stage is at %s", d)
	}
}

func contains(s, sub string) bool {
	for i := range len(s) - len(sub) + 1 {
		if s[i:i+len(sub)] == sub {
			return true
		}
	}
	return false
}

// Without any control plane an edge comes up as it went down.
func TestRestartFromTheCacheAlone(t *testing.T) {
	l := newLab(t, 1)
	dir := t.TempDir()
	l.commit(deployed("aaaaaaaaaa", "d1", allow))
	e := l.joined("edge-1", func(c *receive.Config) { c.Dir = dir })
	l.reached(0)
	for i := range 5 {
		l.reached(l.commit(deployed("aaaaaaaaaa", fmt.Sprint("e", i), allow)))
	}
	version, instance := e.Index(), e.Instance()
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	l.nodes[0].stop()
	e = l.edge("edge-1", func(c *receive.Config) { c.Dir = dir })
	eventually(t, "the cache is installed", func() bool { return e.Ready() == nil })
	if e.Index() != version || e.Instance() != instance || e.table.Load().API("aaaaaaaaaa").Stage("prod").DeploymentID != "e4" {
		t.Fatalf("came up at %d, not %d", e.Index(), version)
	}
	if e.Freshness() < time.Hour {
		t.Fatal("what comes from the disk is not fresh")
	}
}

// What is on disk counts up to its last verified state.
func TestDamagedCache(t *testing.T) {
	l := newLab(t, 1)
	dir := t.TempDir()
	at := func(c *receive.Config) { c.Dir = dir }
	l.commit(deployed("aaaaaaaaaa", "d1", allow))
	e := l.joined("edge-1", at)
	l.reached(0)
	l.reached(l.commit(deployed("aaaaaaaaaa", "d2", allow)))
	version := e.Index()
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "snapshot.cache")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []struct {
		name string
		data []byte
	}{
		{"empty", nil},
		{"cut in the last frame", whole[:len(whole)-3]},
		{"one bit at the end", flip(whole, len(whole)-20)},
		{"one bit at the start", flip(whole, 30)},
		{"garbage behind", append(whole[:len(whole):len(whole)], "garbage"...)},
	} {
		if err := os.WriteFile(path, damage.data, 0o600); err != nil {
			t.Fatal(err)
		}
		// Alone first: nothing wrong is ever served.
		alone := l.edge("edge-1", func(c *receive.Config) { at(c); c.Servers = []string{"127.0.0.1:1"} })
		time.Sleep(20 * time.Millisecond)
		if i := alone.Index(); i > version {
			t.Fatalf("%s: at %d, above %d", damage.name, i, version)
		}
		if err := alone.stop(); err != nil {
			t.Fatal(err)
		}
		e = l.joined("edge-1", at)
		eventually(t, damage.name+": the edge is back", func() bool {
			return e.Index() >= version && e.table.Load().API("aaaaaaaaaa").Stage("prod").DeploymentID == "d2"
		})
		l.reached(0)
		if err := e.stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func flip(b []byte, i int) []byte {
	c := append([]byte(nil), b...)
	c[i] ^= 4
	return c
}

// What nobody of the cluster signed is refused, whole and by name.
func TestForeignSignatureIsRefused(t *testing.T) {
	l := newLab(t, 1)
	l.commit(deployed("aaaaaaaaaa", "d1", allow))
	other := newLab(t, 1)
	e := l.joined("edge-1", func(c *receive.Config) { c.Verify = other.verify() })
	eventually(t, "the refusal is known", func() bool {
		resp := l.wait(0, 100*time.Millisecond)
		return resp.GetDone() && !resp.GetReached() && contains(resp.GetBlocking()[0].GetReason(), "the snapshot: signature")
	})
	if e.Index() != 0 || e.Ready() == nil {
		t.Fatal("an unverified snapshot was installed")
	}
}

// A removed edge denies, also when it comes back later, whatever it has on disk.
func TestRemovedEdgeDenies(t *testing.T) {
	l := newLab(t, 1)
	dir := t.TempDir()
	at := func(c *receive.Config) { c.Dir = dir }
	l.commit(deployed("aaaaaaaaaa", "d1", allow))
	e := l.joined("edge-1", at)
	l.reached(0)
	l.removePlace("edge-1")
	eventually(t, "the edge denies", func() bool { return e.table.Load() == nil })
	if err := e.stop(); !errors.Is(err, syncclient.ErrRemoved) {
		t.Fatalf("run ended with %v", err)
	}
	e = l.edge("edge-1", at)
	if err := e.stop(); !errors.Is(err, syncclient.ErrRemoved) || e.table.Load() != nil {
		t.Fatalf("after its return: %v", err)
	}
	l.reached(0) // and it counts no more

	// Removed while it was away.
	dir = t.TempDir()
	e = l.joined("edge-2", at)
	l.reached(0)
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	l.removePlace("edge-2")
	e = l.edge("edge-2", at)
	eventually(t, "the edge denies", func() bool { return e.updates.Load() > 0 && e.table.Load() == nil })
	if _, err := os.Stat(filepath.Join(dir, "snapshot.cache")); err == nil {
		t.Fatal("the cache of a removed edge is still there")
	}
}

// Another instance under a taken id waits until the first is removed, and the
// first denies from then on.
func TestAnotherInstanceIsRefused(t *testing.T) {
	l := newLab(t, 1)
	l.commit(deployed("aaaaaaaaaa", "d1", allow))
	dir := t.TempDir()
	first := l.joined("edge-1", func(c *receive.Config) { c.Dir = dir })
	l.reached(0)
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	second := l.edge("edge-1", nil)
	resp := l.wait(l.commit(deployed("aaaaaaaaaa", "d2", allow)), 300*time.Millisecond)
	if resp.GetReached() || second.Index() != 0 {
		t.Fatalf("a second instance took the place of the first: %v", resp)
	}
	l.removePlace("edge-1")
	eventually(t, "the second is let in", func() bool { return second.Index() > 0 })
	first = l.edge("edge-1", func(c *receive.Config) { c.Dir = dir })
	eventually(t, "the first denies", func() bool { return first.updates.Load() > 0 && first.table.Load() == nil })
	l.reached(0)
}

// A node that knows less than its client says nothing until it knows as much.
func TestLaggingNodeSendsNothingOlder(t *testing.T) {
	l := newLab(t, 2)
	l.commit(deployed("aaaaaaaaaa", "d1", allow))
	dir := t.TempDir()
	only := func(n *node) func(*receive.Config) {
		return func(c *receive.Config) { c.Dir, c.Servers = dir, []string{n.addr} }
	}
	e := l.joined("edge-1", only(l.nodes[0]))
	l.reached(0)
	l.hold(l.nodes[1])
	l.reached(l.commit(deployed("aaaaaaaaaa", "d2", allow)))
	version := e.Index()
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	e = l.joined("edge-1", only(l.nodes[1])) // panics if its version goes back
	eventually(t, "the cache is installed", func() bool { return e.Index() == version })
	time.Sleep(50 * time.Millisecond)
	l.release(l.nodes[1])
	index := l.commit(deployed("aaaaaaaaaa", "d3", allow))
	l.reached(index) // acknowledged at a follower, counted at the leader
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}

	// One that lost its disk gets nothing older than what it acknowledged either.
	if err := os.Remove(filepath.Join(dir, "snapshot.cache")); err != nil {
		t.Fatal(err)
	}
	l.hold(l.nodes[1])
	index = l.commit(deployed("aaaaaaaaaa", "d4", allow))
	e = l.joined("edge-1", only(l.nodes[1]))
	time.Sleep(100 * time.Millisecond)
	if e.Index() != 0 {
		t.Fatalf("it was sent %d while the leader is at %d", e.Index(), index)
	}
	l.release(l.nodes[1])
	l.reached(index)
}

// Edges go from node to node; what one missed comes from the next.
func TestFailoverBetweenNodes(t *testing.T) {
	l := newLab(t, 3)
	l.commit(deployed("aaaaaaaaaa", "d1", allow))
	edges := []*edge{l.joined("edge-1", nil), l.joined("edge-2", nil), l.joined("edge-3", nil)}
	l.reached(0)
	l.nodes[2].stop()
	l.reached(l.commit(deployed("aaaaaaaaaa", "d2", allow)))
	l.lead(l.nodes[1])
	l.nodes[0].stop()
	l.reached(l.commit(deployed("aaaaaaaaaa", "d3", allow)))
	for _, e := range edges {
		if d := e.table.Load().API("aaaaaaaaaa").Stage("prod").DeploymentID; d != "d3" {
			t.Errorf("an edge is at %s", d)
		}
	}
}

// DNS places acknowledge by themselves, one by one.
func TestManualAcknowledgement(t *testing.T) {
	l := newLab(t, 1)
	l.commit(deployed("aaaaaaaaaa", "d1", allow))
	installed := make(chan uint64, 100)
	places := []syncclient.Place{{ID: "dns-1/a", Kind: "authority"}, {ID: "dns-1/b", Kind: "resolver"}}
	c, err := syncclient.New(syncclient.Config{
		Domain: syncv1.Domain_DOMAIN_DNS, Carrier: "dns-1", Places: places, ManualAck: true, Verify: l.verify(),
		Servers: []string{l.nodes[0].addr}, Dial: func(addr string) (grpc.ClientConnInterface, error) { return dial(addr) },
		Install: func(u syncclient.Update) []syncclient.Rejection { installed <- u.Index; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	}()
	<-installed
	index := l.commit(deployed("aaaaaaaaaa", "d2", allow))
	for <-installed < index {
	}
	if resp := l.wait(index, 50*time.Millisecond, "dns"); resp.GetReached() || len(resp.GetBlocking()) != 2 {
		t.Fatalf("nothing was acknowledged: %v", resp)
	}
	c.Ack([]syncclient.PlaceVersion{{Place: "dns-1/a", Index: index}})
	eventually(t, "one place shows it", func() bool { return len(l.wait(index, 20*time.Millisecond, "dns").GetBlocking()) == 1 })
	if !l.wait(index, time.Second, "edges").GetReached() {
		t.Fatal("there are no edges to wait for")
	}
	c.Ack([]syncclient.PlaceVersion{{Place: "dns-1/b", Index: index + 0}})
	l.reached(index)

	// A VPC brings another resolver.
	c.SetPlaces(append(places, syncclient.Place{ID: "dns-1/c", Kind: "resolver"}))
	eventually(t, "the third place counts", func() bool {
		resp := l.wait(index, 20*time.Millisecond, "dns")
		return len(resp.GetBlocking()) == 1 && resp.GetBlocking()[0].GetId() == "dns-1/c"
	})
	c.Ack([]syncclient.PlaceVersion{{Place: "dns-1/c", Index: index}})
	l.reached(index)
}
