package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
)

var sunday = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func later(d time.Duration) int64 { return sunday.Add(d).UnixNano() }

func TestWriteExplanation(t *testing.T) {
	nxdomain := &dnsv1.Result{Rcode: "NXDOMAIN", NegativeTtl: 5}
	there := &dnsv1.Result{Rcode: "NOERROR", Records: []string{"a.z. 60 IN A 10.0.0.1"}}
	place := func(place, kind string, changes time.Duration, then *dnsv1.Result, outcomes ...*dnsv1.Outcome) *dnsv1.PlaceAnswer {
		p := &dnsv1.PlaceAnswer{Place: place, Kind: kind, Outcomes: outcomes, Then: then}
		if changes != 0 {
			p.ChangesAt = later(changes)
		}
		return p
	}
	answer := &adminv1.ExplainNameResponse{
		Servers: []*adminv1.NameServer{{Id: "dns1", Explanation: &dnsv1.Explanation{
			Now: later(0), Name: "a.z.", Type: "A", Omitted: 3,
			Places: []*dnsv1.PlaceAnswer{
				place("dns1-ns1", "authority", 0, nil, &dnsv1.Outcome{Result: there, Links: []*dnsv1.Link{{
					Name: "a.z.", Source: dnsv1.Source_SOURCE_AUTHORITY, Zone: "z.", ZoneId: "Z1", Authority: "ns1", Change: "C1", Index: 7, ShownAt: later(-time.Minute),
					Waiting: []*dnsv1.Waiting{{Change: "C2", Index: 8, Lost: true}, {Change: "C3", Index: 9, Overtaken: true}, {Change: "C4", Index: 10, ShownAt: later(time.Minute), Lag: int64(time.Hour)}},
				}}}),
				place("dns1-ns2", "authority", time.Minute, nxdomain, &dnsv1.Outcome{Result: &dnsv1.Result{}, Links: []*dnsv1.Link{{
					Source: dnsv1.Source_SOURCE_NONE, Faults: []*dnsv1.FaultInForce{{Id: "dns-down", Authority: "ns2"}, {Id: "dns-servfail:a.z.", Authority: "ns2", EndsAt: later(time.Minute)}},
				}}}),
				place("dns1-resolver", "resolver", 90*time.Second, there, &dnsv1.Outcome{Result: nxdomain, Links: []*dnsv1.Link{{
					Name: "a.z.", Source: dnsv1.Source_SOURCE_STALE, Authority: "ns4", Zone: "z.",
					Cached: &dnsv1.Cached{Name: "z.", Type: "TXT", Negative: true, PlantedBy: "10.0.0.9", PlantedAt: later(-time.Hour), ExpiresAt: later(-30 * time.Second), KeepUntil: later(90 * time.Second)},
				}}}),
				place("dns1-corp", "resolver", 0, nil,
					&dnsv1.Outcome{Asked: []string{"ns1", "ns3"}, Result: there, Links: []*dnsv1.Link{{Name: "a.z.", Source: dnsv1.Source_SOURCE_AUTHORITY, Zone: "z.", Authority: "ns1", By: "*.z."}}},
					&dnsv1.Outcome{Asked: []string{"ns2", "ns4"}, Result: &dnsv1.Result{Rcode: "NOERROR", Referral: []string{"ns.y."}}, Links: []*dnsv1.Link{{Name: "a.z.", Source: dnsv1.Source_SOURCE_FOREIGN}}}),
				place("dns1-vpc-1/a", "resolver", 0, nil, &dnsv1.Outcome{Links: []*dnsv1.Link{{Name: "a.z.", Source: dnsv1.Source_SOURCE_FOREIGN, Forwarded: "192.0.2.1:53"}}}),
				place("dns1-vpc-2", "resolver", 0, nil, &dnsv1.Outcome{Result: &dnsv1.Result{Rcode: "SERVFAIL"}, Links: []*dnsv1.Link{{Name: "a.z.", Source: dnsv1.Source_SOURCE_FAILURE, FailedUntil: later(4 * time.Second)}}}),
			},
		}}},
		Unreached: map[string]string{"dns2": "its stream ended"},
	}
	var out bytes.Buffer
	writeExplanation(&out, answer)
	want := `a.z. A at 2026-03-01T12:00:00Z of the DNS clock, which is frozen

dns1-ns1
  answers  a.z. 60 IN A 10.0.0.1
    from   zone z. (Z1)
           by change C1 of version 7, which shows there since 2026-03-01T11:59:00Z
           not change C2 of version 8, which was lost: it never shows here
           not change C3 of version 9, over which an older one took effect (dns-reorder)
           not yet change C4 of version 10, which shows here in 1m0s, 1h0m0s late (dns-lag)
  changes  not by itself

dns1-ns2
  answers  nothing: it is silent
    from   ns2: fault dns-down, until it is cleared
           ns2: fault dns-servfail:a.z., for another 1m0s
  changes  in 1m0s of the DNS clock, which is frozen: NXDOMAIN, for 5 s

dns1-resolver
  answers  NXDOMAIN, for 5 s
    from   the negative cache, where z. does not exist, stale for 30.0s and kept for 1m30s more, while no name server answers
           planted by 10.0.0.9, which asked for TXT 1h0m0s ago; ns4 of zone z. said so
  changes  in 1m30s of the DNS clock, which is frozen: a.z. 60 IN A 10.0.0.1

dns1-corp
  ns1, ns3 asked  a.z. 60 IN A 10.0.0.1
    from          nothing is cached: ns1 of zone z. says it
                  by *.z.
  ns2, ns4 asked  a referral to ns.y.
    from          no zone: a.z. is in none here
  changes         not by itself

dns1-vpc-1/a
  answers  what the server to which such names are forwarded says
    from   192.0.2.1:53, where a.z. is asked about, which is in no zone here
  changes  not by itself

dns1-vpc-2
  answers  SERVFAIL
    from   memory: all name servers failed for a.z., and are not asked again for 4.0s
  changes  not by itself

3 more places of dns1: ask for them with --at

Not reached: dns2 (its stream ended)
`
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
	j := explanationOf(answer)
	if !j.Frozen || j.Omitted != 3 || len(j.Places) != 6 || !j.Places[1].Outcomes[0].Silent || !j.Places[4].Outcomes[0].Forwarded ||
		j.Places[1].ChangesAt != "2026-03-01T12:01:00Z" || j.Places[1].ChangesAtWall != "" || j.Places[1].Then.Rcode != "NXDOMAIN" || j.Places[0].Then != nil {
		t.Errorf("%+v", j)
	}
}

