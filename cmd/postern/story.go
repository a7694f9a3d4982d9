package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/posternhq/postern/internal/dev"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

const storyRegion = "us-west-2"

// story is the demo's cast: the clients, the backend and what was checked.
type story struct {
	g       *globals
	ctx     context.Context // one story, one context: it ends with the command
	addr    dev.Addresses
	gateway *apigateway.Client
	ec2     *ec2.Client
	iam     *iam.Client
	admin   adminv1.AdminClient
	conn    *grpc.ClientConn
	roots   *x509.CertPool
	backend *http.Server
	backURL string
	checks  []check

	vpc, otherVPC           string
	subnets                 []string
	endpoint, otherEndpoint string
	endpointDNS             []string // regional first, then zonal
	otherDNS                string
	api                     string
	root                    string
}

// check is a line of the table at the end.
type check struct {
	What string `json:"what"`
	Want string `json:"want"`
	Got  string `json:"got"`
	OK   bool   `json:"ok"`
}

func newStory(ctx context.Context, g *globals, addr dev.Addresses) (*story, error) {
	pem, err := os.ReadFile(addr.CA)
	if err != nil {
		return nil, fmt.Errorf("read CA certificate: %w", err)
	}
	s := &story{g: g, ctx: ctx, addr: addr, roots: x509.NewCertPool()}
	s.roots.AppendCertsFromPEM(pem)
	s.as("test", "test")
	s.conn, err = grpc.NewClient("passthrough:///"+addr.API, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	s.admin = adminv1.NewAdminClient(s.conn)
	return s, s.startBackend()
}

// as has the cast's AWS clients call as the owner of an access key.
func (s *story) as(id, secret string) {
	creds := credentials.NewStaticCredentialsProvider(id, secret, "")
	base := aws.String("http://" + s.addr.API)
	s.gateway = apigateway.New(apigateway.Options{BaseEndpoint: base, Region: storyRegion, Credentials: creds})
	s.ec2 = ec2.New(ec2.Options{BaseEndpoint: base, Region: storyRegion, Credentials: creds})
	s.iam = iam.New(iam.Options{BaseEndpoint: base, Region: storyRegion, Credentials: creds})
}

// startBackend starts the pet store that the API's integrations call.
func (s *story) startBackend() error {
	ln, err := (&net.ListenConfig{}).Listen(s.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("start the pet store: %w", err)
	}
	s.backURL = "http://" + ln.Addr().String()
	s.backend = &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if id, ok := strings.CutPrefix(r.URL.Path, "/petstore/pets/"); ok {
			fmt.Fprintf(w, `{"id":%q,"type":"cat","price":12.5}`, id)
			return
		}
		fmt.Fprint(w, `[{"id":"1","type":"dog"},{"id":"2","type":"cat"},{"id":"3","type":"fish"}]`)
	})}
	go func() {
		if err := s.backend.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.g.logger(slog.LevelWarn).Error("pet store ended", "component", "demo", "error", err)
		}
	}()
	return nil
}

func (s *story) close() {
	_ = s.backend.Close()
	_ = s.conn.Close()
}

// say narrates. Under -o json only the table at the end is printed.
func (s *story) say(format string, args ...any) {
	if s.g.Output == "text" {
		fmt.Fprintf(s.g.stdout, format+"\n", args...)
	}
}

func (s *story) chapter(title string) { s.say("\n── %s", title) }

func (s *story) check(what, want, got string) {
	c := check{What: what, Want: want, Got: got, OK: want == got}
	s.checks = append(s.checks, c)
	mark := "✓"
	if !c.OK {
		mark = "✗"
	}
	s.say("   %s %s: %s", mark, what, got)
}

// settle waits until every edge shows what was just written.
func (s *story) settle() error {
	stream, err := s.admin.Wait(s.ctx, &adminv1.WaitRequest{Kinds: []string{"edges"}, TimeoutMs: 20_000})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("wait for the edges: %w", err)
		}
		if m.GetDone() {
			if !m.GetReached() {
				return fmt.Errorf("the edges did not reach version %d: %s", m.GetIndex(), blockers(m.GetBlocking()))
			}
			return nil
		}
	}
}

// client is an HTTP client that sits where the name says: a VPC id, "internet"
// or "onprem". Names resolve and connections leave from there.
func (s *story) client(where string) *http.Client {
	proxy := &url.URL{Scheme: "http", User: url.UserPassword(where, "x"), Host: s.addr.Proxy}
	return &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			Proxy:             http.ProxyURL(proxy),
			TLSClientConfig:   &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true,
		},
	}
}

// call returns the status and the body, or why there is none, in one line.
func (s *story) call(where, target string, header map[string]string) string {
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, target, nil)
	if err != nil {
		return err.Error()
	}
	return s.send(where, req, header)
}

func (s *story) send(where string, req *http.Request, header map[string]string) string {
	for name, value := range header {
		if name == "Host" {
			req.Host = value
		} else {
			req.Header.Set(name, value)
		}
	}
	resp, err := s.client(where).Do(req)
	if err != nil {
		return "no answer: " + reason(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "no answer: " + err.Error()
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, bytes.TrimSpace(body))
}

// reason is the innermost cause of a failed call.
func reason(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// statusOf is the first word of what call returned.
func statusOf(answer string) string {
	code, _, _ := strings.Cut(answer, " ")
	return code
}

// report prints the table of checks and says whether all held.
func (s *story) report() error {
	failed := 0
	rows := [][]string{{"", "CHECKED", "WANTED", "GOT"}}
	for _, c := range s.checks {
		mark := "✓"
		if !c.OK {
			mark = "✗"
			failed++
		}
		rows = append(rows, []string{mark, c.What, clip(c.Want), clip(c.Got)})
	}
	if s.g.Output == "json" {
		writeJSON(s.g.stdout, map[string]any{"ok": failed == 0, "checks": s.checks})
	} else {
		s.chapter("What was checked")
		table(s.g.stdout, rows)
		s.say("\n%d of %d checks hold.", len(s.checks)-failed, len(s.checks))
	}
	if failed > 0 {
		return exitCode(exitCouldNot)
	}
	return nil
}

func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:59]) + "…"
	}
	return s
}
