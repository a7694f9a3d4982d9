package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

// resolverAt asks a DNS server, and it alone.
func resolverAt(server string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server)
	}}
}

// lookup is what a resolver says of a name's addresses, or "nothing".
func lookup(t *testing.T, r *net.Resolver, name string) string {
	t.Helper()
	addresses, err := r.LookupNetIP(t.Context(), "ip4", name+".")
	if dnsError, ok := errors.AsType[*net.DNSError](err); ok && dnsError.IsNotFound {
		return "nothing"
	}
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, a := range addresses {
		all = append(all, a.Unmap().String())
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// changeBatch is the argument of change-resource-record-sets: each change is an
// action and a set in JSON.
func changeBatch(t *testing.T, changes ...string) string {
	t.Helper()
	var all []any
	for i := 0; i < len(changes); i += 2 {
		all = append(all, map[string]any{"Action": changes[i], "ResourceRecordSet": json.RawMessage(changes[i+1])})
	}
	text, err := json.Marshal(map[string]any{"Comment": "by the CLI", "Changes": all})
	if err != nil {
		t.Fatal(err)
	}
	return "'" + string(text) + "'"
}

// A public zone by the CLI, from its creation to its end, and what the public
// resolver says in between.
func TestCLIHostedZone(t *testing.T) {
	t.Parallel()
	who := account()
	c := newCLI(t, cluster(t).API, who, seedRegion)
	endpoint := makeEndpoints(t, newClients(cluster(t).API, who, seedRegion), 1)[0]
	entry := c.run("aws ec2 describe-vpc-endpoints --vpc-endpoint-ids " + endpoint)
	regional, regionalZone := text(t, entry, "VpcEndpoints", 0, "DnsEntries", 0, "DnsName"), text(t, entry, "VpcEndpoints", 0, "DnsEntries", 0, "HostedZoneId")

	made := c.run("aws route53 create-hosted-zone --name Petstore.example --caller-reference first --hosted-zone-config Comment=pets")
	id := text(t, made, "HostedZone", "Id")
	if !strings.HasPrefix(id, "/hostedzone/Z") || text(t, made, "HostedZone", "Name") != "petstore.example." || len(at(t, made, "DelegationSet", "NameServers").([]any)) != 4 ||
		text(t, made, "ChangeInfo", "Id") == "" || !strings.HasSuffix(text(t, made, "Location"), "/2013-04-01"+id) || at(t, made, "HostedZone", "ResourceRecordSetCount") != 2.0 {
		t.Errorf("made %v", made)
	}
	changed := c.run("aws route53 change-resource-record-sets --hosted-zone-id " + id + " --change-batch " + changeBatch(t,
		"CREATE", `{"Name":"www.petstore.example","Type":"A","TTL":300,"ResourceRecords":[{"Value":"192.0.2.1"},{"Value":"192.0.2.2"}]}`,
		"CREATE", `{"Name":"shop.petstore.example","Type":"CNAME","TTL":60,"ResourceRecords":[{"Value":"www.petstore.example"}]}`,
		"UPSERT", `{"Name":"petstore.example","Type":"TXT","TTL":60,"ResourceRecords":[{"Value":"\"v=spf1 -all\""}]}`,
		"CREATE", `{"Name":"petstore.example","Type":"MX","TTL":60,"ResourceRecords":[{"Value":"10 mail.petstore.example"}]}`,
		"CREATE", `{"Name":"*.petstore.example","Type":"A","TTL":60,"ResourceRecords":[{"Value":"192.0.2.9"}]}`,
		"CREATE", `{"Name":"v6.petstore.example","Type":"AAAA","TTL":60,"ResourceRecords":[{"Value":"2001:db8::1"}]}`,
		"CREATE", `{"Name":"api.petstore.example","Type":"A","AliasTarget":{"HostedZoneId":"`+regionalZone+`","DNSName":"`+regional+`","EvaluateTargetHealth":false}}`,
		"CREATE", `{"Name":"same.petstore.example","Type":"A","AliasTarget":{"HostedZoneId":"`+strings.TrimPrefix(id, "/hostedzone/")+`","DNSName":"www.petstore.example","EvaluateTargetHealth":false}}`,
	))
	change := text(t, changed, "ChangeInfo", "Id")
	if text(t, changed, "ChangeInfo", "Comment") != "by the CLI" || !isTime(at(t, changed, "ChangeInfo", "SubmittedAt")) {
		t.Errorf("changed %v", changed)
	}
	c.run("aws route53 wait resource-record-sets-changed --id " + change)
	resolver := resolverAt(cluster(t).DNS)
	awaitDNS(t)
	enis := lookup(t, resolver, strings.TrimSuffix(regional, "."))
	for name, want := range map[string]string{
		"www": "192.0.2.1,192.0.2.2", "SHOP": "192.0.2.1,192.0.2.2", "same": "192.0.2.1,192.0.2.2", "any.thing": "192.0.2.9", "v6": "nothing", "api": enis,
	} {
		if got := lookup(t, resolver, name+".petstore.example"); got != want {
			t.Errorf("%s resolves to %s, want %s", name, got, want)
		}
	}
	if texts, err := resolver.LookupTXT(t.Context(), "petstore.example."); err != nil || !slices.Equal(texts, []string{"v=spf1 -all"}) {
		t.Errorf("texts %q, %v", texts, err)
	}
	if mx, err := resolver.LookupMX(t.Context(), "petstore.example."); err != nil || len(mx) != 1 || mx[0].Host != "mail.petstore.example." || mx[0].Pref != 10 {
		t.Errorf("mail %v, %v", mx, err)
	}

	listed := c.run("aws route53 list-resource-record-sets --hosted-zone-id " + id + " --page-size 3")
	var sets []string
	for _, s := range at(t, listed, "ResourceRecordSets").([]any) {
		sets = append(sets, text(t, s, "Name")+" "+text(t, s, "Type"))
	}
	if want := []string{
		"petstore.example. MX", "petstore.example. NS", "petstore.example. SOA", "petstore.example. TXT", `\052.petstore.example. A`, "api.petstore.example. A",
		"same.petstore.example. A", "shop.petstore.example. CNAME", "v6.petstore.example. AAAA", "www.petstore.example. A",
	}; !slices.Equal(sets, want) {
		t.Errorf("sets %q", sets)
	}
	tested := c.run("aws route53 test-dns-answer --hosted-zone-id " + id + " --record-name www.petstore.example --record-type A --resolver-ip 192.0.2.53")
	if text(t, tested, "ResponseCode") != "NOERROR" || len(at(t, tested, "RecordData").([]any)) != 2 || !strings.HasSuffix(text(t, tested, "Nameserver"), ".dns.postern.internal") {
		t.Errorf("tested %v", tested)
	}
	for command, says := range map[string]string{
		"create-hosted-zone --name petstore.example --caller-reference first":                                     "(HostedZoneAlreadyExists)",
		"create-hosted-zone --name petstore.example --caller-reference second":                                    "(DelegationSetNotAvailable)",
		"create-hosted-zone --name us-west-2.amazonaws.com --caller-reference second":                             "(InvalidDomainName)",
		"delete-hosted-zone --id " + id:                                                                           "(HostedZoneNotEmpty)",
		"get-hosted-zone --id Z00000000000000000000":                                                              "(NoSuchHostedZone) when calling the GetHostedZone operation: No hosted zone found with ID: Z00000000000000000000",
		"list-resource-record-sets --hosted-zone-id ZNONE":                                                        "(NoSuchHostedZone)",
		"test-dns-answer --hosted-zone-id " + id + " --record-name www.example.org --record-type A":               "(InvalidInput)",
		"associate-vpc-with-hosted-zone --hosted-zone-id " + id + " --vpc VPCRegion=us-west-2,VPCId=vpc-00000000": "(PublicZoneVPCAssociation)",
		"change-resource-record-sets --hosted-zone-id " + id + " --change-batch " + changeBatch(t, "CREATE",
			`{"Name":"www.petstore.example","Type":"A","TTL":300,"ResourceRecords":[{"Value":"192.0.2.1"}]}`): "(InvalidChangeBatch) when calling the ChangeResourceRecordSets operation: [Tried to create resource record set [name='www.petstore.example.', type='A'] but it already exists]",
		"change-resource-record-sets --hosted-zone-id " + id + " --change-batch " + changeBatch(t, "CREATE",
			`{"Name":"x.petstore.example","Type":"A","TTL":300,"SetIdentifier":"a","Weight":1,"ResourceRecords":[{"Value":"192.0.2.1"}]}`): "(NotImplemented)",
	} {
		if said := c.fails("aws route53 " + command); !strings.Contains(said, says) {
			t.Errorf("%s\nsays %s\nwant %s", command, said, says)
		}
	}

	// Everything goes again, and then the zone.
	var deletes []string
	for _, s := range at(t, listed, "ResourceRecordSets").([]any) {
		if rtype := text(t, s, "Type"); rtype == "NS" || rtype == "SOA" {
			continue
		}
		set, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		deletes = append(deletes, "DELETE", string(set))
	}
	c.run("aws route53 change-resource-record-sets --hosted-zone-id " + id + " --change-batch " + changeBatch(t, deletes...))
	gone := c.run("aws route53 delete-hosted-zone --id " + id)
	c.run("aws route53 wait resource-record-sets-changed --id " + text(t, gone, "ChangeInfo", "Id"))
	awaitDNS(t)
	if got, err := resolver.LookupHost(t.Context(), "www.petstore.example."); err == nil {
		t.Errorf("a zone that is gone resolves to %v", got)
	}
}

// A private zone answers in its VPC only, and hides what is public there.
func TestCLIPrivateHostedZone(t *testing.T) {
	t.Parallel()
	who := account()
	c := newCLI(t, cluster(t).API, who, seedRegion)
	vpc := text(t, c.run("aws ec2 create-vpc --cidr-block 10.91.0.0/16"), "Vpc", "VpcId")
	second := text(t, c.run("aws ec2 create-vpc --cidr-block 10.92.0.0/16"), "Vpc", "VpcId")
	for _, id := range []string{vpc, second} {
		c.silent("aws ec2 modify-vpc-attribute --vpc-id " + id + " --enable-dns-hostnames Value=true")
	}
	private := text(t, c.run("aws route53 create-hosted-zone --name corp.example --caller-reference private --vpc VPCRegion=us-west-2,VPCId="+vpc), "HostedZone", "Id")
	public := text(t, c.run("aws route53 create-hosted-zone --name corp.example --caller-reference public"), "HostedZone", "Id")
	add := func(zone, name, address string) {
		c.run("aws route53 change-resource-record-sets --hosted-zone-id " + zone + " --change-batch " + changeBatch(t, "UPSERT",
			fmt.Sprintf(`{"Name":"%s.corp.example","Type":"A","TTL":60,"ResourceRecords":[{"Value":"%s"}]}`, name, address)))
	}
	add(private, "www", "10.91.0.9")
	add(public, "www", "192.0.2.1")
	add(public, "only", "192.0.2.2")
	got := c.run("aws route53 get-hosted-zone --id " + private)
	if at(t, got, "HostedZone", "Config", "PrivateZone") != true || text(t, got, "VPCs", 0, "VPCId") != vpc || text(t, got, "VPCs", 0, "VPCRegion") != "us-west-2" {
		t.Errorf("got %v", got)
	}
	_, port, err := net.SplitHostPort(cluster(t).DNS)
	if err != nil {
		t.Fatal(err)
	}
	inside, other, outside := resolverAt("127.91.0.2:"+port), resolverAt("127.92.0.2:"+port), resolverAt(cluster(t).DNS)
	check := func(when string, r *net.Resolver, name, want string) {
		t.Helper()
		if got := lookup(t, r, name+".corp.example"); got != want {
			t.Errorf("%s: %s resolves to %s, want %s", when, name, got, want)
		}
	}
	awaitDNS(t)
	check("in the vpc", inside, "www", "10.91.0.9")
	check("in the vpc", inside, "only", "nothing")
	check("in another", other, "www", "192.0.2.1")
	check("outside", outside, "www", "192.0.2.1")
	check("outside", outside, "only", "192.0.2.2")

	associated := c.run("aws route53 associate-vpc-with-hosted-zone --hosted-zone-id " + private + " --vpc VPCRegion=us-west-2,VPCId=" + second)
	c.run("aws route53 wait resource-record-sets-changed --id " + text(t, associated, "ChangeInfo", "Id"))
	awaitDNS(t)
	check("in another, associated", other, "www", "10.91.0.9")
	found := c.run("aws route53 list-hosted-zones-by-vpc --vpc-region us-west-2 --vpc-id " + second)
	if text(t, found, "HostedZoneSummaries", 0, "Name") != "corp.example." || text(t, found, "HostedZoneSummaries", 0, "Owner", "OwningAccount") != who {
		t.Errorf("found %v", found)
	}
	for command, says := range map[string]string{
		"associate-vpc-with-hosted-zone --hosted-zone-id " + private + " --vpc VPCRegion=us-west-2,VPCId=" + vpc:              "(ConflictingDomainExists)",
		"associate-vpc-with-hosted-zone --hosted-zone-id " + private + " --vpc VPCRegion=us-west-2,VPCId=vpc-00000000000":     "(InvalidVPCId)",
		"create-hosted-zone --name corp.example --caller-reference third --vpc VPCRegion=us-west-2,VPCId=" + vpc:              "(ConflictingDomainExists)",
		"disassociate-vpc-from-hosted-zone --hosted-zone-id " + private + " --vpc VPCRegion=us-west-2,VPCId=vpc-000000000000": "(VPCAssociationNotFound)",
	} {
		if said := c.fails("aws route53 " + command); !strings.Contains(said, says) {
			t.Errorf("%s\nsays %s\nwant %s", command, said, says)
		}
	}
	c.run("aws route53 disassociate-vpc-from-hosted-zone --hosted-zone-id " + private + " --vpc VPCRegion=us-west-2,VPCId=" + second)
	awaitDNS(t)
	check("in another, no longer", other, "www", "192.0.2.1")
	if said := c.fails("aws route53 disassociate-vpc-from-hosted-zone --hosted-zone-id " + private + " --vpc VPCRegion=us-west-2,VPCId=" + vpc); !strings.Contains(said, "(LastVPCAssociation)") {
		t.Errorf("the last vpc: %s", said)
	}
	byName := c.run("aws route53 list-hosted-zones-by-name --dns-name corp.example")
	all := c.run("aws route53 list-hosted-zones")
	if n, m := len(at(t, byName, "HostedZones").([]any)), len(at(t, all, "HostedZones").([]any)); n != 2 || m != 2 {
		t.Errorf("%d zones by name, %d in all", n, m)
	}
	if n := at(t, c.run("aws route53 get-hosted-zone-count"), "HostedZoneCount"); n != 2.0 {
		t.Errorf("count %v", n)
	}
}

// awaitDNS is the barrier: it returns when every DNS place shows what has been
// committed.
func awaitDNS(t *testing.T) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+cluster(t).API, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := adminv1.NewAdminClient(conn).Wait(t.Context(), &adminv1.WaitRequest{Kinds: []string{"dns"}, TimeoutMs: 30_000})
	if err != nil {
		t.Fatal(err)
	}
	for {
		w, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if w.GetReached() {
			return
		}
		if w.GetDone() {
			t.Fatalf("dns does not reach %d: %v", w.GetIndex(), w.GetBlocking())
		}
	}
}
