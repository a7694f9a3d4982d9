package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/posternhq/postern/controlplane/guard"
	"github.com/posternhq/postern/internal/sigv4"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

// clientFlags say where the cluster is. Its AWS-compatible address is all that
// a client command needs: gRPC is served there too.
type clientFlags struct {
	API    string `name:"api" default:"http://127.0.0.1:4780" help:"Address of the cluster's AWS-compatible listener." placeholder:"URL"`
	CAFile string `name:"ca" help:"CA certificate, for an https address." placeholder:"FILE"`
}

// dial returns a connection; nothing is sent until the first call.
func (f *clientFlags) dial() (*grpc.ClientConn, error) {
	u, err := url.Parse(f.API)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, usageError{fmt.Errorf("--api %q: want http://HOST:PORT or https://HOST:PORT", f.API)}
	}
	creds := insecure.NewCredentials()
	if u.Scheme == "https" {
		config := &tls.Config{MinVersion: tls.VersionTLS12}
		if f.CAFile != "" {
			pem, err := os.ReadFile(f.CAFile)
			if err != nil {
				return nil, fmt.Errorf("read CA certificate: %w", err)
			}
			config.RootCAs = x509.NewCertPool()
			if !config.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("--ca %s: no certificate in it", f.CAFile)
			}
		}
		creds = credentials.NewTLS(config)
	}
	return grpc.NewClient("passthrough:///"+u.Host, grpc.WithTransportCredentials(creds), grpc.WithPerRPCCredentials(signatures{}))
}

// signatures signs calls with the access key of the environment, if there is one.
type signatures struct{}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (signatures) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	key := aws.Credentials{
		AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: os.Getenv("AWS_SESSION_TOKEN"),
	}
	call, known := credentials.RequestInfoFromContext(ctx)
	if key.AccessKeyID == "" || key.SecretAccessKey == "" || !known {
		return nil, nil
	}
	r := guard.SignedRequest(call.Method, nil)
	if err := v4.NewSigner().SignHTTP(ctx, key, r, sigv4.Unsigned, guard.SigningName, "us-east-1", time.Now()); err != nil {
		return nil, fmt.Errorf("sign %s: %w", call.Method, err)
	}
	md := map[string]string{}
	for name, values := range r.Header {
		md[strings.ToLower(name)] = values[0]
	}
	return md, nil
}

// RequireTransportSecurity: on loopback, calls go in the clear.
func (signatures) RequireTransportSecurity() bool { return false }

// admin connects to the cluster for one command.
func (f *clientFlags) admin() (adminv1.AdminClient, func(), error) {
	conn, err := f.dial()
	if err != nil {
		return nil, nil, err
	}
	return adminv1.NewAdminClient(conn), func() { _ = conn.Close() }, nil
}

// callerContext says for which account and region a call is made.
func callerContext(ctx context.Context, account, region string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "x-postern-account", account, "x-postern-region", region)
}

// fetchCA asks the cluster for its CA certificate.
func fetchCA(ctx context.Context, api string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(api, "/")+"/ca.pem", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch the CA certificate: %w", err)
	}
	defer resp.Body.Close()
	pem, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("fetch the CA certificate: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch the CA certificate: %s", resp.Status)
	}
	return pem, nil
}
