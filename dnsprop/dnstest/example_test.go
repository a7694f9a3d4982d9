package dnstest_test

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/posternhq/postern/dnsprop/dnstest"
)

// The fifteen-minute NXDOMAIN: whoever asks before a name exists plants its
// absence in the resolver.
func Example() {
	lab := dnstest.New(dnstest.Profile("aws"), dnstest.PublicZone("example.com"))
	defer lab.Close()

	lab.Set("api.example.com", "10.0.0.1")
	fmt.Println("too early:    ", lab.Query(dnstest.Public, "api.example.com", "A"))
	lab.Advance(3 * time.Minute)
	fmt.Println("a name server:", lab.Query(dnstest.NS1, "api.example.com", "A"))
	fmt.Println("the resolver: ", lab.Query(dnstest.Public, "api.example.com", "A"))
	lab.Advance(12 * time.Minute)
	fmt.Println("at last:      ", lab.Query(dnstest.Public, "api.example.com", "A"))
	// Output:
	// too early:     NXDOMAIN 900
	// a name server: 60 A 10.0.0.1
	// the resolver:  NXDOMAIN 720
	// at last:       60 A 10.0.0.1
}

func ExampleLab_Commit() {
	lab := dnstest.New(dnstest.Profile("fast"), dnstest.PublicZone("example.com"))
	defer lab.Close()

	lab.Commit(
		"www.example.com. 300 IN CNAME api.example.com.",
		"api.example.com. 60  IN A 10.0.0.1",
		"api.example.com. 60  IN A 10.0.0.2",
	)
	fmt.Println("all have it after", lab.Settle().Round(time.Second))
	for _, r := range lab.Query(dnstest.Public, "www.example.com", "A").Records[:1] {
		fmt.Println(r.Name, r.TTL, r.Type, r.Data)
	}
	lab.Commit("- api.example.com. A")
	lab.Settle()
	fmt.Println(lab.Query(dnstest.Public, "www.example.com", "A"))
	// Output:
	// all have it after 2s
	// www.example.com. 5m0s CNAME api.example.com.
	// NXDOMAIN 240 CNAME api.example.com.
}

// Each authority has an instant of its own.
func ExampleChange_Arrives() {
	lab := dnstest.New(dnstest.Profile("aws"), dnstest.Seed(7), dnstest.PublicZone("example.com"))
	defer lab.Close()

	start := lab.Now()
	change := lab.Set("api.example.com", "10.0.0.1")
	for _, ns := range dnstest.Authorities() {
		at, _ := change.Arrives(ns)
		fmt.Println(ns, at.Sub(start))
	}
	insync, _ := change.Insync()
	fmt.Println("INSYNC", insync.Sub(start))
	// Output:
	// ns1 1m45.338s
	// ns2 1m21.568s
	// ns3 1m20.401s
	// ns4 1m26.021s
	// INSYNC 1m45.338s
}

func ExampleLab_Fault() {
	lab := dnstest.New(dnstest.Profile("fast"), dnstest.PublicZone("example.com"))
	defer lab.Close()

	lab.Fault(dnstest.Fault{Kind: "dns-lost", Name: "api.example.com"})
	change := lab.Set("api.example.com", "10.0.0.1")
	lab.Advance(time.Hour)
	fmt.Println("after an hour:   ", lab.Query(dnstest.NS1, "api.example.com", "A"))
	change.Resend()
	lab.Settle()
	fmt.Println("after another go:", lab.Query(dnstest.NS1, "api.example.com", "A"))
	// Output:
	// after an hour:    NXDOMAIN 5
	// after another go: 60 A 10.0.0.1
}

// Clients in two availability zones have two caches, which may disagree.
func ExampleLab_VPC() {
	lab := dnstest.New(dnstest.Profile("fast"), dnstest.PublicZone("example.com"))
	defer lab.Close()

	vpc := lab.VPC("orders", "a", "b")
	lab.PrivateZone("corp.example.com", vpc).Set("db.corp.example.com", "10.0.9.9")
	lab.Set("api.example.com", "10.0.0.1")
	lab.Query(vpc.Place("a"), "api.example.com", "A")
	lab.Advance(4 * time.Second)
	for _, az := range []string{"a", "b"} {
		fmt.Println(az, lab.Query(vpc.Place(az), "api.example.com", "A"), "|", lab.Query(vpc.Place(az), "db.corp.example.com", "A"))
	}
	fmt.Println("outside:", lab.Query(dnstest.Public, "db.corp.example.com", "A"))
	// Output:
	// a NXDOMAIN 1 | 60 A 10.0.9.9
	// b 60 A 10.0.0.1 | 60 A 10.0.9.9
	// outside: NXDOMAIN 5
}

// Programs that are not Go's are pointed at a socket.
func ExampleLab_Addr() {
	lab := dnstest.New(dnstest.Profile("instant"), dnstest.PublicZone("example.com"))
	defer lab.Close()

	lab.Set("api.example.com", "10.0.0.1")
	var d net.Dialer
	stub := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return d.DialContext(ctx, network, lab.Addr(dnstest.Public))
	}}
	fmt.Println(stub.LookupHost(context.Background(), "api.example.com"))
	// Output: [10.0.0.1] <nil>
}
