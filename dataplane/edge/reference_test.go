package edge

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dataplane/compile"
	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/dataplane/policy/policytest"
	"github.com/posternhq/postern/dataplane/policy/reference"
	"github.com/posternhq/postern/dataplane/vpce"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

// The world of policytest: its account, APIs, endpoint and callers.
const (
	refRegion, refAccount, refOther = "us-east-1", "111122223333", "444455556666"
	refPrivate, refPublic           = "abcde12345", "fghij67890"
)

// trial is one edge with random policies, and what the reference evaluator
// knows of it.
type trial struct {
	t          *testing.T
	g          *policytest.Generator
	w          *world
	resource   map[string][]byte // by API
	endpoint   []byte
	callers    []trialCaller
	boundaries map[string][]byte
	identity   map[string][][]byte
}

type trialCaller struct {
	signer
	principal string
	account   string
	context   map[string]policy.Values
	session   [][]byte
}

func (x *trial) chance(percent int) bool { return x.g.IntN(100) < percent }

// document is a random policy, or one of those that let things get further.
func (x *trial) document(principals bool) []byte {
	who := ""
	if principals {
		who = []string{everyone, everyone, `{"AWS":"` + refAccount + `"}`, `{"AWS":["arn:aws:iam::` + refAccount + `:user/bob","arn:aws:sts::` + refAccount + `:assumed-role/dev/s1"]}`}[x.g.IntN(4)]
	}
	switch {
	case x.chance(35):
		return []byte(document("Allow", who))
	case x.chance(15):
		return []byte(document("Allow", who, `{"StringEquals":{"aws:UserAgent":"nobody"}}`)) // silent
	case principals:
		// Where a role's path is known it matters; the reference does not know any.
		return bytes.ReplaceAll(x.g.Document(), []byte("role/service/dev"), []byte("role/dev"))
	}
	return x.g.IdentityDocument()
}

func (x *trial) some(most int) (list [][]byte) {
	for range x.g.IntN(most + 1) {
		list = append(list, x.document(false))
	}
	return list
}

func namedPolicies(documents [][]byte) (list []*edgev1.NamedPolicy) {
	for i, d := range documents {
		list = append(list, &edgev1.NamedPolicy{Name: fmt.Sprint("p", i), Document: string(d)})
	}
	return list
}

func newTrial(t *testing.T, seed uint64) *trial {
	x := &trial{t: t, g: policytest.New(seed), w: &world{}, resource: map[string][]byte{}, boundaries: map[string][]byte{}, identity: map[string][][]byte{}}
	for id, kind := range map[string]string{refPrivate: "PRIVATE", refPublic: "REGIONAL"} {
		if x.chance(90) {
			x.resource[id] = x.document(true)
		}
		x.w.apis = append(x.w.apis, &edgev1.Api{Id: id, Account: refAccount, Region: refRegion, EndpointType: kind})
		for stage, auth := range map[string]string{"prod": "AWS_IAM", "dev": "NONE"} {
			method := mock(200)
			method.AuthorizationType = proto.String(auth)
			x.w.stages = append(x.w.stages, &edgev1.Stage{
				ApiId: id, Account: refAccount, Region: refRegion, Name: stage, DeploymentId: "d", Policy: string(x.resource[id]),
				Routes: []*edgev1.Route{{ResourceId: "r", Path: "/{proxy+}", HttpMethod: "ANY", Method: method}},
			})
		}
	}
	if x.chance(60) {
		x.endpoint = x.document(true)
	}
	x.w.vpcs = []*edgev1.Vpc{{Id: "vpc-1", Account: refAccount, Region: refRegion, Cidrs: []string{"10.0.0.0/8"}, LoopbackOctet: 61}}
	x.w.vpces = []*edgev1.VpcEndpoint{{Id: "vpce-1", Account: refAccount, Region: refRegion, VpcId: "vpc-1", Policy: string(x.endpoint)}}
	x.caller(refAccount, "root", "", "")
	x.caller(refAccount, "user/bob", "AIDABOB", "bob")
	x.caller(refAccount, "user/team/amy", "AIDAAMY", "amy")
	x.caller(refAccount, "assumed-role/dev/s1", "AROADEV", "")
	x.caller(refOther, "assumed-role/dev/s1", "AROAOTHER", "")
	x.caller(refOther, "root", "", "")
	return x
}

