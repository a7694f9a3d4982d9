package resolvers

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/dnstest"
)

func TestScratch(t *testing.T) {
	w := newWorld(t, knot, modes[0])
	ask := func(name string) {
		r, err := exchange(w.theirs, name, dns.TypeA)
		if err != nil {
			t.Log(name, err)
			return
		}
		t.Log(name, heard(r))
	}
	w.lab.Commit("a.example.com. 300 IN A 10.0.0.1")
	ask("a.example.com.")
	ask("n.example.com.")
	w.lab.Advance(10 * time.Second)
	w.clock.set(w.lab.Now())
	ask("a.example.com.")
	ask("n.example.com.")
	w.lab.Fault(dnstest.Fault{Kind: "dns-servfail"})
	ask("a.example.com.")
	ask("n.example.com.")
}
