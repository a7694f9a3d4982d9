package bench

import (
	"bytes"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	iamv1 "github.com/posternhq/postern/proto/postern/iam/v1"
	"github.com/posternhq/postern/test/procs"
	"github.com/posternhq/postern/test/tenant"
)

// emptyHash is the SHA-256 of no body.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// BenchmarkEdgeSigned compares AWS_IAM with NONE at one edge: the same API, the
// same signed request over kept connections, in turns. One stage verifies the
// signature and asks the caller's policy, the other does not look at it.
// Target: 1.5 × the processor time.
func BenchmarkEdgeSigned(b *testing.B) {
	needsProc(b)
	c := cluster(b, 1, 1)
	t, err := tenant.New(soon(b), c)
	if err != nil {
		b.Fatal(err)
	}
	signedStage(b, c, t)
	cred := caller(b, c)
	if r, err := c.Command(soon(b), "wait", "--latest", "--timeout", "30s"); err != nil || r.Exit != 0 {
		b.Fatal(r, err)
	}
	connect := func(stage string) *side {
		request := signedRequest(b, t.Name, stage, cred)
		s := &side{pid: c.Edges[0].PID()}
		s.connect(b, t.Name, func() (net.Conn, error) { return t.Dial(b.Context(), c.Edges[0]) })
		for _, client := range s.conns {
			client.request = request
		}
		return s
	}
	none, iam := connect("test"), connect("iam0")
	for b.Loop() {
		none.round(b)
		iam.round(b)
	}
	requests := float64(len(iam.rates) * requestsARound)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(none.rate(), "none-req/s")
	b.ReportMetric(iam.rate(), "iam-req/s")
	b.ReportMetric(float64(none.used.Microseconds())/requests, "none-µs-cpu/req")
	b.ReportMetric(float64(iam.used.Microseconds())/requests, "iam-µs-cpu/req")
	b.ReportMetric(float64(iam.used)/float64(none.used), "iam/none-cpu")
}

// signedStage deploys the tenant's API with AWS_IAM as a second stage.
func signedStage(b *testing.B, c *procs.Cluster, t *tenant.Tenant) {
	b.Helper()
	call := func(method, path string, in, out any) {
		b.Helper()
		if _, err := tenant.AWS(soon(b), http.DefaultClient, c.Nodes[0].API, method, "/restapis/"+t.API+path, in, out); err != nil {
			b.Fatal(err)
		}
	}
	var resources struct {
		Items []struct{ ID string } `json:"item"`
	}
	call("GET", "/resources", nil, &resources)
	call("PATCH", "/resources/"+resources.Items[0].ID+"/methods/GET", map[string]any{
		"patchOperations": []any{map[string]string{"op": "replace", "path": "/authorizationType", "value": "AWS_IAM"}},
	}, nil)
	call("POST", "/deployments", map[string]any{"stageName": "iam0"}, nil)
}

// caller makes a user with a policy, and returns his key.
func caller(b *testing.B, c *procs.Cluster) aws.Credentials {
	b.Helper()
	conn, err := c.Nodes[0].Conn()
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	iam, ctx, name := iamv1.NewIAMClient(conn), soon(b), "bench"
	if _, err := iam.CreateUser(ctx, &iamv1.CreateUserRequest{UserName: &name}); err != nil {
		b.Fatal(err)
	}
	document := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"execute-api:Invoke","Resource":"arn:aws:execute-api:*:*:*/*/GET/*"}}`
	if _, err := iam.PutUserPolicy(ctx, &iamv1.PutUserPolicyRequest{UserName: &name, PolicyName: &name, PolicyDocument: &document}); err != nil {
		b.Fatal(err)
	}
	made, err := iam.CreateAccessKey(ctx, &iamv1.CreateAccessKeyRequest{UserName: &name})
	if err != nil {
		b.Fatal(err)
	}
	key := made.GetAccessKey()
	return aws.Credentials{AccessKeyID: key.GetAccessKeyId(), SecretAccessKey: key.GetSecretAccessKey()}
}

// signedRequest is the bytes of a request, good for five minutes.
func signedRequest(b *testing.B, host, stage string, cred aws.Credentials) []byte {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "https://"+host+"/"+stage, nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("User-Agent", "bench")
	r.Header.Set("Accept-Encoding", "identity")
	if err := v4.NewSigner().SignHTTP(b.Context(), cred, r, emptyHash, "execute-api", "us-west-2", time.Now()); err != nil {
		b.Fatal(err)
	}
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		b.Fatal(err)
	}
	return wire.Bytes()
}
