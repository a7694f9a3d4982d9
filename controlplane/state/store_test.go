package state_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/state"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	account = "123456789012"
	region  = "us-west-2"
)

func apiKey(id string) state.Key {
	return state.Key{Type: statev1.Type_TYPE_REST_API, Account: account, Region: region, ID: id}
}

func put(k state.Key) *statev1.Record {
	return &statev1.Record{
		Key:   k.Proto(),
		Value: &statev1.Record_RestApi{RestApi: &apigatewayv1.RestApi{Id: proto.String(k.ID)}},
	}
}

func guard(k state.Key, modified uint64) *statev1.Guard {
	return &statev1.Guard{Key: k.Proto(), ModifyIndex: modified}
}

func ids(records iter.Seq[*statev1.Record]) []string {
	var all []string
	for r := range records {
		all = append(all, r.GetKey().GetId())
	}
	return all
}

func TestApplyKeepsCreateIndex(t *testing.T) {
	s := state.New()
	s.Apply(3, []*statev1.Txn{{Puts: []*statev1.Record{put(apiKey("a"))}}})
	s.Apply(7, []*statev1.Txn{{Puts: []*statev1.Record{put(apiKey("a"))}}})
	r := s.View().Get(apiKey("a"))
	if r.GetCreateIndex() != 3 || r.GetModifyIndex() != 7 {
		t.Errorf("create, modify = %d, %d, want 3, 7", r.GetCreateIndex(), r.GetModifyIndex())
	}
	s.Apply(8, []*statev1.Txn{{Deletes: []*statev1.Key{apiKey("a").Proto()}, Puts: []*statev1.Record{put(apiKey("a"))}}})
	if r := s.View().Get(apiKey("a")); r.GetCreateIndex() != 8 {
		t.Errorf("create index after delete and put = %d, want 8", r.GetCreateIndex())
	}
}

func TestGuards(t *testing.T) {
	a, b, c := apiKey("a"), apiKey("b"), apiKey("c")
	tests := []struct {
		name   string
		guards []*statev1.Guard
		want   *state.Key
	}{
		{"none", nil, nil},
		{"met", []*statev1.Guard{guard(a, 5)}, nil},
		{"absent as wanted", []*statev1.Guard{guard(c, 0)}, nil},
		{"stale", []*statev1.Guard{guard(a, 4)}, &a},
		{"present but wanted absent", []*statev1.Guard{guard(b, 0)}, &b},
		{"absent but wanted present", []*statev1.Guard{guard(a, 5), guard(c, 5)}, &c},
		{"the first that fails is named", []*statev1.Guard{guard(b, 1), guard(a, 1)}, &b},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := state.New()
			s.Apply(5, []*statev1.Txn{{Puts: []*statev1.Record{put(a), put(b)}}})
			got := s.Apply(6, []*statev1.Txn{{Guards: test.guards, Puts: []*statev1.Record{put(apiKey("new"))}}})
			if len(got) != 1 || got[0].Index != 6 {
				t.Fatalf("results = %v, want one of index 6", got)
			}
			refused := got[0].Refused
			if (refused == nil) != (test.want == nil) || refused != nil && *refused != *test.want {
				t.Errorf("refused %v, want %v", refused, test.want)
			}
			if applied := s.View().Get(apiKey("new")) != nil; applied != (test.want == nil) {
				t.Errorf("applied = %v", applied)
			}
			if s.View().Index() != 6 {
				t.Errorf("index = %d, want 6: refused or not, the entry was applied", s.View().Index())
			}
		})
	}
}

