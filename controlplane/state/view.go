package state

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"sync"

	"github.com/hashicorp/go-memdb"
	"google.golang.org/protobuf/proto"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// View is the state at one index. It never changes, and neither may anybody
// change the records that it returns.
type View struct {
	index   uint64
	db      *memdb.MemDB
	changes changeLog
	audits  int // how many audit events there are
	hash    func() [32]byte
}

func newView(index uint64, db *memdb.MemDB, changes changeLog, audits int) *View {
	v := &View{index: index, db: db, changes: changes, audits: audits}
	v.hash = sync.OnceValue(v.sum)
	return v
}

// Index returns the index of the last entry applied: the version.
func (v *View) Index() uint64 { return v.index }

// Get returns a record, nil if there is none.
func (v *View) Get(k Key) *statev1.Record {
	if _, known := tables[k.Type]; !known {
		return nil
	}
	return first(v.db.Txn(false), k.Type, indexID, appendRecordKey(make([]byte, 0, 64), k.Account, k.Region, k.ID))
}

// List returns the records of one account and region whose id begins with the
// prefix, by id.
func (v *View) List(t statev1.Type, account, region, idPrefix string) iter.Seq[*statev1.Record] {
	prefix := appendOpenPart(appendPart(appendPart(nil, account), region), idPrefix)
	return v.records(t, indexID, prefix)
}

// Find returns the record with this id in any account, nil if there is none.
// An empty region stands for any region.
func (v *View) Find(t statev1.Type, region, id string) *statev1.Record {
	prefix := appendPart(nil, id)
	if region != "" {
		prefix = appendPart(prefix, region)
	}
	for r := range v.records(t, indexName, prefix) {
		return r
	}
	return nil
}

// FindPrefix returns the records of any account whose id begins with the
// prefix, by id. An empty region stands for any region.
func (v *View) FindPrefix(t statev1.Type, region, idPrefix string) iter.Seq[*statev1.Record] {
	all := v.records(t, indexName, appendOpenPart(nil, idPrefix))
	if region == "" {
		return all
	}
	return func(yield func(*statev1.Record) bool) {
		for r := range all {
			if r.GetKey().GetRegion() == region && !yield(r) {
				return
			}
		}
	}
}

// All returns the records of one type, by account, region and id.
func (v *View) All(t statev1.Type) iter.Seq[*statev1.Record] {
	return v.records(t, indexID, nil)
}

// After returns the records of one type behind a key of it, by account, region
// and id.
func (v *View) After(k Key) iter.Seq[*statev1.Record] {
	return func(yield func(*statev1.Record) bool) {
		if _, known := tables[k.Type]; !known {
			return
		}
		it, err := v.db.Txn(false).LowerBound(tables[k.Type], indexID, byID(k.Proto()))
		if err != nil {
			panic(fmt.Sprintf("state: look up in %v behind %v: %v", k.Type, k, err))
		}
		for obj := it.Next(); obj != nil; obj = it.Next() {
			if r := obj.(*statev1.Record); KeyOf(r.GetKey()) != k && !yield(r) {
				return
			}
		}
	}
}

// Records returns every record, in one order on all replicas: by type,
// account, region and id.
func (v *View) Records() iter.Seq[*statev1.Record] {
	return func(yield func(*statev1.Record) bool) {
		for _, t := range types {
			for r := range v.All(t) {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// Hash returns the state hash: replicas with the same records have the same.
// The first call reads every record; later ones of the same View are free.
func (v *View) Hash() [32]byte { return v.hash() }

func (v *View) sum() [32]byte {
	h := sha256.New()
	var length [8]byte
	var b []byte
	for r := range v.Records() {
		var err error
		if b, err = (proto.MarshalOptions{Deterministic: true}).MarshalAppend(b[:0], r); err != nil {
			panic(fmt.Sprintf("state: marshal %v: %v", KeyOf(r.GetKey()), err))
		}
		binary.BigEndian.PutUint64(length[:], uint64(len(b)))
		h.Write(length[:])
		h.Write(b)
	}
	return [32]byte(h.Sum(nil))
}

// records scans one index of a table; a type without a table has no records.
func (v *View) records(t statev1.Type, index string, prefix []byte) iter.Seq[*statev1.Record] {
	return func(yield func(*statev1.Record) bool) {
		if _, known := tables[t]; !known {
			return
		}
		for r := range scan(v.db.Txn(false), t, index, prefix) {
			if !yield(r) {
				return
			}
		}
	}
}

// scan returns what one index of a known table holds under a prefix; nil: all.
func scan(txn *memdb.Txn, t statev1.Type, index string, prefix []byte) iter.Seq[*statev1.Record] {
	return func(yield func(*statev1.Record) bool) {
		it, err := txn.Get(tables[t], index+prefixSuffix, prefix)
		if err != nil {
			panic(fmt.Sprintf("state: scan %v by %s: %v", t, index, err))
		}
		for obj := it.Next(); obj != nil; obj = it.Next() {
			if !yield(obj.(*statev1.Record)) {
				return
			}
		}
	}
}

// lookup returns the record with a key of a known type, nil if there is none.
func lookup(txn *memdb.Txn, k *statev1.Key) *statev1.Record {
	return first(txn, k.GetType(), indexID, byID(k))
}

func first(txn *memdb.Txn, t statev1.Type, index string, key []byte) *statev1.Record {
	obj, err := txn.First(tables[t], index, key)
	if err != nil {
		panic(fmt.Sprintf("state: look up in %v by %s: %v", t, index, err))
	}
	r, _ := obj.(*statev1.Record)
	return r
}
