package snapshot

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/posternhq/postern/controlplane/state"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	account = "123456789012"
	region  = "us-west-2"
	denyAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"execute-api:Invoke","Resource":"*"}]}`
)

func key(t statev1.Type, id string) *statev1.Key {
	return &statev1.Key{Type: t, Account: account, Region: region, Id: id}
}

func restAPI(id, kind string) *statev1.Record {
	return &statev1.Record{Key: key(statev1.Type_TYPE_REST_API, id), Value: &statev1.Record_RestApi{RestApi: &apigatewayv1.RestApi{
		Id: proto.String(id), EndpointConfiguration: &apigatewayv1.EndpointConfiguration{Types: &awsv1.StringList{Values: []string{kind}}},
	}}}
}

func deployment(api, id, policy string) *statev1.Record {
	get := &apigatewayv1.Method{HttpMethod: proto.String("GET"), MethodIntegration: &apigatewayv1.Integration{Type: proto.String("MOCK")}}
	return &statev1.Record{Key: key(statev1.Type_TYPE_DEPLOYMENT, api+"/"+id), Value: &statev1.Record_Deployment{Deployment: &statev1.Deployment{
		RestApi: &apigatewayv1.RestApi{Policy: proto.String(policy), DisableExecuteApiEndpoint: proto.Bool(true)},
		Resources: []*apigatewayv1.Resource{
			{Id: proto.String("r2"), Path: proto.String("/pets"), ResourceMethods: map[string]*apigatewayv1.Method{"POST": get, "GET": get}},
			{Id: proto.String("r1"), Path: proto.String("/")},
		},
	}}}
}

func stage(api, name, deployment string, change func(*apigatewayv1.Stage)) *statev1.Record {
	s := &apigatewayv1.Stage{StageName: proto.String(name), DeploymentId: proto.String(deployment)}
	if change != nil {
		change(s)
	}
	return &statev1.Record{Key: key(statev1.Type_TYPE_STAGE, api+"/"+name), Value: &statev1.Record_Stage{Stage: s}}
}

func vpc(id, cidr string, octet uint32) *statev1.Record {
	return &statev1.Record{Key: key(statev1.Type_TYPE_VPC, id), Value: &statev1.Record_Vpc{Vpc: &statev1.Vpc{
		Vpc: &ec2v1.Vpc{VpcId: proto.String(id), CidrBlock: proto.String(cidr)}, LoopbackOctet: octet,
	}}}
}

func group(vpc, id string, rules ...*ec2v1.SecurityGroupRule) *statev1.Record {
	return &statev1.Record{Key: key(statev1.Type_TYPE_SECURITY_GROUP, vpc+"/"+id), Value: &statev1.Record_SecurityGroup{SecurityGroup: &statev1.SecurityGroup{
		Group: &ec2v1.SecurityGroup{GroupId: proto.String(id)}, Rules: rules,
	}}}
}

func rule(protocol string, from, to int32, source string) *ec2v1.SecurityGroupRule {
	r := &ec2v1.SecurityGroupRule{IpProtocol: proto.String(protocol), FromPort: proto.Int32(from), ToPort: proto.Int32(to)}
	if strings.HasPrefix(source, "sg-") {
		r.ReferencedGroupInfo = &ec2v1.ReferencedSecurityGroup{GroupId: proto.String(source)}
	} else {
		r.CidrIpv4 = proto.String(source)
	}
	return r
}

func eni(vpc, id, address string, groups ...string) *statev1.Record {
	n := &ec2v1.NetworkInterface{NetworkInterfaceId: proto.String(id), PrivateIpAddress: proto.String(address), AvailabilityZone: proto.String("us-west-2a")}
	for _, g := range groups {
		n.Groups = append(n.Groups, &ec2v1.GroupIdentifier{GroupId: proto.String(g)})
	}
	return &statev1.Record{Key: key(statev1.Type_TYPE_NETWORK_INTERFACE, vpc+"/"+id), Value: &statev1.Record_NetworkInterface{NetworkInterface: n}}
}

func endpoint(vpc, id string, enis, groups []string) *statev1.Record {
	e := &ec2v1.VpcEndpoint{
		VpcEndpointId: proto.String(id), VpcEndpointType: proto.String("Interface"), VpcId: proto.String(vpc),
		ServiceName: proto.String("com.amazonaws.us-west-2.execute-api"), NetworkInterfaceIds: enis,
	}
	for _, g := range groups {
		e.Groups = append(e.Groups, &ec2v1.GroupIdentifier{GroupId: proto.String(g)})
	}
	return &statev1.Record{Key: key(statev1.Type_TYPE_VPC_ENDPOINT, id), Value: &statev1.Record_VpcEndpoint{VpcEndpoint: &statev1.VpcEndpoint{Endpoint: e}}}
}

// feed is a store with a Builder that follows it, and what a client would have.
type feed struct {
	t       testing.TB
	store   *state.Store
	index   uint64
	builder *Builder
	have    map[string]*Resource
}

func newFeed(t testing.TB) *feed {
	return &feed{t: t, store: state.New(), builder: NewBuilder(Config{}), have: map[string]*Resource{}}
}

func (f *feed) apply(puts []*statev1.Record, deletes ...*statev1.Key) {
	f.index++
	f.store.Apply(f.index, []*statev1.Txn{{Puts: puts, Deletes: deletes}})
}

// update follows the store and returns the names that changed, removals with a minus.
func (f *feed) update() string {
	changed, removed, full := f.builder.Update(f.store.View())
	if full {
		clear(f.have)
	}
	var names []string
	for _, r := range changed {
		f.have[r.Name] = r
		names = append(names, r.Name)
	}
	for _, name := range removed {
		delete(f.have, name)
		names = append(names, "-"+name)
	}
	return strings.Join(names, " ")
}

func (f *feed) step(want string, puts []*statev1.Record, deletes ...*statev1.Key) {
	f.t.Helper()
	f.apply(puts, deletes...)
	if got := f.update(); got != want {
		f.t.Fatalf("changed %q, want %q", got, want)
	}
}

func expect[M proto.Message](f *feed, name string, m, want M) {
	f.t.Helper()
	r := f.have[name]
	if r == nil {
		f.t.Fatalf("%s is not offered", name)
	}
	if err := proto.Unmarshal(r.Body, m); err != nil {
		f.t.Fatal(err)
	}
	if diff := cmp.Diff(want, m, protocmp.Transform()); diff != "" {
		f.t.Fatalf("%s:\n%s", name, diff)
	}
}

func puts(r ...*statev1.Record) []*statev1.Record { return r }

func TestStagesFollowTheirDeployments(t *testing.T) {
	f := newFeed(t)
	f.step("settings", nil)
	f.step("api/a", puts(restAPI("a", "PRIVATE")))
	f.step("", puts(stage("a", "prod", "d1", nil))) // its deployment does not exist
	f.step("api/a/stage/prod", puts(deployment("a", "d1", denyAll)))
	f.step("", puts(restAPI("a", "PRIVATE"), deployment("a", "d2", denyAll))) // not pointed at
	f.step("api/a/stage/prod", puts(restAPI("a", "PRIVATE"), stage("a", "prod", "d2", func(s *apigatewayv1.Stage) {
		s.Variables = &awsv1.StringMap{Entries: map[string]string{"v": "1"}}
	})))
	method := &apigatewayv1.Method{HttpMethod: proto.String("GET"), MethodIntegration: &apigatewayv1.Integration{Type: proto.String("MOCK")}}
	expect(f, "api/a/stage/prod", &edgev1.Stage{}, &edgev1.Stage{
		ApiId: "a", Account: account, Region: region, Name: "prod", DeploymentId: "d2", DisableExecuteApiEndpoint: true, Policy: denyAll,
		Variables: &awsv1.StringMap{Entries: map[string]string{"v": "1"}},
		Routes: []*edgev1.Route{
			{ResourceId: "r1", Path: "/"},
			{ResourceId: "r2", Path: "/pets", HttpMethod: "GET", Method: method},
			{ResourceId: "r2", Path: "/pets", HttpMethod: "POST", Method: method},
		},
	})
	// The endpoint type needs no deployment.
	f.step("api/a", puts(restAPI("a", "REGIONAL")))
	// A canary is offered with both deployments or not at all.
	canary := func(s *apigatewayv1.Stage) {
		s.Variables = &awsv1.StringMap{Entries: map[string]string{"v": "1", "w": "2"}}
		s.CanarySettings = &apigatewayv1.CanarySettings{DeploymentId: proto.String("d3"), PercentTraffic: proto.Float64(10),
			StageVariableOverrides: &awsv1.StringMap{Entries: map[string]string{"v": "9"}}}
	}
	f.step("-api/a/stage/prod", puts(stage("a", "prod", "d2", canary)))
	f.step("api/a/stage/prod", puts(deployment("a", "d3", "")))
	var s edgev1.Stage
	if err := proto.Unmarshal(f.have["api/a/stage/prod"].Body, &s); err != nil {
		t.Fatal(err)
	}
	if c := s.GetCanary(); c.GetPercentTraffic() != 10 || c.GetStage().GetDeploymentId() != "d3" ||
		!maps.Equal(c.GetStage().GetVariables().GetEntries(), map[string]string{"v": "9", "w": "2"}) {
		t.Fatalf("canary %v", c)
	}
	f.step("-api/a -api/a/stage/prod", nil, key(statev1.Type_TYPE_REST_API, "a"))
	f.step("api/a api/a/stage/prod", puts(restAPI("a", "PRIVATE")))
	f.step("-api/a -api/a/stage/prod", nil, key(statev1.Type_TYPE_REST_API, "a"), key(statev1.Type_TYPE_STAGE, "a/prod"))
}

func TestEndpointsFollowTheirNetwork(t *testing.T) {
	f := newFeed(t)
	f.step("settings", nil)
	f.step("", puts(endpoint("vpc-1", "vpce-1", []string{"eni-1"}, []string{"sg-1"})))
	f.step("vpc/vpc-1", puts(vpc("vpc-1", "10.7.0.0/16", 7)))
	f.step("sg/sg-1", puts(group("vpc-1", "sg-1",
		rule("tcp", 443, 443, "10.7.0.0/16"), rule("tcp", 0, 65535, "sg-2"), rule("-1", 0, 0, "10.8.0.0/16"),
		rule("tcp", 80, 442, "10.9.0.0/16"), rule("udp", 443, 443, "10.10.0.0/16"))))
	f.step("vpce/vpce-1", puts(eni("vpc-1", "eni-1", "10.7.1.5")))
	expect(f, "vpce/vpce-1", &edgev1.VpcEndpoint{}, &edgev1.VpcEndpoint{
		Id: "vpce-1", Account: account, Region: region, VpcId: "vpc-1",
		Enis:         []*edgev1.Eni{{Id: "eni-1", Az: "us-west-2a", Address: "10.7.1.5", BindAddress: "127.7.1.5"}},
		IngressCidrs: []string{"10.7.0.0/16", "10.8.0.0/16"}, IngressGroups: []string{"sg-2"},
	})
	if f.have["vpce/vpce-1"].VPC != "vpc-1" || f.have["sg/sg-1"].VPC != "vpc-1" || f.have["vpc/vpc-1"].VPC != "" {
		t.Fatal("endpoints and groups are scoped to their VPC, VPCs are for all")
	}
	f.step("sg/sg-2", puts(group("vpc-1", "sg-2")))
	// Members come and go with interfaces; the endpoint itself stays as it is.
	f.step("sg/sg-2", puts(eni("vpc-1", "eni-c", "10.7.0.9", "sg-2")))
	expect(f, "sg/sg-2", &edgev1.SecurityGroup{}, &edgev1.SecurityGroup{Id: "sg-2", VpcId: "vpc-1", MemberAddresses: []string{"10.7.0.9"}})
	f.step("sg/sg-1 sg/sg-2", puts(eni("vpc-1", "eni-c", "10.7.0.9", "sg-1")))
	// A rule of a group is a rule of its endpoints.
	f.step("vpce/vpce-1", puts(group("vpc-1", "sg-1", rule("6", 443, 443, "0.0.0.0/0"))))
	// Another address, another octet.
	f.step("vpce/vpce-1", puts(eni("vpc-1", "eni-1", "10.7.1.6")))
	f.step("vpc/vpc-1 vpce/vpce-1", puts(vpc("vpc-1", "10.7.0.0/16", 9)))
	// What it needs goes away: so does it.
	f.step("-vpce/vpce-1", nil, key(statev1.Type_TYPE_NETWORK_INTERFACE, "vpc-1/eni-1"))
	f.step("vpce/vpce-1", puts(eni("vpc-1", "eni-1", "10.7.1.6")))
	f.step("-sg/sg-1 -vpce/vpce-1", nil, key(statev1.Type_TYPE_SECURITY_GROUP, "vpc-1/sg-1"))
	f.step("sg/sg-1 vpce/vpce-1", puts(group("vpc-1", "sg-1")))
	// A deleted endpoint serves no more, though it is still shown as deleting.
	deleted := endpoint("vpc-1", "vpce-1", []string{"eni-1"}, []string{"sg-1"})
	deleted.GetVpcEndpoint().DeletedAt = 5
	f.step("-vpce/vpce-1", puts(deleted))
	// Other services are not the edges' business.
	other := endpoint("vpc-1", "vpce-2", nil, nil)
	other.GetVpcEndpoint().Endpoint.ServiceName = proto.String("com.amazonaws.us-west-2.s3")
	f.step("", puts(other))
}

func clock(dns, wall int64, speed float64) *statev1.Record {
	return &statev1.Record{Key: &statev1.Key{Type: statev1.Type_TYPE_SETTINGS, Id: "settings"}, Value: &statev1.Record_Settings{Settings: &statev1.Settings{
		DnsClock: &statev1.DnsClock{DnsTime: dns, WallTime: wall, Speed: speed},
	}}}
}

// A late interface is told by the wall clock, and again when the DNS clock goes otherwise.
func TestLateInterfacesFollowTheClock(t *testing.T) {
	f := newFeed(t)
	late := endpoint("vpc-1", "vpce-1", []string{"eni-1"}, []string{"sg-1"})
	late.GetVpcEndpoint().Late = []*statev1.LateInterface{{AvailabilityZone: "us-west-2b", AcceptsAt: 5000}, {AvailabilityZone: "us-west-2a", AcceptsAt: 900}}
	f.step("settings sg/sg-1 vpc/vpc-1 vpce/vpce-1", puts(vpc("vpc-1", "10.7.0.0/16", 7), group("vpc-1", "sg-1"), eni("vpc-1", "eni-1", "10.7.1.5"), late, clock(100, 1000, 2)))
	want := func(at int64) {
		t.Helper()
		expect(f, "vpce/vpce-1", &edgev1.VpcEndpoint{}, &edgev1.VpcEndpoint{
			Id: "vpce-1", Account: account, Region: region, VpcId: "vpc-1",
			Enis: []*edgev1.Eni{{Id: "eni-1", Az: "us-west-2a", Address: "10.7.1.5", BindAddress: "127.7.1.5", AcceptsAt: at}},
		})
	}
	want(1400) // 800 of the DNS clock are 400
	f.step("vpce/vpce-1", puts(clock(100, 1000, 0)))
	want(math.MaxInt64)
	f.step("vpce/vpce-1", puts(clock(900, 1200, 0)))
	want(0)
	f.step("", puts(clock(950, 1200, 1)))
	f.step("-vpce/vpce-1", nil, late.GetKey())
	f.step("", puts(clock(960, 1200, 1)))
}

func TestOnPremisesClientsAreRouted(t *testing.T) {
	f := newFeed(t)
	f.step("settings vpc/vpc-1 vpc/vpc-2", puts(vpc("vpc-1", "10.7.0.0/16", 7), vpc("vpc-2", "10.8.0.0/16", 8)))
	client := eni(onPremises, "eni-o", "192.168.3.4")
	client.GetNetworkInterface().Tags = []*ec2v1.Tag{{Key: proto.String(tagRoutes), Value: proto.String("vpc-1,vpc-2")}}
	f.step("vpc/vpc-1 vpc/vpc-2", puts(client))
	expect(f, "vpc/vpc-2", &edgev1.Vpc{}, &edgev1.Vpc{Id: "vpc-2", Account: account, Region: region, Cidrs: []string{"10.8.0.0/16"}, LoopbackOctet: 8,
		RoutedClients: []*edgev1.Client{{Address: "192.168.3.4", BindAddress: "127.255.3.4"}}})
	client = proto.CloneOf(client)
	client.GetNetworkInterface().Tags[0].Value = proto.String("vpc-1")
	f.step("vpc/vpc-2", puts(client))
	f.step("vpc/vpc-1", nil, client.GetKey())
}

func TestAddressesAsTheyAre(t *testing.T) {
	f := newFeed(t)
	f.apply(puts(vpc("vpc-1", "10.7.0.0/16", 7), eni("vpc-1", "eni-1", "10.7.1.5"), group("vpc-1", "sg-1"),
		endpoint("vpc-1", "vpce-1", []string{"eni-1"}, []string{"sg-1"})))
	f.update()
	f.step("settings sg/sg-1 vpc/vpc-1 vpce/vpce-1", puts(&statev1.Record{Key: state.SettingsKey().Proto(), Value: &statev1.Record_Settings{
		Settings: &statev1.Settings{Addresses: "as-is", TlsMax: "1.3"}}}))
	expect(f, "settings", &edgev1.Settings{}, &edgev1.Settings{TlsMax: "1.3", DenyDetail: "detailed", SourceIpOnPrivate: "absent"})
	var e edgev1.VpcEndpoint
	if err := proto.Unmarshal(f.have["vpce/vpce-1"].Body, &e); err != nil || e.GetEnis()[0].GetBindAddress() != "10.7.1.5" {
		t.Fatalf("bound at %v, %v", e.GetEnis(), err)
	}
}

// Following the state step by step, skipping some, gives what a fresh Builder
// makes of it at once.
func TestFollowingEqualsStartingAnew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newIdentityFeed(nil)
		pick := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			a, d, v, n, g := pick("api", "a", "b"), pick("deployment", "d1", "d2"), pick("vpc", "vpc-1", "vpc-2"), pick("eni", "eni-1", "eni-2"), pick("group", "sg-1", "sg-2")
			g += v // ids are unique in a region
			all := []*statev1.Record{
				restAPI(a, pick("type", "PRIVATE", "EDGE")), deployment(a, d, pick("policy", "", denyAll)), stage(a, "prod", d, nil),
				vpc(v, "10.7.0.0/16", uint32(rapid.IntRange(1, 2).Draw(t, "octet"))),
				group(v, g, rule("tcp", 443, 443, pick("source", "10.0.0.0/8", "sg-1vpc-1", "sg-2vpc-2"))),
				eni(v, n, pick("address", "10.7.0.4", "10.7.0.5"), g), endpoint(v, "vpce-1", []string{n}, []string{g}),
			}
			all = append(all, identityRecords(pick)...)
			r := rapid.SampledFrom(all).Draw(t, "record")
			if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
				f.apply(nil, r.GetKey())
			} else {
				f.apply(puts(r))
			}
			if rapid.Bool().Draw(t, "look") {
				f.update()
			}
		}
		f.update()
		fresh := NewBuilder(Config{Keyring: testKeyring()})
		changed, _, _ := fresh.Update(f.store.View())
		want := map[string][32]byte{}
		for _, r := range changed {
			want[r.Name] = r.Hash
		}
		got := map[string][32]byte{}
		for name, r := range f.have {
			got[name] = r.Hash
		}
		if !maps.Equal(got, want) {
			t.Fatalf("have %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	})
}

// One changed policy: the time and the bytes must not grow with the number of APIs.
func BenchmarkBuilderOneChange(b *testing.B) {
	for _, apis := range []int{10, 100, 1000, 10000} {
		b.Run(fmt.Sprint(apis), func(b *testing.B) {
			f := newFeed(b)
			var all []*statev1.Record
			for i := range apis {
				id := fmt.Sprintf("a%09d", i)
				all = append(all, restAPI(id, "PRIVATE"), deployment(id, "d0", denyAll), stage(id, "prod", "d0", nil))
			}
			f.apply(all)
			f.update()
			bytes, n := 0, 0
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				n++
				id := fmt.Sprintf("a%09d", n%apis)
				d := fmt.Sprint("d", n)
				f.apply(puts(restAPI(id, "PRIVATE"), deployment(id, d, denyAll), stage(id, "prod", d, nil)),
					key(statev1.Type_TYPE_DEPLOYMENT, fmt.Sprintf("%s/d%d", id, n-apis)))
				v := f.store.View()
				b.StartTimer()
				changed, _, _ := f.builder.Update(v)
				for _, r := range changed {
					bytes += len(r.Name) + len(r.Hash) + len(r.Body)
				}
			}
			b.ReportMetric(float64(bytes)/float64(b.N), "bytes-sent/op")
		})
	}
}
