package resolvers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/test/optional"
)

// software is a resolver that people run.
type software struct {
	name    string
	program string
	// setup writes the configuration for a place, and returns the arguments.
	setup func(s site) (args []string, err error)
}

// site is where a resolver runs, and how.
type site struct {
	dir       string
	port      int
	authority int // port of the name server on loopback
	mode      mode
}

func (s site) write(name, text string) error {
	return os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600)
}

// clock is the wall clock of the processes of a test: a file that they map.
type clock struct {
	library string
	file    string
}

// newClock compiles testdata/clock.c.
func newClock(t *testing.T) clock {
	t.Helper()
	compiler := optional.Tool(t, "gcc")
	dir := t.TempDir()
	c := clock{library: filepath.Join(dir, "clock.so"), file: filepath.Join(dir, "clock")}
	if out, err := exec.Command(compiler, "-shared", "-fPIC", "-O2", "-Wall", "-o", c.library, "testdata/clock.c").CombinedOutput(); err != nil {
		t.Fatalf("compile the clock: %v\n%s", err, out)
	}
	return c
}

// set moves the clock. The file stays the one that is mapped.
func (c clock) set(at time.Time) error {
	f, err := os.OpenFile(c.file, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(at.Unix())), 0)
	return errors.Join(err, f.Close())
}

// run starts a resolver, which ends with the test, and returns its address.
func (w software) run(t *testing.T, c clock, authority int, m mode) string {
	t.Helper()
	program := w.program
	if path, err := exec.LookPath(program); err == nil {
		program = path
	} else if path := "/usr/sbin/" + program; exists(path) {
		program = path
	} else {
		optional.Missing(t, w.program+" is not installed")
	}
	s := site{dir: t.TempDir(), port: freePort(t), authority: authority, mode: m}
	args, err := w.setup(s)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Dir = s.dir
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append(os.Environ(), "LD_PRELOAD="+c.library, "TEST_CLOCK="+c.file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if err := <-ended; err == nil {
			t.Errorf("%s ended before it was killed", w.name)
		}
		if t.Failed() {
			t.Logf("%s %s said:\n%s", w.name, m.name, lastLines(log.String(), 10))
		}
	})
	address := net.JoinHostPort("127.0.0.1", fmt.Sprint(s.port))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", w.name, err, log.String())
		default:
		}
		if r, err := exchange(address, "ready."+apex, dns.TypeA); err == nil && r.Rcode == dns.RcodeSuccess && len(r.Answer) == 1 {
			return address
		} else if time.Now().After(deadline) {
			t.Fatalf("%s does not get ready: %v %v\n%s", w.name, r, err, log.String())
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// freePort is one that is free for UDP and TCP at the moment.
func freePort(t *testing.T) int {
	t.Helper()
	for range 20 {
		u, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := u.LocalAddr().(*net.UDPAddr).Port
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		u.Close()
		if err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

var client = dns.Client{Timeout: 10 * time.Second}

func exchange(address, name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	r, _, err := client.Exchange(q, address)
	return r, err
}
