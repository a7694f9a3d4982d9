package state_test

import (
	"slices"
	"testing"

	"github.com/posternhq/postern/controlplane/state"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

func event(operation string) *statev1.Txn {
	return &statev1.Txn{Audit: &statev1.AuditEvent{Operation: operation}}
}

func operations(v *state.View, after string) (all, ids []string) {
	for r := range v.After(state.Key{Type: statev1.Type_TYPE_AUDIT_EVENT, ID: after}) {
		all, ids = append(all, r.GetAuditEvent().GetOperation()), append(ids, r.GetKey().GetId())
	}
	return all, ids
}

func TestAuditEvents(t *testing.T) {
	s := state.New()
	refused := event("refused")
	refused.Guards = []*statev1.Guard{guard(state.Key{Type: statev1.Type_TYPE_REST_API, ID: "a"}, 7)}
	s.Apply(9, []*statev1.Txn{event("one"), refused, event("two"), {}})
	s.Apply(10, []*statev1.Txn{event("three")})
	all, ids := operations(s.View(), "")
	if !slices.Equal(all, []string{"one", "two", "three"}) {
		t.Errorf("events %q", all)
	}
	if want := []string{"00000000000000000009.000001", "00000000000000000009.000002", "00000000000000000010.000001"}; !slices.Equal(ids, want) {
		t.Errorf("ids %q", ids)
	}
	if rest, _ := operations(s.View(), ids[1]); !slices.Equal(rest, []string{"three"}) {
		t.Errorf("behind the second: %q", rest)
	}
	if changes, ok := s.View().Changed(0); !ok || len(changes) != 0 {
		t.Errorf("events are changes: %v", changes)
	}
	s.Apply(11, []*statev1.Txn{{Wipe: true, Audit: &statev1.AuditEvent{Operation: "reset"}}})
	if all, _ := operations(s.View(), ""); !slices.Equal(all, []string{"reset"}) {
		t.Errorf("after a wipe: %q", all)
	}
}

// The window holds across a restore, and on all replicas alike.
func TestAuditWindow(t *testing.T) {
	s := state.New()
	var txns []*statev1.Txn
	for range state.AuditKept {
		txns = append(txns, event("old"))
	}
	s.Apply(1, txns)
	restored := state.New()
	if err := restored.Restore(1, func(yield func(*statev1.Record, error) bool) {
		for r := range s.View().Records() {
			if !yield(r, nil) {
				return
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	for _, store := range []*state.Store{s, restored} {
		store.Apply(2, []*statev1.Txn{event("new"), event("newer")})
		all, ids := operations(store.View(), "")
		if len(all) != state.AuditKept || all[len(all)-1] != "newer" || ids[0] != "00000000000000000001.000003" {
			t.Errorf("%d events from %s on, the last %q", len(all), ids[0], all[len(all)-1])
		}
	}
	if s.View().Hash() != restored.View().Hash() {
		t.Error("a restored replica keeps another window")
	}
}
