package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	caLife      = 10 * 365 * 24 * time.Hour
	roleLife    = 365 * 24 * time.Hour
	servingLife = 90 * 24 * time.Hour
	// Certificates start a little in the past: clocks of a cluster differ. The
	// CA starts earlier than anything it signs, so that a chain can be judged at
	// the instant its leaf began.
	caBackdate   = 24 * time.Hour
	leafBackdate = time.Hour
)

// CA is the cluster's certificate authority, with its key. Nodes that sign hold
// one; others have only ca.pem.
type CA struct {
	dir   string
	certs []*x509.Certificate // of ca.pem; more than one while the CA is exchanged
	cert  *x509.Certificate   // the one that belongs to key
	key   *ecdsa.PrivateKey
	pem   []byte
}

// LoadOrCreateCA reads the CA in dir (ca.pem, and its key pki/ca.key), or makes
// one. Several processes may do so at once: all end up with the same CA.
func LoadOrCreateCA(dir string) (*CA, error) {
	if err := os.MkdirAll(filepath.Join(dir, "pki"), 0o700); err != nil {
		return nil, fmt.Errorf("make the certificate folder: %w", err)
	}
	keyFile := filepath.Join(dir, "pki", "ca.key")
	certFile := caFile(dir)
	if absent(keyFile) && !absent(certFile) {
		// The key is made first, so it must be there by now.
		if absent(keyFile) {
			return nil, fmt.Errorf("%s exists without its key %s: a new CA would cut off all who trust the old one", certFile, keyFile)
		}
	}
	key, err := LoadOrCreateKey(keyFile)
	if err != nil {
		return nil, err
	}
	if absent(certFile) {
		der, err := selfSigned(key)
		if err != nil {
			return nil, err
		}
		if err := createFile(certFile, encodeCertificates(der), 0o644); err != nil {
			return nil, err
		}
	}
	text, certs, err := readCertificates(certFile)
	if err != nil {
		return nil, err
	}
	ca := &CA{dir: dir, certs: certs, key: key, pem: text}
	for _, c := range certs {
		if key.PublicKey.Equal(c.PublicKey) {
			ca.cert = c
			return ca, nil
		}
	}
	return nil, fmt.Errorf("%s holds no certificate of the key %s", certFile, keyFile)
}

func caFile(dir string) string { return filepath.Join(dir, "ca.pem") }

// PEM is the CA's certificate as clients are given it.
func (c *CA) PEM() []byte { return slices.Clone(c.pem) }

// Pool is what a client of this cluster trusts.
func (c *CA) Pool() *x509.CertPool { return poolOf(c.certs) }

func selfSigned(key *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"Postern"}, CommonName: fmt.Sprintf("Postern CA %x", serial.Bytes()[:4])},
		NotBefore:             now.Add(-caBackdate),
		NotAfter:              now.Add(caLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the CA's certificate: %w", err)
	}
	return der, nil
}

// issueRole signs the certificate of a role for a key. Hosts are the names and
// addresses under which strangers (grpcurl, browsers) may reach the holder; the
// cluster's own roles know each other by the URI.
func (c *CA) issueRole(role Role, id string, hosts []string, pub crypto.PublicKey) ([]byte, error) {
	uri, err := roleURI(role, id)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"Postern"}, CommonName: string(role) + "/" + id},
		NotBefore:    now.Add(-leafBackdate),
		NotAfter:     now.Add(roleLife),
		URIs:         []*url.URL{uri},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if a, err := netip.ParseAddr(h); err == nil {
			template.IPAddresses = append(template.IPAddresses, a.AsSlice())
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, pub, c.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of %s/%s: %w", role, id, err)
	}
	return der, nil
}

// ServingNames are the wildcard names under which the APIs and endpoints of
// regions are called.
func ServingNames(regions []string) []string {
	names := make([]string, 0, 2*len(regions))
	for _, r := range regions {
		names = append(names, "*.execute-api."+r+".amazonaws.com", "*.execute-api."+r+".vpce.amazonaws.com")
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// SignServing signs an edge's request (PKCS #10, DER) for a serving certificate
// and returns the chain, leaf first. The request may name nothing but
// ServingNames of the given regions, or of any region if regions is nil: no
// edge gets a certificate that would let it pass for something else.
func (c *CA) SignServing(csr []byte, regions []string) ([][]byte, error) {
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, fmt.Errorf("parse certificate request: %w", err)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, fmt.Errorf("check certificate request: %w", err)
	}
	switch key := req.PublicKey.(type) {
	case *ecdsa.PublicKey:
	case *rsa.PublicKey:
		if key.N.BitLen() < 2048 {
			return nil, fmt.Errorf("certificate request has an RSA key of %d bits, fewer than 2048", key.N.BitLen())
		}
	default:
		return nil, fmt.Errorf("certificate request has a key of type %T, want ECDSA or RSA", req.PublicKey)
	}
	if len(req.DNSNames) == 0 || len(req.DNSNames) > 256 {
		return nil, fmt.Errorf("certificate request has %d names, want 1 to 256", len(req.DNSNames))
	}
	if len(req.IPAddresses) > 0 || len(req.URIs) > 0 || len(req.EmailAddresses) > 0 {
		return nil, errors.New("certificate request names more than DNS names")
	}
	for _, name := range req.DNSNames {
		region, ok := servingRegion(name)
		if !ok || regions != nil && !slices.Contains(regions, region) {
			return nil, fmt.Errorf("certificate request names %q, which no edge serves", name)
		}
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"Postern"}, CommonName: "edge"},
		NotBefore:    now.Add(-leafBackdate),
		NotAfter:     now.Add(servingLife),
		DNSNames:     req.DNSNames,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if _, ok := req.PublicKey.(*rsa.PublicKey); ok {
		template.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, req.PublicKey, c.key)
	if err != nil {
		return nil, fmt.Errorf("sign serving certificate: %w", err)
	}
	return [][]byte{der, c.cert.Raw}, nil
}

// servingRegion is the region of one of ServingNames.
func servingRegion(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, "*.execute-api.")
	if !ok {
		return "", false
	}
	region, ok := strings.CutSuffix(rest, ".amazonaws.com")
	if !ok {
		return "", false
	}
	region = strings.TrimSuffix(region, ".vpce")
	if region == "" || len(region) > 63 {
		return "", false
	}
	for i := range len(region) {
		switch c := region[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-':
		default:
			return "", false
		}
	}
	return region, true
}

func newSerial() (*big.Int, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40 // positive, and always of full length (RFC 5280 §4.1.2.2)
	return new(big.Int).SetBytes(b[:]), nil
}

func poolOf(certs []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool
}

func encodeCertificates(ders ...[]byte) []byte {
	var text []byte
	for _, der := range ders {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return text
}
