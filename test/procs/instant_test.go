package procs_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	"github.com/posternhq/postern/test/procs"
)

// shows reports whether a name server has a name.
func shows(ctx context.Context, server, name string) (bool, error) {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server)
	}}
	_, err := resolver.LookupNetIP(ctx, "ip4", name)
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return false, nil
	}
	return err == nil, err
}

// TestInstantsSurviveCrashes: when a change shows at which name server is told by
// what is recorded. It is the same under another leader and another profile, and
// after a crash of all nodes and of the DNS server, which shows the change at just these instants.
func TestInstantsSurviveCrashes(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 1, OwnPorts: true})
	w := settle(t, c)
	admin := func(do func(ctx context.Context, admin adminv1.AdminClient) error) {
		t.Helper()
		eventually(t, "admin call", func() error {
			leader, err := c.Leader(within(t, patience))
			if err != nil {
				return err
			}
			conn, err := leader.Conn()
			if err != nil {
				return err
			}
			defer conn.Close()
			return do(within(t, patience), adminv1.NewAdminClient(conn))
		})
	}
	set := func(s *adminv1.Settings) {
		t.Helper()
		admin(func(ctx context.Context, admin adminv1.AdminClient) error {
			_, err := admin.UpdateSettings(ctx, &adminv1.UpdateSettingsRequest{Settings: s})
			return err
		})
	}
	// A frozen clock: nothing shows but by an advance.
	set(&adminv1.Settings{DnsProfile: proto.String("aws"), DnsSpeed: proto.Float64(0)})
	if _, err := aws(within(t, patience), c.Nodes[0], "PATCH", "/restapis/"+w.API, map[string]any{
		"patchOperations": []any{map[string]string{"op": "add", "path": "/endpointConfiguration/vpcEndpointIds", "value": w.Endpoint}},
	}, nil); err != nil {
		t.Fatal(err)
	}
	alias := strings.Replace(w.Name, w.API, w.API+"-"+w.Endpoint, 1) + "."
	instants := func() map[string]int64 {
		t.Helper()
		out := map[string]int64{}
		admin(func(ctx context.Context, admin adminv1.AdminClient) error {
			list, err := admin.ListDnsChanges(ctx, &adminv1.ListDnsChangesRequest{Subject: w.API})
			if err != nil {
				return err
			}
			for _, change := range list.GetChanges() {
				for _, name := range change.GetNames() {
					for _, i := range change.GetInstants() {
						if name == alias {
							out[i.GetPlace()] = i.GetDnsUnixNano()
						}
					}
				}
			}
			if len(out) != 4 {
				return fmt.Errorf("%s has the instants %v", alias, out)
			}
			return nil
		})
		return out
	}
	before := instants()
	same := func(when string) {
		t.Helper()
		if after := instants(); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("%s: %v, were %v", when, after, before)
		}
	}

	leader, err := c.Leader(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	if err := procs.KillAll(leader); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another leader", func() error {
		next, err := c.Leader(within(t, patience))
		if err == nil && next.ID == leader.ID {
			err = errors.New("the old one")
		}
		return err
	})
	same("under another leader")
	set(&adminv1.Settings{DnsProfile: proto.String("instant")})
	same("under another profile")
	all := append([]*procs.Process{c.DNS}, c.Nodes...)
	if err := procs.KillAll(all...); err != nil {
		t.Fatal(err)
	}
	if err := procs.StartAll(within(t, patience), all...); err != nil {
		t.Fatal(err)
	}
	same("after a crash of all")

	// And the name servers go by them: to the last of them but a moment, then to it.
	status, err := c.Status(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	last := ""
	for place, at := range before {
		if last == "" || at > before[last] {
			last = place
		}
	}
	to := func(at int64) {
		t.Helper()
		admin(func(ctx context.Context, admin adminv1.AdminClient) error {
			settings, err := admin.GetSettings(ctx, &adminv1.GetSettingsRequest{})
			if err != nil {
				return err
			}
			by := time.Duration(at - settings.GetDnsNowUnixNano()).Milliseconds()
			if by <= 0 {
				return nil
			}
			_, err = admin.AdvanceDns(ctx, &adminv1.AdvanceDnsRequest{DurationMs: by})
			return err
		})
	}
	expect := func(lacking string) {
		t.Helper()
		for _, p := range status.GetPlaces() {
			if p.GetKind() != "authority" {
				continue
			}
			want := !strings.HasSuffix(p.GetId(), lacking)
			eventually(t, p.GetId(), func() error {
				got, err := shows(within(t, patience), p.GetAddress(), alias)
				if err == nil && got != want {
					err = fmt.Errorf("%s there: %v, want %v", alias, got, want)
				}
				return err
			})
		}
	}
	to(before[last] - int64(2*time.Millisecond))
	expect("-" + last)
	to(before[last] + int64(2*time.Millisecond))
	expect("-none")
}
