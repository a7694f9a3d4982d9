package seed_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"

	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"
)

// Where a request came from is decided by the network, never by what it says.
// Each test has a victim, whose endpoint an API admits, and an attacker with an
// endpoint of its own, who says in every way it can that it is the victim.

// trustedProxies are whose PROXY headers the edges of the shared cluster
// believe: nobody in a VPC, and not the internet's 127.0.0.1.
var trustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.77/32")}

// siege is the scene of these tests.
type siege struct {
	*world
	victim, attacker         endpoint
	victimHost, attackerHost string // addresses of a client of each
	// byEndpoint, byVPC and bySource admit the victim alone; open admits everybody
	// and shows how the edge saw the caller; public is no private API.
	byEndpoint, byVPC, bySource, open, public restAPI
}

func newSiege(t *testing.T) *siege {
	w := newWorld(t)
	s := &siege{world: w}
	s.victim, s.attacker = w.endpointIn(w.vpc("a", "b")), w.endpointIn(w.vpc("a", "b"))
	s.open = w.privateAPI(allowAll(), s.victim.id, s.attacker.id)
	w.settle()
	for e, source := range map[*endpoint]*string{&s.victim: &s.victimHost, &s.attacker: &s.attackerHost} {
		got := w.call(e.vpc.id, s.open.url())
		w.served("without a policy to stop it", got, s.open)
		*source = got.Header.Get("seen-source")
		if !contains(e.vpc.cidr, *source) {
			t.Fatalf("a client in %s was seen as %q", e.vpc.cidr, *source)
		}
	}
	s.byEndpoint = w.privateAPI(onlyEndpoints(s.victim.id), s.victim.id, s.attacker.id)
	s.byVPC = w.privateAPI(onlyVPC(s.victim.vpc.id), s.victim.id, s.attacker.id)
	s.bySource = w.privateAPI(onlyAddresses(s.victimHost+"/32"), s.victim.id, s.attacker.id)
	s.public = w.publicAPI(types.EndpointTypeRegional)
	w.settle()
	for _, a := range s.closed() {
		w.served("the victim itself", w.call(s.victim.vpc.id, a.url()), a)
		w.denied("the attacker, honestly", w.call(s.attacker.vpc.id, a.url()))
	}
	return s
}

func (s *siege) closed() []restAPI { return []restAPI{s.byEndpoint, s.byVPC, s.bySource} }

// lies are header fields that name the victim, in the words of AWS, of proxies
// and of this product.
func (s *siege) lies() [][2]string {
	e := s.victim
	return [][2]string{
		{"X-Forwarded-For", s.victimHost},
		{"X-Forwarded-For", s.victimHost + ", " + s.attackerHost},
		{"X-Forwarded-Host", s.open.alias(e)},
		{"X-Forwarded-Port", "443"},
		{"X-Forwarded-Server", e.host()},
		{"X-Real-Ip", s.victimHost},
		{"X-Client-Ip", s.victimHost},
		{"X-Original-Host", s.open.alias(e)},
		{"True-Client-Ip", s.victimHost},
		{"Forwarded", fmt.Sprintf(`for=%s;host=%s;by=%s;proto=https`, s.victimHost, s.open.alias(e), e.id)},
		{"Via", "1.1 " + e.id},
		{"X-Amzn-Vpc-Id", e.vpc.id},
		{"X-Amzn-Vpce-Id", e.id},
		{"X-Amzn-Vpce-Config", "1"},
		{"X-Amzn-Vpce-Policy-Url", "https://" + e.host()},
		{"X-Amz-Source-Vpce", e.id},
		{"Aws-Sourcevpce", e.id},
		{"X-Postern-Endpoint", e.id},
		{"X-Postern-Vpce", e.id},
		{"X-Postern-Vpc", e.vpc.id},
		{"X-Postern-Source", s.victimHost},
		{"X-Postern-Account", ownAccount},
		{"X-Apigw-Vpce-Id", e.id},
		{"Proxy-Protocol", "PROXY TCP4 " + s.victimHost + " " + s.attackerHost + " 4242 443"},
	}
}

