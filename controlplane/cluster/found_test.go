package cluster_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/posternhq/postern/controlplane/cluster"
	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
)

// founders starts the named nodes out of n1, n2, n3, each with the whole list.
func (l *lab) founders(ids ...string) {
	l.t.Helper()
	listeners := map[string]net.Listener{}
	var servers []cluster.Server
	for _, id := range []string{"n1", "n2", "n3"} {
		if l.nodes[id] == nil {
			listeners[id] = l.listen(id)
		}
		servers = append(servers, cluster.Server{ID: id, Address: l.raft[id]})
	}
	for _, id := range ids {
		l.launch(id, listeners[id], servers)
		delete(listeners, id)
	}
	for _, ln := range listeners {
		_ = ln.Close()
	}
}

func (l *lab) runsInto(id string, want error) {
	l.t.Helper()
	select {
	case err := <-l.nodes[id].ended:
		if !errors.Is(err, want) {
			l.t.Fatalf("node %s ended with %v, want %v", id, err, want)
		}
	case <-time.After(10 * time.Second):
		l.t.Fatalf("node %s goes on", id)
	}
	l.nodes[id].server.Stop()
	delete(l.nodes, id)
}

// introduced waits until each node has noted all others.
func (l *lab) introduced(nodes ...string) {
	l.t.Helper()
	eventually(l.t, "everybody has met", func() bool {
		for _, holder := range nodes {
			data, err := os.ReadFile(filepath.Join(l.folder(holder), "identity.json"))
			if err != nil {
				return false
			}
			for _, id := range nodes {
				if id != holder && !strings.Contains(string(data), l.nodes[id].Instance()) {
					return false
				}
			}
		}
		return true
	})
}

func TestForgottenVoterIsRefused(t *testing.T) {
	l := newLab(t, nil)
	// The third founder is late: the cluster has data by then, and that is fine.
	l.founders("n1", "n2")
	l.ready()
	l.write("a", "1")
	l.founders("n3")
	l.ready()
	l.introduced("n1", "n2", "n3")

	// Its folder is lost. With an empty one it must not vote as n3 again.
	l.stop("n3")
	if err := os.RemoveAll(l.folder("n3")); err != nil {
		t.Fatal(err)
	}
	l.founders("n3")
	l.runsInto("n3", cluster.ErrForgotten)

	// Removed and added anew it may.
	l.onLeader(func(n *labNode) error { return n.RemovePeer(ctx(t), "n3") })
	n3 := l.add("n3")
	join := &clusterv1.JoinRequest{Id: "n3", Address: l.raft["n3"], Voter: true, Instance: n3.Instance()}
	ask := func() error {
		conn, err := l.peerConn("test")(l.raft[l.leader("n3")])
		if err != nil {
			return err
		}
		_, err = clusterv1.NewPeerClient(conn).Join(ctx(t), join)
		return err
	}
	eventually(t, "n3 joins", func() bool { return ask() == nil })
	l.ready()
	if v, err := n3.ReadView(ctx(t)); err != nil || value(v, "a") != "1" {
		t.Errorf("n3 reads %v, %v", v, err)
	}
	// Nobody else gets the id while it is a member.
	join.Instance = "another"
	if err := ask(); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("another folder joined under a member's id: %v", err)
	}
}

// A peer may introduce itself while a node ends; the folder is then no longer
// that node's to write.
func TestStoppedNodeLeavesItsFolder(t *testing.T) {
	l := newLab(t, nil)
	l.start("n1")
	l.ready()
	n := l.nodes["n1"]
	l.stop("n1")
	path := filepath.Join(l.folder("n1"), "identity.json")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.PeerServer().Introduce(ctx(t), &clusterv1.IntroduceRequest{Id: "n9", Instance: "late"})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a stopped node answers an introduction with %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("it then holds %s, %v", after, err)
	}
}

func TestLostLogIsRefused(t *testing.T) {
	l := newLab(t, nil)
	l.start("n1")
	l.ready()
	l.write("a", "1")
	l.stop("n1")
	if err := os.Remove(filepath.Join(l.folder("n1"), "raft.db")); err != nil {
		t.Fatal(err)
	}
	l.start("n1")
	l.runsInto("n1", cluster.ErrForgotten)
}

func TestFolderOfAnotherNode(t *testing.T) {
	l := newLab(t, nil)
	l.start("n1")
	l.ready()
	ln := l.listen("n2")
	defer func() { _ = ln.Close() }()
	_, err := cluster.New(cluster.Config{ID: "n2", Dir: l.folder("n1"), Address: ln.Addr().String(), Stream: &stream{ln, l, ""}})
	if err == nil {
		t.Error("n2 took the folder of n1")
	}
	// The same node twice: the folder is locked.
	again, err := cluster.New(cluster.Config{ID: "n1", Dir: l.folder("n1"), Address: ln.Addr().String(), Stream: &stream{ln, l, ""}})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Run(ctx(t)); err == nil {
		t.Error("a folder is used twice")
	}
}

func TestFollowerRefusesPeerCalls(t *testing.T) {
	l := newLab(t, nil)
	l.start("n1", "n2", "n3")
	l.ready()
	leader := l.leader()
	for id, n := range l.nodes {
		_, err := n.PeerServer().ReadIndex(ctx(t), &clusterv1.ReadIndexRequest{})
		if (id == leader) != (err == nil) {
			t.Errorf("read index of %s: %v", id, err)
		}
		if id == leader {
			continue
		}
		// Not FAILED_PRECONDITION: another node may take it.
		if _, err := n.PeerServer().Join(ctx(t), &clusterv1.JoinRequest{Id: "x", Address: "y", Instance: "z"}); status.Code(err) != codes.Unavailable {
			t.Errorf("%s takes a join: %v", id, err)
		}
	}
}

// A cluster that is started again on other ports finds itself, and remembers.
func TestMovedNodes(t *testing.T) {
	l := newLab(t, nil)
	all := []string{"n1", "n2", "n3"}
	l.start(all...)
	l.ready()
	l.write("a", "1")
	stopAll := func() {
		for _, id := range all {
			l.stop(id)
		}
	}
	known := func() bool {
		for _, n := range l.nodes {
			peers, err := n.Peers(ctx(t))
			if err != nil || len(peers) != 3 {
				return false
			}
			for _, p := range peers {
				if p.Address != l.raft[p.ID] {
					return false
				}
			}
		}
		return true
	}
	// One of them: it looks for the others where the membership says.
	l.stop("n1")
	l.move("n1")
	l.add("n1")
	l.ready()
	eventually(t, "everybody knows where n1 is", known)
	l.write("b", "2")
	// All of them: nobody is where the membership says, but the list is right.
	for range 2 {
		stopAll()
		for _, id := range all {
			l.move(id)
		}
		l.start(all...)
		l.ready()
		eventually(t, "everybody knows where everybody is", known)
	}
	for id, n := range l.nodes {
		v, err := n.ReadView(ctx(t))
		if err != nil || value(v, "a") != "1" || value(v, "b") != "2" {
			t.Errorf("node %s: %v", id, err)
		}
	}
}
