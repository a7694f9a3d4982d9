package service

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/posternhq/postern/controlplane/state"
	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// changePolicy commits what do makes of one of the account's managed policies.
func (s *iam) changePolicy(ctx context.Context, arn string, do func(m *statev1.ManagedPolicy) error) error {
	account := caller(ctx).Account
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		m, r, err := ownPolicy(v, account, arn)
		if err != nil {
			return nil, err
		}
		if err := do(m); err != nil {
			return nil, err
		}
		return &statev1.Txn{Guards: []*statev1.Guard{guard(r)}, Puts: []*statev1.Record{managedPolicyRecord(account, m)}}, nil
	})
	return err
}

func versionIndex(m *statev1.ManagedPolicy, arn, id string) (int, error) {
	i := slices.IndexFunc(m.GetVersions(), func(v *statev1.PolicyVersion) bool { return versionID(v.GetNumber()) == id })
	if i < 0 {
		return 0, noSuchEntity("Policy %s version %s does not exist or is not attachable.", arn, id)
	}
	return i, nil
}

func shownVersion(m *statev1.ManagedPolicy, v *statev1.PolicyVersion) *iamv1.PolicyVersion {
	return &iamv1.PolicyVersion{
		VersionId: new(versionID(v.GetNumber())), IsDefaultVersion: new(v.GetNumber() == m.GetDefaultVersion()), CreateDate: iamTime(v.GetCreatedAt()),
	}
}

func (s *iam) CreatePolicyVersion(ctx context.Context, req *iamv1.CreatePolicyVersionRequest) (*iamv1.CreatePolicyVersionResponse, error) {
	if err := checkManaged(req.GetPolicyDocument()); err != nil {
		return nil, err
	}
	var answer *iamv1.CreatePolicyVersionResponse
	err := s.changePolicy(ctx, req.GetPolicyArn(), func(m *statev1.ManagedPolicy) error {
		if len(m.GetVersions()) >= maxPolicyVersions {
			return iamLimit("A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", maxPolicyVersions)
		}
		m.LastVersion++
		v := &statev1.PolicyVersion{Number: m.GetLastVersion(), Document: req.GetPolicyDocument(), CreatedAt: s.cfg.Now().Unix()}
		m.Versions = append(m.Versions, v)
		m.UpdatedAt = v.GetCreatedAt()
		if req.GetSetAsDefault() {
			m.DefaultVersion = v.GetNumber()
		}
		answer = &iamv1.CreatePolicyVersionResponse{PolicyVersion: shownVersion(m, v)}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

func (s *iam) GetPolicyVersion(ctx context.Context, req *iamv1.GetPolicyVersionRequest) (*iamv1.GetPolicyVersionResponse, error) {
	_, m, err := s.readPolicy(ctx, req.GetPolicyArn())
	if err != nil {
		return nil, err
	}
	i, err := versionIndex(m, req.GetPolicyArn(), req.GetVersionId())
	if err != nil {
		return nil, err
	}
	shown := shownVersion(m, m.Versions[i])
	shown.Document = encoded(m.Versions[i].GetDocument())
	return &iamv1.GetPolicyVersionResponse{PolicyVersion: shown}, nil
}

// ListPolicyVersions lists the newest first.
func (s *iam) ListPolicyVersions(ctx context.Context, req *iamv1.ListPolicyVersionsRequest) (*iamv1.ListPolicyVersionsResponse, error) {
	_, m, err := s.readPolicy(ctx, req.GetPolicyArn())
	if err != nil {
		return nil, err
	}
	newest := func(v *statev1.PolicyVersion) string { return fmt.Sprintf("%010d", math.MaxInt32-v.GetNumber()) }
	part, truncated, next := pageAfter(slices.Clone(m.GetVersions()), newest, req.Marker, req.MaxItems)
	answer := &iamv1.ListPolicyVersionsResponse{IsTruncated: truncated, Marker: next}
	for _, v := range part {
		answer.Versions = append(answer.Versions, shownVersion(m, v))
	}
	return answer, nil
}

func (s *iam) SetDefaultPolicyVersion(ctx context.Context, req *iamv1.SetDefaultPolicyVersionRequest) (*iamv1.EmptyResponse, error) {
	return &iamv1.EmptyResponse{}, s.changePolicy(ctx, req.GetPolicyArn(), func(m *statev1.ManagedPolicy) error {
		i, err := versionIndex(m, req.GetPolicyArn(), req.GetVersionId())
		if err != nil {
			return err
		}
		m.DefaultVersion, m.UpdatedAt = m.Versions[i].GetNumber(), s.cfg.Now().Unix()
		return nil
	})
}

func (s *iam) DeletePolicyVersion(ctx context.Context, req *iamv1.DeletePolicyVersionRequest) (*iamv1.EmptyResponse, error) {
	return &iamv1.EmptyResponse{}, s.changePolicy(ctx, req.GetPolicyArn(), func(m *statev1.ManagedPolicy) error {
		i, err := versionIndex(m, req.GetPolicyArn(), req.GetVersionId())
		switch {
		case err != nil:
			return err
		case m.Versions[i].GetNumber() == m.GetDefaultVersion():
			return deleteConflict("Cannot delete the default version of a policy.")
		}
		m.Versions = slices.Delete(m.Versions, i, i+1)
		return nil
	})
}
