package edge

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/posternhq/postern/dataplane/compile"
	"github.com/posternhq/postern/dataplane/integration"
	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/route"
	"github.com/posternhq/postern/dataplane/vpce"
	"github.com/posternhq/postern/internal/sigv4"
)

// Limits (private-apis.md §7).
const (
	maxHeader = 10240
	maxURL    = 10240
	maxARN    = 1600
)

// request is what the edge knows about one request. It is reused: decide must
// not allocate.
type request struct {
	in       *installed
	arrival  *vpce.Arrival
	endpoint *compile.Endpoint
	vpc      *compile.VPC
	api      *compile.API
	stage    *compile.Stage
	method   *compile.Method
	prepared *prepared
	params   route.Params
	path     string // raw, with the stage
	rest     string // raw, below the stage, with its first slash
	time     time.Time

	policy  policy.Request
	scratch [512]byte

	// evaluated: policies were asked; this is what each said, and all together.
	evaluated bool
	policies  policy.Combination
	outcome   policy.Outcome

	// Of requests that are signed: whose key they claim, and who they are from
	// once that is proven.
	verifier  sigv4.Verifier
	claimed   *compile.Caller
	caller    *compile.Caller
	principal *compile.Principal
	// deciding are those of several policies that decided, -1 for none.
	deciding  struct{ identity, session int }
	complaint string        // about the signature, for the answer
	waited    time.Duration // for the body

	// Of requests that are let pass, or answered.
	head    *http.Request
	call    integration.Call
	out     recorder
	missing []string // required parameters
	reason  string   // for the log

	requestID  string
	extendedID string
}

// decide says whether a request may pass, as far as its head and signature tell:
// API, stage, route, authentication, policies, in the order of private-apis.md
// §6. All of it goes by the one table in q. It fills in q as it goes; what it did
// not reach stays zero. Of a request that is signed it reads the body.
func (e *Edge) decide(q *request, r *http.Request) verdict {
	q.outcome.Statement = -1
	q.deciding.identity, q.deciding.session = -1, -1
	switch {
	case q.in == nil || q.in.Table == nil || q.arrival == nil:
		return unready
	case e.cfg.MaxStaleness > 0 && e.cfg.Freshness() > e.cfg.MaxStaleness:
		return stale
	}
	if v := q.resolve(r); v != allowed {
		return v
	}
	if p, ok := q.method.Integration.(*prepared); ok {
		q.prepared = p
	} else {
		return misconfigured // never with a table that was built with Prepare
	}
	if v := q.describe(r); v != allowed {
		return v
	}
	return q.authorize(r)
}

// resolve finds API, stage and method.
func (q *request) resolve(r *http.Request) verdict {
	host := route.ParseHost(r.Host)
	header := ""
	if q.arrival.Private() {
		header = r.Header.Get("X-Apigw-Api-Id")
	} else if host.Kind != route.HostAPI {
		return unknownAPI // only an endpoint serves the other forms
	}
	id, region, ok := route.ResolveAPI(host, header)
	if !ok {
		return unknownAPI
	}
	if q.api = q.in.API(id); q.api == nil {
		return unknownAPI
	}
	if q.arrival.Private() != (q.api.Type == "PRIVATE") {
		return wrongVantage
	}
	if region != "" && region != q.api.Region {
		return wrongRegion
	}
	if q.arrival.Private() {
		// The endpoint may have gone, or be another one by now, since the connection
		// was accepted.
		q.endpoint = q.in.Endpoint(q.arrival.Endpoint)
		if q.endpoint == nil || q.endpoint.VPC != q.arrival.VPC {
			return wrongVantage
		}
		if q.endpoint.Region != q.api.Region {
			return wrongRegion
		}
	}
	// The path is never decoded: router, policy and backend must see the same.
	q.path = r.URL.EscapedPath()
	var stage string
	stage, q.rest = route.SplitStage(q.path)
	if q.stage = q.api.Stage(stage); q.stage == nil {
		return unknownStage
	}
	if c := q.stage.Canary; c != nil && rand.Float64()*100 < c.PercentTraffic {
		q.stage = c.Stage
	}
	if q.stage.DefaultEndpointDisabled {
		return endpointDisabled
	}
	method, ok := q.stage.Router.Match(q.rest, r.Method, &q.params)
	if !ok || method == nil {
		return noRoute
	}
	q.method = method
	return allowed
}

// describe states the request as policies see it.
func (q *request) describe(r *http.Request) verdict {
	b := append(q.scratch[:0], q.api.ARN...)
	b = append(b, '/')
	b = append(b, q.stage.Name...)
	b = append(b, '/')
	b = append(b, r.Method...)
	b = append(b, q.rest...)

	p := &q.policy
	p.Action, p.Resource = policy.DefaultAction, b
	// The limit is one of authorization; an endpoint always authorizes.
	if len(b) > maxARN && (q.arrival.Private() || q.stage.Policy != nil || q.prepared.auth != authNone) {
		return arnTooLong
	}
	p.Time = q.time
	p.Set(policy.KeySecureTransport, "true")
	p.Set(policy.KeyReferer, headerValue(r.Header["Referer"]))
	p.Set(policy.KeyUserAgent, headerValue(r.Header["User-Agent"]))
	if !q.arrival.Private() {
		p.SetAddr(policy.KeySourceIP, q.arrival.Source)
		return allowed
	}
	p.Set(policy.KeySourceVpc, q.arrival.VPC)
	p.Set(policy.KeySourceVpce, q.arrival.Endpoint)
	p.SetAddr(policy.KeyVpcSourceIP, q.arrival.Source)
	if vpc := q.in.VPC(q.arrival.VPC); vpc != nil {
		q.vpc = vpc
		p.Set(policy.KeySourceVpcARN, vpc.ARN)
	}
	switch q.in.sourceIP {
	case "client":
		p.SetAddr(policy.KeySourceIP, q.arrival.Source)
	case "eni":
		p.SetAddr(policy.KeySourceIP, q.arrival.Interface)
	}
	return allowed
}

