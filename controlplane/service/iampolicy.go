package service

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dataplane/policy"
	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	maxPolicies       = 1500 // of an account
	maxPolicyVersions = 5
)

func managedPolicyRecord(account string, m *statev1.ManagedPolicy) *statev1.Record {
	key := identity.NamedKey(statev1.Type_TYPE_MANAGED_POLICY, account, m.GetName())
	return &statev1.Record{Key: key.Proto(), Value: &statev1.Record_ManagedPolicy{ManagedPolicy: m}}
}

// visiblePolicy finds a policy that an account may attach and read: one of its
// own, or one that is there for everyone.
func visiblePolicy(v *state.View, account, arn string) *statev1.ManagedPolicy {
	if owner, _, _, _ := identity.SplitARN(arn, "policy"); owner != account && owner != "aws" {
		return nil
	}
	return identity.ManagedPolicy(v, arn)
}

// ownPolicy returns a copy of one of the account's own policies, and its record.
func ownPolicy(v *state.View, account, arn string) (*statev1.ManagedPolicy, *statev1.Record, error) {
	owner, _, name, _ := identity.SplitARN(arn, "policy")
	if owner == "aws" && identity.ManagedPolicy(v, arn) != nil {
		return nil, nil, apierr.New(apierr.KindAccessDenied, "AccessDenied", "Policy is outside your own account: %s is the same for everyone and can't be changed", arn)
	}
	m := visiblePolicy(v, account, arn)
	if m == nil {
		return nil, nil, noSuchEntity("Policy %s was not found.", arn)
	}
	return proto.CloneOf(m), v.Get(identity.NamedKey(statev1.Type_TYPE_MANAGED_POLICY, account, name)), nil
}

// checkManaged refuses what can't be a version of a managed policy.
func checkManaged(document string) error {
	size, err := checkDocument(document)
	if err == nil && size > policy.MaxIdentityPolicy {
		return iamLimit("Cannot exceed quota for PolicySize: %d", policy.MaxIdentityPolicy)
	}
	return err
}

func (s *iam) CreatePolicy(ctx context.Context, req *iamv1.CreatePolicyRequest) (*iamv1.CreatePolicyResponse, error) {
	if err := checkManaged(req.GetPolicyDocument()); err != nil {
		return nil, err
	}
	tags, err := setIAMTags(nil, req.GetTags())
	if err != nil {
		return nil, err
	}
	account, now := caller(ctx).Account, s.cfg.Now().Unix()
	m := &statev1.ManagedPolicy{
		Name: req.GetPolicyName(), Path: cmp.Or(req.GetPath(), "/"), Id: s.cfg.uniqueID("ANPA"), CreatedAt: now, UpdatedAt: now,
		Description: req.GetDescription(), Tags: tags, DefaultVersion: 1, LastVersion: 1,
		Versions: []*statev1.PolicyVersion{{Number: 1, Document: req.GetPolicyDocument(), CreatedAt: now}},
	}
	_, err = update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		r := managedPolicyRecord(account, m)
		if v.Get(state.KeyOf(r.GetKey())) != nil {
			return nil, entityExists("A policy called %s already exists. Duplicate names are not allowed.", m.GetName())
		}
		count := 0
		for range v.List(statev1.Type_TYPE_MANAGED_POLICY, account, "", "") {
			count++
		}
		if count >= maxPolicies {
			return nil, iamLimit("Cannot exceed quota for PoliciesPerAccount: %d", maxPolicies)
		}
		return &statev1.Txn{Guards: []*statev1.Guard{absent(state.KeyOf(r.GetKey()))}, Puts: []*statev1.Record{r}}, nil
	})
	if err != nil {
		return nil, err
	}
	return &iamv1.CreatePolicyResponse{Policy: shownPolicy(account, m)}, nil
}

func versionID(number int32) string { return fmt.Sprintf("v%d", number) }

func shownPolicy(account string, m *statev1.ManagedPolicy) *iamv1.Policy {
	p := &iamv1.Policy{
		PolicyName: new(m.GetName()), PolicyId: new(m.GetId()), Arn: new(identity.PolicyARN(account, m.GetPath(), m.GetName())), Path: new(m.GetPath()),
		DefaultVersionId: new(versionID(m.GetDefaultVersion())), AttachmentCount: new(int32(m.GetAttachments())),
		PermissionsBoundaryUsageCount: new(int32(m.GetBoundaries())), IsAttachable: new(true),
		CreateDate: iamTime(m.GetCreatedAt()), UpdateDate: iamTime(m.GetUpdatedAt()), Tags: shownTags(m.GetTags()),
	}
	if m.GetDescription() != "" {
		p.Description = new(m.GetDescription())
	}
	return p
}

// policyOwner is the account in the ARN of a policy.
func policyOwner(arn string) string {
	owner, _, _, _ := identity.SplitARN(arn, "policy")
	return owner
}

