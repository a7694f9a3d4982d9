package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
)

// play tells the story in the order of the seed document: network, endpoint,
// API, policy, deployment, association, disassociation.
func (s *story) play() error {
	for _, act := range []func() error{
		s.networks, s.endpoints, s.createAPI, s.denyWithoutPolicy, s.attachPolicy, s.deploy, s.callEveryForm, s.associate, s.refuseOthers, s.disassociate,
	} {
		if err := act(); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) networks() error {
	s.chapter("A VPC with two subnets, and a second VPC beside it")
	var err error
	if s.vpc, s.subnets, err = s.network("10.1.0.0/16", "10.1.1.0/24", "10.1.2.0/24"); err != nil {
		return err
	}
	var other []string
	if s.otherVPC, other, err = s.network("10.2.0.0/16", "10.2.1.0/24"); err != nil {
		return err
	}
	s.say("   %s (10.1.0.0/16, subnets in two zones), %s (10.2.0.0/16)", s.vpc, s.otherVPC)
	s.endpoint, s.endpointDNS, err = s.createEndpoint(s.vpc, "10.1.0.0/16", s.subnets)
	if err != nil {
		return err
	}
	var names []string
	if s.otherEndpoint, names, err = s.createEndpoint(s.otherVPC, "10.2.0.0/16", other); err != nil {
		return err
	}
	s.otherDNS = names[0]
	return nil
}

func (s *story) network(cidr string, subnets ...string) (string, []string, error) {
	made, err := s.ec2.CreateVpc(s.ctx, &ec2.CreateVpcInput{CidrBlock: aws.String(cidr)})
	if err != nil {
		return "", nil, err
	}
	id := aws.ToString(made.Vpc.VpcId)
	if _, err := s.ec2.ModifyVpcAttribute(s.ctx, &ec2.ModifyVpcAttributeInput{VpcId: &id, EnableDnsHostnames: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}}); err != nil {
		return "", nil, err
	}
	var ids []string
	for i, block := range subnets {
		zone := storyRegion + string(rune('a'+i))
		subnet, err := s.ec2.CreateSubnet(s.ctx, &ec2.CreateSubnetInput{VpcId: &id, CidrBlock: aws.String(block), AvailabilityZone: &zone})
		if err != nil {
			return "", nil, err
		}
		ids = append(ids, aws.ToString(subnet.Subnet.SubnetId))
	}
	return id, ids, nil
}

// createEndpoint makes an interface endpoint whose security group admits the VPC on port 443.
func (s *story) createEndpoint(vpc, cidr string, subnets []string) (string, []string, error) {
	group, err := s.ec2.CreateSecurityGroup(s.ctx, &ec2.CreateSecurityGroupInput{GroupName: aws.String("execute-api"), Description: aws.String("HTTPS from the VPC"), VpcId: &vpc})
	if err != nil {
		return "", nil, err
	}
	if _, err := s.ec2.AuthorizeSecurityGroupIngress(s.ctx, &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: group.GroupId,
		IpPermissions: []ec2types.IpPermission{{
			IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), IpRanges: []ec2types.IpRange{{CidrIp: &cidr}},
		}},
	}); err != nil {
		return "", nil, err
	}
	made, err := s.ec2.CreateVpcEndpoint(s.ctx, &ec2.CreateVpcEndpointInput{
		VpcId: &vpc, ServiceName: aws.String("com.amazonaws." + storyRegion + ".execute-api"), VpcEndpointType: ec2types.VpcEndpointTypeInterface,
		SubnetIds: subnets, SecurityGroupIds: []string{aws.ToString(group.GroupId)},
	})
	if err != nil {
		return "", nil, err
	}
	var names []string
	for _, entry := range made.VpcEndpoint.DnsEntries {
		if name := aws.ToString(entry.DnsName); strings.HasPrefix(name, "vpce-") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "", nil, errors.New("the endpoint has no DNS names")
	}
	return aws.ToString(made.VpcEndpoint.VpcEndpointId), names, nil
}

func (s *story) endpoints() error {
	s.chapter("Interface endpoints for execute-api")
	s.say("   %s in the first VPC, %s in the second; private DNS is on by default.", s.endpoint, s.otherEndpoint)
	described, err := s.available()
	if err != nil {
		return err
	}
	s.check("the endpoint has one network interface a subnet", "2", fmt.Sprint(len(described.VpcEndpoints[0].NetworkInterfaceIds)))
	s.check("private DNS is on by default", "true", fmt.Sprint(aws.ToBool(described.VpcEndpoints[0].PrivateDnsEnabled)))
	return nil
}

