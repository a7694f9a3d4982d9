package identity

import (
	"maps"
	"slices"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// provided are those of AWS's own managed policies that speak of what is here,
// by ARN. They are in no record, and the same in every account.
var provided = func() map[string]*statev1.ManagedPolicy {
	all := map[string]*statev1.ManagedPolicy{}
	for _, p := range []struct{ name, id, description, statement string }{
		{"AdministratorAccess", "ANPAIWMBCKSKIEE64ZLYK", "Provides full access to AWS services and resources.",
			`"Action":"*","Resource":"*"`},
		{"AmazonAPIGatewayAdministrator", "ANPAJ4PT6VY5NLKTNUYSI", "Provides full access to create/edit/delete APIs in Amazon API Gateway via the AWS Management Console.",
			`"Action":["apigateway:*"],"Resource":"arn:aws:apigateway:*::/*"`},
		{"AmazonAPIGatewayInvokeFullAccess", "ANPAIIWAX2NOOQJ4AIEQ6", "Provides full access to invoke APIs in Amazon API Gateway.",
			`"Action":["execute-api:Invoke","execute-api:ManageConnections"],"Resource":"arn:aws:execute-api:*:*:*"`},
	} {
		all[PolicyARN("aws", "/", p.name)] = &statev1.ManagedPolicy{
			Name: p.name, Path: "/", Id: p.id, Description: p.description, DefaultVersion: 1, LastVersion: 1,
			Versions: []*statev1.PolicyVersion{{Number: 1, Document: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` + p.statement + `}]}`}},
		}
	}
	return all
}()

// Provided returns the managed policies that are there in every account, by
// name; nobody may modify them.
func Provided() []*statev1.ManagedPolicy {
	var out []*statev1.ManagedPolicy
	for _, arn := range slices.Sorted(maps.Keys(provided)) {
		out = append(out, provided[arn])
	}
	return out
}
