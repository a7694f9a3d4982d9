package gateway

import (
	"encoding/xml"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/constraint"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
	stsv1 "github.com/posternhq/postern/proto/postern/sts/v1"
)

func TestQueryRequests(t *testing.T) {
	tests := []struct {
		name, params string
		want         proto.Message
	}{
		{
			"endpoint", "Action=CreateVpcEndpoint&VpcEndpointType=Interface&VpcId=vpc-1&ServiceName=com.amazonaws.us-west-2.execute-api&SubnetId.1=subnet-1&SubnetId.2=subnet-2" +
				"&SecurityGroupId.1=sg-1&PrivateDnsEnabled=true&DnsOptions.DnsRecordIpType=ipv4&ClientToken=t" +
				"&TagSpecification.1.ResourceType=vpc-endpoint&TagSpecification.1.Tag.1.Key=a&TagSpecification.1.Tag.1.Value=&TagSpecification.1.Tag.2.Key=b&TagSpecification.1.Tag.2.Value=2",
			&ec2v1.CreateVpcEndpointRequest{
				VpcEndpointType: str("Interface"), VpcId: str("vpc-1"), ServiceName: str("com.amazonaws.us-west-2.execute-api"),
				SubnetIds: []string{"subnet-1", "subnet-2"}, SecurityGroupIds: []string{"sg-1"}, PrivateDnsEnabled: proto.Bool(true),
				DnsOptions: &ec2v1.DnsOptions{DnsRecordIpType: str("ipv4")}, ClientToken: str("t"),
				TagSpecifications: []*ec2v1.TagSpecification{{ResourceType: str("vpc-endpoint"), Tags: []*ec2v1.Tag{{Key: str("a"), Value: str("")}, {Key: str("b"), Value: str("2")}}}},
			},
		},
		{
			"filters", "Action=DescribeVpcs&Filter.1.Name=vpc-id&Filter.1.Value.1=a&Filter.1.Value.2=b&Filter.2.Name=tag:x&Filter.2.Value.1=*&MaxResults=5&DryRun=True",
			&ec2v1.DescribeVpcsRequest{
				Filters:    []*ec2v1.Filter{{Name: str("vpc-id"), Values: []string{"a", "b"}}, {Name: str("tag:x"), Values: []string{"*"}}},
				MaxResults: proto.Int32(5), DryRun: proto.Bool(true),
			},
		},
		{"numbers order a list, with gaps and past nine", "Action=DescribeVpcs&VpcId.10=c&VpcId.2=b&VpcId.1=a", &ec2v1.DescribeVpcsRequest{VpcIds: []string{"a", "b", "c"}}},
		{"iam, told by its action", "Action=CreateUser&UserName=a&Tags.member.1.Key=k&Tags.member.1.Value=v", &iamv1.CreateUserRequest{UserName: str("a"), Tags: []*iamv1.Tag{{Key: str("k"), Value: str("v")}}}},
		{"the older spelling of a list", "Action=DescribeVpcs&VpcId.member.1=a&VpcId.member.2=b", &ec2v1.DescribeVpcsRequest{VpcIds: []string{"a", "b"}}},
		{"an empty list", "Action=DescribeVpcs&VpcId=", &ec2v1.DescribeVpcsRequest{}},
		{"attribute", "Action=ModifyVpcAttribute&VpcId=vpc-1&EnableDnsHostnames.Value=false", &ec2v1.ModifyVpcAttributeRequest{VpcId: str("vpc-1"), EnableDnsHostnames: &ec2v1.AttributeBooleanValue{Value: proto.Bool(false)}}},
		{
			"permissions", "Action=AuthorizeSecurityGroupIngress&GroupId=sg-1&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=443&IpPermissions.1.ToPort=443" +
				"&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/16&IpPermissions.1.Groups.1.GroupId=sg-2&IpPermissions.1.Ipv6Ranges.1.CidrIpv6=::/0&IpPermissions.1.PrefixListIds.1.PrefixListId=pl-1",
			&ec2v1.AuthorizeSecurityGroupIngressRequest{GroupId: str("sg-1"), IpPermissions: []*ec2v1.IpPermission{{
				IpProtocol: str("tcp"), FromPort: proto.Int32(443), ToPort: proto.Int32(443), IpRanges: []*ec2v1.IpRange{{CidrIp: str("10.0.0.0/16")}},
				UserIdGroupPairs: []*ec2v1.UserIdGroupPair{{GroupId: str("sg-2")}}, Ipv6Ranges: []*ec2v1.Ipv6Range{{CidrIpv6: str("::/0")}},
				PrefixListIds: []*ec2v1.PrefixListId{{PrefixListId: str("pl-1")}},
			}}},
		},
		{"tags", "Action=CreateTags&ResourceId.1=vpc-1&Tag.1.Key=a&Tag.1.Value=1", &ec2v1.CreateTagsRequest{ResourceIds: []string{"vpc-1"}, Tags: []*ec2v1.Tag{{Key: str("a"), Value: str("1")}}}},
		{"what belongs to the signature", "Action=DescribeVpcs&Version=2016-11-15&AWSAccessKeyId=x&Signature=x&SignatureVersion=2&Timestamp=x&X-Amz-Date=x&X-Amz-Security-Token=x", &ec2v1.DescribeVpcsRequest{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := &services{}
			base := front(t, conn)
			service := strings.Split(string(tt.want.ProtoReflect().Descriptor().FullName()), ".")[1]
			post := send(t, "POST", base, tt.params, "Content-Type", formType, "Authorization", signature("a", "us-west-2", service))
			if post.status != 200 {
				t.Fatalf("got %d %s", post.status, post.body)
			}
			if diff := cmp.Diff(tt.want, conn.request, protocmp.Transform()); diff != "" {
				t.Errorf("POST (-want +got)\n%s", diff)
			}
			conn.request = nil
			if get := send(t, "GET", base+"/?"+tt.params, ""); get.status != 200 {
				t.Fatalf("got %d %s", get.status, get.body)
			}
			if diff := cmp.Diff(tt.want, conn.request, protocmp.Transform()); diff != "" {
				t.Errorf("GET (-want +got)\n%s", diff)
			}
		})
	}
}

