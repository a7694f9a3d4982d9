package publish_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dataplane/receive"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// inVPC are the records of a VPC with one endpoint.
func inVPC(n int) []*statev1.Record {
	vpc, sg, eni, vpce := fmt.Sprint("vpc-", n), fmt.Sprint("sg-", n), fmt.Sprint("eni-", n), fmt.Sprint("vpce-", n)
	return []*statev1.Record{
		{Key: key(statev1.Type_TYPE_VPC, vpc), Value: &statev1.Record_Vpc{Vpc: &statev1.Vpc{
			Vpc: &ec2v1.Vpc{VpcId: proto.String(vpc), CidrBlock: proto.String(fmt.Sprintf("10.%d.0.0/16", n))}, LoopbackOctet: uint32(n)}}},
		{Key: key(statev1.Type_TYPE_SECURITY_GROUP, vpc+"/"+sg), Value: &statev1.Record_SecurityGroup{SecurityGroup: &statev1.SecurityGroup{}}},
		{Key: key(statev1.Type_TYPE_NETWORK_INTERFACE, vpc+"/"+eni), Value: &statev1.Record_NetworkInterface{NetworkInterface: &ec2v1.NetworkInterface{
			PrivateIpAddress: proto.String(fmt.Sprintf("10.%d.1.5", n)), Groups: []*ec2v1.GroupIdentifier{{GroupId: proto.String(sg)}}}}},
		{Key: key(statev1.Type_TYPE_VPC_ENDPOINT, vpce), Value: &statev1.Record_VpcEndpoint{VpcEndpoint: &statev1.VpcEndpoint{Endpoint: &ec2v1.VpcEndpoint{
			VpcEndpointId: proto.String(vpce), VpcEndpointType: proto.String("Interface"), VpcId: proto.String(vpc),
			ServiceName: proto.String("com.amazonaws.us-west-2.execute-api"), NetworkInterfaceIds: []string{eni},
			Groups: []*ec2v1.GroupIdentifier{{GroupId: proto.String(sg)}}}}}},
	}
}

// An edge of some VPCs gets their endpoints, and everything else that it needs.
func TestScopedEdge(t *testing.T) {
	l := newLab(t, 1)
	l.commit(append(append(inVPC(1), inVPC(2)...), deployed("aaaaaaaaaa", "d1", allow)...))
	all := l.joined("edge-1", nil)
	some := l.joined("edge-2", func(c *receive.Config) { c.VPCs = []string{"vpc-2", "vpc-3"} })
	l.reached(0)
	has := func(e *edge) string {
		var s []string
		for i := 1; i <= 3; i++ {
			if e.table.Load().Endpoint(fmt.Sprint("vpce-", i)) != nil {
				s = append(s, fmt.Sprint(i))
			}
		}
		return strings.Join(s, " ")
	}
	if has(all) != "1 2" || has(some) != "2" || some.table.Load().VPC("vpc-1") == nil || !some.policyOf("aaaaaaaaaa") {
		t.Fatalf("all have %q, some %q", has(all), has(some))
	}
	l.commit(inVPC(3))
	l.commit(nil, key(statev1.Type_TYPE_VPC_ENDPOINT, "vpce-1"))
	l.reached(0)
	if has(all) != "2 3" || has(some) != "2 3" {
		t.Fatalf("all have %q, some %q", has(all), has(some))
	}
}

// A snapshot that is too large for one message comes in several.
func TestLargeSnapshotComesInParts(t *testing.T) {
	l := newLab(t, 1)
	policy := `{"Version":"2012-10-17","Id":"` + strings.Repeat("x", 200_000) + `"` + strings.TrimPrefix(allow, `{"Version":"2012-10-17"`)
	for i := range 40 {
		l.commit(deployed(fmt.Sprintf("aaaaaaaa%02d", i), "d1", policy))
	}
	stream := open(t, l.nodes[0], &syncv1.Hello{Domain: syncv1.Domain_DOMAIN_EDGE, Carrier: "edge-0",
		Places: []*syncv1.PlaceInfo{{Id: "edge-0", Kind: "edge", Instance: "i"}}})
	parts := 1
	for ; next(t, stream).GetSnapshot().GetMore(); parts++ {
	}
	if parts < 8 {
		t.Fatalf("%d parts for 8 MB", parts)
	}
	dir := t.TempDir()
	e := l.joined("edge-1", func(c *receive.Config) { c.Dir = dir })
	l.removePlace("edge-0")
	l.reached(l.commit(deployed("aaaaaaaa00", "d2", allow)))
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	l.nodes[0].stop()
	e = l.edge("edge-1", func(c *receive.Config) { c.Dir = dir })
	eventually(t, "the cache is installed", func() bool { return e.Ready() == nil })
	if !e.policyOf("aaaaaaaa39") || e.table.Load().API("aaaaaaaa00").Stage("prod").DeploymentID != "d2" {
		t.Fatal("the cache lacks something")
	}
}

// Without a leader nobody can say that there is nothing newer, though the node
// goes on talking.
func TestFreshnessNeedsALeader(t *testing.T) {
	l := newLab(t, 2)
	l.commit(deployed("aaaaaaaaaa", "d1", allow))
	e := l.joined("edge-1", func(c *receive.Config) {
		c.Servers, c.MaxStaleness = c.Servers[1:], 100*time.Millisecond
	})
	fresh := func() bool { return e.Freshness() < 100*time.Millisecond }
	eventually(t, "it is fresh through a follower", fresh)
	l.lead(nil)
	eventually(t, "it is not fresh without a leader", func() bool { return e.Freshness() > 200*time.Millisecond })
	l.lead(l.nodes[1])
	eventually(t, "it is fresh again", fresh)
	// A follower that lags is no proof either.
	l.lead(l.nodes[0])
	l.hold(l.nodes[1])
	l.commit(deployed("aaaaaaaaaa", "d2", allow))
	eventually(t, "it is not fresh behind a lagging node", func() bool { return e.Freshness() > 200*time.Millisecond })
	l.release(l.nodes[1])
	eventually(t, "it is fresh again", fresh)
	l.reached(0)
}

// All streams of one kind are sent the same bytes, whenever they joined: what a
// node has is a function of the state.
func TestNodesOfferTheSameSet(t *testing.T) {
	l := newLab(t, 2)
	l.hold(l.nodes[1])
	for i := range 20 {
		l.commit(append(inVPC(i+1), deployed(fmt.Sprintf("aaaaaaaa%02d", i), fmt.Sprint("d", i), allow)...))
	}
	l.commit(nil, key(statev1.Type_TYPE_STAGE, "aaaaaaaa03/prod"))
	l.release(l.nodes[1]) // in one go
	hashes := func(n *node) ([]byte, []string) {
		eventually(t, n.id+" is up to date", func() bool { return n.store.View().Index() == l.nodes[0].store.View().Index() })
		s := next(t, open(t, n, &syncv1.Hello{Domain: syncv1.Domain_DOMAIN_DNS, Carrier: "dns-" + n.id})).GetSnapshot()
		names := map[string]bool{}
		for _, r := range s.GetResources() {
			names[r.GetName()] = true
		}
		return s.GetSetHash(), slices.Sorted(maps.Keys(names))
	}
	one, oneNames := hashes(l.nodes[0])
	two, twoNames := hashes(l.nodes[1])
	if !bytes.Equal(one, two) || !slices.Equal(oneNames, twoNames) {
		t.Fatalf("%v\n%v", oneNames, twoNames)
	}
}
