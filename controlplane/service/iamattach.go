package service

import (
	"context"
	"slices"
	"strings"

	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/controlplane/state"
	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const maxAttached = 10 // managed policies of a user or role

// uses says how a user or role uses a managed policy.
func (e *entity) uses(arn string) (attached, limits bool) {
	return slices.Contains(e.permissions().GetAttached(), arn), e.permissions().GetBoundary() == arn
}

// count adds to what a policy counts of its users. Policies that are there for
// everyone have no record to count in.
func count(v *state.View, txn *statev1.Txn, account, arn string, do func(m *statev1.ManagedPolicy)) error {
	m := visiblePolicy(v, account, arn)
	switch {
	case m == nil:
		return noSuchEntity("Policy %s does not exist or is not attachable.", arn)
	case policyOwner(arn) != account:
		return nil
	}
	// The Txn may change the policy already: one may be boundary and attached.
	key := identity.NamedKey(statev1.Type_TYPE_MANAGED_POLICY, account, m.GetName())
	for _, put := range txn.GetPuts() {
		if state.KeyOf(put.GetKey()) == key {
			do(put.GetManagedPolicy())
			return nil
		}
	}
	own, r, err := ownPolicy(v, account, arn)
	if err != nil {
		return err
	}
	do(own)
	txn.Guards = append(txn.Guards, guard(r))
	txn.Puts = append(txn.Puts, managedPolicyRecord(account, own))
	return nil
}

// useBoundary counts that a user or role has another permissions boundary; ""
// stands for none.
func useBoundary(v *state.View, txn *statev1.Txn, account, before, after string) error {
	if before != "" {
		if err := count(v, txn, account, before, func(m *statev1.ManagedPolicy) { m.Boundaries-- }); err != nil {
			return err
		}
	}
	if after != "" {
		return count(v, txn, account, after, func(m *statev1.ManagedPolicy) { m.Boundaries++ })
	}
	return nil
}

func (s *iam) setBoundary(ctx context.Context, k *entityKind, name, arn string) (*iamv1.EmptyResponse, error) {
	return &iamv1.EmptyResponse{}, s.change(ctx, k, name, func(v *state.View, txn *statev1.Txn, e *entity) error {
		p := e.permissions()
		if arn == "" && p.GetBoundary() == "" {
			return noSuchEntity("%s with name %s does not have a permissions boundary.", k.title, name)
		}
		err := useBoundary(v, txn, e.account, p.GetBoundary(), arn)
		p.Boundary = arn
		return err
	})
}

func (s *iam) PutUserPermissionsBoundary(ctx context.Context, req *iamv1.PutUserPermissionsBoundaryRequest) (*iamv1.EmptyResponse, error) {
	return s.setBoundary(ctx, users, req.GetUserName(), req.GetPermissionsBoundary())
}

func (s *iam) PutRolePermissionsBoundary(ctx context.Context, req *iamv1.PutRolePermissionsBoundaryRequest) (*iamv1.EmptyResponse, error) {
	return s.setBoundary(ctx, roles, req.GetRoleName(), req.GetPermissionsBoundary())
}

func (s *iam) DeleteUserPermissionsBoundary(ctx context.Context, req *iamv1.DeleteUserPermissionsBoundaryRequest) (*iamv1.EmptyResponse, error) {
	return s.setBoundary(ctx, users, req.GetUserName(), "")
}

func (s *iam) DeleteRolePermissionsBoundary(ctx context.Context, req *iamv1.DeleteRolePermissionsBoundaryRequest) (*iamv1.EmptyResponse, error) {
	return s.setBoundary(ctx, roles, req.GetRoleName(), "")
}

// attach attaches a managed policy; one that is attached stays so.
func (s *iam) attach(ctx context.Context, k *entityKind, name, arn string) (*iamv1.EmptyResponse, error) {
	return &iamv1.EmptyResponse{}, s.change(ctx, k, name, func(v *state.View, txn *statev1.Txn, e *entity) error {
		p := e.permissions()
		if slices.Contains(p.GetAttached(), arn) {
			return nil
		}
		if err := count(v, txn, e.account, arn, func(m *statev1.ManagedPolicy) { m.Attachments++ }); err != nil {
			return err
		}
		if len(p.GetAttached()) >= maxAttached {
			return iamLimit("Cannot exceed quota for %s: %d", k.attached, maxAttached)
		}
		p.Attached = append(p.Attached, arn)
		return nil
	})
}

func (s *iam) detach(ctx context.Context, k *entityKind, name, arn string) (*iamv1.EmptyResponse, error) {
	return &iamv1.EmptyResponse{}, s.change(ctx, k, name, func(v *state.View, txn *statev1.Txn, e *entity) error {
		p := e.permissions()
		i := slices.Index(p.GetAttached(), arn)
		if i < 0 {
			return noSuchEntity("Policy %s was not found.", arn)
		}
		p.Attached = slices.Delete(p.Attached, i, i+1)
		return count(v, txn, e.account, arn, func(m *statev1.ManagedPolicy) { m.Attachments-- })
	})
}

func (s *iam) AttachUserPolicy(ctx context.Context, req *iamv1.AttachUserPolicyRequest) (*iamv1.EmptyResponse, error) {
	return s.attach(ctx, users, req.GetUserName(), req.GetPolicyArn())
}

func (s *iam) AttachRolePolicy(ctx context.Context, req *iamv1.AttachRolePolicyRequest) (*iamv1.EmptyResponse, error) {
	return s.attach(ctx, roles, req.GetRoleName(), req.GetPolicyArn())
}

func (s *iam) DetachUserPolicy(ctx context.Context, req *iamv1.DetachUserPolicyRequest) (*iamv1.EmptyResponse, error) {
	return s.detach(ctx, users, req.GetUserName(), req.GetPolicyArn())
}

func (s *iam) DetachRolePolicy(ctx context.Context, req *iamv1.DetachRolePolicyRequest) (*iamv1.EmptyResponse, error) {
	return s.detach(ctx, roles, req.GetRoleName(), req.GetPolicyArn())
}

// attachedPolicies are those of a user or role under a path, one page of them.
func (s *iam) attachedPolicies(ctx context.Context, k *entityKind, name, pathPrefix string, marker *string, maxItems *int32) (part []*iamv1.AttachedPolicy, truncated *bool, next *string, err error) {
	_, e, err := s.read(ctx, k, name)
	if err != nil {
		return nil, nil, nil, err
	}
	var all []*iamv1.AttachedPolicy
	for _, arn := range e.permissions().GetAttached() {
		if _, path, name, _ := identity.SplitARN(arn, "policy"); strings.HasPrefix(path, pathPrefix) {
			all = append(all, &iamv1.AttachedPolicy{PolicyName: new(name), PolicyArn: new(arn)})
		}
	}
	part, truncated, next = pageAfter(all, (*iamv1.AttachedPolicy).GetPolicyArn, marker, maxItems)
	return part, truncated, next, nil
}

func (s *iam) ListAttachedUserPolicies(ctx context.Context, req *iamv1.ListAttachedUserPoliciesRequest) (*iamv1.ListAttachedUserPoliciesResponse, error) {
	part, truncated, next, err := s.attachedPolicies(ctx, users, req.GetUserName(), req.GetPathPrefix(), req.Marker, req.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamv1.ListAttachedUserPoliciesResponse{AttachedPolicies: part, IsTruncated: truncated, Marker: next}, nil
}

func (s *iam) ListAttachedRolePolicies(ctx context.Context, req *iamv1.ListAttachedRolePoliciesRequest) (*iamv1.ListAttachedRolePoliciesResponse, error) {
	part, truncated, next, err := s.attachedPolicies(ctx, roles, req.GetRoleName(), req.GetPathPrefix(), req.Marker, req.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamv1.ListAttachedRolePoliciesResponse{AttachedPolicies: part, IsTruncated: truncated, Marker: next}, nil
}

// ListEntitiesForPolicy lists the account's users and roles that use a policy.
func (s *iam) ListEntitiesForPolicy(ctx context.Context, req *iamv1.ListEntitiesForPolicyRequest) (*iamv1.ListEntitiesForPolicyResponse, error) {
	v, _, err := s.readPolicy(ctx, req.GetPolicyArn())
	if err != nil {
		return nil, err
	}
	var all []*entity
	for filter, k := range map[string]*entityKind{"User": users, "Role": roles} {
		if req.EntityFilter != nil && req.GetEntityFilter() != filter {
			continue
		}
		for _, e := range k.all(v, caller(ctx).Account, req.GetPathPrefix()) {
			attached, limits := e.uses(req.GetPolicyArn())
			switch req.GetPolicyUsageFilter() {
			case "PermissionsPolicy":
				limits = false
			case "PermissionsBoundary":
				attached = false
			}
			if attached || limits {
				all = append(all, e)
			}
		}
	}
	part, truncated, next := pageAfter(all, func(e *entity) string { return e.kind.word + "/" + e.name() }, req.Marker, req.MaxItems)
	answer := &iamv1.ListEntitiesForPolicyResponse{IsTruncated: truncated, Marker: next}
	for _, e := range part {
		if e.user != nil {
			answer.PolicyUsers = append(answer.PolicyUsers, &iamv1.PolicyUser{UserName: new(e.name()), UserId: new(e.id())})
		} else {
			answer.PolicyRoles = append(answer.PolicyRoles, &iamv1.PolicyRole{RoleName: new(e.name()), RoleId: new(e.id())})
		}
	}
	return answer, nil
}
