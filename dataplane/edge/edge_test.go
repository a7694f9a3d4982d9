package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dataplane/compile"
	"github.com/posternhq/postern/internal/netx"
	"github.com/posternhq/postern/internal/pki"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

// The world of these tests: VPC A (10.61/16) with endpoints vpceA and vpceA2,
// VPC B (10.62/16) with endpoint vpceB, a private API and a public one.
const (
	region  = "us-west-2"
	account = "123456789012"

	vpcA, vpcB            = "vpc-0000000000000000a", "vpc-0000000000000000b"
	vpceA, vpceA2, vpceB  = "vpce-0000000000000000a", "vpce-00000000000000a2a", "vpce-0000000000000000b"
	eniA, eniA2, eniB     = "127.61.0.10", "127.61.0.11", "127.62.0.10"
	clientA, clientB      = "127.61.0.50", "127.62.0.50"
	onPremBind, onPrem    = "127.255.3.4", "192.168.3.4"
	privateAPI, publicAPI = "priv000001", "publ000001"
	privateHost           = privateAPI + ".execute-api.us-west-2.amazonaws.com"
	publicHost            = publicAPI + ".execute-api.us-west-2.amazonaws.com"
)

func arn(api string) string {
	return "arn:aws:execute-api:" + region + ":" + account + ":" + api
}

