package edge

import (
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/posternhq/postern/dataplane/compile"
	"github.com/posternhq/postern/dataplane/policy"
)

// DefaultDenials is how many refusals an edge keeps, to explain them when asked.
const DefaultDenials = 4096

// Limits of what is kept of one refusal. They bound its texts to about 8 KB,
// and to a fraction of that as a rule.
const (
	maxKeptPath   = 2048
	maxKeptHeader = 1024
	maxKeptReason = 512
	maxKeptHost   = 256
	maxKeptMethod = 64
)

// denial is a refusal with its evidence. It is immutable and shares nothing
// with the request, which is used again. The programs are those that decided,
// so that it is explained by them also when newer ones are in place.
type denial struct {
	id      string
	time    time.Time
	version uint64
	verdict verdict

	requestID, host, method, path          string
	apiID, stage, deployment, resourcePath string
	endpoint, vpc                          string
	accessKey                              string
	source                                 netip.Addr
	detail                                 string   // beyond the verdict's reason
	shortened                              []string // values that were cut

	// policies are those that were evaluated, request what they were asked.
	policies []evidence
	request  *policy.Request
}

// evidence is what one policy said.
type evidence struct {
	source   policy.Source
	name     string          // of one of several
	program  *policy.Program // nil: there is none where one is needed
	decision policy.Decision
	decided  bool
	// anonymous: it was not asked about the caller, although he signed.
	anonymous bool
}

// newDenial copies what there is to know about a refusal.
func newDenial(id string, q *request, r *http.Request, v verdict) *denial {
	d := &denial{id: id, time: q.time, verdict: v, requestID: q.requestID}
	keep := func(name, value string, limit int) string {
		if len(value) > limit {
			d.shortened = append(d.shortened, name)
			value = value[:limit]
		}
		return strings.Clone(value)
	}
	d.host = keep("host", r.Host, maxKeptHost)
	d.method = keep("method", r.Method, maxKeptMethod)
	d.path = keep("path", r.URL.EscapedPath(), maxKeptPath)
	d.detail = keep("reason", q.detail(), maxKeptReason)
	if q.in != nil {
		d.version = q.in.Index()
	}
	if a := q.arrival; a != nil {
		d.endpoint, d.vpc, d.source = a.Endpoint, a.VPC, a.Source
	}
	if q.api != nil {
		d.apiID = q.api.ID
	}
	if q.claimed != nil {
		d.accessKey = q.claimed.AccessKeyID
	}
	if q.stage != nil {
		d.stage, d.deployment = q.stage.Name, q.stage.DeploymentID
	}
	if q.method != nil {
		d.resourcePath = q.method.ResourcePath
	}
	if d.policies = q.evidence(); d.policies == nil {
		return d
	}
	d.request = q.policy.Clone()
	for key, value := range map[policy.Key]string{
		policy.KeyReferer: headerValue(r.Header["Referer"]), policy.KeyUserAgent: headerValue(r.Header["User-Agent"]),
	} {
		if len(value) > maxKeptHeader {
			d.request.Set(key, keep(key.String(), value, maxKeptHeader))
		}
	}
	return d
}

// detail is what the verdict alone does not say.
func (q *request) detail() string {
	if len(q.missing) > 0 {
		return strings.Join(q.missing, ", ")
	}
	if q.complaint != "" && q.reason == "" {
		return q.complaint
	}
	return q.reason
}

// evidence lists the policies that were evaluated, nil for none.
func (q *request) evidence() (list []evidence) {
	if q.stage == nil || !q.evaluated {
		return nil
	}
	o := q.outcome
	if q.stage.Policy != nil || o.Source == policy.SourceResource {
		e := evidence{
			source: policy.SourceResource, program: q.stage.Policy, decision: q.policies.Resource.Decision,
			decided: o.Source == policy.SourceResource, anonymous: q.prepared.auth != authIAM,
		}
		if q.stage.Policy == nil {
			e.decision.Statement = -1
		}
		list = append(list, e)
	}
	if q.policies.Endpoint.Attached {
		list = append(list, evidence{
			source: policy.SourceEndpoint, program: q.endpoint.Policy, decision: q.policies.Endpoint.Decision,
			decided: o.Source == policy.SourceEndpoint,
		})
	}
	if q.policies.Auth != policy.AuthIAM {
		return list
	}
	list = q.own(list, policy.SourceIdentity, q.principal.Policies, q.deciding.identity)
	list = q.own(list, policy.SourceBoundary, q.principal.Boundary, 0)
	if s := q.caller.Session; s != nil {
		list = q.own(list, policy.SourceSession, s.Policies, q.deciding.session)
	}
	return list
}

// own appends policies of the caller's. Where none of a kind decided, and that
// one should have allowed is what decided, all of them did.
func (q *request) own(list []evidence, source policy.Source, policies []compile.NamedPolicy, deciding int) []evidence {
	r := q.policy.Clone()
	for i := range policies {
		p := &policies[i]
		list = append(list, evidence{
			source: source, name: p.Name, program: p.Program, decision: p.Program.Eval(r),
			decided: q.outcome.Source == source && (deciding < 0 || deciding == i),
		})
	}
	return list
}

// denials holds the newest refusals, each in the place of one that is as many
// older as there are places. Any number of goroutines may use it; adding waits
// for nobody.
type denials struct {
	slots []atomic.Pointer[denial]
	next  atomic.Uint64
}

func newDenials(capacity int) *denials {
	return &denials{slots: make([]atomic.Pointer[denial], capacity)}
}

func (d *denials) add(n *denial) {
	if len(d.slots) == 0 {
		return
	}
	d.slots[(d.next.Add(1)-1)%uint64(len(d.slots))].Store(n)
}

// find returns a refusal by its id, nil if it is not, or no longer, held.
func (d *denials) find(id string) *denial {
	for i := range d.slots {
		if n := d.slots[i].Load(); n != nil && n.id == id {
			return n
		}
	}
	return nil
}

// extent says how many refusals are held, and the time of the oldest.
func (d *denials) extent() (kept int, oldest time.Time) {
	for i := range d.slots {
		n := d.slots[i].Load()
		if n == nil {
			continue
		}
		kept++
		if oldest.IsZero() || n.time.Before(oldest) {
			oldest = n.time
		}
	}
	return kept, oldest
}
