package pki

import (
	"bytes"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func keyring(t *testing.T, ca *CA) *Keyring {
	t.Helper()
	k, err := ca.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealedOpensInItsPlaceOnly(t *testing.T) {
	ca := newCA(t)
	k := keyring(t, ca)
	id, box := k.Seal([]byte("wJalrXUtnFEMI"), "access-key/AKIA1")
	if bytes.Contains(box, []byte("wJal")) {
		t.Fatal("the secret is in the box as it is")
	}
	// Another process, or the same one later, reads the same file.
	got, err := keyring(t, ca).Open(id, box, "access-key/AKIA1")
	if err != nil || string(got) != "wJalrXUtnFEMI" {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, err := k.Open(id, box, "access-key/AKIA2"); err == nil {
		t.Error("a box that was moved to another record opens")
	}
	for i := range box {
		altered := bytes.Clone(box)
		altered[i] ^= 1
		if _, err := k.Open(id, altered, "access-key/AKIA1"); err == nil {
			t.Fatalf("a box with another byte %d opens", i)
		}
		if _, err := k.Open(id, box[:i], "access-key/AKIA1"); err == nil {
			t.Fatalf("a box of %d bytes opens", i)
		}
	}
	if _, again := k.Seal([]byte("wJalrXUtnFEMI"), "access-key/AKIA1"); bytes.Equal(box, again) {
		t.Error("the same secret gives the same box twice")
	}
}

func TestSealingKeyIsOfItsClusterAndPrivate(t *testing.T) {
	ca := newCA(t)
	id, box := keyring(t, ca).Seal([]byte("secret"), "x")
	info, err := os.Stat(filepath.Join(ca.dir, "pki", "sealing.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("got mode %v, %v, want 0600", info.Mode(), err)
	}
	if _, err := keyring(t, newCA(t)).Open(id, box, "x"); !errors.Is(err, ErrSealed) {
		t.Errorf("with another cluster's key: %v, want ErrSealed", err)
	}
}

func TestRotatedKeyring(t *testing.T) {
	ca := newCA(t)
	old := keyring(t, ca)
	id, box := old.Seal([]byte("secret"), "x")
	name := filepath.Join(ca.dir, "pki", "sealing.key")
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	newKey := pem.EncodeToMemory(&pem.Block{Type: sealingKeyType, Bytes: bytes.Repeat([]byte{7}, sealingKeySize)})
	if err := os.WriteFile(name, append(newKey, before...), 0o600); err != nil {
		t.Fatal(err)
	}
	k := keyring(t, ca)
	if got, err := k.Open(id, box, "x"); err != nil || string(got) != "secret" {
		t.Errorf("the old key's: %q, %v", got, err)
	}
	if id2, _ := k.Seal([]byte("secret"), "x"); id2 == id || id2 != k.KeyID() {
		t.Errorf("sealed with %s, want the new key, %s", id2, k.KeyID())
	}
}

func TestBadKeyring(t *testing.T) {
	block := func(kind string, n int) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: make([]byte, n)}))
	}
	for name, text := range map[string]string{
		"nothing":    "",
		"short key":  block(sealingKeyType, 16),
		"other kind": block("PRIVATE KEY", 32),
		"too many":   strings.Repeat(block(sealingKeyType, 32), maxSealingKeys+1),
	} {
		if _, err := parseKeyring([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzKeyring(f *testing.F) {
	f.Add(pem.EncodeToMemory(&pem.Block{Type: sealingKeyType, Bytes: make([]byte, sealingKeySize)}))
	f.Add([]byte("-----BEGIN POSTERN SEALING KEY-----\n-----END POSTERN SEALING KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := parseKeyring(text)
		if err != nil {
			return
		}
		id, box := k.Seal([]byte("secret"), "place")
		if got, err := k.Open(id, box, "place"); err != nil || string(got) != "secret" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// A role's own keyring outlives the renewal of its certificate and key.
func TestKeyringOfARole(t *testing.T) {
	ca := newCA(t)
	ring := func() *Keyring {
		identity, err := ca.Identity(RoleEdge, "e1")
		if err != nil {
			t.Fatal(err)
		}
		k, err := identity.Keyring()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	id, box := ring().Seal([]byte("secret"), "x")
	base := filepath.Join(ca.dir, "pki", "edge-e1")
	for _, name := range []string{base + ".pem", base + ".key"} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := ring().Open(id, box, "x"); err != nil || string(got) != "secret" {
		t.Errorf("after a renewal: %q, %v", got, err)
	}
	if _, err := keyring(t, ca).Open(id, box, "x"); !errors.Is(err, ErrSealed) {
		t.Errorf("with the cluster's keyring: %v, want ErrSealed", err)
	}
	info, err := os.Stat(base + ".seal")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v, want 0600", info.Mode(), err)
	}
}
