package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// ServerTLS is for a listener of this role: TLS 1.3, the role's certificate, and
// the client's certificate verified if it shows one (RoleOf then names it).
// Which roles are needed for what is the listener's business.
func (i *Identity) ServerTLS(alpn ...string) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: alpn, ClientAuth: tls.VerifyClientCertIfGiven}
	fixed := cfg.Clone()
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		// Certificate and trusted CA are those of the moment. Session tickets stay
		// valid: crypto/tls takes their keys from the outer configuration.
		m := i.now.Load()
		c := fixed.Clone()
		c.Certificates = []tls.Certificate{*m.cert}
		c.ClientCAs = m.pool
		return c, nil
	}
	return cfg
}

// ClientTLS is for dialling a peer that must be of one of the given roles. The
// peer is known by its certificate's URI, at whatever address it was dialled.
func (i *Identity) ClientTLS(peers []Role, alpn ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: alpn,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return i.Certificate(), nil
		},
		// The library's check compares the name that was dialled; ours, below,
		// verifies the chain and compares the role. It also runs on resumption.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			return verifyPeer(state, i.Pool(), peers)
		},
	}
}

func verifyPeer(state tls.ConnectionState, pool *x509.CertPool, peers []Role) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("peer shows no certificate")
	}
	leaf := state.PeerCertificates[0]
	rest := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		rest.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: rest, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
		return fmt.Errorf("verify peer: %w", err)
	}
	role, id, ok := roleOfCertificate(leaf)
	if !ok {
		return errors.New("peer's certificate names no role")
	}
	if !slices.Contains(peers, role) {
		return fmt.Errorf("peer is %s/%s, which may not serve here", role, id)
	}
	return nil
}
