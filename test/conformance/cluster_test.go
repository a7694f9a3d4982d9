package conformance

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/posternhq/postern/internal/dev"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

// lab is a cluster that tests share; the first that needs it starts it.
type lab struct {
	settings *adminv1.Settings
	once     sync.Once
	addr     dev.Addresses
	stop     func() error
	err      error
}

var (
	strict = &lab{}
	// permissive lets endpoints be named before they exist here, as the literal
	// ids of the seed document are.
	permissive = &lab{settings: &adminv1.Settings{UnknownEndpoints: aws.String("allow")}}
)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, l := range []*lab{strict, permissive} {
		if l.stop == nil {
			continue
		}
		if err := l.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "the cluster ended badly:", err)
			code = max(code, 1)
		}
	}
	if testing.Verbose() && scoreTable != "" {
		fmt.Print("\n", scoreTable)
	}
	os.Exit(code)
}

// cluster is the cluster that most tests share.
func cluster(t testing.TB) dev.Addresses {
	t.Helper()
	return strict.addresses(t)
}

func (l *lab) addresses(t testing.TB) dev.Addresses {
	t.Helper()
	l.once.Do(func() { l.addr, l.stop, l.err = start(l.settings) })
	if l.err != nil {
		t.Fatal(l.err)
	}
	return l.addr
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

var accountCount atomic.Int64

// account returns the id of an account that no other test uses.
func account() string {
	return fmt.Sprintf("3000%08d", accountCount.Add(1))
}