func TestQueryErrors(t *testing.T) {
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString("&VpcId." + strconv.Itoa(i+1) + "=v")
		}
		return b.String()
	}
	dryRun := apierr.DryRunSucceeded()
	tests := []struct {
		name, params  string
		err           *apierr.Error
		status        int
		code, message string
	}{
		{"no action", "Version=2016-11-15", nil, 400, "MissingAction", "The request must contain the parameter Action"},
		{"unknown action", "Action=MakeCoffee", nil, 400, "InvalidAction", "The action MakeCoffee is not valid for this web service."},
		{"action that Postern lacks", "Action=RunInstances", nil, 501, "NotImplemented", "Postern does not implement RunInstances"},
		{"unknown parameter", "Action=DescribeVpcs&Colour=red", nil, 400, "UnknownParameter", "The parameter Colour is not recognized"},
		{"unknown parameter inside", "Action=DescribeVpcs&Filter.1.Colour=red", nil, 400, "UnknownParameter", "The parameter Filter.1.Colour is not recognized"},
		{"list without number", "Action=DescribeVpcs&VpcId=vpc-1", nil, 400, "UnknownParameter", "The parameter VpcId is not recognized"},
		{"list with a name", "Action=DescribeVpcs&VpcId.a=vpc-1", nil, 400, "UnknownParameter", "The parameter VpcId.a is not recognized"},
		{"list from zero", "Action=DescribeVpcs&VpcId.0=vpc-1", nil, 400, "UnknownParameter", "The parameter VpcId.0 is not recognized"},
		{"list with two spellings of a number", "Action=DescribeVpcs&VpcId.01=vpc-1", nil, 400, "UnknownParameter", "The parameter VpcId.01 is not recognized"},
		{"number on a scalar", "Action=DeleteVpc&VpcId.1=vpc-1", nil, 400, "UnknownParameter", "The parameter VpcId.1 is not recognized"},
		{"value on a structure", "Action=DescribeVpcs&Filter.1=x", nil, 400, "UnknownParameter", "The parameter Filter.1 is not recognized"},
		{"the field's own name", "Action=DescribeVpcs&VpcIds.1=x", nil, 400, "UnknownParameter", "The parameter VpcIds is not recognized"},
		{"boolean", "Action=DescribeVpcs&DryRun=maybe", nil, 400, "InvalidParameterValue", "Value (maybe) for parameter dryRun is invalid. Must be true or false."},
		{"integer", "Action=DescribeVpcs&MaxResults=5x", nil, 400, "InvalidParameterValue", "Value (5x) for parameter maxResults is invalid. Must be an integer."},
		{"twice", "Action=DeleteVpc&VpcId=a&VpcId=b", nil, 400, "InvalidParameterCombination", "The parameter VpcId may only be specified once"},
		{"not UTF-8", "Action=DeleteVpc&VpcId=%ff", nil, 400, "MalformedQueryString", "The parameters of the request are not UTF-8"},
		{"long list", "Action=DescribeVpcs" + many(1001), nil, 400, "InvalidParameterValue", "Value (1001 entries) for parameter vpcId is invalid. The list is longer than 1000."},
		{"too many parameters", "Action=DescribeVpcs" + many(4001), nil, 400, "InvalidParameterCombination", "The request has more than 4000 parameters"},
		{"too deep", "Action=DescribeVpcs&a" + strings.Repeat(".a", 20) + "=1", nil, 400, "UnknownParameter", "The parameter a" + strings.Repeat(".a", 20) + " is not recognized"},
		{"of the service", "Action=DeleteVpc&VpcId=vpc-x", apierr.New(apierr.KindNotFound, "InvalidVpcID.NotFound", "The vpc ID 'vpc-x' does not exist <&>"), 400, "InvalidVpcID.NotFound", "The vpc ID 'vpc-x' does not exist <&>"},
		{"dry run", "Action=DeleteVpc&VpcId=vpc-x&DryRun=true", dryRun, 412, "DryRunOperation", dryRun.Message},
		{"throttled", "Action=DescribeVpcs", apierr.New(apierr.KindTooMany, "", "Request limit exceeded."), 503, "RequestLimitExceeded", "Request limit exceeded."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := &services{err: tt.err}
			got := send(t, "POST", front(t, conn)+"/", tt.params, "Content-Type", formType, "Authorization", signature("a", "us-west-2", "ec2"))
			var body struct {
				XMLName xml.Name `xml:"Response"`
				Errors  struct {
					Error struct{ Code, Message string }
				}
				RequestID string
			}
			if err := xml.Unmarshal([]byte(got.body), &body); err != nil {
				t.Fatalf("%v in %s", err, got.body)
			}
			if got.status != tt.status || body.Errors.Error.Code != tt.code || body.Errors.Error.Message != tt.message || body.RequestID != got.header.Get("x-amzn-RequestId") {
				t.Errorf("got %d %s", got.status, got.body)
			}
			if tt.err == nil && conn.method != "" {
				t.Errorf("called %s", conn.method)
			}
		})
	}
	t.Run("parameter in both query and body", func(t *testing.T) {
		got := send(t, "POST", front(t, &services{})+"/?VpcId=vpc-1", "Action=DeleteVpc&VpcId=vpc-2", "Content-Type", formType)
		if got.status != 400 || !strings.Contains(got.body, "InvalidParameterCombination") {
			t.Errorf("got %d %s", got.status, got.body)
		}
	})
}

