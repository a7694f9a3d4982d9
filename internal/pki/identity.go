package pki

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// reloadInterval is how often Run looks at the files.
const reloadInterval = time.Minute

// Identity is one role's certificate and key, and the CA that it trusts.
type Identity struct {
	role     Role
	id       string
	caFile   string
	certFile string
	keyFile  string
	renew    func() error // nil where the CA's key is elsewhere

	reloading sync.Mutex // one Reload at a time
	now       atomic.Pointer[material]
}

// material is what the files held when they were last read; immutable.
type material struct {
	caText, certText, keyText []byte

	key      *ecdsa.PrivateKey
	leaf     *x509.Certificate
	cert     *tls.Certificate
	pool     *x509.CertPool
	verifier *Verifier
}

// Identity returns the identity of a role, kept in the CA's folder as
// pki/ROLE-ID.pem and .key. It is made if it is absent, and made anew if it is
// near its end, not of this CA, or lacks one of hosts (loopback is always in).
func (c *CA) Identity(role Role, id string, hosts ...string) (*Identity, error) {
	if _, err := roleURI(role, id); err != nil {
		return nil, err
	}
	hosts = append([]string{"localhost", "127.0.0.1", "::1"}, hosts...)
	base := filepath.Join(c.dir, "pki", string(role)+"-"+id)
	i := &Identity{role: role, id: id, caFile: caFile(c.dir), certFile: base + ".pem", keyFile: base + ".key"}
	i.renew = func() error {
		if c.good(i.certFile, i.keyFile, hosts) {
			return nil
		}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return fmt.Errorf("make key of %s/%s: %w", role, id, err)
		}
		der, err := c.issueRole(role, id, hosts, key.Public())
		if err != nil {
			return err
		}
		keyText, err := encodeKey(key)
		if err != nil {
			return err
		}
		// A crash in between leaves a pair that does not match, which is not good.
		if err := replaceFile(i.keyFile, keyText, 0o600); err != nil {
			return err
		}
		return replaceFile(i.certFile, encodeCertificates(der), 0o644)
	}
	if err := i.Reload(); err != nil {
		return nil, err
	}
	return i, nil
}

// good reports whether a certificate on disk can stay.
func (c *CA) good(certFile, keyFile string, hosts []string) bool {
	key, err := readKey(keyFile)
	if err != nil {
		return false
	}
	_, certs, err := readCertificates(certFile)
	if err != nil {
		return false
	}
	leaf := certs[0]
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	if !key.PublicKey.Equal(leaf.PublicKey) || time.Until(leaf.NotAfter) < life/3 || leaf.CheckSignatureFrom(c.cert) != nil {
		return false
	}
	return !slices.ContainsFunc(hosts, func(h string) bool { return leaf.VerifyHostname(h) != nil })
}

// LoadIdentity reads an identity that someone else made: its certificate, its
// key, and the certificates of the CA.
func LoadIdentity(certFile, keyFile, caFile string) (*Identity, error) {
	i := &Identity{certFile: certFile, keyFile: keyFile, caFile: caFile}
	if err := i.Reload(); err != nil {
		return nil, err
	}
	return i, nil
}

// Role is who the holder is.
func (i *Identity) Role() (role Role, id string) { return i.role, i.id }

// CAPEM is the CA's certificate as clients are given it.
func (i *Identity) CAPEM() []byte { return slices.Clone(i.now.Load().caText) }

// Pool holds the CA's certificates, as they are at this moment.
func (i *Identity) Pool() *x509.CertPool { return i.now.Load().pool }

// Certificate is the role's certificate and key, as they are at this moment.
func (i *Identity) Certificate() *tls.Certificate { return i.now.Load().cert }

// Reload reads the files again, after renewing the certificate if it is due and
// the CA's key is here. What is in use stays if the new files are no good.
func (i *Identity) Reload() error {
	i.reloading.Lock()
	defer i.reloading.Unlock()
	if i.renew != nil {
		if err := i.renew(); err != nil {
			return err
		}
	}
	caText, caCerts, err := readCertificates(i.caFile)
	if err != nil {
		return err
	}
	certText, err := os.ReadFile(i.certFile)
	if err != nil {
		return fmt.Errorf("read certificate: %w", err)
	}
	keyText, err := os.ReadFile(i.keyFile)
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	if old := i.now.Load(); old != nil && bytes.Equal(old.caText, caText) && bytes.Equal(old.certText, certText) && bytes.Equal(old.keyText, keyText) {
		return nil
	}
	key, err := parseKey(i.keyFile, keyText)
	if err != nil {
		return err
	}
	certs, err := parseCertificates(i.certFile, certText)
	if err != nil {
		return err
	}
	leaf := certs[0]
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return fmt.Errorf("certificate %s is not of the key %s", i.certFile, i.keyFile)
	}
	role, id, ok := roleOfCertificate(leaf)
	if !ok {
		return fmt.Errorf("certificate %s names no role", i.certFile)
	}
	if i.role != "" && (role != i.role || id != i.id) {
		return fmt.Errorf("certificate %s is of %s/%s, want %s/%s", i.certFile, role, id, i.role, i.id)
	}
	if i.role == "" { // the first Reload, before anyone else has the Identity
		i.role, i.id = role, id
	}
	m := &material{caText: caText, certText: certText, keyText: keyText, key: key, leaf: leaf, pool: poolOf(caCerts)}
	m.cert = &tls.Certificate{PrivateKey: key, Leaf: leaf}
	for _, c := range certs {
		m.cert.Certificate = append(m.cert.Certificate, c.Raw)
	}
	m.verifier = NewVerifier(m.pool)
	i.now.Store(m)
	return nil
}

// Run picks up renewed files, and renews them in time, until ctx ends. A failed
// attempt is handed to report, if given, and tried again.
func (i *Identity) Run(ctx context.Context, report func(error)) error {
	tick := time.NewTicker(reloadInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		// Between the two renames of a renewal the pair does not match; the next
		// look finds it whole.
		if err := i.Reload(); err != nil && report != nil && !errors.Is(err, fs.ErrNotExist) {
			report(err)
		}
	}
}
