package compile

import (
	"hash/maphash"
	"iter"
)

// shards is an immutable map with string keys, cut in pieces so that the next
// version of it copies only the pieces that a change falls into. With ten
// thousand entries that is forty of them for a change.
type shards[V any] struct {
	pieces [shardCount]map[string]V
}

const shardCount = 256

var shardSeed = maphash.MakeSeed()

func shardOf(key string) uint8 { return uint8(maphash.String(shardSeed, key)) }

func shardOfBytes(key []byte) uint8 { return uint8(maphash.Bytes(shardSeed, key)) }

func (s *shards[V]) get(key string) (V, bool) {
	v, ok := s.pieces[shardOf(key)][key]
	return v, ok
}

func (s *shards[V]) all() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, piece := range s.pieces {
			for k, v := range piece {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

func (s *shards[V]) len() (n int) {
	for _, piece := range s.pieces {
		n += len(piece)
	}
	return n
}

// edit is a version of shards in the making: it belongs to one goroutine until
// it is taken by another version as its base.
type edit[V any] struct {
	shards[V]
	owned [shardCount]bool
}

func (s *shards[V]) edit() *edit[V] { return &edit[V]{shards: *s} }

// own returns the piece of a key, copied if it is still shared.
func (e *edit[V]) own(key string) map[string]V {
	i := shardOf(key)
	if !e.owned[i] {
		piece := make(map[string]V, len(e.pieces[i])+1)
		for k, v := range e.pieces[i] {
			piece[k] = v
		}
		e.pieces[i], e.owned[i] = piece, true
	}
	return e.pieces[i]
}

func (e *edit[V]) set(key string, v V) { e.own(key)[key] = v }

func (e *edit[V]) remove(key string) {
	if _, ok := e.get(key); ok {
		delete(e.own(key), key)
	}
}
