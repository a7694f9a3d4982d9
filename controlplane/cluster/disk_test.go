package cluster_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/posternhq/postern/controlplane/cluster"
)

// hungDisk is a log whose writes hang on command.
type hungDisk struct {
	cluster.LogStore
	mu   sync.Mutex
	hang chan struct{} // nil: the disk works
}

func (d *hungDisk) open(dir string) (cluster.LogStore, error) {
	inner, err := raftboltdb.NewBoltStore(filepath.Join(dir, "raft.db"))
	d.LogStore = inner
	return d, err
}

func (d *hungDisk) StoreLogs(logs []*raft.Log) error {
	d.mu.Lock()
	hang := d.hang
	d.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return d.LogStore.StoreLogs(logs)
}

func (d *hungDisk) setHung(hung bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case hung && d.hang == nil:
		d.hang = make(chan struct{})
	case !hung && d.hang != nil:
		close(d.hang)
		d.hang = nil
	}
}

func TestHungDisk(t *testing.T) {
	disks := map[string]*hungDisk{}
	l := newLab(t, func(c *cluster.Config) {
		d := &hungDisk{}
		disks[c.ID] = d
		c.OpenLog = d.open
	})
	t.Cleanup(func() {
		for _, d := range disks {
			d.setHung(false)
		}
	})
	l.start("n1")
	l.ready()
	for _, id := range []string{"n2", "n3"} {
		l.add(id)
		l.onLeader(func(n *labNode) error { return n.AddPeer(ctx(t), id, l.raft[id], false) })
	}
	l.ready()
	l.write("a", "1")

	old := l.leader()
	disks[old].setHung(true)
	hung := time.Now()
	// The write that finds the disk hanging: its fate is open, and it says so.
	short, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := l.nodes[old].Propose(short, put("b", "lost?")); !errors.Is(err, cluster.ErrUnknownOutcome) {
		t.Errorf("write to a hung disk: %v", err)
	}
	// Nor do those wait forever who said that they would: some are in an entry,
	// some are not, and all are told.
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			_, err := l.nodes[old].Propose(context.Background(), put("c", "lost?"))
			if !errors.Is(err, cluster.ErrUnknownOutcome) && !errors.Is(err, cluster.ErrNotLeader) {
				t.Errorf("patient write to a hung disk: %v", err)
			}
		})
	}
	group.Wait()
	next := l.leader(old)
	t.Logf("another leader after %v", time.Since(hung))
	if l.nodes[old].IsLeader() || l.nodes[old].Ready() == nil {
		t.Error("the node with the hung disk still claims to lead or to be ready")
	}
	if id, _ := l.nodes[old].Leader(); id != "" {
		t.Errorf("the node with the hung disk names %q as leader", id)
	}
	if _, err := l.nodes[next].Propose(ctx(t), put("a", "2")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.nodes[old].Propose(ctx(t), put("a", "3")); !errors.Is(err, cluster.ErrNotLeader) {
		t.Errorf("the node with the hung disk proposes: %v", err)
	}

	disks[old].setHung(false)
	l.ready()
	if got := metric(t, l.nodes[old], "postern_cluster_disk_stalls_total"); got != 1 {
		t.Errorf("%v stalls counted", got)
	}
	v, err := l.nodes[old].ReadView(ctx(t))
	if err != nil || value(v, "a") != "2" {
		t.Errorf("after the disk came back: %q, %v", value(v, "a"), err)
	}
}

// A follower's disk is a minority's: nobody waits for it and nothing is cut.
func TestHungDiskOfFollower(t *testing.T) {
	disks := map[string]*hungDisk{}
	l := newLab(t, func(c *cluster.Config) {
		// The patience of the real defaults: this is about who waits for whom.
		c.HeartbeatTimeout, c.ElectionTimeout, c.LeaseTimeout = 0, 0, 0
		d := &hungDisk{}
		disks[c.ID] = d
		c.OpenLog = d.open
	})
	l.start("n1")
	l.ready()
	for _, id := range []string{"n2", "n3"} {
		l.add(id)
		l.onLeader(func(n *labNode) error { return n.AddPeer(ctx(t), id, l.raft[id], false) })
	}
	l.ready()
	if l.leader() == "n3" {
		l.transfer("n1")
	}
	disks["n3"].setHung(true)
	defer disks["n3"].setHung(false)
	leader := l.nodes[l.leader("n3")]
	for began := time.Now(); time.Since(began) < time.Second; {
		if _, err := leader.Propose(ctx(t), put("a", "1")); err != nil {
			t.Fatal(err)
		}
	}
	if got := metric(t, l.nodes["n3"], "postern_cluster_disk_stalls_total"); got != 0 {
		t.Error("a follower was cut off")
	}
}
