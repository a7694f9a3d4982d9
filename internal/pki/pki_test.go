package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func newCA(t *testing.T) *CA {
	t.Helper()
	ca, err := LoadOrCreateCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func identity(t *testing.T, ca *CA, role Role, id string) *Identity {
	t.Helper()
	i, err := ca.Identity(role, id)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestCAIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	cas := make([]*CA, 8)
	for n := range cas {
		wg.Go(func() {
			ca, err := LoadOrCreateCA(dir)
			if err != nil {
				t.Error(err)
				return
			}
			cas[n] = ca
		})
	}
	wg.Wait()
	for _, ca := range cas {
		if ca == nil || string(ca.PEM()) != string(cas[0].PEM()) {
			t.Fatal("two processes that start at once have different CAs")
		}
	}
	for _, name := range []string{"pki/ca.key"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "pki", ".new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCAWithoutItsKeyIsRefused(t *testing.T) {
	ca := newCA(t)
	if err := os.Remove(filepath.Join(ca.dir, "pki", "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateCA(ca.dir); err == nil {
		t.Fatal("a second CA was made in place of the first")
	}
}

func TestIdentityIsKeptAndRenewed(t *testing.T) {
	ca := newCA(t)
	first := identity(t, ca, RoleServer, "n1")
	again := identity(t, ca, RoleServer, "n1")
	if first.Certificate().Leaf.SerialNumber.Cmp(again.Certificate().Leaf.SerialNumber) != 0 {
		t.Error("a good certificate was made anew")
	}
	wider, err := ca.Identity(RoleServer, "n1", "10.1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if err := wider.Certificate().Leaf.VerifyHostname("10.1.2.3"); err != nil {
		t.Error(err)
	}
	// The first holder follows by reload, without restart.
	if err := first.Reload(); err != nil {
		t.Fatal(err)
	}
	if first.Certificate().Leaf.SerialNumber.Cmp(wider.Certificate().Leaf.SerialNumber) != 0 {
		t.Error("reload did not pick up the new certificate")
	}
	loaded, err := LoadIdentity(wider.certFile, wider.keyFile, wider.caFile)
	if err != nil {
		t.Fatal(err)
	}
	if role, id := loaded.Role(); role != RoleServer || id != "n1" {
		t.Errorf("loaded as %s/%s", role, id)
	}
}

func TestIDsAreNames(t *testing.T) {
	ca := newCA(t)
	for _, id := range []string{"", "a/b", "../x", ".hidden", "a b", "é", strings.Repeat("x", 129)} {
		if _, err := ca.Identity(RoleEdge, id); err == nil {
			t.Errorf("id %q was accepted", id)
		}
	}
	if _, err := ca.Identity("root", "x"); err == nil {
		t.Error("unknown role was accepted")
	}
}

// shake connects a client and a server and returns what the server saw.
func shake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	type result struct {
		state tls.ConnectionState
		err   error
	}
	done := make(chan result, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			done <- result{err: err}
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		c := tls.Server(conn, server)
		err = c.Handshake()
		if err == nil {
			_, err = c.Write([]byte("x"))
		}
		done <- result{c.ConnectionState(), err}
	}()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", ln.Addr().String(), client)
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, 1))
		conn.Close()
	}
	r := <-done
	return r.state, errors.Join(err, r.err)
}

