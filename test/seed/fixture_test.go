// Package seed_test does what each row of the seed checklist says, on whole
// clusters in this process: real Raft, gRPC, DNS, TLS and HTTP on loopback,
// driven by the AWS SDK for Go. A test is named after its row (TestS03_…), or
// has a subtest of that name where one flow holds several. docs/seed.md lists
// them, and TestDocs keeps the list true.
package seed_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/smithy-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/posternhq/postern/internal/dev"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

const region = "us-west-2"

// patience bounds every wait for a state that must come; it is far beyond what
// a loaded machine needs.
const patience = 30 * time.Second

// lab is a running cluster with its clients.
type lab struct {
	*dev.Cluster
	addr  dev.Addresses
	conn  *grpc.ClientConn
	admin adminv1.AdminClient
	roots *x509.CertPool
	ready time.Duration
	// networks counts VPCs: each gets a range of its own. groups counts the
	// security groups of endpoints: each gets a name of its own.
	networks, groups atomic.Int32
	stop             func() error
}

// startLab runs a cluster until its stop is called.
func startLab(cfg dev.Config) (*lab, error) {
	cluster, err := dev.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("assemble the cluster: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- cluster.Run(ctx) }()
	l := &lab{Cluster: cluster, addr: cluster.Addresses(), roots: x509.NewCertPool()}
	l.stop = func() error {
		cancel()
		if l.conn != nil {
			_ = l.conn.Close()
		}
		return <-ended
	}
	started := time.Now()
	select {
	case <-cluster.Ready():
	case err := <-ended:
		cancel()
		return nil, fmt.Errorf("the cluster ended before it was ready: %w", err)
	case <-time.After(patience):
		return nil, errors.Join(fmt.Errorf("the cluster was not ready after %s", patience), l.stop())
	}
	l.ready = time.Since(started)
	pem, err := os.ReadFile(l.addr.CA)
	if err != nil || !l.roots.AppendCertsFromPEM(pem) {
		return nil, errors.Join(errors.New("the cluster's CA certificate can't be read"), err, l.stop())
	}
	l.conn, err = grpc.NewClient("passthrough:///"+l.addr.API, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, errors.Join(err, l.stop())
	}
	l.admin = adminv1.NewAdminClient(l.conn)
	return l, nil
}

// shared is the cluster of all rows that need no settings of their own: nothing
// is simulated in its DNS.
var shared struct {
	once sync.Once
	*lab
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.lab != nil {
		if err := shared.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the shared cluster:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// sharedLab is started by the first test that needs it.
func sharedLab(t *testing.T) *lab {
	t.Helper()
	shared.once.Do(func() {
		shared.lab, shared.err = startLab(dev.Config{
			Nodes: 3, Edges: 2, DefaultProfile: "instant", TrustedProxies: trustedProxies,
		})
	})
	if shared.err != nil {
		t.Fatalf("start the shared cluster: %v", shared.err)
	}
	return shared.lab
}

// ownLab is a cluster of the test's own, with other settings.
func ownLab(t *testing.T, settings *adminv1.Settings) *lab {
	t.Helper()
	l, err := startLab(dev.Config{Nodes: 1, Edges: 1, Settings: settings})
	if err != nil {
		t.Fatalf("start a cluster: %v", err)
	}
	t.Cleanup(func() {
		if err := l.stop(); err != nil {
			t.Errorf("stop the cluster: %v", err)
		}
	})
	return l
}

// world is a test's view of a cluster: one account's clients in one region.
type world struct {
	*testing.T
	lab     *lab
	ctx     context.Context // of the test, which it ends with
	account string
	ec2     *ec2.Client
	api     *apigateway.Client
	route53 *route53.Client
}

const ownAccount = "111111111111"

// newWorld is what most rows start with.
func newWorld(t *testing.T) *world {
	t.Helper()
	return sharedLab(t).world(t, ownAccount, region)
}

func (l *lab) world(t *testing.T, account, region string) *world {
	creds := credentials.NewStaticCredentialsProvider(account, "secret", "")
	base := aws.String("http://" + l.addr.API)
	return &world{
		T: t, lab: l, ctx: t.Context(), account: account,
		ec2:     ec2.New(ec2.Options{BaseEndpoint: base, Region: region, Credentials: creds}),
		api:     apigateway.New(apigateway.Options{BaseEndpoint: base, Region: region, Credentials: creds}),
		route53: route53.New(route53.Options{BaseEndpoint: base, Region: region, Credentials: creds}),
	}
}

// must ends the test if a step that is not what it is about fails.
func must[T any](w *world, what string) func(T, error) T {
	return func(v T, err error) T {
		w.Helper()
		if err != nil {
			w.Fatalf("%s: %v", what, err)
		}
		return v
	}
}

// refused checks that AWS's error came, with this code and a message that holds text.
func (w *world) refused(what string, err error, code, text string) {
	w.Helper()
	var answer smithy.APIError
	switch {
	case err == nil:
		w.Errorf("%s was accepted, want %s %q", what, code, text)
	case !errors.As(err, &answer):
		w.Errorf("%s: %v, want %s %q", what, err, code, text)
	case answer.ErrorCode() != code || !strings.Contains(answer.ErrorMessage(), text):
		w.Errorf("%s: %s %q, want %s %q", what, answer.ErrorCode(), answer.ErrorMessage(), code, text)
	}
}

// settle is the barrier: every place of these kinds ("edges", "dns"; both if
// none is given) shows what was written before.
func (w *world) settle(kinds ...string) {
	w.Helper()
	stream, err := w.lab.admin.Wait(w.ctx, &adminv1.WaitRequest{Kinds: kinds, TimeoutMs: patience.Milliseconds()})
	if err != nil {
		w.Fatalf("wait for %v: %v", kinds, err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			w.Fatalf("wait for %v: %v", kinds, err)
		}
		if m.GetDone() {
			if !m.GetReached() {
				w.Fatalf("version %d was not reached by %v", m.GetIndex(), m.GetBlocking())
			}
			return
		}
	}
}

// eventually polls for a condition that must come true.
func (w *world) eventually(what string, holds func() bool) {
	w.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			w.Fatalf("%s: not after %s", what, patience)
		}
		<-tick.C
	}
}

// equal compares two values that print well.
func equal[T comparable](w *world, what string, got, want T) {
	w.Helper()
	if got != want {
		w.Errorf("%s: %v, want %v", what, got, want)
	}
}
