package gateway

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	route53v1 "github.com/posternhq/postern/proto/postern/route53/v1"
)

const route53NS = `xmlns="https://route53.amazonaws.com/doc/2013-04-01/"`

func TestXMLRequests(t *testing.T) {
	tests := []struct {
		name, method, target, body string
		status                     int
		rpc                        string
		want                       proto.Message
	}{
		{
			"zone", "POST", "/2013-04-01/hostedzone", `<?xml version="1.0" encoding="UTF-8"?>
			<CreateHostedZoneRequest ` + route53NS + `><Name>example.com</Name><VPC><VPCRegion>us-west-2</VPCRegion><VPCId>vpc-1</VPCId></VPC>
			<CallerReference> a &amp; b </CallerReference><HostedZoneConfig><Comment/><PrivateZone>true</PrivateZone></HostedZoneConfig></CreateHostedZoneRequest>`,
			201, "CreateHostedZone",
			&route53v1.CreateHostedZoneRequest{
				Name: str("example.com"), Vpc: &route53v1.VPC{VpcRegion: str("us-west-2"), VpcId: str("vpc-1")}, CallerReference: str(" a & b "),
				HostedZoneConfig: &route53v1.HostedZoneConfig{Comment: str(""), PrivateZone: proto.Bool(true)},
			},
		},
		{
			"changes, with the last slash", "POST", "/2013-04-01/hostedzone/Z1/rrset/", `<ChangeResourceRecordSetsRequest><ChangeBatch><Changes>
			<Change><Action>UPSERT</Action><ResourceRecordSet><Name>a.example.com</Name><Type>TXT</Type><TTL>300</TTL><ResourceRecords>
			<ResourceRecord><Value>"a"</Value></ResourceRecord><ResourceRecord><Value><![CDATA["<b>"]]></Value></ResourceRecord></ResourceRecords></ResourceRecordSet></Change>
			<Change><Action>DELETE</Action><ResourceRecordSet><Name>b.example.com</Name><Type>A</Type><AliasTarget><HostedZoneId>Z1</HostedZoneId><DNSName>x.</DNSName>
			<EvaluateTargetHealth>false</EvaluateTargetHealth></AliasTarget></ResourceRecordSet></Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>`,
			200, "ChangeResourceRecordSets",
			&route53v1.ChangeResourceRecordSetsRequest{Id: "Z1", ChangeBatch: &route53v1.ChangeBatch{Changes: []*route53v1.Change{
				{Action: str("UPSERT"), ResourceRecordSet: &route53v1.ResourceRecordSet{
					Name: str("a.example.com"), Type: str("TXT"), Ttl: proto.Int64(300),
					ResourceRecords: &route53v1.ResourceRecords{Values: []*route53v1.ResourceRecord{{Value: str(`"a"`)}, {Value: str(`"<b>"`)}}},
				}},
				{Action: str("DELETE"), ResourceRecordSet: &route53v1.ResourceRecordSet{
					Name: str("b.example.com"), Type: str("A"),
					AliasTarget: &route53v1.AliasTarget{HostedZoneId: str("Z1"), DnsName: str("x."), EvaluateTargetHealth: proto.Bool(false)},
				}},
			}}},
		},
		{
			"the id is the path's", "POST", "/2013-04-01/hostedzone/Z1/associatevpc", `<AssociateVPCWithHostedZoneRequest><Id>Z2</Id><Comment>x</Comment></AssociateVPCWithHostedZoneRequest>`,
			200, "AssociateVPCWithHostedZone", &route53v1.AssociateVPCWithHostedZoneRequest{Id: "Z1", Comment: str("x")},
		},
		{
			"query", "GET", "/2013-04-01/hostedzone/Z1/rrset?name=a.example.com&type=A&maxitems=5", "", 200, "ListResourceRecordSets",
			&route53v1.ListResourceRecordSetsRequest{Id: "Z1", Name: str("a.example.com"), Type: str("A"), Maxitems: str("5")},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := &services{}
			got := send(t, tt.method, front(t, conn)+tt.target, tt.body)
			if got.status != tt.status || !strings.HasSuffix(conn.method, "/"+tt.rpc) {
				t.Fatalf("got %d %s, called %q", got.status, got.body, conn.method)
			}
			if diff := cmp.Diff(tt.want, conn.request, protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestXMLWrongBodies(t *testing.T) {
	const open, end = "<CreateHostedZoneRequest>", "</CreateHostedZoneRequest>"
	conn := &services{}
	url := front(t, conn)
	for _, c := range []struct{ name, body, code, says string }{
		{"nothing", "", "MalformedXML", "no element"},
		{"JSON", `{"Name":"x"}`, "MalformedXML", "text outside"},
		{"cut off", open + "<Name>x</Name>", "MalformedXML", "XML"},
		{"two roots", open + end + open + end, "MalformedXML", "more than one root"},
		{"text behind", open + end + "x", "MalformedXML", "text outside"},
		{"a document type", `<!DOCTYPE x [<!ENTITY a "b">]>` + open + end, "MalformedXML", "document types"},
		{"an entity", open + "<Name>&a;</Name>" + end, "MalformedXML", "entity"},
		{"another root", "<GetChangeRequest/>", "InvalidInput", "Cannot find the declaration of element 'GetChangeRequest'"},
		{"another namespace", `<CreateHostedZoneRequest xmlns="urn:x"/>`, "InvalidInput", "namespace"},
		{"an unknown member", open + "<Colour>red</Colour>" + end, "InvalidInput", "starting with element 'Colour'"},
		{"twice", open + "<Name>a</Name><Name>b</Name>" + end, "InvalidInput", "more than once"},
		{"text among elements", open + "x<Name>a</Name>" + end, "InvalidInput", "cannot have text"},
		{"elements in a text", open + "<Name><b>a</b></Name>" + end, "InvalidInput", "cannot have element"},
		{"a boolean", open + "<HostedZoneConfig><PrivateZone>yes</PrivateZone></HostedZoneConfig>" + end, "InvalidInput", "'yes'"},
		{"a header's member", open + "<Location>x</Location>" + end, "InvalidInput", "'Location'"},
		{"deep", open + strings.Repeat("<VPC>", 20) + strings.Repeat("</VPC>", 20) + end, "InvalidInput", "'VPC' in 'VPC'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := send(t, "POST", url+"/2013-04-01/hostedzone", c.body)
			if got.status != 400 || !strings.Contains(got.body, "<Code>"+c.code+"</Code>") || !strings.Contains(strings.ReplaceAll(got.body, "&#39;", "'"), c.says) {
				t.Errorf("got %d %s", got.status, got.body)
			}
			if conn.method != "" {
				t.Errorf("called %s", conn.method)
			}
		})
	}
	changes := func(n int) string {
		return "<ChangeResourceRecordSetsRequest><ChangeBatch><Changes>" + strings.Repeat("<Change/>", n) + "</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"
	}
	if got := send(t, "POST", url+"/2013-04-01/hostedzone/Z1/rrset", changes(maxElements)); got.status != 413 {
		t.Errorf("many elements: %d %s", got.status, got.body)
	}
	if got := send(t, "POST", url+"/2013-04-01/hostedzone/Z1/rrset", changes(maxElements-3)); got.status != 200 {
		t.Errorf("not too many elements: %d %s", got.status, got.body)
	}
}

func TestXMLAnswers(t *testing.T) {
	conn := &services{answer: &route53v1.CreateHostedZoneResponse{
		HostedZone:    &route53v1.HostedZone{Id: str("/hostedzone/Z1"), Name: str("example.com."), Config: &route53v1.HostedZoneConfig{PrivateZone: proto.Bool(false)}, ResourceRecordSetCount: proto.Int64(2)},
		DelegationSet: &route53v1.DelegationSet{NameServers: []string{"ns1.", "ns2."}},
		Location:      str("https://route53.amazonaws.com/2013-04-01/hostedzone/Z1"),
	}}
	got := send(t, "POST", front(t, conn)+"/2013-04-01/hostedzone", "<CreateHostedZoneRequest/>")
	want := xmlHeader + "<CreateHostedZoneResponse " + route53NS + "><HostedZone><Id>/hostedzone/Z1</Id><Name>example.com.</Name><Config><PrivateZone>false</PrivateZone></Config>" +
		"<ResourceRecordSetCount>2</ResourceRecordSetCount></HostedZone><DelegationSet><NameServers><NameServer>ns1.</NameServer><NameServer>ns2.</NameServer></NameServers></DelegationSet></CreateHostedZoneResponse>"
	if got.status != 201 || got.body != want {
		t.Errorf("got %d %s\nwant %s", got.status, got.body, want)
	}
	if l := got.header.Get("Location"); l != "https://route53.amazonaws.com/2013-04-01/hostedzone/Z1" {
		t.Errorf("location %q", l)
	}
	conn = &services{answer: &route53v1.GetHostedZoneResponse{Vpcs: &route53v1.VPCs{Values: []*route53v1.VPC{{VpcId: str("vpc-1")}, {VpcId: str("vpc-2")}}}}}
	got = send(t, "GET", front(t, conn)+"/2013-04-01/hostedzone/Z1", "")
	if want := "<VPCs><VPC><VPCId>vpc-1</VPCId></VPC><VPC><VPCId>vpc-2</VPCId></VPC></VPCs>"; !strings.Contains(got.body, want) {
		t.Errorf("got %s", got.body)
	}
}

// FuzzXML: what is read can be sent on.
func FuzzXML(f *testing.F) {
	f.Add([]byte(`<CreateHostedZoneRequest ` + route53NS + `><Name>a</Name><HostedZoneConfig><PrivateZone>1</PrivateZone></HostedZoneConfig></CreateHostedZoneRequest>`))
	f.Add([]byte(`<ChangeResourceRecordSetsRequest><ChangeBatch><Changes><Change><ResourceRecordSet><TTL> 5 </TTL><ResourceRecords><ResourceRecord><Value>&#x22;</Value></ResourceRecord></ResourceRecords></ResourceRecordSet></Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>`))
	f.Add([]byte(`<?xml version="1.1"?><!-- --><a/>`))
	const namespace = "https://route53.amazonaws.com/doc/2013-04-01/"
	messages := []proto.Message{&route53v1.CreateHostedZoneRequest{}, &route53v1.ChangeResourceRecordSetsRequest{}, &route53v1.AssociateVPCWithHostedZoneRequest{}}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, m := range messages {
			msg := m.ProtoReflect().New()
			if readXML(data, namespace, msg) != nil {
				continue
			}
			if _, err := proto.Marshal(msg.Interface()); err != nil {
				t.Fatalf("%T: %v", m, err)
			}
			// Written as an answer is, it reads as the same again.
			op := &operation{root: string(msg.Descriptor().Name())}
			s := &restService{protocol: &awsv1.Protocol{Kind: awsv1.Protocol_KIND_REST_XML, XmlNamespace: namespace}}
			text, err := marshaler{s}.Marshal(document{op, msg.Interface()})
			if err != nil {
				t.Fatal(err)
			}
			again := m.ProtoReflect().New()
			if err := readXML(text, namespace, again); err != nil {
				t.Fatalf("%T: %v in %q", m, err, text)
			}
			if !proto.Equal(msg.Interface(), again.Interface()) {
				t.Fatalf("%T: %q reads as another message", m, text)
			}
		}
	})
}