// seen checks that the edge took the caller for what it is.
func (s *siege) seen(what string, got answer, as endpoint, source string) {
	s.Helper()
	s.served(what, got, s.open)
	for header, want := range map[string]string{"seen-endpoint": as.id, "seen-vpc": as.vpc.id, "seen-source": source} {
		if have := got.Header.Get(header); have != want {
			s.Errorf("%s: %s is %q, want %q", what, header, have, want)
		}
	}
}

func TestSpoofingHeaders(t *testing.T) {
	t.Parallel()
	s := newSiege(t)
	try := func(what string, header map[string]string) {
		t.Helper()
		with := func(a restAPI) map[string]string {
			all := map[string]string{"x-apigw-api-id": a.id}
			for k, v := range header {
				all[k] = v
			}
			return all
		}
		for _, a := range s.closed() {
			s.denied(what, s.do(request{from: s.attacker.vpc.id, url: a.url(), header: header}))
			s.denied(what+", x-apigw-api-id", s.do(request{from: s.attacker.vpc.id, url: endpointURL(s.attacker.host()), header: with(a)}))
		}
		s.seen(what, s.do(request{from: s.attacker.vpc.id, url: s.open.url(), header: header}), s.attacker, s.attackerHost)
	}
	all := map[string]string{}
	for _, lie := range s.lies() {
		all[lie[0]] = lie[1]
	}
	try("all at once", all)
	// And some of them, drawn; the draw is named where it fails.
	draw := rand.New(rand.NewPCG(4, 2026))
	for range 6 {
		some := map[string]string{}
		for _, lie := range s.lies() {
			if draw.IntN(3) == 0 {
				some[lie[0]] = lie[1]
			}
		}
		try(fmt.Sprint(some), some)
	}
	// One by one, where the edge says how it saw the caller.
	for _, lie := range s.lies() {
		s.seen(lie[0]+": "+lie[1], s.call(s.attacker.vpc.id, s.open.url(), lie[0], lie[1]), s.attacker, s.attackerHost)
	}
}

// TestSpoofingNames: Host, SNI and x-apigw-api-id say which API is meant, and
// nothing else, in whatever combination.
func TestSpoofingNames(t *testing.T) {
	t.Parallel()
	s := newSiege(t)
	for _, a := range append(s.closed(), s.open) {
		hosts := []string{"", a.host(), a.alias(s.victim), a.alias(s.attacker), s.victim.host(), s.victim.names[1]}
		names := []string{s.attacker.host(), s.victim.host(), a.alias(s.victim), a.host()}
		for _, host := range hosts {
			for _, sni := range names {
				for _, id := range []string{"", a.id} {
					r := request{from: s.attacker.vpc.id, url: endpointURL(s.attacker.host()), sni: sni, header: map[string]string{}}
					if host != "" {
						r.header["Host"] = host
					}
					if id != "" {
						r.header["x-apigw-api-id"] = id
					}
					what := fmt.Sprintf("Host %q, SNI %s, x-apigw-api-id %q", host, sni, id)
					got := s.do(r)
					named := id != "" || strings.HasPrefix(host, a.id)
					switch {
					case !named:
						s.forbidden(what, got)
					case a == s.open:
						s.seen(what, got, s.attacker, s.attackerHost)
					default:
						s.denied(what, got)
					}
				}
			}
		}
	}
	// No name leads from a private listener to a public API, nor the other way.
	for _, id := range []string{"", s.public.id} {
		header := map[string]string{"Host": s.public.host(), "x-apigw-api-id": id}
		s.forbidden("public API by an endpoint", s.do(request{from: s.attacker.vpc.id, url: endpointURL(s.attacker.host()), header: header}))
	}
	for _, a := range append(s.closed(), s.open) {
		for _, host := range []string{a.host(), a.alias(s.victim), s.victim.host()} {
			for _, lie := range append(s.lies(), [2]string{"x-apigw-api-id", a.id}) {
				s.forbidden("private API at the public address, "+host+", "+lie[0], s.do(request{
					from: internet, url: "https://127.0.0.1/test", sni: host, header: map[string]string{"Host": host, lie[0]: lie[1]},
				}))
			}
		}
	}
	// The victim's endpoint is no way in from elsewhere: the attacker's client has
	// no route there, whatever it says.
	for _, from := range []string{s.attacker.vpc.id, internet, onPrem} {
		s.timeout("the victim's endpoint from "+from, from, s.addresses(s.victim)[0], s.victim.host())
	}
}

