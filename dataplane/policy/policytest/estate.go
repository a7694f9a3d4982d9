package policytest

import (
	_ "embed" // the policy of W2
	"net/netip"
	"strings"
)

//go:embed testdata/w2.json
var estateDocument []byte

// The endpoints of W2 by what they are for, and the VPCs in which they stand.
const (
	webEndpoint     = "vpce-01a7c3e95b2d4f608"
	mobileEndpoint  = "vpce-02b8d4f06c3e5a719"
	partnerEndpoint = "vpce-03c9e5a17d4f6b82a"
	batchEndpoint   = "vpce-04dae6b28e5a7c93b"
	adminEndpoint   = "vpce-05ebf7c39f6b8da4c"
	monitorEndpoint = "vpce-06fc08d4a07c9eb5d"
	ledgerEndpoint  = "vpce-070d19e5b18dafc6e"
	auditEndpoint   = "vpce-081e2af6c29eb0d7f"
	stagingEndpoint = "vpce-092f3b07d3afc1e80"

	prodVPC, sharedVPC, financeVPC, stagingVPC = "vpc-0c1d5e7f9a2b4c6d8", "vpc-0d2e6f8a0b3c5d7e9", "vpc-0e3f7a9b1c4d6e8fa", "vpc-0f4a8b0c2d5e7f90b"

	otherEndpoint, otherVPC = "vpce-0ffffffffffffffff", "vpc-0ffffffffffffffff"
)

var estateVPCs = map[string]string{
	webEndpoint: prodVPC, mobileEndpoint: prodVPC, partnerEndpoint: prodVPC, batchEndpoint: prodVPC, adminEndpoint: sharedVPC, monitorEndpoint: sharedVPC,
	ledgerEndpoint: financeVPC, auditEndpoint: financeVPC, stagingEndpoint: stagingVPC, otherEndpoint: otherVPC,
}

// scene is how the clients behave for whom one Allow of W2 was written.
type scene struct {
	paths     []string // each * stands for any word
	endpoints []string
	networks  []string
	callers   []string
}

const (
	sessionARN = "arn:aws:sts::111122223333:assumed-role/"
	office     = "10.30.200.0/22"
	anyProd    = "10.20.0.0/15"
)

