package identity

import (
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dataplane/policy"
)

// Verdicts are what a caller's own policies say about a request.
type Verdicts struct {
	Identity, Boundary, Session policy.Verdict
}

// Verdicts asks the holder's policies. The root user has none, and may do
// everything in his account; a policy that limits his session limits him. A
// document that can't be read denies.
func (h *Holder) Verdicts(v *state.View, r *policy.Request) Verdicts {
	var out Verdicts
	if h.User == nil && h.Role == nil {
		out.Identity = policy.Verdict{Attached: true, Decision: policy.Decision{Effect: policy.Allow, Statement: -1}}
	} else {
		granting, boundary, limited := Policies(v, h.Permissions())
		out.Identity = verdict(granting, r)
		if limited {
			out.Boundary = verdict([]string{boundary}, r)
		}
	}
	if limits := h.Session.GetPolicies(); len(limits) > 0 {
		out.Session = verdict(limits, r)
	}
	return out
}

// verdict is that of several policies as if they were one.
func verdict(documents []string, r *policy.Request) policy.Verdict {
	sum := policy.Verdict{Attached: true, Decision: policy.Decision{Statement: -1}}
	for _, text := range documents {
		d := decide(text, r)
		if d.Effect == policy.ExplicitDeny || d.Effect == policy.Allow && sum.Effect == policy.Silent {
			sum.Decision = d
		}
		if d.Effect == policy.ExplicitDeny {
			break
		}
	}
	return sum
}

func decide(text string, r *policy.Request) policy.Decision {
	doc, err := policy.Parse([]byte(text))
	if err != nil {
		return policy.Decision{Effect: policy.ExplicitDeny, Statement: -1}
	}
	program, err := policy.CompileIdentity(doc)
	if err != nil {
		return policy.Decision{Effect: policy.ExplicitDeny, Statement: -1}
	}
	return program.Eval(r)
}
