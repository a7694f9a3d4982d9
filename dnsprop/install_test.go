package dnsprop

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posternhq/postern/dnsprop/propagation"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
)

// What cannot be taken is named, the rest is taken, and the last good form stays.
func TestRejections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "instant")
		good := l.set(apiName, "127.0.0.1")
		l.vpc(7, privateDNS("10.7.1.10"))
		broken := l.change(apiName, "127.0.0.1")
		broken.Change.Id = good.GetChange().GetId()
		broken.Change.Records[0].After.Addresses = []string{"not an address"}
		stray := l.change("www.example.com.", "10.0.0.1")
		upper := l.change("A."+apiZone, "10.0.0.1")
		fresh := l.change(aliasName, "10.7.1.10")
		garbage := []byte{0xff}
		rejected := l.srv.Install(t.Context(), Update{Index: l.index + 1, Changed: []Resource{
			resource("settings", &dnsv1.Settings{Profile: "slow"}),
			resource("change/"+broken.GetChange().GetId(), broken),
			resource("change/"+stray.GetChange().GetId(), stray),
			resource("change/"+upper.GetChange().GetId(), upper),
			resource("change/other", fresh),
			resource("change/"+fresh.GetChange().GetId(), fresh),
			resource("vpc/vpc-7", &dnsv1.Vpc{Id: "vpc-7"}),
			{Name: "vpc/vpc-9", Body: garbage},
			{Name: "api/x", Body: nil},
		}})
		want := map[string]string{
			"settings":                             "slow",
			"change/" + broken.GetChange().GetId(): "not an IPv4 address",
			"change/" + stray.GetChange().GetId():  "in no zone",
			"change/" + upper.GetChange().GetId():  "not a lower-case host name",
			"change/other":                         "holds change",
			"vpc/vpc-7":                            "no address range",
			"vpc/vpc-9":                            "decode",
			"api/x":                                "no such kind",
		}
		for _, r := range rejected {
			if w, ok := want[r.Resource]; !ok || !strings.Contains(r.Reason, w) {
				t.Errorf("%s rejected: %s", r.Resource, r.Reason)
			}
			delete(want, r.Resource)
		}
		if len(want) > 0 {
			t.Errorf("not rejected: %v", want)
		}
		l.expect(internet, apiName, "127.0.0.1 0")
		l.expect(internet, aliasName, "10.7.1.10 0")
		l.expect(inVPC(7, 1), apiName, "10.7.1.10 0")
	})
}

func TestFullUpdateRemovesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "aws")
		c := l.change(aliasName, eni)
		c.Change.Profile = "instant"
		l.put(c)
		l.vpc(8, nil)
		l.expect(internet, aliasName, eni+" 60")
		l.expect(inVPC(8, 1), aliasName, eni+" 60")
		kept := l.sent["settings"]
		l.index++
		if r := l.srv.Install(t.Context(), Update{Index: l.index, Full: true, Changed: []Resource{kept}}); r != nil {
			t.Fatal(r)
		}
		// A change that is taken back was a reset: caches forget it too.
		l.expect(internet, aliasName, "NXDOMAIN 900")
		if l.net.packets["127.8.0.2:4753"] != nil {
			t.Error("the resolver of a vpc that is gone still listens")
		}
		if m := l.ask(ns(1), apiZone, dns.TypeSOA); m.Rcode != dns.RcodeSuccess {
			t.Errorf("zone is gone: %v", m)
		}
		l.regions = nil
		l.settings()
		l.expect(ns(1), apiZone, "REFUSED")
	})
}

// A VPC that gets another availability zone keeps the caches of those it has.
func TestAvailabilityZoneIsAdded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "aws")
		l.vpc(8, nil)
		l.expect(inVPC(8, 1), aliasName, "NXDOMAIN 900")
		l.until(insync(t, l.set(aliasName, eni)))
		l.vpc(8, func(v *dnsv1.Vpc) {
			v.Subnets = append(v.Subnets, &dnsv1.Subnet{Id: "subnet-0", Az: "us-west-2", Cidr: "10.8.3.0/24"}) // the first by its name
		})
		if got := say(l.ask(inVPC(8, 1), aliasName, dns.TypeA)); !strings.HasPrefix(got, "NXDOMAIN") {
			t.Errorf("a zone that was there: %s", got)
		}
		l.expect(inVPC(8, 3), aliasName, eni+" 60")
	})
}

// A stream that begins anew brings everything again; nothing happens by it.
func TestFullUpdateOfTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "aws")
		l.vpc(8, nil)
		done := l.set(aliasName, eni)
		l.until(insync(t, done))
		l.set(apiName, "127.0.0.1")
		l.expect(inVPC(8, 1), aliasName, eni+" 60")
		zones := l.srv.zones.Load().Find(apiZone)
		timed := testutil.CollectAndCount(l.srv.metrics.programming)
		u := Update{Index: l.index, Full: true}
		for _, r := range l.sent {
			u.Changed = append(u.Changed, r)
		}
		if r := l.srv.Install(t.Context(), u); r != nil {
			t.Fatal(r)
		}
		if got := l.srv.zones.Load().Find(apiZone).Serial(0, 1<<62); got != zones.Serial(0, 1<<62) {
			t.Errorf("serial went to %d", got)
		}
		if got := testutil.CollectAndCount(l.srv.metrics.programming); got != timed {
			t.Error("a change was timed twice")
		}
		if n := len(l.srv.tracker.underway); n != 1 {
			t.Errorf("%d changes under way", n)
		}
		time.Sleep(10 * time.Second)
		l.expect(inVPC(8, 1), aliasName, eni+" 50") // from the cache it had
	})
}

// Queries, updates and questions about versions at once: for the race detector.
func TestEverythingAtOnce(t *testing.T) {
	s := serving(t, nil)
	_, public := s.Addresses()
	packet, err := new(dns.Msg).SetQuestion(aliasName, dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	h := s.resolverHandler("public", s.public)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for ctx.Err() == nil {
				h.Handle(packet, netip.MustParseAddr("127.0.0.1"), false)
				s.Versions()
			}
		})
	}
	all.Go(func() {
		c := &dns.Client{}
		for ctx.Err() == nil {
			if _, _, err := c.Exchange(new(dns.Msg).SetQuestion(aliasName, dns.TypeA), public); err != nil {
				t.Error(err)
				return
			}
		}
	})
	l := &lab{t: t, profile: "aws", index: 10, clock: propagation.ClockOf(nil)}
	for i := range uint64(200) {
		c := l.change(aliasName, eni)
		v := &dnsv1.Vpc{Id: "vpc-9", LoopbackOctet: 79, Cidrs: []string{"10.9.0.0/16"}, EnableDnsSupport: i%2 == 0}
		u := Update{Index: 10 + i, Changed: []Resource{resource("change/"+c.GetChange().GetId(), c), resource("vpc/vpc-9", v)}}
		if i%5 == 0 {
			u.Removed = []string{"vpc/vpc-7"}
		}
		if r := s.Install(t.Context(), u); r != nil {
			t.Fatal(r)
		}
		l.index = 11 + i
	}
	stop()
	all.Wait()
}
