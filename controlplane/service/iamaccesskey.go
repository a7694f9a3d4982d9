package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/internal/pki"
	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	maxAccessKeys  = 2 // of a user, and of the root user
	secretLength   = 40
	secretAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
)

func accessKeyRecord(k *statev1.AccessKey) *statev1.Record {
	return &statev1.Record{Key: identity.AccessKeyKey(k.GetId()).Proto(), Value: &statev1.Record_AccessKey{AccessKey: k}}
}

// newAccessKey makes a key with its secret, which is answered once and then is
// there sealed only.
func (cfg Config) newAccessKey(v *state.View, account, user string) (k *statev1.AccessKey, secret string, err error) {
	k = &statev1.AccessKey{Id: "AKIA" + cfg.pick(idAlphabet, 16), Account: account, User: user, CreatedAt: cfg.Now().Unix()}
	secret, k.Secret, err = cfg.newSecret(v, account, k.GetId())
	return k, secret, err
}

// newSecret draws a secret and seals it for a key id.
func (cfg Config) newSecret(v *state.View, account, id string) (string, *statev1.Sealed, error) {
	if cfg.Keyring == nil {
		return "", nil, errors.New("no keyring: secrets can't be sealed")
	}
	if err := ownKeyring(cfg.Keyring, v); err != nil {
		return "", nil, err
	}
	secret := cfg.pick(secretAlphabet, secretLength)
	return secret, identity.Seal(cfg.Keyring, account, id, secret), nil
}

// ownKeyring refuses to seal with a key that the other nodes lack: their
// secrets could not be opened here, so neither could ours be there. One key is
// looked at; a cluster has one keyring.
func ownKeyring(k *pki.Keyring, v *state.View) error {
	for r := range v.All(statev1.Type_TYPE_ACCESS_KEY) {
		key := r.GetAccessKey()
		if _, err := identity.Open(k, key.GetAccount(), key.GetId(), key.GetSecret()); err != nil {
			return fmt.Errorf("this node has another sealing key than the cluster, copy pki/sealing.key from a node that has it: %w", err)
		}
		return nil
	}
	return nil
}

// keyOwner is whoever has access keys: a user, or the root user of an account.
type keyOwner struct {
	account string
	user    *entity             // nil: the root user
	root    *statev1.IamAccount // then this
	guard   *statev1.Guard
}

// keyOwner finds the owner that a request names; without a name it is the caller.
func (s *iam) keyOwner(ctx context.Context, v *state.View, name *string) (*keyOwner, error) {
	account := caller(ctx).Account
	user := ""
	if name != nil {
		user = *name
	} else {
		var err error
		if user, err = ownName(holder(ctx, s.cfg, v)); err != nil {
			return nil, err
		}
	}
	if user == "" {
		root, unchanged := iamAccount(s.cfg, v, account)
		return &keyOwner{account: account, root: root, guard: unchanged}, nil
	}
	e, err := users.find(v, account, user)
	if err != nil {
		return nil, err
	}
	return &keyOwner{account: account, user: e, guard: guard(e.record)}, nil
}

// iamAccount returns what may be changed and put as the account's record.
func iamAccount(cfg Config, v *state.View, account string) (*statev1.IamAccount, *statev1.Guard) {
	if r := v.Get(identity.AccountKey(account)); r != nil {
		return proto.CloneOf(r.GetIamAccount()), guard(r)
	}
	return &statev1.IamAccount{Id: account, CreatedAt: cfg.Now().Unix()}, absent(identity.AccountKey(account))
}

func iamAccountRecord(a *statev1.IamAccount) *statev1.Record {
	return &statev1.Record{Key: identity.AccountKey(a.GetId()).Proto(), Value: &statev1.Record_IamAccount{IamAccount: a}}
}

func (o *keyOwner) ids() *[]string {
	if o.user != nil {
		return &o.user.user.AccessKeyIds
	}
	return &o.root.AccessKeyIds
}

func (o *keyOwner) name() string {
	if o.user != nil {
		return o.user.name()
	}
	return ""
}

// shownName is the owner as answers show him: the root user has no name.
func (o *keyOwner) shownName() *string {
	if o.user != nil {
		return new(o.user.name())
	}
	return nil
}

func (o *keyOwner) put() *statev1.Record {
	if o.user != nil {
		return o.user.put()
	}
	return iamAccountRecord(o.root)
}

