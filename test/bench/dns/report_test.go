package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const statistics = `Statistics:

  Queries sent:         118900
  Queries completed:    118700 (99.83%)
  Queries lost:         200 (0.17%)

  Response codes:       NOERROR 118700 (100.00%)
  Average packet size:  request 92, response 124
  Run time (s):         2.000000
  Queries per second:   59350.125000
`

func TestParseTurn(t *testing.T) {
	got, err := parseTurn(statistics, 1187*time.Millisecond)
	if err != nil || got != (turn{PerSecond: 59350.125, Lost: 200, Micros: 10}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, out := range []string{"", "Queries completed: many", strings.Replace(statistics, "Queries per second", "Rate", 1)} {
		if got, err := parseTurn(out, 0); err == nil {
			t.Errorf("%q is %+v", out, got)
		}
	}
}

func TestReport(t *testing.T) {
	rows := func(name string, rates ...float64) row {
		r := row{Server: name, Network: "udp"}
		for _, rate := range rates {
			r.Turns = append(r.Turns, turn{PerSecond: rate, Micros: 1e6 / rate, Lost: 1})
		}
		r.summarize()
		return r
	}
	// A disturbance that hits both in one round leaves the ratio as it is.
	r := report{Rounds: 3, Rows: []row{rows("postern", 300, 30, 330), rows("CoreDNS file", 100, 10, 100)}}
	r.promise("times", "udp", "CoreDNS file", 2)
	r.promise("times", "tcp", "CoreDNS file", 2) // nobody measured it
	if len(r.Promises) != 1 || r.Promises[0].Ratio != 3 || !r.met() {
		t.Errorf("promises %+v", r.Promises)
	}
	if got := r.Rows[0]; got.PerSecond != 300 || got.Lost != 3 {
		t.Errorf("postern %+v", got)
	}
	r.promise("more", "udp", "CoreDNS file", 4)
	if r.met() {
		t.Error("a missed promise is met")
	}
	var b bytes.Buffer
	if err := r.print(&b); err != nil || !strings.Contains(b.String(), "MISSED  more") || !strings.Contains(b.String(), "3.00") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// The names are the same in every process, none twice, and none too long for DNS.
func TestRecords(t *testing.T) {
	again := records(10_000)
	seen := map[string]bool{}
	for i, r := range records(10_000) {
		if seen[r.name] || r.name != again[i].name || len(r.addresses) != 2 {
			t.Fatalf("record %d: %+v", i, r)
		}
		if _, ok := dns.IsDomainName(r.name); !ok {
			t.Fatalf("%s is no name", r.name)
		}
		seen[r.name] = true
	}
}
