// Package snapshot derives what edges are told from the replicated state.
//
// Builder turns a View into the resources of an edge snapshot (proto edge/v1),
// each encoded once in deterministic bytes and named by its content hash, so
// that all streams share them and two nodes offer the same ones. It follows the
// state incrementally: an update costs what changed, whatever the number of
// APIs. A resource is offered only if everything that it refers to exists.
//
// It owns what a resource contains. It leaves to others how resources reach an
// edge (publish) and what they mean there (dataplane/compile).
//
// A Builder belongs to one goroutine. Resources are immutable and may be shared
// by any number.
package snapshot

import (
	"crypto/sha256"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/state"
)

// Resource is one named part of a snapshot. Nobody modifies one after it is made.
type Resource struct {
	Name string
	// Hash is the SHA-256 of Body.
	Hash [sha256.Size]byte
	// Body is the deterministic encoding of the resource's message.
	Body []byte
	// VPC scopes the resource: clients that named other VPCs do without it.
	// Empty: everybody gets it.
	VPC string
}

// NewResource encodes a message as a resource. It panics if the message can't be
// encoded, which only strings of broken UTF-8 cause; the state holds none.
func NewResource(name, vpc string, m proto.Message) *Resource {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("snapshot: encode %s: %v", name, err))
	}
	return &Resource{Name: name, Hash: sha256.Sum256(body), Body: body, VPC: vpc}
}

// Source derives resources from the state. It remembers the View of its last
// Update and belongs to one goroutine.
type Source interface {
	// Update returns what changed since the View of the last call; a View may be
	// newer by any number of versions. If full, changed is everything there is,
	// and what it does not hold is removed. The first call is always full.
	Update(v *state.View) (changed []*Resource, removed []string, full bool)
}
