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

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

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
	return grpc.NewClient("passthrough:///"+u.Host, grpc.WithTransportCredentials(creds))
}

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
