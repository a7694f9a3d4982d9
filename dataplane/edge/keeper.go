package edge

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/posternhq/postern/internal/pki"
)

// KeeperConfig is what a Keeper needs.
type KeeperConfig struct {
	// Dir is the edge's data folder.
	Dir string
	// Sign has the cluster's CA sign a request (PKCS #10, DER) and returns the
	// chain, leaf first.
	Sign func(ctx context.Context, csr []byte) ([][]byte, error)
	// Regions are covered from the beginning; none means DefaultRegion.
	Regions []string
	Logger  *slog.Logger
}

// DefaultRegion is where a request without a region goes. It is covered before
// anything exists, so that the first of its APIs need not wait for a signature.
const DefaultRegion = "us-west-2"

// Keeper keeps an edge's serving certificate: for a key that the edge makes
// itself and never gives away, for the names of all regions that the edge
// serves, and on disk, so that the edge can serve after a restart when there is
// nobody to sign.
type Keeper struct {
	cfg  KeeperConfig
	log  *slog.Logger
	key  *ecdsa.PrivateKey
	wake chan struct{}

	mu      sync.Mutex
	regions map[string]bool // what is to be covered
	cert    *tls.Certificate
	changed chan struct{} // closed when cert changes
}

const (
	// maxRegions is what one certificate has room for: its signer takes 256 names,
	// two a region. AWS has not forty regions.
	maxRegions = 128
	// handshakeWait is how long a handshake waits for a certificate that is on
	// its way.
	handshakeWait = 3 * time.Second
	// signTimeout bounds one attempt, retryMin and retryMax what is between them.
	signTimeout = 5 * time.Second
	retryMin    = 100 * time.Millisecond
	retryMax    = 10 * time.Second
	// gatherTime lets regions that become known together share one signature.
	gatherTime = 5 * time.Millisecond
)

// NewKeeper loads what is on disk, or makes a key.
func NewKeeper(cfg KeeperConfig) (*Keeper, error) {
	if cfg.Sign == nil || cfg.Logger == nil {
		return nil, errors.New("edge: Sign and Logger are needed")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the edge's folder: %w", err)
	}
	key, err := pki.LoadOrCreateKey(filepath.Join(cfg.Dir, "serving.key"))
	if err != nil {
		return nil, err
	}
	k := &Keeper{
		cfg: cfg, log: cfg.Logger.With("component", "keeper"), key: key,
		wake: make(chan struct{}, 1), regions: map[string]bool{}, changed: make(chan struct{}),
	}
	chain, err := pki.LoadChain(k.chainFile())
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		// Nothing is lost but a signature.
		k.log.Warn("serving certificate on disk can't be used", "error", err)
	case key.PublicKey.Equal(chain[0].PublicKey):
		k.cert = k.certificate(chain)
	}
	if len(cfg.Regions) == 0 {
		k.regions[DefaultRegion] = true
	}
	for _, r := range cfg.Regions {
		k.regions[r] = true
	}
	k.wake <- struct{}{}
	return k, nil
}

func (k *Keeper) chainFile() string { return filepath.Join(k.cfg.Dir, "serving.pem") }

func (k *Keeper) certificate(chain []*x509.Certificate) *tls.Certificate {
	c := &tls.Certificate{PrivateKey: k.key, Leaf: chain[0]}
	for _, cert := range chain {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

// Cover adds a region to those that the certificate is to cover.
func (k *Keeper) Cover(region string) {
	k.mu.Lock()
	known := region == "" || k.regions[region]
	full := !known && len(k.regions) >= maxRegions
	if !known && !full {
		k.regions[region] = true
	}
	k.mu.Unlock()
	if full {
		// Without it the other regions keep a certificate that can be renewed.
		k.log.Debug("region is not covered: the serving certificate is full", "region", region)
		return
	}
	if known {
		return
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Ready says why no handshake can succeed although there is something to serve,
// nil otherwise: an edge of a cluster without APIs and endpoints is ready.
func (k *Keeper) Ready() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cert == nil && len(k.regions) > 0 {
		return errors.New("no serving certificate yet")
	}
	return nil
}

// Certificate is for tls.Config.GetCertificate. If the certificate for the name
// that the client asks for is being signed, the handshake waits for it a while.
func (k *Keeper) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return k.forName(hello.Context(), hello.ServerName)
}

func (k *Keeper) forName(ctx context.Context, name string) (*tls.Certificate, error) {
	deadline := time.NewTimer(handshakeWait)
	defer deadline.Stop()
	for {
		k.mu.Lock()
		cert, changed, complete := k.cert, k.changed, k.complete()
		k.mu.Unlock()
		if cert != nil && (complete || name == "" || cert.Leaf.VerifyHostname(name) == nil) {
			return cert, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-deadline.C:
			if cert == nil {
				return nil, errors.New("no serving certificate yet")
			}
			return cert, nil
		}
	}
}

// names are what the certificate is to cover. The caller holds mu.
func (k *Keeper) names() []string {
	regions := make([]string, 0, len(k.regions))
	for r := range k.regions {
		regions = append(regions, r)
	}
	return pki.ServingNames(regions)
}

// complete reports whether the certificate covers all regions. The caller holds mu.
func (k *Keeper) complete() bool {
	if k.cert == nil {
		return false
	}
	for r := range k.regions {
		for _, name := range pki.ServingNames([]string{r}) {
			if !slices.Contains(k.cert.Leaf.DNSNames, name) {
				return false
			}
		}
	}
	return true
}

// due reports whether the certificate is in the last third of its life.
func (k *Keeper) due(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cert == nil {
		return true
	}
	life := k.cert.Leaf.NotAfter.Sub(k.cert.Leaf.NotBefore)
	return now.After(k.cert.Leaf.NotAfter.Add(-life / 3))
}

// Run has the certificate signed whenever a region is added or its end comes
// near, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	retry := time.NewTimer(0)
	retry.Stop()
	pause := retryMin
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.wake:
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(gatherTime):
			}
		case <-hourly.C:
		case <-retry.C:
		}
		if err := k.renew(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if pause == retryMin {
				k.log.Info("serving certificate is not signed yet", "error", err)
			}
			retry.Reset(pause/2 + mathrand.N(pause))
			pause = min(2*pause, retryMax)
			continue
		}
		pause = retryMin
	}
}

func (k *Keeper) renew(ctx context.Context) error {
	k.mu.Lock()
	complete, names := k.complete(), k.names()
	k.mu.Unlock()
	if len(names) == 0 || complete && !k.due(time.Now()) {
		return nil
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, k.key)
	if err != nil {
		return fmt.Errorf("make certificate request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, signTimeout)
	defer cancel()
	ders, err := k.cfg.Sign(ctx, csr)
	if err != nil {
		return fmt.Errorf("have certificate signed: %w", err)
	}
	var chain []*x509.Certificate
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("parse signed certificate: %w", err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 || !k.key.PublicKey.Equal(chain[0].PublicKey) {
		return errors.New("signed certificate is not of the edge's key")
	}
	k.mu.Lock()
	k.cert = k.certificate(chain)
	close(k.changed)
	k.changed = make(chan struct{})
	k.mu.Unlock()
	if err := pki.SaveChain(k.chainFile(), ders); err != nil {
		k.log.Warn("serving certificate can't be kept on disk", "error", err)
	}
	k.log.Info("serving certificate signed", "names", strings.Join(names, " "))
	return nil
}
