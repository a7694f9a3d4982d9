// Package sethash hashes a set of named contents incrementally: adding or
// removing one element costs the same whatever the size of the set, and the
// hash does not depend on the order in which that happened.
//
// Each element is expanded to a vector of 1,024 16-bit lanes, and the set is
// the lane-wise sum of its elements (LtHash: Bellare and Micciancio, "A New
// Paradigm for Collision-Free Hashing", 1997; Lewi et al., "Securing Update
// Propagation with Homomorphic Hashing", 2019). Finding two sets with one sum
// is a lattice problem with a security of about 200 bits at these sizes, which
// XOR or a sum of plain digests would not give: whoever may choose resources
// could find a second set for a signed hash.
//
// It owns the arithmetic alone; who hashes what, and signs it, is its callers'.
// A Hash belongs to one goroutine at a time; an Element never changes.
package sethash

import (
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
)

const (
	lanes = 1024
	// Size of a sum.
	Size = sha256.Size
)

// label separates this use of SHAKE from any other.
const label = "postern set 1\x00"

// Element is a name with the hash of its content, expanded.
type Element struct{ lanes [lanes]uint16 }

// ElementOf expands a name and the hash of its content.
func ElementOf(name string, content [sha256.Size]byte) *Element {
	x := sha3.NewSHAKE128()
	// The name's length first: no name can run into the hash behind it.
	in := make([]byte, 0, len(label)+8+len(name)+len(content))
	in = append(in, label...)
	in = binary.BigEndian.AppendUint64(in, uint64(len(name)))
	in = append(in, name...)
	in = append(in, content[:]...)
	_, _ = x.Write(in)
	var b [2 * lanes]byte
	_, _ = x.Read(b[:])
	e := &Element{}
	for i := range e.lanes {
		e.lanes[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return e
}

// Hash is the hash of a set; the zero value is that of the empty set.
type Hash struct{ lanes [lanes]uint16 }

// Add puts an element into the set. Nobody checks that it was not there.
func (h *Hash) Add(e *Element) {
	for i, v := range &e.lanes {
		h.lanes[i] += v
	}
}

// Remove takes an element out of the set. Nobody checks that it was there.
func (h *Hash) Remove(e *Element) {
	for i, v := range &e.lanes {
		h.lanes[i] -= v
	}
}

// Sum returns the hash of the set as it is now.
func (h *Hash) Sum() [Size]byte {
	var b [2 * lanes]byte
	for i, v := range &h.lanes {
		binary.LittleEndian.PutUint16(b[2*i:], v)
	}
	return sha256.Sum256(b[:])
}
