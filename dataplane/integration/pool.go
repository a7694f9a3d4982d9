package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/posternhq/postern/internal/netx"
)

// Config is what a Pool needs.
type Config struct {
	Network netx.Network
	// RootCAs verifies backends; nil means the system's.
	RootCAs *x509.CertPool
	// BreakAfter is the number of failures in a row after which a backend is left
	// alone for BreakFor. 0, the default, never does so: AWS has no breaker.
	BreakAfter uint32
	BreakFor   time.Duration
}

// Pool keeps the connections to all backends.
type Pool struct {
	cfg      Config
	patterns patternCache
	strict   *http.Transport
	insecure *http.Transport // tlsConfig.insecureSkipVerification
}

// maxTimeout is the longest that a backend may take, and how long it takes where
// the integration doesn't say (private-apis.md §7).
const (
	maxTimeout = 29 * time.Second
	minTimeout = 50 * time.Millisecond
)

// New makes a Pool. It holds no connection until the first call.
func New(cfg Config) *Pool {
	p := &Pool{cfg: cfg}
	p.strict = p.transport(&tls.Config{RootCAs: cfg.RootCAs})
	p.insecure = p.transport(&tls.Config{InsecureSkipVerify: true})
	return p
}

func (p *Pool) transport(cfg *tls.Config) *http.Transport {
	cfg.MinVersion = tls.VersionTLS12
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			// The transport detaches dialling from the request that asked for it.
			ctx, cancel := context.WithTimeout(ctx, maxTimeout)
			defer cancel()
			return p.cfg.Network.Dial(ctx, network, address)
		},
		TLSClientConfig:        cfg,
		TLSHandshakeTimeout:    maxTimeout,
		DisableCompression:     true, // bodies pass as they are
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		WriteBufferSize:        16 << 10,
		ReadBufferSize:         16 << 10,
		// Backends are always called with HTTP/1.1 (private-apis.md R13).
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
}

// Close drops the idle connections.
func (p *Pool) Close() {
	p.strict.CloseIdleConnections()
	p.insecure.CloseIdleConnections()
}

// roundTripper is the way to one integration's backend.
func (p *Pool) roundTripper(name string, insecure bool) http.RoundTripper {
	var rt http.RoundTripper = p.strict
	if insecure {
		rt = p.insecure
	}
	if p.cfg.BreakAfter == 0 {
		return rt
	}
	return &breaker{next: rt, state: gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{
		Name:        name,
		Timeout:     p.cfg.BreakFor,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= p.cfg.BreakAfter },
		// A client that leaves says nothing about the backend.
		IsSuccessful: func(err error) bool { return err == nil || errors.Is(err, context.Canceled) },
	})}
}

// breaker stops calling a backend that does not answer.
type breaker struct {
	next  http.RoundTripper
	state *gobreaker.CircuitBreaker[*http.Response]
}

func (b *breaker) RoundTrip(r *http.Request) (*http.Response, error) {
	return b.state.Execute(func() (*http.Response, error) { return b.next.RoundTrip(r) })
}
