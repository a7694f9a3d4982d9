package policy

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

// compareAddr holds parseAddr against netip's own parser.
func compareAddr(t *testing.T, s string) {
	t.Helper()
	want, err := netip.ParseAddr(s)
	valid := err == nil && want.Zone() == ""
	got, ok := parseAddr(s)
	if ok != valid || ok && got != want.Unmap() {
		t.Errorf("parseAddr(%q) = %v, %v; netip says %v, %v", s, got, ok, want, err)
	}
}

var addrSeeds = []string{
	"", "1.2.3.4", "01.2.3.4", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1..2.3", "10", "::", "::1", "1::", "1::2::3", ":::", ":1::", "1:",
	"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::3:4:5:6:7:8", "1:2:3:4::5:6:7:8", "12345::", "g::", "::ffff:1.2.3.4",
	"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3.4:5", "::1.2.3", "fe80::1%eth0", "2001:DB8::A", "1.2.3.4:5", "::12345.1.1.1",
}

func TestParseAddr(t *testing.T) {
	for _, s := range addrSeeds {
		compareAddr(t, s)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	pieces := []string{":", ":", ":", "::", ".", ".", "0", "1", "ff", "ffff", "12", "255", "256", "a1b2", "00", "x"}
	for range 50000 {
		var b strings.Builder
		for range 1 + rng.IntN(16) {
			b.WriteString(pieces[rng.IntN(len(pieces))])
		}
		compareAddr(t, b.String())
	}
}

func FuzzParseAddr(f *testing.F) {
	for _, s := range addrSeeds {
		f.Add(s)
	}
	f.Fuzz(compareAddr)
}
