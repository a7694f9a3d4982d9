package seed_test

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/miekg/dns"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

// Names that take their time: clusters whose DNS clock stands still, so that
// nothing becomes visible but by an advance.

const minute = time.Minute

func frozenLab(t *testing.T, profile string) *lab {
	t.Helper()
	return ownLab(t, &adminv1.Settings{DnsProfile: &profile, DnsSpeed: proto.Float64(0), DnsSeed: proto.Uint64(1)})
}

// advance moves the DNS clock.
func (w *world) advance(by time.Duration) {
	w.Helper()
	if _, err := w.lab.admin.AdvanceDns(w.ctx, &adminv1.AdvanceDnsRequest{DurationMs: by.Milliseconds()}); err != nil {
		w.Fatalf("advance the DNS clock by %s: %v", by, err)
	}
}

// change is the newest change of a name; nil if there is none.
func (w *world) change(name string) *adminv1.DnsChangeStatus {
	w.Helper()
	out := must[*adminv1.ListDnsChangesResponse](w, "list DNS changes")(w.lab.admin.ListDnsChanges(w.ctx, &adminv1.ListDnsChangesRequest{Subject: name}))
	var newest *adminv1.DnsChangeStatus
	for _, c := range out.GetChanges() {
		if slices.Contains(c.GetNames(), name+".") {
			newest = c
		}
	}
	return newest
}

func (w *world) mustChange(name string) *adminv1.DnsChangeStatus {
	w.Helper()
	c := w.change(name)
	if c == nil {
		w.Fatalf("no DNS change of %s", name)
	}
	return c
}

func lost(c *adminv1.DnsChangeStatus) bool {
	return slices.ContainsFunc(c.GetInstants(), (*adminv1.AuthorityInstant).GetLost)
}

// authorities are the addresses of the public name servers.
func (w *world) authorities() []string {
	w.Helper()
	status := must[*adminv1.StatusResponse](w, "status")(w.lab.admin.Status(w.ctx, &adminv1.StatusRequest{}))
	var out []string
	for _, p := range status.GetPlaces() {
		if p.GetKind() == "authority" {
			out = append(out, p.GetAddress())
		}
	}
	return out
}

// visibleAt counts the name servers that show a name.
func (w *world) visibleAt(name string) int {
	w.Helper()
	n := 0
	for _, server := range w.authorities() {
		host, _, err := net.SplitHostPort(server)
		if err != nil {
			w.Fatalf("address of an authority: %v", err)
		}
		if m := w.ask(host, server, name); m.Rcode == dns.RcodeSuccess && len(m.Answer) > 0 {
			n++
		}
	}
	return n
}

// propagated makes an endpoint whose own names are visible everywhere.
func (w *world) propagated(v network) endpoint {
	w.Helper()
	e := w.endpointIn(v)
	w.advance(20 * minute)
	w.settle()
	equal(w, "state of the endpoint", w.describeEndpoint(e.id).State, "available")
	return e
}

