package zone

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/posternhq/postern/dnsprop/propagation"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const apex = "execute-api.us-west-2.amazonaws.com."

// change makes a change of names to addresses ("" for none) that shows at its instants.
func change(id string, index uint64, shown [propagation.Authorities]int64, names ...string) *Change {
	c := &Change{ID: id, Index: index, shown: shown, settled: shown}
	for _, n := range names {
		name, address, _ := strings.Cut(n, "=")
		r, err := newRecord(&statev1.RecordChange{Name: name + apex, Type: "A", After: set(address)})
		if err != nil {
			panic(err)
		}
		c.Records = append(c.Records, r)
	}
	for _, at := range shown {
		c.insync = max(c.insync, at)
	}
	return c
}

func set(address string) *statev1.RRset {
	if address == "" {
		return nil
	}
	return &statev1.RRset{Ttl: 60, Addresses: []string{address}}
}

func put(s *Set, changes ...*Change) *Set {
	e := s.Edit([]string{"us-west-2"})
	for _, c := range changes {
		e.Put(c)
	}
	return e.Set(0)
}

func says(s *Set, name string, authority int, at int64) string {
	a := s.Find(name+apex).Lookup(name+apex, dns.TypeA, authority, at)
	switch {
	case !a.Exists:
		return "nxdomain"
	case len(a.RRset.Addresses) == 0:
		return "nodata"
	}
	return a.RRset.Addresses[0].String()
}

