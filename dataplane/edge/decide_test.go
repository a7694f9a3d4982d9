package edge

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posternhq/postern/dataplane/vpce"
)

// Whatever a request says, an answer other than a denial needs an API of the
// side that the request came from, and the policies of the endpoint it came by.
func FuzzDecide(f *testing.F) {
	f.Add(true, privateHost, "", "/prod/pets", "GET", "", "")
	f.Add(true, publicHost, privateAPI, "/prod/pets/7?x", "GET", "Bearer x", "10.0.0.1")
	f.Add(false, publicHost, privateAPI, "/prod//pets/%2e%2e", "POST", "AWS4-HMAC-SHA256 x", "for=10.62.0.50")
	f.Add(false, privateAPI+"-"+vpceB+".execute-api.us-west-2.amazonaws.com:443", "", "*", "OPTIONS", "", "")
	f.Add(true, vpceB+"-abcdefgh.execute-api.us-west-2.vpce.amazonaws.com", strings.ToUpper(privateAPI), "/prod/", "GET", "", "")
	w := newWorld()
	// Only endpoint A may call.
	w.stages[0].Policy = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpce":"` + vpceA + `","aws:SourceVpc":"` + vpcA + `"}}}}`
	e, _, _ := decision(f, w)
	viaB := &vpce.Arrival{Endpoint: vpceB, VPC: vpcB, Source: netip.MustParseAddr("10.62.0.50")}
	public := &vpce.Arrival{Source: netip.MustParseAddr("198.51.100.7")}
	f.Fuzz(func(t *testing.T, private bool, host, id, path, method, auth, forwarded string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		r := &http.Request{Method: method, Host: host, URL: u, RequestURI: path, Header: http.Header{}}
		for name, value := range map[string]string{"X-Apigw-Api-Id": id, "Authorization": auth, "Forwarded": forwarded, "X-Forwarded-For": forwarded, "X-Amzn-Vpce-Id": vpceA} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		q := &request{in: e.now.Load(), arrival: public, time: time.Now()}
		if private {
			q.arrival = viaB
		}
		v := e.decide(q, r)
		if private && v == allowed {
			t.Errorf("a request from VPC B was let pass")
		}
		if v == allowed && q.api.Type == "PRIVATE" {
			t.Errorf("a private API was reached from the public side")
		}
		if v >= policyDeny && v <= sessionSilent && len(q.message(v)) == 0 {
			t.Error("a denial without a message")
		}
		e.logRefusal(t.Context(), q, r, v, "x")
	})
}

func TestMetrics(t *testing.T) {
	r := start(t, newWorld(), quiet)
	c := privateCall()
	r.must(c)
	r.must(c)
	c.path = "/prod/nothing"
	r.must(c)
	for name, c := range map[string]struct {
		got  prometheus.Collector
		want float64
	}{
		"allowed":   {r.metrics.decisions[allowed], 2},
		"no route":  {r.metrics.decisions[noRoute], 1},
		"forbidden": {r.metrics.decisions[unknownAPI], 0},
		"200":       {r.metrics.requests.WithLabelValues("200"), 2},
		"403":       {r.metrics.requests.WithLabelValues("403"), 1},
		"bound":     {r.metrics.bound, 3},
		"failed":    {r.metrics.failed, 0},
	} {
		if got := testutil.ToFloat64(c.got); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// OPTIONS * asks nothing of an API, and net/http must not answer it for us.
func TestOptionsOfTheServer(t *testing.T) {
	r := start(t, newWorld(), nil)
	conn, err := r.client(clientA, eniA).Transport.(*http.Transport).DialContext(t.Context(), "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	secured := r.secure(conn)
	fmt.Fprintf(secured, "OPTIONS * HTTP/1.1\r\nHost: %s\r\n\r\n", privateHost)
	res, err := http.ReadResponse(bufio.NewReader(secured), httptest.NewRequest("OPTIONS", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 403 {
		t.Errorf("got %s", res.Status)
	}
}
