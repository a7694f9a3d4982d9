package service

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/state"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// oneNode is the membership of a group of one, whose leadership a test takes away.
type oneNode struct{ leads bool }

func (o *oneNode) Peers(context.Context) ([]*adminv1.Node, error) {
	return []*adminv1.Node{{Id: "n1", Role: "leader", Reachable: true}}, nil
}
func (o *oneNode) AddPeer(context.Context, string, string, bool) error { return nil }
func (o *oneNode) RemovePeer(context.Context, string) error            { return nil }
func (o *oneNode) TransferLeader(context.Context, string) error        { return nil }
func (o *oneNode) IsLeader() bool                                      { return o.leads }
func (o *oneNode) Leader() (string, string) {
	if o.leads {
		return "n1", "127.0.0.1:1"
	}
	return "", ""
}

// registered knows the places of the View; all of them show what it shows, once
// it is not failing any more.
type registered struct {
	failing int
	waited  []uint64
}

func (r *registered) Places(v *state.View) []*adminv1.Place {
	var out []*adminv1.Place
	for p := range v.All(statev1.Type_TYPE_PLACE) {
		out = append(out, &adminv1.Place{Id: p.GetPlace().GetId(), Version: v.Index()})
	}
	return out
}

func (r *registered) Wait(_ context.Context, index uint64, _ []string, progress func(*adminv1.WaitResponse)) (*adminv1.WaitResponse, error) {
	if r.failing > 0 {
		r.failing--
		return nil, status.Error(codes.Unavailable, "this node does not lead")
	}
	r.waited = append(r.waited, index)
	progress(&adminv1.WaitResponse{Index: index, Total: 1})
	return &adminv1.WaitResponse{Index: index, Reached: true, Total: 1}, nil
}

type adminLab struct {
	*ec2Lab
	adminv1.AdminServer
	node   *oneNode
	places *registered
}

func newAdminLab(t *testing.T) *adminLab {
	l := &adminLab{ec2Lab: newEC2Lab(t), node: &oneNode{leads: true}, places: &registered{}}
	l.AdminServer = NewAdmin(AdminConfig{Config: l.cfg, Membership: l.node, Places: l.places, AllowReset: true})
	return l
}

// ok is the answer of a call that has to succeed.
func ok[T any](answer T, err error) T {
	if err != nil {
		panic(err)
	}
	return answer
}

func edgePlace(id, instance string) *adminv1.PlaceRegistration {
	return &adminv1.PlaceRegistration{Id: id, Kind: "edge", Instance: instance, Carrier: id, Address: "127.0.0.1:8443"}
}