var scenes = []scene{
	{[]string{"prod/GET/health", "staging/GET/health"}, []string{webEndpoint, mobileEndpoint, partnerEndpoint, batchEndpoint, adminEndpoint, monitorEndpoint,
		ledgerEndpoint, auditEndpoint, stagingEndpoint}, []string{"10.0.0.0/8"}, nil},
	{[]string{"prod/GET/catalogue/*", "prod/GET/catalogue/*/*", "prod/HEAD/catalogue/*"}, []string{webEndpoint, mobileEndpoint, partnerEndpoint}, []string{anyProd}, nil},
	{[]string{"prod/POST/search"}, []string{webEndpoint, mobileEndpoint}, []string{"10.20.0.0/16", "10.21.0.0/16"}, nil},
	{[]string{"prod/GET/customers/*/orders", "prod/GET/customers/*/orders/*"}, []string{webEndpoint, mobileEndpoint, batchEndpoint},
		[]string{"10.20.0.0/17", "10.21.0.0/18", "2001:db8:20::/48"}, nil},
	{[]string{"prod/POST/customers/*/orders", "prod/PUT/customers/*/orders/*"}, []string{webEndpoint, mobileEndpoint}, []string{anyProd},
		[]string{sessionARN + "orders-writer/i-*", sessionARN + "checkout/i-*"}},
	{[]string{"prod/GET/partners/acme/*", "prod/POST/partners/acme/*"}, []string{partnerEndpoint}, []string{"10.22.16.0/20", "10.22.48.0/21", "10.22.64.10/32"}, nil},
	{[]string{"prod/GET/partners/globex/*", "prod/PUT/partners/globex/*/*"}, []string{partnerEndpoint}, []string{"10.22.128.0/20", "10.22.160.0/22"}, nil},
	{[]string{"prod/POST/jobs/*", "prod/GET/jobs/*/status"}, []string{batchEndpoint}, []string{anyProd},
		[]string{iamARN + "user/batch/nightly", iamARN + "user/batch/hourly", sessionARN + "batch-runner/i-*"}},
	{[]string{"prod/GET/reports/*/monthly.csv", "prod/GET/reports/*/yearly.csv"}, []string{ledgerEndpoint, auditEndpoint}, []string{"10.40.0.0/20", "10.40.32.0/21"}, nil},
	{[]string{"prod/GET/invoices/*", "prod/POST/invoices/*"}, []string{ledgerEndpoint, auditEndpoint}, []string{"10.40.0.0/16"},
		[]string{"arn:aws:iam::444455556666:user/ledger", "arn:aws:sts::444455556666:assumed-role/auditor/*"}},
	{[]string{"prod/GET/metrics", "prod/GET/internal/metrics/*"}, []string{monitorEndpoint}, []string{"10.30.0.0/16"}, nil},
	{[]string{"prod/GET/admin/*", "prod/POST/admin/*/*"}, []string{adminEndpoint}, []string{"10.30.1.0/28", "10.30.2.0/28", "10.30.3.16/28", office, "2001:db8:30::/64"},
		[]string{sessionARN + "operators/*", sessionARN + "on-call/*", iamARN + "user/break-glass"}},
	{[]string{"prod/DELETE/catalogue/*", "prod/DELETE/jobs/*"}, []string{adminEndpoint, batchEndpoint}, []string{"10.30.0.0/16", anyProd},
		[]string{sessionARN + "operators/*", sessionARN + "on-call/*", sessionARN + "cleaner/*"}},
	{[]string{"staging/GET/*", "staging/POST/*/*"}, []string{stagingEndpoint}, []string{"10.60.0.0/14", "2001:db8:60::/48"}, nil},
}

var quarantine = []string{"10.20.66.0/24", "10.21.13.128/25", "10.30.66.0/24", "10.40.9.0/26", "10.60.66.0/23", "2001:db8:66::/48"}

// estate is W2. Each Allow has its clients; of their calls every second is
// spoiled in one respect, which seldom leaves it allowed.
func estate(t *traffic) []byte {
	act := func(s *scene) call {
		c := call{endpoint: t.pick(s.endpoints...), address: t.inside(netip.MustParsePrefix(t.pick(s.networks...))), path: t.words(t.pick(s.paths...))}
		if len(s.callers) > 0 {
			c.principal = t.words(t.pick(s.callers...))
		}
		return c
	}
	t.fill(func(i int) call {
		c := act(&scenes[i/2%len(scenes)])
		if i%2 == 1 {
			other := act(&scenes[t.IntN(len(scenes))])
			switch t.IntN(10) {
			case 0, 1:
				c.endpoint = other.endpoint
			case 2:
				c.endpoint = otherEndpoint
			case 3:
				c.address = other.address
			case 4:
				c.address = t.inside(netip.MustParsePrefix(t.pick(quarantine...)))
			case 5, 6:
				c.path = other.path
			case 7:
				c.principal = other.principal
			case 8:
				c.plain = true
				c.address = t.inside(privateNetwork)
			case 9: // an endpoint that was made again elsewhere
				c.vpc = otherVPC
			}
		}
		if c.vpc == "" {
			c.vpc = estateVPCs[c.endpoint]
		}
		return c
	})
	for i := range scenes {
		c := act(&scenes[i])
		c.vpc = estateVPCs[c.endpoint]
		t.probe(c)
	}
	return estateDocument
}

// words puts a word for each star.
func (t *traffic) words(pattern string) string {
	for strings.Contains(pattern, "*") {
		pattern = strings.Replace(pattern, "*", t.word(), 1)
	}
	return pattern
}
