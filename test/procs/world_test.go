package procs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
)

const region = "us-west-2"

// patience bounds each wait of these tests; a loaded machine needs a small part of it.
const patience = 60 * time.Second

var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("test/procs: real processes are not for -short")
		return
	}
	os.Exit(withBinary(m))
}

func withBinary(m *testing.M) int {
	dir, err := os.MkdirTemp("", "postern-procs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if binary, err = Build(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// start runs a cluster for a test. Its logs are shown if the test fails.
func start(t *testing.T, cfg Config) *Cluster {
	t.Helper()
	cfg.Binary, cfg.Dir = binary, t.TempDir()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			showLogs(t, c)
		}
	})
	began := time.Now()
	if err := c.Start(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d nodes, %d edges and DNS were ready after %d ms", len(c.Nodes), len(c.Edges), time.Since(began).Milliseconds())
	return c
}

// shownLog is how much of the end of each log is worth reading first.
const shownLog = 8 << 10

func showLogs(t *testing.T, c *Cluster) {
	logs, err := filepath.Glob(filepath.Join(c.logs, "*.log"))
	if err != nil {
		t.Error(err)
	}
	for _, name := range logs {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if len(data) > shownLog {
			data = data[len(data)-shownLog:]
		}
		t.Logf("end of %s:\n%s", filepath.Base(name), data)
	}
}

// eventually tries until what is asked for holds.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	ctx := within(t, patience)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(pollEvery):
		}
	}
}

// awsError is an answer that is no success.
type awsError struct {
	status int
	body   string
}

func (e *awsError) Error() string { return fmt.Sprintf("%d %s", e.status, e.body) }

// aws sends a REST-JSON request to a node's AWS front and returns the version it answers.
func aws(ctx context.Context, p *Process, method, path string, in, out any) (version uint64, err error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.API+path, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20261122/"+region+"/apigateway/aws4_request, SignedHeaders=host, Signature=0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode/100 != 2 {
		return 0, &awsError{resp.StatusCode, string(data)}
	}
	if out != nil {
		if err := json.Unmarshal(data, out); err != nil {
			return 0, fmt.Errorf("%s %s: %w in %q", method, path, err, data)
		}
	}
	return strconv.ParseUint(resp.Header.Get("x-postern-version"), 10, 64)
}

// tenant is a private API behind an endpoint in the default VPC, and a client there.
type tenant struct {
	api, endpoint string
	// bind is the address that the client's connections leave from, eni one of
	// the endpoint's, resolver where the client sends its questions: all as bound
	// on this machine.
	bind, eni, resolver string
	name                string // of the API in the VPC
	roots               *x509.CertPool
	// version is that of the deployment.
	version uint64
}

const allowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/*"}]}`

// settle makes a tenant and waits until all places know it.
func settle(t *testing.T, c *Cluster) *tenant {
	t.Helper()
	ctx := within(t, patience)
	w := &tenant{roots: x509.NewCertPool()}
	pem, err := os.ReadFile(filepath.Join(c.Dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	w.roots.AppendCertsFromPEM(pem)
	w.network(ctx, t, c.Nodes[0])
	w.deploy(ctx, t, c.Nodes[len(c.Nodes)-1])
	mustWait(t, c, w.version)
	address, err := w.resolve(ctx, c.DNS, w.name)
	if err != nil {
		t.Fatal(err)
	}
	w.eni = address
	return w
}

func (w *tenant) network(ctx context.Context, t *testing.T, p *Process) {
	t.Helper()
	conn, err := p.Conn()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ec2 := ec2v1.NewEC2Client(conn)
	// The default VPC and its subnets are made by the first call.
	subnets, err := ec2.DescribeSubnets(ctx, &ec2v1.DescribeSubnetsRequest{})
	if err != nil || len(subnets.GetSubnets()) == 0 {
		t.Fatalf("subnets of the default VPC: %v, %v", subnets, err)
	}
	subnet := subnets.GetSubnets()[0]
	made, err := ec2.CreateVpcEndpoint(ctx, &ec2v1.CreateVpcEndpointRequest{
		VpcEndpointType: proto.String("Interface"), VpcId: subnet.VpcId, SubnetIds: []string{subnet.GetSubnetId()},
		ServiceName: proto.String("com.amazonaws." + region + ".execute-api"), PrivateDnsEnabled: proto.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.endpoint = made.GetVpcEndpoint().GetVpcEndpointId()
	client, err := adminv1.NewAdminClient(conn).EnsureClient(ctx, &adminv1.EnsureClientRequest{Vpc: subnet.GetVpcId()})
	if err != nil {
		t.Fatal(err)
	}
	w.bind, w.resolver = client.GetBindAddress(), client.GetResolver()
}

func (w *tenant) deploy(ctx context.Context, t *testing.T, p *Process) {
	t.Helper()
	var made struct{ ID, RootResourceID string }
	must := func(method, path string, in, out any) uint64 {
		t.Helper()
		version, err := aws(ctx, p, method, path, in, out)
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		return version
	}
	must("POST", "/restapis", map[string]any{"name": "tenant", "policy": allowAll, "endpointConfiguration": map[string]any{"types": []string{"PRIVATE"}}}, &made)
	w.api, w.name = made.ID, made.ID+".execute-api."+region+".amazonaws.com"
	get := "/restapis/" + made.ID + "/resources/" + made.RootResourceID + "/methods/GET"
	must("PUT", get, map[string]any{"authorizationType": "NONE"}, nil)
	must("PUT", get+"/responses/200", map[string]any{}, nil)
	must("PUT", get+"/integration", map[string]any{"type": "MOCK", "requestTemplates": map[string]string{"application/json": `{"statusCode":200}`}}, nil)
	must("PUT", get+"/integration/responses/200", map[string]any{"responseTemplates": map[string]string{"application/json": `{"served":true}`}}, nil)
	w.version = must("POST", "/restapis/"+made.ID+"/deployments", map[string]any{"stageName": "test"}, nil)
}

// touch makes a version that the edges must follow: a change of the stage.
func (w *tenant) touch(ctx context.Context, p *Process, value string) (uint64, error) {
	return aws(ctx, p, "PATCH", "/restapis/"+w.api+"/stages/test", map[string]any{
		"patchOperations": []any{map[string]string{"op": "replace", "path": "/variables/touched", "value": value}},
	}, nil)
}

// client returns an HTTP client in the VPC whose connections all go to one edge.
func (w *tenant) client(edge *Process) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: w.roots, ServerName: w.name},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			from := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(w.bind), 0))
			return (&net.Dialer{LocalAddr: from}).DialContext(ctx, "tcp", net.JoinHostPort(w.eni, strconv.Itoa(edge.Port)))
		},
	}}
}

// call asks the API, and returns the version that answered.
func (w *tenant) call(ctx context.Context, client *http.Client) (version uint64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+w.name+"/test", nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK || string(body) != `{"served":true}` {
		return 0, &awsError{resp.StatusCode, string(body)}
	}
	return strconv.ParseUint(resp.Header.Get("x-postern-version"), 10, 64)
}

// resolve asks the VPC's resolver and returns the address as bound on this machine.
func (w *tenant) resolve(ctx context.Context, dns *Process, name string) (string, error) {
	_, port, err := net.SplitHostPort(dns.DNS)
	if err != nil {
		return "", err
	}
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		from := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(w.bind), 0))
		return (&net.Dialer{LocalAddr: from}).DialContext(ctx, "udp", net.JoinHostPort(w.resolver, port))
	}}
	addresses, err := resolver.LookupNetIP(ctx, "ip4", name+".")
	if err != nil {
		return "", err
	}
	if len(addresses) == 0 {
		return "", errors.New("no address")
	}
	// Of the VPC's address the low 16 bits stay; the high ones are the client's.
	vpc, bound := addresses[0].As4(), netip.MustParseAddr(w.bind).As4()
	return netip.AddrFrom4([4]byte{127, bound[1], vpc[2], vpc[3]}).String(), nil
}

// wait runs the command of that name.
func wait(t *testing.T, c *Cluster, args ...string) Result {
	t.Helper()
	r, err := c.Command(within(t, patience), append([]string{"wait"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("wait %s: %s", strings.Join(args, " "), strings.TrimSpace(r.Stdout+r.Stderr))
	return r
}

func mustWait(t *testing.T, c *Cluster, version uint64) {
	t.Helper()
	if r := wait(t, c, "--index", strconv.FormatUint(version, 10), "--timeout", "50s"); r.Exit != 0 {
		t.Fatalf("wait for version %d: %+v", version, r)
	}
}

// watcher makes one request after the other until it is stopped.
type watcher struct {
	name     string
	done     atomic.Int64
	newest   atomic.Uint64
	failures chan error
	stop     context.CancelFunc
	ended    chan struct{}
}

// watch starts a watcher. try returns a version, which must never go back.
func watch(t *testing.T, name string, try func(ctx context.Context) (uint64, error)) *watcher {
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{name: name, failures: make(chan error, 100), stop: cancel, ended: make(chan struct{})}
	t.Cleanup(cancel)
	go func() {
		defer close(w.ended)
		for ctx.Err() == nil {
			version, err := try(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case err == nil && version < w.newest.Load():
				err = fmt.Errorf("version %d after version %d", version, w.newest.Load())
			}
			if err != nil {
				select {
				case w.failures <- err:
				default:
				}
				continue
			}
			w.newest.Store(version)
			w.done.Add(1)
		}
	}()
	return w
}

// more waits until the watcher has succeeded n more times, which shows that
// what it asks is still there.
func (w *watcher) more(t *testing.T, n int64) {
	t.Helper()
	goal := w.done.Load() + n
	eventually(t, w.name, func() error {
		select {
		case err := <-w.failures:
			t.Errorf("%s: %v", w.name, err)
		default:
		}
		if done := w.done.Load(); done < goal {
			return fmt.Errorf("%d of %d requests", done, goal)
		}
		return nil
	})
}

// end stops the watcher; that nothing failed is what it was for.
func (w *watcher) end(t *testing.T) {
	t.Helper()
	w.stop()
	<-w.ended
	for {
		select {
		case err := <-w.failures:
			t.Errorf("%s: %v", w.name, err)
		default:
			t.Logf("%s: %d requests, newest version %d", w.name, w.done.Load(), w.newest.Load())
			return
		}
	}
}

// lines counts the lines of a file that contain a text.
func lines(t *testing.T, file, text string) (found []string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}