// available waits until both endpoints have left the state pending, which takes
// a minute of DNS time under the profile aws.
func (s *story) available() (*ec2.DescribeVpcEndpointsOutput, error) {
	for {
		described, err := s.ec2.DescribeVpcEndpoints(s.ctx, &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{s.endpoint, s.otherEndpoint}})
		if err != nil {
			return nil, err
		}
		pending := 0
		for _, e := range described.VpcEndpoints {
			if e.State != "available" {
				pending++
			}
		}
		if pending == 0 {
			if e := described.VpcEndpoints; aws.ToString(e[0].VpcEndpointId) != s.endpoint {
				e[0], e[1] = e[1], e[0]
			}
			s.say("   both are available after their minute of being pending")
			return described, nil
		}
		select {
		case <-s.ctx.Done():
			return nil, s.ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *story) createAPI() error {
	s.chapter("A private API: GET /pets and GET /pets/{petId}, an HTTP integration to a small pet store")
	made, err := s.gateway.CreateRestApi(s.ctx, &apigateway.CreateRestApiInput{
		Name: aws.String("Simple PetStore (Postern, Private)"), Description: aws.String("Simple private PetStore API"),
		EndpointConfiguration: &types.EndpointConfiguration{Types: []types.EndpointType{types.EndpointTypePrivate}},
	})
	if err != nil {
		return err
	}
	s.api, s.root = aws.ToString(made.Id), aws.ToString(made.RootResourceId)
	s.say("   API %s", s.api)
	pets, err := s.gateway.CreateResource(s.ctx, &apigateway.CreateResourceInput{RestApiId: &s.api, ParentId: &s.root, PathPart: aws.String("pets")})
	if err != nil {
		return err
	}
	pet, err := s.gateway.CreateResource(s.ctx, &apigateway.CreateResourceInput{RestApiId: &s.api, ParentId: pets.Id, PathPart: aws.String("{petId}")})
	if err != nil {
		return err
	}
	if err := s.get(aws.ToString(pets.Id), s.backURL+"/petstore/pets", nil); err != nil {
		return err
	}
	return s.get(aws.ToString(pet.Id), s.backURL+"/petstore/pets/{id}", map[string]string{"integration.request.path.id": "method.request.path.petId"})
}

// get sets up GET on a resource with an HTTP integration.
func (s *story) get(resource, uri string, mapping map[string]string) error {
	params := map[string]bool{}
	for _, source := range mapping {
		params[source] = true
	}
	verb, ok := aws.String("GET"), aws.String("200")
	if _, err := s.gateway.PutMethod(s.ctx, &apigateway.PutMethodInput{RestApiId: &s.api, ResourceId: &resource, HttpMethod: verb, AuthorizationType: aws.String("NONE"), RequestParameters: params}); err != nil {
		return err
	}
	if _, err := s.gateway.PutMethodResponse(s.ctx, &apigateway.PutMethodResponseInput{RestApiId: &s.api, ResourceId: &resource, HttpMethod: verb, StatusCode: ok}); err != nil {
		return err
	}
	if _, err := s.gateway.PutIntegration(s.ctx, &apigateway.PutIntegrationInput{
		RestApiId: &s.api, ResourceId: &resource, HttpMethod: verb, Type: types.IntegrationTypeHttp, IntegrationHttpMethod: verb, Uri: &uri, RequestParameters: mapping,
	}); err != nil {
		return err
	}
	_, err := s.gateway.PutIntegrationResponse(s.ctx, &apigateway.PutIntegrationResponseInput{RestApiId: &s.api, ResourceId: &resource, HttpMethod: verb, StatusCode: ok})
	return err
}

func (s *story) privateURL(path string) string {
	return fmt.Sprintf("https://%s.execute-api.%s.amazonaws.com/test%s", s.api, storyRegion, path)
}

func (s *story) aliasHost() string {
	return fmt.Sprintf("%s-%s.execute-api.%s.amazonaws.com", s.api, s.endpoint, storyRegion)
}

func (s *story) denyWithoutPolicy() error {
	s.chapter("Without a resource policy all calls fail")
	_, err := s.gateway.CreateDeployment(s.ctx, &apigateway.CreateDeploymentInput{RestApiId: &s.api, StageName: aws.String("test")})
	s.check("deploying is refused", "Private REST API doesn't have a resource policy attached to it", awsMessage(err))
	if err := s.settle(); err != nil {
		return err
	}
	s.check("a call from the VPC", `403 {"message":"Forbidden"}`, s.call(s.vpc, s.privateURL("/pets"), nil))
	return nil
}

// awsMessage is the message of an AWS error, or what came instead.
func awsMessage(err error) string {
	var answer smithy.APIError
	if errors.As(err, &answer) {
		return answer.ErrorMessage()
	}
	return fmt.Sprint(err)
}

func (s *story) attachPolicy() error {
	s.chapter("A resource policy that admits the endpoint")
	policy, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []any{
			map[string]any{"Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*"},
			map[string]any{"Effect": "Deny", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*",
				"Condition": map[string]any{"StringNotEquals": map[string]any{"aws:SourceVpce": s.endpoint}}},
		},
	})
	if err != nil {
		return err
	}
	updated, err := s.gateway.UpdateRestApi(s.ctx, &apigateway.UpdateRestApiInput{RestApiId: &s.api, PatchOperations: []types.PatchOperation{
		{Op: types.OpReplace, Path: aws.String("/policy"), Value: aws.String(string(policy))},
	}})
	if err != nil {
		return err
	}
	expanded := strings.Contains(aws.ToString(updated.Policy), s.api)
	s.check("execute-api:/* reads back as the API's own ARN", "true", fmt.Sprint(expanded))
	return nil
}