// caller adds a caller with random policies.
func (x *trial) caller(account, name, id, user string) {
	c := trialCaller{account: account, principal: "arn:aws:iam::" + account + ":" + name, context: map[string]policy.Values{}}
	m := &edgev1.AccessKey{Id: "AKIA" + strconv.Itoa(len(x.callers)), Account: account, PrincipalId: id, Type: "User", UserId: id, UserName: user}
	switch {
	case name == "root":
		m.Type, m.UserId = "Account", account
	case user == "":
		m.Type, m.UserId = "AssumedRole", id+":s1"
		c.principal = "arn:aws:sts::" + account + ":" + name
		m.RoleArn = "arn:aws:iam::" + account + ":role/dev"
	}
	c.context["aws:userid"] = policy.Values{m.UserId}
	m.Arn = c.principal
	if user == "" && name != "root" || x.chance(20) {
		issued := time.Date(2020, time.Month(1+x.g.IntN(2)), 1, 0, 0, 0, 0, time.UTC)
		c.session = x.some(2)
		m.Session = &edgev1.AccessSession{IssuedAt: issued.Unix(), Policies: namedPolicies(c.session)}
		c.context["aws:TokenIssueTime"] = policy.Values{issued.Format(time.RFC3339)}
		c.context["aws:MultiFactorAuthPresent"] = policy.Values{"false"}
		if x.chance(50) {
			m.Session.SourceIdentity = "bob"
			c.context["aws:SourceIdentity"] = policy.Values{"bob"}
		}
	}
	if id != "" && x.chance(50) {
		tag := []string{"a", "b", "bob"}[x.g.IntN(3)]
		m.Tags = map[string]string{"team": tag}
		c.context["aws:PrincipalTag/team"] = policy.Values{tag}
	}
	if id != "" {
		x.identity[c.principal] = x.some(2)
		owner := &edgev1.Principal{Id: id, Policies: namedPolicies(x.identity[c.principal])}
		if x.chance(40) {
			x.boundaries[c.principal] = x.document(false)
			owner.Boundary = &edgev1.NamedPolicy{Document: string(x.boundaries[c.principal])}
		}
		x.w.owners = append(x.w.owners, owner)
	}
	c.signer = x.w.key(m)
	c.region = refRegion
	m.SigningKeys = []*edgev1.SigningKeys{signingKeys(c.secret, refRegion)}
	x.callers = append(x.callers, c)
}

// verdict is the reference's word on policies of one kind, all as one.
func (x *trial) verdict(q *policy.Query, identity bool, documents ...[]byte) policy.Verdict {
	sum := policy.Verdict{Attached: true, Decision: policy.Decision{Statement: -1}}
	for _, effect := range []policy.Effect{policy.ExplicitDeny, policy.Allow} {
		for _, d := range documents {
			eval := reference.Eval
			if identity {
				eval = reference.EvalIdentity
			}
			got, err := eval(d, q)
			if err != nil {
				x.t.Fatal(err)
			}
			if got.Effect == effect {
				sum.Decision = got
				return sum
			}
		}
	}
	return sum
}

// want is the reference's combination for a request.
func (x *trial) want(c trialCaller, api string, signed bool, anonymous, known *policy.Query) policy.Outcome {
	asked := anonymous
	if signed {
		asked = known
	}
	m := policy.Combination{Private: api == refPrivate, SameAccount: c.account == refAccount}
	document, attached := x.resource[api]
	if attached {
		m.Resource = x.verdict(asked, false, document)
	}
	if m.Private && x.endpoint != nil {
		m.Endpoint = x.verdict(known, false, x.endpoint)
	}
	if !signed {
		return reference.Combine(m)
	}
	m.Auth, m.Root = policy.AuthIAM, strings.HasSuffix(c.principal, ":root")
	m.Identity = x.verdict(known, true, x.identity[c.principal]...)
	if m.Root {
		m.Identity.Effect = policy.Allow
	}
	if b := x.boundaries[c.principal]; b != nil {
		m.Boundary = x.verdict(known, true, b)
	}
	if len(c.session) > 0 {
		m.Session = x.verdict(known, true, c.session...)
	}
	if attached {
		d, err := reference.Read(document)
		if err != nil {
			x.t.Fatal(err)
		}
		if m.Named, err = d.Names(known); err != nil {
			x.t.Fatal(err)
		}
	}
	return reference.Combine(m)
}

