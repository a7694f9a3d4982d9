package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/dnsprop/propagation"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	route53v1 "github.com/posternhq/postern/proto/postern/route53/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// zoneLab is a Route 53 service beside an EC2 service.
type zoneLab struct {
	*ec2Lab
	route53v1.Route53Server
	references int
}

func newZoneLab(t *testing.T) *zoneLab {
	t.Helper()
	l := newEC2Lab(t)
	return &zoneLab{ec2Lab: l, Route53Server: NewRoute53(l.cfg)}
}

func (l *zoneLab) makeZone(name, vpc string) string {
	l.Helper()
	l.references++
	req := &route53v1.CreateHostedZoneRequest{Name: &name, CallerReference: new(fmt.Sprint(l.references))}
	if vpc != "" {
		req.Vpc = &route53v1.VPC{VpcRegion: new(testRegion), VpcId: &vpc}
	}
	answer, err := l.CreateHostedZone(l.ctx(), req)
	return bareID(must(l.T, answer, err).GetHostedZone().GetId(), "hostedzone")
}

func (l *zoneLab) makeVPC() string {
	l.Helper()
	answer, err := l.CreateVpc(l.ctx(), &ec2v1.CreateVpcRequest{CidrBlock: new("10.0.0.0/16")})
	return must(l.T, answer, err).GetVpc().GetVpcId()
}

// set is a change in one line: "CREATE www.example.com 60 A v1|v2",
// "UPSERT a.example.com ALIAS A ZONE target".
func set(line string) *route53v1.Change {
	words := strings.SplitN(line, " ", 5)
	s := &route53v1.ResourceRecordSet{Name: &words[1], Type: &words[3]}
	if words[2] == "ALIAS" {
		zone, target, _ := strings.Cut(words[4], " ")
		s.AliasTarget = &route53v1.AliasTarget{HostedZoneId: &zone, DnsName: &target, EvaluateTargetHealth: new(false)}
	} else {
		var ttl int64
		if _, err := fmt.Sscan(words[2], &ttl); err != nil {
			panic(err)
		}
		s.Ttl, s.ResourceRecords = &ttl, &route53v1.ResourceRecords{}
		for value := range strings.SplitSeq(words[4], "|") {
			s.ResourceRecords.Values = append(s.ResourceRecords.Values, &route53v1.ResourceRecord{Value: &value})
		}
	}
	return &route53v1.Change{Action: &words[0], ResourceRecordSet: s}
}

func (l *zoneLab) change(zone string, lines ...string) (*route53v1.ChangeInfo, error) {
	batch := &route53v1.ChangeBatch{}
	for _, line := range lines {
		batch.Changes = append(batch.Changes, set(line))
	}
	answer, err := l.ChangeResourceRecordSets(l.ctx(), &route53v1.ChangeResourceRecordSetsRequest{Id: zone, ChangeBatch: batch})
	return answer.GetChangeInfo(), err
}

func (l *zoneLab) mustChange(zone string, lines ...string) *route53v1.ChangeInfo {
	l.Helper()
	info, err := l.change(zone, lines...)
	return must(l.T, info, err)
}

// sets are a zone's sets, one a line.
func (l *zoneLab) sets(zone string) []string {
	l.Helper()
	answer, err := l.ListResourceRecordSets(l.ctx(), &route53v1.ListResourceRecordSetsRequest{Id: zone})
	var all []string
	for _, s := range must(l.T, answer, err).GetResourceRecordSets() {
		line := s.GetName() + " " + s.GetType()
		if a := s.GetAliasTarget(); a != nil {
			line += " alias " + a.GetDnsName()
		}
		for _, r := range s.GetResourceRecords().GetValues() {
			line += " " + r.GetValue()
		}
		all = append(all, line)
	}
	return all
}

// newest is the change that was committed last.
func (l *zoneLab) newest() *statev1.DnsChange {
	var newest *statev1.Record
	for r := range l.view().All(statev1.Type_TYPE_DNS_CHANGE) {
		if r.GetCreateIndex() > newest.GetCreateIndex() {
			newest = r
		}
	}
	return newest.GetDnsChange()
}

