package cluster

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func TestConfirmed(t *testing.T) {
	start := time.Now()
	before, after := start.Add(-time.Nanosecond), start.Add(time.Nanosecond)
	voters := func(ids ...raft.ServerID) (s []raft.Server) {
		for _, id := range ids {
			s = append(s, raft.Server{ID: id, Suffrage: raft.Voter})
		}
		return s
	}
	nonvoter := raft.Server{ID: "x", Suffrage: raft.Nonvoter}
	tests := []struct {
		name     string
		contacts map[raft.ServerID]contact
		servers  []raft.Server
		want     bool
	}{
		{"alone", nil, voters("me"), true},
		{"nobody answered", nil, voters("me", "b", "c"), false},
		{"one of two others", map[raft.ServerID]contact{"b": {term: 2, sent: after}}, voters("me", "b", "c"), true},
		{"an answer to what was sent before counts for nothing", map[raft.ServerID]contact{"b": {term: 2, sent: before}, "c": {term: 2, sent: start}}, voters("me", "b", "c"), false},
		{"an answer of another term counts for nothing", map[raft.ServerID]contact{"b": {term: 1, sent: after}}, voters("me", "b", "c"), false},
		{"a non-voter counts for nothing", map[raft.ServerID]contact{"x": {term: 2, sent: after}}, append(voters("me", "b", "c"), nonvoter), false},
		{"one of four others", map[raft.ServerID]contact{"b": {term: 2, sent: after}}, voters("me", "b", "c", "d", "e"), false},
		{"two of four others", map[raft.ServerID]contact{"b": {term: 2, sent: after}, "e": {term: 2, sent: after}}, voters("me", "b", "c", "d", "e"), true},
		{"one of two", nil, voters("me", "b"), false},
		{"a leader that is no voter", map[raft.ServerID]contact{"b": {term: 2, sent: after}}, voters("b", "c"), false},
		{"no servers", nil, nil, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tr := &transport{contacts: test.contacts}
			if got := tr.confirmed("me", 2, start, test.servers); got != test.want {
				t.Errorf("confirmed = %v", got)
			}
		})
	}
}

type tcp struct{ net.Listener }

func (tcp) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(to), timeout)
}

func TestGate(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(tcp{ln}, "n1", "n1:4781")
	defer func() { _ = g.Close() }()
	if g.Addr().String() != "n1:4781" {
		t.Errorf("address %s", g.Addr())
	}
	to := raft.ServerAddress(ln.Addr().String())
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := g.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	out, err := g.Dial(to, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	in := <-accepted

	g.close()
	for _, c := range []net.Conn{in, out} {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a connection outlives the cut: %v", err)
		}
		_ = c.Close()
	}
	g.wait()
	if _, err := g.Dial(to, time.Second); !errors.Is(err, errGateShut) {
		t.Errorf("dial through a shut gate: %v", err)
	}
	// From outside the listener still takes the connection, and drops it.
	stranger, err := net.Dial("tcp", string(to))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Read(make([]byte, 1)); err == nil {
		t.Error("a stranger is served while the gate is shut")
	}

	g.open()
	out, err = g.Dial(to, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	in = <-accepted
	_ = out.Close()
	_ = in.Close()
	if len(g.conns) != 0 {
		t.Errorf("%d closed connections are remembered", len(g.conns))
	}
}

// Entries for a peer that is down leave when a heartbeat has found it again,
// and not at all once this node has ceased to replicate to it.
func TestEntriesWaitForHeartbeat(t *testing.T) {
	var replicates atomic.Bool
	replicates.Store(true)
	var up atomic.Bool
	silent := errors.New("nobody there")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	peer := raft.NewNetworkTransport(tcp{ln}, 1, time.Second, io.Discard)
	defer func() { _ = peer.Close() }()
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case rpc := <-peer.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Term: 7, Success: true}, nil)
			case <-done:
				return
			}
		}
	}()
	own, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	inner := raft.NewNetworkTransport(switched{tcp{own}, &up, silent}, 1, time.Second, io.Discard)
	defer func() { _ = inner.Close() }()
	tr := newTransport(inner, func(uint64, raft.ServerID, raft.ServerAddress) bool { return replicates.Load() })
	send := func(entries ...*raft.Log) error {
		return tr.AppendEntries("b", raft.ServerAddress(ln.Addr().String()), &raft.AppendEntriesRequest{Term: 7, Entries: entries}, &raft.AppendEntriesResponse{})
	}

	if err := send(); !errors.Is(err, silent) || !tr.isDown("b") {
		t.Fatalf("heartbeat: %v, down: %v", err, tr.isDown("b"))
	}
	sent := make(chan error, 1)
	go func() { sent <- send(&raft.Log{Index: 1, Term: 7}) }()
	replicates.Store(false)
	if err := <-sent; !errors.Is(err, errNotReplicating) {
		t.Errorf("entries of a leader that is none any more: %v", err)
	}
	replicates.Store(true)
	go func() { sent <- send(&raft.Log{Index: 1, Term: 7}) }()
	up.Store(true)
	if err := send(); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Errorf("entries after the peer came back: %v", err)
	}
	if c := tr.contact("b"); c.term != 7 || tr.isDown("b") {
		t.Errorf("contact %v, down %v", c, tr.isDown("b"))
	}
}

// switched dials only while it is up.
type switched struct {
	tcp
	up   *atomic.Bool
	down error
}

func (s switched) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	if !s.up.Load() {
		return nil, s.down
	}
	return s.tcp.Dial(to, timeout)
}

// A connection that reaches another node than it is meant for carries nothing.
func TestPreamble(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(tcp{ln}, "n1", "n1:4781")
	defer func() { _ = g.Close() }()
	for _, test := range []struct {
		to   string
		want error
		ok   bool
	}{
		{to: "n1@", ok: true},
		{to: "n2@"},
		{to: "n1x@"},
		{to: strings.Repeat("n", 300) + "@"},
		{to: "", want: io.EOF}, // tries the address and leaves
	} {
		c, err := g.Dial(raft.ServerAddress(test.to+ln.Addr().String()), time.Second)
		if err != nil {
			if test.ok {
				t.Errorf("to %q: %v", test.to, err)
			}
			// The acceptor has the connection all the same.
			c = nil
		}
		in, err := g.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if c != nil {
			if test.want == nil {
				_, _ = c.Write([]byte("x"))
			}
			_ = c.Close()
		}
		b := make([]byte, 1)
		n, err := in.Read(b)
		if (err == nil) != test.ok || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("to %q: read %d bytes, %v", test.to, n, err)
		}
		_ = in.Close()
	}
	for _, other := range []string{"\x02\x02n1", "\x01", "\x01\x05n1"} {
		if err := readPreamble(strings.NewReader(other), "n1"); err == nil {
			t.Errorf("preamble %q is accepted", other)
		}
	}
}
