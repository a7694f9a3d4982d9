package guard

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	route53v1 "github.com/posternhq/postern/proto/postern/route53/v1"
)

// operation is the one whose request it is.
func operation(t *testing.T, req proto.Message) protoreflect.MethodDescriptor {
	t.Helper()
	var found protoreflect.MethodDescriptor
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				if methods.Get(j).Input() == req.ProtoReflect().Descriptor() {
					found = methods.Get(j)
				}
			}
		}
		return found == nil
	})
	if found == nil {
		t.Fatalf("no operation takes a %T", req)
	}
	return found
}

func TestActions(t *testing.T) {
	patch := func(paths ...string) (all []*awsv1.PatchOperation) {
		for _, p := range paths {
			all = append(all, &awsv1.PatchOperation{Op: new("replace"), Path: new(p)})
		}
		return all
	}
	for _, c := range []struct {
		req  proto.Message
		want string
	}{
		{&apigatewayv1.CreateRestApiRequest{Name: new("a")}, "apigateway:POST arn:aws:apigateway:eu-west-1::/restapis"},
		{&apigatewayv1.CreateRestApiRequest{Policy: new("{}")},
			"apigateway:POST arn:aws:apigateway:eu-west-1::/restapis; apigateway:UpdateRestApiPolicy arn:aws:apigateway:eu-west-1::/restapis/*"},
		{&apigatewayv1.UpdateRestApiRequest{RestApiId: "a1", PatchOperations: patch("/name")}, "apigateway:PATCH arn:aws:apigateway:eu-west-1::/restapis/a1"},
		{&apigatewayv1.UpdateRestApiRequest{RestApiId: "a1", PatchOperations: patch("/name", "/policy", "/policy")},
			"apigateway:PATCH arn:aws:apigateway:eu-west-1::/restapis/a1; apigateway:UpdateRestApiPolicy arn:aws:apigateway:eu-west-1::/restapis/a1"},
		{&apigatewayv1.PutMethodRequest{RestApiId: "a1", ResourceId: "r1", HttpMethod: "GET"}, "apigateway:PUT arn:aws:apigateway:eu-west-1::/restapis/a1/resources/r1/methods/GET"},
		{&apigatewayv1.DeleteStageRequest{RestApiId: "a1", StageName: "prod"}, "apigateway:DELETE arn:aws:apigateway:eu-west-1::/restapis/a1/stages/prod"},
		{&apigatewayv1.GetTagsRequest{ResourceArn: "arn:aws:apigateway:eu-west-1::/restapis/a1"},
			"apigateway:GET arn:aws:apigateway:eu-west-1::/tags/arn:aws:apigateway:eu-west-1::/restapis/a1"},
		{&ec2v1.CreateVpcRequest{CidrBlock: new("10.0.0.0/16")}, "ec2:CreateVpc arn:aws:ec2:eu-west-1:111122223333:vpc/*"},
		{&ec2v1.DescribeVpcsRequest{VpcIds: []string{"vpc-0a"}}, "ec2:DescribeVpcs *"},
		{&ec2v1.CreateVpcEndpointRequest{VpcId: new("vpc-0a"), ServiceName: new("com.amazonaws.eu-west-1.execute-api"), SubnetIds: []string{"subnet-0b", "subnet-0c"}, SecurityGroupIds: []string{"sg-0d"}},
			"ec2:CreateVpcEndpoint arn:aws:ec2:eu-west-1:111122223333:vpc-endpoint/* arn:aws:ec2:eu-west-1:111122223333:vpc/vpc-0a arn:aws:ec2:eu-west-1:111122223333:subnet/subnet-0b " +
				"arn:aws:ec2:eu-west-1:111122223333:subnet/subnet-0c arn:aws:ec2:eu-west-1:111122223333:security-group/sg-0d"},
		{&ec2v1.DeleteVpcEndpointsRequest{VpcEndpointIds: []string{"vpce-0a"}}, "ec2:DeleteVpcEndpoints arn:aws:ec2:eu-west-1:111122223333:vpc-endpoint/vpce-0a"},
		{&route53v1.CreateHostedZoneRequest{Name: new("x.")}, "route53:CreateHostedZone *"},
		{&route53v1.ChangeResourceRecordSetsRequest{Id: "/hostedzone/Z1"}, "route53:ChangeResourceRecordSets arn:aws:route53:::hostedzone/Z1"},
		{&route53v1.GetChangeRequest{Id: "C1"}, "route53:GetChange arn:aws:route53:::change/C1"},
		{&adminv1.SetDnsFaultRequest{Kind: "dns-down"}, "postern:SetDnsFault *"},
	} {
		var got []string
		for _, a := range Actions(operation(t, c.req), c.req, Where{"111122223333", "eu-west-1"}) {
			got = append(got, a.Name+" "+strings.Join(a.Resources, " "))
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%T: %s\nwant %s", c.req, text, c.want)
		}
	}
}

// Every operation has a name and a resource, so that none slips through.
func TestEveryOperationHasActions(t *testing.T) {
	var without []string
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(file.Package()), "postern.") {
			return true
		}
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				kind, err := protoregistry.GlobalTypes.FindMessageByName(methods.Get(j).Input().FullName())
				if err != nil {
					t.Fatal(err)
				}
				for _, a := range Actions(methods.Get(j), kind.New().Interface(), Where{"111122223333", "eu-west-1"}) {
					service, name, ok := strings.Cut(a.Name, ":")
					if !ok || service == "" || name == "" || len(a.Resources) == 0 || slices.Contains(a.Resources, "") || strings.Contains(a.Resources[0], "{") {
						without = append(without, string(methods.Get(j).FullName()))
					}
				}
			}
		}
		return true
	})
	if len(without) > 0 {
		t.Errorf("without action or resource: %q", without)
	}
}
