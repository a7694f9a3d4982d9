package seed_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

// Where a client can be that is in no VPC. In a VPC, its place is written
// VPC[/SUBNET[/GROUP+GROUP]].
const (
	internet = "internet"
	onPrem   = "onprem" // onprem/VPC with a route to it
)

// answerTime bounds a call that should be answered; silence is how long no
// answer must come for a call that is not let in.
const (
	answerTime = 10 * time.Second
	silence    = 1500 * time.Millisecond
)

// answer is what came of a call.
type answer struct {
	Status int
	Body   string
	Header http.Header
	Err    error // no answer at all
}

func (a answer) String() string {
	if a.Err != nil {
		return "no answer: " + a.Err.Error()
	}
	return fmt.Sprintf("%d %s", a.Status, a.Body)
}

// request is a GET from somewhere. Header "Host" goes where net/http wants it.
type request struct {
	from, url string
	header    map[string]string
	sni       string // empty: the URL's host
	limit     time.Duration
}

// call makes a GET as a client at that place.
func (w *world) call(from, target string, header ...string) answer {
	h := map[string]string{}
	for i := 0; i+1 < len(header); i += 2 {
		h[header[i]] = header[i+1]
	}
	return w.do(request{from: from, url: target, header: h})
}

func (w *world) do(r request) answer {
	if r.limit == 0 {
		r.limit = answerTime
	}
	ctx, cancel := context.WithTimeout(w.ctx, r.limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return answer{Err: err}
	}
	for name, value := range r.header {
		if name == "Host" {
			req.Host = value
		} else {
			req.Header.Set(name, value)
		}
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return w.dial(ctx, r.from, address) },
		TLSClientConfig: &tls.Config{
			RootCAs: w.lab.roots, ServerName: r.sni, MinVersion: tls.VersionTLS12,
		},
		DisableKeepAlives: true,
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return answer{Err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return answer{Err: err}
	}
	return answer{Status: resp.StatusCode, Body: strings.TrimSpace(string(body)), Header: resp.Header}
}

// dial connects through the cluster's proxy, which is where a client of a VPC
// or of another network is on one machine: it resolves the name there and leaves
// from an address there.
func (w *world) dial(ctx context.Context, from, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", w.lab.addr.Proxy)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	user := base64.StdEncoding.EncodeToString([]byte(url.PathEscape(from) + ":x"))
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: Basic %s\r\n\r\n", address, address, user); err != nil {
		_ = conn.Close()
		return nil, err
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("read the proxy's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(resp.Body)
		_ = conn.Close()
		return nil, errors.New(strings.TrimSpace(string(why)))
	}
	return conn, nil
}

// handshake connects with these TLS versions only and returns the one agreed on.
func (w *world) handshake(from, host string, low, high uint16) (tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(w.ctx, answerTime)
	defer cancel()
	raw, err := w.dial(ctx, from, host+":443")
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{RootCAs: w.lab.roots, ServerName: host, MinVersion: low, MaxVersion: high})
	err = conn.HandshakeContext(ctx)
	return conn.ConnectionState(), err
}

// want checks status and body of an answer.
func (w *world) want(what string, got answer, status int, body string) {
	w.Helper()
	if got.Err != nil || got.Status != status || !strings.Contains(got.Body, body) {
		w.Errorf("%s: %v, want %d %s", what, got, status, body)
	}
}

// served checks that this API answered.
func (w *world) served(what string, got answer, by restAPI) {
	w.Helper()
	w.want(what, got, http.StatusOK, by.body())
}

// forbidden checks for the answer of a gateway that does not know, or does not
// serve, such an API.
func (w *world) forbidden(what string, got answer) {
	w.Helper()
	w.want(what, got, http.StatusForbidden, `{"message":"Forbidden"}`)
	if kind := got.Header.Get("x-amzn-ErrorType"); kind != "ForbiddenException" {
		w.Errorf("%s: x-amzn-ErrorType %q, want ForbiddenException", what, kind)
	}
}

