package pki

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	sealingKeyType = "POSTERN SEALING KEY"
	sealingKeySize = 32
	maxSealingKeys = 16 // in one file
)

// ErrSealed is in the error of Open if the secret was sealed with a key that is
// not here: the holder has another file of keys than the one that sealed it had.
var ErrSealed = errors.New("sealed with a key that is not in the file of sealing keys")

// Keyring seals what must not be readable on disk. There are two kinds: that of
// the control plane (CA.Keyring), and that of each role's cache
// (Identity.Keyring).
//
// The first key of the file seals, all of them open; a new key in front of the
// old ones is a rotation.
type Keyring struct {
	file string
	keys []sealingKey
}

type sealingKey struct {
	id   string
	aead cipher.AEAD
}

// Keyring returns the keyring of the replicated state, pki/sealing.key in the
// CA's folder, made if it is absent. It keeps secrets out of the log, of raft
// snapshots, and of backups of them. Control-plane nodes hold the same one: it
// lies beside the CA's key, with which it is made and copied.
func (c *CA) Keyring() (*Keyring, error) {
	return LoadOrCreateKeyring(filepath.Join(c.dir, "pki", "sealing.key"))
}

// Keyring returns the keyring of what the role itself keeps on disk, the file
// ROLE-ID.seal beside its key, made if it is absent. It is no part of the key,
// as that changes with each renewal of the certificate and what was sealed
// before must open afterwards.
func (i *Identity) Keyring() (*Keyring, error) {
	return LoadOrCreateKeyring(strings.TrimSuffix(i.keyFile, ".key") + ".seal")
}

// LoadOrCreateKeyring reads a file of sealing keys (PEM, 32 bytes each), or makes
// one with a single key: 0600, and never replaced. Several processes may do so at
// once: all end up with the same one.
func LoadOrCreateKeyring(name string) (*Keyring, error) {
	if absent(name) {
		var key [sealingKeySize]byte
		_, _ = rand.Read(key[:]) // never fails
		if err := createFile(name, pem.EncodeToMemory(&pem.Block{Type: sealingKeyType, Bytes: key[:]}), 0o600); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read sealing key: %w", err)
	}
	k, err := parseKeyring(text)
	if err != nil {
		return nil, fmt.Errorf("read sealing key %s: %w", name, err)
	}
	k.file = name
	return k, nil
}

func parseKeyring(text []byte) (*Keyring, error) {
	k := &Keyring{}
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch {
		case block.Type != sealingKeyType:
			return nil, fmt.Errorf("a PEM block %.40q, want %s", block.Type, sealingKeyType)
		case len(block.Bytes) != sealingKeySize:
			return nil, fmt.Errorf("a key of %d bytes, want %d", len(block.Bytes), sealingKeySize)
		case len(k.keys) == maxSealingKeys:
			return nil, fmt.Errorf("more than %d keys", maxSealingKeys)
		}
		key, err := newSealingKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		k.keys = append(k.keys, key)
	}
	if len(k.keys) == 0 {
		return nil, fmt.Errorf("no PEM block %s", sealingKeyType)
	}
	return k, nil
}

func newSealingKey(key []byte) (sealingKey, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealingKey{}, err
	}
	// A random nonce of 96 bits is good for 2^32 secrets (NIST SP 800-38D §8.3).
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return sealingKey{}, err
	}
	sum := sha256.Sum256(append([]byte("postern sealing key 1\x00"), key...))
	return sealingKey{id: hex.EncodeToString(sum[:8]), aead: aead}, nil
}

// KeyID names the key that seals.
func (k *Keyring) KeyID() string { return k.keys[0].id }

// Seal makes a secret unreadable but for Open with the same place: the names of
// the record and field that it is kept in.
func (k *Keyring) Seal(secret []byte, place string) (keyID string, box []byte) {
	first := k.keys[0]
	return first.id, first.aead.Seal(nil, nil, secret, []byte(place))
}

// Open returns what Seal was given. The error says nothing about the secret.
func (k *Keyring) Open(keyID string, box []byte, place string) ([]byte, error) {
	for _, key := range k.keys {
		if key.id != keyID {
			continue
		}
		secret, err := key.aead.Open(nil, nil, box, []byte(place))
		if err != nil {
			return nil, fmt.Errorf("open the secret of %s: it was altered, or sealed for another place", place)
		}
		return secret, nil
	}
	return nil, fmt.Errorf("open the secret of %s, key %.32q: %w %s", place, keyID, ErrSealed, k.file)
}