func TestTransactionsOfOneEntry(t *testing.T) {
	s := state.New()
	a := apiKey("a")
	s.Apply(1, []*statev1.Txn{{Puts: []*statev1.Record{put(a)}}})
	woken := s.Watch()
	got := s.Apply(2, []*statev1.Txn{
		{Guards: []*statev1.Guard{guard(a, 1)}, Puts: []*statev1.Record{put(a)}},
		{Guards: []*statev1.Guard{guard(a, 1)}, Puts: []*statev1.Record{put(apiKey("stale"))}},
		{Guards: []*statev1.Guard{guard(apiKey("b"), 0)}, Puts: []*statev1.Record{put(apiKey("b"))}},
		{Guards: []*statev1.Guard{guard(apiKey("b"), 0)}, Puts: []*statev1.Record{put(apiKey("second b"))}},
	})
	var applied []bool
	for _, r := range got {
		applied = append(applied, r.Refused == nil)
	}
	if want := []bool{true, false, true, false}; !slices.Equal(applied, want) {
		t.Errorf("applied = %v, want %v", applied, want)
	}
	select {
	case <-woken:
	default:
		t.Error("the watcher was not woken")
	}
	select {
	case <-s.Watch():
		t.Error("the new watch is closed already")
	default:
	}
	if got, want := ids(s.View().All(statev1.Type_TYPE_REST_API)), []string{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("records = %v, want %v", got, want)
	}
}

func TestViewsStayAsTheyAre(t *testing.T) {
	s := state.New()
	s.Apply(1, []*statev1.Txn{{Puts: []*statev1.Record{put(apiKey("a"))}}})
	old := s.View()
	record := old.Get(apiKey("a"))
	// The record of a View is put again, as writers of children do with the root.
	s.Apply(2, []*statev1.Txn{{Puts: []*statev1.Record{record, put(apiKey("b"))}}})
	s.Apply(3, []*statev1.Txn{{Deletes: []*statev1.Key{apiKey("a").Proto()}}})
	if got := ids(old.All(statev1.Type_TYPE_REST_API)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("the view of index 1 shows %v", got)
	}
	if record.GetModifyIndex() != 1 || old.Index() != 1 {
		t.Errorf("modify index %d, view index %d, want 1", record.GetModifyIndex(), old.Index())
	}
}

