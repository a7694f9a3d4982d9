package policy

// Auth is how a method authorizes its callers.
type Auth uint8

const (
	AuthNone    Auth = iota // NONE: everyone is anonymous
	AuthIAM                 // AWS_IAM: callers sign
	AuthCustom              // CUSTOM: a Lambda authorizer answers with a policy
	AuthCognito             // COGNITO_USER_POOLS: a token, which is judged elsewhere
)

// Verdict is what one policy says about a request. The zero Verdict is that of
// a policy that does not exist.
type Verdict struct {
	// Attached: there is such a policy. That one is missing and that one is
	// silent are told apart by APIs and endpoints.
	Attached bool
	Decision
}

// Verdict is Eval as a part of a Combination: a nil Program is no policy.
func (p *Program) Verdict(r *Request) Verdict {
	return Verdict{Attached: p != nil, Decision: p.Eval(r)}
}

// Together is what n policies of a caller say as if they were one: a Deny of any,
// else an Allow of any. It is of a policy that is attached, even for no policies;
// at is the one that decided, -1 for none.
func Together(n int, program func(i int) *Program, r *Request) (v Verdict, at int) {
	v, at = Verdict{Attached: true, Decision: Decision{Statement: -1}}, -1
	for i := range n {
		d := program(i).Eval(r)
		if d.Effect <= v.Effect {
			continue
		}
		v.Decision, at = d, i
		if d.Effect == ExplicitDeny {
			break
		}
	}
	return v, at
}

// Combination is all that policies have to say about one request. A caller is
// of another account, with no policy of his own, until these fields say better;
// the zero Combination is an anonymous call of a public API without policies.
type Combination struct {
	Auth Auth
	// Private: the API is PRIVATE, so the call came through a VPC endpoint.
	Private bool

	// Of callers that sign: whether they belong to the account of the API, and
	// are its root user or that of their own account. The root user's power
	// over all that is his is not assumed here; where it is wanted, his Identity
	// is an Allow.
	SameAccount, Root bool
	// Named: the resource policy allows the caller by his own ARN, that of a
	// user, a role session or a federated user. CompileNamed finds out. It
	// matters only where a boundary or a session policy is silent.
	Named bool
	// AccountGrants: an account as principal grants to its users and roles
	// directly, instead of leaving it to their own policies (Decision.Delegated).
	AccountGrants bool

	// Resource is the policy of the API, as deployed.
	Resource Verdict
	// Endpoint is the policy of the VPC endpoint. One that is not attached is
	// the default, which allows everything.
	Endpoint Verdict
	// Identity is the sum of the caller's own policies with AuthIAM, the answer
	// of the authorizer with AuthCustom; otherwise it is not looked at.
	Identity Verdict
	// Boundary and Session are the caller's permissions boundary and session
	// policy; they are looked at with AuthIAM only. One that is not attached
	// restricts nothing.
	Boundary, Session Verdict
}

// Source is the kind of policy that decided.
type Source uint8

const (
	SourceNone Source = iota // no policy was needed
	SourceResource
	SourceEndpoint
	SourceIdentity
	SourceAuthorizer
	SourceBoundary
	SourceSession

	numSources
)

var sourceNames = [numSources]string{
	SourceNone:       "no policy",
	SourceResource:   "resource-based policy",
	SourceEndpoint:   "VPC endpoint policy",
	SourceIdentity:   "identity-based policy",
	SourceAuthorizer: "authorizer's policy",
	SourceBoundary:   "permissions boundary",
	SourceSession:    "session policy",
}

// String names the kind of policy as messages to callers do.
func (s Source) String() string { return sourceNames[s] }

// Outcome is how the policies of a request end together.
type Outcome struct {
	// Effect is Allow, ExplicitDeny, or Silent for an implicit deny.
	Effect Effect
	// Source is the policy that decided: the one that denies, the one whose
	// Allow is missing, or the one that allows. Where two must allow it is the
	// resource policy.
	Source Source
	// Statement is the index of the deciding statement in that policy, -1 if
	// what decided is that none applies.
	Statement int
}

// Allowed: the request may pass.
func (o Outcome) Allowed() bool { return o.Effect == Allow }

// Suffix ends the message about a denied call, "User: … is not authorized to
// perform: … on resource: …"; it is empty where nothing is to be added.
func (o Outcome) Suffix() string { return suffixes[o.Source][o.Effect] }