func TestMutualTLS(t *testing.T) {
	ca, stranger := newCA(t), newCA(t)
	server, edge := identity(t, ca, RoleServer, "n1"), identity(t, ca, RoleEdge, "e1")
	forged := identity(t, stranger, RoleServer, "n1")
	servers := []Role{RoleServer}

	state, err := shake(t, server.ServerTLS("h2"), edge.ClientTLS(servers, "h2"))
	if err != nil {
		t.Fatal(err)
	}
	if role, id, ok := RoleOf(state); !ok || role != RoleEdge || id != "e1" {
		t.Errorf("server sees %s/%s, %v", role, id, ok)
	}
	if state.NegotiatedProtocol != "h2" {
		t.Errorf("protocol %q", state.NegotiatedProtocol)
	}
	state, err = shake(t, server.ServerTLS("h2"), &tls.Config{RootCAs: ca.Pool(), ServerName: "127.0.0.1", NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatalf("a stranger who trusts the CA is not let in: %v", err)
	}
	if role, id, ok := RoleOf(state); ok {
		t.Errorf("a peer without certificate is %s/%s", role, id)
	}
	if _, err := shake(t, edge.ServerTLS(), edge.ClientTLS(servers)); err == nil {
		t.Error("an edge was taken for a server")
	}
	if _, err := shake(t, forged.ServerTLS(), edge.ClientTLS(servers)); err == nil {
		t.Error("a server of another CA was accepted")
	}
	if _, err := shake(t, server.ServerTLS(), forged.ClientTLS(servers)); err == nil {
		t.Error("a client of another CA was accepted")
	}
	if _, err := shake(t, server.ServerTLS(), &tls.Config{RootCAs: ca.Pool(), ServerName: "127.0.0.1", MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 was accepted between roles")
	}
}

func TestReloadReachesNewConnections(t *testing.T) {
	ca := newCA(t)
	server := identity(t, ca, RoleServer, "n1")
	serverTLS := server.ServerTLS()
	client := identity(t, ca, RoleClient, "c").ClientTLS([]Role{RoleServer})
	var seen []string
	verify := client.VerifyConnection
	client.VerifyConnection = func(s tls.ConnectionState) error {
		seen = append(seen, s.PeerCertificates[0].SerialNumber.String())
		return verify(s)
	}
	if _, err := shake(t, serverTLS, client); err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Identity(RoleServer, "n1", "extra.example"); err != nil {
		t.Fatal(err)
	}
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := shake(t, serverTLS, client); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || seen[0] == seen[1] {
		t.Errorf("certificates seen: %v", seen)
	}
}

func TestReloadKeepsWhatIsGood(t *testing.T) {
	ca := newCA(t)
	made := identity(t, ca, RoleEdge, "e1")
	i, err := LoadIdentity(made.certFile, made.keyFile, made.caFile)
	if err != nil {
		t.Fatal(err)
	}
	other := identity(t, ca, RoleEdge, "e2")
	text, err := os.ReadFile(other.certFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(made.certFile, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := i.Reload(); err == nil {
		t.Error("a certificate of another key was taken")
	}
	if _, id, _ := roleOfCertificate(i.Certificate().Leaf); id != "e1" {
		t.Errorf("identity became %s", id)
	}
}

func TestSignatures(t *testing.T) {
	ca, stranger := newCA(t), newCA(t)
	server, edge := identity(t, ca, RoleServer, "n1"), identity(t, ca, RoleEdge, "e1")
	hash := []byte("set hash")
	sig, cert, err := server.Sign(1, 42, hash)
	if err != nil {
		t.Fatal(err)
	}
	if err := edge.Verify(1, 42, hash, sig, cert); err != nil {
		t.Error(err)
	}
	edgeSig, edgeCert, err := edge.Sign(1, 42, hash)
	if err != nil {
		t.Fatal(err)
	}
	strangerSig, strangerCert, err := identity(t, stranger, RoleServer, "n1").Sign(1, 42, hash)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name      string
		domain    int32
		index     uint64
		hash      []byte
		sig, cert []byte
	}{
		{"other domain", 2, 42, hash, sig, cert},
		{"other index", 1, 43, hash, sig, cert},
		{"other hash", 1, 42, []byte("set hasj"), sig, cert},
		{"shorter hash", 1, 42, hash[:7], sig, cert},
		{"no signature", 1, 42, hash, nil, cert},
		{"no certificate", 1, 42, hash, sig, nil},
		{"an edge's signature", 1, 42, hash, edgeSig, edgeCert},
		{"a stranger's signature", 1, 42, hash, strangerSig, strangerCert},
		{"a stranger's certificate", 1, 42, hash, sig, strangerCert},
	} {
		if err := edge.Verify(test.domain, test.index, test.hash, test.sig, test.cert); err == nil {
			t.Errorf("%s: verified", test.name)
		}
	}
}

// A cache outlives the certificate that signed it.
func TestExpiredSignerStillVerifies(t *testing.T) {
	ca := newCA(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri, _ := roleURI(RoleServer, "old")
	serial, _ := newSerial()
	template := &x509.Certificate{SerialNumber: serial, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour), URIs: []*url.URL{uri}}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	d := digest(1, 7, []byte("h"))
	sig, err := ecdsa.SignASN1(rand.Reader, key, d[:])
	if err != nil {
		t.Fatal(err)
	}
	if err := NewVerifier(ca.Pool()).Verify(1, 7, []byte("h"), sig, der); err != nil {
		t.Error(err)
	}
}

func request(t *testing.T, template *x509.CertificateRequest) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestServingCertificates(t *testing.T) {
	ca := newCA(t)
	names := ServingNames([]string{"us-west-2", "eu-west-1", "us-west-2"})
	if len(names) != 4 {
		t.Fatalf("names: %v", names)
	}
	chain, err := ca.SignServing(request(t, &x509.CertificateRequest{DNSNames: names}), nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{
		"abcde12345.execute-api.us-west-2.amazonaws.com",
		"abcde12345-vpce-01d622316a7df47f9.execute-api.eu-west-1.amazonaws.com",
		"vpce-01d622316a7df47f9-abcdefgh-us-west-2a.execute-api.us-west-2.vpce.amazonaws.com",
	} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: host}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if role, id, ok := roleOfCertificate(leaf); ok {
		t.Errorf("serving certificate is %s/%s", role, id)
	}
	uri, _ := roleURI(RoleServer, "n1")
	for _, test := range []struct {
		name     string
		template x509.CertificateRequest
		regions  []string
	}{
		{"no name", x509.CertificateRequest{}, nil},
		{"a stranger's name", x509.CertificateRequest{DNSNames: []string{"www.amazon.com"}}, nil},
		{"a wider wildcard", x509.CertificateRequest{DNSNames: []string{"*.execute-api.amazonaws.com"}}, nil},
		{"dots in the region", x509.CertificateRequest{DNSNames: []string{"*.execute-api.us.west.amazonaws.com"}}, nil},
		{"a role's name", x509.CertificateRequest{DNSNames: names, URIs: []*url.URL{uri}}, nil},
		{"an address", x509.CertificateRequest{DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, nil},
		{"another region", x509.CertificateRequest{DNSNames: names}, []string{"us-west-2"}},
	} {
		if _, err := ca.SignServing(request(t, &test.template), test.regions); err == nil {
			t.Errorf("%s: signed", test.name)
		}
	}
	if _, err := ca.SignServing([]byte("junk"), nil); err == nil {
		t.Error("junk was signed")
	}
}
