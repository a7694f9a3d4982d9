package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// guarded is a node that asks who calls.
type guarded struct {
	api    string
	stdout shared
	stop   func()
}

// shared is a buffer that is read while it is written.
type shared struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *shared) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *shared) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// startGuarded runs `postern server` on free ports.
func startGuarded(t *testing.T, data string) *guarded {
	t.Helper()
	free := func() string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		return ln.Addr().String()
	}
	s := &guarded{api: free()}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		ended <- run(ctx, []string{"server", "--id", "n1", "--data", data, "--listen-api", s.api, "--listen-grpc", free(), "-o", "json"}, &s.stdout, &stderr)
	}()
	s.stop = func() {
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("server ended with %d: %s", code, stderr.String())
		}
	}
	return s
}

func (s *guarded) config(id, secret, token string) aws.Config {
	return aws.Config{
		Region: "us-west-2", BaseEndpoint: aws.String("http://" + s.api), Credentials: credentials.NewStaticCredentialsProvider(id, secret, token),
		Retryer: func() aws.Retryer { return aws.NopRetryer{} },
	}
}

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// TestGuardedServer: a new cluster tells its root key once. Who has no key is
// refused, and who has one may do what his policies allow, by AWS's SDK and by the
// commands alike.
func TestGuardedServer(t *testing.T) {
	data := t.TempDir()
	s := startGuarded(t, data)
	stop := s.stop
	defer func() { stop() }()
	var root struct {
		Account string `json:"account"`
		ID      string `json:"access_key_id"`
		Secret  string `json:"secret_access_key"`
	}
	until := func(what string, cond func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: never", what)
			}
		}
	}
	until("the root key is told", func() bool { return json.Unmarshal([]byte(strings.TrimSpace(s.stdout.String())), &root) == nil })
	if root.Account != "123456789012" || !strings.HasPrefix(root.ID, "AKIA") || len(root.Secret) != 40 {
		t.Fatalf("root key %+v", root)
	}
	ctx := t.Context()
	byRoot := s.config(root.ID, root.Secret, "")
	who, err := sts.NewFromConfig(byRoot).GetCallerIdentity(ctx, nil)
	if err != nil || aws.ToString(who.Arn) != "arn:aws:iam::123456789012:root" {
		t.Fatalf("root is %v, %v", who, err)
	}
	users := iam.NewFromConfig(byRoot)
	if _, err := users.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("dev")}); err != nil {
		t.Fatal(err)
	}
	made, err := users.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("dev")})
	if err != nil {
		t.Fatal(err)
	}
	id, secret := aws.ToString(made.AccessKey.AccessKeyId), aws.ToString(made.AccessKey.SecretAccessKey)
	apis := apigateway.NewFromConfig(s.config(id, secret, ""))
	list := func(client *apigateway.Client) string {
		_, err := client.GetRestApis(ctx, &apigateway.GetRestApisInput{})
		return code(err)
	}
	if got := list(apis); got != "AccessDeniedException" {
		t.Errorf("without a policy: %q", got)
	}
	if got := list(apigateway.NewFromConfig(s.config(id, "sesame", ""))); got != "InvalidSignatureException" {
		t.Errorf("with another secret: %q", got)
	}
	if got := list(apigateway.NewFromConfig(s.config("123456789012", "test", ""))); got != "UnrecognizedClientException" {
		t.Errorf("with an account id as the key: %q", got)
	}
	status := func(id, secret string) (exit int, said string) {
		t.Setenv("AWS_ACCESS_KEY_ID", id)
		t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
		t.Setenv("AWS_SESSION_TOKEN", "")
		var out, stderr bytes.Buffer
		exit = run(ctx, []string{"status", "--api", "http://" + s.api, "-o", "json"}, &out, &stderr)
		return exit, out.String() + stderr.String()
	}
	for name, c := range map[string]struct{ id, secret, want string }{
		"unsigned":         {"", "", "the call is not signed"},
		"without a policy": {id, secret, "not authorized to perform: postern:Status"},
		"wrong secret":     {id, "sesame", "does not match"},
	} {
		if exit, said := status(c.id, c.secret); exit != 1 || !strings.Contains(said, c.want) {
			t.Errorf("status, %s: exit %d, %s", name, exit, said)
		}
	}
	if exit, said := status(root.ID, root.Secret); exit != 0 {
		t.Errorf("status, by root: %s", said)
	}
	if _, err := users.PutUserPolicy(ctx, &iam.PutUserPolicyInput{
		UserName: aws.String("dev"), PolicyName: aws.String("p"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["apigateway:*","postern:Status"],"Resource":"*"}}`),
	}); err != nil {
		t.Fatal(err)
	}
	if got := list(apis); got != "" {
		t.Errorf("with a policy: %q", got)
	}
	if exit, said := status(id, secret); exit != 0 {
		t.Errorf("status, with a policy: %s", said)
	}
	if _, err := users.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: aws.String("dev"), AccessKeyId: aws.String(id), Status: "Inactive"}); err != nil {
		t.Fatal(err)
	}
	if got := list(apis); got != "UnrecognizedClientException" {
		t.Errorf("with an inactive key: %q", got)
	}

	// Started again it has its keys, and tells none.
	s.stop()
	s = startGuarded(t, data)
	stop = s.stop
	until("the root key is good again", func() bool {
		_, err := sts.NewFromConfig(s.config(root.ID, root.Secret, "")).GetCallerIdentity(ctx, nil)
		return err == nil
	})
	if told := s.stdout.String(); strings.Contains(told, "secret") {
		t.Errorf("started again it tells %s", told)
	}
}
