package service

import (
	"context"
	"slices"
	"strings"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const accountID = "account" // id of the account's only record in a region

// accountOf returns the account's settings; one that never wrote any has AWS's
// defaults and no record.
func accountOf(v *state.View, who Caller) (*apigatewayv1.Account, *statev1.Guard) {
	key := who.key(statev1.Type_TYPE_ACCOUNT, accountID)
	if r := v.Get(key); r != nil {
		return r.GetAccount(), guard(r)
	}
	return &apigatewayv1.Account{
		ThrottleSettings: &apigatewayv1.ThrottleSettings{BurstLimit: new(int32(5000)), RateLimit: new(10000.0)},
		Features:         []string{"UsagePlans"},
		ApiKeyVersion:    new("4"),
	}, absent(key)
}

func (s *apiGateway) GetAccount(ctx context.Context, _ *apigatewayv1.GetAccountRequest) (*apigatewayv1.Account, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	a, _ := accountOf(v, caller(ctx))
	return a, nil
}

func (s *apiGateway) UpdateAccount(ctx context.Context, req *apigatewayv1.UpdateAccountRequest) (*apigatewayv1.Account, error) {
	who := caller(ctx)
	var after *apigatewayv1.Account
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		before, unchanged := accountOf(v, who)
		var err error
		if after, err = accountPatch.apply(before, req.GetPatchOperations()); err != nil {
			return nil, err
		}
		key := who.key(statev1.Type_TYPE_ACCOUNT, accountID)
		return &statev1.Txn{
			Guards: []*statev1.Guard{unchanged},
			Puts:   []*statev1.Record{{Key: key.Proto(), Value: &statev1.Record_Account{Account: after}}},
		}, nil
	})
	if err != nil {
		return nil, err
	}
	return after, nil
}

var accountPatch = &patchTable[*apigatewayv1.Account]{
	refuse: refuseClassic[*apigatewayv1.Account],
	rows: []patchRow[*apigatewayv1.Account]{
		{"/cloudwatchRoleArn", opsReplaceRemove, func(a *apigatewayv1.Account, p *patch) error {
			if p.op == "replace" && p.value != "" && !strings.HasPrefix(p.value, "arn:") {
				return apierr.BadRequest("The role ARN does not have required permissions configured. Please grant trust permission for API Gateway and add the required role policy.")
			}
			return setString(func(a *apigatewayv1.Account) **string { return &a.CloudwatchRoleArn })(a, p)
		}},
		{"/features", opsAddRemove, func(a *apigatewayv1.Account, p *patch) error {
			a.Features = slices.DeleteFunc(a.Features, func(f string) bool { return f == p.value })
			if p.op == "add" {
				if p.value != "UsagePlans" {
					return apierr.BadRequest("Invalid feature specified: %s", p.value)
				}
				a.Features = append(a.Features, p.value)
			}
			return nil
		}},
	},
}
