package dnstest

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

// In a bubble the clock is the bubble's, and nothing of the Lab keeps it from moving.
func TestLiveInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Start(t, Live(10), Profile("aws"), PublicZone("example.com"))
		c := l.Set("api.example.com", "10.0.0.1")
		stub := l.Resolver(Public)
		if addrs, err := stub.LookupHost(t.Context(), "api.example.com."); err == nil {
			t.Errorf("at first: %v", addrs)
		}
		insync, _ := c.Insync()
		time.Sleep(insync.Sub(l.Now()) / 10)
		if got := l.Query(NS1, "api.example.com", "A").String(); got != "6 A 10.0.0.1" {
			t.Errorf("a name server says %s", got)
		}
		if c.Visible(Public) {
			t.Error("the resolver is said to have what it denies")
		}
		l.Advance(15 * time.Minute)
		if addrs, err := stub.LookupHost(t.Context(), "api.example.com."); err != nil || addrs[0] != "10.0.0.1" {
			t.Errorf("at last: %v, %v", addrs, err)
		}
		if !c.Visible(Public) || !l.Settled(Public) {
			t.Error("the resolver is not said to have it")
		}
		l.Set("api.example.com", "10.0.0.2")
		if took := l.Settle(); took < 10*time.Second || took > 5*time.Minute {
			t.Errorf("a move settles within %v", took)
		}
		if got := l.Query(Public, "api.example.com", "A").Addresses(); len(got) != 1 || got[0].String() != "10.0.0.2" {
			t.Errorf("after the move: %v", got)
		}
	})
}

// Sockets of every place, on UDP and TCP, also after a restart.
func TestAddr(t *testing.T) {
	l := Start(t, Profile("instant"), PublicZone("example.com"), Resolver("corp:ttl-min=5m"))
	v := l.VPC("shop", "a", "b")
	l.PrivateZone("corp.example.com", v).Set("db.corp.example.com", "10.0.0.5", "fd00::5")
	l.Set("api.example.com", "10.0.0.1")
	addresses := map[Place]string{}
	for range 2 {
		for _, at := range append(Authorities(), Public, "corp", v.Place("a"), v.Place("b")) {
			address := l.Addr(at)
			if before, ok := addresses[at]; ok && before != address {
				t.Errorf("%s moved from %s to %s", at, before, address)
			}
			addresses[at] = address
			for _, network := range []string{"udp", "tcp"} {
				c := &dns.Client{Net: network}
				m, _, err := c.Exchange(new(dns.Msg).SetQuestion("api.example.com.", dns.TypeA), address)
				if err != nil {
					t.Fatalf("%s at %s by %s: %v", at, address, network, err)
				}
				want := "0 A 10.0.0.1"
				if at == "corp" {
					want = "300 A 10.0.0.1"
				}
				if got := answerOf(m).String(); got != want {
					t.Errorf("%s by %s: %s, want %s", at, network, got, want)
				}
			}
		}
		if got := l.Query(v.Place("b"), "db.corp.example.com", "AAAA").String(); got != "0 AAAA fd00::5" {
			t.Errorf("private name: %s", got)
		}
		l.Restart()
	}
	if len(addresses) != 8 {
		t.Errorf("places share addresses: %v", addresses)
	}
}

// A Lab leaves nothing behind, whether it served or not.
func TestClose(t *testing.T) {
	before := goleak.IgnoreCurrent()
	for _, serve := range []bool{false, true} {
		l := New(PublicZone("example.com"))
		if serve {
			for _, network := range []string{"udp", "tcp"} {
				conn, err := net.Dial(network, l.Addr(NS1))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close() // it is open when the Lab ends
			}
		}
		if addrs, err := l.Resolver(NS1).LookupHost(context.Background(), "nobody.example.com."); err == nil {
			t.Error(addrs)
		}
		l.Close()
	}
	goleak.VerifyNone(t, before)
}

// Set is of addresses of both kinds, and of nothing more than there is.
func TestSet(t *testing.T) {
	l := Start(t, Profile("instant"), PublicZone("example.com"))
	for _, c := range []struct {
		addresses []string
		a, aaaa   string
		records   int // of the change
	}{
		{[]string{"10.0.0.1", "10.0.0.2"}, "0 A 10.0.0.1, 0 A 10.0.0.2", "NODATA 0", 1},
		{[]string{"10.0.0.1", "fd00::1"}, "0 A 10.0.0.1", "0 AAAA fd00::1", 2},
		{[]string{"fd00::2"}, "NODATA 0", "0 AAAA fd00::2", 2},
		{[]string{"fd00::3"}, "NODATA 0", "0 AAAA fd00::3", 1},
		{nil, "NXDOMAIN 0", "NXDOMAIN 0", 1},
		{nil, "NXDOMAIN 0", "NXDOMAIN 0", 1},
	} {
		change := l.Set("api.example.com", c.addresses...)
		if n := len(change.msg.GetChange().GetRecords()); n != c.records {
			t.Errorf("%v: %d records changed, want %d", c.addresses, n, c.records)
		}
		for rtype, want := range map[string]string{"A": c.a, "AAAA": c.aaaa} {
			if got := l.Query(Public, "api.example.com", rtype).String(); got != want {
				t.Errorf("%v: %s of type %s, want %s", c.addresses, got, rtype, want)
			}
		}
	}
}

