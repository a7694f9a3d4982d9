package dnsfeed

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/posternhq/postern/controlplane/snapshot"
	"github.com/posternhq/postern/controlplane/state"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	dnsv1 "github.com/posternhq/postern/proto/postern/dns/v1"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	account = "123456789012"
	region  = "us-west-2"
	vpcID   = "vpc-0a"
	vpceID  = "vpce-0b"
)

// world is a store with a Builder that follows it, and what a receiver has.
type world struct {
	t     *testing.T
	store *state.Store
	b     *Builder
	has   map[string]*snapshot.Resource
	last  []string // names that the last update named, removals with a minus
	full  bool
}

func newWorld(t *testing.T) *world {
	return &world{t: t, store: state.New(), b: NewBuilder(), has: map[string]*snapshot.Resource{}}
}

func (w *world) apply(txn *statev1.Txn) {
	w.t.Helper()
	if r := w.store.Apply(w.store.View().Index()+1, []*statev1.Txn{txn}); r[0].Refused != nil {
		w.t.Fatalf("refused: %v", r[0].Refused)
	}
}

func (w *world) put(records ...*statev1.Record) { w.t.Helper(); w.apply(&statev1.Txn{Puts: records}) }

func (w *world) drop(records ...*statev1.Record) {
	w.t.Helper()
	var keys []*statev1.Key
	for _, r := range records {
		keys = append(keys, r.GetKey())
	}
	w.apply(&statev1.Txn{Deletes: keys})
}

func (w *world) update() {
	w.t.Helper()
	changed, removed, full := w.b.Update(w.store.View())
	if w.full = full; full {
		clear(w.has)
	}
	w.last = nil
	for _, r := range changed {
		w.has[r.Name] = r
		w.last = append(w.last, r.Name)
	}
	for _, name := range removed {
		if w.has[name] == nil {
			w.t.Errorf("%s removed but never offered", name)
		}
		delete(w.has, name)
		w.last = append(w.last, "-"+name)
	}
}

func (w *world) expect(names ...string) {
	w.t.Helper()
	w.update()
	if diff := cmp.Diff(names, w.last); diff != "" {
		w.t.Errorf("named by the update (-want +got):\n%s", diff)
	}
}

func get[M proto.Message](w *world, name string, m M) M {
	w.t.Helper()
	r := w.has[name]
	if r == nil {
		w.t.Fatalf("no resource %s", name)
	}
	if err := proto.Unmarshal(r.Body, m); err != nil {
		w.t.Fatal(err)
	}
	return m
}

func key(t statev1.Type, id string) *statev1.Key {
	return &statev1.Key{Type: t, Account: account, Region: region, Id: id}
}

func api(id string) *statev1.Record {
	return &statev1.Record{Key: key(statev1.Type_TYPE_REST_API, id), Value: &statev1.Record_RestApi{RestApi: &apigatewayv1.RestApi{Id: &id}}}
}

func vpc(edit ...func(*statev1.Vpc)) *statev1.Record {
	v := &statev1.Vpc{
		Vpc:              &ec2v1.Vpc{VpcId: proto.String(vpcID), CidrBlock: proto.String("10.7.0.0/16")},
		EnableDnsSupport: true, EnableDnsHostnames: true, LoopbackOctet: 7, PrivateZoneId: "Z1",
	}
	for _, f := range edit {
		f(v)
	}
	return &statev1.Record{Key: key(statev1.Type_TYPE_VPC, vpcID), Value: &statev1.Record_Vpc{Vpc: v}}
}

func subnet(id, az, cidr string) *statev1.Record {
	return &statev1.Record{Key: key(statev1.Type_TYPE_SUBNET, vpcID+"/"+id), Value: &statev1.Record_Subnet{
		Subnet: &ec2v1.Subnet{SubnetId: &id, AvailabilityZone: &az, CidrBlock: &cidr},
	}}
}

