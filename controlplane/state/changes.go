package state

import (
	"slices"
	"sort"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Change says that a record was put or deleted.
type Change struct {
	Key     Key
	Deleted bool
	// Record is the record as it is now; for a deleted one its last value, if known.
	Record *statev1.Record
}

// changesKept bounds the log that answers Changed. It covers seconds of the
// fastest writing: whoever lags more makes a full pass.
const changesKept = 16 << 10

// change is one entry of the log.
type change struct {
	index   uint64
	key     Key
	removed *statev1.Record // the value that a delete removed
}

// changeLog holds the changes with an index above floor, in order. It is
// immutable: with appends behind the end that each older log knows as its own,
// so Views share one array and none sees what came after it.
type changeLog struct {
	floor   uint64
	entries []change
}

// with returns the log with more changes at its end. There must be only one
// successor of each log, else two would append at the same place.
func (l changeLog) with(more []change) changeLog {
	l.entries = append(l.entries, more...)
	// Trimmed at twice the bound, so that copying costs O(1) a change.
	if excess := len(l.entries) - changesKept; excess > changesKept {
		// The dropped end of an entry takes the rest of the entry's meaning with
		// it: the floor is its index, so nobody gets half of it.
		l.floor = l.entries[excess-1].index
		l.entries = slices.Clone(l.entries[excess:])
	}
	return l
}

// Changed returns the records put or deleted after index since, each once and
// in its newest state, in the order of their last change. It answers !ok when
// the log does not reach back that far: then all records have to be looked at.
func (v *View) Changed(since uint64) (changes []Change, ok bool) {
	if since < v.changes.floor {
		return nil, false
	}
	entries := v.changes.entries
	entries = entries[sort.Search(len(entries), func(i int) bool { return entries[i].index > since }):]
	seen := make(map[Key]bool, len(entries))
	for i := len(entries) - 1; i >= 0; i-- {
		e := &entries[i]
		if seen[e.key] {
			continue
		}
		seen[e.key] = true
		c := Change{Key: e.key, Record: e.removed, Deleted: e.removed != nil}
		if !c.Deleted {
			c.Record = v.Get(e.key)
		}
		changes = append(changes, c)
	}
	slices.Reverse(changes)
	return changes, true
}
