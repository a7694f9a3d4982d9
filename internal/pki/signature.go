package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
)

// signaturePrefix keeps these signatures apart from any other use of the key.
const signaturePrefix = "postern snapshot 1\x00"

func digest(domain int32, index uint64, setHash []byte) [sha256.Size]byte {
	b := make([]byte, 0, len(signaturePrefix)+12+len(setHash))
	b = append(b, signaturePrefix...)
	b = binary.BigEndian.AppendUint32(b, uint32(domain))
	b = binary.BigEndian.AppendUint64(b, index)
	b = append(b, setHash...)
	return sha256.Sum256(b)
}

// Sign signs a snapshot: its domain, its index, and the hash over all its
// resources. The signer's certificate (DER) travels with the signature, so keys
// can change without anyone being told.
func (i *Identity) Sign(domain int32, index uint64, setHash []byte) (sig, certDER []byte, err error) {
	m := i.now.Load()
	d := digest(domain, index, setHash)
	sig, err = ecdsa.SignASN1(rand.Reader, m.key, d[:])
	if err != nil {
		return nil, nil, fmt.Errorf("sign snapshot %d: %w", index, err)
	}
	return sig, m.leaf.Raw, nil
}

// Verify checks a snapshot's signature against the CA that the identity trusts
// at this moment; see Verifier.
func (i *Identity) Verify(domain int32, index uint64, setHash, sig, certDER []byte) error {
	return i.now.Load().verifier.Verify(domain, index, setHash, sig, certDER)
}

// Verifier checks the signatures of snapshots.
type Verifier struct {
	pool *x509.CertPool
	last atomic.Pointer[signer] // signers change rarely
}

// signer is a certificate that was found good.
type signer struct {
	der []byte
	key *ecdsa.PublicKey
}

// NewVerifier trusts the CAs of pool.
func NewVerifier(pool *x509.CertPool) *Verifier { return &Verifier{pool: pool} }

// Verify reports why a signature is not that of a server of this cluster. The
// certificate's chain counts, its expiry doesn't: an edge that restarts from its
// cache long after must still be able to serve.
func (v *Verifier) Verify(domain int32, index uint64, setHash, sig, certDER []byte) error {
	key, err := v.signerKey(certDER)
	if err != nil {
		return err
	}
	d := digest(domain, index, setHash)
	if !ecdsa.VerifyASN1(key, d[:], sig) {
		return fmt.Errorf("signature of snapshot %d does not verify", index)
	}
	return nil
}

func (v *Verifier) signerKey(der []byte) (*ecdsa.PublicKey, error) {
	if s := v.last.Load(); s != nil && bytes.Equal(s.der, der) {
		return s.key, nil
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse signer's certificate: %w", err)
	}
	if _, err := cert.Verify(x509.VerifyOptions{
		Roots:       v.pool,
		CurrentTime: cert.NotBefore,
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}); err != nil {
		return nil, fmt.Errorf("verify signer: %w", err)
	}
	if role, id, ok := roleOfCertificate(cert); !ok || role != RoleServer {
		return nil, fmt.Errorf("signer %s/%s is not a server", role, id)
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("signer's key is not ECDSA")
	}
	v.last.Store(&signer{der: bytes.Clone(der), key: key})
	return key, nil
}
