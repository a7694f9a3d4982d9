package service

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/posternhq/postern/controlplane/state"
	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Inline policies, which are alike for users and roles.

func inlineIndex(e *entity, name string) (int, bool) {
	return slices.BinarySearchFunc(e.permissions().GetInline(), name, func(p *statev1.InlinePolicy, name string) int { return cmp.Compare(p.GetName(), name) })
}

func (e *entity) missingInline(name string) error {
	return noSuchEntity("The %s policy with name %s cannot be found.", e.kind.word, name)
}

func (s *iam) putInline(ctx context.Context, k *entityKind, entityName, name, document string) (*iamv1.EmptyResponse, error) {
	size, err := checkDocument(document)
	if err != nil {
		return nil, err
	}
	return &iamv1.EmptyResponse{}, s.change(ctx, k, entityName, func(_ *state.View, _ *statev1.Txn, e *entity) error {
		p, total := e.permissions(), size
		for _, other := range p.GetInline() {
			if other.GetName() == name {
				continue
			}
			n, err := checkDocument(other.GetDocument())
			if err != nil {
				n = len(other.GetDocument()) // it was a policy when it was put
			}
			total += n
		}
		if total > k.inline {
			return iamLimit("Maximum policy size of %d bytes exceeded for %s %s", k.inline, k.word, entityName)
		}
		put := &statev1.InlinePolicy{Name: name, Document: document}
		if at, found := inlineIndex(e, name); found {
			p.Inline[at] = put
		} else {
			p.Inline = slices.Insert(p.Inline, at, put)
		}
		return nil
	})
}

func (s *iam) deleteInline(ctx context.Context, k *entityKind, entityName, name string) (*iamv1.EmptyResponse, error) {
	return &iamv1.EmptyResponse{}, s.change(ctx, k, entityName, func(_ *state.View, _ *statev1.Txn, e *entity) error {
		at, found := inlineIndex(e, name)
		if !found {
			return e.missingInline(name)
		}
		p := e.permissions()
		p.Inline = slices.Delete(p.Inline, at, at+1)
		return nil
	})
}

func (s *iam) inline(ctx context.Context, k *entityKind, entityName, name string) (document *string, err error) {
	_, e, err := s.read(ctx, k, entityName)
	if err != nil {
		return nil, err
	}
	at, found := inlineIndex(e, name)
	if !found {
		return nil, e.missingInline(name)
	}
	return encoded(e.permissions().Inline[at].GetDocument()), nil
}

func (s *iam) inlineNames(ctx context.Context, k *entityKind, entityName string, marker *string, maxItems *int32) (part []string, truncated *bool, next *string, err error) {
	_, e, err := s.read(ctx, k, entityName)
	if err != nil {
		return nil, nil, nil, err
	}
	var names []string
	for _, p := range e.permissions().GetInline() {
		names = append(names, p.GetName())
	}
	part, truncated, next = pageAfter(names, strings.Clone, marker, maxItems)
	return part, truncated, next, nil
}

func (s *iam) PutUserPolicy(ctx context.Context, req *iamv1.PutUserPolicyRequest) (*iamv1.EmptyResponse, error) {
	return s.putInline(ctx, users, req.GetUserName(), req.GetPolicyName(), req.GetPolicyDocument())
}

func (s *iam) PutRolePolicy(ctx context.Context, req *iamv1.PutRolePolicyRequest) (*iamv1.EmptyResponse, error) {
	return s.putInline(ctx, roles, req.GetRoleName(), req.GetPolicyName(), req.GetPolicyDocument())
}

func (s *iam) DeleteUserPolicy(ctx context.Context, req *iamv1.DeleteUserPolicyRequest) (*iamv1.EmptyResponse, error) {
	return s.deleteInline(ctx, users, req.GetUserName(), req.GetPolicyName())
}

func (s *iam) DeleteRolePolicy(ctx context.Context, req *iamv1.DeleteRolePolicyRequest) (*iamv1.EmptyResponse, error) {
	return s.deleteInline(ctx, roles, req.GetRoleName(), req.GetPolicyName())
}

func (s *iam) GetUserPolicy(ctx context.Context, req *iamv1.GetUserPolicyRequest) (*iamv1.GetUserPolicyResponse, error) {
	document, err := s.inline(ctx, users, req.GetUserName(), req.GetPolicyName())
	if err != nil {
		return nil, err
	}
	return &iamv1.GetUserPolicyResponse{UserName: req.UserName, PolicyName: req.PolicyName, PolicyDocument: document}, nil
}

func (s *iam) GetRolePolicy(ctx context.Context, req *iamv1.GetRolePolicyRequest) (*iamv1.GetRolePolicyResponse, error) {
	document, err := s.inline(ctx, roles, req.GetRoleName(), req.GetPolicyName())
	if err != nil {
		return nil, err
	}
	return &iamv1.GetRolePolicyResponse{RoleName: req.RoleName, PolicyName: req.PolicyName, PolicyDocument: document}, nil
}

func (s *iam) ListUserPolicies(ctx context.Context, req *iamv1.ListUserPoliciesRequest) (*iamv1.ListUserPoliciesResponse, error) {
	names, truncated, next, err := s.inlineNames(ctx, users, req.GetUserName(), req.Marker, req.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamv1.ListUserPoliciesResponse{PolicyNames: names, IsTruncated: truncated, Marker: next}, nil
}

func (s *iam) ListRolePolicies(ctx context.Context, req *iamv1.ListRolePoliciesRequest) (*iamv1.ListRolePoliciesResponse, error) {
	names, truncated, next, err := s.inlineNames(ctx, roles, req.GetRoleName(), req.Marker, req.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamv1.ListRolePoliciesResponse{PolicyNames: names, IsTruncated: truncated, Marker: next}, nil
}
