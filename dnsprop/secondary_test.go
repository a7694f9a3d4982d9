package dnsprop

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/propagation"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	"github.com/posternhq/postern/test/optional"
)

// freePort is one that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// syncBuffer is what a program wrote so far.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// startKnot starts Knot DNS as the secondary of an authority, and returns what it logs.
func startKnot(t *testing.T, port, primary string) *syncBuffer {
	t.Helper()
	knotd := "/usr/sbin/knotd"
	if _, err := os.Stat(knotd); err != nil {
		knotd = optional.Tool(t, "knotd")
	}
	dir := t.TempDir()
	config := fmt.Sprintf(`server:
    listen: 127.0.0.1@%s
    rundir: %s
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: %s
log:
  - target: stderr
    any: info
remote:
  - id: authority
    address: %s
acl:
  - id: authority
    address: 127.0.0.1
    action: notify
template:
  - id: default
    storage: %s
    master: authority
    acl: authority
zone:
  - domain: %s
  - domain: %s
`, port, dir, dir, strings.Replace(primary, ":", "@", 1), dir, apiZone, vpceZone)
	file := filepath.Join(dir, "knot.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log := new(syncBuffer)
	cmd := exec.Command(knotd, "-c", file)
	cmd.Stderr, cmd.Stdout = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("knotd:\n%s", log)
		}
	})
	return log
}

// answersOf is the answers of a server, in short and in one order.
func answersOf(t *testing.T, server, name string, qtype uint16) string {
	t.Helper()
	c := &dns.Client{Net: "tcp", Timeout: 5 * time.Second}
	m, _, err := c.ExchangeContext(t.Context(), new(dns.Msg).SetQuestion(name, qtype), server)
	if err != nil {
		return err.Error()
	}
	lines := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range append(m.Answer, m.Ns...) {
		if qtype == dns.TypeA && rr.Header().Rrtype == dns.TypeNS {
			continue // Knot adds them to what it has
		}
		lines = append(lines, rr.String())
	}
	slices.Sort(lines[1:])
	return strings.Join(lines, "\n")
}

// Knot DNS follows an authority by NOTIFY, AXFR and IXFR: after changes and
// moves of the DNS clock it says what the authority says, TTLs and serials included.
func TestRealSecondary(t *testing.T) {
	port := freePort(t)
	secondary := "127.0.0.1:" + port
	const number = 2 // the authority that is followed
	var log *syncBuffer
	s := serving(t, func(c *Config) { c.Notify = []string{secondary} })
	authorities, _ := s.Addresses()
	primary := authorities[number]
	log = startKnot(t, port, primary)

	rng := rand.New(rand.NewPCG(5, 6))
	index := uint64(10)
	now := time.Unix(1e9, 0)
	install := func(resources ...Resource) {
		t.Helper()
		index++
		if rejected := s.Install(context.Background(), Update{Index: index, Changed: resources}); rejected != nil {
			t.Fatal(rejected)
		}
	}
	advance := func(by time.Duration) {
		t.Helper()
		now = now.Add(by)
		clock := propagation.Clock{DNSTime: now, WallTime: time.Unix(1e9, 0), Speed: 1}
		install(resource("settings", &dnsv1.Settings{Clock: clock.Proto(), Profile: "aws", Regions: []string{region}}))
	}
	var names []string
	for i := range 1500 { // so that the whole zone takes several messages
		names = append(names, fmt.Sprintf("n%d.%s", i, apiZone))
	}
	for i := range 20 {
		names = append(names, fmt.Sprintf("vpce-%d.%s", i, vpceZone))
	}
	change := func(which []string, gone bool) {
		t.Helper()
		c := &statev1.DnsChange{Id: fmt.Sprintf("C%020d", index), Profile: "aws", Region: region, Attempts: []int64{now.UnixNano()}}
		for _, name := range which {
			r := &statev1.RecordChange{Name: name, Type: "A"}
			if !gone {
				r.After = &statev1.RRset{Ttl: 60, Addresses: []string{fmt.Sprintf("10.7.%d.%d", rng.IntN(250), rng.IntN(250)), "10.8.1.1"}}
			}
			c.Records = append(c.Records, r)
		}
		install(resource("change/"+c.GetId(), &dnsv1.Change{Index: index + 1, Change: c}))
	}
	follow := func(what string) {
		t.Helper()
		serial := func(server, apex string) string { return answersOf(t, server, apex, dns.TypeSOA) }
		deadline := time.Now().Add(60 * time.Second)
		for _, apex := range []string{apiZone, vpceZone} {
			for serial(secondary, apex) != serial(primary, apex) {
				if time.Now().After(deadline) {
					t.Fatalf("%s: the secondary says of %s\n%s\nthe authority\n%s", what, apex, serial(secondary, apex), serial(primary, apex))
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		asked := []string{apiZone, vpceZone, "nobody." + apiZone, "x." + names[0], names[0], apiName, "many." + apiZone}
		for range 100 {
			asked = append(asked, names[rng.IntN(len(names))])
		}
		for _, name := range asked {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeNS} {
				if got, want := answersOf(t, secondary, name, qtype), answersOf(t, primary, name, qtype); got != want {
					t.Errorf("%s: of %s %s the secondary says\n%s\nthe authority\n%s", what, name, dns.TypeToString[qtype], got, want)
				}
			}
		}
	}

	follow("at first")
	for i := 0; i < len(names); i += 400 {
		change(names[i:min(i+400, len(names))], false)
	}
	follow("before any instant")
	for i := range 10 {
		advance(20 * time.Second)
		follow(fmt.Sprintf("%d s after the changes", 20*(i+1)))
	}
	advance(10 * time.Minute)
	follow("in sync")
	for range 5 {
		change([]string{names[rng.IntN(len(names))], names[len(names)-1-rng.IntN(20)]}, false)
		change([]string{names[rng.IntN(len(names))]}, true)
		advance(time.Duration(20+rng.IntN(60)) * time.Second)
		follow("after small changes")
	}
	for _, kind := range []string{"AXFR, incoming", "IXFR, incoming", "notify, incoming"} {
		if !strings.Contains(log.String(), kind) {
			t.Errorf("no %q: %s", kind, log)
		}
	}
}

// Over UDP an authority says its serial, so that the secondary comes by TCP
// (RFC 1995, 2); a resolver gives nothing away on either.
func TestTransfersByWay(t *testing.T) {
	s := serving(t, nil)
	authorities, public := s.Addresses()
	ask := func(server, network string) string {
		q := new(dns.Msg).SetIxfr(apiZone, 0, "ns.", "mbox.").SetEdns0(1232, false)
		m, _, err := (&dns.Client{Net: network, Timeout: 10 * time.Second}).ExchangeContext(t.Context(), q, server)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(dns.RcodeToString[m.Rcode], " ", len(m.Answer))
	}
	for _, c := range []struct{ server, network, want string }{
		{authorities[0], "udp", "NOERROR 1"},
		{authorities[0], "tcp", "NOERROR 47"}, // 2 SOA, 4 NS, 1 + 40 A records
		{public, "udp", "REFUSED 0"},
		{public, "tcp", "REFUSED 0"},
	} {
		if got := ask(c.server, c.network); got != c.want {
			t.Errorf("%s by %s: %s, want %s", c.server, c.network, got, c.want)
		}
	}
}
