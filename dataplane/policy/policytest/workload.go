package policytest

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/posternhq/postern/dataplane/policy"
)

// Workload is a policy and the traffic that it decides: what the engine is
// measured by. All of it follows from the name.
type Workload struct {
	Name string
	// Document is the policy as it is stored: with full ARNs of one API.
	Document []byte
	// Queries are distinct, in an order without pattern. About half of them are
	// allowed; they hit every statement and every value of the policy, and
	// what misses, misses narrowly.
	Queries []*policy.Query
	// Probes are few queries that differ from an allowed one in a single thing,
	// such as the account or the action. An edge would never ask them; they show
	// whether an evaluator reads all that the policy says.
	Probes []*policy.Query
}

// queriesPerWorkload is how many requests are decided in turn.
const queriesPerWorkload = 10_000

// Names lists all workloads:
//
//	W1        one endpoint allowed, by two statements
//	W2        20 statements on endpoints, VPCs, addresses, callers and paths
//	W3-N      N statements, each of a path prefix and an endpoint
//	W4        one statement, 1,000 address ranges
//	W5        one statement, 1,000 endpoints
//	W6        one statement, 200 callers and 10 paths with inner wildcards
func Names() []string {
	return []string{"W1", "W2", "W3-100", "W3-1000", "W3-10000", "W4", "W5", "W6"}
}

// NewWorkload makes a workload by its name. An unknown name is an error.
func NewWorkload(name string) (*Workload, error) {
	makers := map[string]func(*traffic) []byte{
		"W1":       oneEndpoint,
		"W2":       estate,
		"W3-100":   func(t *traffic) []byte { return tenants(t, 100) },
		"W3-1000":  func(t *traffic) []byte { return tenants(t, 1000) },
		"W3-10000": func(t *traffic) []byte { return tenants(t, 10_000) },
		"W4":       networks,
		"W5":       endpoints,
		"W6":       callers,
	}
	fill, ok := makers[name]
	if !ok {
		return nil, fmt.Errorf("workload %q: not one of %s", name, strings.Join(Names(), ", "))
	}
	t := newTraffic(name)
	return &Workload{Name: name, Document: fill(t), Queries: t.queries, Probes: t.probes}, nil
}

// Requests states queries as an edge states what it has accepted: addresses as
// addresses; what comes from its configuration, such as the endpoint and its VPC,
// in one place of memory for all requests; what comes with a request in a place of
// its own.
func Requests(queries []*policy.Query) ([]*policy.Request, error) {
	configured := make(map[string]string)
	shared := func(s string) string {
		if _, ok := configured[s]; !ok {
			configured[s] = strings.Clone(s)
		}
		return configured[s]
	}
	out := make([]*policy.Request, len(queries))
	for i, q := range queries {
		r, err := q.Request()
		if err != nil {
			return nil, fmt.Errorf("query %d: %w", i, err)
		}
		r.Action = shared(r.Action)
		for _, key := range wayKeys {
			if v := one(q, key); v != "" {
				r.Set(key, shared(v))
			}
		}
		if a, err := netip.ParseAddr(one(q, policy.KeyVpcSourceIP)); err == nil {
			r.SetAddr(policy.KeyVpcSourceIP, a)
		}
		out[i] = r
	}
	return out, nil
}

// one is the value of a key with one value, empty if it is absent.
func one(q *policy.Query, key policy.Key) string {
	if v := q.Context[key.String()]; len(v) == 1 {
		return v[0]
	}
	return ""
}

// Known is what an edge has settled about a query's way to it before the request
// is read: API and stage, endpoint and VPC, and whether it has a caller.
func Known(q *policy.Query) *policy.Known {
	k := &policy.Known{Action: q.Action, Anonymous: q.Principal == ""}
	if parts := strings.SplitN(q.Resource, "/", 3); len(parts) == 3 { // ARN and API, stage, the rest
		k.Resource = strings.TrimSuffix(q.Resource, parts[2])
	}
	for _, key := range wayKeys {
		if v := one(q, key); v != "" {
			k.Set(key, v)
		} else {
			k.SetAbsent(key)
		}
	}
	for _, key := range [...]policy.Key{policy.KeySourceARN, policy.KeyTokenIssueTime, policy.KeyMultiFactorAuthPresent, policy.KeyMultiFactorAuthAge} {
		k.SetAbsent(key)
	}
	return k
}

// wayKeys are the keys that say how a request came.
var wayKeys = [...]policy.Key{policy.KeySourceVpc, policy.KeySourceVpce, policy.KeySourceVpcARN, policy.KeySecureTransport}

// Bind gives each query the Program that an edge would hold for it. Queries of
// which the same is known share one. At most limit Programs are made; the
// queries behind have none.
func Bind(p *policy.Program, queries []*policy.Query, limit int) []*policy.Program {
	out := make([]*policy.Program, len(queries))
	made := make(map[string]*policy.Program)
	for i, q := range queries {
		stage := strings.SplitN(q.Resource, "/", 3)
		name := fmt.Sprint(stage[:min(2, len(stage))], q.Action, q.Principal == "")
		for _, key := range wayKeys {
			name += " " + one(q, key)
		}
		bound, ok := made[name]
		if !ok && len(made) < limit {
			bound = p.Bind(Known(q))
			made[name] = bound
		}
		out[i] = bound
	}
	return out
}
