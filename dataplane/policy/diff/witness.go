package diff

import (
	"maps"
	"slices"
	"strings"

	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/reference"
)

// judge decides requests by the reference evaluator, which shares no code with
// what this package is made of.
type judge struct {
	old, new *policy.Document
	readOld  *reference.Document
	readNew  *reference.Document
}

func newJudge(old, new *policy.Document) (*judge, error) {
	j := &judge{old: old, new: new}
	var err error
	if old != nil {
		if j.readOld, err = reference.Read(old.Text()); err != nil {
			return nil, err
		}
	}
	if new != nil {
		if j.readNew, err = reference.Read(new.Text()); err != nil {
			return nil, err
		}
	}
	return j, nil
}

func decide(d *policy.Document, r *reference.Document, q *policy.Query) (Outcome, bool) {
	if d == nil {
		return Outcome{Decision: policy.Decision{Statement: -1}}, true
	}
	eval := r.Eval
	if d.View(0).Principal == nil {
		eval = r.EvalIdentity
	}
	decision, err := eval(q)
	if err != nil {
		return Outcome{}, false
	}
	out := Outcome{Decision: decision}
	if decision.Statement >= 0 {
		out.Sid = d.Sid(decision.Statement)
	}
	return out, true
}

// shows says whether a request is a witness of a direction.
func (j *judge) shows(q *policy.Query, d *direction) (old, new Outcome, ok bool) {
	if _, err := q.Request(); err != nil {
		return old, new, false
	}
	old, ok = decide(j.old, j.readOld, q)
	if !ok {
		return old, new, false
	}
	new, ok = decide(j.new, j.readNew, q)
	return old, new, ok && d.shows(old.Effect, new.Effect)
}

// witness makes a request of values, shortens it, and replays it; nil if it is
// not what it should be.
func (c *comparison) witness(p *problem, m mode, values []*value, d *direction) *Witness {
	q := c.query(p, values)
	if _, _, ok := c.judge.shows(q, d); !ok {
		return nil
	}
	s := shortening{given: c.given, mode: m, shows: func(q *policy.Query) bool {
		_, _, ok := c.judge.shows(q, d)
		return ok
	}}
	s.caller(q)
	s.resource(q)
	s.context(q)
	w := &Witness{Request: *q, Hypothetical: m == loose}
	var ok bool
	if w.Old, w.New, ok = c.judge.shows(q, d); !ok {
		return nil
	}
	return w
}

// query is the request that has the values.
func (c *comparison) query(p *problem, values []*value) *policy.Query {
	q := &policy.Query{Action: values[dimAction].texts[0], Resource: values[dimResource].texts[0], Account: c.given.query.Account, Context: map[string]policy.Values{}}
	for _, known := range []string{policy.DefaultAction, "execute-api:InvalidateCache", "execute-api:ManageConnections"} {
		if strings.EqualFold(q.Action, known) {
			q.Action = known
		}
	}
	if c.given.query.Action != "" {
		q.Action = c.given.query.Action
	}
	for name, v := range c.given.query.Context {
		q.Context[keyName(name)] = v
	}
	if v := values[dimCaller]; v.space > 0 {
		k := &callerKinds[v.space-1]
		q.Principal = k.text("arn", v.texts[0])
		if strings.HasSuffix(k.name, " id") {
			q.Context["aws:userid"] = policy.Values{k.text("aws:userid", v.texts[0])}
		}
	}
	for name, dim := range p.byName {
		if _, fixed := c.given.fixed(name); !fixed && len(values[dim].texts) > 0 {
			q.Context[p.keyName(name)] = slices.Clone(values[dim].texts)
		}
	}
	return q
}

// keyName is a key as AWS writes it.
func keyName(key string) string {
	if k, ok := policy.LookupKey(key); ok {
		return k.String()
	}
	return key
}

// keyName is a key as AWS or else the policies write it.
func (p *problem) keyName(key string) string {
	if name := p.names[key]; name != "" {
		return keyName(name)
	}
	return keyName(key)
}

// shortening makes a witness smaller and plainer while it remains one.
type shortening struct {
	given *given
	mode  mode
	shows func(*policy.Query) bool
}

