package edge

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/posternhq/postern/internal/netx"
)

// BenchmarkRequest compares an edge, with policy and MOCK integration, with a
// bare net/http server that has the same TLS settings and writes the same body.
// The clients of both are the same, and share the machine with them.
func BenchmarkRequest(b *testing.B) {
	w := newWorld()
	w.stages[0].Policy = `{"Version":"2012-10-17","Statement":[` +
		`{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"` + arn(privateAPI) + `/*"},` +
		`{"Effect":"Deny","Principal":"*","Action":"execute-api:Invoke","Resource":"` + arn(privateAPI) + `/*","Condition":{"StringNotEquals":{"aws:SourceVpce":"` + vpceA + `"}}}]}`
	r := start(b, w, quiet)

	ln, err := netx.Host().Listen(context.Background(), "tcp", "127.61.0.99:0")
	if err != nil {
		b.Fatal(err)
	}
	bare := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"mock":200}`)
	})}
	go func() { _ = bare.Serve(tls.NewListener(ln, r.tls.narrow)) }()
	defer bare.Close()

	for _, bench := range []struct{ name, addr string }{
		{"edge", net.JoinHostPort(eniA, portText(r.port))},
		{"bare", ln.Addr().String()},
	} {
		b.Run(bench.name, func(b *testing.B) {
			client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
				TLSClientConfig:     &tls.Config{RootCAs: r.pool, ServerName: privateHost},
				MaxIdleConnsPerHost: 64,
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return netx.Host().Dial(ctx, "tcp", bench.addr, from(clientA))
				},
			}}
			defer client.CloseIdleConnections()
			b.SetParallelism(8)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					res, err := client.Get("https://" + privateHost + "/prod/pets")
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
					if res.StatusCode != 200 {
						b.Errorf("status %d", res.StatusCode)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
		})
	}
}

func quiet(c *Config) { c.Logger = slog.New(slog.DiscardHandler) }
