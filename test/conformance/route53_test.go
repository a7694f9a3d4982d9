package conformance

import (
	"strings"
	"testing"
)

// A change of names is followed with Route 53's own call, by its owner only.
func TestRoute53GetChange(t *testing.T) {
	tf := terraform{t, newClients(cluster(t).API, account(), seedRegion)}
	endpoint := makeEndpoints(t, tf.clients, 1)[0]
	api := text(t, tf.api("CreateRestApi", params{
		"name": "named", "endpointConfiguration": params{"types": []any{"PRIVATE"}, "vpcEndpointIds": []any{endpoint}},
	}), "id")
	change := dnsChange(t, api)
	for _, id := range []string{change, "/change/" + change} {
		tf.eventually("INSYNC", func() bool {
			answer := tf.call("route53", "GetChange", params{"Id": id})
			if got := text(t, answer, "ChangeInfo", "Id"); got != "/change/"+change {
				t.Fatalf("change %s answers %s", id, got)
			}
			return text(t, answer, "ChangeInfo", "Status") == "INSYNC"
		})
	}
	other := terraform{t, newClients(cluster(t).API, account(), seedRegion)}
	for who, id := range map[*terraform]string{&other: change, &tf: "C" + strings.Repeat("0", 20)} {
		if code := who.refused("route53", "GetChange", params{"Id": id}); code != "NoSuchChange" {
			t.Errorf("change %s is refused with %s", id, code)
		}
	}
}
