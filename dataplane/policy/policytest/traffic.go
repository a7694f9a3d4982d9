package policytest

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"

	"github.com/posternhq/postern/dataplane/policy"
)

// The API of all workloads.
const (
	apiARN = "arn:aws:execute-api:us-east-1:111122223333:abcde12345/"
	iamARN = "arn:aws:iam::111122223333:"
)

// traffic draws the queries of one workload.
type traffic struct {
	*rand.Rand
	seen    map[string]bool
	queries []*policy.Query
	probes  []*policy.Query
}

func newTraffic(name string) *traffic {
	h := fnv.New64a()
	h.Write([]byte(name))
	return &traffic{Rand: rand.New(rand.NewPCG(h.Sum64(), 0x74726166)), seen: make(map[string]bool)}
}

// call is a query before it is spelled.
type call struct {
	endpoint, vpc string
	address       netip.Addr
	principal     string
	path          string // stage/METHOD/path
	plain         bool   // without TLS
}

var userAgents = [...]string{"curl/8.5.0", "python-requests/2.32.3", "Go-http-client/1.1", "Apache-HttpClient/4.5.14 (Java/21.0.4)", "axios/1.7.7",
	"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"}

func (t *traffic) spell(c call) *policy.Query {
	q := &policy.Query{
		Action: policy.DefaultAction, Principal: c.principal, Resource: apiARN + c.path,
		Context: map[string]policy.Values{
			"aws:SecureTransport": {strconv.FormatBool(!c.plain)},
			"aws:UserAgent":       {userAgents[t.IntN(len(userAgents))]},
			"aws:CurrentTime":     {fmt.Sprintf("2026-03-%02dT%02d:%02d:%02dZ", 1+t.IntN(28), t.IntN(24), t.IntN(60), t.IntN(60))},
		},
	}
	if c.endpoint != "" {
		q.Context["aws:SourceVpce"] = policy.Values{c.endpoint}
		q.Context["aws:SourceVpc"] = policy.Values{c.vpc}
		q.Context["aws:SourceVpcArn"] = policy.Values{"arn:aws:ec2:us-east-1:111122223333:vpc/" + c.vpc}
	}
	if c.address.IsValid() {
		q.Context["aws:VpcSourceIp"] = policy.Values{c.address.String()}
	}
	return q
}

// fill draws until there are enough distinct queries; i counts the attempts.
func (t *traffic) fill(draw func(i int) call) {
	for i := 0; len(t.queries) < queriesPerWorkload; i++ {
		c := draw(i)
		if name := fmt.Sprint(c); !t.seen[name] {
			t.seen[name] = true
			t.queries = append(t.queries, t.spell(c))
		}
	}
	t.Shuffle(len(t.queries), func(i, j int) { t.queries[i], t.queries[j] = t.queries[j], t.queries[i] })
}

// probe adds a call that is allowed, and what differs from it in one thing.
func (t *traffic) probe(c call) {
	add := func(change func(*policy.Query)) {
		q := t.spell(c)
		change(q)
		t.probes = append(t.probes, q)
	}
	replace := func(old, other string) {
		add(func(q *policy.Query) { q.Resource = strings.Replace(q.Resource, old, other, 1) })
	}
	add(func(*policy.Query) {})
	add(func(q *policy.Query) { q.Action = "EXECUTE-API:invoke" }) // still the same action
	add(func(q *policy.Query) { q.Action = "execute-api:InvalidateCache" })
	replace("arn:aws:", "arn:aws-cn:")
	replace("execute-api", "s3")
	replace("us-east-1", "us-east-2")
	replace("111122223333", "444455556666")
	replace("abcde12345/", "fghij67890/")
	replace("abcde12345/", "abcde123456/")
	replace("abcde12345/", ":abcde12345/")
	replace("abcde12345/"+c.path, "abcde12345")
	for _, key := range [...]policy.Key{policy.KeySourceVpce, policy.KeySourceVpc, policy.KeyVpcSourceIP, policy.KeySecureTransport} {
		add(func(q *policy.Query) { delete(q.Context, key.String()) })
	}
	if c.principal != "" {
		add(func(q *policy.Query) { q.Principal = "" })
	}
}

// hexID is a resource id as AWS makes them, such as vpce-0a1b2c3d4e5f60718.
func hexID(prefix string, n uint64) string {
	// A bijection that spreads the bits: ids are distinct, and look random.
	n = (n + 1) * 0x9e3779b97f4a7c15
	n ^= n >> 29
	return fmt.Sprintf("%s-0%016x", prefix, n)
}

// endpointID is endpoint number n; four in a row stand in one VPC.
func endpointID(n int) string { return hexID("vpce", uint64(n)) }

func vpcID(endpoint int) string { return hexID("vpc", uint64(endpoint/4)) }

// inside draws an address of a prefix.
func (t *traffic) inside(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] ^= byte(t.IntN(2)) << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func (t *traffic) pick(list ...string) string { return list[t.IntN(len(list))] }

// word is a path segment that a client would choose.
func (t *traffic) word() string {
	return t.pick("spring", "eu", "north", "blue", "basic", "q", "item", "box") + "-" + strconv.Itoa(t.IntN(100_000))
}
