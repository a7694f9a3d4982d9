package dnsprop

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/miekg/dns"

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