func TestLookup(t *testing.T) {
	s := put(&Set{},
		change("C2", 20, [4]int64{10, 10, 10, Never}, "a.=10.0.0.2", "x.y.z.=10.0.0.9"),
		change("C1", 10, [4]int64{5, 30, 5, 5}, "a.=10.0.0.1"),
		change("C3", 30, [4]int64{50, 50, 50, 50}, "a.=", "x.y.z.="),
	)
	for _, c := range []struct {
		name      string
		query     string
		authority int
		at        int64
		want      string
	}{
		{"before everything", "a.", 0, 4, "nxdomain"},
		{"at its instant", "a.", 0, 5, "10.0.0.1"},
		{"the newer decides", "a.", 0, 10, "10.0.0.2"},
		{"the older arrives later", "a.", 1, 29, "10.0.0.2"},
		{"and is ignored", "a.", 1, 30, "10.0.0.2"},
		{"a lost change", "a.", 3, 49, "10.0.0.1"},
		{"a removal", "a.", 0, 50, "nxdomain"},
		{"the apex", "", 0, 0, "nodata"},
		{"an empty non-terminal", "z.", 0, 10, "nodata"},
		{"another", "y.z.", 0, 10, "nodata"},
		{"before what is below shows", "y.z.", 0, 9, "nxdomain"},
		{"after what is below is gone", "z.", 0, 50, "nxdomain"},
		{"a sibling with the same beginning", "y.zz.", 0, 10, "nxdomain"},
		{"a label that begins alike", "z.z.", 0, 10, "nxdomain"},
		{"below a name", "b.a.", 0, 10, "nxdomain"},
	} {
		if got := says(s, c.query, c.authority, c.at); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// A reordered removal and addition, and what ends the contest.
func TestLookupReordered(t *testing.T) {
	older := change("C1", 10, [4]int64{20, 20, 20, 20}, "a.=")
	newer := change("C2", 11, [4]int64{10, 30, 10, 10}, "a.=10.0.0.1")
	newer.settled = [4]int64{Never, Never, 40, 10}
	s := put(&Set{}, older, newer)
	for _, c := range []struct {
		name      string
		authority int
		at        int64
		want      string
	}{
		{"the newer came first", 0, 10, "10.0.0.1"},
		{"the older takes effect over it", 0, 20, "nxdomain"},
		{"for good", 0, 1 << 40, "nxdomain"},
		{"in order, nothing is lost", 1, 30, "10.0.0.1"},
		{"overtaken", 2, 39, "nxdomain"},
		{"driven again", 2, 40, "10.0.0.1"},
		{"not reordered there", 3, 20, "10.0.0.1"},
	} {
		if got := says(s, "a.", c.authority, c.at); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if got := s.Shows(newer, c.authority, c.at); got != (c.want == "10.0.0.1") {
			t.Errorf("%s: shows the newer: %v", c.name, got)
		}
	}
	third := put(&Set{}, older, newer, change("C3", 12, [4]int64{50, 50, 50, 50}, "a.=10.0.0.3"))
	if got := says(third, "a.", 0, 50); got != "10.0.0.3" {
		t.Errorf("after a change of another time: %q", got)
	}
}

func TestEditLeavesTheOldSetAlone(t *testing.T) {
	c1 := change("C1", 10, [4]int64{5, 5, 5, 5}, "a.=10.0.0.1")
	old := put(&Set{}, c1)
	e := old.Edit([]string{"us-west-2", "eu-west-1"})
	e.Remove(c1)
	kicked := change("C1", 10, [4]int64{7, 7, 7, 7}, "a.=10.0.0.1")
	e.Put(kicked)
	e.Put(change("C2", 20, [4]int64{6, 6, 6, 6}, "a.=10.0.0.2"))
	next := e.Set(5)
	if got := says(old, "a.", 0, 9) + " " + says(next, "a.", 0, 6) + " " + says(next, "a.", 0, 9); got != "10.0.0.1 10.0.0.2 10.0.0.2" {
		t.Errorf("old, next, next: %s", got)
	}
	if a, b := old.Find(apex).Serial(0, 9), next.Find(apex).Serial(0, 9); a != 2 || b != 3 {
		t.Errorf("serials %d, %d", a, b)
	}
	if old.Zones() != 2 || next.Zones() != 4 {
		t.Errorf("%d, %d zones", old.Zones(), next.Zones())
	}
	e = next.Edit(nil)
	e.Remove(kicked) // of a zone that is gone: nothing to do
	if s := e.Set(9); s.Zones() != 0 || s.Find("a."+apex) != nil {
		t.Error("zones are left")
	}
}

// The tree, the serials and the order of versions against lists of what was committed.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.SampledFrom([]string{"a.", "b.", "b.a.", "c.b.a.", "ab.", "a.b."})
		var all []*Change
		s := &Set{}
		edited := int64(0)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			e := s.Edit([]string{"us-west-2"})
			if len(all) > 0 && rapid.IntRange(0, 4).Draw(t, "remove") == 0 {
				i := rapid.IntRange(0, len(all)-1).Draw(t, "which")
				e.Remove(all[i])
				all = append(all[:i], all[i+1:]...)
			} else {
				var shown [4]int64
				for i := range shown {
					shown[i] = rapid.SampledFrom([]int64{1, 2, 3, 4, Never}).Draw(t, "instant")
				}
				index := rapid.Uint64Range(1, 5).Draw(t, "index")
				var names []string
				for _, l := range rapid.SliceOfN(labels, 1, 3).Draw(t, "names") {
					names = append(names, l+"="+rapid.SampledFrom([]string{"", "10.0.0.1", "10.0.0.2"}).Draw(t, "address"))
				}
				c := change(fmt.Sprintf("C%d", rapid.Uint32().Draw(t, "id")), index, shown, names...)
				for i := range c.settled {
					if rapid.IntRange(0, 2).Draw(t, "reordered") == 0 {
						c.settled[i] = max(shown[i], rapid.SampledFrom([]int64{2, 3, 4, Never}).Draw(t, "settled"))
					}
				}
				for _, other := range all {
					if other.ID == c.ID {
						return
					}
				}
				e.Put(c)
				all = append(all, c)
			}
			edited = max(edited, rapid.Int64Range(0, 5).Draw(t, "edited"))
			s = e.Set(edited)
		}
		for at := edited; at <= 5; at++ {
			for authority := range propagation.Authorities {
				for _, name := range []string{"a.", "b.", "b.a.", "c.b.a.", "ab.", "a.b.", "c."} {
					if got, want := says(s, name, authority, at), modelSays(all, name, authority, at); got != want {
						t.Fatalf("%s at %d of authority %d: %q, want %q", name, at, authority, got, want)
					}
				}
				serial := uint32(1)
				for _, c := range all {
					if c.shown[authority] <= at {
						serial++
					}
					if c.settled[authority] <= at && c.settled[authority] != c.shown[authority] {
						serial++
					}
				}
				if got := s.Find(apex).Serial(authority, at); got != serial {
					t.Fatalf("serial %d, want %d", got, serial)
				}
			}
		}
	})
}

