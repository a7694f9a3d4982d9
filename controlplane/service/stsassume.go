package service

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dataplane/policy"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	stsv1 "github.com/posternhq/postern/proto/postern/sts/v1"
)

// assumption is a request to assume a role.
type assumption struct {
	req     *stsv1.AssumeRoleRequest
	caller  *identity.Holder
	account string // of the role
	role    *statev1.Role
	session *statev1.Session
}

// AssumeRole makes credentials of a role, if its trust policy lets the caller
// have them and, where that names an account only or another account asks, the
// caller's own policies do, too.
func (s *stsServer) AssumeRole(ctx context.Context, req *stsv1.AssumeRoleRequest) (*stsv1.AssumeRoleResponse, error) {
	var answer *stsv1.AssumeRoleResponse
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		a := &assumption{req: req, caller: holder(ctx, s.cfg, v)}
		if a.caller.User == nil && a.caller.Role == nil {
			return nil, apierr.New(apierr.KindAccessDenied, "AccessDenied", "Roles may not be assumed by root accounts.")
		}
		if err := a.find(v); err != nil {
			return nil, err
		}
		if err := a.describe(v); err != nil {
			return nil, err
		}
		if err := a.authorize(ctx, s.cfg, v); err != nil {
			return nil, err
		}
		seconds, err := a.seconds()
		if err != nil {
			return nil, err
		}
		// A role or user that is deleted meanwhile takes the session with it:
		// nobody finds a holder for it any more.
		txn := &statev1.Txn{}
		made, err := s.cfg.begin(v, txn, a.session, seconds)
		if err != nil {
			return nil, err
		}
		answer = &stsv1.AssumeRoleResponse{Credentials: made, AssumedRoleUser: &stsv1.AssumedRoleUser{
			AssumedRoleId: new(a.role.GetId() + ":" + a.session.GetName()),
			Arn:           new(identity.SessionARN(a.account, a.role.GetName(), a.session.GetName())),
		}}
		if id := a.session.GetSourceIdentity(); id != "" {
			answer.SourceIdentity = new(id)
		}
		return txn, nil
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// find finds the role. One that does not exist is answered as one that trusts
// somebody else.
func (a *assumption) find(v *state.View) error {
	account, path, name, ok := identity.SplitARN(a.req.GetRoleArn(), "role")
	if !ok || !accountText.MatchString(account) {
		return stsInvalid("%s is invalid", a.req.GetRoleArn())
	}
	a.account = account
	a.role, _ = identity.Role(v, account, name)
	if a.role == nil || a.role.GetPath() != path {
		return a.denied("sts:AssumeRole", "")
	}
	return nil
}

func (a *assumption) denied(action, why string) error {
	return apierr.New(apierr.KindAccessDenied, "AccessDenied", "User: %s is not authorized to perform: %s on resource: %s%s", a.caller.ARN(), action, a.req.GetRoleArn(), why)
}

func (a *assumption) seconds() (int32, error) {
	seconds := cmp.Or(a.req.GetDurationSeconds(), defaultRoleSession)
	switch {
	case a.caller.Role != nil && seconds > maxChainedSession:
		return 0, stsInvalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	case seconds > a.role.GetMaxSessionSeconds():
		return 0, stsInvalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return seconds, nil
}

// describe fills in the session as far as the request says what it is.
func (a *assumption) describe(v *state.View) error {
	a.session = &statev1.Session{
		Account: a.account, Role: a.role.GetName(), PrincipalId: a.role.GetId(), Name: a.req.GetRoleSessionName(),
		SourceIdentity: cmp.Or(a.req.GetSourceIdentity(), a.caller.Session.GetSourceIdentity()), Chained: a.caller.Role != nil,
	}
	if err := a.limit(v); err != nil {
		return err
	}
	return a.tag()
}

// limit adds the session policies.
func (a *assumption) limit(v *state.View) error {
	if a.req.Policy != nil {
		if _, err := checkDocument(a.req.GetPolicy()); err != nil {
			return err
		}
		a.session.Policies = append(a.session.Policies, a.req.GetPolicy())
	}
	for _, d := range a.req.GetPolicyArns() {
		m := visiblePolicy(v, a.account, d.GetArn())
		if m == nil {
			return stsInvalid("Policy %s does not exist or is not of the account of the role", d.GetArn())
		}
		a.session.PolicyArns = append(a.session.PolicyArns, d.GetArn())
		a.session.Policies = append(a.session.Policies, identity.Document(m))
	}
	return nil
}

func stsParameter(format string, args ...any) error {
	return apierr.New(apierr.KindInvalid, "InvalidParameterValue", format, args...)
}

// tag adds the session's tags: what the caller's session hands on, and those of
// the request, which can't change these.
func (a *assumption) tag() error {
	from := a.caller.Session
	for _, t := range from.GetTags() {
		if containsFold(from.GetTransitiveTags(), t.GetKey()) {
			a.session.Tags = append(a.session.Tags, t)
			a.session.TransitiveTags = append(a.session.TransitiveTags, t.GetKey())
		}
	}
	inherited := len(a.session.Tags)
	for _, t := range a.req.GetTags() {
		switch at := tagIndex(a.session.Tags, t.GetKey()); {
		case at >= inherited:
			return stsParameter("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		case at >= 0:
			return stsParameter("One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
		case strings.HasPrefix(strings.ToLower(t.GetKey()), reservedPrefix):
			return stsParameter("System tag keys: '%s' cannot be set", t.GetKey())
		}
		a.session.Tags = append(a.session.Tags, &statev1.IamTag{Key: t.GetKey(), Value: t.GetValue()})
	}
	if len(a.session.Tags) > maxIAMTags {
		return stsParameter("The number of session tags is larger than %d", maxIAMTags)
	}
	for _, key := range a.req.GetTransitiveTagKeys() {
		if tagIndex(a.session.Tags, key) < 0 {
			return stsParameter("The specified transitive tag key must be included in the requested tags.")
		}
		if !containsFold(a.session.TransitiveTags, key) {
			a.session.TransitiveTags = append(a.session.TransitiveTags, key)
		}
	}
	return nil
}

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(x string) bool { return strings.EqualFold(x, s) })
}

// authorize asks the policies for each action that the request amounts to.
func (a *assumption) authorize(ctx context.Context, cfg Config, v *state.View) error {
	actions := []string{"sts:AssumeRole"}
	if len(a.session.GetTags()) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	if a.session.GetSourceIdentity() != "" {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	if from := a.caller.Session.GetSourceIdentity(); from != "" && from != a.session.GetSourceIdentity() {
		return a.denied("sts:SetSourceIdentity", "") // once set it stays
	}
	doc, err := policy.ParseTrust([]byte(a.role.GetTrustPolicy()))
	if err != nil {
		return a.denied(actions[0], "") // it was read when it was put
	}
	trust, err := policy.Compile(doc)
	if err != nil {
		return a.denied(actions[0], "")
	}
	named, err := policy.CompileNamed(doc)
	if err != nil {
		return a.denied(actions[0], "")
	}
	for _, action := range actions {
		r := a.request(ctx, cfg, action)
		own := a.caller.Verdicts(v, r)
		all := policy.Combination{
			Auth: policy.AuthIAM, SameAccount: a.caller.Account == a.account, Named: named.Eval(r).Effect == policy.Allow,
			Resource: trust.Verdict(r), Identity: own.Identity, Boundary: own.Boundary, Session: own.Session,
		}
		outcome := all.Outcome()
		switch {
		case all.Resource.Effect == policy.ExplicitDeny:
			return a.denied(action, " with an explicit deny in the role trust policy")
		case outcome.Effect == policy.ExplicitDeny:
			return a.denied(action, outcome.Suffix())
		case all.Resource.Effect != policy.Allow || !outcome.Allowed():
			// Own policies never do without the trust policy.
			return a.denied(action, "")
		}
	}
	return nil
}

// request is the call as policies see it.
func (a *assumption) request(ctx context.Context, cfg Config, action string) *policy.Request {
	r := &policy.Request{Action: action, Resource: []byte(a.req.GetRoleArn()), Time: cfg.Now()}
	r.SetPrincipal(a.caller.Principal())
	callContext(ctx, r, a.caller)
	r.SetContext("sts:RoleSessionName", a.req.GetRoleSessionName())
	if a.req.ExternalId != nil {
		r.SetContext("sts:ExternalId", a.req.GetExternalId())
	}
	if id := a.session.GetSourceIdentity(); id != "" {
		r.SetContext("sts:SourceIdentity", id)
	}
	var keys []string
	for _, t := range a.req.GetTags() {
		keys = append(keys, t.GetKey())
		r.SetContext("aws:RequestTag/"+t.GetKey(), t.GetValue())
	}
	if len(keys) > 0 {
		r.SetContext("aws:TagKeys", keys...)
	}
	if transitive := a.session.GetTransitiveTags(); len(transitive) > 0 {
		r.SetContext("sts:TransitiveTagKeys", transitive...)
	}
	for _, t := range a.role.GetTags() {
		r.SetContext("aws:ResourceTag/"+t.GetKey(), t.GetValue())
		r.SetContext("iam:ResourceTag/"+t.GetKey(), t.GetValue())
	}
	return r
}

// callContext sets the condition keys that say how a call of the control plane
// came: from where, with what program, with which credentials.
func callContext(ctx context.Context, r *policy.Request, h *identity.Holder) {
	if from, err := netip.ParseAddrPort(incoming(ctx, metaSource)); err == nil {
		r.SetAddr(policy.KeySourceIP, from.Addr())
	}
	r.Set(policy.KeyUserAgent, incoming(ctx, metaUserAgent))
	if h.Session != nil {
		r.Set(policy.KeyTokenIssueTime, iamTimeText(h.IssuedAt))
		r.Set(policy.KeyMultiFactorAuthPresent, "false")
		if id := h.Session.GetSourceIdentity(); id != "" {
			r.SetContext("aws:SourceIdentity", id)
		}
	}
}
