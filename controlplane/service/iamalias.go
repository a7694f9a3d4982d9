package service

import (
	"context"

	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/controlplane/state"
	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// setAlias gives an account an alias, which no other has, instead of the one
// that it had.
func setAlias(v *state.View, txn *statev1.Txn, a *statev1.IamAccount, alias string) error {
	if a.GetAlias() == alias {
		return nil
	}
	if alias != "" {
		key := identity.AliasKey(alias)
		if v.Get(key) != nil {
			return entityExists("The account alias %s already exists.", alias)
		}
		txn.Guards = append(txn.Guards, absent(key))
		txn.Puts = append(txn.Puts, &statev1.Record{Key: key.Proto(), Value: &statev1.Record_AccountAlias{AccountAlias: &statev1.AccountAlias{Account: a.GetId()}}})
	}
	if a.GetAlias() != "" {
		txn.Deletes = append(txn.Deletes, identity.AliasKey(a.GetAlias()).Proto())
	}
	a.Alias = alias
	return nil
}

func (s *iam) CreateAccountAlias(ctx context.Context, req *iamv1.CreateAccountAliasRequest) (*iamv1.EmptyResponse, error) {
	return s.changeAlias(ctx, func(*statev1.IamAccount) (string, error) { return req.GetAccountAlias(), nil })
}

func (s *iam) DeleteAccountAlias(ctx context.Context, req *iamv1.DeleteAccountAliasRequest) (*iamv1.EmptyResponse, error) {
	return s.changeAlias(ctx, func(a *statev1.IamAccount) (string, error) {
		if a.GetAlias() != req.GetAccountAlias() {
			return "", noSuchEntity("The account alias %s cannot be found.", req.GetAccountAlias())
		}
		return "", nil
	})
}

func (s *iam) changeAlias(ctx context.Context, next func(a *statev1.IamAccount) (string, error)) (*iamv1.EmptyResponse, error) {
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		a, unchanged := iamAccount(s.cfg, v, caller(ctx).Account)
		alias, err := next(a)
		if err != nil {
			return nil, err
		}
		txn := &statev1.Txn{Guards: []*statev1.Guard{unchanged}}
		if err := setAlias(v, txn, a, alias); err != nil {
			return nil, err
		}
		txn.Puts = append(txn.Puts, iamAccountRecord(a))
		return txn, nil
	})
	return &iamv1.EmptyResponse{}, err
}

func (s *iam) ListAccountAliases(ctx context.Context, _ *iamv1.ListAccountAliasesRequest) (*iamv1.ListAccountAliasesResponse, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	answer := &iamv1.ListAccountAliasesResponse{IsTruncated: new(false)}
	if a, _ := iamAccount(s.cfg, v, caller(ctx).Account); a.GetAlias() != "" {
		answer.AccountAliases = []string{a.GetAlias()}
	}
	return answer, nil
}
