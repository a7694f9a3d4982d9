package service

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dnsprop/propagation"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

func (l *adminLab) faults() string {
	var ids []string
	for _, f := range ok(l.ListDnsFaults(l.ctx(), &adminv1.ListDnsFaultsRequest{})).GetFaults() {
		ids = append(ids, f.GetId())
	}
	return strings.Join(ids, " ")
}

func TestDNSFaults(t *testing.T) {
	l := newAdminLab(t)
	for name, bad := range map[string]*adminv1.SetDnsFaultRequest{
		"kind":     {Kind: "dns-slow"},
		"two":      {Kind: "dns-down", Name: "a", Zone: "b"},
		"place":    {Kind: "dns-down", Place: "edge1"},
		"no lag":   {Kind: "dns-lag"},
		"lag":      {Kind: "dns-lag", LagMs: -1},
		"overflow": {Kind: "dns-lag", LagMs: 1 << 60},
		"duration": {Kind: "dns-down", DurationMs: -1},
		"for ever": {Kind: "dns-down", DurationMs: 1 << 60},
		"odd name": {Kind: "dns-down", Name: "a b"},
		"unknown":  {Kind: "eni-slow"},
	} {
		if _, err := l.SetDnsFault(l.ctx(), bad); err == nil {
			t.Errorf("%s: %v was accepted", name, bad)
		}
	}
	if got := l.faults(); got != "" || l.view().Index() != 0 && len(slices.Collect(l.view().All(statev1.Type_TYPE_DNS_FAULT))) > 0 {
		t.Errorf("refused, and yet in force: %s", got)
	}

	set := ok(l.SetDnsFault(l.ctx(), &adminv1.SetDnsFaultRequest{Kind: "dns-lag", Zone: "Execute-API.us-west-2.amazonaws.com", Place: "ns3", LagMs: 5000}))
	if f := set.GetFault(); f.GetId() != "dns-lag:.execute-api.us-west-2.amazonaws.com.@ns3" || f.GetLagMs() != 5000 || f.GetEndsAtUnixNano() != 0 || set.GetIndex() != l.view().Index() {
		t.Errorf("set %v", set)
	}
	again := ok(l.SetDnsFault(l.ctx(), &adminv1.SetDnsFaultRequest{Kind: "dns-lag", Zone: "execute-api.us-west-2.amazonaws.com.", Place: "ns3", LagMs: 7000}))
	if again.GetFault().GetId() != set.GetFault().GetId() || again.GetFault().GetLagMs() != 7000 {
		t.Errorf("set again %v", again)
	}
	ok(l.SetDnsFault(l.ctx(), &adminv1.SetDnsFaultRequest{Kind: "dns-down", DurationMs: 60_000}))
	if got := l.faults(); got != "dns-down "+set.GetFault().GetId() {
		t.Errorf("in force: %s", got)
	}
	status := ok(l.Status(l.ctx(), &adminv1.StatusRequest{}))
	if got := status.GetDns().GetFaults(); len(got) != 2 || got[1].GetLagMs() != 7000 {
		t.Errorf("status says %v", got)
	}

	// Its end comes on the DNS clock, and then its record goes with the next write.
	ok(l.AdvanceDns(l.ctx(), &adminv1.AdvanceDnsRequest{DurationMs: 59_999}))
	if got := l.faults(); !strings.HasPrefix(got, "dns-down ") {
		t.Errorf("a moment before its end: %s", got)
	}
	ok(l.AdvanceDns(l.ctx(), &adminv1.AdvanceDnsRequest{DurationMs: 1}))
	if got := l.faults(); got != set.GetFault().GetId() {
		t.Errorf("after its end: %s", got)
	}
	if _, err := l.ClearDnsFaults(l.ctx(), &adminv1.ClearDnsFaultsRequest{Ids: []string{"dns-down", set.GetFault().GetId()}}); err == nil || !strings.Contains(err.Error(), `"dns-down"`) {
		t.Errorf("clearing what is over: %v", err)
	}
	if l.faults() == "" {
		t.Error("a refused clear cleared something")
	}
	cleared := ok(l.ClearDnsFaults(l.ctx(), &adminv1.ClearDnsFaultsRequest{Ids: []string{set.GetFault().GetId()}}))
	if len(cleared.GetCleared()) != 1 || l.faults() != "" || l.view().Get(faultKey("dns-down")) != nil {
		t.Errorf("cleared %v, in force %s", cleared, l.faults())
	}
	for _, bad := range []*adminv1.ClearDnsFaultsRequest{{}, {All: true, Ids: []string{"dns-down"}}} {
		if _, err := l.ClearDnsFaults(l.ctx(), bad); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
	index := l.view().Index()
	if none := ok(l.ClearDnsFaults(l.ctx(), &adminv1.ClearDnsFaultsRequest{All: true})); len(none.GetCleared()) != 0 || l.view().Index() != index {
		t.Errorf("clearing nothing: %v", none)
	}
	for i := range maxDNSFaults {
		ok(l.SetDnsFault(l.ctx(), &adminv1.SetDnsFaultRequest{Kind: "dns-down", Name: fmt.Sprintf("n%d.example", i)}))
	}
	if _, err := l.SetDnsFault(l.ctx(), &adminv1.SetDnsFaultRequest{Kind: "dns-down", Name: "one.more"}); err == nil {
		t.Error("no bound on faults")
	}
	ok(l.SetDnsFault(l.ctx(), &adminv1.SetDnsFaultRequest{Kind: "dns-down", Name: "n1.example"})) // replaces
	if all := ok(l.ClearDnsFaults(l.ctx(), &adminv1.ClearDnsFaultsRequest{All: true})); len(all.GetCleared()) != maxDNSFaults || l.faults() != "" {
		t.Errorf("%d cleared", len(all.GetCleared()))
	}
}

// What is committed while a fault is in force keeps it, and the next
// deployment repairs what can be repaired.
func TestChangesKeepTheirFaults(t *testing.T) {
	a := newTestAPI(t)
	a.cluster.put(t, &statev1.Record{
		Key:   state.SettingsKey().Proto(),
		Value: &statev1.Record_Settings{Settings: &statev1.Settings{DnsProfile: "instant"}},
	})
	fault := func(f *statev1.DnsFault) *statev1.Record {
		f.Id = propagation.FaultID(f)
		return &statev1.Record{Key: faultKey(f.Id).Proto(), Value: &statev1.Record_DnsFault{DnsFault: f}}
	}
	a.cluster.put(t, fault(&statev1.DnsFault{Kind: propagation.FaultLost, Place: "ns1"}))
	a.cluster.put(t, fault(&statev1.DnsFault{Kind: propagation.FaultReorder, Place: "ns2"}))
	a.cluster.put(t, fault(&statev1.DnsFault{Kind: propagation.FaultLag, Place: "ns3", Lag: int64(time.Hour)}))
	a.cluster.put(t, fault(&statev1.DnsFault{Kind: propagation.FaultLag, Place: "ns4", Lag: int64(time.Hour), EndsAt: 1})) // over
	made, err := a.CreateRestApi(a.ctx, &apigatewayv1.CreateRestApiRequest{Name: new("late")})
	if err != nil {
		t.Fatal(err)
	}
	a.id, a.root = made.GetId(), made.GetRootResourceId()
	find := func() *statev1.DnsChange {
		for r := range a.cluster.store.View().All(statev1.Type_TYPE_DNS_CHANGE) {
			if r.GetDnsChange().GetSubject() == a.id {
				return r.GetDnsChange()
			}
		}
		t.Fatal("no change")
		return nil
	}
	c := find()
	if c.GetLostAt() != 1 || c.GetReorderedAt() != 2 || !slices.Equal(c.GetLag(), []int64{0, 0, int64(time.Hour), 0}) {
		t.Errorf("lost %b, reordered %b, lag %v", c.GetLostAt(), c.GetReorderedAt(), c.GetLag())
	}
	a.mock(a.root, "GET")
	a.deploy("prod")
	if c = find(); len(c.GetAttempts()) != 2 || propagation.Lost(c) {
		t.Errorf("after a deployment: attempts %v, lost %v", c.GetAttempts(), propagation.Lost(c))
	}
	if _, ok := propagation.Settled(c, 1); !ok {
		t.Error("the deployment leaves a reordered change open")
	}
}

// A reordered change is INSYNC, and yet a deployment drives it again: an older
// one may have taken effect over it.
func TestDeploymentKicksReorderedChanges(t *testing.T) {
	a := newTestAPI(t)
	f := &statev1.DnsFault{Id: "dns-reorder", Kind: propagation.FaultReorder}
	a.cluster.put(t, &statev1.Record{Key: faultKey(f.Id).Proto(), Value: &statev1.Record_DnsFault{DnsFault: f}})
	made, err := a.CreateRestApi(a.ctx, &apigatewayv1.CreateRestApiRequest{Name: new("raced")})
	if err != nil {
		t.Fatal(err)
	}
	a.id, a.root = made.GetId(), made.GetRootResourceId()
	a.mock(a.root, "GET")
	for range 2 { // the second deployment has nothing left to do
		a.deploy("prod")
		for r := range a.cluster.store.View().All(statev1.Type_TYPE_DNS_CHANGE) {
			if c := r.GetDnsChange(); c.GetSubject() == a.id && len(c.GetAttempts()) != 2 {
				t.Errorf("attempts %v", c.GetAttempts())
			}
		}
	}
}

func TestCustomProfile(t *testing.T) {
	l := newAdminLab(t)
	content := &statev1.DnsProfile{Sync: &statev1.DelayDistribution{Kind: "fixed", Values: []int64{int64(time.Minute)}}, PositiveTtl: 30}
	for name, bad := range map[string]*adminv1.Settings{
		"no name":  {CustomDnsProfile: content},
		"built in": {DnsProfile: proto.String("aws"), CustomDnsProfile: content},
		"resolver": {DnsProfile: proto.String("office"), CustomDnsProfile: &statev1.DnsProfile{Resolver: "ttl=x"}},
		"content":  {DnsProfile: proto.String("office"), CustomDnsProfile: &statev1.DnsProfile{Lost: 2}},
		"unknown":  {DnsProfile: proto.String("office")},
	} {
		if _, err := l.UpdateSettings(l.ctx(), &adminv1.UpdateSettingsRequest{Settings: bad}); err == nil {
			t.Errorf("%s: %v was accepted", name, bad)
		}
	}
	ok(l.UpdateSettings(l.ctx(), &adminv1.UpdateSettingsRequest{Settings: &adminv1.Settings{DnsProfile: proto.String("office"), CustomDnsProfile: content}}))
	named := ok(l.UpdateSettings(l.ctx(), &adminv1.UpdateSettingsRequest{Settings: &adminv1.Settings{DnsProfile: proto.String("office")}}))
	if !proto.Equal(named.GetSettings().GetCustomDnsProfile(), content) {
		t.Errorf("naming it again lost its content: %v", named)
	}
	built := ok(l.UpdateSettings(l.ctx(), &adminv1.UpdateSettingsRequest{Settings: &adminv1.Settings{DnsProfile: proto.String("fast")}}))
	if built.GetSettings().GetCustomDnsProfile() != nil {
		t.Errorf("a built-in profile with content: %v", built)
	}
}