func eni(id, address string) *statev1.Record {
	return &statev1.Record{Key: key(statev1.Type_TYPE_NETWORK_INTERFACE, vpcID+"/"+id), Value: &statev1.Record_NetworkInterface{
		NetworkInterface: &ec2v1.NetworkInterface{NetworkInterfaceId: &id, PrivateIpAddress: &address},
	}}
}

func endpoint(id string, private bool, enis ...string) *statev1.Record {
	return &statev1.Record{Key: key(statev1.Type_TYPE_VPC_ENDPOINT, id), Value: &statev1.Record_VpcEndpoint{VpcEndpoint: &statev1.VpcEndpoint{
		AvailableAt: 77,
		Endpoint: &ec2v1.VpcEndpoint{
			VpcEndpointId: &id, VpcId: proto.String(vpcID), PrivateDnsEnabled: &private,
			VpcEndpointType: proto.String("Interface"), ServiceName: proto.String("com.amazonaws.us-west-2.execute-api"),
			NetworkInterfaceIds: enis,
		},
	}}}
}

func dnsChange(id string, attempts ...int64) *statev1.Record {
	k := state.Key{Type: statev1.Type_TYPE_DNS_CHANGE, ID: id}
	return &statev1.Record{Key: k.Proto(), Value: &statev1.Record_DnsChange{DnsChange: &statev1.DnsChange{
		Id: id, Profile: "aws", Region: "eu-west-1", Attempts: attempts,
	}}}
}

func hostedZone(id string, vpcs ...string) *statev1.Record {
	z := &statev1.HostedZone{Id: id, Name: "example.com.", Private: true}
	for _, v := range vpcs {
		z.Vpcs = append(z.Vpcs, &statev1.ZoneVpc{VpcId: v, Region: region, From: 5})
	}
	k := state.Key{Type: statev1.Type_TYPE_HOSTED_ZONE, Account: account, ID: id}
	return &statev1.Record{Key: k.Proto(), Value: &statev1.Record_HostedZone{HostedZone: z}}
}

func TestHostedZones(t *testing.T) {
	w := newWorld(t)
	w.put(vpc())
	w.update()
	w.put(hostedZone("Z2", vpcID), hostedZone("Z1", vpcID, "vpc-other"), hostedZone("Z3"))
	w.expect("vpc/" + vpcID)
	want := []*dnsv1.HostedZone{{Id: "Z1", Name: "example.com.", From: 5}, {Id: "Z2", Name: "example.com.", From: 5}}
	if diff := cmp.Diff(want, get(w, "vpc/"+vpcID, &dnsv1.Vpc{}).GetHostedZones(), protocmp.Transform()); diff != "" {
		t.Errorf("associations (-want +got):\n%s", diff)
	}
	w.put(hostedZone("Z1", "vpc-other"))
	w.expect("vpc/" + vpcID)
	w.drop(hostedZone("Z2"))
	w.expect("vpc/" + vpcID)
	if z := get(w, "vpc/"+vpcID, &dnsv1.Vpc{}).GetHostedZones(); len(z) != 0 {
		t.Errorf("associations are left: %v", z)
	}
	w.drop(hostedZone("Z1"))
	w.expect()
	if len(w.b.zones) != 0 || len(w.b.vpcsOf) != 0 {
		t.Errorf("remembered: %v, %v", w.b.zones, w.b.vpcsOf)
	}
}

func fault(kind string) *statev1.Record {
	k := state.Key{Type: statev1.Type_TYPE_DNS_FAULT, ID: kind + "@ns1"}
	return &statev1.Record{Key: k.Proto(), Value: &statev1.Record_DnsFault{DnsFault: &statev1.DnsFault{Id: k.ID, Kind: kind, Place: "ns1"}}}
}

func settings(s *statev1.Settings) *statev1.Record {
	return &statev1.Record{Key: state.SettingsKey().Proto(), Value: &statev1.Record_Settings{Settings: s}}
}

