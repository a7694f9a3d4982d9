package state

import (
	"fmt"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// AuditKept is how many audit events there are at most; the oldest go first.
const AuditKept = 10_000

// audit keeps the event of a transaction. Events are in no change log: nothing
// is derived from them, and the log is for those who derive.
func (w *writer) audit(e *statev1.AuditEvent) {
	w.written++
	key := Key{Type: statev1.Type_TYPE_AUDIT_EVENT, ID: fmt.Sprintf("%020d.%06d", w.index, w.written)}
	insert(w.txn, &statev1.Record{
		Key: key.Proto(), CreateIndex: w.index, ModifyIndex: w.index,
		Value: &statev1.Record_AuditEvent{AuditEvent: e},
	})
	if w.audits++; w.audits <= AuditKept {
		return
	}
	w.audits--
	for oldest := range scan(w.txn, key.Type, indexID, nil) {
		if err := w.txn.Delete(tables[key.Type], oldest); err != nil {
			panic(fmt.Sprintf("state: entry %d: delete %v: %v", w.index, KeyOf(oldest.GetKey()), err))
		}
		break
	}
}
