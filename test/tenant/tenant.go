// Package tenant is one customer of a cluster in tests and benchmarks: a private
// API with a MOCK integration behind an endpoint in the default VPC, and a
// client in that VPC.
//
// It owns how such an API is made over the AWS front, and how one edge, chosen
// by its port, and the VPC's resolver are asked. What the answers should be, and
// what is done to the cluster meanwhile, is the test's business. A Tenant does
// not change after New; its methods may be called from many goroutines.
package tenant

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	"github.com/posternhq/postern/test/procs"
)

const region = "us-west-2"

// Body is what the API answers.
const Body = `{"served":true}`

// policy admits the endpoint and denies all others.
const policy = `{"Version":"2012-10-17","Statement":[` +
	`{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/*"},` +
	`{"Effect":"Deny","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/*","Condition":{"StringNotEquals":{"aws:SourceVpce":%q}}}]}`

// Error is an answer that is no success.
type Error struct {
	Status int
	Body   string
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s", e.Status, e.Body) }

// AWS sends a REST-JSON request to the AWS front at "host:port" and returns the
// version that it answers. in and out may be nil.
func AWS(ctx context.Context, client *http.Client, front, method, path string, in, out any) (version uint64, err error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+front+path, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20261122/"+region+"/apigateway/aws4_request, SignedHeaders=host, Signature=0")
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode/100 != 2 {
		return 0, &Error{resp.StatusCode, string(data)}
	}
	if out != nil {
		if err := json.Unmarshal(data, out); err != nil {
			return 0, fmt.Errorf("%s %s: %w in %q", method, path, err, data)
		}
	}
	return strconv.ParseUint(resp.Header.Get("x-postern-version"), 10, 64)
}

// Tenant is one private API and a client of it.
type Tenant struct {
	// API and Endpoint are ids, Name the API's in the VPC.
	API, Endpoint, Name string
	// Bind is the address that the client's connections leave from, ENI one of
	// the endpoint's, Resolver where the client sends its questions: all as bound
	// on this machine.
	Bind, ENI, Resolver string
	Roots               *x509.CertPool
	// Version is that of the deployment.
	Version uint64
}

// New makes a Tenant; the places need not know it yet. Nodes must be running.
func New(ctx context.Context, c *procs.Cluster) (*Tenant, error) {
	t := &Tenant{Roots: x509.NewCertPool()}
	pem, err := os.ReadFile(filepath.Join(c.Dir, "ca.pem"))
	if err != nil {
		return nil, fmt.Errorf("read CA certificate: %w", err)
	}
	t.Roots.AppendCertsFromPEM(pem)
	if err := t.network(ctx, c.Nodes[0]); err != nil {
		return nil, fmt.Errorf("make the network: %w", err)
	}
	if err := t.deploy(ctx, c.Nodes[len(c.Nodes)-1]); err != nil {
		return nil, fmt.Errorf("make the API: %w", err)
	}
	return t, nil
}

func (t *Tenant) network(ctx context.Context, p *procs.Process) error {
	conn, err := p.Conn()
	if err != nil {
		return err
	}
	defer conn.Close()
	ec2 := ec2v1.NewEC2Client(conn)
	// The default VPC and its subnets are made by the first call.
	subnets, err := ec2.DescribeSubnets(ctx, &ec2v1.DescribeSubnetsRequest{})
	if err != nil {
		return err
	}
	if len(subnets.GetSubnets()) == 0 {
		return errors.New("the default VPC has no subnet")
	}
	subnet := subnets.GetSubnets()[0]
	made, err := ec2.CreateVpcEndpoint(ctx, &ec2v1.CreateVpcEndpointRequest{
		VpcEndpointType: proto.String("Interface"), VpcId: subnet.VpcId, SubnetIds: []string{subnet.GetSubnetId()},
		ServiceName: proto.String("com.amazonaws." + region + ".execute-api"), PrivateDnsEnabled: proto.Bool(true),
	})
	if err != nil {
		return err
	}
	t.Endpoint = made.GetVpcEndpoint().GetVpcEndpointId()
	client, err := adminv1.NewAdminClient(conn).EnsureClient(ctx, &adminv1.EnsureClientRequest{Vpc: subnet.GetVpcId()})
	if err != nil {
		return err
	}
	t.Bind, t.Resolver = client.GetBindAddress(), client.GetResolver()
	described, err := ec2.DescribeNetworkInterfaces(ctx, &ec2v1.DescribeNetworkInterfacesRequest{NetworkInterfaceIds: made.GetVpcEndpoint().GetNetworkInterfaceIds()})
	if err != nil {
		return err
	}
	if len(described.GetNetworkInterfaces()) == 0 {
		return errors.New("the endpoint has no network interface")
	}
	t.ENI, err = t.bound(described.GetNetworkInterfaces()[0].GetPrivateIpAddress())
	return err
}

// bound turns an address of the VPC into the one bound on this machine: the low
// 16 bits stay, the high ones are those of the client's.
func (t *Tenant) bound(address string) (string, error) {
	vpc, err := netip.ParseAddr(address)
	if err != nil {
		return "", err
	}
	own, err := netip.ParseAddr(t.Bind)
	if err != nil {
		return "", err
	}
	low, high := vpc.As4(), own.As4()
	return netip.AddrFrom4([4]byte{127, high[1], low[2], low[3]}).String(), nil
}

func (t *Tenant) deploy(ctx context.Context, p *procs.Process) error {
	var made struct{ ID, RootResourceID string }
	if _, err := AWS(ctx, http.DefaultClient, p.API, "POST", "/restapis", map[string]any{
		"name": "tenant", "policy": fmt.Sprintf(policy, t.Endpoint), "endpointConfiguration": map[string]any{"types": []string{"PRIVATE"}},
	}, &made); err != nil {
		return err
	}
	t.API, t.Name = made.ID, made.ID+".execute-api."+region+".amazonaws.com"
	get := "/restapis/" + made.ID + "/resources/" + made.RootResourceID + "/methods/GET"
	for _, call := range []struct {
		method, path string
		in           map[string]any
	}{
		{"PUT", get, map[string]any{"authorizationType": "NONE"}},
		{"PUT", get + "/responses/200", map[string]any{}},
		{"PUT", get + "/integration", map[string]any{"type": "MOCK", "requestTemplates": map[string]string{"application/json": `{"statusCode":200}`}}},
		{"PUT", get + "/integration/responses/200", map[string]any{"responseTemplates": map[string]string{"application/json": Body}}},
		{"POST", "/restapis/" + made.ID + "/deployments", map[string]any{"stageName": "test"}},
	} {
		var err error
		if t.Version, err = AWS(ctx, http.DefaultClient, p.API, call.method, call.path, call.in, nil); err != nil {
			return fmt.Errorf("%s %s: %w", call.method, call.path, err)
		}
	}
	return nil
}

// Touch makes a version that the edges must follow: a variable of the stage.
func (t *Tenant) Touch(ctx context.Context, p *procs.Process, value string) (version uint64, err error) {
	return AWS(ctx, http.DefaultClient, p.API, "PATCH", "/restapis/"+t.API+"/stages/test", map[string]any{
		"patchOperations": []any{map[string]string{"op": "replace", "path": "/variables/touched", "value": value}},
	}, nil)
}

// Dial connects from the client's address to the endpoint, at one edge.
func (t *Tenant) Dial(ctx context.Context, edge *procs.Process) (net.Conn, error) {
	from, err := netip.ParseAddr(t.Bind)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	return dialer.DialContext(ctx, "tcp", net.JoinHostPort(t.ENI, strconv.Itoa(edge.Port)))
}

// Client returns an HTTP client in the VPC whose connections all go to one edge.
func (t *Tenant) Client(edge *procs.Process) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: t.Roots, ServerName: t.Name},
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return t.Dial(ctx, edge) },
	}}
}

// Call asks the API, and returns the version that answered.
func (t *Tenant) Call(ctx context.Context, client *http.Client) (version uint64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+t.Name+"/test", nil)
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
	if resp.StatusCode != http.StatusOK || string(body) != Body {
		return 0, &Error{resp.StatusCode, string(body)}
	}
	return strconv.ParseUint(resp.Header.Get("x-postern-version"), 10, 64)
}

// Resolve asks the VPC's resolver and returns the address as bound on this machine.
func (t *Tenant) Resolve(ctx context.Context, dns *procs.Process, name string) (string, error) {
	from, err := netip.ParseAddr(t.Bind)
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(dns.DNS)
	if err != nil {
		return "", err
	}
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		dialer := &net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
		return dialer.DialContext(ctx, "udp", net.JoinHostPort(t.Resolver, port))
	}}
	addresses, err := resolver.LookupNetIP(ctx, "ip4", name+".")
	if err != nil {
		return "", err
	}
	if len(addresses) == 0 {
		return "", errors.New("no address")
	}
	return t.bound(addresses[0].String())
}
