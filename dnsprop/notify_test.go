package dnsprop

import (
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// listener is a secondary that hears notifications and answers or not.
type listener struct {
	mu     sync.Mutex
	deaf   bool
	heard  []string // zones
	when   []time.Time
	broken []byte // sent before each answer
}

func (s *listener) serve(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 512)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		m := new(dns.Msg)
		if m.Unpack(buf[:n]) != nil || m.Opcode != dns.OpcodeNotify || !m.Authoritative {
			panic("no notification")
		}
		s.mu.Lock()
		s.heard, s.when = append(s.heard, m.Question[0].Name), append(s.when, time.Now())
		deaf := s.deaf
		s.mu.Unlock()
		if deaf {
			continue
		}
		b, err := new(dns.Msg).SetReply(m).Pack()
		if err != nil {
			panic(err)
		}
		go func() {
			_, _ = conn.Write(s.broken)
			_, _ = conn.Write(b)
		}()
	}
}

// took returns what was heard since the last call, sorted, and when.
func (s *listener) took() ([]string, []time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	heard, when := s.heard, s.when
	s.heard, s.when = nil, nil
	slices.Sort(heard)
	return heard, when
}

func times(n int, names ...string) []string {
	var out []string
	for _, name := range names {
		out = append(out, slices.Repeat([]string{name}, n)...)
	}
	return out
}

// Each of the four authorities tells its secondary of the zones whose serials
// grow there, at its own instant, and of no others.
func TestNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secondary := &listener{broken: []byte("noise")}
		l := &lab{t: t, net: newMemNet(), index: 100, profile: "aws", regions: []string{region}, sent: map[string]Resource{}, notify: []string{"127.0.0.1:5300"}}
		l.clock.Speed, l.clock.DNSTime, l.clock.WallTime = 1, time.Now(), time.Now()
		l.net.peers["127.0.0.1:5300"] = secondary.serve
		l.start()
		l.settings()
		time.Sleep(time.Minute)
		if heard, _ := secondary.took(); !slices.Equal(heard, times(4, apiZone, vpceZone)) {
			t.Fatalf("at the start: %v", heard)
		}
		c := l.set(aliasName, "10.7.1.10")
		time.Sleep(time.Hour)
		heard, when := secondary.took()
		if !slices.Equal(heard, times(4, apiZone)) {
			t.Fatalf("after a change: %v", heard)
		}
		if last := when[3].Sub(insync(t, c)); last < 0 || last > time.Second {
			t.Errorf("the last authority told %v after its instant", last)
		}
		if !when[0].Before(when[3].Add(-time.Second)) {
			t.Errorf("all authorities told at once: %v", when)
		}
		// What moves no serial is told to nobody.
		l.vpc(7, nil)
		l.settings()
		time.Sleep(time.Hour)
		if heard, _ := secondary.took(); heard != nil {
			t.Errorf("told of %v", heard)
		}
	})
}

// A secondary that does not answer gets so many messages and no more, until
// there is news again.
func TestNotifyGivesUp(t *testing.T) {
	for name, peer := range map[string]func(*listener) func(net.Conn){
		"deaf":   func(s *listener) func(net.Conn) { s.deaf = true; return s.serve },
		"absent": func(*listener) func(net.Conn) { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				secondary := &listener{}
				l := &lab{t: t, net: newMemNet(), index: 100, profile: "instant", regions: []string{region}, sent: map[string]Resource{}, notify: []string{"127.0.0.1:5300"}}
				l.clock.Speed, l.clock.DNSTime, l.clock.WallTime = 1, time.Now(), time.Now()
				l.net.peers["127.0.0.1:5300"] = peer(secondary)
				l.start()
				l.settings()
				time.Sleep(time.Hour)
				heard, _ := secondary.took()
				if want := times(4*notifyTries, apiZone, vpceZone); name == "deaf" && !slices.Equal(heard, want) {
					t.Fatalf("%d messages, want %d", len(heard), len(want))
				}
				// It has come back, and hears of the next change.
				secondary.mu.Lock()
				secondary.deaf = false
				secondary.mu.Unlock()
				l.net.mu.Lock()
				l.net.peers["127.0.0.1:5300"] = secondary.serve
				l.net.mu.Unlock()
				l.set(aliasName, "10.7.1.10")
				time.Sleep(time.Hour)
				if heard, _ := secondary.took(); !slices.Equal(heard, times(4, apiZone)) {
					t.Errorf("after its return: %v", heard)
				}
			})
		})
	}
}

func TestSecondariesAreAddresses(t *testing.T) {
	for _, secondary := range []string{"", "localhost:53", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999"} {
		if _, err := New(Config{ID: "dns-1", Notify: []string{secondary}}); err == nil {
			t.Errorf("%q is accepted", secondary)
		}
	}
}
