package service

import (
	"cmp"
	"context"

	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/controlplane/state"
	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const defaultRoleSession = 3600 // seconds

func (s *iam) CreateRole(ctx context.Context, req *iamv1.CreateRoleRequest) (*iamv1.CreateRoleResponse, error) {
	if err := checkTrust(req.GetAssumeRolePolicyDocument()); err != nil {
		return nil, err
	}
	account := caller(ctx).Account
	e := &entity{kind: roles, account: account, role: &statev1.Role{
		Name: req.GetRoleName(), Path: cmp.Or(req.GetPath(), "/"), Id: s.cfg.uniqueID("AROA"), CreatedAt: s.cfg.Now().Unix(),
		TrustPolicy: req.GetAssumeRolePolicyDocument(), Description: req.GetDescription(),
		MaxSessionSeconds: cmp.Or(req.GetMaxSessionDuration(), defaultRoleSession),
		Permissions:       &statev1.Permissions{Boundary: req.GetPermissionsBoundary()},
	}}
	var err error
	if e.role.Tags, err = setIAMTags(nil, req.GetTags()); err != nil {
		return nil, err
	}
	_, err = update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		txn := &statev1.Txn{}
		if err := useBoundary(v, txn, account, "", req.GetPermissionsBoundary()); err != nil {
			return nil, err
		}
		return txn, roles.add(v, txn, e)
	})
	if err != nil {
		return nil, err
	}
	return &iamv1.CreateRoleResponse{Role: shownRole(e)}, nil
}

func shownRole(e *entity) *iamv1.Role {
	r := &iamv1.Role{
		Path: new(e.path()), RoleName: new(e.name()), RoleId: new(e.id()), Arn: new(identity.RoleARN(e.account, e.path(), e.name())),
		CreateDate: iamTime(e.role.GetCreatedAt()), AssumeRolePolicyDocument: encoded(e.role.GetTrustPolicy()),
		MaxSessionDuration: new(e.role.GetMaxSessionSeconds()), PermissionsBoundary: e.boundary(), Tags: shownTags(e.role.GetTags()),
	}
	if e.role.GetDescription() != "" {
		r.Description = new(e.role.GetDescription())
	}
	return r
}

func (s *iam) GetRole(ctx context.Context, req *iamv1.GetRoleRequest) (*iamv1.GetRoleResponse, error) {
	_, e, err := s.read(ctx, roles, req.GetRoleName())
	if err != nil {
		return nil, err
	}
	return &iamv1.GetRoleResponse{Role: shownRole(e)}, nil
}

func (s *iam) ListRoles(ctx context.Context, req *iamv1.ListRolesRequest) (*iamv1.ListRolesResponse, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	part, truncated, next := pageAfter(roles.all(v, caller(ctx).Account, req.GetPathPrefix()), (*entity).name, req.Marker, req.MaxItems)
	answer := &iamv1.ListRolesResponse{IsTruncated: truncated, Marker: next}
	for _, e := range part {
		r := shownRole(e)
		r.Tags, r.PermissionsBoundary = nil, nil // as AWS: GetRole has them
		answer.Roles = append(answer.Roles, r)
	}
	return answer, nil
}

func (s *iam) UpdateRole(ctx context.Context, req *iamv1.UpdateRoleRequest) (*iamv1.EmptyResponse, error) {
	return &iamv1.EmptyResponse{}, s.change(ctx, roles, req.GetRoleName(), func(_ *state.View, _ *statev1.Txn, e *entity) error {
		if req.Description != nil {
			e.role.Description = req.GetDescription()
		}
		if req.MaxSessionDuration != nil {
			e.role.MaxSessionSeconds = req.GetMaxSessionDuration()
		}
		return nil
	})
}

func (s *iam) UpdateAssumeRolePolicy(ctx context.Context, req *iamv1.UpdateAssumeRolePolicyRequest) (*iamv1.EmptyResponse, error) {
	if err := checkTrust(req.GetPolicyDocument()); err != nil {
		return nil, err
	}
	return &iamv1.EmptyResponse{}, s.change(ctx, roles, req.GetRoleName(), func(_ *state.View, _ *statev1.Txn, e *entity) error {
		e.role.TrustPolicy = req.GetPolicyDocument()
		return nil
	})
}

func (s *iam) DeleteRole(ctx context.Context, req *iamv1.DeleteRoleRequest) (*iamv1.EmptyResponse, error) {
	return &iamv1.EmptyResponse{}, s.remove(ctx, roles, req.GetRoleName())
}

func (s *iam) TagRole(ctx context.Context, req *iamv1.TagRoleRequest) (*iamv1.EmptyResponse, error) {
	return s.tag(ctx, roles, req.GetRoleName(), req.GetTags())
}

func (s *iam) UntagRole(ctx context.Context, req *iamv1.UntagRoleRequest) (*iamv1.EmptyResponse, error) {
	return s.untag(ctx, roles, req.GetRoleName(), req.GetTagKeys())
}

func (s *iam) ListRoleTags(ctx context.Context, req *iamv1.ListRoleTagsRequest) (*iamv1.ListRoleTagsResponse, error) {
	_, e, err := s.read(ctx, roles, req.GetRoleName())
	if err != nil {
		return nil, err
	}
	part, truncated, next := pageAfter(shownTags(*e.tags()), (*iamv1.Tag).GetKey, req.Marker, req.MaxItems)
	return &iamv1.ListRoleTagsResponse{Tags: part, IsTruncated: truncated, Marker: next}, nil
}

// ListInstanceProfilesForRole answers none: there are no instances.
func (s *iam) ListInstanceProfilesForRole(ctx context.Context, req *iamv1.ListInstanceProfilesForRoleRequest) (*iamv1.ListInstanceProfilesForRoleResponse, error) {
	if _, _, err := s.read(ctx, roles, req.GetRoleName()); err != nil {
		return nil, err
	}
	return &iamv1.ListInstanceProfilesForRoleResponse{IsTruncated: new(false)}, nil
}
