package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
)

const (
	region = "us-west-2"
	apex   = "execute-api." + region + ".amazonaws.com."
)

// record is what all servers say of a name.
type record struct {
	name      string
	addresses []string
}

// records are the zone's: alias names, each with the addresses of an endpoint
// in two zones.
func records(n int) []record {
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]record, n)
	for i := range out {
		out[i] = record{
			name: fmt.Sprintf("%010x-vpce-%017x.%s", rng.Uint64N(1<<40), rng.Uint64()>>1, apex),
			addresses: []string{
				fmt.Sprintf("10.7.%d.%d", i/250%250, 1+i%250),
				fmt.Sprintf("10.8.%d.%d", i/250%250, 1+i%250),
			},
		}
	}
	return out
}

// writeZone writes the zone as a file for the servers that read one.
func writeZone(file string, rs []record) error {
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN %s\n@ 900 IN SOA ns1.dns.postern.internal. hostmaster.dns.postern.internal. 1 7200 900 1209600 900\n", apex)
	for i := range 4 {
		fmt.Fprintf(&b, "@ 900 IN NS ns%d.dns.postern.internal.\n", i+1)
	}
	for _, r := range rs {
		for _, a := range r.addresses {
			fmt.Fprintf(&b, "%s 60 IN A %s\n", r.name, a)
		}
	}
	return os.WriteFile(file, []byte(b.String()), 0o600)
}

// writeQueries writes what dnsperf asks for: every name, in no order.
func writeQueries(file string, rs []record) error {
	var b strings.Builder
	for _, i := range rand.New(rand.NewPCG(3, 4)).Perm(len(rs)) {
		fmt.Fprintf(&b, "%s A\n", strings.TrimSuffix(rs[i].name, "."))
	}
	return os.WriteFile(file, []byte(b.String()), 0o600)
}
