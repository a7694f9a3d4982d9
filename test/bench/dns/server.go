package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// server is one that takes part.
type server struct {
	name string
	port int
	pid  int
}

// lab is all servers that this machine has, running, and what they are asked.
type lab struct {
	dir     string
	records []record
	queries string
	taskset string // empty: processors are not kept apart
	servers []server
	missing []string
	stderr  io.Writer
	running []*exec.Cmd
}

// basePort is the first of the servers' ports, ten for each.
const basePort = 17530

func newLab(ctx context.Context, names int, stderr io.Writer) (l *lab, err error) {
	dir, err := os.MkdirTemp("", "bench-dns-")
	if err != nil {
		return nil, err
	}
	l = &lab{dir: dir, records: records(names), queries: filepath.Join(dir, "queries"), stderr: stderr}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.taskset, err = exec.LookPath("taskset"); err != nil || runtime.NumCPU() < 2 {
		l.taskset = ""
		l.missing = append(l.missing, "taskset and two processors: servers and generator are not kept apart")
	}
	zone := filepath.Join(dir, "zone")
	if err := writeZone(zone, l.records); err != nil {
		return nil, err
	}
	if err := writeQueries(l.queries, l.records); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	number := strconv.Itoa(names)
	pid := l.start("postern", self, "-serve", "postern", "-names", number, "-port", strconv.Itoa(basePort))
	l.servers = append(l.servers, server{"postern", basePort, pid}, server{"postern, resolver", basePort + 1, pid})
	pid = l.start("bare", self, "-serve", "bare", "-names", number, "-port", strconv.Itoa(basePort+10))
	l.servers = append(l.servers, server{"bare miekg/dns", basePort + 10, pid})
	if err := l.startCoreDNS(ctx, zone); err != nil {
		return nil, err
	}
	if err := l.startKnot(zone); err != nil {
		return nil, err
	}
	for _, s := range l.servers {
		if err := l.await(ctx, s); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// start runs a server on the first processor.
func (l *lab) start(what, program string, args ...string) (pid int) {
	cmd := exec.Command(program, args...)
	if l.taskset != "" {
		cmd = exec.Command(l.taskset, append([]string{"-c", "0", program}, args...)...)
	}
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Dir = l.dir
	log, err := os.Create(filepath.Join(l.dir, what+".log"))
	if err == nil {
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintf(l.stderr, "start %s: %v\n", what, err) // await says that it is not there
		return 0
	}
	l.running = append(l.running, cmd)
	return cmd.Process.Pid
}

// startCoreDNS builds it from this module: the plugins bind and file alone.
func (l *lab) startCoreDNS(ctx context.Context, zone string) error {
	binary := filepath.Join(l.dir, "coredns")
	fmt.Fprintln(l.stderr, "building CoreDNS")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "./coredns").CombinedOutput(); err != nil {
		return fmt.Errorf("build CoreDNS: %w\n%s", err, out)
	}
	port := basePort + 20
	config := fmt.Sprintf("%s:%d {\n  bind 127.0.0.1\n  file %s\n}\n", apex, port, zone)
	file := filepath.Join(l.dir, "Corefile")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	pid := l.start("coredns", binary, "-conf", file, "-quiet")
	l.servers = append(l.servers, server{"CoreDNS file", port, pid})
	return nil
}

func (l *lab) startKnot(zone string) error {
	knotd, err := exec.LookPath("knotd")
	if _, there := os.Stat("/usr/sbin/knotd"); err != nil && there == nil {
		knotd, err = "/usr/sbin/knotd", nil
	}
	if err != nil {
		l.missing = append(l.missing, "Knot DNS: knotd is not installed (Debian package knot)")
		return nil
	}
	port := basePort + 30
	config := fmt.Sprintf(`server:
    listen: 127.0.0.1@%d
    rundir: %[2]s
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: %[2]s
log:
  - target: stderr
    any: warning
zone:
  - domain: %[3]s
    file: %[4]s
    semantic-checks: off
`, port, l.dir, apex, zone)
	file := filepath.Join(l.dir, "knot.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	pid := l.start("knot", knotd, "-c", file)
	l.servers = append(l.servers, server{"Knot DNS", port, pid})
	return nil
}

// await returns when a server says of some names what the zone holds, by UDP and TCP.
func (l *lab) await(ctx context.Context, s server) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := l.agrees(ctx, s)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s on port %d: %w", s.name, s.port, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (l *lab) agrees(ctx context.Context, s server) error {
	for i := 0; i < len(l.records); i += 1 + len(l.records)/100 {
		r := l.records[i]
		for _, network := range []string{"udp", "tcp"} {
			c := &dns.Client{Net: network, Timeout: 2 * time.Second}
			m, _, err := c.ExchangeContext(ctx, new(dns.Msg).SetQuestion(r.name, dns.TypeA), "127.0.0.1:"+strconv.Itoa(s.port))
			if err != nil {
				return err
			}
			var got []string
			for _, rr := range m.Answer {
				if a, ok := rr.(*dns.A); ok {
					got = append(got, a.A.String())
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, r.addresses) {
				return fmt.Errorf("says %v of %s, not %v", got, r.name, r.addresses)
			}
		}
	}
	return nil
}

// turn is what a server did in one turn.
type turn struct {
	PerSecond float64 `json:"answers_per_second"`
	Lost      int     `json:"lost"`
	// Micros is the server's processor time for each answer, in microseconds:
	// unlike the rate, other work on the machine leaves it about as it is.
	Micros float64 `json:"processor_us"`
}

// load asks a server for a while from the second processor.
func (l *lab) load(ctx context.Context, s server, network string, length time.Duration) (turn, error) {
	seconds := strconv.Itoa(int(length / time.Second))
	args := []string{"-s", "127.0.0.1", "-p", strconv.Itoa(s.port), "-m", network, "-d", l.queries, "-l", seconds, "-c", "8", "-T", "1", "-q", "200"}
	cmd := exec.CommandContext(ctx, "dnsperf", args...)
	if l.taskset != "" {
		cmd = exec.CommandContext(ctx, l.taskset, append([]string{"-c", "1", "dnsperf"}, args...)...)
	}
	used := processorTime(s.pid)
	out, err := cmd.CombinedOutput()
	used = processorTime(s.pid) - used
	if err != nil {
		return turn{}, fmt.Errorf("dnsperf: %w\n%s", err, out)
	}
	return parseTurn(string(out), used)
}

// parseTurn reads the statistics that dnsperf prints at its end.
func parseTurn(out string, used time.Duration) (turn, error) {
	var t turn
	completed := 0
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		first, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		var err error
		switch key {
		case "Queries per second":
			t.PerSecond, err = strconv.ParseFloat(first, 64)
		case "Queries completed":
			completed, err = strconv.Atoi(first)
		case "Queries lost":
			t.Lost, err = strconv.Atoi(first)
		}
		if err != nil {
			return turn{}, fmt.Errorf("dnsperf says %q: %w", line, err)
		}
	}
	if t.PerSecond == 0 || completed == 0 {
		return turn{}, fmt.Errorf("dnsperf says no rate:\n%s", out)
	}
	t.Micros = float64(used.Microseconds()) / float64(completed)
	return t, nil
}

func (l *lab) close() {
	for _, cmd := range l.running {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()
	}
	os.RemoveAll(l.dir)
}
