package state

import (
	"fmt"
	"testing"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// The log is bounded, and of what it still covers nothing is missing.
func TestChangeLogIsBounded(t *testing.T) {
	const each, entries = 4000, 3 * changesKept / 4000
	var log changeLog
	for index := uint64(1); index <= entries; index++ {
		var more []change
		for n := range each {
			k := Key{Type: statev1.Type_TYPE_REST_API, ID: fmt.Sprint(index, "-", n)}
			more = append(more, change{index: index, key: k, removed: &statev1.Record{}})
		}
		log = log.with(more)
		if n := len(log.entries); n > 2*changesKept+each {
			t.Fatalf("%d changes are kept", n)
		}
	}
	v := newView(entries, newTables(), log, 0)
	known := 0
	for since := uint64(0); since <= entries; since++ {
		changes, ok := v.Changed(since)
		if !ok {
			if known > 0 {
				t.Fatalf("changes are known since before %d, but not since %d", since, since)
			}
			continue
		}
		known++
		if want := each * int(entries-since); len(changes) != want {
			t.Fatalf("since %d: %d changes, want %d", since, len(changes), want)
		}
	}
	if known < changesKept/each || known > entries {
		t.Errorf("changes are known since each of the last %d entries", known)
	}
}
