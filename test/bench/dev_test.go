package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// dev starts `postern dev` as a newcomer does, but on free ports, and returns
// once it says that all is ready.
func dev(b *testing.B) (*exec.Cmd, time.Duration) {
	b.Helper()
	ready := filepath.Join(b.TempDir(), "ready.json")
	cmd := exec.Command(build(b), "dev", "--listen-api", "127.0.0.1:0", "--listen-grpc", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0",
		"--listen-dns", "127.0.0.1:0", "--authority-port", "0", "--listen-proxy", "127.0.0.1:0", "--edge-port", "0", "--ready-file", ready, "-o", "json")
	cmd.Stderr = os.Stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill() })
	for ctx := soon(b); ; {
		if _, err := os.Stat(ready); err == nil {
			return cmd, time.Since(began)
		}
		select {
		case <-ctx.Done():
			b.Fatal("postern dev is not ready")
		case <-time.After(time.Millisecond):
		}
	}
}

func stop(b *testing.B, cmd *exec.Cmd) {
	b.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		b.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		b.Errorf("postern dev ended with %v", err)
	}
}

// BenchmarkDevReady: from the command to three nodes, two edges and DNS being
// ready, on a folder that is made for it. Limit: 2 s.
func BenchmarkDevReady(b *testing.B) {
	build(b)
	var all []time.Duration
	for b.Loop() {
		cmd, took := dev(b)
		all = append(all, took)
		b.StopTimer()
		stop(b, cmd)
		b.StartTimer()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ms(percentile(all, 0.5)), "ms-p50")
	b.ReportMetric(ms(percentile(all, 1)), "ms-max")
}

// idle is how long a cluster is left alone before it is weighed.
const idle = 10 * time.Second

// BenchmarkDevIdle weighs the same cluster after it has idled. Limit: 150 MB.
func BenchmarkDevIdle(b *testing.B) {
	needsProc(b)
	cmd, _ := dev(b)
	began, used := time.Now(), processor(b, cmd.Process.Pid)
	for b.Loop() {
		time.Sleep(idle) // what is measured is what happens when nothing does
	}
	share := float64(processor(b, cmd.Process.Pid)-used) / float64(time.Since(began))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(resident(b, cmd.Process.Pid)/1e6, "MB-resident")
	b.ReportMetric(100*share, "%-of-a-core")
	stop(b, cmd)
}

// BenchmarkRoleIdle weighs each role in a process of its own.
func BenchmarkRoleIdle(b *testing.B) {
	needsProc(b)
	c := cluster(b, 3, 1)
	began := time.Now()
	used := map[int]time.Duration{}
	for _, p := range c.All() {
		used[p.PID()] = processor(b, p.PID())
	}
	for b.Loop() {
		time.Sleep(idle)
	}
	b.ReportMetric(0, "ns/op")
	leader, err := c.Leader(soon(b))
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range c.All() {
		name := p.ID
		switch {
		case p == leader:
			name = "leader"
		case p.API != "":
			name = "follower" // the last one stands for all
		}
		b.ReportMetric(resident(b, p.PID())/1e6, fmt.Sprintf("MB-%s", name))
		b.ReportMetric(100*float64(processor(b, p.PID())-used[p.PID()])/float64(time.Since(began)), fmt.Sprintf("%%cpu-%s", name))
	}
}
