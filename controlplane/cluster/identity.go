package cluster

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
)

// identity is what a folder knows of whose it is: Dir/identity.json.
type identity struct {
	ID string `json:"id"`
	// Instance names this folder: one that replaces it has another.
	Instance string `json:"instance"`
	// Started is set once the log holds something. Without a log it says that
	// the log was lost.
	Started bool `json:"started"`
	// Peers holds the instances that other ids were last seen with.
	Peers map[string]string `json:"peers,omitempty"`
}

// identityFile guards the identity and writes it before any change is used.
type identityFile struct {
	path string

	mu     sync.Mutex
	closed bool
	identity
}

// openIdentity reads the folder's identity, or gives it one.
func openIdentity(dir, id string, random io.Reader) (*identityFile, error) {
	f := &identityFile{path: filepath.Join(dir, "identity.json")}
	data, err := os.ReadFile(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		var instance [16]byte
		if _, err := io.ReadFull(random, instance[:]); err != nil {
			return nil, fmt.Errorf("make an instance number: %w", err)
		}
		f.identity = identity{ID: id, Instance: hex.EncodeToString(instance[:])}
		return f, f.write()
	case err != nil:
		return nil, fmt.Errorf("read the node's identity: %w", err)
	}
	if err := json.Unmarshal(data, &f.identity); err != nil {
		return nil, fmt.Errorf("read %s: %w", f.path, err)
	}
	if f.ID != id {
		return nil, fmt.Errorf("folder %s belongs to node %s, not %s", dir, f.ID, id)
	}
	return f, nil
}

func (f *identityFile) instance() string { return f.Instance }

func (f *identityFile) started() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Started
}

func (f *identityFile) setStarted() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Started {
		return nil
	}
	f.Started = true
	return f.write()
}

// meet notes the instance of an id, and answers the one that is noted if that
// is another and must stay: replace says that the id is free to change hands.
func (f *identityFile) meet(id, instance string, replace bool) (known string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known = f.Peers[id]
	if known == instance || known != "" && !replace {
		return known, nil
	}
	if f.Peers == nil {
		f.Peers = make(map[string]string)
	}
	f.Peers[id] = instance
	return instance, f.write()
}

// forget drops the ids that are no longer members.
func (f *identityFile) forget(member func(id string) bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.Peers)
	maps.DeleteFunc(f.Peers, func(id, _ string) bool { return !member(id) })
	if len(f.Peers) == before {
		return nil
	}
	return f.write()
}

// close ends all writing: peers may still be introducing themselves when the
// folder is somebody else's already.
func (f *identityFile) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}

// write replaces the file: after a crash there is the old one or the new one.
func (f *identityFile) write() error {
	if f.closed {
		return ErrStopped
	}
	data, err := json.MarshalIndent(&f.identity, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the node's identity: %w", err)
	}
	if err := replaceFile(f.path, data); err != nil {
		return fmt.Errorf("write the node's identity: %w", err)
	}
	return nil
}

func replaceFile(path string, data []byte) error {
	tmp := path + ".tmp"
	if err := writeSynced(tmp, data); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	// The rename itself is durable once the folder is.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
