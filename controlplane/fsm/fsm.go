package fsm

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/state"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// FSM applies committed log entries to a store.
type FSM struct {
	store         *state.Store
	configuration func(index uint64, c raft.Configuration)
	position      atomic.Pointer[Position]
}

// Position names an entry of the log.
type Position struct {
	Index, Term uint64
}

var (
	_ raft.FSM                = (*FSM)(nil)
	_ raft.ConfigurationStore = (*FSM)(nil)
)

// New returns an adapter for the store. The function, which may be nil, is
// told each committed membership, in order with the entries.
func New(store *state.Store, configuration func(index uint64, c raft.Configuration)) *FSM {
	return &FSM{store: store, configuration: configuration}
}

// Apply applies one entry and answers []state.Result, one a Txn. An entry that
// can't be decoded stops the node: to skip it would be to diverge from the
// replicas that can read it.
func (f *FSM) Apply(log *raft.Log) any {
	entry := &statev1.Entry{}
	if err := proto.Unmarshal(log.Data, entry); err != nil {
		panic(fmt.Sprintf("fsm: decode entry %d: %v", log.Index, err))
	}
	results := f.store.Apply(log.Index, entry.GetTxns())
	f.position.Store(&Position{Index: log.Index, Term: log.Term})
	return results
}

// Position returns the last entry applied; zero if none was since the start.
func (f *FSM) Position() Position {
	if p := f.position.Load(); p != nil {
		return *p
	}
	return Position{}
}

// StoreConfiguration passes a committed membership on.
func (f *FSM) StoreConfiguration(index uint64, c raft.Configuration) {
	if f.configuration != nil {
		f.configuration(index, c)
	}
}

// Snapshot returns the newest View to be persisted.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) {
	return snapshot{f.store.View()}, nil
}

// Restore replaces the state by a raft snapshot; a broken one changes nothing.
func (f *FSM) Restore(source io.ReadCloser) error {
	return errors.Join(Read(bufio.NewReaderSize(source, 64<<10), f.store), source.Close())
}

type snapshot struct {
	view *state.View
}

// Persist writes the View's stream to the sink.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	w := bufio.NewWriterSize(sink, 64<<10)
	err := Write(w, s.view)
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("persist raft snapshot: %w", err), sink.Cancel())
	}
	return sink.Close()
}

// Release has nothing to do: a View is garbage like any other.
func (snapshot) Release() {}
