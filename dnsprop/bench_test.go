package dnsprop

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/message"
)

// BenchmarkHandle is a query from its packet to its response's, without sockets,
// by as many goroutines as there are processors: -cpu 1,2 shows what one costs another.
func BenchmarkHandle(b *testing.B) {
	s, err := New(Config{ID: "bench", Network: newMemNet()})
	if err != nil {
		b.Fatal(err)
	}
	l := &lab{t: &testing.T{}, srv: s, index: 1, profile: "aws", clock: s.settings.clock, regions: []string{region}, sent: map[string]Resource{}}
	l.settings()
	c := l.change(aliasName, "10.7.1.10", "10.7.2.10")
	c.Change.Profile = "instant" // it shows at once, and is cached
	l.put(c)
	from := netip.MustParseAddr("127.0.0.1")
	for _, c := range []struct {
		name  string
		place message.Responder
		qname string
	}{
		{"authority", s.authorities[0], aliasName},
		{"authority-NXDOMAIN", s.authorities[0], "nobody." + apiZone},
		{"resolver-cached", s.public, aliasName},
		{"resolver-NXDOMAIN", s.public, "nobody." + apiZone},
	} {
		packet, err := new(dns.Msg).SetQuestion(c.qname, dns.TypeA).Pack()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.name, func(b *testing.B) {
			h := &message.Handler{Responder: c.place, Count: count(s.metrics.resolverAnswers, "dns-1-resolver"), Logger: s.cfg.Logger}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				buf := make([]byte, 0, 512)
				for pb.Next() {
					h.Append(buf, packet, from, false)
				}
			})
		})
	}
}