func TestResources(t *testing.T) {
	w := newWorld(t)
	w.expect("settings")
	if !w.full {
		t.Error("the first update is not full")
	}
	w.put(vpc(), subnet("subnet-1", "us-west-2a", "10.7.1.0/24"), subnet("subnet-2", "us-west-2b", "10.7.2.0/24"))
	w.expect("settings", "vpc/"+vpcID) // a region has come
	want := &dnsv1.Vpc{
		Id: vpcID, Account: account, Region: region, Cidrs: []string{"10.7.0.0/16"}, LoopbackOctet: 7,
		EnableDnsSupport: true, EnableDnsHostnames: true,
		Subnets: []*dnsv1.Subnet{
			{Id: "subnet-1", Az: "us-west-2a", Cidr: "10.7.1.0/24"},
			{Id: "subnet-2", Az: "us-west-2b", Cidr: "10.7.2.0/24"},
		},
	}
	if diff := cmp.Diff(want, get(w, "vpc/"+vpcID, &dnsv1.Vpc{}), protocmp.Transform()); diff != "" {
		t.Errorf("vpc (-want +got):\n%s", diff)
	}
	if r := w.has["vpc/"+vpcID]; r.VPC != vpcID {
		t.Errorf("scope %q", r.VPC)
	}

	w.put(eni("eni-2", "10.7.2.10"), eni("eni-1", "10.7.1.10"), endpoint(vpceID, true, "eni-2", "eni-1"))
	w.expect("vpc/" + vpcID)
	want.PrivateZones = []*dnsv1.PrivateZone{{
		Id: "Z1", Name: "execute-api.us-west-2.amazonaws.com.", Ttl: 60, Addresses: []string{"10.7.1.10", "10.7.2.10"},
		VpcEndpointId: vpceID, AvailableAt: 77,
	}}
	if diff := cmp.Diff(want, get(w, "vpc/"+vpcID, &dnsv1.Vpc{}), protocmp.Transform()); diff != "" {
		t.Errorf("vpc with private DNS (-want +got):\n%s", diff)
	}

	w.put(endpoint(vpceID, false, "eni-1"))
	w.expect("vpc/" + vpcID)
	if z := get(w, "vpc/"+vpcID, &dnsv1.Vpc{}).GetPrivateZones(); len(z) != 0 {
		t.Errorf("private DNS off: %v", z)
	}
	w.put(endpoint("vpce-0c", false, "eni-1")) // without private DNS an endpoint is nothing to resolvers
	w.expect()
	deleting := endpoint(vpceID, true, "eni-1")
	deleting.GetVpcEndpoint().DeletedAt = 99
	w.put(deleting)
	w.expect()
	w.put(endpoint(vpceID, true, "eni-1"))
	w.expect("vpc/" + vpcID)
	w.drop(endpoint(vpceID, true))
	w.expect("vpc/" + vpcID)
	w.put(vpc(func(v *statev1.Vpc) { v.EnableDnsHostnames = false }))
	w.expect("vpc/" + vpcID)
	w.drop(vpc(), subnet("subnet-1", "", ""), subnet("subnet-2", "", ""))
	w.expect("-vpc/" + vpcID)
	w.drop(endpoint("vpce-0c", false))
	w.expect("settings") // the region has gone
	if r := get(w, "settings", &dnsv1.Settings{}).GetRegions(); len(r) != 0 {
		t.Errorf("regions %v", r)
	}
}

func TestChangesKeepTheIndexThatOrdersThem(t *testing.T) {
	w := newWorld(t)
	w.update()
	w.put(dnsChange("C1", 5))
	w.expect("change/C1", "settings")
	made := w.store.View().Index()
	w.put(api("a1"))
	w.expect("settings")
	w.put(dnsChange("C1", 5, 9))
	w.expect("change/C1")
	c := get(w, "change/C1", &dnsv1.Change{})
	if c.GetIndex() != made || c.GetModifyIndex() != w.store.View().Index() || !slices.Equal(c.GetChange().GetAttempts(), []int64{5, 9}) {
		t.Errorf("change %v, made at %d", c, made)
	}
	if r := get(w, "settings", &dnsv1.Settings{}).GetRegions(); !slices.Equal(r, []string{"eu-west-1", region}) {
		t.Errorf("regions %v", r)
	}
	w.apply(&statev1.Txn{Wipe: true, WipeKeeps: []statev1.Type{statev1.Type_TYPE_SETTINGS}})
	w.expect("settings", "-change/C1")
}

