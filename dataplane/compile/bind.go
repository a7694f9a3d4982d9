package compile

import (
	"sync"
	"sync/atomic"
	"unique"

	"github.com/posternhq/postern/dataplane/policy"
)

// Policies are the programs that decide about a request; nil: there is no such
// policy.
type Policies struct {
	Resource *policy.Program
	Endpoint *policy.Program
}

const (
	// maxWays is how many ways to a stage have programs of their own. They are
	// few, so that finding one is looking at each.
	maxWays = 16
	// wayEvery: of requests that find no place, one in so many takes the place of
	// another way. Endpoints that are gone thus don't keep theirs for ever, and
	// binding costs the others next to nothing.
	wayEvery = 1024
)

// place is where requests come in; the zero place is the public side. Places
// are equal by one comparison of pointers.
type place struct {
	endpoint unique.Handle[endpointPlace]
	vpc      unique.Handle[string] // the ARN of the VPC
}

type endpointPlace struct{ id, vpc string }

// way is how requests reach a stage: all that its programs were bound to beside
// the stage itself. Where any of it differs they are not used, so that they can't
// be out of date: an endpoint that moved to another VPC is another way.
type way struct {
	place
	base *policy.Program // the endpoint's policy
	Policies
}

// ways are bound when a request first takes them. The list is replaced, never
// changed, so that reading it waits for nobody.
type ways struct {
	api    atomic.Pointer[API] // that the stage was found to agree with
	list   atomic.Pointer[[]way]
	missed atomic.Uint32
	mu     sync.Mutex // held to replace the list
	next   int        // the place that is given away next
}

// stageKnows is what holds for every anonymous request of a stage. It has to
// agree with what the edge tells the policies about a request.
func stageKnows(s *Stage) policy.Known {
	k := edgeKnows(s.Region)
	k.Resource += s.Account + ":" + s.APIID + "/" + s.Name + "/"
	return k
}

// edgeKnows is what holds for every anonymous request of a region. What settings
// decide is not in it, since a change of them compiles nothing anew.
func edgeKnows(region string) policy.Known {
	k := policy.Known{
		Action: policy.DefaultAction, Resource: arnPrefix(region),
		Anonymous: true,
	}
	k.Set(policy.KeySecureTransport, "true")
	// An edge can't know these of a caller who has not signed.
	for _, key := range []policy.Key{
		policy.KeySourceARN, policy.KeyTokenIssueTime, policy.KeyMultiFactorAuthPresent, policy.KeyMultiFactorAuthAge,
	} {
		k.SetAbsent(key)
	}
	return k
}

// arnPrefix is how the ARNs of a region's APIs begin.
func arnPrefix(region string) string {
	return "arn:" + policy.PartitionOf(region) + ":execute-api:" + region + ":"
}

// knowPlace adds what holds for every request that comes in at a place.
func knowPlace(k *policy.Known, p place) {
	k.SetAbsent(policy.KeySourceVpcARN)
	if p.vpc != (place{}).vpc {
		k.Set(policy.KeySourceVpcARN, p.vpc.Value())
	}
	if p.endpoint == (place{}).endpoint {
		k.SetAbsent(policy.KeySourceVpce)
		k.SetAbsent(policy.KeySourceVpc)
		k.SetAbsent(policy.KeyVpcSourceIP)
		return
	}
	k.Set(policy.KeySourceVpce, p.endpoint.Value().id)
	k.Set(policy.KeySourceVpc, p.endpoint.Value().vpc)
}

// bind binds the stage's policy to what the stage knows.
func (s *Stage) bind() {
	k := stageKnows(s)
	s.bound, s.ways = s.Policy.Bind(&k), &ways{}
	_, s.settled = s.bound.Constant()
}

// bind binds the endpoint's policy to what the endpoint knows. The ARN of its
// VPC comes from another resource.
func (e *Endpoint) bind() {
	k := edgeKnows(e.Region)
	k.Set(policy.KeySourceVpce, e.ID)
	k.Set(policy.KeySourceVpc, e.VPC)
	e.bound, e.place = e.Policy.Bind(&k), unique.Make(endpointPlace{e.ID, e.VPC})
	_, e.settled = e.bound.Constant()
}

// PoliciesFor returns the programs that decide about anonymous requests of the
// stage, which is one of api's, by an endpoint of the same region, nil for the
// public side. They are bound to all that is known of such requests, and decide
// them as Policy of stage and endpoint do. vpc is the endpoint's, nil if nothing
// is known of it. Once a way was taken it costs no allocation.
func (s *Stage) PoliciesFor(api *API, e *Endpoint, vpc *VPC) Policies {
	w := way{Policies: Policies{Resource: s.bound}}
	settled := s.settled
	if e != nil {
		w.endpoint, w.base, w.Endpoint = e.place, e.Policy, e.bound
		settled = settled && e.settled
	}
	if vpc != nil {
		w.vpc = vpc.arn
	}
	switch {
	case s.ways.api.Load() != api && !s.agrees(api):
		return Policies{Resource: s.Policy, Endpoint: w.base}
	case settled:
		return w.Policies
	}
	full := false
	if list := s.ways.list.Load(); list != nil {
		for i := range *list {
			if other := &(*list)[i]; other.place == w.place && other.base == w.base {
				return other.Policies
			}
		}
		full = len(*list) == maxWays
	}
	if full && s.ways.missed.Add(1)%wayEvery != 0 {
		return w.Policies
	}
	return s.learn(w)
}

// agrees says whether a request of the API is one that the stage's program was
// bound for. That of two resources which contradict each other is not.
func (s *Stage) agrees(api *API) bool {
	if api.ID != s.APIID || api.Region != s.Region || api.Account != s.Account {
		return false
	}
	s.ways.api.Store(api)
	return true
}

// learn binds the programs of a way further and puts them where the next request
// finds them. While another way is being learnt the more general ones do.
func (s *Stage) learn(w way) Policies {
	if !s.ways.mu.TryLock() {
		return w.Policies
	}
	defer s.ways.mu.Unlock()
	var list []way
	if old := s.ways.list.Load(); old != nil {
		list = append(list, *old...)
	}
	at := len(list)
	for i := range list {
		switch other := &list[i]; {
		case other.place == w.place && other.base == w.base:
			return other.Policies // another request was faster
		case other.of() == w.of():
			at = i // this one is out of date
		}
	}
	switch {
	case at < len(list):
	case at < maxWays:
		list = append(list, way{})
	default:
		at = s.ways.next
		s.ways.next = (at + 1) % maxWays
	}
	k := stageKnows(s)
	knowPlace(&k, w.place)
	w.Policies = Policies{Resource: w.Resource.Bind(&k), Endpoint: w.Endpoint.Bind(&k)}
	list[at] = w
	s.ways.list.Store(&list)
	return w.Policies
}

// of is the id of the endpoint, empty for the public side.
func (w *way) of() string {
	if w.endpoint == (place{}).endpoint {
		return ""
	}
	return w.endpoint.Value().id
}
