package service

import (
	"cmp"
	"context"
	"maps"
	"regexp"
	"slices"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/controlplane/state"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// aliasText is what AWS takes as an account's alias, also in iam.proto.
var aliasText = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9])+$`)

const (
	minAlias, maxAlias = 3, 63
	accountDigits      = 12
)

// CreateAccount makes an account and its root user's first access key.
func (a *admin) CreateAccount(ctx context.Context, req *adminv1.CreateAccountRequest) (*adminv1.CreateAccountResponse, error) {
	switch alias := req.GetAlias(); {
	case req.GetId() != "" && !accountText.MatchString(req.GetId()):
		return nil, apierr.BadRequest("Invalid account id %.20q: want 12 digits", req.GetId())
	case alias != "" && (!aliasText.MatchString(alias) || len(alias) < minAlias || len(alias) > maxAlias):
		return nil, apierr.BadRequest("Invalid account name %.70q: want 3 to 63 lower-case letters and digits, with single hyphens between them", alias)
	}
	var answer *adminv1.CreateAccountResponse
	_, err := update(ctx, a.cfg.Config, func(v *state.View) (*statev1.Txn, error) {
		id := req.GetId()
		for id == "" || req.GetId() == "" && known(v, id) {
			id = a.cfg.pick("123456789", 1) + a.cfg.pick("0123456789", accountDigits-1)
		}
		account, unchanged := iamAccount(a.cfg.Config, v, id)
		if len(account.GetAccessKeyIds()) > 0 {
			return nil, apierr.New(apierr.KindExists, "EntityAlreadyExists",
				"Account %s has a root access key already, %s; who lost its secret makes another key with an identity that may", id, account.GetAccessKeyIds()[0])
		}
		k, secret, err := a.cfg.newAccessKey(v, id, "")
		if err != nil {
			return nil, err
		}
		txn := &statev1.Txn{Guards: []*statev1.Guard{unchanged, absent(identity.AccessKeyKey(k.GetId()))}}
		if req.GetAlias() != "" {
			if err := setAlias(v, txn, account, req.GetAlias()); err != nil {
				return nil, err
			}
		}
		account.AccessKeyIds = []string{k.GetId()}
		txn.Puts = append(txn.Puts, iamAccountRecord(account), accessKeyRecord(k))
		answer = &adminv1.CreateAccountResponse{AccessKeyId: k.GetId(), SecretAccessKey: secret, Account: &adminv1.Account{
			Id: id, Alias: account.GetAlias(), CreatedAt: account.GetCreatedAt(), RootAccessKeys: 1,
		}}
		return txn, nil
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// known reports whether an account has a record of its own kind.
func known(v *state.View, id string) bool { return v.Get(identity.AccountKey(id)) != nil }

// ListAccounts lists the accounts of whom something is known.
func (a *admin) ListAccounts(ctx context.Context, _ *adminv1.ListAccountsRequest) (*adminv1.ListAccountsResponse, error) {
	v, err := view(ctx, a.cfg.Config)
	if err != nil {
		return nil, err
	}
	all := map[string]*adminv1.Account{}
	of := func(r *statev1.Record) *adminv1.Account {
		id := r.GetKey().GetAccount()
		if all[id] == nil {
			all[id] = &adminv1.Account{Id: id}
		}
		return all[id]
	}
	for r := range v.All(statev1.Type_TYPE_IAM_ACCOUNT) {
		account, known := of(r), r.GetIamAccount()
		account.Alias, account.CreatedAt, account.RootAccessKeys = known.GetAlias(), known.GetCreatedAt(), uint32(len(known.GetAccessKeyIds()))
	}
	for r := range v.All(statev1.Type_TYPE_USER) {
		of(r).Users++
	}
	for r := range v.All(statev1.Type_TYPE_ROLE) {
		of(r).Roles++
	}
	for r := range v.All(statev1.Type_TYPE_MANAGED_POLICY) {
		of(r).Policies++
	}
	return &adminv1.ListAccountsResponse{Accounts: slices.SortedFunc(maps.Values(all), func(x, y *adminv1.Account) int { return cmp.Compare(x.GetId(), y.GetId()) })}, nil
}
