package edge

import (
	"fmt"
	"strings"

	"github.com/posternhq/postern/dataplane/compile"
	"github.com/posternhq/postern/dataplane/policy"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

// maxExplanation bounds the account of one policy, in bytes: the whole answer
// has to fit into a message of the size that clients take.
const maxExplanation = 1 << 20

// FindDecision returns a refusal of this edge by its id, explained by the
// policies that decided it, or what the edge holds instead.
func (e *Edge) FindDecision(id string) (*edgev1.Decision, *edgev1.DecisionSearch) {
	d := e.denials.find(id)
	if d == nil {
		kept, oldest := e.denials.extent()
		s := &edgev1.DecisionSearch{Capacity: uint32(len(e.denials.slots)), Kept: uint32(kept)}
		if kept > 0 {
			s.OldestUnixNano = oldest.UnixNano()
		}
		return nil, s
	}
	return d.explain(e.cfg.ID), nil
}

// explain gives the whole account of a refusal.
func (d *denial) explain(edge string) *edgev1.Decision {
	m := &edgev1.Decision{
		Id: d.id, Edge: edge, TimeUnixNano: d.time.UnixNano(), Version: d.version,
		Result: answers[d.verdict].result, Reason: reasons[d.verdict],
		RequestId: d.requestID, Host: text(d.host), Method: text(d.method), Path: text(d.path),
		ApiId: d.apiID, Stage: d.stage, DeploymentId: d.deployment, ResourcePath: d.resourcePath,
		Endpoint: d.endpoint, Vpc: d.vpc, Shortened: d.shortened, AccessKey: d.accessKey,
	}
	if d.detail != "" {
		m.Reason += ": " + text(d.detail)
	}
	if d.source.IsValid() {
		m.Source = d.source.String()
	}
	if d.request != nil && d.request.Principal != nil {
		m.Principal = d.request.Principal.ARN
	}
	for i := range d.policies {
		m.Policies = append(m.Policies, d.policies[i].explain(d))
	}
	return m
}

const noPolicy = "there is no such policy, and a private API can't be called without one"

var kinds = map[policy.Source]string{
	policy.SourceResource: "resource", policy.SourceEndpoint: "endpoint", policy.SourceIdentity: "identity",
	policy.SourceBoundary: "boundary", policy.SourceSession: "session",
}

func (e *evidence) explain(d *denial) *edgev1.PolicyEvidence {
	m := &edgev1.PolicyEvidence{
		Kind: kinds[e.source], Name: e.name, Decided: e.decided, Effect: e.decision.Effect.String(), Statement: int32(e.decision.Statement),
	}
	if e.program == nil {
		m.Unexplained = noPolicy
		return m
	}
	m.Sid = sidOf(e.program, e.decision.Statement)
	// A copy for each question: evaluation writes into a request.
	r := d.request.Clone()
	if e.anonymous {
		forget(r)
	}
	if got := e.program.Eval(r); got != e.decision {
		m.Unexplained = fmt.Sprintf("it depends on what was too long to be kept: %q", d.shortened)
		return m
	}
	x := e.program.Explain(r)
	explanation, err := x.MarshalJSON()
	if err != nil {
		m.Unexplained = err.Error()
		return m
	}
	words := text(x.String())
	if n := len(explanation) + len(words); n > maxExplanation {
		m.Unexplained = fmt.Sprintf("the account of %d statements takes %d bytes, more than are sent: `postern policy explain` gives it", e.program.Document().Statements(), n)
		return m
	}
	m.Explanation, m.Text = explanation, words
	return m
}

// forget makes the caller of a request anonymous.
func forget(r *policy.Request) {
	r.SetPrincipal(nil)
	r.Unset(policy.KeyTokenIssueTime)
	r.Unset(policy.KeyMultiFactorAuthPresent)
	r.Extra = nil
}

// text is what a client sent, as far as a message can carry it.
func text(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// sid is the Sid of the statement that decided.
func (q *request) sid() string {
	switch q.outcome.Source {
	case policy.SourceResource:
		return sidOf(q.stage.Policy, q.outcome.Statement)
	case policy.SourceEndpoint:
		return sidOf(q.endpoint.Policy, q.outcome.Statement)
	case policy.SourceIdentity:
		return sidIn(q.principal.Policies, q.deciding.identity, q.outcome.Statement)
	case policy.SourceBoundary:
		return sidIn(q.principal.Boundary, 0, q.outcome.Statement)
	case policy.SourceSession:
		return sidIn(q.caller.Session.Policies, q.deciding.session, q.outcome.Statement)
	}
	return ""
}

func sidIn(list []compile.NamedPolicy, at, statement int) string {
	if at < 0 {
		return ""
	}
	return sidOf(list[at].Program, statement)
}

// sidOf is the Sid of a statement, empty if it has none or there is no statement.
func sidOf(p *policy.Program, statement int) string {
	if p == nil || statement < 0 {
		return ""
	}
	return p.Document().Sid(statement)
}
