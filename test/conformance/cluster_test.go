package conformance

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/posternhq/postern/internal/dev"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

// endpoints may be named before they exist here: the CLI's own examples do it.
var lab struct {
	once  sync.Once
	stop  func() error
	addr  dev.Addresses
	err   error
	count int
	mu    sync.Mutex
}

func TestMain(m *testing.M) {
	code := m.Run()
	if lab.stop != nil {
		if err := lab.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "the cluster ended badly:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// cluster is the cluster that all tests share; the first one starts it.
func cluster(t testing.TB) dev.Addresses {
	t.Helper()
	lab.once.Do(func() { lab.addr, lab.stop, lab.err = start(nil) })
	if lab.err != nil {
		t.Fatal(lab.err)
	}
	return lab.addr
}

// start runs a cluster of one node and one edge until stop.
func start(settings *adminv1.Settings) (dev.Addresses, func() error, error) {
	c, err := dev.New(dev.Config{Nodes: 1, Edges: 1, Settings: settings, DefaultProfile: "instant"})
	if err != nil {
		return dev.Addresses{}, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	stop := func() error {
		cancel()
		return <-ended
	}
	select {
	case <-c.Ready():
		return c.Addresses(), stop, nil
	case err := <-ended:
		cancel()
		return dev.Addresses{}, nil, fmt.Errorf("the cluster ended before it was ready: %w", err)
	case <-time.After(time.Minute):
		return dev.Addresses{}, nil, fmt.Errorf("the cluster is not ready after a minute (%w)", stop())
	}
}

// account returns the id of an account that no other test uses.
func account() string {
	lab.mu.Lock()
	defer lab.mu.Unlock()
	lab.count++
	return fmt.Sprintf("3000%08d", lab.count)
}
