package service

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dnsprop/propagation"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// bytesCluster sends each transaction through bytes, as a log entry goes, so a
// service that changes a record after proposing it is found out.
type bytesCluster struct{ *fakeCluster }

func (c bytesCluster) Propose(ctx context.Context, txn *statev1.Txn) (state.Result, error) {
	b, err := proto.Marshal(txn)
	if err != nil {
		return state.Result{}, err
	}
	decoded := &statev1.Txn{}
	if err := proto.Unmarshal(b, decoded); err != nil {
		return state.Result{}, err
	}
	return c.fakeCluster.Propose(ctx, decoded)
}

// ec2Lab is an EC2 service on its own state, with a wall clock that the test moves.
type ec2Lab struct {
	*testing.T
	ec2v1.EC2Server
	cfg     Config
	cluster bytesCluster
	now     time.Time
}

func newEC2Lab(t *testing.T) *ec2Lab {
	t.Helper()
	l := &ec2Lab{T: t, cluster: bytesCluster{newFakeCluster()}, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	l.cfg = Config{Cluster: l.cluster, Now: func() time.Time { return l.now }}.withDefaults()
	l.EC2Server = NewEC2(l.cfg)
	return l
}

func (l *ec2Lab) view() *state.View { return l.cluster.store.View() }

// profile switches the DNS profile.
func (l *ec2Lab) profile(name string) {
	l.Helper()
	s := &statev1.Settings{DnsProfile: name, DnsSeed: 1}
	l.commit(&statev1.Record{Key: state.SettingsKey().Proto(), Value: &statev1.Record_Settings{Settings: s}})
}

func (l *ec2Lab) commit(puts ...*statev1.Record) {
	l.Helper()
	if _, err := l.cluster.Propose(l.Context(), &statev1.Txn{Puts: puts}); err != nil {
		l.Fatal(err)
	}
}

const (
	testAccount = "111111111111"
	testRegion  = "us-west-2"
)

func (l *ec2Lab) ctx() context.Context { return as(l.Context(), testAccount, testRegion) }

// must unwraps an answer.
func must[T any](t testing.TB, answer T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// wantCode checks an error's code and, if given, its message.
func wantCode(t testing.TB, err error, code string, message ...string) {
	t.Helper()
	var e *apierr.Error
	switch {
	case !errors.As(err, &e):
		t.Fatalf("error %v, want %s", err, code)
	case e.Kind == apierr.KindDryRun && code == "DryRunOperation":
	case e.Code != code:
		t.Fatalf("%s: %s, want %s", e.Code, e.Message, code)
	case len(message) > 0 && e.Message != message[0]:
		t.Fatalf("message %q\nwant    %q", e.Message, message[0])
	}
}

func (l *ec2Lab) vpc(cidr string) *ec2v1.Vpc {
	l.Helper()
	answer, err := l.CreateVpc(l.ctx(), &ec2v1.CreateVpcRequest{CidrBlock: &cidr})
	return must(l, answer, err).GetVpc()
}

// dnsVPC is a VPC in which private DNS can be turned on.
func (l *ec2Lab) dnsVPC(cidr string) string {
	l.Helper()
	id := l.vpc(cidr).GetVpcId()
	_, err := l.ModifyVpcAttribute(l.ctx(), &ec2v1.ModifyVpcAttributeRequest{
		VpcId: &id, EnableDnsHostnames: &ec2v1.AttributeBooleanValue{Value: new(true)},
	})
	must(l, 0, err)
	return id
}

func (l *ec2Lab) subnet(vpc, cidr, zone string) *ec2v1.Subnet {
	l.Helper()
	answer, err := l.CreateSubnet(l.ctx(), &ec2v1.CreateSubnetRequest{VpcId: &vpc, CidrBlock: &cidr, AvailabilityZone: &zone})
	return must(l, answer, err).GetSubnet()
}

func (l *ec2Lab) group(vpc, name string) string {
	l.Helper()
	answer, err := l.CreateSecurityGroup(l.ctx(), &ec2v1.CreateSecurityGroupRequest{
		VpcId: &vpc, GroupName: &name, GroupDescription: new("test"),
	})
	return must(l, answer, err).GetGroupId()
}

func endpointRequest(vpc string, subnets ...string) *ec2v1.CreateVpcEndpointRequest {
	return &ec2v1.CreateVpcEndpointRequest{
		VpcId: &vpc, ServiceName: new(serviceName(testRegion)), VpcEndpointType: new("Interface"), SubnetIds: subnets,
	}
}

func (l *ec2Lab) endpoint(vpc string, subnets ...string) *ec2v1.VpcEndpoint {
	l.Helper()
	answer, err := l.CreateVpcEndpoint(l.ctx(), endpointRequest(vpc, subnets...))
	return must(l, answer, err).GetVpcEndpoint()
}

func (l *ec2Lab) describe(endpoint string) *ec2v1.VpcEndpoint {
	l.Helper()
	answer, err := l.DescribeVpcEndpoints(l.ctx(), &ec2v1.DescribeVpcEndpointsRequest{VpcEndpointIds: []string{endpoint}})
	return must(l, answer, err).GetVpcEndpoints()[0]
}

func (l *ec2Lab) deleteEndpoint(id string) *ec2v1.DeleteVpcEndpointsResponse {
	l.Helper()
	answer, err := l.DeleteVpcEndpoints(l.ctx(), &ec2v1.DeleteVpcEndpointsRequest{VpcEndpointIds: []string{id}})
	return must(l, answer, err)
}

// resolve is what a name server shows of a name now, by the rule that every
// place follows: of the name's changes the newest whose instant has passed.
func (l *ec2Lab) resolve(name string, authority int) []string {
	l.Helper()
	v := l.view()
	now := dnsNow(l.cfg, v)
	var newest uint64
	var shown []string
	for r := range v.All(statev1.Type_TYPE_DNS_CHANGE) {
		at, ok := propagation.Instant(r.GetDnsChange(), authority)
		if !ok || at.After(now) || r.GetCreateIndex() < newest {
			continue
		}
		for _, c := range r.GetDnsChange().GetRecords() {
			if c.GetName() == name {
				newest, shown = r.GetCreateIndex(), c.GetAfter().GetAddresses()
			}
		}
	}
	return shown
}

func (l *ec2Lab) wantResolve(name string, want ...string) {
	l.Helper()
	if got := l.resolve(name, 0); !slices.Equal(got, want) {
		l.Errorf("%s resolves to %v, want %v", name, got, want)
	}
}