func TestQueryAnswers(t *testing.T) {
	policy := "{\n  \"Statement\": [\n    {\n      \"Action\": \"*\",\n      \"Effect\": \"Allow\",\n      \"Principal\": \"*\",\n      \"Resource\": \"*\"\n    }\n  ]\n}"
	entry := func(name string) *ec2v1.DnsEntry {
		return &ec2v1.DnsEntry{DnsName: str(name), HostedZoneId: str("Z1YSA3EXCYUU9Z")}
	}
	tests := []struct {
		file, params string
		answer       proto.Message
	}{
		{"describe-vpc-endpoints", "Action=DescribeVpcEndpoints", &ec2v1.DescribeVpcEndpointsResponse{VpcEndpoints: []*ec2v1.VpcEndpoint{{
			VpcEndpointId: str("vpce-0123456789abcdef0"), VpcEndpointType: str("Interface"), VpcId: str("vpc-1"), ServiceName: str("com.amazonaws.us-west-2.execute-api"),
			State: str("available"), PolicyDocument: str(policy), SubnetIds: []string{"subnet-1", "subnet-2"}, Groups: []*ec2v1.GroupIdentifier{{GroupId: str("sg-1"), GroupName: str("default")}},
			IpAddressType: str("ipv4"), DnsOptions: &ec2v1.DnsOptions{DnsRecordIpType: str("ipv4")}, PrivateDnsEnabled: proto.Bool(true), RequesterManaged: proto.Bool(false),
			NetworkInterfaceIds: []string{"eni-1", "eni-2"}, CreationTimestamp: str("2026-01-01T00:00:00.000Z"), OwnerId: str("123456789012"), ServiceRegion: str("us-west-2"),
			DnsEntrys: []*ec2v1.DnsEntry{
				entry("vpce-0123456789abcdef0-abcd1234.execute-api.us-west-2.vpce.amazonaws.com"),
				entry("vpce-0123456789abcdef0-abcd1234-us-west-2a.execute-api.us-west-2.vpce.amazonaws.com"),
				entry("*.execute-api.us-west-2.amazonaws.com"),
			},
			Tags: []*ec2v1.Tag{{Key: str("Name"), Value: str("a <b> & \"c\"")}},
		}}}},
		{"describe-vpc-endpoints-none", "Action=DescribeVpcEndpoints", &ec2v1.DescribeVpcEndpointsResponse{}},
		{"delete-vpc-endpoints", "Action=DeleteVpcEndpoints&VpcEndpointId.1=vpce-x", &ec2v1.DeleteVpcEndpointsResponse{Unsuccessfuls: []*ec2v1.UnsuccessfulItem{{
			Error: &ec2v1.UnsuccessfulItemError{Code: str("InvalidVpcEndpoint.NotFound"), Message: str("The Vpc Endpoint Id 'vpce-x' does not exist")}, ResourceId: str("vpce-x"),
		}}}},
		{"delete-vpc", "Action=DeleteVpc&VpcId=vpc-1", &ec2v1.DeleteVpcResponse{Return: proto.Bool(true)}},
		{"describe-vpc-attribute", "Action=DescribeVpcAttribute&VpcId=vpc-1&Attribute=enableDnsSupport", &ec2v1.DescribeVpcAttributeResponse{
			VpcId: str("vpc-1"), EnableDnsSupport: &ec2v1.AttributeBooleanValue{Value: proto.Bool(false)},
		}},
		{"describe-security-groups", "Action=DescribeSecurityGroups", &ec2v1.DescribeSecurityGroupsResponse{SecurityGroups: []*ec2v1.SecurityGroup{{
			GroupId: str("sg-1"), GroupName: str("web"), IpPermissions: []*ec2v1.IpPermission{{
				IpProtocol: str("tcp"), FromPort: proto.Int32(443), ToPort: proto.Int32(443), IpRanges: []*ec2v1.IpRange{{CidrIp: str("10.0.0.0/16")}},
				UserIdGroupPairs: []*ec2v1.UserIdGroupPair{{GroupId: str("sg-2"), UserId: str("123456789012")}},
			}},
		}}, NextToken: str("next")}},
		{"get-caller-identity", "Action=GetCallerIdentity&Version=2011-06-15", &stsv1.GetCallerIdentityResponse{
			Arn: str("arn:aws:iam::123456789012:root"), UserId: str("123456789012"), Account: str("123456789012"),
		}},
		{"list-users", "Action=ListUsers&Version=2010-05-08", &iamv1.ListUsersResponse{IsTruncated: proto.Bool(false), Users: []*iamv1.User{{
			UserName: str("a"), Path: str("/"), UserId: str("AIDA1"), Arn: str("arn:aws:iam::123456789012:user/a"), Tags: []*iamv1.Tag{{Key: str("k"), Value: str("v")}},
		}, {UserName: str("b")}}}},
		{"list-users-none", "Action=ListUsers&Version=2010-05-08", &iamv1.ListUsersResponse{IsTruncated: proto.Bool(false)}},
		{"delete-user", "Action=DeleteUser&Version=2010-05-08&UserName=a", &iamv1.EmptyResponse{}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			got := send(t, "POST", front(t, &services{answer: tt.answer}), tt.params, "Content-Type", formType)
			if got.status != 200 || got.header.Get("Content-Type") != contentXML {
				t.Fatalf("got %d %s %s", got.status, got.header.Get("Content-Type"), got.body)
			}
			text := indent(t, strings.ReplaceAll(got.body, got.header.Get("x-amzn-RequestId"), "REQUEST"))
			file := filepath.Join("testdata", tt.file+".xml")
			if *rewrite {
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), text); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// indent puts each element of a document on a line of its own, and checks that
// it is one.
func indent(t *testing.T, document string) string {
	t.Helper()
	for decoder := xml.NewDecoder(strings.NewReader(document)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in %s", err, document)
		}
	}
	var b strings.Builder
	depth := 0
	for line := range strings.Lines(strings.ReplaceAll(document, "><", ">\n<")) {
		if strings.HasPrefix(line, "</") {
			depth--
		}
		b.WriteString(strings.Repeat("  ", depth) + strings.TrimSuffix(line, "\n") + "\n")
		if !strings.HasPrefix(line, "<?") && !strings.Contains(line, "</") && !strings.Contains(line, "/>") {
			depth++
		}
	}
	return b.String()
}

func TestSTSErrors(t *testing.T) {
	conn := &services{err: apierr.New(apierr.KindAccessDenied, "", "no")}
	got := send(t, "POST", front(t, conn), "Action=GetCallerIdentity", "Content-Type", formType)
	want := xmlHeader + `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error><RequestId>` + got.header.Get("x-amzn-RequestId") + `</RequestId></ErrorResponse>`
	if got.status != 403 || got.body != want {
		t.Errorf("got %d\n%s\nwant\n%s", got.status, got.body, want)
	}
}

func FuzzIAMQuery(f *testing.F) {
	f.Add("UserName=a&Tags.member.1.Key=k&Tags.member.1.Value=v&Path=/")
	f.Add("PolicyDocument=%7B%7D&MaxItems=5&Marker=x&SetAsDefault=true&PolicyArns.member.1.arn=x&TagKeys.member.1=a")
	methods := map[string]proto.Message{}
	for _, file := range []protoreflect.FileDescriptor{iamv1.File_postern_iam_v1_iam_proto, stsv1.File_postern_sts_v1_sts_proto} {
		all := service(file).Methods()
		for i := range all.Len() {
			in, err := protoregistry.GlobalTypes.FindMessageByName(all.Get(i).Input().FullName())
			if err != nil {
				f.Fatal(err)
			}
			methods[fullMethod(all.Get(i))] = in.Zero().Interface()
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		for method, m := range methods {
			tree, bad := newForm(values)
			if bad != nil {
				return
			}
			msg := m.ProtoReflect().New()
			if tree.read(msg, "") != nil {
				continue
			}
			// What is read is checked next; both must stand any request.
			if err := constraint.Validate(method, msg.Interface()); err != nil && !utf8.ValidString(err.Error()) {
				t.Fatalf("%s: %q", method, err)
			}
		}
	})
}

func FuzzEC2Query(f *testing.F) {
	f.Add("Filter.1.Name=vpc-id&Filter.1.Value.1=a&MaxResults=5")
	f.Add("VpcId.member.1=a&VpcId.member.2=b")
	f.Add("IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8&IpPermissions.1.FromPort=-1")
	f.Add("SubnetId=&TagSpecification.1.Tag.1.Key=a&DnsOptions.DnsRecordIpType=ipv4&DryRun=TRUE")
	f.Add("EnableDnsSupport.Value=false&VpcId=%ff&.=.&a..b=1&=")
	messages := []proto.Message{
		&ec2v1.DescribeVpcsRequest{}, &ec2v1.CreateVpcEndpointRequest{}, &ec2v1.AuthorizeSecurityGroupIngressRequest{},
		&ec2v1.ModifyVpcAttributeRequest{}, &ec2v1.CreateTagsRequest{}, &ec2v1.ModifyVpcEndpointRequest{},
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		for _, m := range messages {
			tree, bad := newForm(values)
			if bad != nil {
				return
			}
			msg := m.ProtoReflect().New()
			if tree.read(msg, "") != nil {
				continue
			}
			if _, err := proto.Marshal(msg.Interface()); err != nil {
				t.Fatalf("%T: %v", m, err)
			}
		}
	})
}