// TestS59_PropagationTakesMinutes is S55, S59 and S60: one association under the
// profile aws, looked at while it propagates.
func TestS59_PropagationTakesMinutes(t *testing.T) {
	t.Parallel()
	w := frozenLab(t, "aws").world(t, ownAccount, region)
	v, outside := w.vpc("a", "b"), w.vpc("a")
	e := w.propagated(v)
	a := w.privateAPI(onlyEndpoints(e.id))
	w.settle()
	if c := w.change(a.alias(e)); c != nil {
		t.Fatalf("a change of the alias before the association: %v", c)
	}
	equal(w, "authorities", len(w.authorities()), 4)
	w.mustPatch(a, associate(e))
	w.settle("edges")
	getChange := func(id string) string {
		out := must[*route53.GetChangeOutput](w, "get change")(w.route53.GetChange(w.ctx, &route53.GetChangeInput{Id: aws.String("/change/" + id)}))
		return string(out.ChangeInfo.Status)
	}

	t.Run("S60", func(t *testing.T) { // during PENDING
		w := w.lab.world(t, ownAccount, region)
		equal(w, "state", w.mustChange(a.alias(e)).GetStatus(), "PENDING")
		w.served("private name", w.call(v.id, a.url()), a)
		w.served("endpoint name, Host", w.call(v.id, endpointURL(e.host()), "Host", a.host()), a)
		w.served("endpoint name, x-apigw-api-id", w.call(v.id, endpointURL(e.host()), "x-apigw-api-id", a.id), a)
		w.served("zonal name, x-apigw-api-id", w.call(v.id, endpointURL(e.names[2]), "x-apigw-api-id", a.id), a)
	})
	c := w.mustChange(a.alias(e))
	t.Run("S55", func(t *testing.T) {
		w := w.lab.world(t, ownAccount, region)
		equal(w, "subject", c.GetSubject(), a.id)
		equal(w, "Route 53's state", getChange(c.GetId()), "PENDING")
		equal(w, "name servers that show it", w.visibleAt(a.alias(e)), 0)
	})
	// Each name server has its instant; go to each and look.
	var instants []time.Time
	for _, i := range c.GetInstants() {
		instants = append(instants, time.Unix(0, i.GetDnsUnixNano()))
	}
	slices.SortFunc(instants, time.Time.Compare)
	submitted := must[*adminv1.GetSettingsResponse](w, "settings")(w.lab.admin.GetSettings(w.ctx, &adminv1.GetSettingsRequest{})).GetDnsNowUnixNano()
	took := instants[len(instants)-1].Sub(time.Unix(0, submitted))
	if took < 15*time.Second || took > 6*minute {
		t.Errorf("the last name server shows it %s after the association, want a minute or a few", took)
	}
	w.resolves(internet, a.alias(e)) // too early, and remembered: the public resolver's negative TTL is 15 minutes
	for n, at := range instants {
		now := must[*adminv1.GetSettingsResponse](w, "settings")(w.lab.admin.GetSettings(w.ctx, &adminv1.GetSettingsRequest{})).GetDnsNowUnixNano()
		if by := at.Sub(time.Unix(0, now)); by > time.Millisecond {
			w.advance(by - time.Millisecond)
			equal(w, "name servers just before the next instant", w.visibleAt(a.alias(e)), n)
		}
		w.advance(2 * time.Millisecond)
		want := n + 1
		for want < len(instants) && !instants[want].After(at.Add(time.Millisecond)) {
			want++
		}
		w.eventually("the name server shows it", func() bool { return w.visibleAt(a.alias(e)) >= want })
	}
	done := w.mustChange(a.alias(e))
	equal(w, "state at last", done.GetStatus(), "INSYNC")
	equal(w, "Route 53's state at last", getChange(done.GetId()), "INSYNC")
	w.resolves(outside.id, a.alias(e), w.addresses(e)...)
	w.resolves(internet, a.alias(e))
	w.advance(15 * minute)
	w.settle()
	w.resolves(internet, a.alias(e), w.addresses(e)...)
	w.served("alias name", w.call(v.id, a.aliasURL(e)), a)
}

// TestS61_DeploymentRepairsALostChange loses one by the fault dns-lost.
func TestS61_DeploymentRepairsALostChange(t *testing.T) {
	t.Parallel()
	l := frozenLab(t, "aws")
	w := l.world(t, ownAccount, region)
	v := w.vpc("a")
	e := w.propagated(v)
	a := w.privateAPI(onlyEndpoints(e.id))
	w.fault(&adminv1.SetDnsFaultRequest{Kind: "dns-lost", Name: a.alias(e)})
	w.mustPatch(a, associate(e))
	w.advance(60 * minute) // "after several minutes"
	w.settle("edges")
	if c := w.mustChange(a.alias(e)); !lost(c) || c.GetStatus() != "PENDING" {
		t.Fatalf("the change is not lost: %v", c)
	}
	equal(w, "name servers that show it", w.visibleAt(a.alias(e)), 0)
	w.served("the API meanwhile", w.call(v.id, endpointURL(e.host()), "x-apigw-api-id", a.id), a)

	w.deploy(a) // the fault is still in force: it takes first attempts
	w.advance(60 * minute)
	w.eventually("all name servers show it", func() bool { return w.visibleAt(a.alias(e)) == 4 })
	equal(w, "state after the deployment", w.mustChange(a.alias(e)).GetStatus(), "INSYNC")
	w.resolves(internet, a.alias(e), w.addresses(e)...)
	w.settle("edges")
	w.served("alias name", w.call(v.id, a.aliasURL(e)), a)
}

