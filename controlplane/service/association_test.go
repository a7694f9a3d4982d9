package service

import (
	"testing"

	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
)

// An association and a change of its endpoint that decide on the same View must
// not both commit: the alias would keep an address that the endpoint has lost.
func TestAssociationRacesWithEndpoint(t *testing.T) {
	type race struct {
		*ec2Lab
		api              apigatewayv1.ApiGatewayServer
		id, endpoint     string
		subnetA, subnetB string
	}
	set := func(t *testing.T) *race {
		l := newEC2Lab(t)
		r := &race{ec2Lab: l, api: NewAPIGateway(l.cfg)}
		vpc := l.dnsVPC("10.1.0.0/16")
		r.subnetA = l.subnet(vpc, "10.1.0.0/24", "us-west-2a").GetSubnetId()
		r.subnetB = l.subnet(vpc, "10.1.1.0/24", "us-west-2b").GetSubnetId()
		r.endpoint = l.endpoint(vpc, r.subnetA).GetVpcEndpointId()
		made, err := r.api.CreateRestApi(l.ctx(), &apigatewayv1.CreateRestApiRequest{
			Name:                  new("race"),
			EndpointConfiguration: &apigatewayv1.EndpointConfiguration{Types: &awsv1.StringList{Values: []string{"PRIVATE"}}},
		})
		r.id = must(t, made, err).GetId()
		return r
	}
	associate := func(r *race) {
		_, err := r.api.UpdateRestApi(r.ctx(), &apigatewayv1.UpdateRestApiRequest{RestApiId: r.id, PatchOperations: []*awsv1.PatchOperation{
			{Op: new("add"), Path: new("/endpointConfiguration/vpcEndpointIds"), Value: &r.endpoint},
		}})
		must(r, 0, err)
	}
	move := func(r *race) {
		_, err := r.ModifyVpcEndpoint(r.ctx(), &ec2v1.ModifyVpcEndpointRequest{
			VpcEndpointId: &r.endpoint, RemoveSubnetIds: []string{r.subnetA}, AddSubnetIds: []string{r.subnetB},
		})
		must(r, 0, err)
	}
	// between runs rival once, when the other writer has decided and not yet committed.
	between := func(r *race, rival func(*race)) {
		r.cluster.before = func() {
			r.cluster.before = nil
			rival(r)
		}
	}
	for _, c := range []struct {
		name          string
		writer, rival func(*race)
	}{
		{"the endpoint moves under an association", associate, move},
		{"an association comes while the endpoint moves", move, associate},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := set(t)
			between(r, c.rival)
			c.writer(r)
			r.wantResolve(r.id+"-"+r.endpoint+".execute-api.us-west-2.amazonaws.com.", "10.1.1.4")
		})
	}
}
