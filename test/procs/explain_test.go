package procs_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	"github.com/posternhq/postern/test/procs"
)

// TestExplainName follows an NXDOMAIN that one early query planted: every node
// tells of it, whoever planted it, until the DNS server is killed, whose caches
// are then empty; and what is explained is what is answered.
func TestExplainName(t *testing.T) {
	c := start(t, procs.Config{Nodes: 3, Edges: 1, OwnPorts: true})
	w := settle(t, c)
	alias := strings.Replace(w.Name, w.API, w.API+"-"+w.Endpoint, 1)
	command := func(args ...string) procs.Result {
		t.Helper()
		r, err := c.Command(within(t, patience), args...)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	must := func(args ...string) string {
		t.Helper()
		r := command(args...)
		if r.Exit != 0 {
			t.Fatalf("%v: %+v", args, r)
		}
		return r.Stdout
	}
	// A frozen clock: what was planted stays until an advance.
	eventually(t, "settings", func() error {
		leader, err := c.Leader(within(t, patience))
		if err != nil {
			return err
		}
		conn, err := leader.Conn()
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = adminv1.NewAdminClient(conn).UpdateSettings(within(t, patience), &adminv1.UpdateSettingsRequest{
			Settings: &adminv1.Settings{DnsProfile: proto.String("aws"), DnsSpeed: proto.Float64(0)},
		})
		return err
	})
	must("wait", "--latest", "--for", "dns", "--timeout", "50s")
	if yes, err := shows(within(t, patience), c.DNS.DNS, alias); err != nil || yes {
		t.Fatalf("%s: %t, %v", alias, yes, err)
	}
	if _, err := aws(within(t, patience), c.Nodes[0], "PATCH", "/restapis/"+w.API, map[string]any{
		"patchOperations": []any{map[string]string{"op": "add", "path": "/endpointConfiguration/vpcEndpointIds", "value": w.Endpoint}},
	}, nil); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		Places []struct {
			Place     string
			ChangesAt string `json:"changes_at"`
			Outcomes  []struct {
				Rcode   string
				Records []string
				Asked   []string
				From    []struct {
					Source  string
					Waiting []struct{ Change string }
					Cached  *struct {
						PlantedBy string `json:"planted_by"`
						Negative  bool
					}
				}
			}
		}
	}
	explain := func(place string) (a answer) {
		t.Helper()
		if err := json.Unmarshal([]byte(must("dns", "explain", alias, "--at", place, "-o", "json")), &a); err != nil || len(a.Places) != 1 || len(a.Places[0].Outcomes) == 0 {
			t.Fatalf("%s: %v, %v", place, a, err)
		}
		return a
	}
	eventually(t, "the change is at the name server", func() error {
		if o := explain("ns1").Places[0].Outcomes[0]; o.Rcode != "NXDOMAIN" || len(o.From[0].Waiting) != 1 {
			return fmt.Errorf("%v", o)
		}
		return nil
	})
	planted := func(place string) string {
		t.Helper()
		p := explain(place).Places[0]
		if from := p.Outcomes[0].From[0]; from.Source == "cache" && from.Cached.Negative && p.Outcomes[0].Rcode == "NXDOMAIN" && p.ChangesAt != "" {
			return from.Cached.PlantedBy
		}
		return "nobody"
	}
	if by := planted("public"); by != "127.0.0.1" {
		t.Errorf("planted by %s", by)
	}
	text := must("dns", "explain", alias)
	for _, part := range []string{"-ns4\n", "of the DNS clock, which is frozen", "the negative cache, for another", "planted by 127.0.0.1, which asked for A", "not yet change C"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in the answer:\n%s", part, text)
		}
	}
	if r := command("dns", "explain", alias, "--at", "ns9"); r.Exit != 1 || !strings.Contains(r.Stderr, c.DNS.ID+"-ns4") {
		t.Errorf("of a place that is none: %+v", r)
	}
	if r := command("dns", "explain", "a..b"); r.Exit != 1 || !strings.Contains(r.Stderr, "no domain name") {
		t.Errorf("of a name that is none: %+v", r)
	}

	if err := c.DNS.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the DNS server is missed", func() error {
		if r := command("dns", "explain", alias); r.Exit != 1 || !strings.Contains(r.Stderr, "no DNS server answers") || !strings.Contains(r.Stderr, c.DNS.ID) {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	if err := procs.StartAll(within(t, patience), c.DNS); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the DNS server answers again", func() error {
		if r := command("dns", "explain", alias, "--at", "public"); r.Exit != 0 {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	if by := planted("public"); by != "nobody" {
		t.Errorf("after a crash it is still planted by %s", by)
	}
	// The same instants, and what is explained is answered.
	must("dns", "advance", "1h")
	eventually(t, "everybody has it", func() error {
		for _, place := range []string{"ns1", "ns2", "ns3", "ns4", "public"} {
			o := explain(place).Places[0].Outcomes
			if len(o) != 1 || o[0].Rcode != "NOERROR" || len(o[0].Records) != 1 || !strings.Contains(o[0].Records[0], " IN A ") {
				return fmt.Errorf("%s: %v", place, o)
			}
		}
		return nil
	})
	if yes, err := shows(within(t, patience), c.DNS.DNS, alias); err != nil || !yes {
		t.Errorf("%s: %t, %v", alias, yes, err)
	}
	watched := must("dns", "trace", w.API, "--watch", "-o", "json")
	if strings.Contains(watched, `"state":"waiting"`) {
		t.Errorf("after all is done:\n%s", watched)
	}
}
