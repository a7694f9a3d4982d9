package pki

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"
)

// Role is the part that the holder of a certificate plays.
type Role string

// The roles of a cluster. RoleClient is a person or tool, without a place of its own.
const (
	RoleServer Role = "server"
	RoleEdge   Role = "edge"
	RoleDNS    Role = "dns"
	RoleClient Role = "client"
)

const trustDomain = "postern"

// roleURI is the name of a holder: spiffe://postern/ROLE/ID.
func roleURI(role Role, id string) (*url.URL, error) {
	switch role {
	case RoleServer, RoleEdge, RoleDNS, RoleClient:
	default:
		return nil, fmt.Errorf("role %q is not one of server, edge, dns, client", role)
	}
	if !validID(id) {
		return nil, fmt.Errorf("id %q must be 1 to 128 of letters, digits, '.', '_' and '-'", id)
	}
	return &url.URL{Scheme: "spiffe", Host: trustDomain, Path: "/" + string(role) + "/" + id}, nil
}

// validID keeps ids usable as file names and as one segment of a URI.
func validID(id string) bool {
	if id == "" || len(id) > 128 || id[0] == '.' {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// roleOfCertificate reads the name in a certificate. It does not verify it.
func roleOfCertificate(cert *x509.Certificate) (role Role, id string, ok bool) {
	if len(cert.URIs) != 1 {
		return "", "", false
	}
	u := cert.URIs[0]
	if u.Scheme != "spiffe" || u.Host != trustDomain {
		return "", "", false
	}
	r, id, found := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if !found {
		return "", "", false
	}
	if want, err := roleURI(Role(r), id); err != nil || want.String() != u.String() {
		return "", "", false
	}
	return Role(r), id, true
}

// RoleOf says who is at the other end of a connection that was accepted with
// Identity.ServerTLS. It is not ok for a peer that showed no certificate. (For
// gRPC, the state is in the peer's credentials.TLSInfo.)
func RoleOf(state tls.ConnectionState) (role Role, id string, ok bool) {
	// Only a verified chain counts: a certificate can be shown by anyone.
	if len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0 {
		return "", "", false
	}
	return roleOfCertificate(state.PeerCertificates[0])
}
