package simulate

import (
	"strings"
	"testing"
	"time"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

type fault = statev1.DnsFault

func TestParseRate(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1/s": time.Second, "2/m": 30 * time.Second, "0.5/h": 2 * time.Hour, "1/30s": 30 * time.Second,
		"30s": 30 * time.Second, "10/1m30s": 9 * time.Second, "1000000/s": time.Microsecond,
	} {
		if got, err := ParseRate(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "1", "x/s", "1/x", "1/", "/s", "0/s", "-1/s", "NaN/s", "Inf/s", "1/-1s", "1e9/s", "1/100000h", "1/s/s"} {
		if got, err := ParseRate(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestParseMix(t *testing.T) {
	mix := mustMix(t, "jvm=3,30s/10s,browser=1")
	if len(mix) != 3 || mix[0].Cache.Name != "jvm" || mix[0].Weight != 3 || mix[1].Weight != 1 || mix[1].Cache.Positive.Max != 30*time.Second {
		t.Errorf("%+v", mix)
	}
	for _, text := range []string{"", "jvm,", "jvm=0", "jvm=-1", "jvm=x", "java", "jvm=1000001", strings.Repeat("jvm,", 300) + "jvm"} {
		if got, err := ParseMix(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestParseFault(t *testing.T) {
	for _, c := range []struct {
		text, kind, place string
		lag, from, length time.Duration
	}{
		{"dns-lost", "dns-lost", "", 0, 0, 0},
		{"dns-lag@ns3:lag=5m", "dns-lag", "ns3", 5 * time.Minute, 0, 0},
		{"dns-down:from=-1m,for=10m", "dns-down", "", 0, -time.Minute, 10 * time.Minute},
	} {
		f, err := ParseFault(c.text)
		if err != nil || f.GetKind() != c.kind || f.GetPlace() != c.place || f.GetLag() != int64(c.lag) || f.From != c.from || f.For != c.length {
			t.Errorf("%q: %v, %v", c.text, f, err)
		}
	}
	for text, want := range map[string]string{
		"":                       `fault "" is not one of`,
		"dns-slow":               "is not one of dns-lost",
		"dns-down@":              "want a place after @",
		"dns-down@ns5":           `place "ns5" is not one of ns1 to ns4`,
		"dns-lag":                "takes a lag",
		"dns-lag:lag=-5m":        "lag",
		"dns-down:lag=5m":        "takes no lag",
		"dns-down:until=5m":      "want lag, from or for",
		"dns-down:for=x":         "want a duration",
		"dns-down:for":           "want a duration",
		"dns-down:":              "want lag, from or for",
		"dns-down:for=0s":        "want more than 0",
		"dns-down:for=1s,for=2s": "given twice",
		"dns-down:from=99999h":   "want times within",
	} {
		if f, err := ParseFault(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want an error with %q", text, f, err, want)
		}
	}
}

// FuzzParse: what the parsers accept, Check accepts too.
func FuzzParse(f *testing.F) {
	f.Add("1/30s", "jvm=3,browser", "dns-lag@ns3:lag=5m,from=-1m,for=10m")
	f.Add("30s", "30s/10s", "dns-lost")
	f.Fuzz(func(t *testing.T, rate, mix, fault string) {
		cfg := scenario()
		cfg.Resolvers = cfg.Clients
		if every, err := ParseRate(rate); err == nil {
			cfg.Every = every
		}
		if parsed, err := ParseMix(mix); err == nil {
			cfg.Mix = parsed
		}
		if parsed, err := ParseFault(fault); err == nil {
			cfg.Faults = []Fault{parsed}
		}
		if err := cfg.Check(); err != nil {
			t.Error(err)
		}
	})
}