// denied checks for the answer of a policy that does not let the caller in.
func (w *world) denied(what string, got answer) {
	w.Helper()
	w.want(what, got, http.StatusForbidden, `{"Message":"User: anonymous is not authorized to perform: execute-api:Invoke on resource: `)
	if kind := got.Header.Get("x-amzn-ErrorType"); kind != "AccessDeniedException" {
		w.Errorf("%s: x-amzn-ErrorType %q, want AccessDeniedException", what, kind)
	}
}

// unresolved checks that there was no such name.
func (w *world) unresolved(what string, got answer) {
	w.Helper()
	if got.Err == nil || !strings.Contains(got.Err.Error(), "no such host") {
		w.Errorf("%s: %v, want a name that does not resolve", what, got)
	}
}

// timeout checks that nobody answers, and nobody refuses either. On one machine
// the kernel completes the TCP handshake of a connection that the edge does not
// admit; what follows is silence. The clock starts there, so that a slow machine
// can't pass for a silent edge.
func (w *world) timeout(what, from, host, sni string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, answerTime)
	defer cancel()
	raw, err := w.dial(ctx, from, net.JoinHostPort(host, "443"))
	if err != nil {
		w.Errorf("%s: %v, want a connection that stays silent", what, err)
		return
	}
	defer raw.Close()
	quiet, done := context.WithTimeout(w.ctx, silence)
	defer done()
	err = tls.Client(raw, &tls.Config{RootCAs: w.lab.roots, ServerName: sni, MinVersion: tls.VersionTLS12}).HandshakeContext(quiet)
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		w.Errorf("%s: %v, want silence", what, err)
	}
}

// vantage is where somebody asks DNS from.
type vantage struct {
	local, resolver string
}

func (w *world) vantage(from string) vantage {
	w.Helper()
	parts := strings.SplitN(from, "/", 3)
	in := &adminv1.EnsureClientRequest{Vpc: parts[0], Account: w.account, Region: w.region()}
	if len(parts) > 1 {
		in.Subnet = parts[1]
	}
	placed := must[*adminv1.EnsureClientResponse](w, "place a client")(w.lab.admin.EnsureClient(w.ctx, in))
	_, port, err := net.SplitHostPort(w.lab.addr.DNS)
	if err != nil {
		w.Fatalf("address of the resolver: %v", err)
	}
	return vantage{local: placed.GetBindAddress(), resolver: net.JoinHostPort(placed.GetResolver(), port)}
}

// lookup asks the resolver of a place for a name's addresses, sorted.
func (w *world) lookup(from, name string) (rcode string, addresses []string) {
	w.Helper()
	v := w.vantage(from)
	m := w.ask(v.local, v.resolver, name)
	for _, r := range m.Answer {
		if a, ok := r.(*dns.A); ok {
			addresses = append(addresses, a.A.String())
		}
	}
	slices.Sort(addresses)
	return dns.RcodeToString[m.Rcode], addresses
}

// ask sends one query, again if it is lost: UDP may be.
func (w *world) ask(local, server, name string) *dns.Msg {
	w.Helper()
	client := dns.Client{Timeout: 2 * time.Second, Dialer: &net.Dialer{
		Timeout: 2 * time.Second, LocalAddr: &net.UDPAddr{IP: net.ParseIP(local)},
	}}
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), dns.TypeA)
	var err error
	for range 5 {
		var m *dns.Msg
		if m, _, err = client.ExchangeContext(w.ctx, q, server); err == nil {
			return m
		}
	}
	w.Fatalf("ask %s for %s: %v", server, name, err)
	return nil
}

// resolves checks what a place's resolver says: addresses, or NXDOMAIN if none are given.
func (w *world) resolves(from, name string, addresses ...string) {
	w.Helper()
	slices.Sort(addresses)
	rcode, got := w.lookup(from, name)
	want := "NOERROR"
	if len(addresses) == 0 {
		want = "NXDOMAIN"
	}
	if rcode != want || !slices.Equal(got, addresses) {
		w.Errorf("%s from %s: %s %v, want %s %v", name, from, rcode, got, want, addresses)
	}
}
