package edge

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"

	"github.com/posternhq/postern/dataplane/vpce"
)

// tlsConfigs are the TLS settings of the two sides. Endpoints speak TLS 1.2
// exactly, unless the settings widen it, and HTTP/1.1 only (private-apis.md §4,
// R9 and R13).
type tlsConfigs struct {
	outer   *tls.Config
	narrow  *tls.Config
	wide    *tls.Config
	public  *tls.Config
	widened atomic.Bool
}

func newTLSConfigs(certificates func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tlsConfigs {
	c := &tlsConfigs{
		narrow: &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: certificates},
		wide:   &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: certificates},
		public: &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: certificates},
	}
	// The certificate follows the client's SNI. That is all SNI does: where the
	// connection came from was decided before it was read.
	c.outer = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: c.choose, GetCertificate: certificates}
	return c
}

func (c *tlsConfigs) widen(on bool) { c.widened.Store(on) }

func (c *tlsConfigs) choose(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	conn, ok := hello.Conn.(*vpce.Conn)
	if !ok || conn.Arrival() == nil {
		return nil, vpce.ErrNotAdmitted
	}
	switch {
	case !conn.Arrival().Private():
		return c.public, nil
	case c.widened.Load():
		return c.wide, nil
	}
	return c.narrow, nil
}

// withConn is the http.Server's ConnContext. The arrival of a connection from a
// trusted peer is known only after the handshake, so it is asked for later.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		if v, ok := t.NetConn().(*vpce.Conn); ok {
			return withArrival(ctx, v.Arrival)
		}
	}
	return ctx
}
