package state

import (
	"fmt"
	"slices"

	"github.com/hashicorp/go-memdb"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	indexID   = "id"   // account, region, id: unique, for List and Get
	indexName = "name" // id, region, account: unique, for Find across accounts

	prefixSuffix = "_prefix" // go-memdb's suffix for a prefix lookup
)

// types are all record types in the order of their numbers: the order in which
// a state is persisted and hashed.
var types = func() []statev1.Type {
	var all []statev1.Type
	for n := range statev1.Type_name {
		if t := statev1.Type(n); t != statev1.Type_TYPE_UNSPECIFIED {
			all = append(all, t)
		}
	}
	slices.Sort(all)
	return all
}()

var tables = func() map[statev1.Type]string {
	m := make(map[statev1.Type]string, len(types))
	for _, t := range types {
		m[t] = t.String()
	}
	return m
}()

// schema has one table a record type, all alike: a new type needs no code here.
var schema = func() *memdb.DBSchema {
	s := &memdb.DBSchema{Tables: make(map[string]*memdb.TableSchema, len(types))}
	for _, name := range tables {
		s.Tables[name] = &memdb.TableSchema{
			Name: name,
			Indexes: map[string]*memdb.IndexSchema{
				indexID:   {Name: indexID, Unique: true, Indexer: recordIndexer{byID}},
				indexName: {Name: indexName, Unique: true, Indexer: recordIndexer{byName}},
			},
		}
	}
	return s
}()

func newTables() *memdb.MemDB {
	db, err := memdb.NewMemDB(schema)
	if err != nil {
		panic(fmt.Sprintf("state: the schema is wrong: %v", err))
	}
	return db
}

func byID(k *statev1.Key) []byte {
	return appendRecordKey(make([]byte, 0, 64), k.GetAccount(), k.GetRegion(), k.GetId())
}

func byName(k *statev1.Key) []byte {
	return appendRecordKey(make([]byte, 0, 64), k.GetId(), k.GetRegion(), k.GetAccount())
}

// recordIndexer indexes *statev1.Record by a function of its key. Lookups pass
// encoded bytes, so that one encoding serves all of them.
type recordIndexer struct {
	encode func(*statev1.Key) []byte
}

// FromObject is part of memdb.SingleIndexer.
func (x recordIndexer) FromObject(obj any) (bool, []byte, error) {
	r, ok := obj.(*statev1.Record)
	if !ok {
		return false, nil, fmt.Errorf("a %T is no record", obj)
	}
	return true, x.encode(r.GetKey()), nil
}

// FromArgs is part of memdb.Indexer.
func (x recordIndexer) FromArgs(args ...any) ([]byte, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("one encoded key wanted, %d arguments given", len(args))
	}
	b, ok := args[0].([]byte)
	if !ok {
		return nil, fmt.Errorf("a %T is no encoded key", args[0])
	}
	return b, nil
}

// PrefixFromArgs is part of memdb.PrefixIndexer.
func (x recordIndexer) PrefixFromArgs(args ...any) ([]byte, error) {
	return x.FromArgs(args...)
}
