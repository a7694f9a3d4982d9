package bench

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/posternhq/postern/test/procs"
)

// patience bounds what is prepared for a benchmark, not what it measures.
const patience = time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(bareEnv) != "" {
		if err := serveBare(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// built is the folder of the binary, if a benchmark needed it.
var built string

// binary builds postern once, when a benchmark first needs it.
var binary = sync.OnceValues(func() (name string, err error) {
	if built, err = os.MkdirTemp("", "postern-bench-"); err != nil {
		return "", err
	}
	return procs.Build(context.Background(), built)
})

func build(b *testing.B) string {
	b.Helper()
	name, err := binary()
	if err != nil {
		b.Fatal(err)
	}
	return name
}

// cluster runs roles in processes of their own until the benchmark ends.
func cluster(b *testing.B, nodes, edges int) *procs.Cluster {
	b.Helper()
	c, err := procs.New(procs.Config{Binary: build(b), Dir: b.TempDir(), Nodes: nodes, Edges: edges, OwnPorts: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	if err := c.Start(soon(b)); err != nil {
		b.Fatal(err)
	}
	return c
}

func soon(b *testing.B) context.Context {
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	b.Cleanup(cancel)
	return ctx
}

// percentile sorts its argument.
func percentile(all []time.Duration, p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(float64(len(all))*p))]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
