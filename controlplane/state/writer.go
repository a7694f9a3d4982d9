package state

import (
	"fmt"

	"github.com/hashicorp/go-memdb"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// writer applies the transactions of one entry and notes what they change.
type writer struct {
	index   uint64
	txn     *memdb.Txn
	changes []change
	audits  int // audit events that are kept
	written int // those of this entry
}

// refuses returns the first guard that does not hold.
func (w *writer) refuses(txn *statev1.Txn) *Key {
	for _, g := range txn.GetGuards() {
		if lookup(w.txn, g.GetKey()).GetModifyIndex() != g.GetModifyIndex() {
			k := KeyOf(g.GetKey())
			return &k
		}
	}
	return nil
}

func (w *writer) apply(txn *statev1.Txn) {
	if txn.GetWipe() {
		w.wipe(txn.GetWipeKeeps())
	}
	for _, k := range txn.GetDeletes() {
		if r := lookup(w.txn, k); r != nil {
			w.remove(r)
		}
	}
	for _, r := range txn.GetPuts() {
		w.put(r)
	}
	if txn.GetAudit() != nil {
		w.audit(txn.GetAudit())
	}
}

func (w *writer) wipe(keeps []statev1.Type) {
	kept := make(map[statev1.Type]bool, len(keeps))
	for _, t := range keeps {
		kept[t] = true
	}
	for _, t := range types {
		if kept[t] {
			continue
		}
		// An iterator of a write transaction shows the table as it was when the
		// iterator was made, so removing under it is safe.
		for r := range scan(w.txn, t, indexID, nil) {
			w.remove(r)
		}
		if t == statev1.Type_TYPE_AUDIT_EVENT {
			w.audits = 0
		}
	}
}

func (w *writer) remove(r *statev1.Record) {
	if err := w.txn.Delete(tables[r.GetKey().GetType()], r); err != nil {
		panic(fmt.Sprintf("state: entry %d: delete %v: %v", w.index, KeyOf(r.GetKey()), err))
	}
	w.changes = append(w.changes, change{index: w.index, key: KeyOf(r.GetKey()), removed: r})
}

// put inserts a record of its own that shares the given one's value: the given
// one may be in a View already, when its writer puts it again to take a new
// modify index.
func (w *writer) put(given *statev1.Record) {
	r := &statev1.Record{
		Key:         given.GetKey(),
		CreateIndex: w.index,
		ModifyIndex: w.index,
		Value:       given.GetValue(),
	}
	if before := lookup(w.txn, r.GetKey()); before != nil {
		r.CreateIndex = before.GetCreateIndex()
	}
	// A value that a newer binary knows and this one does not must survive here too.
	if unknown := given.ProtoReflect().GetUnknown(); len(unknown) > 0 {
		r.ProtoReflect().SetUnknown(unknown)
	}
	insert(w.txn, r)
	w.changes = append(w.changes, change{index: w.index, key: KeyOf(r.GetKey())})
}

func insert(txn *memdb.Txn, r *statev1.Record) {
	if err := txn.Insert(tables[r.GetKey().GetType()], r); err != nil {
		panic(fmt.Sprintf("state: insert %v: %v", KeyOf(r.GetKey()), err))
	}
}
