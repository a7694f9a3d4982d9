package compile

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"

	"github.com/posternhq/postern/dataplane/route"
)

const allow = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"*"}]}`

func res(t testing.TB, name string, m proto.Message) Resource {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return Resource{name, body}
}

func apiOf(t testing.TB, id, kind string) Resource {
	return res(t, "api/"+id, &edgev1.Api{Id: id, Account: "123456789012", Region: "us-west-2", EndpointType: kind})
}

func stageMessage(api, name, deployment, policy string) *edgev1.Stage {
	return &edgev1.Stage{
		ApiId: api, Account: "123456789012", Region: "us-west-2", Name: name, DeploymentId: deployment, Policy: policy,
		Variables: &awsv1.StringMap{Entries: map[string]string{"v": "1"}},
		Routes: []*edgev1.Route{
			{ResourceId: "r1", Path: "/"},
			{ResourceId: "r2", Path: "/pets/{id}", HttpMethod: "GET", Method: &apigatewayv1.Method{HttpMethod: proto.String("GET")}},
		},
	}
}

func stageOf(t testing.TB, api, name, deployment, policy string) Resource {
	return res(t, "api/"+api+"/stage/"+name, stageMessage(api, name, deployment, policy))
}

func next1(t *testing.T, prev *Table, index uint64, changed []Resource, removed ...string) *Table {
	t.Helper()
	table, rejections := Config{}.Compile(prev, Update{Index: index, Changed: changed, Removed: removed})
	if len(rejections) > 0 {
		t.Fatalf("rejected: %v", rejections)
	}
	return table
}

func TestEmptyTableDenies(t *testing.T) {
	var table *Table
	if table.API("a") != nil || table.Endpoint("vpce-1") != nil || table.VPC("vpc-1") != nil || table.Listeners() != nil ||
		table.Index() != 0 || table.Settings().TLSMax != "1.2" || table.Rejections() != nil {
		t.Fatal("a nil table is an empty one")
	}
	for range table.APIs() {
		t.Fatal("no APIs")
	}
}

func TestStageCompiles(t *testing.T) {
	m := stageMessage("a", "prod", "d1", allow)
	m.Canary = &edgev1.Canary{PercentTraffic: 5, Stage: stageMessage("a", "prod", "d2", "")}
	m.MinimumCompressionSize = proto.Int32(0)
	m.Models = []*apigatewayv1.Model{{Id: proto.String("m1"), Name: proto.String("Pet")}}
	m.RequestValidators = []*apigatewayv1.RequestValidator{{Id: proto.String("v1")}}
	table, rejections := Config{Integration: func(s *edgev1.Stage, r *edgev1.Route) (any, error) {
		return s.GetDeploymentId() + r.GetPath(), nil
	}}.Compile(nil, Update{Index: 7, Changed: []Resource{res(t, "api/a/stage/prod", m), apiOf(t, "a", "PRIVATE")}})
	if len(rejections) > 0 {
		t.Fatal(rejections)
	}
	a := table.API("a")
	s := a.Stage("prod")
	if table.Index() != 7 || a.Type != "PRIVATE" || s.Policy == nil || s.MinimumCompressionSize != 0 || s.Models["Pet"] == nil ||
		s.RequestValidators["v1"] == nil || s.Variables["v"] != "1" || a.Stage("beta") != nil {
		t.Fatalf("%+v %+v", a, s)
	}
	var params route.Params
	method, ok := s.Router.Match("/pets/7", "GET", &params)
	if !ok || method.ResourcePath != "/pets/{id}" || method.Integration != "d1/pets/{id}" {
		t.Fatalf("%v %v", method, ok)
	}
	if c := s.Canary; c.PercentTraffic != 5 || c.Stage.DeploymentID != "d2" || c.Stage.Policy != nil || c.Stage.MinimumCompressionSize != -1 {
		t.Fatalf("%+v", c)
	}
}

// A stage without its API is no API; the order of arrival does not matter.
func TestAPIComesAndGoes(t *testing.T) {
	table := next1(t, nil, 1, []Resource{stageOf(t, "a", "prod", "d1", "")})
	if table.API("a") != nil {
		t.Fatal("a stage alone makes no API")
	}
	table = next1(t, table, 2, []Resource{apiOf(t, "a", "EDGE")})
	if table.API("a").Stage("prod") == nil {
		t.Fatal("the stage is missing")
	}
	table = next1(t, table, 3, nil, "api/a")
	if table.API("a") != nil {
		t.Fatal("the API should be gone")
	}
	table = next1(t, table, 4, []Resource{apiOf(t, "a", "EDGE")}, "api/a/stage/prod")
	if table.API("a").Stage("prod") != nil {
		t.Fatal("the stage should be gone")
	}
	if table = next1(t, table, 5, nil, "api/a"); table.apis.len() != 0 {
		t.Fatal("something is left of the API")
	}
}

// A change compiles what it names; all else is the same object in both tables,
// and the table before stays as it was.
func TestTablesShareWhatDidNotChange(t *testing.T) {
	before := next1(t, nil, 1, []Resource{
		apiOf(t, "a", "PRIVATE"), stageOf(t, "a", "prod", "d1", allow), stageOf(t, "a", "beta", "d1", allow),
		apiOf(t, "b", "PRIVATE"), stageOf(t, "b", "prod", "d1", allow), endpointOf(t, "vpce-1", "sg-1"),
	})
	after := next1(t, before, 2, []Resource{stageOf(t, "a", "prod", "d2", allow)})
	switch {
	case before.API("a").Stage("prod").DeploymentID != "d1" || after.API("a").Stage("prod").DeploymentID != "d2":
		t.Error("the change should be in the second table only")
	case before.API("a").Stage("beta") != after.API("a").Stage("beta") || before.API("b") != after.API("b") || before.Endpoint("vpce-1") != after.Endpoint("vpce-1"):
		t.Error("what did not change should be shared")
	case &before.Listeners()[0] != &after.Listeners()[0]:
		t.Error("the listeners did not change")
	}
	full, _ := Config{}.Compile(after, Update{Index: 3, Full: true, Changed: []Resource{apiOf(t, "b", "PRIVATE")}})
	if full.API("a") != nil || full.API("b").Stage("prod") != nil || len(full.Listeners()) != 0 {
		t.Error("a full update leaves nothing of before")
	}
}

func TestRejectedResourcesKeepTheirLastGoodForm(t *testing.T) {
	good := next1(t, nil, 1, []Resource{
		apiOf(t, "a", "PRIVATE"), stageOf(t, "a", "prod", "d1", allow), endpointOf(t, "vpce-1", "sg-1"),
		res(t, "vpc/vpc-1", &edgev1.Vpc{Id: "vpc-1", Cidrs: []string{"10.7.0.0/16"}, LoopbackOctet: 7}),
		res(t, "sg/sg-1", &edgev1.SecurityGroup{Id: "sg-1", MemberAddresses: []string{"10.7.0.9"}}),
		res(t, "settings", &edgev1.Settings{TlsMax: "1.3"}),
	})
	badIntegration := errors.New("no such backend")
	broken := []Resource{
		res(t, "api/a", &edgev1.Api{Id: "a", EndpointType: "ODD"}),
		stageOf(t, "a", "prod", "d2", `{"Statement":`),
		res(t, "vpce/vpce-1", &edgev1.VpcEndpoint{Id: "vpce-1", IngressCidrs: []string{"10/8/9"}}),
		res(t, "vpc/vpc-1", &edgev1.Vpc{Id: "vpc-1", LoopbackOctet: 999}),
		res(t, "sg/sg-1", &edgev1.SecurityGroup{Id: "sg-1", MemberAddresses: []string{"nowhere"}}),
		{"settings", []byte{0xff}},
	}
	for _, full := range []bool{false, true} {
		u := Update{Index: 2, Full: full, Changed: append(slices.Clone(broken),
			Resource{"api/c", []byte{0xff}}, Resource{"mystery/x", nil}, res(t, "api/d", &edgev1.Api{Id: "e", EndpointType: "EDGE"}), apiOf(t, "b", "EDGE"))}
		table, rejections := Config{}.Compile(good, u)
		var names []string
		for _, r := range rejections {
			if r.Reason == "" {
				t.Errorf("%s is rejected without a reason", r.Resource)
			}
			names = append(names, r.Resource)
		}
		if want := []string{"api/a", "api/a/stage/prod", "api/c", "api/d", "mystery/x", "settings", "sg/sg-1", "vpc/vpc-1", "vpce/vpce-1"}; !slices.Equal(names, want) {
			t.Errorf("full %v: rejected %v, want %v", full, names, want)
		}
		if a := table.API("a"); a == nil || a.Type != "PRIVATE" || a.Stage("prod").DeploymentID != "d1" || table.API("b") == nil || table.API("c") != nil ||
			!table.Endpoint("vpce-1").Admits(netip.MustParseAddr("10.7.0.9")) || table.VPC("vpc-1").LoopbackOctet != 7 ||
			table.Settings().TLSMax != "1.3" || len(table.Listeners()) != 1 {
			t.Errorf("full %v: last good forms are missing", full)
		}
		// One after the other is replaced or removed.
		table, rejections = Config{}.Compile(table, Update{Index: 3, Changed: []Resource{stageOf(t, "a", "prod", "d3", allow)}, Removed: []string{"api/c", "api/d", "mystery/x"}})
		if len(rejections) != 5 || table.API("a").Stage("prod").DeploymentID != "d3" {
			t.Errorf("full %v: still rejected %v", full, rejections)
		}
	}
	_, rejections := Config{Integration: func(*edgev1.Stage, *edgev1.Route) (any, error) { return nil, badIntegration }}.
		Compile(good, Update{Index: 2, Changed: []Resource{stageOf(t, "a", "prod", "d2", "")}})
	if len(rejections) != 1 || rejections[0].Reason != "integration of GET /pets/{id}: no such backend" {
		t.Errorf("%v", rejections)
	}
}

func endpointOf(t testing.TB, id string, groups ...string) Resource {
	return res(t, "vpce/"+id, &edgev1.VpcEndpoint{
		Id: id, VpcId: "vpc-1", Region: "us-west-2", IngressCidrs: []string{"10.7.1.0/24"}, IngressGroups: groups,
		Enis: []*edgev1.Eni{{Id: "eni-" + id, Az: "us-west-2a", Address: "10.7.9.9", BindAddress: "127.7.9.9"}},
	})
}

func TestSecurityGroupsDecideWhoConnects(t *testing.T) {
	admits := func(table *Table, addr string) bool {
		return table.Endpoint("vpce-1").Admits(netip.MustParseAddr(addr))
	}
	members := func(addrs ...string) Resource {
		return res(t, "sg/sg-1", &edgev1.SecurityGroup{Id: "sg-1", MemberAddresses: addrs})
	}
	table := next1(t, nil, 1, []Resource{endpointOf(t, "vpce-1", "sg-1"), endpointOf(t, "vpce-2")})
	if !admits(table, "10.7.1.4") || admits(table, "10.7.2.4") {
		t.Fatal("a range admits its addresses; an unknown group nobody")
	}
	other := table.Endpoint("vpce-2")
	table = next1(t, table, 2, []Resource{members("10.7.2.4")})
	if !admits(table, "10.7.2.4") || admits(table, "10.7.2.5") || table.Endpoint("vpce-2") != other {
		t.Fatal("a group admits its members, and touches those alone that name it")
	}
	table = next1(t, table, 3, []Resource{members("10.7.2.5")})
	if admits(table, "10.7.2.4") || !admits(table, "10.7.2.5") {
		t.Fatal("membership ends")
	}
	table = next1(t, table, 4, []Resource{endpointOf(t, "vpce-1")})
	table = next1(t, table, 5, []Resource{members("10.7.2.6")})
	if admits(table, "10.7.2.6") || table.namedBy.len() != 0 {
		t.Fatal("a rule that is gone admits nobody")
	}
	table = next1(t, table, 6, []Resource{endpointOf(t, "vpce-1", "sg-1")})
	if !admits(table, "10.7.2.6") {
		t.Fatal("a rule that comes after its group admits its members")
	}
	table = next1(t, table, 7, nil, "sg/sg-1", "vpce/vpce-2")
	if admits(table, "10.7.2.6") || len(table.Listeners()) != 1 {
		t.Fatal("the group and one endpoint are gone")
	}
	if l := table.Listeners()[0]; l != (Listener{Bind: netip.MustParseAddr("127.7.9.9"), Address: netip.MustParseAddr("10.7.9.9"),
		ENI: "eni-vpce-1", AZ: "us-west-2a", Endpoint: "vpce-1", VPC: "vpc-1", Region: "us-west-2"}) {
		t.Fatalf("%+v", l)
	}
}

func TestSourceAddresses(t *testing.T) {
	table := next1(t, nil, 1, []Resource{
		res(t, "vpc/vpc-1", &edgev1.Vpc{Id: "vpc-1", Cidrs: []string{"172.31.0.0/20", "10.9.64.0/20"}, LoopbackOctet: 254,
			RoutedClients: []*edgev1.Client{{Address: "192.168.3.4", BindAddress: "127.255.3.4"}}}),
		res(t, "vpc/vpc-2", &edgev1.Vpc{Id: "vpc-2", Cidrs: []string{"10.7.0.0/16"}}),
	})
	for _, c := range []struct{ vpc, peer, want string }{
		{"vpc-1", "127.254.1.2", "172.31.1.2"},
		{"vpc-1", "::ffff:127.254.1.2", "172.31.1.2"},
		{"vpc-1", "127.254.65.2", "10.9.65.2"},
		{"vpc-1", "127.254.200.2", ""}, // in neither range
		{"vpc-1", "127.7.1.2", ""},     // another VPC
		{"vpc-1", "127.0.0.1", ""},     // the internet
		{"vpc-1", "127.255.3.4", "192.168.3.4"},
		{"vpc-1", "127.255.3.5", ""}, // on-premises, without a route
		{"vpc-1", "::1", ""},
		{"vpc-2", "10.99.1.2", "10.99.1.2"}, // as it is
	} {
		got, ok := table.VPC(c.vpc).Source(netip.MustParseAddr(c.peer))
		if ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("%s in %s is %v %v, want %q", c.peer, c.vpc, got, ok, c.want)
		}
	}
}

// Whatever a body holds, compiling it ends in a table.
func FuzzCompile(f *testing.F) {
	f.Add("api/a/stage/prod", res(f, "", stageMessage("a", "prod", "d1", allow)).Body)
	f.Add("vpce/vpce-1", endpointOf(f, "vpce-1", "sg-1").Body)
	f.Add("vpc/vpc-1", res(f, "", &edgev1.Vpc{Id: "vpc-1", Cidrs: []string{"::/0"}, LoopbackOctet: 1}).Body)
	f.Add("settings", []byte{})
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		table, rejections := Config{}.Compile(nil, Update{Index: 1, Changed: []Resource{{name, body}}})
		if table == nil || len(rejections) > 1 {
			t.Fatalf("%v", rejections)
		}
		for v := range table.VPCs() {
			v.Source(netip.MustParseAddr("127.1.2.3"))
		}
		for _, l := range table.Listeners() {
			table.Endpoint(l.Endpoint).Admits(l.Address)
		}
	})
}

func BenchmarkCompileOneChange(b *testing.B) {
	for _, apis := range []int{10, 100, 1000, 10000} {
		b.Run(fmt.Sprint(apis), func(b *testing.B) {
			var all []Resource
			for i := range apis {
				id := fmt.Sprintf("a%09d", i)
				all = append(all, apiOf(b, id, "PRIVATE"), stageOf(b, id, "prod", "d1", allow))
			}
			table, _ := Config{}.Compile(nil, Update{Index: 1, Full: true, Changed: all})
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				n++
				table, _ = Config{}.Compile(table, Update{Index: uint64(n), Changed: []Resource{all[2*(n%apis)+1]}})
			}
		})
	}
}
