package cluster

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/bbolt"
	"google.golang.org/grpc"
)

// Server is one initial voter.
type Server struct {
	ID      string
	Address string
}

// LogStore keeps the log, the term and the votes. StoreLogs and Set return
// after the data is on the disk.
type LogStore interface {
	raft.LogStore
	raft.StableStore
	io.Closer
}

// Config is what a node is made of. ID, Dir, Address and Stream are required.
type Config struct {
	ID  string
	Dir string
	// Address is advertised to the other nodes; raft and gRPC share it.
	Address string
	// Stream carries raft's connections. The node closes it.
	Stream raft.StreamLayer
	// Bootstrap lists the initial voters, the same list on every node. It is
	// used on the first start only. A node without it waits to be added.
	Bootstrap []Server
	// KeepLeadership: do not hand the leadership over at the end, because the
	// other nodes end at the same time.
	KeepLeadership bool
	// PeerConn returns a connection to another node's gRPC services; nil: a
	// node alone.
	PeerConn   func(address string) (grpc.ClientConnInterface, error)
	Logger     *slog.Logger
	Registerer prometheus.Registerer

	// Followers start an election after HeartbeatTimeout without a word from
	// the leader; a candidate tries again after ElectionTimeout; a leader gives
	// up after LeaseTimeout without a majority. Defaults 500, 500 and 250 ms.
	HeartbeatTimeout time.Duration
	ElectionTimeout  time.Duration
	LeaseTimeout     time.Duration
	// CommitTimeout is how often an idle leader tells its followers what is
	// committed, in case what tellFollowers sent got lost. Default 50 ms.
	CommitTimeout time.Duration
	// DiskTimeout is how long a leader's disk may take for one write of the log
	// before the others elect another. Default 1.8 election timeouts.
	DiskTimeout time.Duration
	// ReadTimeout bounds a ReadView whose ctx has no earlier end. Default 5 s.
	ReadTimeout time.Duration

	// Raft snapshots: how often to look, after how many entries to write one,
	// how many entries to keep behind it. Defaults 30 s, 8192, 8192.
	SnapshotInterval  time.Duration
	SnapshotThreshold uint64
	TrailingLogs      uint64

	// OpenLog and OpenSnapshots open the stores in Dir; the defaults are
	// Dir/raft.db and Dir/snapshots.
	OpenLog       func(dir string) (LogStore, error)
	OpenSnapshots func(dir string, logger hclog.Logger) (raft.SnapshotStore, error)
	// Rand makes the instance number of a new folder. Default crypto/rand.
	Rand io.Reader
}

// snapshotsKept are enough to survive one that is unreadable.
const snapshotsKept = 2

func (c Config) withDefaults() (Config, error) {
	if c.ID == "" || c.Dir == "" || c.Address == "" || c.Stream == nil {
		return c, errors.New("a node needs an id, a folder, an address and a stream")
	}
	if len(c.Bootstrap) > 0 {
		self := false
		for _, s := range c.Bootstrap {
			if s.ID == c.ID {
				self = true
				if s.Address != c.Address {
					return c, fmt.Errorf("node %s is %s in the list of initial voters, not %s", c.ID, s.Address, c.Address)
				}
			}
		}
		if !self {
			return c, fmt.Errorf("node %s is not in the list of initial voters", c.ID)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.HeartbeatTimeout = cmp.Or(c.HeartbeatTimeout, 500*time.Millisecond)
	c.ElectionTimeout = max(cmp.Or(c.ElectionTimeout, 500*time.Millisecond), c.HeartbeatTimeout)
	c.LeaseTimeout = min(cmp.Or(c.LeaseTimeout, c.HeartbeatTimeout/2), c.HeartbeatTimeout)
	c.CommitTimeout = cmp.Or(c.CommitTimeout, 50*time.Millisecond)
	c.DiskTimeout = cmp.Or(c.DiskTimeout, c.ElectionTimeout*9/5)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, 5*time.Second)
	c.SnapshotInterval = cmp.Or(c.SnapshotInterval, 30*time.Second)
	c.SnapshotThreshold = cmp.Or(c.SnapshotThreshold, 8192)
	c.TrailingLogs = cmp.Or(c.TrailingLogs, 8192)
	if c.OpenLog == nil {
		c.OpenLog = openBolt
	}
	if c.OpenSnapshots == nil {
		c.OpenSnapshots = openFileSnapshots
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	return c, raft.ValidateConfig(c.raft(hclog.NewNullLogger()))
}

func (c Config) raft(logger hclog.Logger) *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.ID)
	rc.HeartbeatTimeout = c.HeartbeatTimeout
	rc.ElectionTimeout = c.ElectionTimeout
	rc.LeaderLeaseTimeout = c.LeaseTimeout
	rc.CommitTimeout = c.CommitTimeout
	rc.SnapshotInterval = c.SnapshotInterval
	rc.SnapshotThreshold = c.SnapshotThreshold
	rc.TrailingLogs = c.TrailingLogs
	// A removed node goes on as a follower of nobody; whoever removed it stops it.
	rc.ShutdownOnRemove = false
	rc.NoLegacyTelemetry = true
	rc.Logger = logger
	return rc
}

func openBolt(dir string) (LogStore, error) {
	path := filepath.Join(dir, "raft.db")
	store, err := raftboltdb.New(raftboltdb.Options{
		Path: path,
		BoltOptions: &bbolt.Options{
			// The file's lock is the folder's: a second node on it fails here.
			Timeout: time.Second,
			// The list of free pages is rebuilt at start instead of written with
			// every commit.
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("open %s (is another node using it?): %w", path, err)
	}
	return store, nil
}

func openFileSnapshots(dir string, logger hclog.Logger) (raft.SnapshotStore, error) {
	// The store makes a folder "snapshots" in the one that it is given.
	store, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, logger)
	if err != nil {
		return nil, fmt.Errorf("open raft snapshots: %w", err)
	}
	return store, nil
}

// makeDir makes the node's folder; what it holds is nobody else's business.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the node's folder: %w", err)
	}
	return nil
}