var suffixes = [numSources][ExplicitDeny + 1]string{
	SourceResource: {
		Silent:       " because no resource-based policy allows the execute-api:Invoke action",
		ExplicitDeny: " with an explicit deny in a resource-based policy",
	},
	SourceEndpoint: {
		Silent:       " because no VPC endpoint policy allows the execute-api:Invoke action",
		ExplicitDeny: " with an explicit deny in a VPC endpoint policy",
	},
	SourceIdentity: {
		Silent:       " because no identity-based policy allows the execute-api:Invoke action",
		ExplicitDeny: " with an explicit deny in an identity-based policy",
	},
	SourceAuthorizer: {
		ExplicitDeny: " with an explicit deny in an identity-based policy",
	},
	SourceBoundary: {
		Silent:       " because no permissions boundary allows the execute-api:Invoke action",
		ExplicitDeny: " with an explicit deny in a permissions boundary",
	},
	SourceSession: {
		Silent:       " because no session policy allows the execute-api:Invoke action",
		ExplicitDeny: " with an explicit deny in a session policy",
	},
}

// Gate is what the resource policy and the endpoint policy refuse whoever the
// caller turns out to be, so that nobody is asked for a token, and no authorizer
// called, for nothing: an explicit deny of the API first, then an endpoint
// policy that does not allow. If open, the outcome is still to be decided.
func (c *Combination) Gate() (o Outcome, open bool) {
	switch {
	case c.Resource.denies():
		return c.Resource.by(SourceResource), false
	case c.Endpoint.Attached && !c.Endpoint.allows():
		return c.Endpoint.by(SourceEndpoint), false
	}
	return Outcome{}, true
}

// Outcome combines the policies. It is a pure function and does not allocate.
func (c *Combination) Outcome() Outcome {
	o, open := c.Gate()
	switch {
	case !open:
		return o
	case c.Auth == AuthIAM:
		return c.signed()
	case c.Auth == AuthCustom:
		return c.custom()
	}
	// Nobody but the resource policy has a say. A public API can do without one,
	// a private API can't.
	switch {
	case !c.Resource.Attached && !c.Private:
		return Outcome{Effect: Allow, Statement: -1}
	case c.resourceGrants(false):
		return c.Resource.by(SourceResource)
	}
	return silent(SourceResource)
}

// custom: the authorizer's policy stands in for the caller's own, and he counts
// as one of the API's account.
func (c *Combination) custom() Outcome {
	authorized := c.Identity.allows()
	switch {
	case c.Identity.denies():
		return c.Identity.by(SourceAuthorizer)
	case c.Private && !c.Resource.Attached:
		return silent(SourceResource)
	case c.resourceGrants(authorized):
		return c.Resource.by(SourceResource)
	case authorized:
		return c.Identity.by(SourceAuthorizer)
	}
	return silent(SourceAuthorizer)
}

func (c *Combination) signed() Outcome {
	own := c.Identity.allows()
	switch {
	case c.Identity.denies():
		return c.Identity.by(SourceIdentity)
	case c.Boundary.denies():
		return c.Boundary.by(SourceBoundary)
	case c.Session.denies():
		return c.Session.by(SourceSession)
	case c.Private && !c.Resource.Attached:
		return silent(SourceResource)
	}
	source := SourceResource
	switch granted := c.resourceGrants(own); {
	case !c.SameAccount:
		// Two accounts, and both must agree. Between them an account as principal
		// is as good as any other.
		if !own {
			return silent(SourceIdentity)
		}
		if !c.Resource.allows() {
			return silent(SourceResource)
		}
	case granted && c.Named:
		// What names the caller himself is a grant beside his own policies, so
		// their limits do not reach it. A grant to his role, or to everyone, is one
		// to what he may be.
		return c.Resource.by(SourceResource)
	case granted:
	case own:
		source = SourceIdentity
	default:
		return silent(SourceIdentity)
	}
	switch {
	case c.Boundary.Attached && !c.Boundary.allows():
		return silent(SourceBoundary)
	case c.Session.Attached && !c.Session.allows():
		return silent(SourceSession)
	case source == SourceIdentity:
		return c.Identity.by(SourceIdentity)
	}
	return c.Resource.by(SourceResource)
}

// resourceGrants says whether the resource policy's word is enough in the
// account of the API. An Allow for the whole account is not, without the
// caller's own policies or unless he is the root user.
func (c *Combination) resourceGrants(own bool) bool {
	return c.Resource.allows() && (!c.Resource.Delegated || own || c.Root || c.AccountGrants)
}

func (v *Verdict) allows() bool { return v.Attached && v.Effect == Allow }
func (v *Verdict) denies() bool { return v.Attached && v.Effect == ExplicitDeny }

// by is the outcome that this verdict decides.
func (v *Verdict) by(s Source) Outcome {
	if v.Effect == Silent {
		return silent(s)
	}
	return Outcome{Effect: v.Effect, Source: s, Statement: v.Statement}
}

func silent(s Source) Outcome { return Outcome{Source: s, Statement: -1} }
