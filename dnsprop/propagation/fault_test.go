package propagation

import (
	"strings"
	"testing"
	"time"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	"pgregory.net/rapid"
)

func befallen(name string, faults ...*statev1.DnsFault) *statev1.DnsChange {
	c := &statev1.DnsChange{
		Id: "CABCDEFGHIJKLMNOPQRST", Profile: "aws", Seed: 1, Attempts: []int64{int64(time.Hour)},
		Records: []*statev1.RecordChange{{Name: name, Type: "A"}},
	}
	Befall(c, faults)
	return c
}

func TestBefall(t *testing.T) {
	const name = "api.zone.example."
	for _, c := range []struct {
		name      string
		fault     *statev1.DnsFault
		lost      uint32
		reordered uint32
		lag       string
	}{
		{"everything", &statev1.DnsFault{Kind: FaultLost}, 0b1111, 0, ""},
		{"a place", &statev1.DnsFault{Kind: FaultLost, Place: "ns1"}, 0b0001, 0, ""},
		{"the name", &statev1.DnsFault{Kind: FaultReorder, Name: name, Place: "ns4"}, 0, 0b1000, ""},
		{"another name", &statev1.DnsFault{Kind: FaultReorder, Name: "zone.example."}, 0, 0, ""},
		{"the zone", &statev1.DnsFault{Kind: FaultReorder, Zone: "zone.example."}, 0, 0b1111, ""},
		{"the apex", &statev1.DnsFault{Kind: FaultReorder, Zone: name}, 0, 0b1111, ""},
		{"a zone that ends alike", &statev1.DnsFault{Kind: FaultReorder, Zone: "one.example."}, 0, 0, ""},
		{"lag", &statev1.DnsFault{Kind: FaultLag, Place: "ns2", Lag: int64(time.Second)}, 0, 0, "[0 1000000000 0 0]"},
		{"still in force", &statev1.DnsFault{Kind: FaultLost, EndsAt: int64(time.Hour) + 1}, 0b1111, 0, ""},
		{"over", &statev1.DnsFault{Kind: FaultLost, EndsAt: int64(time.Hour)}, 0, 0, ""},
		{"of answers", &statev1.DnsFault{Kind: FaultDown}, 0, 0, ""},
	} {
		got := befallen(name, c.fault)
		if got.GetLostAt() != c.lost || got.GetReorderedAt() != c.reordered || (len(got.GetLag()) > 0) != (c.lag != "") {
			t.Errorf("%s: lost %b, reordered %b, lag %v", c.name, got.GetLostAt(), got.GetReorderedAt(), got.GetLag())
		}
	}
	worst := befallen(name, &statev1.DnsFault{Kind: FaultLag, Lag: 5}, &statev1.DnsFault{Kind: FaultLag, Place: "ns1", Lag: 3})
	if got := worst.GetLag(); got[0] != 5 || got[3] != 5 {
		t.Errorf("of two lags: %v", got)
	}
}

func TestFaultsOfARecord(t *testing.T) {
	c := befallen("a.", &statev1.DnsFault{Kind: FaultLag, Place: "ns2", Lag: int64(time.Minute)})
	plain := befallen("a.")
	for a := range Authorities {
		got, _ := Instant(c, a)
		want, _ := Instant(plain, a)
		if a == 1 {
			want = want.Add(time.Minute)
		}
		if !got.Equal(want) {
			t.Errorf("authority %d: %v, want %v", a, got, want)
		}
	}

	c = befallen("a.", &statev1.DnsFault{Kind: FaultLost, Place: "ns3"})
	if _, ok := Instant(c, 2); ok {
		t.Error("ns3 shows what was lost there")
	}
	if _, ok := Instant(c, 0); !ok || !Lost(c) {
		t.Error("ns1 lacks what was lost at ns3, or it does not count as lost")
	}
	c.Attempts = append(c.Attempts, int64(2*time.Hour))
	if at, ok := Instant(c, 2); !ok || at.Before(time.Unix(7200, 0)) || Lost(c) {
		t.Errorf("after the second attempt ns3 has it at %v, %v", at, ok)
	}

	c = befallen("a.", &statev1.DnsFault{Kind: FaultReorder, Place: "ns4"})
	late := time.Unix(1<<32, 0)
	if _, ok := Settled(c, 3); ok || AllSettled(c, late) || Lost(c) {
		t.Error("a reordered change is settled, or lost")
	}
	if at, ok := Settled(c, 0); !ok || !at.Equal(mustInstant(t, c, 0)) {
		t.Error("elsewhere it is not settled once it shows")
	}
	c.Attempts = append(c.Attempts, int64(2*time.Hour))
	if at, ok := Settled(c, 3); !ok || at.Before(time.Unix(7200, 0)) || !AllSettled(c, late) || AllSettled(c, at.Add(-1)) {
		t.Errorf("after the second attempt: %v, %v", at, ok)
	}
	if first := mustInstant(t, c, 3); !first.Equal(mustInstant(t, befallen("a."), 3)) {
		t.Errorf("the second attempt moved the first instant to %v", first)
	}
}

func mustInstant(t *testing.T, c *statev1.DnsChange, a int) time.Time {
	t.Helper()
	at, ok := Instant(c, a)
	if !ok {
		t.Fatalf("authority %d has no instant", a)
	}
	return at
}