// What cannot be done is said, with what would be right.
func TestMistakes(t *testing.T) {
	l := New(PublicZone("example.com"))
	defer l.Close()
	v := l.VPC("shop")
	z := l.PrivateZone("corp.example.com", v)
	c := l.Set("api.example.com", "10.0.0.1")
	for _, m := range []struct {
		do   func()
		want string
	}{
		{func() { New(Profile("slow")) }, `dns profile "slow" is not one of`},
		{func() { New(PublicZone("-.exa mple")) }, "illegal character"},
		{func() { New(Live(0)) }, "speed 0"},
		{func() { New(Resolver("corp:ttl=x")) }, "ttl"},
		{func() { New(ProfileYAML("name: x\nsink: 5")) }, "no such key"},
		{func() { l.Set("api.example.org", "10.0.0.1") }, `PublicZone("api.example.org") makes one`},
		{func() { l.Set("api.example.com", "10.0.0.256") }, "not an IPv4 address"},
		{func() { l.Set("a.execute-api.us-west-2.amazonaws.com", "::1") }, "IPv4 addresses only"},
		{func() { l.Commit() }, "no records"},
		{func() { l.Commit("api.example.com. 60 IN A") }, "not an IPv4 address"},
		{func() { l.Commit("$GENERATE 1-60000 h$.example.com. A 10.0.0.1") }, "not one record"},
		{func() { l.Commit("api.example.com. A 10.0.0.1", "api.example.com. 30 A 10.0.0.2") }, "one TTL"},
		{func() { l.Commit("api.example.com. A 10.0.0.1", "- api.example.com. A") }, "in the change already"},
		{func() { l.Commit("api.example.com. 60 IN CAA 0 issue x") }, `no zone holds record type "CAA"`},
		{func() { l.Commit("api.example.com. A 10.0.0.1", "a.execute-api.us-west-2.amazonaws.com. A 10.0.0.1") }, "different zones"},
		{func() { l.Zone("example.com") }, "there already"},
		{func() { l.Zone("x.execute-api.us-west-2.amazonaws.com") }, "Postern's own"},
		{func() { l.PrivateZone("corp.example.com", v) }, "has a private zone corp.example.com. already"},
		{func() { l.PrivateZone("other.example.com") }, "in no VPC"},
		{func() { z.Set("api.example.com", "10.0.0.1") }, "in no zone"},
		{func() { l.VPC("shop") }, "there already"},
		{func() { l.VPC("public") }, "there already"},
		{func() { l.VPC("a/b") }, "small letters"},
		{func() { l.VPC("twice", "a", "a") }, "given twice"},
		{func() { v.Endpoint() }, "no address"},
		{func() { v.Endpoint("here") }, "not an IPv4 address"},
		{func() { l.Query("ns5", "api.example.com", "A") }, `place "ns5" is neither`},
		{func() { l.Query(NS1, "api.example.com", "B") }, `"B" is none`},
		{func() { l.Query(NS1, "a..b", "A") }, "empty label"},
		{func() { l.Addr("nowhere") }, "neither"},
		{func() { l.Resolver("nowhere") }, "neither"},
		{func() { l.Prefer(Public) }, "not one of ns1"},
		{func() { l.Settled(v.Place("a")) }, "no version of its own"},
		{func() { c.Visible("nowhere") }, "no version of its own"},
		{func() { l.Advance(-1) }, "not from 0"},
		{func() { l.AdvanceTo(epoch.Add(-1)) }, "it is 0s"},
		{func() { l.Fault(Fault{Kind: "dns-slow"}) }, "not one of dns-lost"},
		{func() { l.Fault(Fault{Kind: "dns-down", Place: "ns7"}) }, "ns7"},
		{func() { l.UseProfile("slow") }, "slow"},
		{func() {
			l.Fault(Fault{Kind: "dns-lost"})
			l.Set("api.example.com")
			l.Settle()
		}, "is lost"},
	} {
		func() {
			defer func() {
				if r := recover(); !strings.HasPrefix(fmt.Sprint(r), "dnstest: ") || !strings.Contains(fmt.Sprint(r), m.want) {
					t.Errorf("got %v, want %q in it", r, m.want)
				}
			}()
			m.do()
			t.Errorf("no mistake, want %q", m.want)
		}()
	}
	// None of it has done anything.
	if got := l.Query(Public, "db.corp.example.com", "A").Rcode; got != "NXDOMAIN" {
		t.Errorf("%s", got)
	}
}

// Equal seeds see the same, others do not.
func TestSeeds(t *testing.T) {
	life := func(seed uint64) string {
		l := Start(t, Seed(seed), Profile("hostile"), PublicZone("example.com"))
		var out []string
		for i := range 5 {
			c := l.Commit(fmt.Sprintf("api.example.com. A 10.0.%d.1", i), fmt.Sprintf("api.example.com. A 10.0.%d.2", i))
			for range 20 {
				l.Advance(11 * time.Second)
				out = append(out, fmt.Sprint(l.Query(Public, "api.example.com", "A").Addresses(), c.Visible(NS2)))
			}
		}
		return strings.Join(out, "\n")
	}
	first := life(3)
	if again := life(3); again != first {
		t.Errorf("a seed has two lives:\n%s\n\n%s", first, again)
	}
	if life(4) == first {
		t.Error("two seeds have one life")
	}
}

// A test that fails is told so by Start's Lab, in place of a panic.
func TestStartFailsTheTest(t *testing.T) {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		Start(r).Set("api.example.org", "10.0.0.1")
	}()
	<-done
	if !strings.Contains(r.failed, "PublicZone") {
		t.Errorf("failed with %q", r.failed)
	}
}

type recorder struct {
	testing.TB
	failed string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}
