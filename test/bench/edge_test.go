package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posternhq/postern/test/tenant"
)

// A round asks one side so often over so many kept connections.
const (
	requestsARound = 4000
	connections    = 16
)

// side is one of two servers that are compared.
type side struct {
	pid   int
	conns []*client
	rates []float64 // requests a second, by round
	used  time.Duration
}

// client is one kept connection that sends always the same bytes: what the
// clients cost is the same for both sides, and little.
type client struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
}

func newClient(conn net.Conn, serverName string) (*client, error) {
	secured := tls.Client(conn, &tls.Config{ServerName: serverName, InsecureSkipVerify: true}) // speed is measured, not trust
	if err := secured.Handshake(); err != nil {
		return nil, err
	}
	request := "GET /test HTTP/1.1\r\nHost: " + serverName + "\r\nUser-Agent: bench\r\nAccept-Encoding: identity\r\n\r\n"
	return &client{conn: secured, in: bufio.NewReader(secured), request: []byte(request)}, nil
}

var errAnswer = errors.New("the answer is not the expected one")

// do makes one request and reads its answer.
func (c *client) do() error {
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	length := -1
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case first && string(line) != "HTTP/1.1 200 OK\r\n":
			return fmt.Errorf("%w: %s", errAnswer, line)
		case len(line) > 16 && strings.EqualFold(string(line[:16]), "Content-Length: "):
			if length, err = strconv.Atoi(strings.TrimSpace(string(line[16:]))); err != nil {
				return err
			}
			continue
		case len(line) > 2:
			continue
		}
		if length != len(tenant.Body) {
			return fmt.Errorf("%w: a body of %d bytes", errAnswer, length)
		}
		_, err = c.in.Discard(length)
		return err
	}
}

func (s *side) round(b *testing.B) {
	b.Helper()
	used := processor(b, s.pid)
	began := time.Now()
	var group sync.WaitGroup
	for _, c := range s.conns {
		group.Go(func() {
			for range requestsARound / connections {
				if err := c.do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	s.rates = append(s.rates, requestsARound/time.Since(began).Seconds())
	s.used += processor(b, s.pid) - used
}

func (s *side) connect(b *testing.B, serverName string, dial func() (net.Conn, error)) {
	b.Helper()
	for range connections {
		conn, err := dial()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close() })
		c, err := newClient(conn, serverName)
		if err != nil {
			b.Fatal(err)
		}
		s.conns = append(s.conns, c)
	}
}

func (s *side) rate() float64 {
	var all []time.Duration
	for _, r := range s.rates {
		all = append(all, time.Duration(r*1e6))
	}
	return float64(percentile(all, 0.5)) / 1e6
}

// BenchmarkEdgeRequest compares an edge (arrival by endpoint, resource policy,
// routing, MOCK integration) with a bare net/http server, each a process of its
// own with the same TLS settings, over kept connections. The two take turns, so
// that whatever else the machine does falls on both. Target: 0.8 × the bare one.
func BenchmarkEdgeRequest(b *testing.B) {
	needsProc(b)
	c := cluster(b, 1, 1)
	t, err := tenant.New(soon(b), c)
	if err != nil {
		b.Fatal(err)
	}
	if r, err := c.Command(soon(b), "wait", "--latest", "--timeout", "30s"); err != nil || r.Exit != 0 {
		b.Fatal(r, err)
	}
	edge := &side{pid: c.Edges[0].PID()}
	edge.connect(b, t.Name, func() (net.Conn, error) { return t.Dial(b.Context(), c.Edges[0]) })
	pid, address := startBare(b)
	bare := &side{pid: pid}
	bare.connect(b, "bare.test", func() (net.Conn, error) {
		return (&net.Dialer{}).DialContext(b.Context(), "tcp", address)
	})
	for b.Loop() {
		edge.round(b)
		bare.round(b)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(edge.rate(), "edge-req/s")
	b.ReportMetric(bare.rate(), "bare-req/s")
	b.ReportMetric(edge.rate()/bare.rate(), "edge/bare")
	requests := float64(len(edge.rates) * requestsARound)
	b.ReportMetric(float64(edge.used.Microseconds())/requests, "edge-µs-cpu/req")
	b.ReportMetric(float64(bare.used.Microseconds())/requests, "bare-µs-cpu/req")
}

// startBare starts this binary as the bare server.
func startBare(b *testing.B) (pid int, address string) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), bareEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		cancel()
		_ = cmd.Wait()
	})
	address, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return cmd.Process.Pid, strings.TrimSpace(address)
}