func TestSettings(t *testing.T) {
	w := newWorld(t)
	w.update()
	w.put(vpc())
	w.update()
	w.put(settings(&statev1.Settings{DnsProfile: "aws", DnsSeed: 3, DnsClock: &statev1.DnsClock{DnsTime: 5, WallTime: 6, Speed: 60}}))
	w.expect("settings")
	want := &dnsv1.Settings{Profile: "aws", Seed: 3, Clock: &statev1.DnsClock{DnsTime: 5, WallTime: 6, Speed: 60}, Regions: []string{region}}
	if diff := cmp.Diff(want, get(w, "settings", &dnsv1.Settings{}), protocmp.Transform()); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	w.put(fault("dns-lost"))
	w.expect() // it is the changes'
	w.put(fault("dns-down"))
	w.expect("settings")
	got := get(w, "settings", &dnsv1.Settings{}).GetFaults()
	if len(got) != 1 || got[0].GetKind() != "dns-down" || got[0].GetPlace() != "ns1" {
		t.Errorf("faults %v", got)
	}
	w.drop(fault("dns-down"), fault("dns-lost"))
	w.expect("settings")
	w.put(settings(&statev1.Settings{DnsProfile: "office", CustomDnsProfile: &statev1.DnsProfile{NegativeTtl: 7}}))
	w.expect("settings")
	if got := get(w, "settings", &dnsv1.Settings{}); got.GetCustomProfile().GetNegativeTtl() != 7 || len(got.GetFaults()) != 0 {
		t.Errorf("settings %v", got)
	}
	w.put(settings(&statev1.Settings{Addresses: "as-is"}))
	if w.update(); !w.full || get(w, "vpc/"+vpcID, &dnsv1.Vpc{}).GetLoopbackOctet() != 0 {
		t.Error("addresses as they are, yet translated")
	}
	w.put(settings(&statev1.Settings{TlsMax: "1.3", Addresses: "as-is"})) // no concern of DNS
	w.expect()
}

// Whatever happens, following it in any strides gives what a fresh look gives.
func TestIncrementalEqualsFull(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		w := newWorld(t)
		choices := []func(i int) *statev1.Record{
			func(i int) *statev1.Record { return api(fmt.Sprintf("a%d", i)) },
			func(int) *statev1.Record { return vpc() },
			func(i int) *statev1.Record {
				return subnet(fmt.Sprintf("subnet-%d", i), "us-west-2a", fmt.Sprintf("10.7.%d.0/24", i))
			},
			func(i int) *statev1.Record { return eni(fmt.Sprintf("eni-%d", i), fmt.Sprintf("10.7.1.%d", i)) },
			func(i int) *statev1.Record { return endpoint(fmt.Sprintf("vpce-%d", i), i%2 == 0, "eni-0", "eni-1") },
			func(i int) *statev1.Record {
				return hostedZone(fmt.Sprintf("Z%d", i), []string{vpcID, "vpc-other"}[rng.IntN(2):]...)
			},
			func(i int) *statev1.Record { return dnsChange(fmt.Sprintf("C%d", i), int64(i), rng.Int64N(100)) },
		}
		for range 60 {
			for range 1 + rng.IntN(4) {
				r := choices[rng.IntN(len(choices))](rng.IntN(4))
				if rng.IntN(3) == 0 {
					w.drop(r)
				} else {
					w.put(r)
				}
			}
			w.update()
			fresh := &world{t: t, store: w.store, b: NewBuilder(), has: map[string]*snapshot.Resource{}}
			fresh.update()
			if diff := cmp.Diff(hashes(fresh.has), hashes(w.has)); diff != "" {
				t.Fatalf("seed %d (-full +incremental):\n%s", seed, diff)
			}
		}
	}
}

func hashes(m map[string]*snapshot.Resource) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%s %x %s\n", name, m[name].Hash, m[name].VPC)
	}
	return b.String()
}
