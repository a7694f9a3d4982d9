package procs_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/posternhq/postern/test/procs"
)

// servfails reports whether a name server fails to answer for a name of its zone.
func servfails(ctx context.Context, server string) (bool, error) {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server)
	}}
	_, err := resolver.LookupNetIP(ctx, "ip4", "nobody.execute-api.us-west-2.amazonaws.com.")
	var dns *net.DNSError
	switch {
	case !errors.As(err, &dns):
		return false, fmt.Errorf("nobody's name at %s: %w", server, err)
	case dns.IsTimeout:
		return false, err
	}
	return !dns.IsNotFound, nil
}

// TestFaultsSurviveCrashes: a fault of the name servers is part of the state.
// It outlives its leader, all nodes and the DNS server, and ends when cleared.
func TestFaultsSurviveCrashes(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 1, OwnPorts: true})
	settle(t, c)
	status, err := c.Status(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	servers := map[string]string{}
	for _, p := range status.GetPlaces() {
		if p.GetKind() == "authority" {
			servers[p.GetId()[strings.LastIndex(p.GetId(), "-")+1:]] = p.GetAddress()
		}
	}
	const none, set = `"faults":[]`, `"id":"dns-servfail@ns2"`
	did := func(args ...string) string {
		t.Helper()
		r, err := c.Command(within(t, patience), args...)
		if err != nil || r.Exit != 0 {
			t.Fatalf("%v: %+v, %v", args, r, err)
		}
		return r.Stdout
	}
	expect := func(when, list string, failing ...string) {
		t.Helper()
		eventually(t, "fault in the status "+when, func() error {
			r, err := c.Command(within(t, patience), "admin", "fault", "list", "-o", "json")
			if err == nil && (r.Exit != 0 || !strings.Contains(r.Stdout, list)) {
				err = fmt.Errorf("%+v", r)
			}
			return err
		})
		did("wait", "--latest", "--timeout", "50s")
		for name, server := range servers {
			got, err := servfails(within(t, patience), server)
			if err != nil {
				t.Fatal(err)
			}
			if want := len(failing) > 0 && failing[0] == name; got != want {
				t.Errorf("%s: %s fails: %v, want %v", when, name, got, want)
			}
		}
	}
	expect("at first", none)
	did("admin", "fault", "set", "dns-servfail", "--place", "ns2")
	expect("once set", set, "ns2")

	leader, err := c.Leader(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	if err := procs.KillAll(leader); err != nil {
		t.Fatal(err)
	}
	expect("under another leader", set, "ns2")

	all := append([]*procs.Process{c.DNS}, c.Nodes...)
	if err := procs.KillAll(all...); err != nil {
		t.Fatal(err)
	}
	if err := procs.StartAll(within(t, patience), all...); err != nil {
		t.Fatal(err)
	}
	expect("after a crash of all", set, "ns2")
	did("admin", "fault", "clear", "dns-servfail@ns2")
	expect("once cleared", none)
}