func modelSays(all []*Change, name string, authority int, at int64) string {
	// The newest settled version ends the contest; of it and what is newer, the
	// last to arrive shows.
	own := func(name string) (best Version) {
		var floor Version
		var here []Version
		for _, c := range all {
			for i, r := range c.Records {
				v := Version{c, i}
				if r.Name != name+apex || c.shown[authority] > at {
					continue
				}
				here = append(here, v)
				if c.settled[authority] <= at && floor.Compare(v) < 0 {
					floor = v
				}
			}
		}
		slices.SortFunc(here, func(v, w Version) int {
			return cmp.Or(cmp.Compare(v.Change.shown[authority], w.Change.shown[authority]), v.Compare(w))
		})
		for _, v := range here {
			if v.Compare(floor) >= 0 {
				best = v
			}
		}
		return best
	}
	if v := own(name); v.Change != nil && v.record().Exists {
		return v.record().RRset.Addresses[0].String()
	}
	for _, c := range all {
		for _, r := range c.Records {
			below, ok := strings.CutSuffix(r.Name, apex)
			if !ok || below == name || !strings.HasSuffix(below, "."+name) {
				continue
			}
			if v := own(below); v.Change != nil && v.record().Exists {
				return "nodata"
			}
		}
	}
	return "nxdomain"
}

func TestNewChange(t *testing.T) {
	good := func() *dnsv1.Change {
		return &dnsv1.Change{Index: 5, Change: &statev1.DnsChange{
			Id: "C1", Profile: "aws", Seed: 3, Attempts: []int64{int64(time.Hour)},
			Records: []*statev1.RecordChange{{Name: "a." + apex, Type: "A", After: set("10.0.0.1")}},
		}}
	}
	m := good()
	c, err := NewChange(m)
	if err != nil {
		t.Fatal(err)
	}
	for a := range propagation.Authorities {
		if at, _ := propagation.Instant(m.GetChange(), a); c.ShownAt(a) != at.UnixNano() {
			t.Errorf("shown at %d, want %v", c.ShownAt(a), at)
		}
	}
	if at, _ := propagation.Insync(m.GetChange()); c.Insync() != at.UnixNano() {
		t.Errorf("insync at %d, want %v", c.Insync(), at)
	}
	m.Change.Lost = true
	if c, err = NewChange(m); err != nil || c.Insync() != Never || c.ShownAt(2) != Never {
		t.Errorf("a lost change: %v, %v", c, err)
	}
	for name, spoil := range map[string]func(*dnsv1.Change){
		"no index":      func(m *dnsv1.Change) { m.Index = 0 },
		"no id":         func(m *dnsv1.Change) { m.Change.Id = "" },
		"no attempt":    func(m *dnsv1.Change) { m.Change.Attempts = nil },
		"profile":       func(m *dnsv1.Change) { m.Change.Profile = "slow" },
		"type":          func(m *dnsv1.Change) { m.Change.Records[0].Type = "AAAA" },
		"address":       func(m *dnsv1.Change) { m.Change.Records[0].After = set("10.0.0") },
		"IPv6 address":  func(m *dnsv1.Change) { m.Change.Records[0].After = set("::1") },
		"upper case":    func(m *dnsv1.Change) { m.Change.Records[0].Name = "A." + apex },
		"relative":      func(m *dnsv1.Change) { m.Change.Records[0].Name = "a" },
		"empty label":   func(m *dnsv1.Change) { m.Change.Records[0].Name = "a.." + apex },
		"long label":    func(m *dnsv1.Change) { m.Change.Records[0].Name = strings.Repeat("a", 64) + "." + apex },
		"escaped":       func(m *dnsv1.Change) { m.Change.Records[0].Name = `a\.b.` + apex },
		"too long name": func(m *dnsv1.Change) { m.Change.Records[0].Name = strings.Repeat("a.", 120) + apex },
	} {
		m := good()
		spoil(m)
		if _, err := NewChange(m); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestParent(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"a.b.c.", "b.c."}, {"c.", ""}, {".", ""}, {"", ""},
		{`a\.b.c.`, "c."}, {`a\\.b.`, "b."}, {`a\046b.c.`, "c."},
	} {
		if got, ok := Parent(c.name); got != c.want || ok != (c.want != "") {
			t.Errorf("%q: %q %v, want %q", c.name, got, ok, c.want)
		}
	}
}
