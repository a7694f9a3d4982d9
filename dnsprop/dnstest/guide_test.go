package dnstest_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/dnsprop/dnstest"
)

func TestNameIsThereAfterFiveMinutes(t *testing.T) {
	lab := dnstest.Start(t, dnstest.Profile("aws"), dnstest.PublicZone("example.com"))
	client := lab.Resolver(dnstest.Public) // a *net.Resolver for the program under test
	lab.Set("api.example.com", "10.0.0.1")
	lab.Advance(5 * time.Minute)
	if _, err := client.LookupHost(t.Context(), "api.example.com"); err != nil {
		t.Errorf("after five minutes: %v", err)
	}
	if got := lab.Query(dnstest.Public, "api.example.com", "A").String(); got != "60 A 10.0.0.1" {
		t.Errorf("the resolver says %s", got)
	}
}

func TestPoisonedCache(t *testing.T) {
	dnstest.Run(t, `
lab profile=aws zone=example.com
commit move
  + api.example.com. 60 IN A 10.0.0.1
ask public api.example.com. A = NXDOMAIN 900
at move.insync
ask authorities api.example.com. A = 60 A 10.0.0.1
ask public api.example.com. A = NXDOMAIN 794
visible public move = no
at 15m
ask public api.example.com. A = 60 A 10.0.0.1
`)
}

// TestPage checks that the Go of docs/dns.md is what stands above.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/dns.md")
	if err != nil {
		t.Fatal(err)
	}
	above, err := os.ReadFile("guide_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "\n```go\n")[1:]
	for _, b := range blocks {
		code, _, _ := strings.Cut(b, "\n```\n")
		if !strings.HasPrefix(code, "func Test") || !strings.Contains(string(above), "\n"+code+"\n") {
			t.Errorf("docs/dns.md shows Go that is in no test:\n%s", code)
		}
	}
	if len(blocks) != 2 {
		t.Errorf("docs/dns.md has %d blocks of Go, want the two tests above", len(blocks))
	}
}

// TestScenarios checks that what docs/dns.md names for each scenario is there.
func TestScenarios(t *testing.T) {
	page, err := os.ReadFile("../../docs/dns.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, m := range regexp.MustCompile("`([A-Za-z0-9-]+\\.txt)`").FindAllStringSubmatch(string(page), -1) {
		if _, err := os.Stat("testdata/" + m[1]); err != nil {
			t.Error(err)
		}
		found[m[1][:2]] = true
	}
	for _, m := range regexp.MustCompile("(?m)^\\| (D[0-9]) .*`(Test[A-Za-z0-9_]+)` in `([a-z/_.]+)` \\|$").FindAllStringSubmatch(string(page), -1) {
		text, err := os.ReadFile("../../" + m[3])
		if err != nil || !strings.Contains(string(text), "\nfunc "+m[2]+"(") {
			t.Errorf("%s: no %s in %s (%v)", m[1], m[2], m[3], err)
		}
		found[m[1]+" test"] = true
	}
	for _, want := range []string{"D1", "D2", "D3", "D4", "D5 test", "D6 test", "D7", "D7 test", "D8", "fa"} {
		if !found[want] {
			t.Errorf("docs/dns.md names nothing for %s", want)
		}
	}
}
