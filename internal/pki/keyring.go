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
)

const (
	sealingKeyType = "POSTERN SEALING KEY"
	sealingKeySize = 32
	maxSealingKeys = 16 // in one file
)

// ErrSealed is in the error of Open if the secret was sealed with a key that is
// not here: the node has another pki/sealing.key than the one that sealed it.
var ErrSealed = errors.New("sealed with a key that is not in pki/sealing.key")

// Keyring seals secrets for the replicated state, so that neither the log, nor
// a raft snapshot, nor a backup of them gives any away. Control-plane nodes hold
// the same one: it lies beside the CA's key, with which it is made and copied.
//
// The first key of the file seals, all of them open; a new key in front of the
// old ones is a rotation.
type Keyring struct {
	keys []sealingKey
}

type sealingKey struct {
	id   string
	aead cipher.AEAD
}

// Keyring returns the keyring in the CA's folder, pki/sealing.key, made if it is
// absent. Several processes may do so at once: all end up with the same one.
func (c *CA) Keyring() (*Keyring, error) {
	name := filepath.Join(c.dir, "pki", "sealing.key")
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
	return nil, fmt.Errorf("open the secret of %s, key %.32q: %w", place, keyID, ErrSealed)
}