const allowAll = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"*"}}`

// world is a set of resources that tests change before they are compiled.
type world struct {
	settings *edgev1.Settings
	apis     []*edgev1.Api
	stages   []*edgev1.Stage
	vpces    []*edgev1.VpcEndpoint
	vpcs     []*edgev1.Vpc
	groups   []*edgev1.SecurityGroup
	keys     []*edgev1.AccessKey
	owners   []*edgev1.Principal
}

func newWorld() *world {
	vpce := func(id, vpc, eni, bind string) *edgev1.VpcEndpoint {
		return &edgev1.VpcEndpoint{
			Id: id, Account: account, Region: region, VpcId: vpc,
			Enis:         []*edgev1.Eni{{Id: "eni-" + id[5:], Az: region + "a", Address: eni, BindAddress: bind}},
			IngressCidrs: []string{"0.0.0.0/0"},
		}
	}
	w := &world{
		apis: []*edgev1.Api{
			{Id: privateAPI, Account: account, Region: region, EndpointType: "PRIVATE"},
			{Id: publicAPI, Account: account, Region: region, EndpointType: "REGIONAL"},
		},
		stages: []*edgev1.Stage{
			{ApiId: privateAPI, Account: account, Region: region, Name: "prod", DeploymentId: "dep001", Policy: allowAll},
			{ApiId: publicAPI, Account: account, Region: region, Name: "prod", DeploymentId: "dep002"},
		},
		vpces: []*edgev1.VpcEndpoint{
			vpce(vpceA, vpcA, "10.61.0.10", eniA), vpce(vpceA2, vpcA, "10.61.0.11", eniA2), vpce(vpceB, vpcB, "10.62.0.10", eniB),
		},
		vpcs: []*edgev1.Vpc{
			{Id: vpcA, Account: account, Region: region, Cidrs: []string{"10.61.0.0/16"}, LoopbackOctet: 61,
				RoutedClients: []*edgev1.Client{{Address: onPrem, BindAddress: onPremBind}}},
			{Id: vpcB, Account: account, Region: region, Cidrs: []string{"10.62.0.0/16"}, LoopbackOctet: 62},
		},
	}
	for _, s := range w.stages {
		s.Routes = []*edgev1.Route{
			{ResourceId: "root00", Path: "/", HttpMethod: "GET", Method: mock(200)},
			{ResourceId: "res001", Path: "/pets", HttpMethod: "GET", Method: mock(200)},
			{ResourceId: "res001", Path: "/pets", HttpMethod: "POST", Method: mock(201)},
			{ResourceId: "res002", Path: "/pets/{id}", HttpMethod: "GET", Method: mock(200)},
		}
	}
	return w
}

func nullable(s string) *awsv1.NullableStringMap {
	return &awsv1.NullableStringMap{Entries: map[string]*awsv1.NullableString{"application/json": {Value: proto.String(s)}}}
}

// mock is a method whose MOCK integration answers with a status.
func mock(status int) *apigatewayv1.Method {
	code := fmt.Sprint(status)
	return &apigatewayv1.Method{
		AuthorizationType: proto.String("NONE"),
		MethodIntegration: &apigatewayv1.Integration{
			Type:             proto.String("MOCK"),
			RequestTemplates: nullable(`{"statusCode": ` + code + `}`),
			IntegrationResponses: map[string]*apigatewayv1.IntegrationResponse{
				code: {StatusCode: &code, ResponseTemplates: nullable(`{"mock":` + code + `}`)},
			},
		},
	}
}

// route finds a route of a stage, for tests that change it.
func (w *world) route(stage int, method, path string) *edgev1.Route {
	for _, r := range w.stages[stage].Routes {
		if r.HttpMethod == method && r.Path == path {
			return r
		}
	}
	panic("no route " + method + " " + path)
}

func (w *world) update(t testing.TB, index uint64) compile.Update {
	t.Helper()
	u := compile.Update{Index: index, Full: true}
	add := func(name string, m proto.Message) {
		body, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		u.Changed = append(u.Changed, compile.Resource{Name: name, Body: body})
	}
	if w.settings != nil {
		add("settings", w.settings)
	}
	for _, m := range w.apis {
		add("api/"+m.Id, m)
	}
	for _, m := range w.stages {
		add("api/"+m.ApiId+"/stage/"+m.Name, m)
	}
	for _, m := range w.vpces {
		add("vpce/"+m.Id, m)
	}
	for _, m := range w.vpcs {
		add("vpc/"+m.Id, m)
	}
	for _, m := range w.groups {
		add("sg/"+m.Id, m)
	}
	for _, m := range w.keys {
		add("key/"+m.Id, m)
	}
	for _, m := range w.owners {
		add("principal/"+m.Id, m)
	}
	return u
}

// running is an edge that serves.
type running struct {
	*Edge
	t     testing.TB
	port  uint16
	index uint64
	pool  *x509.CertPool
}

// freePort is a port that no loopback address uses at the moment.
func freePort(t testing.TB) uint16 {
	t.Helper()
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return netip.MustParseAddrPort(ln.Addr().String()).Port()
}

func needLoopback(t testing.TB) {
	t.Helper()
	ln, err := net.Listen("tcp", clientA+":0")
	if err != nil {
		t.Skipf("needs all of 127/8: %v", err)
	}
	ln.Close()
}

func newEdge(t testing.TB, change func(*Config)) (*Edge, *x509.CertPool, uint16) {
	t.Helper()
	ca, err := pki.LoadOrCreateCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	keeper, err := NewKeeper(KeeperConfig{
		Dir:    t.TempDir(),
		Sign:   func(_ context.Context, csr []byte) ([][]byte, error) { return ca.SignServing(csr, nil) },
		Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	cfg := Config{
		ID: "e1", Port: port, PublicAddr: fmt.Sprintf("127.0.0.1:%d", port), Network: netx.Host(),
		Logger: logger, Registerer: prometheus.NewRegistry(), Keeper: keeper, Headers: true,
	}
	if change != nil {
		change(&cfg)
	}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e, ca.Pool(), port
}

// start runs an edge with a world installed.
func start(t testing.TB, w *world, change func(*Config)) *running {
	t.Helper()
	needLoopback(t)
	e, pool, port := newEdge(t, change)
	r := &running{Edge: e, t: t, port: port, pool: pool}
	r.install(w)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("edge ended with %v", err)
		}
	})
	deadline := time.Now().Add(10 * time.Second)
	for e.Ready() != nil {
		if time.Now().After(deadline) {
			t.Fatalf("edge is not ready: %v", e.Ready())
		}
		time.Sleep(time.Millisecond)
	}
	return r
}

func (r *running) install(w *world) {
	r.index++
	table, rejected := compile.Config{Integration: r.Prepare}.Compile(r.Table(), w.update(r.t, r.index))
	if len(rejected) > 0 {
		r.t.Fatalf("rejected: %v", rejected)
	}
	r.Install(table)
}

// call is one request of a client.
type call struct {
	from   string // the client's address on this machine
	to     string // the address that it dials, without port
	host   string
	sni    string // empty: as host
	method string
	path   string // with query
	header http.Header
	body   string
	tlsMax uint16
	before string // bytes sent before TLS
}

// privateCall is a good call of the private API from VPC A.
func privateCall() call {
	return call{from: clientA, to: eniA, host: privateHost, method: "GET", path: "/prod/pets"}
}

type response struct {
	status int
	header http.Header
	body   string
}

func (r *running) do(c call) (response, error) {
	sni := c.sni
	if sni == "" {
		sni = c.host
	}
	transport := &http.Transport{
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			raw, err := netx.Host().Dial(ctx, "tcp", fmt.Sprintf("%s:%d", c.to, r.port), netx.From(netip.MustParseAddr(c.from)))
			if err != nil {
				return nil, err
			}
			if c.before != "" {
				if _, err := io.WriteString(raw, c.before); err != nil {
					return nil, err
				}
			}
			conn := tls.Client(raw, &tls.Config{RootCAs: r.pool, ServerName: sni, MaxVersion: c.tlsMax})
			if err := conn.HandshakeContext(ctx); err != nil {
				raw.Close()
				return nil, err
			}
			return conn, nil
		},
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, c.method, "https://"+c.host+c.path, strings.NewReader(c.body))
	if err != nil {
		return response{}, err
	}
	for k, v := range c.header {
		req.Header[k] = v
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return response{res.StatusCode, res.Header, string(body)}, err
}

func (r *running) must(c call) response {
	r.t.Helper()
	res, err := r.do(c)
	if err != nil {
		r.t.Fatalf("%s %s%s: %v", c.method, c.host, c.path, err)
	}
	return res
}

func TestPrivateCall(t *testing.T) {
	r := start(t, newWorld(), nil)
	res := r.must(privateCall())
	if res.status != 200 || res.body != `{"mock":200}` {
		t.Errorf("got %d %s", res.status, res.body)
	}
	for _, name := range []string{"x-amzn-RequestId", "x-amz-apigw-id", "Content-Type", "Date", "Content-Length"} {
		if res.header.Get(name) == "" {
			t.Errorf("header %s is missing", name)
		}
	}
	if v := res.header.Get("x-postern-version"); v != "1" {
		t.Errorf("x-postern-version is %q", v)
	}
}

func from(addr string) netx.Option { return netx.From(netip.MustParseAddr(addr)) }

func portText(port uint16) string { return strconv.Itoa(int(port)) }

// secure begins TLS on a connection to an endpoint.
func (r *running) secure(conn net.Conn) *tls.Conn {
	return tls.Client(conn, &tls.Config{RootCAs: r.pool, ServerName: privateHost})
}