// authorize is the workflow of resource-policies.md §6.6.
func (q *request) authorize(r *http.Request) verdict {
	signed := q.prepared.auth == authIAM
	if signed {
		if v := q.authenticate(r); v != allowed {
			return v
		}
	}
	by := q.programs()
	c := &q.policies
	c.Private, c.Resource = q.arrival.Private(), by.Resource.Verdict(&q.policy)
	q.evaluated = true
	if _, open := c.Gate(); open && by.Endpoint != nil {
		// With a policy of its own the endpoint reads the Authorization header of
		// methods without authorization (§6.5); only signatures may be in it. For
		// the API they stay anonymous.
		if q.prepared.auth == authNone && len(r.Header["Authorization"]) > 0 {
			if v := q.authenticate(r); v != allowed {
				q.evaluated = false
				return v
			}
			by = q.programs()
		}
		c.Endpoint = by.Endpoint.Verdict(&q.policy)
	}
	if _, open := c.Gate(); open && signed {
		q.ask(c)
	}
	o, open := c.Gate()
	if open {
		if !signed && q.prepared.auth != authNone {
			return authorizerBroken
		}
		o = c.Outcome()
	}
	q.outcome = o
	return ofOutcome(o)
}

// ask asks the caller's own policies.
func (q *request) ask(c *policy.Combination) {
	c.Auth = policy.AuthIAM
	c.SameAccount, c.Root = q.caller.Principal.Account == q.api.Account, q.caller.Root
	if c.Root {
		c.Identity = policy.Verdict{Attached: true, Decision: policy.Decision{Effect: policy.Allow, Statement: -1}}
	} else {
		c.Identity, q.deciding.identity = compile.Decide(q.principal.Policies, &q.policy)
	}
	if len(q.principal.Boundary) > 0 {
		c.Boundary, _ = compile.Decide(q.principal.Boundary, &q.policy)
	}
	if s := q.caller.Session; s != nil && len(s.Policies) > 0 {
		c.Session, q.deciding.session = compile.Decide(s.Policies, &q.policy)
	}
	// Being named lifts the silence of these two, and nothing else.
	limited := c.Boundary.Attached && c.Boundary.Effect == policy.Silent || c.Session.Attached && c.Session.Effect == policy.Silent
	c.Named = limited && c.SameAccount && c.Resource.Effect == policy.Allow && q.stage.Names(&q.policy)
}

// ofOutcome is the verdict on what the policies came to.
func ofOutcome(o policy.Outcome) verdict {
	if o.Allowed() {
		return allowed
	}
	pair, ok := denialsBySource[o.Source]
	switch {
	case !ok:
		return policySilent // never: no other policies are asked
	case o.Effect == policy.ExplicitDeny:
		return pair.deny
	}
	return pair.silent
}

var denialsBySource = map[policy.Source]struct{ deny, silent verdict }{
	policy.SourceResource: {policyDeny, policySilent},
	policy.SourceEndpoint: {endpointDeny, endpointSilent},
	policy.SourceIdentity: {identityDeny, identitySilent},
	policy.SourceBoundary: {boundaryDeny, boundarySilent},
	policy.SourceSession:  {sessionDeny, sessionSilent},
}

// programs are those that decide about the request.
func (q *request) programs() compile.Policies {
	if q.policy.Principal == nil {
		return q.stage.PoliciesFor(q.api, q.endpoint, q.vpc)
	}
	p := compile.Policies{Resource: q.stage.Policy}
	if q.endpoint != nil {
		p.Endpoint = q.endpoint.Policy
	}
	return p
}

// headerValue is the one value of a header that was sent several times.
func headerValue(values []string) string {
	switch len(values) {
	case 0:
		return ""
	case 1:
		return values[0]
	}
	return strings.Join(values, ",")
}

// appendARN writes the request's ARN with the account masked, as in messages to
// the caller.
func (q *request) appendARN(b []byte) []byte {
	account := q.api.Account
	at := len(q.api.ARN) - len(":") - len(q.api.ID)
	b = append(b, q.policy.Resource[:at-len(account)]...)
	b = append(b, "********"...)
	b = append(b, account[max(0, len(account)-4):]...)
	return append(b, q.policy.Resource[at:]...)
}

// reset makes the request ready for another one and lets go of all it refers
// to. The verifier has nothing but its own buffers, which are bounded by what a
// head may have.
func (q *request) reset() {
	*q = request{verifier: q.verifier}
}
