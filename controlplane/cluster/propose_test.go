package cluster

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

func queued(size int) *proposal {
	return &proposal{data: bytes.Repeat([]byte{'x'}, size), answer: make(chan answer, 1)}
}

func TestQueueBoundsEntries(t *testing.T) {
	q := newQueue()
	for _, size := range []int{maxEntryBytes + 1, 1, maxEntryBytes - 1, 1} {
		q.add(queued(size))
	}
	gone := queued(1)
	gone.state.Store(withdrawn)
	q.add(gone)
	for i, want := range []int{1, 2, 1, 0} {
		if got := len(q.take()); got != want {
			t.Errorf("entry %d has %d transactions, want %d", i, got, want)
		}
	}
	for range maxEntryTxns + 5 {
		q.add(queued(1))
	}
	if a, b := len(q.take()), len(q.take()); a != maxEntryTxns || b != 5 {
		t.Errorf("entries of %d and %d", a, b)
	}
	q.add(queued(1))
	if left := q.close(); len(left) != 1 || q.add(queued(1)) {
		t.Error("a closed queue takes more")
	}
}

func TestEncodeEntry(t *testing.T) {
	want := &statev1.Entry{}
	var batch []*proposal
	for _, id := range []string{"a", "b", ""} {
		txn := &statev1.Txn{Deletes: []*statev1.Key{{Id: id}}}
		data, err := proto.Marshal(txn)
		if err != nil {
			t.Fatal(err)
		}
		want.Txns = append(want.Txns, txn)
		batch = append(batch, &proposal{data: data})
	}
	got := &statev1.Entry{}
	if err := proto.Unmarshal(encodeEntry(batch), got); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