func TestScans(t *testing.T) {
	s := state.New()
	child := func(account, region, id string) *statev1.Record {
		return &statev1.Record{Key: state.Key{Type: statev1.Type_TYPE_RESOURCE, Account: account, Region: region, ID: id}.Proto()}
	}
	s.Apply(1, []*statev1.Txn{{Puts: []*statev1.Record{
		child("1", "r1", "api1/b"), child("1", "r1", "api1/a"), child("1", "r1", "api10/a"), child("1", "r2", "api2/a"),
		child("2", "r1", "api3/a"), child("", "", "global"), child("1", "", "r1api1/a"), child("1", "r1", "api1\x00/a"),
	}}})
	v := s.View()
	resource := statev1.Type_TYPE_RESOURCE
	tests := []struct {
		name string
		got  iter.Seq[*statev1.Record]
		want []string
	}{
		{"children of a root, by id", v.List(resource, "1", "r1", "api1/"), []string{"api1/a", "api1/b"}},
		{"all of an account and region", v.List(resource, "1", "r1", ""), []string{"api1\x00/a", "api1/a", "api1/b", "api10/a"}},
		{"no account and region", v.List(resource, "", "", ""), []string{"global"}},
		{"parts do not run together", v.List(resource, "1", "", ""), []string{"r1api1/a"}},
		{"any account", v.FindPrefix(resource, "r1", "api3/"), []string{"api3/a"}},
		{"any account, other region", v.FindPrefix(resource, "r2", "api1/"), nil},
		{"any account, any region", v.FindPrefix(resource, "", "api"), []string{"api1\x00/a", "api1/a", "api1/b", "api10/a", "api2/a", "api3/a"}},
		{"another type", v.All(statev1.Type_TYPE_STAGE), nil},
		{"no type", v.All(statev1.Type_TYPE_UNSPECIFIED), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := ids(test.got); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	if r := v.Find(resource, "r2", "api2/a"); r.GetKey().GetAccount() != "1" {
		t.Errorf("found %v", r)
	}
	if r := v.Find(resource, "", "api2/a"); r == nil {
		t.Error("not found in any region")
	}
	if r := v.Find(resource, "r1", "api1"); r != nil {
		t.Errorf("a prefix was found as an id: %v", r)
	}
}

func TestChanged(t *testing.T) {
	s := state.New()
	a, b := apiKey("a"), apiKey("b")
	s.Apply(1, []*statev1.Txn{{Puts: []*statev1.Record{put(a), put(b)}}})
	s.Apply(2, []*statev1.Txn{{Deletes: []*statev1.Key{a.Proto(), apiKey("never was").Proto()}}})
	middle := s.View()
	s.Apply(3, []*statev1.Txn{{Puts: []*statev1.Record{put(b)}}, {Puts: []*statev1.Record{put(b)}}})

	show := func(v *state.View, since uint64) string {
		changes, ok := v.Changed(since)
		if !ok {
			return "too old"
		}
		text := ""
		for _, c := range changes {
			text += fmt.Sprintf("%s deleted=%v modified=%d;", c.Key.ID, c.Deleted, c.Record.GetModifyIndex())
		}
		return text
	}
	for _, test := range []struct {
		name  string
		view  *state.View
		since uint64
		want  string
	}{
		{"from the beginning", s.View(), 0, "a deleted=true modified=1;b deleted=false modified=3;"},
		{"the last entry", s.View(), 2, "b deleted=false modified=3;"},
		{"nothing newer", s.View(), 3, ""},
		{"an older view", middle, 0, "b deleted=false modified=1;a deleted=true modified=1;"},
		{"an older view, later index", middle, 3, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := show(test.view, test.since); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWipe(t *testing.T) {
	s := state.New()
	place := state.Key{Type: statev1.Type_TYPE_PLACE, ID: "edge-1"}
	s.Apply(1, []*statev1.Txn{{Puts: []*statev1.Record{
		put(apiKey("a")), put(apiKey("b")), put(state.SettingsKey()), put(place),
	}}})
	s.Apply(2, []*statev1.Txn{{
		Wipe:      true,
		WipeKeeps: []statev1.Type{statev1.Type_TYPE_SETTINGS, statev1.Type_TYPE_PLACE},
		Puts:      []*statev1.Record{put(apiKey("b"))},
	}})
	if got, want := ids(s.View().Records()), []string{"b", "settings", "edge-1"}; !slices.Equal(got, want) {
		t.Errorf("left: %v, want %v", got, want)
	}
	if r := s.View().Get(apiKey("b")); r.GetCreateIndex() != 2 {
		t.Errorf("b was made at %d, want 2", r.GetCreateIndex())
	}
	changes, ok := s.View().Changed(1)
	if !ok || len(changes) != 2 || !changes[0].Deleted || changes[1].Deleted {
		t.Errorf("changes = %v, %v", changes, ok)
	}
}

func TestRestore(t *testing.T) {
	from := state.New()
	from.Apply(1, []*statev1.Txn{{Puts: []*statev1.Record{put(apiKey("a")), put(state.SettingsKey())}}})
	from.Apply(40, []*statev1.Txn{{Puts: []*statev1.Record{put(apiKey("b"))}}})
	stream := func(yield func(*statev1.Record, error) bool) {
		for r := range from.View().Records() {
			if !yield(proto.CloneOf(r), nil) {
				return
			}
		}
	}

	s := state.New()
	s.Apply(9, []*statev1.Txn{{Puts: []*statev1.Record{put(apiKey("old"))}}})
	woken, before := s.Watch(), s.View()
	broken := errors.New("broken")
	if err := s.Restore(40, func(yield func(*statev1.Record, error) bool) {
		_ = yield(put(apiKey("half")), nil) && yield(nil, broken)
	}); !errors.Is(err, broken) {
		t.Fatalf("error = %v, want %v", err, broken)
	}
	if s.View() != before {
		t.Fatal("a broken restore changed the state")
	}
	if err := s.Restore(40, stream); err != nil {
		t.Fatal(err)
	}
	select {
	case <-woken:
	default:
		t.Error("the watcher was not woken")
	}
	if s.View().Index() != 40 || s.View().Hash() != from.View().Hash() {
		t.Errorf("index %d, hashes equal: %v", s.View().Index(), s.View().Hash() == from.View().Hash())
	}
	if _, ok := s.View().Changed(9); ok {
		t.Error("changes are known across a restore")
	}

	// An older state under a node that is further: the number does not go back,
	// and nobody who has seen it is told that nothing changed.
	s.Apply(50, []*statev1.Txn{{Puts: []*statev1.Record{put(apiKey("c"))}}})
	if err := s.Restore(40, stream); err != nil {
		t.Fatal(err)
	}
	if s.View().Index() != 50 {
		t.Errorf("index = %d, want 50", s.View().Index())
	}
	if _, ok := s.View().Changed(50); ok {
		t.Error("a restore under an index already seen goes unnoticed")
	}
	s.Apply(51, nil)
	if _, ok := s.View().Changed(51); !ok {
		t.Error("changes are not known after the restore")
	}
}

func TestHash(t *testing.T) {
	// The same records by another way have the same hash.
	s1, s2 := state.New(), state.New()
	if s1.View().Hash() != s2.View().Hash() {
		t.Error("two empty states differ")
	}
	s1.Apply(1, []*statev1.Txn{{Puts: []*statev1.Record{put(apiKey("a")), put(apiKey("b"))}}})
	s2.Apply(1, []*statev1.Txn{{Puts: []*statev1.Record{put(apiKey("b")), put(apiKey("x"))}}, {Puts: []*statev1.Record{put(apiKey("a"))}}})
	if s1.View().Hash() == s2.View().Hash() {
		t.Error("different states have one hash")
	}
	s2.Apply(2, []*statev1.Txn{{Deletes: []*statev1.Key{apiKey("x").Proto()}}})
	if s1.View().Hash() != s2.View().Hash() {
		t.Error("equal records have different hashes")
	}
}

func TestUnknownFieldsSurvive(t *testing.T) {
	r := put(apiKey("a"))
	r.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 9999, protowire.VarintType), 1))
	s := state.New()
	s.Apply(1, []*statev1.Txn{{Puts: []*statev1.Record{r}}})
	if got := s.View().Get(apiKey("a")).ProtoReflect().GetUnknown(); len(got) == 0 {
		t.Error("a field of a newer binary was dropped")
	}
}

func TestMalformed(t *testing.T) {
	none := &statev1.Key{Type: statev1.Type_TYPE_REST_API}
	unknown := &statev1.Key{Type: 9999, Id: "x"}
	for name, txn := range map[string]*statev1.Txn{
		"nothing":       nil,
		"put":           {Puts: []*statev1.Record{{Key: none}}},
		"put of no key": {Puts: []*statev1.Record{{}}},
		"delete":        {Deletes: []*statev1.Key{unknown}},
		"guard":         {Guards: []*statev1.Guard{{Key: unknown}}},
		"wipe":          {Wipe: true, WipeKeeps: []statev1.Type{9999}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := state.Check(txn); !errors.Is(err, state.ErrMalformed) {
				t.Errorf("error = %v", err)
			}
			defer func() {
				if recover() == nil {
					t.Error("applied")
				}
			}()
			state.New().Apply(1, []*statev1.Txn{txn})
		})
	}
}

func TestSettings(t *testing.T) {
	s := state.New()
	got := s.View().Settings()
	if got.GetDnsProfile() != "instant" || got.GetTlsMax() != "1.2" || got.GetDnsClock().GetSpeed() != 1 || got.GetUnknownEndpoints() != "refuse" {
		t.Errorf("defaults = %v", got)
	}
	s.Apply(1, []*statev1.Txn{{Puts: []*statev1.Record{{
		Key:   state.SettingsKey().Proto(),
		Value: &statev1.Record_Settings{Settings: &statev1.Settings{DnsProfile: "aws", DnsClock: &statev1.DnsClock{DnsTime: 7}}},
	}}}})
	got = s.View().Settings()
	if got.GetDnsProfile() != "aws" || got.GetDenyDetail() != "detailed" || got.GetDnsClock().GetSpeed() != 0 {
		t.Errorf("settings = %v: a frozen clock stays frozen, the rest has its defaults", got)
	}
}
