package reference

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/dataplane/policy"
)

// The two tables of the authorization workflow (§6.2 and §6.3 of the
// resource-policy page): identity policy, resource policy, result.
var (
	tableA = map[[2]string]string{
		{"Allow", "Allow"}:   "Allow",
		{"Allow", "Silent"}:  "Allow",
		{"Allow", "Deny"}:    "Explicit Deny",
		{"Silent", "Allow"}:  "Allow",
		{"Silent", "Silent"}: "Implicit Deny",
		{"Silent", "Deny"}:   "Explicit Deny",
		{"Deny", "Allow"}:    "Explicit Deny",
		{"Deny", "Silent"}:   "Explicit Deny",
		{"Deny", "Deny"}:     "Explicit Deny",
	}
	tableB = map[[2]string]string{
		{"Allow", "Allow"}:   "Allow",
		{"Allow", "Silent"}:  "Implicit Deny",
		{"Allow", "Deny"}:    "Explicit Deny",
		{"Silent", "Allow"}:  "Implicit Deny",
		{"Silent", "Silent"}: "Implicit Deny",
		{"Silent", "Deny"}:   "Explicit Deny",
		{"Deny", "Allow"}:    "Explicit Deny",
		{"Deny", "Silent"}:   "Explicit Deny",
		{"Deny", "Deny"}:     "Explicit Deny",
	}
)

// Combine decides a request by the words of all its policies.
func Combine(c policy.Combination) policy.Outcome {
	// Who has no say is not heard (§6.1, §6.4).
	identityKind := policy.SourceIdentity
	switch c.Auth {
	case policy.AuthNone, policy.AuthCognito:
		c.Identity, c.Boundary, c.Session = policy.Verdict{}, policy.Verdict{}, policy.Verdict{}
	case policy.AuthCustom:
		c.Boundary, c.Session = policy.Verdict{}, policy.Verdict{}
		identityKind = policy.SourceAuthorizer
	}

	// §6.6, in its order: the API's deny, then the endpoint, then the rest.
	if word(c.Resource) == "Deny" {
		return decidedBy(c.Resource, policy.SourceResource)
	}
	if c.Endpoint.Attached && word(c.Endpoint) != "Allow" {
		return decidedBy(c.Endpoint, policy.SourceEndpoint)
	}
	// Any explicit deny anywhere (language §7, row 1).
	if word(c.Identity) == "Deny" {
		return decidedBy(c.Identity, identityKind)
	}
	if word(c.Boundary) == "Deny" {
		return decidedBy(c.Boundary, policy.SourceBoundary)
	}
	if word(c.Session) == "Deny" {
		return decidedBy(c.Session, policy.SourceSession)
	}
	// A private API without any policy is closed to all (§6.3).
	if c.Private && !c.Resource.Attached {
		return nobodyAllows(policy.SourceResource)
	}
	// A public API without any policy is open, if its methods are (§6.1).
	open := c.Auth == policy.AuthNone || c.Auth == policy.AuthCognito
	if open && !c.Resource.Attached {
		return policy.Outcome{Effect: policy.Allow, Source: policy.SourceNone, Statement: -1}
	}

	if c.Auth == policy.AuthIAM && !c.SameAccount {
		if tableB[[2]string{word(c.Identity), word(c.Resource)}] != "Allow" {
			if word(c.Identity) != "Allow" {
				return nobodyAllows(policy.SourceIdentity)
			}
			return nobodyAllows(policy.SourceResource)
		}
		if o, limited := limits(c); limited {
			return o
		}
		return decidedBy(c.Resource, policy.SourceResource)
	}

	// The account's own consent is missing (language §3, delegation).
	if c.Resource.Delegated && word(c.Identity) != "Allow" && !c.Root && !c.AccountGrants {
		c.Resource.Decision = policy.Decision{Statement: -1}
	}
	if open {
		if word(c.Resource) == "Allow" {
			return decidedBy(c.Resource, policy.SourceResource)
		}
		return nobodyAllows(policy.SourceResource)
	}
	if tableA[[2]string{word(c.Identity), word(c.Resource)}] != "Allow" {
		return nobodyAllows(identityKind)
	}
	switch {
	case word(c.Resource) == "Allow" && c.Named: // language §7, row 3
		return decidedBy(c.Resource, policy.SourceResource)
	default: // row 3b, rows 5 to 7
		if o, limited := limits(c); limited {
			return o
		}
	}
	if word(c.Resource) == "Allow" {
		return decidedBy(c.Resource, policy.SourceResource)
	}
	return decidedBy(c.Identity, identityKind)
}

// limits are rows 5 and 6 of the language's §7.
func limits(c policy.Combination) (policy.Outcome, bool) {
	if c.Boundary.Attached && word(c.Boundary) == "Silent" {
		return nobodyAllows(policy.SourceBoundary), true
	}
	if c.Session.Attached && word(c.Session) == "Silent" {
		return nobodyAllows(policy.SourceSession), true
	}
	return policy.Outcome{}, false
}

// word is a policy's entry in the tables; one that does not exist is silent.
func word(v policy.Verdict) string {
	switch {
	case !v.Attached:
		return "Silent"
	case v.Effect == policy.Allow:
		return "Allow"
	case v.Effect == policy.ExplicitDeny:
		return "Deny"
	}
	return "Silent"
}

func decidedBy(v policy.Verdict, s policy.Source) policy.Outcome {
	if word(v) == "Silent" {
		return nobodyAllows(s)
	}
	return policy.Outcome{Effect: v.Effect, Source: s, Statement: v.Statement}
}

func nobodyAllows(s policy.Source) policy.Outcome {
	return policy.Outcome{Effect: policy.Silent, Source: s, Statement: -1}
}

// Names says whether an Allow that applies names the caller by his own ARN: a
// user's, a role session's or a federated user's (language §7, row 3).
func (d *Document) Names(q *policy.Query) (bool, error) {
	e, err := d.ask(q)
	if err != nil {
		return false, err
	}
	for _, kind := range []string{"user/", "assumed-role/", "federated-user/"} {
		if !strings.HasPrefix(e.caller.name, kind) {
			continue
		}
		return slices.ContainsFunc(d.statements, func(s statement) bool {
			return s.Effect == "Allow" && s.Principal != nil && e.matches(s) && slices.Contains(awsEntries(s.Principal), e.caller.arn)
		}), nil
	}
	return false, nil
}
