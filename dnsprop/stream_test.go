package dnsprop

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// framed is queries for A records as they go over TCP, with ids from 0.
func framed(t *testing.T, names ...string) []byte {
	t.Helper()
	var out []byte
	for id, name := range names {
		q := new(dns.Msg).SetQuestion(name, dns.TypeA)
		q.Id = uint16(id)
		b, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(b))), b...)
	}
	return out
}

func readFrame(t *testing.T, r io.Reader) *dns.Msg {
	t.Helper()
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatal(err)
	}
	return m
}

// A response that has to be waited for does not hold up those behind it, and
// one that is under way when the client has closed its side still arrives.
func TestResponsesLeaveWhenReady(t *testing.T) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	upstream := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		<-release
		_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeNameError)) // the test notices an answer that is missing
	})}
	go func() { _ = upstream.ActivateAndServe() }()
	defer upstream.Shutdown()
	s := serving(t, func(c *Config) { c.Forward = packets.LocalAddr().String() })
	_, public := s.Addresses()
	conn, err := net.Dial("tcp", public)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Write(framed(t, "example.com.", apiName, "example.org.", apiName)); err != nil {
		t.Fatal(err)
	}
	for _, id := range []uint16{1, 3} {
		if m := readFrame(t, conn); m.Id != id || m.Rcode != dns.RcodeSuccess {
			t.Errorf("answer %d, want %d: %v", m.Id, id, m)
		}
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	close(release)
	got := map[uint16]int{}
	for range 2 {
		m := readFrame(t, conn)
		got[m.Id] = m.Rcode
	}
	if len(got) != 2 || got[0] != dns.RcodeNameError || got[2] != dns.RcodeNameError {
		t.Errorf("forwarded answers %v", got)
	}
	if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("then %d bytes, %v", n, err)
	}
}

// Queries arrive in pieces of any size; none is lost at a seam of the buffer.
func TestQueriesInPieces(t *testing.T) {
	s := serving(t, nil)
	authorities, _ := s.Addresses()
	names := make([]string, 1000)
	for i := range names {
		names[i] = apiName
	}
	data := framed(t, names...)
	conn, err := net.Dial("tcp", authorities[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		for size := 1; len(data) > 0; size = size%977 + 61 {
			n := min(size, len(data))
			if _, err := conn.Write(data[:n]); err != nil {
				return // the reader notices
			}
			data = data[n:]
		}
	}()
	for id := range names {
		if m := readFrame(t, conn); m.Id != uint16(id) || say(m) != "127.0.0.1 60" {
			t.Fatalf("answer %d: %v", id, m)
		}
	}
}
