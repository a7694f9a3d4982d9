package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

const (
	// pingAfter is how long a connection with open calls may be silent before it
	// is asked for a sign of life (gRPC allows no less than 10 s), pingTimeout how
	// long that may take.
	pingAfter   = 10 * time.Second
	pingTimeout = 3 * time.Second
)

// AllowPings is what a server must be made with so that it bears the pings of Peers.
func AllowPings() grpc.ServerOption {
	return grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingAfter / 2})
}

// Peers keeps one connection to each other node, made on first use.
type Peers struct {
	creds   credentials.TransportCredentials
	options []grpc.DialOption

	mu    sync.Mutex
	conns map[string]*grpc.ClientConn
}

// NewPeers returns Peers that dial with these credentials.
func NewPeers(creds credentials.TransportCredentials, options ...grpc.DialOption) *Peers {
	return &Peers{creds: creds, options: options, conns: map[string]*grpc.ClientConn{}}
}

// Conn returns the connection to the node at address ("host:port"). It does not
// wait for the node: a call on the connection fails if it can't be reached. The
// connection is shared, so its users can't close it.
func (p *Peers) Conn(address string) (grpc.ClientConnInterface, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.conns[address]; c != nil {
		return shared{c}, nil
	}
	options := append([]grpc.DialOption{
		grpc.WithTransportCredentials(p.creds),
		// A node that comes back is found within a second: leaders change faster
		// than gRPC's default backoff of up to two minutes forgives.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
		// A connection cut in silence is given up, so that the next call dials:
		// else it would wait for the kernel's last resend, minutes later.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
	}, p.options...)
	c, err := grpc.NewClient("passthrough:///"+address, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	p.conns[address] = c
	return shared{c}, nil
}

// shared hides Close from the users of a connection.
type shared struct{ *grpc.ClientConn }

// Close does nothing: the connection is everybody's.
func (shared) Close() error { return nil }

// dialPatience bounds how long a connection may take to stand.
const dialPatience = time.Second

// reachable returns once the connection stands. False means that it does not,
// and so that nothing can have been sent on it since.
func (s shared) reachable(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	for {
		switch state := s.GetState(); state {
		case connectivity.Ready:
			return true
		case connectivity.TransientFailure, connectivity.Shutdown:
			return false
		default:
			s.Connect()
			if !s.WaitForStateChange(ctx, state) {
				return false
			}
		}
	}
}

// Close closes every connection.
func (p *Peers) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, c := range p.conns {
		errs = append(errs, c.Close())
	}
	p.conns = map[string]*grpc.ClientConn{}
	return errors.Join(errs...)
}
