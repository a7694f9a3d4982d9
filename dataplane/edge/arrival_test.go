package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/posternhq/postern/internal/netx"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

// tellArrival makes GET /pets answer with where the edge thinks the request came
// from, as $context has it.
func tellArrival(w *world) *world {
	for i := range w.stages {
		in := w.route(i, "GET", "/pets").Method.MethodIntegration
		in.IntegrationResponses["200"].ResponseParameters = &awsv1.StringMap{Entries: map[string]string{
			"method.response.header.endpoint": "context.identity.vpceId",
			"method.response.header.vpc":      "context.identity.vpcId",
			"method.response.header.source":   "context.identity.sourceIp",
		}}
	}
	return w
}

func arrivalIn(res response) string {
	return fmt.Sprintf("%d %s %s %s", res.status, res.header.Get("endpoint"), res.header.Get("vpc"), res.header.Get("source"))
}

// proxyHeader is what a load balancer would write for a client of VPC B.
func proxyHeader(t testing.TB, source, endpoint string) string {
	t.Helper()
	h := &proxyproto.Header{
		Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4,
		SourceAddr:      &net.TCPAddr{IP: net.ParseIP(source), Port: 1234},
		DestinationAddr: &net.TCPAddr{IP: net.ParseIP("10.62.0.10"), Port: 443},
	}
	if endpoint != "" {
		if err := h.SetTLVs([]proxyproto.TLV{{Type: 0xEA, Value: append([]byte{1}, endpoint...)}}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Guarantee 13: a request's endpoint, VPC and source address can't be forged by
// its content.
func TestSpoofing(t *testing.T) {
	r := start(t, tellArrival(newWorld()), nil)
	want := "200 " + vpceA + " " + vpcA + " 10.61.0.50"
	if got := arrivalIn(r.must(privateCall())); got != want {
		t.Fatalf("an honest call came from %q, want %q", got, want)
	}
	headers := http.Header{
		"X-Forwarded-For":   {"10.62.0.50"},
		"X-Real-Ip":         {"10.62.0.50"},
		"Forwarded":         {"for=10.62.0.50;host=" + privateHost + ";by=10.62.0.10"},
		"X-Amzn-Vpc-Id":     {vpcB},
		"X-Amzn-Vpce-Id":    {vpceB},
		"X-Postern-Vpc":     {vpcB},
		"X-Postern-Source":  {"10.62.0.50"},
		"X-Forwarded-Proto": {"http"},
		"Via":               {"1.1 " + vpceB},
	}
	aliasB := privateAPI + "-" + vpceB + ".execute-api.us-west-2.amazonaws.com"
	nameB := vpceB + "-abcdefgh.execute-api.us-west-2.vpce.amazonaws.com"
	for _, test := range []struct {
		name   string
		change func(c *call)
	}{
		{"headers", func(c *call) { c.header = headers }},
		{"alias host of another endpoint", func(c *call) { c.host = aliasB }},
		{"host of another endpoint", func(c *call) {
			c.host, c.header = nameB, http.Header{"X-Apigw-Api-Id": {privateAPI}}
		}},
		{"SNI of another endpoint", func(c *call) { c.sni = nameB }},
		{"an address as host", func(c *call) {
			c.sni, c.host, c.header = privateHost, "10.62.0.10", http.Header{"X-Apigw-Api-Id": {privateAPI}}
		}},
		{"everything at once", func(c *call) {
			c.sni, c.host, c.header = nameB, aliasB, headers.Clone()
			c.header.Set("X-Apigw-Api-Id", privateAPI)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := privateCall()
			test.change(&c)
			if got := arrivalIn(r.must(c)); got != want {
				t.Errorf("the call came from %q, want %q", got, want)
			}
		})
	}
	t.Run("untrusted PROXY header", func(t *testing.T) {
		c := privateCall()
		for _, before := range []string{proxyHeader(t, "10.62.0.50", vpceB), "PROXY TCP4 10.62.0.50 10.62.0.10 1 443\r\n"} {
			c.before = before
			if res, err := r.do(c); err == nil {
				t.Errorf("a PROXY header of a stranger was understood: %d", res.status)
			}
		}
	})
	t.Run("public side", func(t *testing.T) {
		// Nothing makes a request from the internet one from an endpoint.
		c := privateCall()
		c.from, c.to = "127.0.0.1", "127.0.0.1"
		for _, host := range []string{privateHost, aliasB} {
			c.host, c.header = host, headers.Clone()
			c.header.Set("X-Apigw-Api-Id", privateAPI)
			if res := r.must(c); res.status != 403 || res.body != bodyForbidden {
				t.Errorf("%s: got %d %s", host, res.status, res.body)
			}
		}
	})
}

// With a trusted load balancer in front its header tells; without one, or with
// a bad one, there is no answer at all.
func TestTrustedProxyHeader(t *testing.T) {
	w := tellArrival(newWorld())
	w.vpces[2].IngressCidrs = []string{"10.62.0.0/24"}
	r := start(t, w, func(c *Config) { c.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")} })
	c := privateCall()
	c.from, c.to, c.before = "127.0.0.9", "127.0.0.1", proxyHeader(t, "10.62.0.50", vpceB)
	if got, want := arrivalIn(r.must(c)), "200 "+vpceB+" "+vpcB+" 10.62.0.50"; got != want {
		t.Errorf("the call came from %q, want %q", got, want)
	}
	c.host, c.before = publicHost, proxyHeader(t, "198.51.100.7", "")
	if got, want := arrivalIn(r.must(c)), "200   198.51.100.7"; got != want {
		t.Errorf("the call came from %q, want %q", got, want)
	}
	c.host = privateHost
	for name, before := range map[string]string{
		"no header":  "",
		"version 1":  "PROXY TCP4 10.62.0.50 10.62.0.10 1 443\r\n",
		"torn":       proxyHeader(t, "10.62.0.50", vpceB)[:20],
		"health":     string(proxyproto.SIGV2) + "\x20\x00\x00\x00",
		"unix":       string(proxyproto.SIGV2) + "\x21\x31\x00\xd8" + strings.Repeat("a", 216),
		"endless":    string(proxyproto.SIGV2) + "\x21\x11\xff\xff",
		"two owners": proxyHeaderTwice(t),
	} {
		c.before = before
		if res, err := r.do(c); err == nil {
			t.Errorf("%s: got %d", name, res.status)
		}
	}
	for name, before := range map[string]string{
		"source outside the security group": proxyHeader(t, "10.62.9.9", vpceB),
		"unknown endpoint":                  proxyHeader(t, "10.62.0.50", "vpce-000000000000000ff"),
	} {
		silentTo(t, r, "127.0.0.9", "127.0.0.1", before, name)
	}
}

func proxyHeaderTwice(t *testing.T) string {
	t.Helper()
	h := &proxyproto.Header{
		Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4,
		SourceAddr:      &net.TCPAddr{IP: net.IPv4(10, 62, 0, 50), Port: 1},
		DestinationAddr: &net.TCPAddr{IP: net.IPv4(10, 62, 0, 10), Port: 1},
	}
	tlv := proxyproto.TLV{Type: 0xEA, Value: append([]byte{1}, vpceB...)}
	if err := h.SetTLVs([]proxyproto.TLV{tlv, tlv}); err != nil {
		t.Fatal(err)
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// silentTo checks that a connection is neither answered nor broken off.
func silentTo(t *testing.T, r *running, from, to, before, why string) {
	t.Helper()
	held := r.silence.Len()
	raw, err := netx.Host().Dial(t.Context(), "tcp", fmt.Sprintf("%s:%d", to, r.port), netx.From(netip.MustParseAddr(from)))
	if err != nil {
		t.Fatalf("%s: %v", why, err)
	}
	defer raw.Close()
	_, _ = io.WriteString(raw, before)
	hello := tls.Client(writeOnly{raw}, &tls.Config{ServerName: privateHost, InsecureSkipVerify: true})
	if err := hello.Handshake(); !errors.Is(err, errWriteOnly) { // the ClientHello is out
		t.Fatalf("%s: %v", why, err)
	}
	eventually(t, func() bool { return r.silence.Len() > held })
	raw.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := raw.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: read %d, %v, want silence", why, n, err)
	}
}

var errWriteOnly = errors.New("nothing is read here")

type writeOnly struct{ net.Conn }

func (writeOnly) Read([]byte) (int, error) { return 0, errWriteOnly }

func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("did not happen in 10 s")
		}
		time.Sleep(time.Millisecond)
	}
}

// S38e, S38f and S7: security groups and routes decide at accept, and who is not
// admitted hears nothing.
func TestSecurityGroups(t *testing.T) {
	w := newWorld()
	w.vpces[0].IngressCidrs = []string{"10.61.7.0/24"}
	w.vpces[0].IngressGroups = []string{"sg-clients"}
	w.groups = []*edgev1.SecurityGroup{{Id: "sg-clients", VpcId: vpcA, MemberAddresses: []string{"10.61.0.50"}}}
	r := start(t, w, nil)
	ok := func(from string) {
		t.Helper()
		c := privateCall()
		c.from = from
		if res := r.must(c); res.status != 200 {
			t.Errorf("from %s: got %d", from, res.status)
		}
	}
	ok(clientA)
	ok("127.61.7.1")
	silentTo(t, r, "127.61.0.51", eniA, "", "neither in the range nor in the group")

	w.groups[0].MemberAddresses = []string{"10.61.0.51"}
	r.install(w)
	ok("127.61.0.51")
	silentTo(t, r, clientA, eniA, "", "no longer in the group")

	w.vpces[0].IngressCidrs, w.vpces[0].IngressGroups = []string{"0.0.0.0/0"}, nil
	r.install(w)
	ok(onPremBind)
	silentTo(t, r, clientB, eniA, "", "another VPC")
	silentTo(t, r, "127.0.0.1", eniA, "", "the internet")
	silentTo(t, r, "127.255.3.5", eniA, "", "on premises without a route")

	w.vpces[0].IngressCidrs = nil
	r.install(w)
	silentTo(t, r, clientA, eniA, "", "no rule at all")
}

// S12 and R13: endpoints speak TLS 1.2 and HTTP/1.1, nothing else.
func TestTLS(t *testing.T) {
	w := newWorld()
	r := start(t, w, nil)
	shake := func(from, to string, lowest, highest uint16, protocols ...string) (tls.ConnectionState, error) {
		raw, err := netx.Host().Dial(t.Context(), "tcp", fmt.Sprintf("%s:%d", to, r.port), netx.From(netip.MustParseAddr(from)))
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		conn := tls.Client(raw, &tls.Config{RootCAs: r.pool, ServerName: privateHost, MinVersion: lowest, MaxVersion: highest, NextProtos: protocols})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err = conn.HandshakeContext(ctx)
		return conn.ConnectionState(), err
	}
	refused := func(from, to string, lowest, highest uint16) {
		t.Helper()
		if _, err := shake(from, to, lowest, highest); err == nil || !strings.Contains(err.Error(), "remote error: tls: protocol version not supported") {
			t.Errorf("%s: version %x to %x: got %v, want an alert", to, lowest, highest, err)
		}
	}
	refused(clientA, eniA, tls.VersionTLS10, tls.VersionTLS11)
	refused(clientA, eniA, tls.VersionTLS13, tls.VersionTLS13)
	refused("127.0.0.1", "127.0.0.1", tls.VersionTLS10, tls.VersionTLS11)
	state, err := shake(clientA, eniA, 0, 0, "h2", "http/1.1")
	if err != nil || state.Version != tls.VersionTLS12 || state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("endpoint: version %x, protocol %q, %v", state.Version, state.NegotiatedProtocol, err)
	}
	state, err = shake("127.0.0.1", "127.0.0.1", 0, 0, "h2", "http/1.1")
	if err != nil || state.Version != tls.VersionTLS13 || state.NegotiatedProtocol != "h2" {
		t.Errorf("public: version %x, protocol %q, %v", state.Version, state.NegotiatedProtocol, err)
	}
	w.settings = &edgev1.Settings{TlsMax: "1.3"}
	r.install(w)
	if state, err := shake(clientA, eniA, tls.VersionTLS13, 0); err != nil {
		t.Errorf("widened: version %x, %v", state.Version, err)
	}
	// S8: plain HTTP is not served.
	raw, err := netx.Host().Dial(t.Context(), "tcp", fmt.Sprintf("%s:%d", eniA, r.port), netx.From(netip.MustParseAddr(clientA)))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(raw, "GET /prod/pets HTTP/1.1\r\nHost: %s\r\n\r\n", privateHost)
	answer, _ := io.ReadAll(raw)
	if strings.Contains(string(answer), "mock") || strings.Contains(string(answer), " 200 ") {
		t.Errorf("plain HTTP was answered with %s", answer)
	}
}

func TestHTTP2OnThePublicSide(t *testing.T) {
	r := start(t, newWorld(), nil)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: r.pool},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return netx.Host().Dial(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
		},
	}}
	defer client.CloseIdleConnections()
	res, err := client.Get("https://" + publicHost + "/prod/pets")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.ProtoMajor != 2 || res.StatusCode != 200 {
		t.Errorf("got HTTP/%d, status %d", res.ProtoMajor, res.StatusCode)
	}
}

