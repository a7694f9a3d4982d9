package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/posternhq/postern/internal/lockfile"
)

// openData makes or opens the data folder and locks it.
func (c *Cluster) openData() error {
	dir := c.cfg.Data
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "postern-"); err != nil {
			return fmt.Errorf("make a temporary data folder: %w", err)
		}
		c.temporary = true
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	c.addresses.Data = abs
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	c.unlock, err = lockfile.Lock(filepath.Join(abs, "lock"))
	if err != nil {
		return fmt.Errorf("data folder %s: %w", abs, err)
	}
	return nil
}

// closeData unlocks the data folder, and removes a temporary one.
func (c *Cluster) closeData() error {
	var errs []error
	if c.unlock != nil {
		errs = append(errs, c.unlock())
		c.unlock = nil
	}
	if c.temporary && c.addresses.Data != "" {
		errs = append(errs, os.RemoveAll(c.addresses.Data))
	}
	return errors.Join(errs...)
}

// listeners are what New has opened so far.
type listeners struct {
	open []io.Closer
}

func (l *listeners) add(c io.Closer) { l.open = append(l.open, c) }

func (l *listeners) close() {
	for _, c := range l.open {
		_ = c.Close()
	}
}

// tcp listens on an address, or on a free port of 127.0.0.1 if it is empty.
func (l *listeners) tcp(flag, address string) (net.Listener, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	var cfg net.ListenConfig
	ln, err := cfg.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s (another address can be given with %s, port 0 for a free one): %w", address, flag, err)
	}
	l.add(ln)
	return ln, nil
}

// freePort finds a port that nobody listens on. It may be taken before it is
// used; the edge then says so. Ports that the system gives to outgoing
// connections are as good as any here: endpoint addresses are no client's.
func (l *listeners) freePort() (int, error) {
	var cfg net.ListenConfig
	ln, err := cfg.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// localConn connects to a node's gRPC in the clear, which is on loopback.
func localConn(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}
