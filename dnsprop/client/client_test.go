package client

import (
	"testing"
	"time"
)

func TestKeep(t *testing.T) {
	for _, c := range []struct {
		cache    string
		positive bool
		ttl      time.Duration
		want     time.Duration
	}{
		{"glibc", true, time.Minute, 0},
		{"glibc", false, time.Minute, 0},
		{"nscd", true, time.Minute, time.Minute},
		{"nscd", false, 15 * time.Minute, 20 * time.Second},
		{"systemd-resolved", true, 24 * time.Hour, 2 * time.Hour},
		{"systemd-resolved", false, 15 * time.Minute, 15 * time.Minute},
		{"windows", false, time.Second, 5 * time.Second},
		{"windows", false, 15 * time.Minute, 5 * time.Minute},
		{"jvm", true, time.Hour, 30 * time.Second},
		{"jvm", true, 0, 30 * time.Second},
		{"jvm", false, 15 * time.Minute, 10 * time.Second},
		{"jvm-security-manager", true, time.Minute, Forever},
		{"browser", true, time.Second, time.Minute},
		{"1m30s/0s", true, time.Second, 90 * time.Second},
		{"1m30s/0s", false, time.Second, 0},
	} {
		cache, err := Parse(c.cache)
		if err != nil {
			t.Fatal(err)
		}
		if got := cache.Keep(c.positive, c.ttl); got != c.want {
			t.Errorf("%s keeps (positive: %v) a TTL of %v for %v, want %v", c.cache, c.positive, c.ttl, got, c.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "java", "30s", "30s/", "-1s/1s", "30/10", "30s/10s/5s"} {
		if c, err := Parse(text); err == nil {
			t.Errorf("%q is read as %+v", text, c)
		}
	}
}

func TestPresetsCanBeNamed(t *testing.T) {
	for _, preset := range Presets() {
		if c, err := Parse(preset.Name); err != nil || c != preset {
			t.Errorf("%s is read as %+v, %v", preset.Name, c, err)
		}
		if preset.Help == "" {
			t.Errorf("%s does not say whose it is", preset.Name)
		}
	}
}

func TestOfProfile(t *testing.T) {
	for profile, want := range map[string]string{"instant": "none", "fast": "none", "office": "none", "aws": "jvm", "hostile": "jvm"} {
		if got := OfProfile(profile); got.Name != want {
			t.Errorf("%s implies %q, want %q", profile, got.Name, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("jvm")
	f.Add("30s/10s")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text)
		if err != nil {
			return
		}
		for _, positive := range []bool{true, false} {
			if c.Keep(positive, time.Minute) < 0 {
				t.Errorf("%q keeps for a negative time", text)
			}
		}
	})
}