// A state is told once, and what was done before anybody looked is not told.
func TestWatchTellsWhatMovesOn(t *testing.T) {
	progress := func(states ...dnsv1.ProgressState) []step {
		p := &dnsv1.ChangeProgress{Change: "C1"}
		for i, state := range states {
			p.Places = append(p.Places, &dnsv1.PlaceProgress{Place: []string{"dns1-ns1", "dns1-resolver"}[i], Kind: []string{"authority", "resolver"}[i], State: state, Until: later(time.Minute)})
		}
		return steps(&adminv1.FollowDnsChangesResponse{
			Changes: []*adminv1.DnsChangeStatus{{Id: "C1", Index: 7, Names: []string{"a.z."}}, {Id: "C0", Index: 6}},
			Servers: []*adminv1.NameServerProgress{{Id: "dns1", Progress: &dnsv1.Progress{Now: later(0), Changes: []*dnsv1.ChangeProgress{p, {Change: "C0"}}}}},
		})
	}
	const waiting, stale, done, overtaken = dnsv1.ProgressState_PROGRESS_STATE_WAITING, dnsv1.ProgressState_PROGRESS_STATE_STALE,
		dnsv1.ProgressState_PROGRESS_STATE_DONE, dnsv1.ProgressState_PROGRESS_STATE_OVERTAKEN
	var out bytes.Buffer
	g := &globals{Output: "text", stdout: &out}
	told := map[string]string{}
	for _, states := range [][]dnsv1.ProgressState{{done, waiting}, {done, waiting}, {done, stale}, {overtaken, stale}, {done, done}} {
		tell(g, progress(states...), told)
	}
	want := `2026-03-01T12:00:00Z  C0  dns1  not there yet
2026-03-01T12:00:00Z  C1  dns1-resolver  may hear the older answer, frozen
2026-03-01T12:00:00Z  C1  dns1-resolver  a cache holds an older answer, frozen
2026-03-01T12:00:00Z  C1  dns1-ns1  overtaken: an older change took effect after it, frozen
2026-03-01T12:00:00Z  C1  dns1-ns1  visible
2026-03-01T12:00:00Z  C1  dns1-resolver  nothing older is answered
`
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
	rows := barRows(progress(waiting, done), map[string]string{"dns2": "its stream ended"})
	if len(rows) != 6 || rows[2] != "C1, version 7: a.z." || !strings.Contains(rows[3], "░") || strings.Contains(rows[4], "░") || !strings.Contains(rows[5], "not reached: its stream ended") {
		t.Errorf("%s", strings.Join(rows, "\n"))
	}
	out.Reset()
	s := screen{w: &out}
	s.draw([]string{"one", "two"})
	s.draw([]string{"three"})
	s.clear()
	if got := out.String(); !strings.Contains(got, "\033[2A\033[?7lthree\033[K\033[?7h\n\033[J\033[1A\033[J") {
		t.Errorf("%q", got)
	}
}