func TestPlacesRegisterOnce(t *testing.T) {
	l := newAdminLab(t)
	register := func(exact bool, places ...*adminv1.PlaceRegistration) (uint64, error) {
		answer, err := l.RegisterPlaces(l.ctx(), &adminv1.RegisterPlacesRequest{Places: places, Exact: exact})
		return answer.GetIndex(), err
	}
	first, err := register(false, edgePlace("e1", "a"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := register(false, edgePlace("e1", "a")); err != nil || again != first {
		t.Errorf("registering again = index %d, %v; want nothing written after %d", again, err, first)
	}
	if _, err := register(false, edgePlace("e1", "b")); err == nil || !strings.Contains(err.Error(), "another instance") {
		t.Errorf("another instance under the id = %v, want a refusal", err)
	}
	if _, err := register(false, &adminv1.PlaceRegistration{Id: "x", Kind: "toaster", Instance: "a"}); err == nil {
		t.Error("a place of no known kind was registered")
	}
	ns := func(id string) *adminv1.PlaceRegistration {
		return &adminv1.PlaceRegistration{Id: id, Kind: "authority", Instance: "d", Carrier: "dns1"}
	}
	if _, err := register(true, ns("ns1"), ns("ns2")); err != nil {
		t.Fatal(err)
	}
	if _, err := register(true, ns("ns2")); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, p := range l.places.Places(l.view()) {
		got[p.GetId()] = true
	}
	if len(got) != 2 || !got["e1"] || !got["ns2"] {
		t.Errorf("places = %v, want e1 and ns2: an exact registration replaces its carrier's alone", got)
	}
	if _, err := l.RemovePlace(l.ctx(), &adminv1.RemovePlaceRequest{Id: "e1"}); err != nil {
		t.Error(err)
	}
	if _, err := register(false, edgePlace("e1", "b")); err != nil {
		t.Errorf("another instance after the removal = %v", err)
	}
	if _, err := l.RemovePlace(l.ctx(), &adminv1.RemovePlaceRequest{Id: "nobody"}); err == nil {
		t.Error("removing a place that is not there succeeded")
	}
}

func TestSettings(t *testing.T) {
	l := newAdminLab(t)
	before := ok(l.GetSettings(l.ctx(), &adminv1.GetSettingsRequest{}))
	if before.GetRecorded() || before.GetSettings().GetDnsProfile() != "instant" {
		t.Errorf("settings of a new cluster = %v", before)
	}
	for name, bad := range map[string]*adminv1.Settings{
		"profile":   {DnsProfile: proto.String("slow")},
		"speed":     {DnsSpeed: proto.Float64(-1)},
		"too fast":  {DnsSpeed: proto.Float64(1e9)},
		"endpoints": {UnknownEndpoints: proto.String("perhaps")},
		"tls":       {TlsMax: proto.String("1.1")},
		"mixed":     {DnsProfile: proto.String("aws"), DenyDetail: proto.String("none")},
	} {
		index := l.view().Index()
		if _, err := l.UpdateSettings(l.ctx(), &adminv1.UpdateSettingsRequest{Settings: bad}); err == nil {
			t.Errorf("%s: %v was accepted", name, bad)
		}
		if l.view().Index() != index {
			t.Errorf("%s: a refused setting wrote something", name)
		}
	}
	good := &adminv1.Settings{DnsProfile: proto.String("aws"), DnsSpeed: proto.Float64(60)}
	answer := ok(l.UpdateSettings(l.ctx(), &adminv1.UpdateSettingsRequest{Settings: good}))
	if answer.GetSettings().GetDnsProfile() != "aws" || answer.GetSettings().GetTlsMax() != "1.2" {
		t.Errorf("settings = %v", answer.GetSettings())
	}
	again := ok(l.UpdateSettings(l.ctx(), &adminv1.UpdateSettingsRequest{Settings: good}))
	if again.GetIndex() != answer.GetIndex() {
		t.Errorf("the same settings again wrote index %d after %d", again.GetIndex(), answer.GetIndex())
	}
}

// TestDNSClock: time neither jumps at a change of speed nor ever goes back.
func TestDNSClock(t *testing.T) {
	l := newAdminLab(t)
	now := func() time.Time {
		return time.Unix(0, ok(l.GetSettings(l.ctx(), &adminv1.GetSettingsRequest{})).GetDnsNowUnixNano())
	}
	speed := func(s float64) {
		t.Helper()
		if _, err := l.UpdateSettings(l.ctx(), &adminv1.UpdateSettingsRequest{Settings: &adminv1.Settings{DnsSpeed: &s}}); err != nil {
			t.Fatal(err)
		}
	}
	start := now()
	speed(60)
	if got := now(); !got.Equal(start) {
		t.Errorf("the change of speed moved the clock by %v", got.Sub(start))
	}
	l.now = l.now.Add(time.Second)
	if got := now().Sub(start); got != time.Minute {
		t.Errorf("a second at speed 60 = %v", got)
	}
	speed(0)
	l.now = l.now.Add(time.Hour)
	if got := now().Sub(start); got != time.Minute {
		t.Errorf("an hour frozen = %v", got-time.Minute)
	}
	answer := ok(l.AdvanceDns(l.ctx(), &adminv1.AdvanceDnsRequest{DurationMs: 300_000}))
	if got := time.Unix(0, answer.GetDnsNowUnixNano()).Sub(start); got != 6*time.Minute {
		t.Errorf("advanced by five minutes = %v", got)
	}
	for _, ms := range []int64{0, -1, 1 << 62} {
		if _, err := l.AdvanceDns(l.ctx(), &adminv1.AdvanceDnsRequest{DurationMs: ms}); err == nil {
			t.Errorf("advancing by %d ms succeeded", ms)
		}
	}
}

func TestReset(t *testing.T) {
	l := newAdminLab(t)
	ok(l.RegisterPlaces(l.ctx(), &adminv1.RegisterPlacesRequest{Places: []*adminv1.PlaceRegistration{edgePlace("e1", "a")}}))
	ok(l.UpdateSettings(l.ctx(), &adminv1.UpdateSettingsRequest{Settings: &adminv1.Settings{DnsProfile: proto.String("fast")}}))
	ok(l.CreateVpc(l.ctx(), &ec2v1.CreateVpcRequest{CidrBlock: proto.String("10.0.0.0/16")}))
	before := l.view().Index()
	answer := ok(l.Reset(l.ctx(), &adminv1.ResetRequest{}))
	if answer.GetIndex() <= before {
		t.Errorf("index %d after %d: it goes on", answer.GetIndex(), before)
	}
	for r := range l.view().Records() {
		if kept := r.GetKey().GetType(); kept != statev1.Type_TYPE_PLACE && kept != statev1.Type_TYPE_SETTINGS && !r.GetAuditEvent().GetWipe() {
			t.Errorf("%v survived the reset", r.GetKey())
		}
	}
	if l.view().Settings().GetDnsProfile() != "fast" || len(l.places.Places(l.view())) != 1 {
		t.Error("settings or places did not survive the reset")
	}
	guarded := NewAdmin(AdminConfig{Config: l.cfg, Membership: l.node, Places: l.places})
	if _, err := guarded.Reset(l.ctx(), &adminv1.ResetRequest{}); err == nil {
		t.Error("a cluster that checks signatures was reset")
	}
}

func TestEnsureClient(t *testing.T) {
	l := newAdminLab(t)
	vpc := ok(l.CreateVpc(l.ctx(), &ec2v1.CreateVpcRequest{CidrBlock: proto.String("10.7.0.0/16")})).GetVpc().GetVpcId()
	ok(l.CreateSubnet(l.ctx(), &ec2v1.CreateSubnetRequest{VpcId: &vpc, CidrBlock: proto.String("10.7.1.0/24")}))
	client := func(req *adminv1.EnsureClientRequest) (*adminv1.EnsureClientResponse, error) {
		return l.EnsureClient(l.ctx(), req)
	}
	first := ok(client(&adminv1.EnsureClientRequest{Vpc: vpc}))
	if first.GetAddress() != "10.7.1.4" || first.GetBindAddress() != "127.7.1.4" || first.GetResolver() != "127.7.0.2" {
		t.Errorf("client in the VPC = %v", first)
	}
	second := ok(client(&adminv1.EnsureClientRequest{Vpc: vpc}))
	if second.GetNetworkInterfaceId() != first.GetNetworkInterfaceId() || second.GetIndex() < first.GetIndex() {
		t.Errorf("the same client again = %v, want %v", second, first)
	}
	premises := ok(client(&adminv1.EnsureClientRequest{Vpc: "onprem", Routes: []string{vpc}}))
	if premises.GetBindAddress() != "127.255.0.10" || premises.GetAddress() != "192.168.0.10" {
		t.Errorf("client on the premises = %v", premises)
	}
	other := ok(client(&adminv1.EnsureClientRequest{Vpc: "onprem"}))
	if other.GetAddress() == premises.GetAddress() {
		t.Error("a client without the route has the address of the one with it")
	}
	outside := ok(client(&adminv1.EnsureClientRequest{Vpc: "internet"}))
	if outside.GetBindAddress() != "127.0.0.1" || outside.GetNetworkInterfaceId() != "" {
		t.Errorf("client on the internet = %v", outside)
	}
	for name, req := range map[string]*adminv1.EnsureClientRequest{
		"unknown VPC":   {Vpc: "vpc-0123456789abcdef0"},
		"unknown route": {Vpc: "onprem", Routes: []string{"vpc-0123456789abcdef0"}},
	} {
		index := l.view().Index()
		if _, err := client(req); err == nil || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("%s: %v", name, err)
		}
		if l.view().Index() != index {
			t.Errorf("%s: something was written", name)
		}
	}
}

// waitStream is the stream of a Wait.
type waitStream struct {
	grpc.ServerStream
	ctx  context.Context
	sent []*adminv1.WaitResponse
}

func (s *waitStream) Context() context.Context           { return s.ctx }
func (s *waitStream) Send(m *adminv1.WaitResponse) error { s.sent = append(s.sent, m); return nil }
func (s *waitStream) SetHeader(metadata.MD) error        { return nil }
func (s *waitStream) SendHeader(metadata.MD) error       { return nil }
func (s *waitStream) SetTrailer(metadata.MD)             {}
func (s *waitStream) SendMsg(any) error                  { return nil }
func (s *waitStream) RecvMsg(any) error                  { return nil }

// TestWaitOutlastsElections: a barrier asks again while nobody leads.
func TestWaitOutlastsElections(t *testing.T) {
	l := newAdminLab(t)
	ok(l.RegisterPlaces(l.ctx(), &adminv1.RegisterPlacesRequest{Places: []*adminv1.PlaceRegistration{edgePlace("e1", "a")}}))
	l.places.failing = 2
	s := &waitStream{ctx: l.ctx()}
	if err := l.Wait(&adminv1.WaitRequest{TimeoutMs: 60_000}, s); err != nil {
		t.Fatal(err)
	}
	last := s.sent[len(s.sent)-1]
	if !last.GetDone() || !last.GetReached() || last.GetIndex() != l.view().Index() {
		t.Errorf("wait = %v, want the newest index reached", last)
	}
	if err := l.Wait(&adminv1.WaitRequest{Kinds: []string{"toasters"}}, s); err == nil {
		t.Error("waiting for places of no known kind succeeded")
	}
	gone, cancel := context.WithCancel(l.ctx())
	cancel()
	l.node.leads = false
	if err := l.Wait(&adminv1.WaitRequest{}, &waitStream{ctx: gone}); err == nil {
		t.Error("waiting without a leader succeeded")
	}
}

// TestStatusWithoutLeader: status must work when little else does.
func TestStatusWithoutLeader(t *testing.T) {
	l := newAdminLab(t)
	ok(l.RegisterPlaces(l.ctx(), &adminv1.RegisterPlacesRequest{Places: []*adminv1.PlaceRegistration{edgePlace("e1", "a")}}))
	l.node.leads = false
	s, err := l.Status(l.ctx(), &adminv1.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if s.GetLeader() != "" || s.GetIndex() != l.view().Index() || len(s.GetPlaces()) != 1 || len(s.GetNodes()) != 1 {
		t.Errorf("status = %v", s)
	}
}

// answering plays the edges and DNS servers of a cluster.
type answering func(domain syncv1.Domain, q *syncv1.Query) *Asked

func (f answering) Ask(_ context.Context, domain syncv1.Domain, q *syncv1.Query) (*Asked, error) {
	return f(domain, q), nil
}

func TestExplainDecision(t *testing.T) {
	l := newAdminLab(t)
	for _, id := range []string{"edge1", "edge2", "edge3"} {
		ok(l.RegisterPlaces(t.Context(), &adminv1.RegisterPlacesRequest{Places: []*adminv1.PlaceRegistration{{Id: id, Kind: "edge", Instance: "i", Carrier: id}}}))
	}
	admin := NewAdmin(AdminConfig{Config: l.cfg, Membership: l.node, Places: l.places, Questions: answering(func(domain syncv1.Domain, q *syncv1.Query) *Asked {
		const held = "0123456789"
		if domain == syncv1.Domain_DOMAIN_EDGE && q.GetDecision() == held {
			return &Asked{Replies: []*clusterv1.Reply{{Carrier: "edge1", Answer: &syncv1.Answer{Message: &syncv1.Answer_Decision{Decision: &edgev1.Decision{Id: held, Edge: "edge1"}}}}}}
		}
		search := func(s *edgev1.DecisionSearch) *syncv1.Answer {
			return &syncv1.Answer{Message: &syncv1.Answer_Search{Search: s}}
		}
		return &Asked{
			Replies: []*clusterv1.Reply{
				{Carrier: "edge1", Answer: search(&edgev1.DecisionSearch{Capacity: 4096, Kept: 2, OldestUnixNano: 1577836800e9})},
				{Carrier: "edge2", Unanswered: "it did not answer in time"},
				{Carrier: "edge1", Unanswered: "its stream ended"},
				{Carrier: "edge4", Answer: search(&edgev1.DecisionSearch{Capacity: 10})},
			},
			Silent: map[string]string{"n2": "connection refused"},
		}
	})})
	explain := func(id string) (*adminv1.ExplainDecisionResponse, error) {
		return admin.ExplainDecision(t.Context(), &adminv1.ExplainDecisionRequest{Id: id})
	}
	if answer := ok(explain("0123456789")); answer.GetDecision().GetEdge() != "edge1" {
		t.Errorf("%v", answer)
	}
	for id, want := range map[string]string{
		"zzzzzzzzzz": "no edge holds decision zzzzzzzzzz. An edge keeps its last refusals until it stops. " +
			"Asked: edge1 (keeps 4096, has 2 since 2020-01-01T00:00:00Z), edge4 (keeps 10, has 0). " +
			"Not reached: edge2 (it did not answer in time), edge3 (connected to no node that answered), those of node n2 (connection refused).",
		"":              "Invalid decision id",
		"012345678":     "Invalid decision id",
		"01234567890":   "Invalid decision id",
		"012345678i":    "Invalid decision id",
		"0123456789\n":  "Invalid decision id",
		"012345678\xff": "Invalid decision id",
	} {
		_, err := explain(id)
		code := codes.InvalidArgument
		if strings.HasPrefix(want, "no edge") {
			code = codes.NotFound
		}
		if status.Code(err) != code || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", id, err)
		}
	}
}
