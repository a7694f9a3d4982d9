package dnsprop

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/message"
)

// BenchmarkHandle is a query from its packet to its response's, without sockets.
func BenchmarkHandle(b *testing.B) {
	s, err := New(Config{ID: "bench", Network: newMemNet()})
	if err != nil {
		b.Fatal(err)
	}
	l := &lab{t: &testing.T{}, srv: s, index: 1, profile: "instant", clock: s.settings.clock, regions: []string{region}, sent: map[string]Resource{}}
	l.settings()
	l.set(aliasName, "10.7.1.10", "10.7.2.10")
	l.profile = "aws"
	l.settings()
	packet, err := new(dns.Msg).SetQuestion(aliasName, dns.TypeA).Pack()
	if err != nil {
		b.Fatal(err)
	}
	for name, r := range map[string]message.Responder{"authority": s.authorities[0], "resolver-cached": s.public} {
		b.Run(name, func(b *testing.B) {
			h := &message.Handler{Responder: r, Count: count(s.metrics.resolverAnswers), Logger: s.cfg.Logger}
			from := netip.MustParseAddr("127.0.0.1")
			b.ReportAllocs()
			for b.Loop() {
				h.Handle(packet, from, false)
			}
		})
	}
}