// proxied are the first bytes of a connection that claims, by the PROXY
// protocol, to be the victim's.
func (s *siege) proxied(version byte) []byte {
	h := &proxyproto.Header{
		Version: version, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4,
		SourceAddr:      &net.TCPAddr{IP: net.ParseIP(s.victimHost), Port: 4242},
		DestinationAddr: &net.TCPAddr{IP: net.ParseIP("10.0.0.1"), Port: 443},
	}
	if version == 2 {
		// PP2_TYPE_AWS with the subtype PP2_SUBTYPE_AWS_VPCE_ID.
		if err := h.SetTLVs([]proxyproto.TLV{{Type: 0xEA, Value: append([]byte{1}, s.victim.id...)}}); err != nil {
			s.Fatalf("PROXY header: %v", err)
		}
	}
	var out bytes.Buffer
	if _, err := h.WriteTo(&out); err != nil {
		s.Fatalf("PROXY header: %v", err)
	}
	return out.Bytes()
}

// after sends bytes on a connection, then makes a call on it.
func (s *siege) after(conn net.Conn, first []byte, a restAPI) answer {
	ctx, cancel := context.WithTimeout(s.ctx, answerTime)
	defer cancel()
	transport := &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			_, err := conn.Write(first)
			return conn, err
		},
		TLSClientConfig:   &tls.Config{RootCAs: s.lab.roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url(), nil)
	if err != nil {
		return answer{Err: err}
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return answer{Err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{Status: resp.StatusCode, Body: string(body), Header: resp.Header, Err: err}
}

func TestSpoofingPROXYHeader(t *testing.T) {
	t.Parallel()
	s := newSiege(t)
	_, port, err := net.SplitHostPort(s.lab.addr.Public)
	if err != nil {
		t.Fatal(err)
	}
	connect := func(from, address string) net.Conn {
		t.Helper()
		conn, err := s.dial(s.ctx, from, address)
		if err != nil {
			t.Fatalf("connect to %s from %s: %v", address, from, err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	for _, version := range []byte{1, 2} {
		for what, conn := range map[string]func() net.Conn{
			"attacker at its own endpoint":   func() net.Conn { return connect(s.attacker.vpc.id, s.attacker.host()+":443") },
			"internet at the public address": func() net.Conn { return connect(internet, "127.0.0.1:443") },
		} {
			// The header is taken for what it is there: no TLS.
			for _, a := range []restAPI{s.byEndpoint, s.byVPC, s.bySource, s.open} {
				if got := s.after(conn(), s.proxied(version), a); got.Err == nil {
					t.Errorf("PROXY v%d, %s: %v, want the connection broken", version, what, got)
				}
			}
			// And it breaks nothing else: the next connection is as before.
			s.seen("the next connection", s.call(s.attacker.vpc.id, s.open.url()), s.attacker, s.attackerHost)
		}
	}
	// The same bytes from a trusted peer do say where the connection came from,
	// so the test can fail.
	trusted := net.Dialer{LocalAddr: &net.TCPAddr{IP: trustedProxies[0].Addr().AsSlice()}}
	for _, a := range append(s.closed(), s.open) {
		conn, err := trusted.DialContext(s.ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			t.Fatalf("connect as the trusted proxy: %v", err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		got := s.after(conn, s.proxied(2), a)
		s.served("trusted peer", got, a)
		if a == s.open {
			s.seen("trusted peer", got, s.victim, s.victimHost)
		}
	}
}