func (s *iam) readPolicy(ctx context.Context, arn string) (*state.View, *statev1.ManagedPolicy, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, nil, err
	}
	m := visiblePolicy(v, caller(ctx).Account, arn)
	if m == nil {
		return nil, nil, noSuchEntity("Policy %s was not found.", arn)
	}
	return v, m, nil
}

func (s *iam) GetPolicy(ctx context.Context, req *iamv1.GetPolicyRequest) (*iamv1.GetPolicyResponse, error) {
	v, m, err := s.readPolicy(ctx, req.GetPolicyArn())
	if err != nil {
		return nil, err
	}
	return &iamv1.GetPolicyResponse{Policy: counted(v, caller(ctx).Account, req.GetPolicyArn(), m)}, nil
}

// counted is a policy with what uses it: of those that are there for everyone
// no record counts it.
func counted(v *state.View, account, arn string, m *statev1.ManagedPolicy) *iamv1.Policy {
	p := shownPolicy(policyOwner(arn), m)
	if policyOwner(arn) == "aws" {
		var attached, limited int32
		for _, e := range append(users.all(v, account, ""), roles.all(v, account, "")...) {
			a, b := e.uses(arn)
			if a {
				attached++
			}
			if b {
				limited++
			}
		}
		p.AttachmentCount, p.PermissionsBoundaryUsageCount = new(attached), new(limited)
	}
	return p
}

func (s *iam) ListPolicies(ctx context.Context, req *iamv1.ListPoliciesRequest) (*iamv1.ListPoliciesResponse, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	account := caller(ctx).Account
	var all []*iamv1.Policy
	add := func(owner string, m *statev1.ManagedPolicy) {
		p := counted(v, account, identity.PolicyARN(owner, m.GetPath(), m.GetName()), m)
		usage := p.GetAttachmentCount() + p.GetPermissionsBoundaryUsageCount()
		switch req.GetPolicyUsageFilter() {
		case "PermissionsPolicy":
			usage = p.GetAttachmentCount()
		case "PermissionsBoundary":
			usage = p.GetPermissionsBoundaryUsageCount()
		}
		if !strings.HasPrefix(m.GetPath(), req.GetPathPrefix()) || usage == 0 && (req.GetOnlyAttached() || req.PolicyUsageFilter != nil) {
			return
		}
		p.Tags, p.Description = nil, nil // as AWS: GetPolicy has them
		all = append(all, p)
	}
	if req.GetScope() != "AWS" {
		for r := range v.List(statev1.Type_TYPE_MANAGED_POLICY, account, "", "") {
			add(account, r.GetManagedPolicy())
		}
	}
	if req.GetScope() != "Local" {
		for _, m := range identity.Provided() {
			add("aws", m)
		}
	}
	part, truncated, next := pageAfter(all, (*iamv1.Policy).GetArn, req.Marker, req.MaxItems)
	return &iamv1.ListPoliciesResponse{Policies: part, IsTruncated: truncated, Marker: next}, nil
}

func (s *iam) DeletePolicy(ctx context.Context, req *iamv1.DeletePolicyRequest) (*iamv1.EmptyResponse, error) {
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		m, r, err := ownPolicy(v, caller(ctx).Account, req.GetPolicyArn())
		switch {
		case err != nil:
			return nil, err
		case m.GetAttachments() > 0 || m.GetBoundaries() > 0:
			return nil, deleteConflict("Cannot delete a policy attached to entities.")
		case len(m.GetVersions()) > 1:
			return nil, deleteConflict("This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
		}
		return &statev1.Txn{Guards: []*statev1.Guard{guard(r)}, Deletes: []*statev1.Key{r.GetKey()}}, nil
	})
	return &iamv1.EmptyResponse{}, err
}

func (s *iam) TagPolicy(ctx context.Context, req *iamv1.TagPolicyRequest) (*iamv1.EmptyResponse, error) {
	return &iamv1.EmptyResponse{}, s.changePolicy(ctx, req.GetPolicyArn(), func(m *statev1.ManagedPolicy) (err error) {
		m.Tags, err = setIAMTags(m.GetTags(), req.GetTags())
		return err
	})
}

func (s *iam) UntagPolicy(ctx context.Context, req *iamv1.UntagPolicyRequest) (*iamv1.EmptyResponse, error) {
	return &iamv1.EmptyResponse{}, s.changePolicy(ctx, req.GetPolicyArn(), func(m *statev1.ManagedPolicy) error {
		m.Tags = withoutTags(m.GetTags(), req.GetTagKeys())
		return nil
	})
}

func (s *iam) ListPolicyTags(ctx context.Context, req *iamv1.ListPolicyTagsRequest) (*iamv1.ListPolicyTagsResponse, error) {
	_, m, err := s.readPolicy(ctx, req.GetPolicyArn())
	if err != nil {
		return nil, err
	}
	part, truncated, next := pageAfter(shownTags(m.GetTags()), (*iamv1.Tag).GetKey, req.Marker, req.MaxItems)
	return &iamv1.ListPolicyTagsResponse{Tags: part, IsTruncated: truncated, Marker: next}, nil
}
