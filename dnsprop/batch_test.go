package dnsprop

import (
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Packets of several clients wait together, some of them without a response:
// each client gets its own answers and nobody else's.
func TestBatchesKeepClientsApart(t *testing.T) {
	s := serving(t, nil)
	authorities, _ := s.Addresses()
	names := []string{apiName, "nobody." + apiZone, "many." + apiZone}
	const each = 40 // together fewer than a socket holds
	var conns []net.Conn
	for range names {
		conn, err := net.Dial("udp", authorities[0])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		conns = append(conns, conn)
	}
	for id := range uint16(each) {
		for i, conn := range conns {
			q := new(dns.Msg).SetQuestion(names[i], dns.TypeA)
			q.Id = id
			b, err := q.Pack()
			if err != nil {
				t.Fatal(err)
			}
			for _, packet := range [][]byte{b, b[:5]} { // the second is none
				if _, err := conn.Write(packet); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	buf := make([]byte, 2048)
	for i, conn := range conns {
		seen := map[uint16]bool{}
		for range each {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("%s after %d answers: %v", names[i], len(seen), err)
			}
			m := new(dns.Msg)
			if err := m.Unpack(buf[:n]); err != nil || m.Question[0].Name != names[i] || seen[m.Id] || m.Id >= each {
				t.Fatalf("%s: %v %v", names[i], err, m)
			}
			seen[m.Id] = true
		}
	}
}
