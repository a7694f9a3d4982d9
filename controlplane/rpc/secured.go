package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
)

// Secured returns server credentials for connections whose TLS handshake has
// been done already, by the listener that split them by ALPN protocol. They
// read the peer's certificate from the connection; they never speak TLS.
func Secured() credentials.TransportCredentials { return secured{} }

type secured struct{}

func (secured) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, ok := conn.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return nil, nil, errors.New("connection carries no TLS state")
	}
	state := c.ConnectionState()
	return conn, credentials.TLSInfo{
		State:          state,
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

func (secured) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are for servers")
}

func (secured) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}
func (secured) Clone() credentials.TransportCredentials { return secured{} }
func (secured) OverrideServerName(string) error         { return nil }