// TestOutcomeAgainstReference: whatever the policies of API, endpoint and
// caller, signed requests end as the reference evaluator combines them.
func TestOutcomeAgainstReference(t *testing.T) {
	seeds := uint64(400)
	if testing.Short() {
		seeds = 50
	}
	ends := map[string]int{}
	e := bare(t)
	for seed := range seeds {
		x := newTrial(t, seed)
		table, rejected := compile.Config{Integration: e.Prepare}.Compile(nil, x.w.update(t, seed+1))
		if len(rejected) > 0 {
			t.Fatalf("seed %d: %v", seed, rejected)
		}
		e.Install(table)
		q := &request{}
		for _, c := range x.callers {
			for _, api := range []string{refPrivate, refPublic} {
				for _, stage := range []string{"prod", "dev"} {
					got, want := x.compare(e, q, c, api, stage)
					if got != want {
						t.Errorf("seed %d, %s, API %s, stage %s: got %+v, the reference %+v", seed, c.principal, api, stage, got, want)
					}
					ends[fmt.Sprint(want.Effect, " by ", want.Source)]++
				}
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Log(ends)
	for _, effect := range []policy.Effect{policy.Silent, policy.ExplicitDeny} {
		for _, s := range []policy.Source{policy.SourceResource, policy.SourceEndpoint, policy.SourceIdentity, policy.SourceBoundary, policy.SourceSession} {
			if end := fmt.Sprint(effect, " by ", s); ends[end] < int(seeds)/50 {
				t.Errorf("only %d times %s: the trials have lost their way", ends[end], end)
			}
		}
	}
	for _, s := range []policy.Source{policy.SourceResource, policy.SourceIdentity} {
		if end := fmt.Sprint(policy.Allow, " by ", s); ends[end] < int(seeds)/10 {
			t.Errorf("only %d times %s: the trials have lost their way", ends[end], end)
		}
	}
}

// compare makes one random request of a caller.
func (x *trial) compare(e *Edge, q *request, c trialCaller, api, stage string) (got, want policy.Outcome) {
	source := []string{"10.1.2.3", "192.168.7.7", "8.8.8.8"}[x.g.IntN(3)]
	verb := []string{"GET", "POST"}[x.g.IntN(2)]
	path := "/" + stage
	for range 1 + x.g.IntN(3) {
		path += "/" + []string{"pets", "pet", "GET", "bob", "a%20b", "prod", "%2A"}[x.g.IntN(7)]
	}
	agent := []string{"curl", "libcurl/8", "x", "10.1.2.3"}[x.g.IntN(4)]
	now := time.Now()
	anonymous := &policy.Query{
		Resource: "arn:aws:execute-api:" + refRegion + ":" + refAccount + ":" + api + "/" + stage + "/" + verb + strings.TrimPrefix(path, "/"+stage),
		Context: map[string]policy.Values{
			"aws:UserAgent": {agent}, "aws:SecureTransport": {"true"},
			"aws:CurrentTime": {now.UTC().Format("2006-01-02T15:04:05Z")}, "aws:EpochTime": {strconv.FormatInt(now.Unix(), 10)},
		},
	}
	arrival := &vpce.Arrival{Source: netip.MustParseAddr(source)}
	if api == refPrivate {
		arrival.Endpoint, arrival.VPC = "vpce-1", "vpc-1"
		anonymous.Context["aws:SourceVpce"], anonymous.Context["aws:SourceVpc"] = policy.Values{"vpce-1"}, policy.Values{"vpc-1"}
		anonymous.Context["aws:SourceVpcArn"] = policy.Values{e.Table().VPC("vpc-1").ARN}
		anonymous.Context["aws:VpcSourceIp"] = policy.Values{source}
	} else {
		anonymous.Context["aws:SourceIp"] = policy.Values{source}
	}
	r, err := http.NewRequestWithContext(x.t.Context(), verb, "https://"+api+".execute-api."+refRegion+".amazonaws.com"+path, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	r.Header.Set("User-Agent", agent)
	if x.chance(50) {
		r.Header.Set("Referer", "x")
		anonymous.Context["aws:Referer"] = policy.Values{"x"}
	}
	known := &policy.Query{Principal: c.principal, Resource: anonymous.Resource, Context: map[string]policy.Values{}}
	for _, context := range []map[string]policy.Values{anonymous.Context, c.context} {
		for k, v := range context {
			known.Context[k] = v
		}
	}
	c.sign(x.t, r, "")
	q.reset()
	q.in, q.arrival, q.time = e.now.Load(), arrival, now
	v := e.decide(q, received(x.t, r))
	if v == allowed != q.outcome.Allowed() || !q.evaluated {
		x.t.Fatalf("%s: %s, with outcome %+v", reasons[v], q.detail(), q.outcome)
	}
	return q.outcome, x.want(c, api, stage == "prod", anonymous, known)
}
