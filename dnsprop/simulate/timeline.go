package simulate

import (
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/posternhq/postern/dnsprop/authority"
	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/zone"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	region = "us-west-2"
	// ttl of an alias record of an endpoint.
	ttl = 60
)

// epoch is the commit's instant unless the Config has one. All is relative to it.
var epoch = time.Unix(1_000_000_000, 0).UTC()

func (c *Config) commit() time.Time {
	if c.Commit.IsZero() {
		return epoch
	}
	return c.Commit
}

// Name is that of the n-th change.
func (c *Config) Name(n int) string {
	return fmt.Sprintf("%010d-vpce-%017x.execute-api.%s.amazonaws.com.", n, n, region)
}

// Records are what the control plane would have recorded of the n-th name, the
// change last: what was before, with all attempts.
func (c *Config) Records(n int) []*dnsv1.Change {
	commit := c.commit()
	var records []*dnsv1.Change
	add := func(at time.Time, profile string, custom *statev1.DnsProfile, exists bool) {
		var after *statev1.RRset
		if exists {
			after = &statev1.RRset{Ttl: ttl, Addresses: []string{"10.1.1.4", "10.1.2.4"}}
		}
		change := &statev1.DnsChange{
			Id: fmt.Sprintf("C%012d%08d", n, len(records)), Profile: profile, CustomProfile: custom, Seed: c.Seed, Region: region,
			Attempts: []int64{at.UnixNano()},
			Records:  []*statev1.RecordChange{{Name: c.Name(n), Type: "A", After: after}},
		}
		index := uint64(n*3 + len(records) + 1)
		records = append(records, &dnsv1.Change{Index: index, ModifyIndex: index, Change: change})
		if profile == "instant" && custom == nil && at.Before(commit) {
			return // what always was
		}
		propagation.Befall(change, c.faultsAt(at))
		for _, d := range slices.Sorted(slices.Values(c.Deployments)) {
			if deployed := commit.Add(d); !propagation.AllSettled(change, deployed) {
				change.Attempts = append(change.Attempts, deployed.UnixNano())
			}
		}
	}
	if c.Operation != Associate {
		add(commit.Add(-2*maxTime), "instant", nil, true)
	}
	if c.Operation == Reassociate {
		add(commit.Add(-c.Gap), c.Profile, c.Custom, false)
	}
	add(commit, c.Profile, c.Custom, c.Operation != Disassociate)
	return records
}

// faultsAt are those in force at an instant, with their ends.
func (c *Config) faultsAt(at time.Time) []*statev1.DnsFault {
	var out []*statev1.DnsFault
	for _, f := range c.Faults {
		from := c.commit().Add(f.From)
		if at.Before(from) {
			continue
		}
		recorded := &statev1.DnsFault{Id: propagation.FaultID(f.DnsFault), Kind: f.GetKind(), Place: f.GetPlace(), Lag: f.GetLag(), SetAt: from.UnixNano()}
		if f.For > 0 {
			recorded.EndsAt = from.Add(f.For).UnixNano()
		}
		if propagation.InForce(recorded, at.UnixNano()) {
			out = append(out, recorded)
		}
	}
	return out
}

// timeline is all that the authorities say of a name: for each of them the
// answer from an instant on. The first instant is before all others.
type timeline struct {
	steps [propagation.Authorities][]step
	// places are when authorities begin to say for good what the change wants;
	// insync is the last of them. Never: zone.Never.
	places [propagation.Authorities]int64
	insync int64
}

type step struct {
	from int64
	said
}

// said is what an authority answers, if it does.
type said struct {
	answers       bool
	exists, right bool          // right: it is what the change wants
	ttl, negative time.Duration // of the set, and of its absence
}

// newTimeline asks the authorities for the n-th name at every instant at which
// their answers can change.
func newTimeline(c *Config, n int) (*timeline, error) {
	profile, err := propagation.Resolve(c.Profile, c.Custom)
	if err != nil {
		return nil, err
	}
	begin := c.commit().Add(-2 * maxTime).UnixNano()
	edit := (&zone.Set{}).Edit([]string{region})
	instants := []int64{begin}
	for _, record := range c.Records(n) {
		change, err := zone.NewChange(record)
		if err != nil {
			return nil, err
		}
		edit.Put(change)
		for a := range propagation.Authorities {
			instants = append(instants, change.ShownAt(a), change.SettledAt(a))
		}
	}
	for _, f := range c.Faults {
		from := c.commit().Add(f.From)
		instants = append(instants, from.UnixNano(), from.Add(f.For).UnixNano())
	}
	slices.Sort(instants)
	instants = slices.Compact(instants)
	set := edit.Set(begin)
	set.PositiveTTL, set.NegativeTTL = profile.PositiveTTL, profile.NegativeTTL
	t := &timeline{}
	for a := range propagation.Authorities {
		server := authority.New(authority.Config{Number: a})
		t.places[a] = zone.Never
		for _, at := range instants {
			if at == zone.Never {
				break
			}
			set.Faults = c.faultsAt(time.Unix(0, at))
			now, right := c.ask(server, set, c.Name(n), at)
			switch {
			case !right:
				t.places[a] = zone.Never
			case t.places[a] == zone.Never:
				t.places[a] = at
			}
			if last := len(t.steps[a]) - 1; last < 0 || t.steps[a][last].said != now {
				t.steps[a] = append(t.steps[a], step{at, now})
			}
		}
		t.insync = max(t.insync, t.places[a])
	}
	return t, nil
}

// ask is what a server says at an instant, and whether its zone has what the
// change wants.
func (c *Config) ask(server *authority.Authority, set *zone.Set, name string, at int64) (said, bool) {
	answer, _ := server.Ask(set, name, dns.TypeA, at)
	exists := !answer.RRset.Empty()
	right := exists == (c.Operation != Disassociate)
	if server.Condition(set, name, at) != zone.Answering {
		return said{}, right
	}
	return said{answers: true, exists: exists, right: right, ttl: answer.TTL, negative: answer.NegativeTTL}, right
}

// at is what an authority says at an instant. There are few steps, and most
// questions come after the last.
func (t *timeline) at(authority int, at int64) *said {
	steps := t.steps[authority]
	for i := len(steps) - 1; i > 0; i-- {
		if steps[i].from <= at {
			return &steps[i].said
		}
	}
	return &steps[0].said
}