func (s *story) deploy() error {
	s.chapter("Deploy to stage \"test\" and wait until both edges show that version")
	if _, err := s.gateway.CreateDeployment(s.ctx, &apigateway.CreateDeploymentInput{RestApiId: &s.api, StageName: aws.String("test"), Description: aws.String("first")}); err != nil {
		return err
	}
	if err := s.settle(); err != nil {
		return err
	}
	stages, err := s.gateway.GetStages(s.ctx, &apigateway.GetStagesInput{RestApiId: &s.api})
	if err != nil {
		return err
	}
	s.check("the deployment made the stage", "1", fmt.Sprint(len(stages.Item)))
	return nil
}

func (s *story) callEveryForm() error {
	s.chapter("The endpoint's own names take their time; private DNS does not")
	if err := s.watchNames("the endpoint's public names", s.endpoint, s.endpointDNS[0]); err != nil {
		return err
	}
	host := map[string]string{"Host": s.api + ".execute-api." + storyRegion + ".amazonaws.com"}
	header := map[string]string{"x-apigw-api-id": s.api}
	s.check("private DNS name, from the VPC", "200", statusOf(s.call(s.vpc, s.privateURL("/pets"), nil)))
	s.check("its path parameter reaches the backend", `200 {"id":"7","type":"cat","price":12.5}`, s.call(s.vpc, s.privateURL("/pets/7"), nil))
	s.check("endpoint name with a Host header", "200", statusOf(s.call(s.vpc, "https://"+s.endpointDNS[0]+"/test/pets", host)))
	s.check("endpoint name with x-apigw-api-id", "200", statusOf(s.call(s.vpc, "https://"+s.endpointDNS[0]+"/test/pets", header)))
	s.check("zonal endpoint name with x-apigw-api-id", "200", statusOf(s.call(s.vpc, "https://"+s.endpointDNS[1]+"/test/pets", header)))
	return nil
}

func (s *story) associate() error {
	s.chapter("Associate the endpoint: a Route 53 alias name for the API")
	_, err := s.gateway.UpdateRestApi(s.ctx, &apigateway.UpdateRestApiInput{RestApiId: &s.api, PatchOperations: []types.PatchOperation{
		{Op: types.OpAdd, Path: aws.String("/endpointConfiguration/vpcEndpointIds"), Value: &s.endpoint},
	}})
	if err != nil {
		return err
	}
	s.check("the API stays available meanwhile", "200", statusOf(s.call(s.vpc, "https://"+s.endpointDNS[0]+"/test/pets", map[string]string{"x-apigw-api-id": s.api})))
	if err := s.watchNames("the alias name", s.api, s.aliasHost()); err != nil {
		return err
	}
	s.check("alias name, no extra header", "200", statusOf(s.call(s.vpc, "https://"+s.aliasHost()+"/test/pets", nil)))
	return nil
}

func (s *story) refuseOthers() error {
	s.chapter("Whoever comes another way is refused, with the reason")
	header := map[string]string{"x-apigw-api-id": s.api}
	answer := s.call(s.otherVPC, s.privateURL("/pets"), nil)
	s.check("from the other VPC, by its own endpoint", "403", statusOf(answer))
	s.say("     %s", answer)
	s.check("the reason is named", "true", fmt.Sprint(strings.Contains(answer, "with an explicit deny in a resource-based policy")))
	s.check("the other endpoint's name gives no way around", "403", statusOf(s.call(s.otherVPC, "https://"+s.otherDNS+"/test/pets", header)))
	s.check("from the internet the private name does not resolve", "no", statusOf(s.call("internet", s.privateURL("/pets"), nil)))
	return nil
}

func (s *story) disassociate() error {
	s.chapter("Disassociate: the alias name goes, the API stays")
	_, err := s.gateway.UpdateRestApi(s.ctx, &apigateway.UpdateRestApiInput{RestApiId: &s.api, PatchOperations: []types.PatchOperation{
		{Op: types.OpRemove, Path: aws.String("/endpointConfiguration/vpcEndpointIds"), Value: &s.endpoint},
	}})
	if err != nil {
		return err
	}
	if err := s.watchGone("the alias name", s.api, s.aliasHost()); err != nil {
		return err
	}
	s.check("the private DNS name still answers", "200", statusOf(s.call(s.vpc, s.privateURL("/pets"), nil)))
	return nil
}