// Faults of answers are in force at the name servers as soon as they have the
// version, and no longer than that.
func TestFaultsReachNameServers(t *testing.T) {
	t.Parallel()
	l := frozenLab(t, "aws")
	w := l.world(t, ownAccount, region)
	e := w.propagated(w.vpc("a"))
	servfail := func() (n int) {
		for _, server := range w.authorities() {
			host, _, err := net.SplitHostPort(server)
			if err != nil {
				t.Fatalf("address of an authority: %v", err)
			}
			if w.ask(host, server, e.host()).Rcode == dns.RcodeServerFailure {
				n++
			}
		}
		return n
	}
	equal(w, "name servers that fail", servfail(), 0)
	w.fault(&adminv1.SetDnsFaultRequest{Kind: "dns-servfail", Name: e.host(), Place: "ns2"})
	w.settle()
	equal(w, "name servers that fail under the fault", servfail(), 1)
	w.resolves(internet, e.host(), w.addresses(e)...) // the resolver asks another
	w.fault(&adminv1.SetDnsFaultRequest{Kind: "dns-servfail", Name: e.host(), DurationMs: minute.Milliseconds()})
	w.settle()
	equal(w, "name servers that fail under both", servfail(), 4)
	w.advance(minute)
	w.eventually("the second fault is over", func() bool { return servfail() == 1 })
	status := must[*adminv1.StatusResponse](w, "status")(l.admin.Status(w.ctx, &adminv1.StatusRequest{}))
	equal(w, "faults in the status", len(status.GetDns().GetFaults()), 1)
	must[*adminv1.ClearDnsFaultsResponse](w, "clear")(l.admin.ClearDnsFaults(w.ctx, &adminv1.ClearDnsFaultsRequest{All: true}))
	w.settle()
	equal(w, "name servers that fail at last", servfail(), 0)
}

// fault sets a fault of the name servers.
func (w *world) fault(f *adminv1.SetDnsFaultRequest) {
	w.Helper()
	if _, err := w.lab.admin.SetDnsFault(w.ctx, f); err != nil {
		w.Fatalf("set a fault: %v", err)
	}
}

func TestS29_AssociateAndDisassociate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v, outside := w.vpc("a", "b"), w.vpc("a")
	e := w.endpointIn(v)
	a := w.privateAPI(onlyEndpoints(e.id))
	w.settle()
	w.resolves(internet, a.alias(e))
	w.mustPatch(a, associate(e))
	w.settle()
	for _, from := range []string{internet, outside.id} {
		w.resolves(from, a.alias(e), w.addresses(e)...)
	}
	w.served("alias name", w.call(v.id, a.aliasURL(e)), a)
	w.mustPatch(a, disassociate(e))
	w.settle()
	for _, from := range []string{internet, outside.id} {
		w.resolves(from, a.alias(e))
	}
	w.unresolved("alias name after disassociation", w.call(outside.id, a.aliasURL(e)))
	w.served("private name after disassociation", w.call(v.id, a.url()), a)
}

// TestS69_Matrix associates three APIs with three endpoints, all with all.
func TestS69_Matrix(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var endpoints []endpoint
	var ids []string
	for range 3 {
		e := w.endpointIn(w.vpc("a", "b"))
		endpoints, ids = append(endpoints, e), append(ids, e.id)
	}
	var apis []restAPI
	for range 3 {
		apis = append(apis, w.privateAPI(onlyEndpoints(ids...), ids...))
	}
	w.settle()
	for _, a := range apis {
		equal(w, "associations", strings.Join(w.getAPI(a).EndpointConfiguration.VpcEndpointIds, " "), strings.Join(ids, " "))
		for _, e := range endpoints {
			w.resolves(internet, a.alias(e), w.addresses(e)...)
			got := w.call(e.vpc.id, a.aliasURL(e))
			w.served(a.alias(e), got, a)
			equal(w, "endpoint by which the edge decided", got.Header.Get("seen-endpoint"), e.id)
		}
	}
}