// Which source addresses policies see, by the setting.
func TestSourceIP(t *testing.T) {
	allowFrom := func(key, value string) string {
		return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"*","Condition":{"IpAddress":{"` + key + `":"` + value + `"}}}}`
	}
	w := newWorld()
	r := start(t, w, nil)
	for _, test := range []struct{ setting, key, value string }{
		{"absent", "aws:VpcSourceIp", "10.61.0.50"},
		{"client", "aws:SourceIp", "10.61.0.50"},
		{"eni", "aws:SourceIp", "10.61.0.10"},
	} {
		w.settings = &edgev1.Settings{SourceIpOnPrivate: test.setting}
		w.stages[0].Policy = allowFrom(test.key, test.value)
		r.install(w)
		if res := r.must(privateCall()); res.status != 200 {
			t.Errorf("%s: %s is not %s: %d", test.setting, test.key, test.value, res.status)
		}
	}
	w.settings = nil
	w.stages[0].Policy = allowFrom("aws:SourceIp", "0.0.0.0/0")
	r.install(w)
	if res := r.must(privateCall()); res.status != 403 {
		t.Errorf("aws:SourceIp is present for a private call: %d", res.status)
	}
	w.stages[1].Policy = allowFrom("aws:SourceIp", "127.0.0.1")
	r.install(w)
	c := privateCall()
	c.from, c.to, c.host = "127.0.0.1", "127.0.0.1", publicHost
	if res := r.must(c); res.status != 200 {
		t.Errorf("public call: %d", res.status)
	}
}

// The seven ways to invoke (private-apis.md §4), as far as the edge sees them.
func TestInvocationForms(t *testing.T) {
	r := start(t, tellArrival(newWorld()), nil)
	id := http.Header{"X-Apigw-Api-Id": {privateAPI}}
	endpointName := vpceA + "-abcdefgh.execute-api.us-west-2.vpce.amazonaws.com"
	zonalName := vpceA + "-abcdefgh-us-west-2a.execute-api.us-west-2.vpce.amazonaws.com"
	want := "200 " + vpceA + " " + vpcA + " 10.61.0.50"
	for _, c := range []call{
		{host: privateHost},
		{host: privateAPI + "-" + vpceA + ".execute-api.us-west-2.amazonaws.com"},
		{sni: endpointName, host: privateHost},
		{host: endpointName, header: id},
		{sni: zonalName, host: privateHost},
		{host: zonalName, header: id},
		{host: strings.ToUpper(privateHost), sni: privateHost},
		{host: fmt.Sprintf("%s:%d", privateHost, r.port), sni: privateHost},
	} {
		c.from, c.to, c.method, c.path = clientA, eniA, "GET", "/prod/pets"
		if got := arrivalIn(r.must(c)); got != want {
			t.Errorf("host %s, SNI %s: came from %q", c.host, c.sni, got)
		}
	}
	// The same API through the other endpoint of the VPC, by the first one's alias (R6).
	c := privateCall()
	c.to, c.host = eniA2, privateAPI+"-"+vpceA+".execute-api.us-west-2.amazonaws.com"
	if got, want := arrivalIn(r.must(c)), "200 "+vpceA2+" "+vpcA+" 10.61.0.50"; got != want {
		t.Errorf("came from %q", got)
	}
}

// S3 and S4: policies choose by VPC and by endpoint.
func TestPolicyByVPCAndEndpoint(t *testing.T) {
	only := func(key, value string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"` + arn(privateAPI) + `/*"},` +
			`{"Effect":"Deny","Principal":"*","Action":"execute-api:Invoke","Resource":"` + arn(privateAPI) + `/*","Condition":{"StringNotEquals":{"` + key + `":"` + value + `"}}}]}`
	}
	w := newWorld()
	r := start(t, w, nil)
	viaB := privateCall()
	viaB.from, viaB.to = clientB, eniB
	viaA2 := privateCall()
	viaA2.to = eniA2
	status := func(c call) int { return r.must(c).status }
	w.stages[0].Policy = only("aws:SourceVpc", vpcA)
	r.install(w)
	if a, a2, b := status(privateCall()), status(viaA2), status(viaB); a != 200 || a2 != 200 || b != 403 {
		t.Errorf("by VPC: %d, %d, %d", a, a2, b)
	}
	w.stages[0].Policy = only("aws:SourceVpce", vpceA)
	r.install(w)
	if a, a2, b := status(privateCall()), status(viaA2), status(viaB); a != 200 || a2 != 403 || b != 403 {
		t.Errorf("by endpoint: %d, %d, %d", a, a2, b)
	}
	w.stages[0].Policy = only("aws:SourceVpcArn", "arn:aws:ec2:us-west-2:"+account+":vpc/"+vpcB)
	r.install(w)
	if a, b := status(privateCall()), status(viaB); a != 403 || b != 200 {
		t.Errorf("by ARN of the VPC: %d, %d", a, b)
	}
}
