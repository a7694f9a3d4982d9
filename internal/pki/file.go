package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// createFile writes a file that must appear whole and only once: whoever comes
// second leaves the first one's in place, and is told nothing.
func createFile(name string, data []byte, mode fs.FileMode) error {
	temp, err := writeTemp(name, data, mode)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	if err := os.Link(temp, name); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create %s: %w", name, err)
	}
	return syncDir(filepath.Dir(name))
}

// replaceFile writes a file so that readers see the old or the new one, whole.
func replaceFile(name string, data []byte, mode fs.FileMode) error {
	temp, err := writeTemp(name, data, mode)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, name); err != nil {
		os.Remove(temp)
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return syncDir(filepath.Dir(name))
}

func writeTemp(name string, data []byte, mode fs.FileMode) (temp string, err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*") // 0600 from the start
	if err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", name, err)
		}
	}()
	if _, err := f.Write(data); err != nil {
		return "", err
	}
	if err := f.Chmod(mode); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func createKey(name string, key *ecdsa.PrivateKey) error {
	text, err := encodeKey(key)
	if err != nil {
		return err
	}
	return createFile(name, text, 0o600)
}

func absent(name string) bool {
	_, err := os.Stat(name)
	return errors.Is(err, fs.ErrNotExist)
}

// LoadOrCreateKey reads an ECDSA key, or makes one: 0600, and never replaced.
func LoadOrCreateKey(name string) (*ecdsa.PrivateKey, error) {
	if absent(name) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("make key %s: %w", name, err)
		}
		if err := createKey(name, key); err != nil {
			return nil, err
		}
	}
	return readKey(name)
}

// SaveChain writes a certificate chain (DER, leaf first) as PEM, whole or not at all.
func SaveChain(name string, chain [][]byte) error {
	return replaceFile(name, encodeCertificates(chain...), 0o644)
}

// LoadChain reads what SaveChain wrote.
func LoadChain(name string) ([]*x509.Certificate, error) {
	_, certs, err := readCertificates(name)
	return certs, err
}

// readKey reads an ECDSA key in PKCS #8.
func readKey(name string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	return parseKey(name, text)
}

func parseKey(name string, text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("read key %s: no PEM block PRIVATE KEY", name)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", name, err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read key %s: type %T, want ECDSA", name, key)
	}
	return ec, nil
}

func readCertificates(name string) (text []byte, certs []*x509.Certificate, err error) {
	text, err = os.ReadFile(name)
	if err != nil {
		return nil, nil, fmt.Errorf("read certificates: %w", err)
	}
	certs, err = parseCertificates(name, text)
	return text, certs, err
}

func parseCertificates(name string, text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for rest := text; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read certificates %s: %w", name, err)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("read certificates %s: none found", name)
	}
	return certs, nil
}