func TestCheckFault(t *testing.T) {
	for _, c := range []struct {
		fault *statev1.DnsFault
		want  string
	}{
		{&statev1.DnsFault{Kind: FaultDown}, ""},
		{&statev1.DnsFault{Kind: FaultLag, Lag: 1, Zone: "a.example.", Place: "ns4"}, ""},
		{&statev1.DnsFault{Kind: "dns-slow"}, "not one of dns-lost, "},
		{&statev1.DnsFault{Kind: FaultDown, Name: "a.", Zone: "b."}, "not for both"},
		{&statev1.DnsFault{Kind: FaultDown, Lag: 1}, "dns-down takes no lag"},
		{&statev1.DnsFault{Kind: FaultLag}, "takes a lag"},
		{&statev1.DnsFault{Kind: FaultLag, Lag: -1}, "is not from 0"},
		{&statev1.DnsFault{Kind: FaultLag, Lag: int64(8 * 24 * time.Hour)}, "is not from 0"},
		{&statev1.DnsFault{Kind: FaultDown, Name: "A."}, "lower-case"},
		{&statev1.DnsFault{Kind: FaultDown, Zone: "a"}, "trailing dot"},
		{&statev1.DnsFault{Kind: FaultDown, Name: "a b."}, "lower-case"},
		{&statev1.DnsFault{Kind: FaultDown, Name: strings.Repeat("a", 254) + "."}, "lower-case"},
		{&statev1.DnsFault{Kind: FaultDown, Place: "ns5"}, "ns1 to ns4"},
		{&statev1.DnsFault{Kind: FaultDown, Place: "ns0"}, "ns1 to ns4"},
		{&statev1.DnsFault{Kind: FaultDown, Place: "dns-1-ns1"}, "ns1 to ns4"},
	} {
		err := CheckFault(c.fault)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.fault, err, c.want)
		}
	}
}

func TestFaultIDs(t *testing.T) {
	ids := map[string]bool{}
	for _, f := range []*statev1.DnsFault{
		{Kind: FaultDown}, {Kind: FaultDown, Name: "a."}, {Kind: FaultDown, Zone: "a."}, {Kind: FaultDown, Place: "ns1"},
		{Kind: FaultDown, Name: "a.", Place: "ns1"}, {Kind: FaultServfail, Place: "ns1"},
	} {
		ids[FaultID(f)] = true
	}
	if len(ids) != 6 {
		t.Errorf("ids %v", ids)
	}
	if got := FaultID(&statev1.DnsFault{Kind: FaultLag, Zone: "a.", Place: "ns3", Lag: 7}); got != "dns-lag:.a.@ns3" {
		t.Errorf("id %q", got)
	}
}

// A record has all that a schedule needs: neither faults nor a profile that
// come later move it.
func TestScheduleComesFromTheRecordAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kinds := rapid.SampledFrom(faultKinds)
		var faults []*statev1.DnsFault
		for range rapid.IntRange(0, 3).Draw(t, "faults") {
			f := &statev1.DnsFault{Kind: kinds.Draw(t, "kind"), Place: rapid.SampledFrom([]string{"", "ns1", "ns2"}).Draw(t, "place")}
			if f.Kind == FaultLag {
				f.Lag = rapid.Int64Range(1, int64(time.Hour)).Draw(t, "lag")
			}
			faults = append(faults, f)
		}
		c := anyChange(t)
		Befall(c, faults)
		for a := range Authorities {
			shown, visible := Instant(c, a)
			settled, ok := Settled(c, a)
			switch {
			case ok && (!visible || settled.Before(shown)):
				t.Fatalf("authority %d settles at %v, shows at %v", a, settled, shown)
			case visible && shown.Before(time.Unix(0, c.Attempts[0])):
				t.Fatalf("authority %d shows it before its commit", a)
			case visible && !Reordered(c, a) && !settled.Equal(shown):
				t.Fatalf("authority %d in order: settles at %v, shows at %v", a, settled, shown)
			}
		}
	})
}

func TestLateInterfaces(t *testing.T) {
	faults := []*statev1.DnsFault{
		{Kind: FaultENILate, Lag: int64(time.Minute), Place: "us-west-2a"},
		{Kind: FaultENILate, Lag: int64(time.Second), Zone: "us-west-2.amazonaws.com."},
		{Kind: FaultENILate, Lag: int64(time.Hour), Name: "execute-api.eu-west-1.amazonaws.com.", EndsAt: 100},
		{Kind: FaultLag, Lag: int64(time.Hour)},
	}
	for _, f := range faults {
		if err := CheckFault(f); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		region, zone string
		at           int64
		want         time.Duration
	}{
		{"us-west-2", "us-west-2a", 0, time.Minute},
		{"us-west-2", "us-west-2b", 0, time.Second},
		{"eu-west-1", "eu-west-1a", 99, time.Hour},
		{"eu-west-1", "eu-west-1a", 100, 0},
		{"us-east-1", "us-east-1a", 0, 0},
	} {
		if got := Late(faults, c.at, c.region, c.zone); got != c.want {
			t.Errorf("%s at %d: %v, want %v", c.zone, c.at, got, c.want)
		}
	}
	for _, bad := range []*statev1.DnsFault{{Kind: FaultENILate}, {Kind: FaultENILate, Lag: 1, Place: "US WEST"}, {Kind: FaultENILate, Lag: -1}} {
		if CheckFault(bad) == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}