func TestHostedZone(t *testing.T) {
	l := newZoneLab(t)
	l.profile("aws")
	answer, err := l.CreateHostedZone(l.ctx(), &route53v1.CreateHostedZoneRequest{
		Name: new("Example.COM"), CallerReference: new("ref"), HostedZoneConfig: &route53v1.HostedZoneConfig{Comment: new("mine")},
	})
	made := must(t, answer, err)
	id := bareID(made.GetHostedZone().GetId(), "hostedzone")
	if made.GetHostedZone().GetName() != "example.com." || len(id) != 21 || made.GetLocation() != "https://route53.amazonaws.com/2013-04-01/hostedzone/"+id ||
		len(made.GetDelegationSet().GetNameServers()) != 4 || made.GetChangeInfo().GetStatus() != "PENDING" || made.GetHostedZone().GetResourceRecordSetCount() != 2 {
		t.Errorf("made %v", made)
	}
	c := l.newest()
	if z := c.GetZone(); "/change/"+c.GetId() != made.GetChangeInfo().GetId() || z.GetId() != id || z.GetName() != "example.com." || z.GetPrivate() || len(c.GetRecords()) != 2 || c.GetSubject() != id || c.GetAccount() != testAccount {
		t.Errorf("change %v", c)
	}
	want := []string{
		"example.com. NS ns1.dns.postern.internal. ns2.dns.postern.internal. ns3.dns.postern.internal. ns4.dns.postern.internal.",
		"example.com. SOA ns1.dns.postern.internal. hostmaster.dns.postern.internal. 1 7200 900 1209600 86400",
	}
	if diff := cmp.Diff(want, l.sets(id)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	got, err := l.GetHostedZone(l.ctx(), &route53v1.GetHostedZoneRequest{Id: "/hostedzone/" + id})
	if z := must(t, got, err); z.Vpcs != nil || len(z.GetDelegationSet().GetNameServers()) != 4 || z.GetHostedZone().GetConfig().GetComment() != "mine" || z.GetHostedZone().GetCallerReference() != "ref" {
		t.Errorf("got %v", z)
	}
	commented, err := l.UpdateHostedZoneComment(l.ctx(), &route53v1.UpdateHostedZoneCommentRequest{Id: id})
	if z := must(t, commented, err).GetHostedZone(); z.GetConfig().Comment != nil {
		t.Errorf("comment is left: %v", z)
	}
	l.now = l.now.Add(10 * time.Minute)
	status, err := l.GetChange(l.ctx(), &route53v1.GetChangeRequest{Id: made.GetChangeInfo().GetId()})
	if must(t, status, err).GetChangeInfo().GetStatus() != "INSYNC" {
		t.Errorf("status %v", status)
	}

	// Of another account it is not there, and its name is taken.
	other := as(t.Context(), "222222222222", testRegion)
	_, err = l.GetHostedZone(other, &route53v1.GetHostedZoneRequest{Id: id})
	wantCode(t, err, "NoSuchHostedZone", "No hosted zone found with ID: "+id)
	_, err = l.CreateHostedZone(other, &route53v1.CreateHostedZoneRequest{Name: new("example.com"), CallerReference: new("ref")})
	wantCode(t, err, "DelegationSetNotAvailable")
	_, err = l.CreateHostedZone(l.ctx(), &route53v1.CreateHostedZoneRequest{Name: new("other.com"), CallerReference: new("ref")})
	wantCode(t, err, "HostedZoneAlreadyExists", "A hosted zone has already been created with the specified caller reference.")
	l.makeZone("sub.example.com", "")

	l.mustChange(id, "CREATE www.example.com 60 A 192.0.2.1")
	_, err = l.DeleteHostedZone(l.ctx(), &route53v1.DeleteHostedZoneRequest{Id: id})
	wantCode(t, err, "HostedZoneNotEmpty")
	l.mustChange(id, "DELETE www.example.com 60 A 192.0.2.1")
	gone, err := l.DeleteHostedZone(l.ctx(), &route53v1.DeleteHostedZoneRequest{Id: id})
	if must(t, gone, err).GetChangeInfo().GetStatus() != "PENDING" {
		t.Errorf("deleted: %v", gone)
	}
	for _, r := range l.newest().GetRecords() {
		if r.GetAfter() != nil || r.GetBefore() == nil {
			t.Errorf("record of a deleted zone: %v", r)
		}
	}
	_, err = l.GetHostedZone(l.ctx(), &route53v1.GetHostedZoneRequest{Id: id})
	wantCode(t, err, "NoSuchHostedZone")
	for range l.view().List(statev1.Type_TYPE_RRSET, testAccount, "", id+" ") {
		t.Error("sets of a deleted zone are left")
	}
	// Name and reference are free again.
	again, err := l.CreateHostedZone(l.ctx(), &route53v1.CreateHostedZoneRequest{Name: new("example.com"), CallerReference: new("ref")})
	must(t, again, err)
}

func TestCreateHostedZoneRefuses(t *testing.T) {
	l := newZoneLab(t)
	vpc := l.makeVPC()
	for _, c := range []struct {
		name string
		edit func(*route53v1.CreateHostedZoneRequest)
		code string
	}{
		{"no name", func(r *route53v1.CreateHostedZoneRequest) { r.Name = nil }, "InvalidInput"},
		{"a long name", func(r *route53v1.CreateHostedZoneRequest) { r.Name = new(strings.Repeat("a.", 513)) }, "InvalidInput"},
		{"the root", func(r *route53v1.CreateHostedZoneRequest) { r.Name = new(".") }, "InvalidDomainName"},
		{"a wildcard", func(r *route53v1.CreateHostedZoneRequest) { r.Name = new("*.example.com") }, "InvalidDomainName"},
		{"an empty label", func(r *route53v1.CreateHostedZoneRequest) { r.Name = new("a..com") }, "InvalidDomainName"},
		{"a reserved name", func(r *route53v1.CreateHostedZoneRequest) { r.Name = new("execute-api.us-west-2.amazonaws.com") }, "InvalidDomainName"},
		{"above one", func(r *route53v1.CreateHostedZoneRequest) { r.Name = new("com") }, "InvalidDomainName"},
		{"no reference", func(r *route53v1.CreateHostedZoneRequest) { r.CallerReference = new("") }, "InvalidInput"},
		{"a long comment", func(r *route53v1.CreateHostedZoneRequest) {
			r.HostedZoneConfig = &route53v1.HostedZoneConfig{Comment: new(strings.Repeat("x", 257))}
		}, "InvalidInput"},
		{"private without a vpc", func(r *route53v1.CreateHostedZoneRequest) {
			r.HostedZoneConfig = &route53v1.HostedZoneConfig{PrivateZone: new(true)}
		}, "InvalidInput"},
		{"no such vpc", func(r *route53v1.CreateHostedZoneRequest) {
			r.Vpc = &route53v1.VPC{VpcId: new("vpc-0"), VpcRegion: new(testRegion)}
		}, "InvalidVPCId"},
		{"a vpc of another region", func(r *route53v1.CreateHostedZoneRequest) {
			r.Vpc = &route53v1.VPC{VpcId: &vpc, VpcRegion: new("eu-west-1")}
		}, "InvalidVPCId"},
	} {
		req := &route53v1.CreateHostedZoneRequest{Name: new("example.com"), CallerReference: new("ref")}
		c.edit(req)
		_, err := l.CreateHostedZone(l.ctx(), req)
		t.Run(c.name, func(t *testing.T) { wantCode(t, err, c.code) })
	}
	for i := range maxZones {
		l.makeZone(fmt.Sprintf("z%d.example", i), "")
	}
	_, err := l.CreateHostedZone(l.ctx(), &route53v1.CreateHostedZoneRequest{Name: new("example.com"), CallerReference: new("ref")})
	wantCode(t, err, "TooManyHostedZones")
}

func TestChangeResourceRecordSets(t *testing.T) {
	l := newZoneLab(t)
	id := l.makeZone("example.com", "")
	l.mustChange(id,
		"CREATE www.example.com 300 A 192.0.2.1|192.0.2.2", `CREATE Example.com. 60 TXT "a"|"b c"`, "CREATE *.example.com 60 CNAME www.example.com",
		"UPSERT a.b.example.com 60 MX 10 mail.example.com", "CREATE alias.example.com ALIAS A "+id+" www.example.com", "CREATE -x.example.com 0 AAAA ::1",
		"CREATE exec.example.com ALIAS A Z1YSA3EXCYUU9Z vpce-1-x.execute-api.us-west-2.vpce.amazonaws.com.",
		"CREATE api.example.com ALIAS AAAA /hostedzone/Z2OJLYMUO9EFXC abc.execute-api.us-west-2.amazonaws.com")
	first := l.sets(id)[2:]
	if diff := cmp.Diff([]string{
		`example.com. TXT "a" "b c"`, `\052.example.com. CNAME www.example.com`, "-x.example.com. AAAA ::1", "alias.example.com. A alias www.example.com.",
		"api.example.com. AAAA alias abc.execute-api.us-west-2.amazonaws.com.", "a.b.example.com. MX 10 mail.example.com",
		"exec.example.com. A alias vpce-1-x.execute-api.us-west-2.vpce.amazonaws.com.", "www.example.com. A 192.0.2.1 192.0.2.2",
	}, first); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	zone := l.view().Get(Caller{Account: testAccount}.global(statev1.Type_TYPE_HOSTED_ZONE, id)).GetHostedZone()
	if zone.GetRrsets() != 10 {
		t.Errorf("%d sets are counted", zone.GetRrsets())
	}
	// What a set is replaced by; one that stays as it is is sent again.
	l.mustChange(id, "UPSERT www.example.com 300 A 192.0.2.9", "UPSERT -x.example.com 0 AAAA ::1")
	records := l.newest().GetRecords()
	slices.Reverse(records)
	if len(records) != 2 || records[1].GetAfter().GetValues()[0] != "::1" || records[0].GetName() != "www.example.com." || !slices.Equal(records[0].GetAfter().GetAddresses(), []string{"192.0.2.9"}) || len(records[0].GetBefore().GetAddresses()) != 2 {
		t.Errorf("records %v", records)
	}
	// Another type in one batch.
	l.mustChange(id, "DELETE www.example.com 300 A 192.0.2.9", "DELETE alias.example.com ALIAS A "+id+" www.example.com", "CREATE www.example.com 60 CNAME a.b.example.com")
	if got := l.sets(id); !slices.Contains(got, "www.example.com. CNAME a.b.example.com") || slices.Contains(got, "www.example.com. A 192.0.2.9") {
		t.Errorf("sets %v", got)
	}
	// Values in another order are the same.
	l.mustChange(id, `DELETE example.com 60 TXT "b c"|"a"`)
}

func TestChangeResourceRecordSetsRefuses(t *testing.T) {
	l := newZoneLab(t)
	id := l.makeZone("example.com", "")
	l.mustChange(id, "CREATE www.example.com 300 A 192.0.2.1", "CREATE c.example.com 60 CNAME www.example.com")
	before := l.sets(id)
	index := l.view().Index()
	many := make([]string, 501)
	for i := range many {
		many[i] = fmt.Sprintf("UPSERT n%d.example.com 60 A 192.0.2.1", i)
	}
	long := make([]string, 9)
	for i := range long {
		long[i] = fmt.Sprintf("CREATE n%d.example.com 60 TXT ", i) + strings.TrimSpace(strings.Repeat(`"`+strings.Repeat("x", 255)+`" `, 15))
	}
	for _, c := range []struct {
		name  string
		lines []string
		says  string
	}{
		{"there already", []string{"CREATE www.example.com 300 A 192.0.2.1"}, "[Tried to create resource record set [name='www.example.com.', type='A'] but it already exists]"},
		{"not there", []string{"DELETE x.example.com 300 A 192.0.2.1"}, "[Tried to delete resource record set [name='x.example.com.', type='A'] but it was not found]"},
		{"other values", []string{"DELETE www.example.com 300 A 192.0.2.2"}, "[Tried to delete resource record set [name='www.example.com.', type='A'] but the values provided do not match the current values]"},
		{"another TTL", []string{"DELETE www.example.com 60 A 192.0.2.1"}, "do not match the current values"},
		{"two mistakes", []string{"DELETE x.example.com 1 A 1", `CREATE \052.other.com 1 A 192.0.2.1`}, `but it was not found, RRSet with DNS name \052.other.com. is not permitted in zone example.com.]`},
		{"a name that ends alike", []string{"CREATE anexample.com 1 A 192.0.2.1"}, "is not permitted in zone example.com."},
		{"a CNAME beside others", []string{"CREATE www.example.com 60 CNAME x.example.com"}, "[RRSet of type CNAME with DNS name www.example.com. is not permitted as it conflicts with other records with the same DNS name in zone example.com.]"},
		{"others beside a CNAME", []string{"CREATE c.example.com 60 A 192.0.2.1"}, "RRSet of type A with DNS name c.example.com. is not permitted as it conflicts"},
		{"a CNAME at the apex", []string{"CREATE example.com 60 CNAME x.example.com"}, "[RRSet of type CNAME with DNS name example.com. is not permitted at apex in zone example.com.]"},
		{"an SOA elsewhere", []string{"CREATE x.example.com 60 SOA a. b. 1 1 1 1 1"}, "RRSet of type SOA with DNS name x.example.com. is not permitted"},
		{"no SOA", []string{"DELETE example.com 900 SOA ns1.dns.postern.internal. hostmaster.dns.postern.internal. 1 7200 900 1209600 86400"}, "[A HostedZone must contain exactly one SOA record.]"},
		{"no NS", []string{"DELETE example.com 172800 NS ns1.dns.postern.internal.|ns2.dns.postern.internal.|ns3.dns.postern.internal.|ns4.dns.postern.internal."}, "at least one NS record"},
		{"no address", []string{"CREATE x.example.com 60 A example.com"}, "Invalid Resource Record: 'FATAL problem: value \"example.com\": not a valid IPv4 address'"},
		{"a text without marks", []string{"CREATE x.example.com 60 TXT plain"}, "quotation marks"},
		{"a name", []string{"CREATE x_%.example.com 60 A 192.0.2.1"}, "illegal character"},
		{"twice", []string{"UPSERT x.example.com 60 A 192.0.2.1", "UPSERT X.example.com 60 A 192.0.2.2"}, "[The request contains an invalid set of changes for a resource record set 'A x.example.com.']"},
		{"too many records", many, "[Number of records limit of 1000 exceeded.]"},
		{"too many characters", long, "[Number of characters limit of 32000 exceeded.]"},
		{"an alias to nothing", []string{"CREATE x.example.com ALIAS A " + id + " nothing.example.com"}, "type A in zone " + id + ", but that target was not found]"},
		{"an alias to another type", []string{"CREATE x.example.com ALIAS AAAA " + id + " www.example.com"}, "but that target was not found"},
		{"an alias out of its zone", []string{"CREATE x.example.com ALIAS A " + id + " www.other.com"}, "but the alias target name does not lie within the target zone"},
		{"an alias to no zone", []string{"CREATE x.example.com ALIAS A ZNONE www.example.com"}, "but the alias target name does not lie within the target zone"},
		{"an alias to another region's zone", []string{"CREATE x.example.com ALIAS A Z7HUB22UULQXV vpce-1-x.execute-api.us-west-2.vpce.amazonaws.com."}, "does not lie within"},
		{"an alias of a type that endpoints lack", []string{"CREATE x.example.com ALIAS TXT Z1YSA3EXCYUU9Z vpce-1-x.execute-api.us-west-2.vpce.amazonaws.com."}, "has addresses only"},
		{"one good, one bad", []string{"CREATE good.example.com 60 A 192.0.2.1", "CREATE www.example.com 60 A 192.0.2.1"}, "already exists"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := l.change(id, c.lines...)
			wantCode(t, err, "InvalidChangeBatch")
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
	for _, c := range []struct {
		name string
		edit func(*route53v1.Change)
		code string
	}{
		{"an action", func(c *route53v1.Change) { c.Action = new("REPLACE") }, "InvalidInput"},
		{"a type", func(c *route53v1.Change) { c.ResourceRecordSet.Type = new("HINFO") }, "InvalidInput"},
		{"no TTL", func(c *route53v1.Change) { c.ResourceRecordSet.Ttl = nil }, "InvalidInput"},
		{"no values", func(c *route53v1.Change) { c.ResourceRecordSet.ResourceRecords = nil }, "InvalidInput"},
		{"a TTL", func(c *route53v1.Change) { c.ResourceRecordSet.Ttl = new(int64(-1)) }, "InvalidInput"},
		{"alias and values", func(c *route53v1.Change) { c.ResourceRecordSet.AliasTarget = &route53v1.AliasTarget{} }, "InvalidInput"},
		{"half an alias", func(c *route53v1.Change) {
			c.ResourceRecordSet = &route53v1.ResourceRecordSet{Name: new("x.example.com"), Type: new("A"), AliasTarget: &route53v1.AliasTarget{HostedZoneId: &id}}
		}, "InvalidInput"},
		{"no set", func(c *route53v1.Change) { c.ResourceRecordSet = nil }, "InvalidInput"},
		{"weights", func(c *route53v1.Change) { c.ResourceRecordSet.Weight = new(int64(1)) }, ""},
	} {
		change := set("CREATE x.example.com 60 A 192.0.2.1")
		c.edit(change)
		_, err := l.ChangeResourceRecordSets(l.ctx(), &route53v1.ChangeResourceRecordSetsRequest{Id: id, ChangeBatch: &route53v1.ChangeBatch{Changes: []*route53v1.Change{change}}})
		t.Run(c.name, func(t *testing.T) { wantCode(t, err, c.code) })
	}
	_, err := l.change(id)
	wantCode(t, err, "InvalidInput")
	_, err = l.change("ZNONE", "CREATE x.example.com 60 A 192.0.2.1")
	wantCode(t, err, "NoSuchHostedZone")
	if diff := cmp.Diff(before, l.sets(id)); diff != "" || l.view().Index() != index {
		t.Errorf("what was refused left something (-want +got)\n%s", diff)
	}
}

func TestListsOfRoute53(t *testing.T) {
	l := newZoneLab(t)
	var ids []string
	for _, name := range []string{"b.example", "a.example", "z.a.example", "example"} {
		ids = append(ids, l.makeZone(name, ""))
	}
	private := l.makeZone("a.example", l.makeVPC())
	var byID, byName []string
	for marker := (*string)(nil); ; {
		answer, err := l.ListHostedZones(l.ctx(), &route53v1.ListHostedZonesRequest{Marker: marker, Maxitems: new("2")})
		for _, z := range must(t, answer, err).GetHostedZones() {
			byID = append(byID, bareID(z.GetId(), "hostedzone"))
		}
		if marker = answer.NextMarker; !answer.GetIsTruncated() {
			break
		}
	}
	if want := slices.Sorted(slices.Values(append(ids, private))); !slices.Equal(byID, want) {
		t.Errorf("by id: %v, want %v", byID, want)
	}
	req := &route53v1.ListHostedZonesByNameRequest{Maxitems: new("1")}
	for {
		answer, err := l.ListHostedZonesByName(l.ctx(), req)
		byName = append(byName, must(t, answer, err).GetHostedZones()[0].GetName())
		if !answer.GetIsTruncated() {
			break
		}
		req.Dnsname, req.Hostedzoneid = answer.NextDnsName, answer.NextHostedZoneId
	}
	if diff := cmp.Diff([]string{"example.", "a.example.", "a.example.", "z.a.example.", "b.example."}, byName); diff != "" {
		t.Errorf("by name (-want +got)\n%s", diff)
	}
	only, err := l.ListHostedZones(l.ctx(), &route53v1.ListHostedZonesRequest{Hostedzonetype: new("PrivateHostedZone")})
	if all := must(t, only, err).GetHostedZones(); len(all) != 1 || all[0].GetId() != "/hostedzone/"+private {
		t.Errorf("private: %v", all)
	}
	count, err := l.GetHostedZoneCount(l.ctx(), &route53v1.GetHostedZoneCountRequest{})
	if must(t, count, err).GetHostedZoneCount() != 5 {
		t.Errorf("count %v", count)
	}
	l.mustChange(ids[3], "CREATE c.example 1 A 192.0.2.1", "CREATE a.c.example 1 A 192.0.2.1", `CREATE c.example 1 TXT "x"`)
	var sets []string
	page := &route53v1.ListResourceRecordSetsRequest{Id: ids[3], Maxitems: new("2")}
	for {
		answer, err := l.ListResourceRecordSets(l.ctx(), page)
		for _, s := range must(t, answer, err).GetResourceRecordSets() {
			sets = append(sets, s.GetName()+" "+s.GetType())
		}
		if !answer.GetIsTruncated() {
			break
		}
		page.Name, page.Type = answer.NextRecordName, answer.NextRecordType
	}
	if diff := cmp.Diff([]string{"example. NS", "example. SOA", "c.example. A", "c.example. TXT", "a.c.example. A"}, sets); diff != "" {
		t.Errorf("sets (-want +got)\n%s", diff)
	}
	for name, ask := range map[string]func() error{
		"no number": func() error {
			_, err := l.ListHostedZones(l.ctx(), &route53v1.ListHostedZonesRequest{Maxitems: new("0")})
			return err
		},
		"a type alone": func() error {
			_, err := l.ListResourceRecordSets(l.ctx(), &route53v1.ListResourceRecordSetsRequest{Id: ids[0], Type: new("A")})
			return err
		},
		"an id alone": func() error {
			_, err := l.ListHostedZonesByName(l.ctx(), &route53v1.ListHostedZonesByNameRequest{Hostedzoneid: &ids[0]})
			return err
		},
		"no vpc": func() error {
			_, err := l.ListHostedZonesByVPC(l.ctx(), &route53v1.ListHostedZonesByVPCRequest{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, ask(), "InvalidInput") })
	}
}

func TestAssociateVPC(t *testing.T) {
	l := newZoneLab(t)
	l.profile("aws")
	first, second := l.makeVPC(), l.makeVPC()
	id, public := l.makeZone("corp.example", first), l.makeZone("corp.example", "")
	vpcOf := func(id string) *route53v1.VPC { return &route53v1.VPC{VpcId: &id, VpcRegion: new(testRegion)} }
	associate := func(zone, vpc string) (*route53v1.ChangeInfo, error) {
		answer, err := l.AssociateVPCWithHostedZone(l.ctx(), &route53v1.AssociateVPCWithHostedZoneRequest{Id: zone, Vpc: vpcOf(vpc), Comment: new("why")})
		return answer.GetChangeInfo(), err
	}
	disassociate := func(zone, vpc string) error {
		_, err := l.DisassociateVPCFromHostedZone(l.ctx(), &route53v1.DisassociateVPCFromHostedZoneRequest{Id: zone, Vpc: vpcOf(vpc)})
		return err
	}
	_, err := associate(public, first)
	wantCode(t, err, "PublicZoneVPCAssociation")
	_, err = associate(id, first)
	wantCode(t, err, "ConflictingDomainExists")
	_, err = associate(id, "vpc-0")
	wantCode(t, err, "InvalidVPCId")
	wantCode(t, disassociate(id, first), "LastVPCAssociation")
	wantCode(t, disassociate(id, second), "VPCAssociationNotFound")
	info, err := associate(id, second)
	if must(t, info, err).GetStatus() != "PENDING" || info.GetComment() != "why" {
		t.Errorf("info %v", info)
	}
	// The resolvers of the VPC see the zone when the change is INSYNC.
	c := l.newest()
	zone := l.view().Get(Caller{Account: testAccount}.global(statev1.Type_TYPE_HOSTED_ZONE, id)).GetHostedZone()
	if from := zone.GetVpcs()[1].GetFrom(); from != associationStart(c) || from <= c.GetAttempts()[0] || len(c.GetRecords()) != 0 {
		t.Errorf("from %d, change %v", from, c)
	}
	other := l.makeVPC()
	rival := l.makeZone("corp.example", other)
	_, err = associate(rival, second)
	wantCode(t, err, "ConflictingDomainExists", fmt.Sprintf("The VPC %s in region %s has already been associated with the hosted zone %s with the same domain name.", second, testRegion, id))
	nested := l.makeZone("inner.corp.example", second)
	byVPC, err := l.ListHostedZonesByVPC(l.ctx(), &route53v1.ListHostedZonesByVPCRequest{Vpcid: &second, Vpcregion: new(testRegion)})
	var found []string
	for _, z := range must(t, byVPC, err).GetHostedZoneSummaries() {
		found = append(found, z.GetHostedZoneId())
	}
	if want := slices.Sorted(slices.Values([]string{id, nested})); !slices.Equal(found, want) {
		t.Errorf("zones of the vpc: %v, want %v", found, want)
	}
	got, err := l.GetHostedZone(l.ctx(), &route53v1.GetHostedZoneRequest{Id: id})
	if z := must(t, got, err); len(z.GetVpcs().GetValues()) != 2 || z.DelegationSet != nil || !z.GetHostedZone().GetConfig().GetPrivateZone() {
		t.Errorf("got %v", z)
	}
	if err := disassociate(id, second); err != nil {
		t.Fatal(err)
	}
	info, err = associate(rival, second)
	must(t, info, err)
}

// What was lost is sent again by an UPSERT, and by associating again.
func TestLostChangesOfZones(t *testing.T) {
	l := newZoneLab(t)
	vpc := l.makeVPC()
	fault := Caller{}.global(statev1.Type_TYPE_DNS_FAULT, "f").Proto()
	l.commit(&statev1.Record{Key: fault, Value: &statev1.Record_DnsFault{DnsFault: &statev1.DnsFault{Id: "f", Kind: "dns-lost", Zone: "corp.example."}}})
	id := l.makeZone("corp.example", vpc)
	if _, ok := propagation.Insync(l.newest()); ok {
		t.Fatal("the change is not lost")
	}
	if _, err := l.cluster.Propose(t.Context(), &statev1.Txn{Deletes: []*statev1.Key{fault}}); err != nil {
		t.Fatal(err)
	}
	l.mustChange(id, "UPSERT corp.example 900 SOA ns1.dns.postern.internal. hostmaster.dns.postern.internal. 1 7200 900 1209600 86400")
	if r := l.newest().GetRecords(); len(r) != 1 || r[0].GetType() != "SOA" || len(r[0].GetAfter().GetValues()) != 1 {
		t.Errorf("records %v", r)
	}
	associate := func() error {
		_, err := l.AssociateVPCWithHostedZone(l.ctx(), &route53v1.AssociateVPCWithHostedZoneRequest{Id: id, Vpc: &route53v1.VPC{VpcId: &vpc, VpcRegion: new(testRegion)}})
		return err
	}
	if err := associate(); err != nil {
		t.Fatal(err)
	}
	zone := l.view().Get(Caller{Account: testAccount}.global(statev1.Type_TYPE_HOSTED_ZONE, id)).GetHostedZone()
	if at, _ := propagation.Insync(l.newest()); len(zone.GetVpcs()) != 1 || zone.GetVpcs()[0].GetFrom() != at.UnixNano() {
		t.Errorf("zone %v", zone)
	}
	wantCode(t, associate(), "ConflictingDomainExists")
}

// A private zone and an endpoint's private names are rivals for one name.
func TestPrivateZoneAgainstEndpoint(t *testing.T) {
	l := newZoneLab(t)
	vpc := l.makeVPC()
	if _, err := l.ModifyVpcAttribute(l.ctx(), &ec2v1.ModifyVpcAttributeRequest{VpcId: &vpc, EnableDnsHostnames: &ec2v1.AttributeBooleanValue{Value: new(true)}}); err != nil {
		t.Fatal(err)
	}
	endpoint := func() error {
		_, err := l.CreateVpcEndpoint(l.ctx(), &ec2v1.CreateVpcEndpointRequest{
			VpcEndpointType: new("Interface"), VpcId: &vpc, ServiceName: new("com.amazonaws.us-west-2.execute-api"), PrivateDnsEnabled: new(true),
		})
		return err
	}
	id := l.makeZone("execute-api.us-west-2.amazonaws.com", vpc)
	wantCode(t, endpoint(), "InvalidParameter", "private-dns-enabled cannot be set because there is already a conflicting DNS domain for execute-api.us-west-2.amazonaws.com in the VPC "+vpc)
	if _, err := l.DeleteHostedZone(l.ctx(), &route53v1.DeleteHostedZoneRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	if err := endpoint(); err != nil {
		t.Fatal(err)
	}
	_, err := l.CreateHostedZone(l.ctx(), &route53v1.CreateHostedZoneRequest{
		Name: new("execute-api.us-west-2.amazonaws.com"), CallerReference: new("again"), Vpc: &route53v1.VPC{VpcId: &vpc, VpcRegion: new(testRegion)},
	})
	wantCode(t, err, "ConflictingDomainExists")
	l.makeZone("us-west-2.amazonaws.com", vpc)
}

func TestTestDNSAnswer(t *testing.T) {
	l := newZoneLab(t)
	l.profile("aws")
	id := l.makeZone("example.com", "")
	l.now = l.now.Add(time.Hour)
	ask := func(name, rtype, resolver string) string {
		t.Helper()
		req := &route53v1.TestDNSAnswerRequest{Hostedzoneid: &id, Recordname: &name, Recordtype: &rtype}
		if resolver != "" {
			req.Resolverip = &resolver
		}
		answer, err := l.TestDNSAnswer(l.ctx(), req)
		a := must(t, answer, err)
		return strings.TrimSpace(a.GetResponseCode() + " " + strings.Join(a.GetRecordData(), ","))
	}
	// An endpoint's name, committed past the rules, for an alias.
	l.commit(changeRecord(&statev1.DnsChange{
		Id: "C1", Profile: "instant", Region: testRegion, Attempts: []int64{l.now.UnixNano()},
		Records: []*statev1.RecordChange{{Name: "vpce-1-x.execute-api.us-west-2.vpce.amazonaws.com.", Type: "A", After: &statev1.RRset{Ttl: 60, Addresses: []string{"10.0.0.7"}}}},
	}))
	l.mustChange(id, "CREATE www.example.com 300 A 192.0.2.1|192.0.2.2", `CREATE t.example.com 1 TXT "a" "b"`, "CREATE c.example.com 1 CNAME www.example.com",
		"CREATE e.example.com ALIAS A Z1YSA3EXCYUU9Z vpce-1-x.execute-api.us-west-2.vpce.amazonaws.com", "CREATE sub.example.com 1 NS ns.elsewhere.test")
	if got := ask("www.example.com", "A", ""); got != "NXDOMAIN" {
		t.Errorf("at once: %s", got)
	}
	// Resolvers come to different authorities, and these to the change.
	seen := map[string]bool{}
	for range 300 {
		l.now = l.now.Add(time.Second)
		var now []string
		for i := range 8 {
			now = append(now, ask("www.example.com", "A", fmt.Sprintf("192.0.2.%d", i)))
		}
		slices.Sort(now)
		seen[strings.Join(slices.Compact(now), " and ")] = true
	}
	const shown = "NOERROR 192.0.2.1,192.0.2.2"
	if !seen["NXDOMAIN"] || !seen[shown] || !seen[shown+" and NXDOMAIN"] && !seen["NOERROR 192.0.2.1,192.0.2.2 and NXDOMAIN"] && !seen["NXDOMAIN and "+shown] {
		t.Errorf("seen %v", seen)
	}
	for _, c := range []struct{ name, rtype, want string }{
		{"WWW.example.com.", "AAAA", "NOERROR"}, {"t.example.com", "TXT", `NOERROR "a" "b"`}, {"c.example.com", "A", "NOERROR www.example.com."},
		{"e.example.com", "A", "NOERROR 10.0.0.7"}, {"x.sub.example.com", "A", "NOERROR"}, {"nothing.example.com", "A", "NXDOMAIN"},
	} {
		if got := ask(c.name, c.rtype, ""); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.name, c.rtype, got, c.want)
		}
	}
	// Faults of how authorities answer.
	l.commit(&statev1.Record{Key: Caller{}.global(statev1.Type_TYPE_DNS_FAULT, "f").Proto(), Value: &statev1.Record_DnsFault{DnsFault: &statev1.DnsFault{Id: "f", Kind: "dns-down", Place: "ns1"}}})
	answer, err := l.TestDNSAnswer(l.ctx(), &route53v1.TestDNSAnswerRequest{Hostedzoneid: &id, Recordname: new("www.example.com"), Recordtype: new("A")})
	if a := must(t, answer, err); a.GetNameserver() != "ns2.dns.postern.internal" || a.GetResponseCode() != "NOERROR" {
		t.Errorf("with ns1 down: %v", a)
	}
	l.commit(&statev1.Record{Key: Caller{}.global(statev1.Type_TYPE_DNS_FAULT, "f").Proto(), Value: &statev1.Record_DnsFault{DnsFault: &statev1.DnsFault{Id: "f", Kind: "dns-servfail"}}})
	if got := ask("www.example.com", "A", ""); got != "SERVFAIL" {
		t.Errorf("while all fail: %s", got)
	}
	private := l.makeZone("corp.example", l.makeVPC())
	for name, req := range map[string]*route53v1.TestDNSAnswerRequest{
		"a private zone":  {Hostedzoneid: &private, Recordname: new("corp.example"), Recordtype: new("A")},
		"another name":    {Hostedzoneid: &id, Recordname: new("example.org"), Recordtype: new("A")},
		"a type":          {Hostedzoneid: &id, Recordname: new("example.com"), Recordtype: new("ANY")},
		"a resolver":      {Hostedzoneid: &id, Recordname: new("example.com"), Recordtype: new("A"), Resolverip: new("resolver")},
		"no name":         {Hostedzoneid: &id, Recordtype: new("A")},
		"a client subnet": {Hostedzoneid: &id, Recordname: new("example.com"), Recordtype: new("A"), Edns0Clientsubnetip: new("x")},
	} {
		_, err := l.TestDNSAnswer(l.ctx(), req)
		t.Run(name, func(t *testing.T) { wantCode(t, err, "InvalidInput") })
	}
}

// Writers of one zone, and makers of one name, don't overwrite each other,
// whichever node they come by.
func TestZoneWritersCollide(t *testing.T) {
	l := newZoneLab(t)
	id := l.makeZone("example.com", "")
	elsewhere := &zoneLab{ec2Lab: l.ec2Lab, Route53Server: NewRoute53(Config{Cluster: l.cluster, Now: l.cfg.Now})}
	once := func(rival func()) {
		l.cluster.before = func() {
			l.cluster.before = nil
			rival()
		}
	}
	once(func() { elsewhere.mustChange(id, "CREATE a.example.com 60 A 192.0.2.1") })
	_, err := l.change(id, "CREATE a.example.com 60 CNAME b.example.com")
	wantCode(t, err, "InvalidChangeBatch")
	once(func() {
		answer, err := elsewhere.CreateHostedZone(as(context.Background(), "222222222222", testRegion), &route53v1.CreateHostedZoneRequest{Name: new("rival.com"), CallerReference: new("r")})
		must(t, answer, err)
	})
	_, err = l.CreateHostedZone(l.ctx(), &route53v1.CreateHostedZoneRequest{Name: new("rival.com"), CallerReference: new("r")})
	wantCode(t, err, "DelegationSetNotAvailable")
}
