package state

import (
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Store holds the newest state and applies entries to it.
type Store struct {
	current atomic.Pointer[published]
}

// published is a View with the channel that its successor closes; both change
// in one step, so a watcher can't miss the step between them.
type published struct {
	view *View
	next chan struct{}
}

// New returns an empty store at index 0.
func New() *Store {
	s := &Store{}
	s.current.Store(&published{
		view: newView(0, newTables(), changeLog{}, 0),
		next: make(chan struct{}),
	})
	return s
}

// View returns the newest state.
func (s *Store) View() *View { return s.current.Load().view }

// Watch returns a channel that is closed at the next publish. Take it before
// the View that is compared with.
func (s *Store) Watch() <-chan struct{} { return s.current.Load().next }

func (s *Store) publish(v *View) {
	old := s.current.Swap(&published{view: v, next: make(chan struct{})})
	close(old.next)
}

// Result is the answer to one Txn.
type Result struct {
	// Index of the entry that carried the Txn: the version it made.
	Index uint64
	// Refused is the first guard that failed; nil: the Txn was applied.
	Refused *Key
}

// ErrMalformed is wrapped by what Check returns: the Txn can't be applied by
// any replica and must not enter the log.
var ErrMalformed = errors.New("malformed transaction")

// Check tells whether Apply can apply the Txn. It looks at the Txn alone, so
// its verdict is the same on every replica.
func Check(txn *statev1.Txn) error {
	if txn == nil {
		return fmt.Errorf("%w: none given", ErrMalformed)
	}
	for i, g := range txn.GetGuards() {
		if err := checkKey(g.GetKey()); err != nil {
			return fmt.Errorf("guard %d: %w", i, err)
		}
	}
	for i, r := range txn.GetPuts() {
		if err := checkKey(r.GetKey()); err != nil {
			return fmt.Errorf("put %d: %w", i, err)
		}
	}
	for i, k := range txn.GetDeletes() {
		if err := checkKey(k); err != nil {
			return fmt.Errorf("delete %d: %w", i, err)
		}
	}
	for _, t := range txn.GetWipeKeeps() {
		if _, known := tables[t]; !known {
			return fmt.Errorf("%w: wipe keeps unknown record type %d", ErrMalformed, t)
		}
	}
	return nil
}

func checkKey(k *statev1.Key) error {
	if _, known := tables[k.GetType()]; !known {
		return fmt.Errorf("%w: unknown record type %d", ErrMalformed, k.GetType())
	}
	if k.GetId() == "" {
		return fmt.Errorf("%w: a %s without an id", ErrMalformed, k.GetType())
	}
	return nil
}

// Apply applies the transactions of one log entry, in their order, and
// publishes one View after the last. Within a Txn all guards are checked
// before the first change, since go-memdb has no savepoints to go back to;
// then come the wipe, the deletes and the puts, so that a put wins over a
// delete of its key. A Txn sees what the earlier ones of its entry wrote, and
// because those carry the entry's own index, which no proposer can have read,
// any guard on what they touched refuses it.
//
// Apply panics on a Txn that Check refuses and on an index that does not
// grow: a replica that went on would differ from the others.
func (s *Store) Apply(index uint64, txns []*statev1.Txn) []Result {
	old := s.View()
	if index <= old.index {
		panic(fmt.Sprintf("state: entry %d applied after entry %d", index, old.index))
	}
	// Each View has a database of its own, written by nobody once published.
	db := old.db.Snapshot()
	w := writer{index: index, txn: db.Txn(true), audits: old.audits}
	results := make([]Result, len(txns))
	for i, txn := range txns {
		if err := Check(txn); err != nil {
			panic(fmt.Sprintf("state: entry %d, transaction %d: %v", index, i, err))
		}
		results[i] = Result{Index: index, Refused: w.refuses(txn)}
		if results[i].Refused == nil {
			w.apply(txn)
		}
	}
	w.txn.Commit()
	s.publish(newView(index, db, old.changes.with(w.changes), w.audits))
	return results
}

// Restore replaces everything by the given records and wakes the watchers of
// what was before. On an error nothing has changed. The index never goes back
// on a node, even when an operator restores an older state; Changed answers
// nothing across a restore.
func (s *Store) Restore(index uint64, records iter.Seq2[*statev1.Record, error]) error {
	db := newTables()
	txn := db.Txn(true)
	n, audits := 0, 0
	for r, err := range records {
		if err != nil {
			txn.Abort()
			return fmt.Errorf("restore record %d: %w", n, err)
		}
		if err := checkKey(r.GetKey()); err != nil {
			txn.Abort()
			return fmt.Errorf("restore record %d: %w", n, err)
		}
		insert(txn, r)
		n++
		if r.GetKey().GetType() == statev1.Type_TYPE_AUDIT_EVENT {
			audits++
		}
	}
	txn.Commit()
	old := s.View().index
	floor := index
	if index <= old {
		// The content of index `old` has changed under its number: whoever has
		// seen that number needs a full pass too.
		index, floor = old, old+1
	}
	s.publish(newView(index, db, changeLog{floor: floor}, audits))
	return nil
}
