package resolver

import (
	"strings"
	"testing"
	"time"
)

func TestParseOptions(t *testing.T) {
	for _, tt := range []struct {
		text  string
		want  Options
		again string // String, if it is not the text
	}{
		{text: ""},
		{text: "ttl-min=300", want: Options{TTL: Bounds{Min: 5 * time.Minute}}},
		{
			text: "ttl-min=300,ttl-max=1h,negative-ttl-min=0,negative-ttl-max=1m30s,serve-stale=1d,prefetch,capacity=500",
			want: Options{
				TTL: Bounds{Min: 5 * time.Minute, Max: time.Hour}, NegativeTTL: Bounds{Max: 90 * time.Second},
				ServeStale: 24 * time.Hour, Prefetch: true, Capacity: 500,
			},
			again: "ttl-min=300,ttl-max=3600,negative-ttl-max=90,serve-stale=86400,prefetch,capacity=500",
		},
		{text: "negative-ttl=5", want: Options{NegativeTTL: Bounds{Min: 5 * time.Second, Max: 5 * time.Second}}},
		{text: "ttl=1w2d3h", want: Options{TTL: Bounds{Min: 219 * time.Hour, Max: 219 * time.Hour}}, again: "ttl=788400"},
		{text: "ttl=1d30", want: Options{TTL: Bounds{Min: 86430 * time.Second, Max: 86430 * time.Second}}, again: "ttl=86430"},
		{text: "negative-ttl=0", want: Options{NegativeTTL: Bounds{Max: Nothing}}, again: "negative-ttl-max=0"},
		{text: "ttl-max=250ms", want: Options{TTL: Bounds{Max: 250 * time.Millisecond}}},
	} {
		got, err := ParseOptions(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%q: %+v, %v, want %+v", tt.text, got, err, tt.want)
		}
		if tt.again == "" {
			tt.again = tt.text
		}
		if again := got.String(); again != tt.again {
			t.Errorf("%q is written %q, want %q", tt.text, again, tt.again)
		}
	}
}

func TestParseOptionsRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"ttl-mni=5":              `"ttl-mni=5": want one of ttl, ttl-min`,
		"ttl-min=5,":             `"": want one of`,
		" ttl=5":                 `" ttl=5": want one of`,
		"ttl-min=5,ttl-min=5":    "ttl-min is given twice",
		"ttl-max=5,ttl=5":        "ttl-max is given twice",
		"ttl":                    `"ttl": want seconds or a duration`,
		"ttl=":                   "want seconds",
		"ttl=-1":                 "want seconds",
		"ttl=+1s":                "want seconds",
		"ttl=1d-5s":              "want seconds",
		"ttl=1.5d":               "want seconds",
		"ttl=d":                  "want seconds",
		"ttl=2d1w":               "want seconds",
		"serve-stale=366d":       "up to 365d",
		"serve-stale=365d1":      "up to 365d",
		"ttl=4294967295":         "up to 365d",
		"ttl=9223372036s":        "up to 365d",
		"ttl-min=10m,ttl-max=5m": "ttl-min=600 is above ttl-max=300",
		"ttl-min=1,ttl-max=0":    "ttl-min=1 is above ttl-max=0",
		"negative-ttl-max=1,ttl-min=9,negative-ttl-min=2": "negative-ttl-min=2 is above negative-ttl-max=1",
		"prefetch=true":                 "it takes no value",
		"capacity=0":                    "want 1 to 10000000 names",
		"capacity=many":                 "want 1 to 10000000 names",
		"capacity":                      "want 1 to 10000000 names",
		strings.Repeat("prefetch,", 80): "720 bytes: want at most 512",
	} {
		if o, err := ParseOptions(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want an error with %q", text, o, err, want)
		}
	}
}

func TestBoundsApply(t *testing.T) {
	for _, tt := range []struct {
		text      string
		ttl, want time.Duration
	}{
		{"", time.Minute, time.Minute},
		{"ttl-min=300", time.Minute, 5 * time.Minute},
		{"ttl-min=300", time.Hour, time.Hour},
		{"ttl-max=300", time.Hour, 5 * time.Minute},
		{"ttl-max=300", 0, 0},
		{"ttl=7", 0, 7 * time.Second},
		{"ttl=0", time.Hour, 0},
	} {
		o, err := ParseOptions(tt.text)
		if got := o.TTL.Apply(tt.ttl); err != nil || got != tt.want {
			t.Errorf("%s of %v is %v, %v, want %v", tt.text, tt.ttl, got, err, tt.want)
		}
	}
}

// FuzzOptions: what is accepted is within its limits and is written so that it
// is read again.
func FuzzOptions(f *testing.F) {
	f.Add("ttl-min=300,ttl-max=1h,negative-ttl=5,serve-stale=1d,prefetch,capacity=10000")
	f.Add("ttl=1w2d3h4m5s6ms,negative-ttl-max=0")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := ParseOptions(text)
		if err != nil {
			return
		}
		for _, d := range []time.Duration{o.TTL.Min, o.TTL.Max + 1, o.NegativeTTL.Min, o.NegativeTTL.Max + 1, o.ServeStale} {
			if d < 0 || d > maxDuration+1 {
				t.Errorf("%q: %+v", text, o)
			}
		}
		if again, err := ParseOptions(o.String()); err != nil || again != o {
			t.Errorf("%q is written %q, which is %+v, %v, want %+v", text, o, again, err, o)
		}
	})
}
