package service

import (
	"cmp"
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/controlplane/state"
	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

func (s *iam) CreateUser(ctx context.Context, req *iamv1.CreateUserRequest) (*iamv1.CreateUserResponse, error) {
	account := caller(ctx).Account
	e := &entity{kind: users, account: account, user: &statev1.User{
		Name: req.GetUserName(), Path: cmp.Or(req.GetPath(), "/"), Id: s.cfg.uniqueID("AIDA"), CreatedAt: s.cfg.Now().Unix(),
		Permissions: &statev1.Permissions{Boundary: req.GetPermissionsBoundary()},
	}}
	var err error
	if e.user.Tags, err = setIAMTags(nil, req.GetTags()); err != nil {
		return nil, err
	}
	_, err = update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		txn := &statev1.Txn{}
		if err := useBoundary(v, txn, account, "", req.GetPermissionsBoundary()); err != nil {
			return nil, err
		}
		return txn, users.add(v, txn, e)
	})
	if err != nil {
		return nil, err
	}
	return &iamv1.CreateUserResponse{User: shownUser(e)}, nil
}

func shownUser(e *entity) *iamv1.User {
	return &iamv1.User{
		Path: new(e.path()), UserName: new(e.name()), UserId: new(e.id()), Arn: new(identity.UserARN(e.account, e.path(), e.name())),
		CreateDate: iamTime(e.user.GetCreatedAt()), PermissionsBoundary: e.boundary(), Tags: shownTags(e.user.GetTags()),
	}
}

// GetUser answers a user, or, without a name, the caller.
func (s *iam) GetUser(ctx context.Context, req *iamv1.GetUserRequest) (*iamv1.GetUserResponse, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	account := caller(ctx).Account
	name := req.GetUserName()
	if req.UserName == nil {
		if name, err = ownName(holder(ctx, s.cfg, v)); err != nil {
			return nil, err
		}
		if name == "" {
			root := &iamv1.User{UserId: new(account), Arn: new(identity.RootARN(account))}
			if r := v.Get(identity.AccountKey(account)); r != nil {
				root.CreateDate = iamTime(r.GetIamAccount().GetCreatedAt())
			}
			return &iamv1.GetUserResponse{User: root}, nil
		}
	}
	e, err := users.find(v, account, name)
	if err != nil {
		return nil, err
	}
	return &iamv1.GetUserResponse{User: shownUser(e)}, nil
}

// ownName is the user that a request without a name is about: "" for the root
// user. A role's session is no user.
func ownName(h *identity.Holder) (string, error) {
	if h.Role != nil {
		return "", apierr.New(apierr.KindInvalid, "ValidationError", "Must specify userName when calling with non-User credentials")
	}
	return h.User.GetName(), nil
}

func (s *iam) ListUsers(ctx context.Context, req *iamv1.ListUsersRequest) (*iamv1.ListUsersResponse, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	part, truncated, next := pageAfter(users.all(v, caller(ctx).Account, req.GetPathPrefix()), (*entity).name, req.Marker, req.MaxItems)
	answer := &iamv1.ListUsersResponse{IsTruncated: truncated, Marker: next}
	for _, e := range part {
		u := shownUser(e)
		u.Tags, u.PermissionsBoundary = nil, nil // as AWS: GetUser has them
		answer.Users = append(answer.Users, u)
	}
	return answer, nil
}

// UpdateUser renames or moves a user; his access keys stay his.
func (s *iam) UpdateUser(ctx context.Context, req *iamv1.UpdateUserRequest) (*iamv1.EmptyResponse, error) {
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		e, err := users.find(v, caller(ctx).Account, req.GetUserName())
		if err != nil {
			return nil, err
		}
		old := e.key()
		if req.NewPath != nil {
			e.user.Path = req.GetNewPath()
		}
		if req.NewUserName != nil {
			e.user.Name = req.GetNewUserName()
		}
		txn := &statev1.Txn{Guards: []*statev1.Guard{guard(e.record)}, Puts: []*statev1.Record{e.put()}}
		if e.key() != old {
			if v.Get(e.key()) != nil {
				return nil, entityExists("User with name %s already exists.", e.name())
			}
			txn.Guards = append(txn.Guards, absent(e.key()))
			txn.Deletes = []*statev1.Key{old.Proto()}
		}
		for _, id := range e.user.GetAccessKeyIds() {
			k := proto.CloneOf(v.Get(identity.AccessKeyKey(id)).GetAccessKey())
			k.User = e.name()
			txn.Puts = append(txn.Puts, accessKeyRecord(k))
		}
		return txn, nil
	})
	return &iamv1.EmptyResponse{}, err
}

func (s *iam) DeleteUser(ctx context.Context, req *iamv1.DeleteUserRequest) (*iamv1.EmptyResponse, error) {
	return &iamv1.EmptyResponse{}, s.remove(ctx, users, req.GetUserName())
}

func (s *iam) TagUser(ctx context.Context, req *iamv1.TagUserRequest) (*iamv1.EmptyResponse, error) {
	return s.tag(ctx, users, req.GetUserName(), req.GetTags())
}

func (s *iam) UntagUser(ctx context.Context, req *iamv1.UntagUserRequest) (*iamv1.EmptyResponse, error) {
	return s.untag(ctx, users, req.GetUserName(), req.GetTagKeys())
}

func (s *iam) ListUserTags(ctx context.Context, req *iamv1.ListUserTagsRequest) (*iamv1.ListUserTagsResponse, error) {
	_, e, err := s.read(ctx, users, req.GetUserName())
	if err != nil {
		return nil, err
	}
	part, truncated, next := pageAfter(shownTags(*e.tags()), (*iamv1.Tag).GetKey, req.Marker, req.MaxItems)
	return &iamv1.ListUserTagsResponse{Tags: part, IsTruncated: truncated, Marker: next}, nil
}

// ListGroupsForUser answers none: there are no groups.
func (s *iam) ListGroupsForUser(ctx context.Context, req *iamv1.ListGroupsForUserRequest) (*iamv1.ListGroupsForUserResponse, error) {
	if _, _, err := s.read(ctx, users, req.GetUserName()); err != nil {
		return nil, err
	}
	return &iamv1.ListGroupsForUserResponse{IsTruncated: new(false)}, nil
}
