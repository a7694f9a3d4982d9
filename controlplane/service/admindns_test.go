package service

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dnsprop/propagation"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// asked is an admin service whose DNS servers answer as answer says.
func (l *adminLab) asked(answer answering) adminv1.AdminServer {
	return NewAdmin(AdminConfig{Config: l.cfg, Membership: l.node, Places: l.places, Questions: answer})
}

// Where an older change took effect over a newer one that was reordered, the
// newer one is overtaken; until it is driven again.
func TestTraceShowsWhatIsOvertaken(t *testing.T) {
	l := newAdminLab(t)
	now := l.cfg.Now()
	name := "a1b2c3d4e5.execute-api.us-west-2.amazonaws.com."
	change := func(id string, after time.Duration, edit func(*statev1.DnsChange)) {
		c := &statev1.DnsChange{
			Id: id, Profile: "instant", Region: "us-west-2", Attempts: []int64{now.Add(after).UnixNano()},
			Records: []*statev1.RecordChange{{Name: name, Type: "A", After: &statev1.RRset{Ttl: 60, Addresses: []string{"10.0.0.1"}}}},
		}
		edit(c)
		l.cluster.put(t, &statev1.Record{Key: state.Key{Type: statev1.Type_TYPE_DNS_CHANGE, ID: id}.Proto(), Value: &statev1.Record_DnsChange{DnsChange: c}})
	}
	states := func() (out []string) {
		for _, s := range ok(l.ListDnsChanges(l.ctx(), &adminv1.ListDnsChangesRequest{})).GetChanges() {
			line := s.GetId()
			for _, i := range s.GetInstants() {
				line += fmt.Sprintf(" %t/%t", i.GetVisible(), i.GetOvertaken())
			}
			out = append(out, line)
		}
		return out
	}
	expect := func(want ...string) {
		t.Helper()
		if got := states(); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	// The first is late at ns2 and ns3; the second may be overtaken at ns2.
	change("C1", -3*time.Minute, func(c *statev1.DnsChange) { c.Lag = []int64{0, int64(2 * time.Minute), int64(2 * time.Minute), 0} })
	change("C2", -2*time.Minute, func(c *statev1.DnsChange) { c.ReorderedAt = 0b10 })
	expect("C1 true/false true/false true/false true/false", "C2 true/false true/true true/false true/false")
	change("C2", -2*time.Minute, func(c *statev1.DnsChange) {
		c.ReorderedAt, c.Attempts = 0b10, append(c.Attempts, now.Add(-time.Second).UnixNano())
	})
	expect("C1 true/false true/false true/false true/false", "C2 true/false true/false true/false true/false")
	if propagation.Authorities != 4 {
		t.Error("the test knows of four")
	}
}

func TestExplainName(t *testing.T) {
	l := newAdminLab(t)
	for _, id := range []string{"dns1", "dns2"} {
		ok(l.RegisterPlaces(t.Context(), &adminv1.RegisterPlacesRequest{Places: []*adminv1.PlaceRegistration{{Id: id + "-ns1", Kind: "authority", Instance: "i", Carrier: id}}}))
	}
	says := func(e *dnsv1.Explanation) *syncv1.Answer {
		return &syncv1.Answer{Message: &syncv1.Answer_Explanation{Explanation: e}}
	}
	explain := func(replies ...*clusterv1.Reply) (*adminv1.ExplainNameResponse, error) {
		admin := l.asked(func(domain syncv1.Domain, q *syncv1.Query) *Asked {
			if domain != syncv1.Domain_DOMAIN_DNS || q.GetName().GetName() != "a.b" || q.GetName().GetPlace() != "ns7" {
				t.Errorf("asked %v %v", domain, q)
			}
			return &Asked{Replies: replies}
		})
		return admin.ExplainName(t.Context(), &adminv1.ExplainNameRequest{Question: &dnsv1.Question{Name: "a.b", Place: "ns7"}})
	}
	here := &dnsv1.Explanation{Places: []*dnsv1.PlaceAnswer{{Place: "dns1-ns7"}}}
	elsewhere := &dnsv1.Explanation{Refused: `there is no place "ns7"`, Known: []string{"dns2-ns1"}}
	answer := ok(explain(&clusterv1.Reply{Carrier: "dns2", Answer: says(elsewhere)}, &clusterv1.Reply{Carrier: "dns1", Unanswered: "its stream ended"}, &clusterv1.Reply{Carrier: "dns1", Answer: says(here)}))
	if len(answer.GetServers()) != 1 || answer.GetServers()[0].GetId() != "dns1" || len(answer.GetUnreached()) != 0 {
		t.Errorf("%v", answer)
	}
	answer = ok(explain(&clusterv1.Reply{Carrier: "dns1", Answer: says(here)}, &clusterv1.Reply{Carrier: "dns2", Unanswered: "its stream ended"}))
	if len(answer.GetServers()) != 1 || answer.GetUnreached()["dns2"] != "its stream ended" {
		t.Errorf("%v", answer)
	}
	for name, row := range map[string]struct {
		replies []*clusterv1.Reply
		code    codes.Code
		want    string
	}{
		"nowhere": {[]*clusterv1.Reply{{Carrier: "dns2", Answer: says(elsewhere)}}, codes.NotFound, `there is no place "ns7": want one of dns2-ns1`},
		"no name": {[]*clusterv1.Reply{{Carrier: "dns2", Answer: says(&dnsv1.Explanation{Refused: "no domain name"})}}, codes.InvalidArgument, "no domain name"},
		"silence": {nil, codes.Unavailable, "no DNS server answers. Not reached: dns1 (connected to no node that answered), dns2"},
		"of old":  {[]*clusterv1.Reply{{Carrier: "dns1", Unanswered: "it did not answer in time"}}, codes.Unavailable, "dns1 (it did not answer in time)"},
	} {
		if _, err := explain(row.replies...); status.Code(err) != row.code || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Of many changes the DNS servers are asked about those under way, then the newest.
func TestFollowDnsChanges(t *testing.T) {
	l := newAdminLab(t)
	const many = maxFollowed + 10
	for i := range many {
		id := fmt.Sprintf("C%03d", i)
		c := &statev1.DnsChange{Id: id, Profile: "instant", Region: "us-west-2", Attempts: []int64{l.cfg.Now().UnixNano()}, Lost: i == 0}
		c.Records = []*statev1.RecordChange{{Name: fmt.Sprintf("a%d.execute-api.us-west-2.amazonaws.com.", i), Type: "A"}}
		l.cluster.put(t, &statev1.Record{Key: state.Key{Type: statev1.Type_TYPE_DNS_CHANGE, ID: id}.Proto(), Value: &statev1.Record_DnsChange{DnsChange: c}})
	}
	admin := l.asked(func(domain syncv1.Domain, q *syncv1.Query) *Asked {
		ids := q.GetProgress().GetChanges()
		if domain != syncv1.Domain_DOMAIN_DNS || len(ids) != maxFollowed || ids[0] != "C000" || ids[1] != fmt.Sprintf("C%03d", many-1) || ids[2] != fmt.Sprintf("C%03d", many-2) {
			t.Errorf("asked %v about %v", domain, ids)
		}
		return &Asked{Replies: []*clusterv1.Reply{{Carrier: "dns1", Answer: &syncv1.Answer{Message: &syncv1.Answer_Progress{Progress: &dnsv1.Progress{Now: 7}}}}, {Carrier: "dns2", Unanswered: "no"}}}
	})
	answer := ok(admin.FollowDnsChanges(l.ctx(), &adminv1.FollowDnsChangesRequest{}))
	if len(answer.GetChanges()) != many || len(answer.GetServers()) != 1 || answer.GetServers()[0].GetProgress().GetNow() != 7 || answer.GetUnreached()["dns2"] != "no" {
		t.Errorf("%d changes, %v, %v", len(answer.GetChanges()), answer.GetServers(), answer.GetUnreached())
	}
	if answer := ok(admin.FollowDnsChanges(l.ctx(), &adminv1.FollowDnsChangesRequest{Subject: "none"})); len(answer.GetChanges())+len(answer.GetServers()) != 0 {
		t.Errorf("%v", answer)
	}
}

// Who moves the DNS clock goes on when the DNS servers that answer go by it, or
// soon anyway.
func TestAdvanceIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newAdminLab(t)
		asked, behind := 0, 3
		server := l.asked(func(domain syncv1.Domain, q *syncv1.Query) *Asked {
			if domain != syncv1.Domain_DOMAIN_DNS || q.GetProgress() == nil {
				t.Errorf("asked %v: %v", domain, q)
			}
			index := l.view().Index()
			if asked++; asked <= behind {
				index--
			}
			reply := func(index uint64) *clusterv1.Reply {
				return &clusterv1.Reply{Answer: &syncv1.Answer{Message: &syncv1.Answer_Progress{Progress: &dnsv1.Progress{Index: index}}}}
			}
			return &Asked{Replies: []*clusterv1.Reply{reply(l.view().Index()), reply(index), {}}}
		})
		ok(server.AdvanceDns(l.ctx(), &adminv1.AdvanceDnsRequest{DurationMs: 1000}))
		if asked != behind+1 {
			t.Errorf("asked %d times", asked)
		}
		asked, behind = 0, 1<<30
		began := time.Now()
		ok(server.UpdateSettings(l.ctx(), &adminv1.UpdateSettingsRequest{Settings: &adminv1.Settings{DnsSpeed: new(7.0)}}))
		if took := time.Since(began); took != followPatience {
			t.Errorf("a server that is behind for good was waited for for %v", took)
		}
		asked = 0
		ok(server.UpdateSettings(l.ctx(), &adminv1.UpdateSettingsRequest{Settings: &adminv1.Settings{DnsProfile: new("aws")}}))
		if asked != 0 {
			t.Error("a profile moves no clock, and yet servers were asked")
		}
	})
}