// key finds one of the owner's keys.
func (o *keyOwner) key(v *state.View, id string) (*statev1.Record, error) {
	if !slices.Contains(*o.ids(), id) {
		return nil, noSuchEntity("The Access Key with id %s cannot be found.", id)
	}
	return v.Get(identity.AccessKeyKey(id)), nil
}

func (s *iam) CreateAccessKey(ctx context.Context, req *iamv1.CreateAccessKeyRequest) (*iamv1.CreateAccessKeyResponse, error) {
	var answer *iamv1.CreateAccessKeyResponse
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		owner, err := s.keyOwner(ctx, v, req.UserName)
		if err != nil {
			return nil, err
		}
		if len(*owner.ids()) >= maxAccessKeys {
			return nil, iamLimit("Cannot exceed quota for AccessKeysPerUser: %d", maxAccessKeys)
		}
		k, secret, err := s.cfg.newAccessKey(v, owner.account, owner.name())
		if err != nil {
			return nil, err
		}
		*owner.ids() = append(*owner.ids(), k.GetId())
		answer = &iamv1.CreateAccessKeyResponse{AccessKey: &iamv1.AccessKey{
			UserName: owner.shownName(), AccessKeyId: new(k.GetId()), Status: new(keyStatus(k)), SecretAccessKey: new(secret), CreateDate: iamTime(k.GetCreatedAt()),
		}}
		return &statev1.Txn{
			Guards: []*statev1.Guard{owner.guard, absent(identity.AccessKeyKey(k.GetId()))},
			Puts:   []*statev1.Record{owner.put(), accessKeyRecord(k)},
		}, nil
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

func keyStatus(k *statev1.AccessKey) string {
	if k.GetInactive() {
		return "Inactive"
	}
	return "Active"
}

func (s *iam) ListAccessKeys(ctx context.Context, req *iamv1.ListAccessKeysRequest) (*iamv1.ListAccessKeysResponse, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	owner, err := s.keyOwner(ctx, v, req.UserName)
	if err != nil {
		return nil, err
	}
	part, truncated, next := pageAfter(*owner.ids(), strings.Clone, req.Marker, req.MaxItems)
	answer := &iamv1.ListAccessKeysResponse{IsTruncated: truncated, Marker: next}
	for _, id := range part {
		k := v.Get(identity.AccessKeyKey(id)).GetAccessKey()
		answer.AccessKeyMetadata = append(answer.AccessKeyMetadata, &iamv1.AccessKeyMetadata{
			UserName: owner.shownName(), AccessKeyId: new(id), Status: new(keyStatus(k)), CreateDate: iamTime(k.GetCreatedAt()),
		})
	}
	return answer, nil
}

func (s *iam) UpdateAccessKey(ctx context.Context, req *iamv1.UpdateAccessKeyRequest) (*iamv1.EmptyResponse, error) {
	return s.changeKey(ctx, req.UserName, req.GetAccessKeyId(), func(txn *statev1.Txn, _ *keyOwner, r *statev1.Record) {
		k := proto.CloneOf(r.GetAccessKey())
		k.Inactive = req.GetStatus() != "Active"
		txn.Puts = append(txn.Puts, accessKeyRecord(k))
	})
}

func (s *iam) DeleteAccessKey(ctx context.Context, req *iamv1.DeleteAccessKeyRequest) (*iamv1.EmptyResponse, error) {
	return s.changeKey(ctx, req.UserName, req.GetAccessKeyId(), func(txn *statev1.Txn, owner *keyOwner, r *statev1.Record) {
		*owner.ids() = slices.DeleteFunc(*owner.ids(), func(id string) bool { return id == req.GetAccessKeyId() })
		txn.Deletes = append(txn.Deletes, r.GetKey())
	})
}

// changeKey commits what do makes of one of an owner's keys.
func (s *iam) changeKey(ctx context.Context, user *string, id string, do func(txn *statev1.Txn, owner *keyOwner, r *statev1.Record)) (*iamv1.EmptyResponse, error) {
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		owner, err := s.keyOwner(ctx, v, user)
		if err != nil {
			return nil, err
		}
		r, err := owner.key(v, id)
		if err != nil {
			return nil, err
		}
		txn := &statev1.Txn{Guards: []*statev1.Guard{owner.guard, guard(r)}}
		do(txn, owner, r)
		txn.Puts = append(txn.Puts, owner.put())
		return txn, nil
	})
	return &iamv1.EmptyResponse{}, err
}
