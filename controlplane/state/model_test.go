package state_test

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/posternhq/postern/controlplane/state"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// model is the state machine as one would write it without any thought of
// speed: a map, copied before each Txn.
type model map[state.Key]uint64 // modify index

func (m model) apply(index uint64, txn *statev1.Txn) (next model, ok bool) {
	for _, g := range txn.GetGuards() {
		if m[state.KeyOf(g.GetKey())] != g.GetModifyIndex() {
			return m, false
		}
	}
	next = maps.Clone(m)
	if txn.GetWipe() {
		maps.DeleteFunc(next, func(k state.Key, _ uint64) bool { return !slices.Contains(txn.GetWipeKeeps(), k.Type) })
	}
	for _, k := range txn.GetDeletes() {
		delete(next, state.KeyOf(k))
	}
	for _, r := range txn.GetPuts() {
		next[state.KeyOf(r.GetKey())] = index
	}
	return next, true
}

func TestStoreAgreesWithModel(t *testing.T) {
	keys := rapid.Custom(func(t *rapid.T) state.Key {
		return state.Key{
			Type:    rapid.SampledFrom([]statev1.Type{statev1.Type_TYPE_REST_API, statev1.Type_TYPE_STAGE}).Draw(t, "type"),
			Account: rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "account"),
			Region:  rapid.SampledFrom([]string{"", "r"}).Draw(t, "region"),
			ID:      rapid.StringMatching(`[ab\x00]{1,2}(/[ab])?`).Draw(t, "id"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		s, m := state.New(), model{}
		replica := state.New()
		history := map[uint64]model{0: m}
		var index uint64
		for range rapid.IntRange(1, 12).Draw(t, "entries") {
			index += rapid.Uint64Range(1, 3).Draw(t, "step")
			var txns []*statev1.Txn
			var want []bool
			for range rapid.IntRange(0, 4).Draw(t, "transactions") {
				txn := &statev1.Txn{Wipe: rapid.IntRange(0, 19).Draw(t, "wipe") == 0}
				if txn.GetWipe() {
					txn.WipeKeeps = []statev1.Type{statev1.Type_TYPE_STAGE}
				}
				for range rapid.IntRange(0, 2).Draw(t, "guards") {
					k := keys.Draw(t, "guarded")
					txn.Guards = append(txn.Guards, guard(k, rapid.SampledFrom([]uint64{0, m[k], index}).Draw(t, "expected")))
				}
				for range rapid.IntRange(0, 3).Draw(t, "puts") {
					txn.Puts = append(txn.Puts, put(keys.Draw(t, "put")))
				}
				for range rapid.IntRange(0, 2).Draw(t, "deletes") {
					txn.Deletes = append(txn.Deletes, keys.Draw(t, "deleted").Proto())
				}
				var ok bool
				m, ok = m.apply(index, txn)
				txns, want = append(txns, txn), append(want, ok)
			}
			for i, r := range s.Apply(index, txns) {
				if (r.Refused == nil) != want[i] || r.Index != index {
					t.Fatalf("entry %d, transaction %d: refused %v, want applied = %v", index, i, r.Refused, want[i])
				}
			}
			replica.Apply(index, txns)
			history[index] = m
			agree(t, s.View(), m)
		}
		if s.View().Hash() != replica.View().Hash() {
			t.Fatal("two replicas of one log differ")
		}
		for since, old := range history {
			changes, ok := s.View().Changed(since)
			if !ok {
				t.Fatalf("changes since %d are not known", since)
			}
			// Whoever holds the old state and takes the changes holds the new one.
			next := maps.Clone(old)
			for _, c := range changes {
				if c.Deleted {
					delete(next, c.Key)
				} else {
					next[c.Key] = c.Record.GetModifyIndex()
				}
			}
			if !maps.Equal(next, m) {
				t.Fatalf("state at %d and the changes since = %v, want %v", since, next, m)
			}
		}
	})
}

func agree(t *rapid.T, v *state.View, m model) {
	got := model{}
	for r := range v.Records() {
		got[state.KeyOf(r.GetKey())] = r.GetModifyIndex()
	}
	if !maps.Equal(got, m) {
		t.Fatalf("records = %v, want %v", got, m)
	}
	for k := range m {
		if r := v.Get(k); r == nil || state.KeyOf(r.GetKey()) != k {
			t.Fatalf("get %v = %v", k, r)
		}
		if r := v.Find(k.Type, k.Region, k.ID); r.GetKey().GetId() != k.ID {
			t.Fatalf("find %v = %v", k, r)
		}
		var want []string
		for other := range m {
			if other.Type == k.Type && other.Account == k.Account && other.Region == k.Region && other.ID[:1] == k.ID[:1] {
				want = append(want, other.ID)
			}
		}
		slices.Sort(want)
		if got := ids(v.List(k.Type, k.Account, k.Region, k.ID[:1])); !slices.Equal(got, want) {
			t.Fatalf("list %v = %q, want %q", k, got, want)
		}
	}
}