// caller makes him anonymous if he need not be anyone.
func (s *shortening) caller(q *policy.Query) {
	if _, id := q.Context["aws:userid"]; id || q.Principal == "" || s.given.query.Principal != "" {
		return
	}
	if s.mode != loose && slices.ContainsFunc(slices.Collect(maps.Keys(q.Context)), func(k string) bool { return shapeOf(strings.ToLower(k)).authenticated }) {
		return
	}
	other := *q
	other.Principal = ""
	if s.shows(&other) {
		*q = other
	}
}

// resource takes the parts of the example where they serve as well.
func (s *shortening) resource(q *policy.Query) {
	if s.given.query.Resource != "" {
		return
	}
	try := func(resource string) {
		other := *q
		other.Resource = resource
		if strings.HasPrefix(resource, s.given.under) && s.shows(&other) {
			*q = other
		}
	}
	for i, part := range []string{1: "aws", 3: "us-east-1", 4: exampleAccount} {
		if arn := strings.SplitN(q.Resource, ":", 6); part != "" && arn[i] != part {
			arn[i] = part
			try(strings.Join(arn, ":"))
		}
	}
	example := strings.SplitN(exampleRest, "/", 4)
	for i := range example {
		arn := strings.SplitN(q.Resource, ":", 6)
		if rest := strings.SplitN(arn[5], "/", 4); len(rest) == len(example) && rest[i] != example[i] {
			rest[i] = example[i]
			arn[5] = strings.Join(rest, "/")
			try(strings.Join(arn, ":"))
		}
	}
}

// through are the keys of calls through an endpoint, which come together.
var through = []policy.Key{policy.KeySourceVpc, policy.KeySourceVpce, policy.KeyVpcSourceIP, policy.KeySourceIP}

// elsewhere are other values of keys that every call from an edge has: only if
// these serve as well does the key not matter.
var elsewhere = map[string][]string{
	"aws:CurrentTime":     {"2000-01-01T00:00:00Z", "2030-06-15T12:34:56Z", "2099-12-31T23:59:59Z"},
	"aws:SecureTransport": {"true", "false"},
	"aws:SourceVpc":       {"vpc-0", "vpc-zzz"},
	"aws:SourceVpce":      {"vpce-0", "vpce-zzz"},
	"aws:VpcSourceIp":     {"10.0.0.1", "203.0.113.77"},
	"aws:SourceIp":        {"10.0.0.1", "203.0.113.77"},
}

// context drops keys, and values of lists.
func (s *shortening) context(q *policy.Query) {
	without := func(keys ...string) policy.Query {
		other := *q
		other.Context = maps.Clone(q.Context)
		for _, k := range keys {
			delete(other.Context, k)
		}
		return other
	}
	for _, key := range slices.Sorted(maps.Keys(q.Context)) {
		if _, fixed := s.given.fixed(strings.ToLower(key)); fixed {
			continue
		}
		other := without(key)
		if s.shows(&other) && (s.mode == loose || !s.matters(q, key)) {
			*q = other
			continue
		}
		for len(q.Context[key]) > 1 {
			list := q.Context[key]
			i := slices.IndexFunc(list, func(v string) bool { // the first that can go
				other.Context[key] = slices.DeleteFunc(slices.Clone(list), func(w string) bool { return w == v })
				return s.shows(&other)
			})
			if i < 0 {
				break
			}
			q.Context[key] = slices.DeleteFunc(slices.Clone(list), func(w string) bool { return w == list[i] })
		}
	}
	if s.mode == loose {
		return
	}
	var keys []string
	for _, k := range through {
		if _, fixed := s.given.fixed(strings.ToLower(k.String())); fixed {
			return
		}
		keys = append(keys, k.String())
	}
	if other := without(keys...); s.shows(&other) {
		*q = other
	}
}

// matters says whether a key that every such call has makes a difference.
func (s *shortening) matters(q *policy.Query, key string) bool {
	other := *q
	other.Context = maps.Clone(q.Context)
	return slices.ContainsFunc(elsewhere[key], func(v string) bool {
		other.Context[key] = policy.Values{v}
		return !s.shows(&other)
	})
}
